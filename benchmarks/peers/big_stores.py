"""The big data in the peers that keep grants themselves: of a few organizations, and then of all of them.

Ids are drawn so that no two organizations share one: to a peer that knows no organizations it is one world. A wrong
answer ends the run.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.machine import anonymous_mb
from benchmarks.peers import world as worlds
from benchmarks.peers.big_books import GRANTS, USERS
from benchmarks.peers.openfga import OpenFGA
from benchmarks.peers.running import cpu_seconds
from benchmarks.peers.server import GrantStore
from benchmarks.peers.spicedb import SpiceDB
from benchmarks.peers.world import Question, World

STORES: Final[Sequence[Callable[[], GrantStore]]] = (lambda: SpiceDB(heartbeat=True), OpenFGA)
_AT_ONCE: Final = 20
_OF_EACH: Final = 4
_COMPARED: Final = 3_000


@dataclass(frozen=True)
class Asked:
    """Single checks of one kind by one client."""

    checks: int
    cpu_ms: float
    p50_ms: float
    p99_ms: float | None
    server_mb: float


class BigStore:
    """A peer, and what was put into it so far."""

    def __init__(self, peer: GrantStore) -> None:
        self.name = peer.name
        self._peer = peer
        self._asked: list[list[tuple[Question, bool]]] = []

    def add(self, numbers: range, seed: int) -> tuple[int, float]:
        """Put the organizations of those numbers in: how many facts they have, and in how many seconds."""
        facts, took_s = 0, 0.0
        for first in numbers[::_AT_ONCE]:
            made = [_world(number, seed) for number in range(first, min(first + _AT_ONCE, numbers.stop))]
            took_s += self._peer.put(made)
            facts += sum(len(world.grants) + sum(map(len, world.groups.values())) for world in made)
            self._asked += [_questions(world) for world in made]
            print(
                f"{self.name}: {made[-1].seed - seed + 1:,} organizations, {facts / took_s:,.0f} facts/s",
                file=sys.stderr,
            )
        self._peer.settle()
        return facts, took_s

    def size_mb(self) -> float:
        return self._peer.database.size_mb()

    def ask(self, first: str, apart: str, again: str) -> Iterator[tuple[str, Asked]]:
        """After a start: about each organization for the first time, then about other users and entities, and those
        again. Raises RuntimeError for a wrong answer."""
        self._require_right()
        self._peer.restart()
        rounds = [[each[number] for each in self._asked] for number in range(_OF_EACH)]
        others = [pair for each in rounds[1:] for pair in each]
        for kind, asked in ((first, rounds[0]), (apart, others), (again, others)):
            yield kind, self._time([question for question, _ in asked])

    def _time(self, questions: Sequence[Question]) -> Asked:
        peer = self._peer
        before = cpu_seconds(peer.pid) + cpu_seconds(peer.database.pid)
        sent = peer.generator.send_once(peer.singles(questions), clients=1)
        cpu_s = cpu_seconds(peer.pid) + cpu_seconds(peer.database.pid) - before
        return Asked(sent.requests, cpu_s * 1e3 / sent.requests, sent.p50_ms, sent.p99_ms, anonymous_mb(peer.pid))

    def _require_right(self) -> None:
        every = [pair for asked in self._asked for pair in asked]
        some = Random(1).sample(every, min(_COMPARED, len(every)))
        if self._peer.check([question for question, _ in some]) != [allowed for _, allowed in some]:
            raise RuntimeError(f"{self.name} answers wrongly")


@contextmanager
def opened(make: Callable[[], GrantStore], directory: str | None) -> Iterator[BigStore]:
    """An empty one, removed after the block. Raises Missing."""
    peer = make()
    with tempfile.TemporaryDirectory(prefix="benchmarks-big-", dir=directory) as name:
        try:
            peer.begin(Path(name))
            yield BigStore(peer)
        finally:
            peer.stop()


def _world(number: int, seed: int) -> World:
    return worlds.make(seed + number, GRANTS, users_per_grant=USERS / GRANTS)


def _questions(world: World) -> list[tuple[Question, bool]]:
    """No user and no entity twice."""
    asked = worlds.cold_questions(world, Random(world.seed + 1))[:_OF_EACH]
    return [(question, world.allowed(question)) for question in asked]
