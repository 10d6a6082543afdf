"""A book of many organizations: a few are made by the store's transactions, the others are copies of them.

The rows of a copy are those of its source with another organization's id, written by the database itself: ten million
grants take minutes so. Nothing follows from the id in what checks read. The hashes of the record do, so `verify` would
refuse a copy; and what SQLite's search of the record looks into, which is not copied, does not know its texts.
"""

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg

from benchmarks.machine import SERVER_CORE, pinned
from benchmarks.peers import world as worlds
from benchmarks.peers.grantbook import book_facts
from benchmarks.peers.postgres import Postgres
from benchmarks.peers.running import cpu_seconds
from benchmarks.peers.world import Question
from benchmarks.world import OWNER_ID
from grantbook.bootstrap import open_desk
from grantbook.model.facts import ApiKey, Organization
from grantbook.service import keys, organizations
from grantbook.service.desk import SYSTEM, Caller, Desk
from grantbook.store.port import Author
from grantbook.store.tables import FACT_TABLES, key_uses, metadata, responses

GRANTS: Final = 10_000
USERS: Final = 1_000
CHUNK: Final = 5_000
_OWNER: Final = Caller(user_id=OWNER_ID)
_SECRETS: Final = (FACT_TABLES[ApiKey], key_uses, responses)


@dataclass(frozen=True)
class Tenant:
    """One organization: its id, a key, questions with their answers, and how many facts it has.

    No user and no entity is asked about twice.
    """

    id: str
    key: str
    asked: Sequence[tuple[Question, bool]]
    facts: int


@dataclass(frozen=True)
class Loaded:
    """Organizations that were made, how many facts they have, and how long the database took for them."""

    tenants: list[Tenant]
    facts: int
    took_s: float


class Home(Protocol):
    """A database that the book lies in. Closing it removes it."""

    name: str
    url: str
    mark: str
    """What stands for a value in its SQL."""

    def connect(self) -> Any:
        """A connection of its driver, in whose transactions every commit is durable."""

    def settle(self) -> None:
        """Let it do now what it puts off while rows are written, so that it does not do it while it is measured."""

    def size_mb(self) -> float: ...

    def used_s(self) -> float:
        """CPU seconds of its processes so far; none for SQLite, which has no processes of its own."""

    def close(self) -> None: ...


class SQLite:
    """See `Home`."""

    name, mark = "SQLite", "?"

    def __init__(self, directory: Path) -> None:
        self._path = directory / "book.db"
        self.url = f"sqlite:///{self._path}"

    def connect(self) -> Any:
        connection = sqlite3.connect(self._path)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-200000")
        return connection

    def settle(self) -> None:
        with closing(self.connect()) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def size_mb(self) -> float:
        return self._path.stat().st_size / 1e6

    def used_s(self) -> float:
        return 0.0

    def close(self) -> None:
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink()


class PostgreSQL:
    """See `Home`. Raises Missing."""

    name, mark = "PostgreSQL", "%s"

    def __init__(self, directory: Path) -> None:
        self._postgres = Postgres(directory.parent)
        self.url = self._postgres.database("book")

    def connect(self) -> Any:
        connection = psycopg.connect(self.url)
        # What is known of the tables is from when they were small: nothing else keeps it from reading all of them.
        connection.execute("SET enable_seqscan = off")
        connection.commit()
        return connection

    def settle(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def size_mb(self) -> float:
        return self._postgres.size_mb(self.url)

    def used_s(self) -> float:
        return cpu_seconds(self._postgres.pid)

    def close(self) -> None:
        self._postgres.stop()


HOMES: Final[Sequence[Callable[[Path], Home]]] = (SQLite, PostgreSQL)


def load(home: Home, numbers: range, seed: int) -> Loaded:
    """The organizations of those numbers, by the store's transactions."""
    tenants, took_s = list[Tenant](), 0.0
    with pinned(SERVER_CORE), closing(open_desk(home.url, may_create=True)) as desk:
        for number in numbers:
            tenant, seconds = _add(desk, number, seed + number)
            tenants.append(tenant)
            took_s += seconds
    home.settle()
    return _loaded(tenants, took_s)


def copy(home: Home, sources: Sequence[Tenant], numbers: range) -> Loaded:
    """The organizations of those numbers, as copies of the sources in turn, each in a transaction and with a key."""
    begin, made = time.perf_counter(), list[Tenant]()
    with pinned(SERVER_CORE):
        with closing(home.connect()) as connection:
            for number in numbers:
                source = sources[number % len(sources)]
                made.append(replace(source, id=_id(number)))
                _copy(connection, home.mark, source.id, _id(number))
                if number % 50 == 49:
                    pace = len(made) / (time.perf_counter() - begin)
                    print(f"{home.name}: {number + 1:,} organizations, {pace:.2f} copies a second", file=sys.stderr)
        took_s = time.perf_counter() - begin
        home.settle()
        with closing(open_desk(home.url)) as desk:
            made = [replace(tenant, key=_key(desk, tenant.id)) for tenant in made]
    return _loaded(made, took_s)


def _loaded(tenants: list[Tenant], took_s: float) -> Loaded:
    return Loaded(tenants, sum(tenant.facts for tenant in tenants), took_s)


def _id(number: int) -> str:
    return f"org_benchmark{number}"


def _add(desk: Desk, number: int, seed: int) -> tuple[Tenant, float]:
    organization_id = _id(number)
    with desk.writing(organization_id, SYSTEM) as writing:
        email = f"owner{number}@example.org"
        organizations.found(writing, name=f"Benchmark {number}", owner_email=email, owner_id=OWNER_ID)
    world = worlds.make(seed, GRANTS, users_per_grant=USERS / GRANTS)
    made = book_facts(world)
    facts = [*made.directory, *made.grants]
    begin = time.perf_counter()
    for first in range(0, len(facts), CHUNK):
        with desk.store.transaction(organization_id, Author(actor_id=OWNER_ID)) as book:
            for fact in facts[first : first + CHUNK]:
                book.add(fact, "granted")
    took_s = time.perf_counter() - begin
    return Tenant(organization_id, _key(desk, organization_id), worlds.asked_once(world), len(facts)), took_s


def _key(desk: Desk, organization_id: str) -> str:
    with desk.writing(organization_id, _OWNER) as writing:
        return keys.create(writing, user_id=OWNER_ID, name="owner")[1]


def _copy(connection: Any, mark: str, source_id: str, copy_id: str) -> None:
    """All rows that tell of the organization, but those that hold a secret or its digest."""
    for table in metadata.sorted_tables:
        if "organization_id" not in table.c or table in _SECRETS:
            continue
        own = {"organization_id", "id"} if table is FACT_TABLES[Organization] else {"organization_id"}
        columns = [column.name for column in table.c]
        names = ", ".join(f'"{name}"' for name in columns)
        values = ", ".join(mark if name in own else f'"{name}"' for name in columns)
        statement = f'INSERT INTO "{table.name}" ({names}) SELECT {values} FROM "{table.name}"'
        connection.execute(f"{statement} WHERE organization_id = {mark}", (*[copy_id] * len(own), source_id))
    connection.commit()


def each_in_turn(tenants: Sequence[Tenant], rounds: range) -> Iterator[tuple[Tenant, Question, bool]]:
    """A question to each of them, and then the next to each: those of these numbers."""
    for number in rounds:
        for tenant in tenants:
            yield tenant, *tenant.asked[number % len(tenant.asked)]
