"""Engines in process, each in a child of its own on the core of the servers; `inside.py` is what runs there."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

from benchmarks import books
from benchmarks.machine import SERVER_CORE, pinned
from benchmarks.peers import setup
from benchmarks.peers.grantbook import book_facts
from benchmarks.peers.protocol import Measured, Size, Work
from benchmarks.peers.running import proportional_mb
from benchmarks.peers.server import new_directory
from benchmarks.peers.world import LEVELS, Question, Questions, World
from benchmarks.world import ORGANIZATION_ID, OWNER_ID

_SCRIPT: Final = Path(__file__).with_name("inside.py")
_REASONS: Final = {
    "casbin": {Work.COLD: "it has all in memory", Work.USERS: "it would check every user"},
    "cedarpy": {
        Work.COLD: "it has all in memory",
        Work.ENTITIES: "it cannot list",
        Work.USERS: "it cannot list",
    },
}


class Library:
    """casbin or cedarpy: they hold everything in memory, so that nothing is durable."""

    way = "in process"

    def __init__(self, name: str) -> None:
        self.name = name
        self._child: subprocess.Popen[str] | None = None
        self._questions: Questions

    def load(self, world: World, questions: Questions, directory: Path) -> float:
        """From JSON, which is read before the time begins."""
        self._questions = questions
        place = new_directory(directory, f"inside-{self.name}")
        self._place = place
        (place / "world.json").write_text(json.dumps(self._document(world)))
        return self._loading_s(self._start())

    def check(self, questions: Sequence[Question]) -> list[bool]:
        """One by one for the first, then all at once."""
        asked = [_tuple(each) for each in questions]
        singles = [bool(self._ask(call="check", given=each)) for each in asked[:200]]
        return singles + list(self._ask(call="check_many", given=asked[200:]))

    def entities(self, user: str, /) -> set[str] | None:
        """As a peer's."""
        found = self._ask(call="entities", given=user)
        return None if found is None else set(found)

    def users(self, entity: str, /) -> set[str] | None:
        """As a peer's; without the owner of Grantbook's organization, whom no other system has."""
        found = self._ask(call="users", given=entity)
        return None if found is None else set(found) - {OWNER_ID}

    def measure(self, work: Work, seconds: float) -> Measured | str:
        """One caller: there is no concurrency in process."""
        if reason := _REASONS.get(self._engine, {}).get(work):
            return reason
        if work is Work.COLD:
            self.stop()
            self._start()
        call, given, answers = self._given(work)
        if not given:
            return "in process there is one caller" if work is Work.ONE else "not measured in process"
        seen = self._ask(call=call, given=given, seconds=seconds, once=work is Work.COLD)
        return Measured(
            answers=seen["calls"] * answers,
            seconds=seen["seconds"],
            server_s=seen["cpu_s"],
            p50_ms=seen["p50_ms"],
            p99_ms=seen["p99_ms"],
        )

    def size(self) -> Size:
        """As a peer's."""
        return Size(server_mb=proportional_mb(self._running.pid))

    def stop(self) -> None:
        """As a peer's."""
        if self._child is not None:
            _pipe(self._child.stdin).close()
            self._child.wait()
        self._child = None

    def _start(self) -> float:
        """How long the child took to load."""
        command = ["taskset", "-c", str(SERVER_CORE), str(self._python()), "-P", str(_SCRIPT), self._engine]
        self._child = subprocess.Popen(
            [*command, str(self._place / "world.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return float(self._answer()["load_s"])

    @property
    def _engine(self) -> str:
        return self.name

    def _python(self) -> Path:
        return setup.python_with(self.name)

    def _document(self, world: World) -> dict[str, Any]:
        members = [[user, group.id] for user in world.users for group in world.groups[user]]
        grants = [[each.entity, each.principal.id, LEVELS.index(each.level)] for each in world.grants]
        return {"members": members, "grants": grants}

    def _loading_s(self, inside_s: float) -> float:
        return inside_s

    def _given(self, work: Work) -> tuple[str, Sequence[object], float]:
        """What to call, with what, and how many answers a call gives."""
        asked = self._questions
        match work:
            case Work.WARM:
                return "check", [_tuple(each) for each in asked.warm], 1
            case Work.DIFFERENT:
                return "check", [_tuple(each) for each in asked.different], 1
            case Work.COLD:
                return "check", [_tuple(each) for each in asked.cold], 1
            case Work.HUNDRED:
                return "check_many", [[_tuple(each) for each in batch] for batch in asked.hundreds], 100
            case Work.THOUSAND:
                return "check_many", [[_tuple(each) for each in batch] for batch in asked.thousands], 1_000
            case Work.ENTITIES:
                return "entities", asked.users, 1
            case Work.USERS:
                return "users", asked.entities, 1
            case Work.ONE | Work.PAGE | Work.WRITE:
                return "", [], 1

    @property
    def _running(self) -> "subprocess.Popen[str]":
        if self._child is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._child

    def _ask(self, **asked: object) -> Any:
        pipe = _pipe(self._running.stdin)
        pipe.write(json.dumps(asked) + "\n")
        pipe.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = _pipe(self._running.stdout).readline()
        if not line:
            raise RuntimeError(f"{self.name} ended")
        return json.loads(line)


class GrantbookLibrary(Library):
    """Grantbook in process, on a book in SQLite: it is durable, and other processes may write to it meanwhile."""

    def __init__(self) -> None:
        super().__init__("Grantbook")

    @property
    def _engine(self) -> str:
        return "grantbook"

    def _python(self) -> Path:
        return Path(sys.executable)

    def _document(self, world: World) -> dict[str, Any]:
        with pinned(SERVER_CORE):
            book = books.load(self._place / "book.db", book_facts(world))
        self._load_s = book.directory_s + book.grants_s
        return {"database": book.url, "organization": ORGANIZATION_ID}

    def _loading_s(self, inside_s: float) -> float:
        return self._load_s + inside_s


def _tuple(question: Question) -> tuple[str, str, str]:
    return question.user, question.entity, question.level


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("there is no pipe")
    return pipe
