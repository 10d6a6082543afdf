"""The same questions and writes, in process, on several databases in turn: the price of another home for the book.

    python -m benchmarks.stores sqlite:///new.db postgresql://host/plain postgresql://host/distributed

Each URL names a database without an organization; one of PostgreSQL has its tables (`grantbook migrate up`, and
`distribute` where it shall be). A part is measured on each in turn, three times over, and the middle one counts: so
what else the machine does meets all of them. Writes are made by the store alone, without a server around it.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Final

from benchmarks import world
from benchmarks.measuring import percentile
from benchmarks.report import Table
from benchmarks.world import ORGANIZATION_ID, OWNER_ID, World
from grantbook.bootstrap import open_desk
from grantbook.model.facts import EntityRef, Grant, Member
from grantbook.service import asking, organizations
from grantbook.service.admission import SYSTEM_ASKER
from grantbook.service.desk import SYSTEM, Desk
from grantbook.store.port import Author, Lookup

_AUTHOR: Final = Author(actor_id=OWNER_ID)
_ROUNDS: Final = 3
_CHUNK: Final = 5_000
_CLIENTS: Final = 32
_COLD: Final = 150
_WARM: Final = 2_000
_AT: Final = 1_767_225_600_000_000


class Home:
    """One database with the book in it, and what was measured on it."""

    def __init__(self, url: str, world_: World) -> None:
        self.name = url.rpartition("/")[2]
        self.desk: Desk = open_desk(url, connections=_CLIENTS)
        self._url = url
        self._world = world_
        self._numbers = count()

    def load(self) -> float:
        """Grants a second, each with its change in the record."""
        with self.desk.writing(ORGANIZATION_ID, SYSTEM) as writing:
            organizations.found(writing, name="Benchmark", owner_email="owner@example.org", owner_id=OWNER_ID)
        seconds = 0.0
        for facts in (self._world.directory, self._world.grants):
            begin = time.perf_counter()
            for first in range(0, len(facts), _CHUNK):
                with self.desk.store.transaction(ORGANIZATION_ID, _AUTHOR) as book:
                    for fact in facts[first : first + _CHUNK]:
                        book.add(fact, "granted")
            seconds = time.perf_counter() - begin
        return len(self._world.grants) / seconds

    def checks(self, round_: int) -> tuple[float, float, float]:
        """Milliseconds of a check whose user and entity nobody asked about before: the middle one, and p99; and of one
        that was asked before."""
        desk = open_desk(self._url, connections=2)
        places = range(round_ * _COLD, (round_ + 1) * _COLD)
        pairs = [
            (self._world.users[place], self._world.entities[place % len(self._world.entities)]) for place in places
        ]
        _ask(desk, self._world.users[-1], self._world.entities[-1])  # connects
        cold = [_timed(partial(_ask, desk, *pair)) for pair in pairs]
        for pair in pairs:
            _ask(desk, *pair)
        begin = time.perf_counter()
        for number in range(_WARM):
            _ask(desk, *pairs[number % _COLD])
        warm = (time.perf_counter() - begin) / _WARM * 1e3
        desk.close()
        return statistics.median(cold), percentile(cold, 99), warm

    def writes(self, clients: int, seconds: float, organizations_: int, *, claims: bool = False) -> float:
        """Commits of one grant a second, by so many threads in so many organizations; with global keys if it claims."""
        end = time.perf_counter() + seconds

        def work(client: int) -> int:
            made = 0
            while time.perf_counter() < end:
                number = next(self._numbers)
                with self.desk.store.transaction(f"org_{client % organizations_}", _AUTHOR) as book:
                    book.add(_grant(number), "granted")
                    if claims:
                        book.claim(Lookup.USER, {f"usr_{number}": ORGANIZATION_ID})
                        book.add(_member(number), "added")
                made += 1
            return made

        begin = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            made = sum(pool.map(work, range(clients)))
        return made / (time.perf_counter() - begin)


def _grant(number: int) -> Grant:
    return Grant(
        id=f"agrant_{number}",
        entity_type="vector_store",
        entity_id=f"vs_{number}",
        grantee_type="user",
        grantee_id="usr_1",
        access_level="read",
        granted_by=OWNER_ID,
        created_at=_AT,
        updated_at=_AT,
    )


def _member(number: int) -> Member:
    return Member(
        user_id=f"usr_{number}", email=f"{number}@example.org", state="active", created_at=_AT, updated_at=_AT
    )


def _ask(desk: Desk, user_id: str, entity: EntityRef) -> None:
    with desk.facts as facts:
        asking.check(desk, facts.current(ORGANIZATION_ID), SYSTEM_ASKER, user_id, "read", entity)


def _timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def measure(homes: list[Home], seconds: float) -> Table:
    """A row for each question, a column for each home, and how many times the first one's."""
    table = Table("The book in several homes", ("what", *(home.name for home in homes)))
    table.add("grants loaded a second", *(home.load() for home in homes))
    checks = [[home.checks(round_) for home in homes] for round_ in range(_ROUNDS)]
    for part, what in enumerate(("check, cold, ms p50", "check, cold, ms p99", "check, warm, ms")):
        table.add(what, *(statistics.median(round_[place][part] for round_ in checks) for place in range(len(homes))))
    for what, clients, organizations_, claims in (
        ("commits a second, 1 client", 1, 1, False),
        (f"commits a second, {_CLIENTS} clients in one organization", _CLIENTS, 1, False),
        (f"commits a second, {_CLIENTS} clients in {_CLIENTS} organizations", _CLIENTS, _CLIENTS, False),
        ("the same, each with a new member and a global key", _CLIENTS, _CLIENTS, True),
    ):
        rates = [
            [home.writes(clients, seconds, organizations_, claims=claims) for home in homes] for _ in range(_ROUNDS)
        ]
        table.add(what, *(statistics.median(rate) for rate in zip(*rates, strict=True)))
    return table


def main() -> int:
    """0 when everything ran."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description="Compare homes of the book.")
    parser.add_argument("databases", nargs="+", help="URLs of databases without an organization")
    parser.add_argument("--grants", type=int, default=50_000, help="grants to load (default: 50,000)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of each line of writes (default: 3)")
    options = parser.parse_args()
    world_ = world.make(options.grants)
    homes = [Home(url, world_) for url in options.databases]
    print(measure(homes, options.seconds).markdown())
    for home in homes:
        home.desk.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
