"""Databases to measure on, loaded through the store's own transactions: history, hash chain and indexes included.

The bare functions do the least that SQLite itself must do for the same durability; what a transaction of the store
costs beyond them is the price of history, audit and types.
"""

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.world import ORGANIZATION_ID, OWNER_ID, World
from grantbook.bootstrap import open_desk
from grantbook.model.facts import Fact
from grantbook.service import keys, organizations
from grantbook.service.desk import SYSTEM, Caller, Desk
from grantbook.store.port import Author

OWNER: Final = Caller(user_id=OWNER_ID)
CHUNK: Final = 5_000
_AUTHOR: Final = Author(actor_id=OWNER_ID)
_DURABLE: Final = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"


@dataclass(frozen=True, kw_only=True)
class Book:
    """A loaded database, keys of its owner and of a plain member, and how long the two halves of loading took."""

    url: str
    world: World
    key: str
    member_key: str
    directory_s: float
    grants_s: float

    @property
    def path(self) -> Path:
        """Of a SQLite file."""
        return Path(self.url.removeprefix("sqlite:///"))

    def open(self) -> Desk:
        return open_desk(self.url)


def load(place: Path | str, world: World) -> Book:
    """A new SQLite file, or a database by its URL, with the world in it. What founds the organization is not timed."""
    url = place if isinstance(place, str) else f"sqlite:///{place}"
    desk = open_desk(url, may_create=True)
    with desk.writing(ORGANIZATION_ID, SYSTEM) as writing:
        organizations.found(writing, name="Benchmark", owner_email="owner@example.org", owner_id=OWNER_ID)
    with desk.writing(ORGANIZATION_ID, OWNER) as writing:
        _, key = keys.create(writing, user_id=OWNER_ID, name="owner")
    directory_s = _add(desk, world.directory)
    grants_s = _add(desk, world.grants)
    with desk.writing(ORGANIZATION_ID, OWNER) as writing:
        _, member_key = keys.create(writing, user_id=world.users[0], name="member")
    desk.close()
    return Book(url=url, world=world, key=key, member_key=member_key, directory_s=directory_s, grants_s=grants_s)


def _add(desk: Desk, facts: Sequence[Fact]) -> float:
    begin = time.perf_counter()
    for first in range(0, len(facts), CHUNK):
        with desk.store.transaction(ORGANIZATION_ID, _AUTHOR) as book:
            for fact in facts[first : first + CHUNK]:
                book.add(fact, "granted")
    return time.perf_counter() - begin


def bare_rows_per_s(source: Path, scratch: Path) -> float:
    """The grants of `source` inserted by the driver alone into the same table and indexes, in the same chunks."""
    with closing(sqlite3.connect(source)) as book:
        schema = book.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'grants' AND sql IS NOT NULL").fetchall()
        rows = book.execute("SELECT * FROM grants ORDER BY rowid").fetchall()
    with closing(sqlite3.connect(scratch, isolation_level=None)) as bare:
        bare.executescript("; ".join([_DURABLE, *(sql for (sql,) in schema)]))
        insert = f"INSERT INTO grants VALUES ({', '.join('?' * len(rows[0]))})"
        begin = time.perf_counter()
        for first in range(0, len(rows), CHUNK):
            bare.execute("BEGIN IMMEDIATE")
            bare.executemany(insert, rows[first : first + CHUNK])
            bare.execute("COMMIT")
        return len(rows) / (time.perf_counter() - begin)


def bare_commits_per_s(scratch: Path, seconds: float = 1.0) -> float:
    """Durable commits of one small row by the driver alone: the bound that the disk sets on one writer at a time."""
    with closing(sqlite3.connect(scratch, isolation_level=None)) as bare:
        bare.executescript(f"{_DURABLE}; CREATE TABLE rows (value TEXT)")
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            bare.execute("BEGIN IMMEDIATE")
            bare.execute("INSERT INTO rows VALUES (?)", (f"value {count}",))
            bare.execute("COMMIT")
            count += 1
        return count / (time.perf_counter() - begin)
