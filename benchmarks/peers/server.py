"""What peers that are servers have in common: they say what to send for a piece of work, and it is measured."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import servers
from benchmarks.peers.grpc import Call, Generator
from benchmarks.peers.postgres import Postgres
from benchmarks.peers.protocol import Measured, Size, Work
from benchmarks.peers.running import Process, cpu_seconds, generator_time, proportional_mb
from benchmarks.peers.world import Question, Questions, World

_ONCE: Final = Path(__file__).with_name("once.py")
_WARM_UP_S: Final = 1.0
_ENOUGH: Final = 20
_LONGEST_S: Final = 12.0
_REPEATED: Final = {Work.WARM, Work.ONE, Work.HUNDRED, Work.THOUSAND}


@dataclass(frozen=True, slots=True)
class Requests:
    """HTTP requests to send in turn; each is about so many checks, lists or grants."""

    requests: Sequence[servers.Request]
    answers: float = 1


class ServerPeer(ABC):
    """A server process, with a PostgreSQL or without."""

    name: str
    way: str

    def __init__(self) -> None:
        self.process: Process | None = None
        self.postgres: Postgres | None = None
        self.http_port = 0
        self.grpc_port = 0
        self.metadata: dict[str, str] = {}
        self.directory = Path()
        self.questions: Questions
        self.world: World

    @abstractmethod
    def load(self, world: World, questions: Questions, directory: Path) -> float:
        """As a peer's."""

    @abstractmethod
    def start(self) -> None:
        """Start the server on what is loaded, and wait until it is ready."""

    @abstractmethod
    def check(self, questions: Sequence[Question]) -> list[bool]:
        """As a peer's."""

    @abstractmethod
    def traffic(self, work: Work) -> Call | Requests | str:
        """What to send for a piece of work, or why there is nothing to send."""

    def note(self, _work: Work, /) -> str:
        """What a reader has to know about this line of the work."""
        return ""

    def entities(self, _user: str, /) -> set[str] | None:
        """As a peer's; none unless the peer can list."""
        return None

    def users(self, _entity: str, /) -> set[str] | None:
        """As a peer's; none unless the peer can list."""
        return None

    @property
    def generator(self) -> Generator:
        return Generator(port=self.grpc_port, directory=self.directory, metadata=self.metadata)

    @property
    def pid(self) -> int:
        if self.process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self.process.pid

    def restart(self) -> None:
        """Start it anew on what is loaded, if it runs: it holds nothing in memory."""
        if self.process is not None:
            self.process.stop()
            self.start()

    def measure(self, work: Work, seconds: float) -> Measured | str:
        """As a peer's. What is cold or writes is not warmed up; slow work takes longer."""
        sent = self.traffic(work)
        if isinstance(sent, str):
            return sent
        if work is Work.COLD:
            self.restart()
        if work in {Work.COLD, Work.WRITE}:
            return self._measured(work, sent, seconds)
        self._warm_up(work, sent)
        while True:
            found = self._measured(work, sent, seconds)
            if found.answers / sent.answers >= _ENOUGH * work.clients or seconds >= _LONGEST_S:
                return found
            seconds *= 2

    def size(self) -> Size:
        """As a peer's."""
        database_mb = proportional_mb(self.postgres.pid) if self.postgres else 0.0
        return Size(server_mb=proportional_mb(self.pid), database_mb=database_mb)

    def stop(self) -> None:
        """As a peer's."""
        for each in (self.process, self.postgres):
            if each is not None:
                each.stop()
        self.process = self.postgres = None

    def _warm_up(self, work: Work, sent: Call | Requests) -> None:
        """For a moment; where the same is asked over and over, until all of it was asked, as far as time allows."""
        wanted = len(sent.messages if isinstance(sent, Call) else sent.requests) if work in _REPEATED else 1
        spent_s, requests = 0.0, 0
        while requests < wanted and spent_s < _LONGEST_S:
            seconds = _WARM_UP_S if not spent_s else _LONGEST_S - spent_s
            seen, *_ = self._send(work, sent, seconds)
            requests, spent_s = requests + seen, spent_s + seconds

    def _measured(self, work: Work, sent: Call | Requests, seconds: float) -> Measured:
        database = self.postgres.pid if self.postgres else None
        before = cpu_seconds(self.pid), cpu_seconds(database) if database else 0.0
        with generator_time() as generator_s:
            requests, took_s, p50_ms, p99_ms = self._send(work, sent, seconds)
            used_s = generator_s()
        after = cpu_seconds(self.pid), cpu_seconds(database) if database else 0.0
        return Measured(
            answers=requests * sent.answers,
            seconds=took_s,
            server_s=after[0] - before[0],
            database_s=after[1] - before[1],
            generator_s=used_s,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            note=self.note(work),
        )

    def _send(self, work: Work, sent: Call | Requests, seconds: float) -> tuple[int, float, float, float | None]:
        if isinstance(sent, Call):
            if work is Work.COLD:
                seen = self.generator.send_once(sent, clients=work.clients)
            else:
                seen = self.generator.send(sent, clients=work.clients, seconds=seconds)
            return seen.requests, seen.seconds, seen.p50_ms, seen.p99_ms
        server = servers.Server(pid=self.pid, port=self.http_port, key=self.metadata.get("key", "-"), started_s=0)
        if work is Work.COLD:
            once = server.load_once(sent.requests, self.directory, clients=work.clients)
            return once.requests, once.requests / once.per_s, once.p50_ms, once.p99_ms
        load = server.load(sent.requests, self.directory, clients=work.clients, seconds=seconds)
        return load.requests, load.requests / load.per_s if load.requests else seconds, load.p50_ms, load.p99_ms


class GrantStore(ServerPeer):
    """A server that keeps the grants itself, in a PostgreSQL of its own."""

    @property
    def database(self) -> Postgres:
        if self.postgres is None:
            raise RuntimeError(f"{self.name} has not begun")
        return self.postgres

    @abstractmethod
    def begin(self, directory: Path) -> None:
        """Start it, empty."""

    @abstractmethod
    def put(self, worlds: Sequence[World]) -> float:
        """Add these, and return the seconds that it took."""

    @abstractmethod
    def singles(self, questions: Sequence[Question]) -> Call:
        """Single checks, as fast as it can answer them."""

    def settle(self) -> None:
        """Let PostgreSQL know what it holds, without which it plans badly, and write it down."""
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            self.database.sql(statement)

    def load(self, world: World, questions: Questions, directory: Path) -> float:
        """As a peer's, by its own way for bulk."""
        self.world, self.questions = world, questions
        self.begin(directory)
        took_s = self.put([world])
        self.settle()
        return took_s


def new_directory(directory: Path, name: str) -> Path:
    """An empty directory of that name."""
    place = directory / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def batches(questions: Sequence[Question], size: int, answer: Callable[[Sequence[Question]], list[bool]]) -> list[bool]:
    """The answers of batches of at most that size, put together."""
    return [found for at in range(0, len(questions), size) for found in answer(questions[at : at + size])]
