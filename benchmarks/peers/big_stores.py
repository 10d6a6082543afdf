"""Data of the same shape as the big book's in the peers that keep grants themselves: a few organizations, then all.

Each organization is a world of its own, whose ids no other has: to a peer it is all one. Up to 3,000 of the answers are
compared with the reference before anything is timed.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.machine import anonymous_mb
from benchmarks.peers import world as worlds
from benchmarks.peers.big_books import GRANTS, USERS
from benchmarks.peers.openfga import OpenFGA
from benchmarks.peers.protocol import Measured
from benchmarks.peers.running import cpu_seconds
from benchmarks.peers.server import GrantStore
from benchmarks.peers.spicedb import SpiceDB
from benchmarks.peers.world import Question, World

STORES: Final[Mapping[str, Callable[[], GrantStore]]] = {
    "SpiceDB": lambda: SpiceDB(heartbeat=True),
    "OpenFGA": OpenFGA,
}
_AT_ONCE: Final = 20
_COMPARED: Final = 3_000


class BigStore:
    """A peer, and the questions about what was put into it so far."""

    def __init__(self, peer: GrantStore) -> None:
        self._peer = peer
        self._asked: list[list[tuple[Question, bool]]] = []

    def add(self, numbers: range, seed: int, questions: int) -> tuple[int, float]:
        """Put the organizations of those numbers in, to ask so many questions about each: how many facts they have,
        and in how many seconds."""
        facts, took_s = 0, 0.0
        for first in numbers[::_AT_ONCE]:
            made = [_world(number, seed) for number in numbers if first <= number < first + _AT_ONCE]
            took_s += self._peer.put(made)
            facts += sum(len(world.grants) + sum(map(len, world.groups.values())) for world in made)
            self._asked += [worlds.asked_once(world)[:questions] for world in made]
            pace = f"{len(self._asked):,} organizations, {facts / took_s:,.0f} facts a second"
            print(f"{self._peer.name}: {pace}", file=sys.stderr)
        self._peer.settle()
        return facts, took_s

    def size_mb(self) -> float:
        """On disk."""
        return self._peer.database.size_mb()

    def server_mb(self) -> float:
        """In memory, of the server alone."""
        return anonymous_mb(self._peer.pid)

    def require_right(self) -> None:
        """Raises RuntimeError for a wrong answer."""
        every = [pair for asked in self._asked for pair in asked]
        some = Random(1).sample(every, min(_COMPARED, len(every)))
        if self._peer.check([question for question, _ in some]) != [allowed for _, allowed in some]:
            raise RuntimeError("it answers wrongly")

    def restart(self) -> None:
        """Start its server anew, and ask it once."""
        self._peer.restart()
        self._time([self._asked[0][0][0]])

    def ask(self, rounds: Sequence[int]) -> Measured:
        """A question to each organization, and then the next to each: those of these numbers. One client."""
        return self._time([asked[number][0] for number in rounds for asked in self._asked])

    def _time(self, questions: Sequence[Question]) -> Measured:
        peer = self._peer
        before = cpu_seconds(peer.pid), cpu_seconds(peer.database.pid)
        sent = peer.generator.send_once(peer.singles(questions), clients=1)
        return Measured(
            answers=sent.requests,
            seconds=sent.seconds,
            server_s=cpu_seconds(peer.pid) - before[0],
            database_s=cpu_seconds(peer.database.pid) - before[1],
            p50_ms=sent.p50_ms,
            p99_ms=sent.p99_ms,
        )


@contextmanager
def opened(name: str, directory: str | None) -> Iterator[BigStore]:
    """An empty one, removed after the block. Raises Missing."""
    peer = STORES[name]()
    with tempfile.TemporaryDirectory(prefix="benchmarks-big-", dir=directory) as place:
        try:
            peer.begin(Path(place))
            yield BigStore(peer)
        finally:
            peer.stop()


def _world(number: int, seed: int) -> World:
    return worlds.make(seed + number, GRANTS, users_per_grant=USERS / GRANTS)
