"""SQLite beside PostgreSQL: one server process on each, the same world, the same questions, in one run; and two on one.

A check that is cold is about a user and an entity that nobody asked about since the server started. Batches that are
asked first come to a server that was asked no more than one check: soon they are about what others before them were
about.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import books, importing, servers
from benchmarks.books import Book
from benchmarks.machine import CLIENT_CORE, SERVER_CORE, cpu_seconds, memory_mb, pinned, spread
from benchmarks.parts import Bench
from benchmarks.peers.postgres import Postgres
from benchmarks.questions import Question, Questions
from benchmarks.report import Table, reached
from benchmarks.servers import Load, Request, Server
from benchmarks.world import ORGANIZATION_ID, World
from grantbook.store.schema import Schema

_FEW: Final = 4
_MANY: Final = 32
_APART: Final = 4_000
_IMPORTED: Final = 2.5
_DIFFERENT: Final = 500
_ROUNDS: Final = 3
_TWO_SERVERS: Final = 1.8


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database, and the process whose CPU time is its own; none for SQLite."""

    name: str
    pid: int | None

    def used_s(self) -> float:
        """CPU seconds of the database's processes so far."""
        return 0.0 if self.pid is None else cpu_seconds(self.pid)


def run(bench: Bench) -> list[Table]:
    """Checks, writes and imports. What is durable on one is so on the other."""
    postgres = Postgres()
    try:
        made = bench.large.world
        with pinned(SERVER_CORE):
            on_postgres = books.load(postgres.database("book"), made)
        traffic = _Traffic(bench)
        traffic.measure(Database(name="SQLite", pid=None), bench.large)
        traffic.measure(Database(name="PostgreSQL", pid=postgres.pid), on_postgres)
        return [*traffic.tables(), _two_servers(bench, on_postgres), _imports(bench, postgres)]
    finally:
        postgres.stop()


class _Traffic:
    """What one server process does on each database."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._rows: list[tuple[str, str, int, Load, float]] = []
        self._memory: list[tuple[str, float]] = []

    def measure(self, database: Database, book: Book) -> None:
        questions = Questions(book.world)
        check, hundred, *_ = questions.checks()
        create = questions.writes()[0]
        with servers.grantbook(book, check.request(0)) as server:
            self._ask_once(database, server, f"{hundred.name}, first asked", _requests(hundred), _FEW)
            server.load_once(_requests(check), self._bench.directory, clients=1)
            for question, clients in ((check, 1), (check, _MANY), (hundred, _FEW), (create, 1), (create, _MANY)):
                self._add(
                    database,
                    server,
                    f"{question.name}, warm" if not question.writes else question.name,
                    question,
                    clients,
                )
            self._memory.append((database.name, memory_mb(server.pid)[1]))
        for clients in (1, _MANY):
            with servers.grantbook(book, check.request(0)) as server:
                self._ask_once(database, server, "check, cold", _apart(book.world), clients)

    def _ask_once(
        self, database: Database, server: Server, name: str, requests: Sequence[Request], clients: int
    ) -> None:
        before = database.used_s()
        load = server.load_once(requests, self._bench.directory, clients=clients)
        self._rows.append((name, database.name, clients, load, database.used_s() - before))

    def _add(self, database: Database, server: Server, name: str, question: Question, clients: int) -> None:
        before = database.used_s()
        load = server.load(_requests(question), self._bench.directory, clients=clients, seconds=self._bench.seconds)
        self._rows.append((name, database.name, clients, load, database.used_s() - before))

    def tables(self) -> list[Table]:
        table = Table(
            f"G. One server process on {len(self._bench.large.world.grants):,} grants, by database",
            (
                "what",
                "database",
                "clients",
                "requests/s",
                "per CPU-s of the server",
                "per CPU-s of both",
                "of SQLite",
                "p50 ms",
                "p99 ms",
            ),
            note="The server and the database share one core, the clients have the other. `of SQLite` compares "
            "requests per CPU-second of server and database together with the same on SQLite.",
        )
        of_sqlite: dict[tuple[str, int], float] = {}
        for name, database, clients, load, database_s in sorted(self._rows, key=lambda row: (row[0], row[2])):
            both = load.requests / (load.requests / load.per_cpu_s + database_s)
            base = of_sqlite.setdefault((name, clients), both)
            table.add(name, database, clients, load.per_s, load.per_cpu_s, both, both / base, load.p50_ms, load.p99_ms)
        memory = Table("G. Private memory of the server after these, MB", ("database", "MB"))
        for name, megabytes in self._memory:
            memory.add(name, megabytes)
        return [table, memory]


def _requests(question: Question) -> list[Request]:
    return [question.request(number) for number in range(12_000 if question.writes else _DIFFERENT)]


def _apart(world: World) -> list[Request]:
    """Checks, no two of them about the same user or entity."""
    path = f"/v1/organizations/{ORGANIZATION_ID}/access/check"
    return [
        Request(
            "POST",
            path,
            json.dumps({"user_id": user, "entity_type": ref.type, "entity_id": ref.id, "access_level": "read"}),
        )
        for user, ref in zip(world.users[:_APART], world.entities, strict=False)
    ]


def _two_servers(bench: Bench, book: Book) -> Table:
    """One of two servers asked alone, and both at once: each has a core, which its clients and it share."""
    check = Questions(book.world).checks()[0]
    requests = _requests(check)
    cores = (SERVER_CORE, CLIENT_CORE)
    places = [bench.directory / f"core{core}" for core in cores]
    one, two = list[float](), list[tuple[float, ...]]()
    first = check.request(0)
    with (
        servers.grantbook(book, first, core=cores[0]) as near,
        servers.grantbook(book, first, core=cores[1]) as far,
        ThreadPoolExecutor(len(cores)) as pool,
    ):

        def load(server: Server, core: int, place: Path, seconds: float) -> float:
            place.mkdir(exist_ok=True)
            return server.load(requests, place, clients=_MANY, seconds=seconds, core=core).per_s

        for server in near, far:
            server.load_once(requests, bench.directory, clients=_MANY)  # what is asked is then known
        for _ in range(_ROUNDS):
            one.append(load(near, cores[0], places[0], bench.seconds))
            both = pool.map(load, (near, far), cores, places, repeat(bench.seconds))
            two.append(tuple(both))
    table = Table(
        "G. Servers on one PostgreSQL, each on a core of its own with its 32 clients, checks asked before",
        ("servers", "checks/s on core 0", "on core 1", "together", "of one", "to reach"),
        note=f"The database is on core 0. The middle one of {_ROUNDS} rounds, in each of which one server is asked "
        "alone (the other waits) and then both at once.",
    )
    alone, together = median(one), sorted(two, key=sum)[_ROUNDS // 2]
    ratio = median(sum(both) / single for single, both in zip(one, two, strict=True))
    table.add("one", alone, None, alone, 1, None)
    table.add("two", *together, sum(together), ratio, reached(ratio, _TWO_SERVERS))
    return table


def _imports(bench: Bench, postgres: Postgres) -> Table:
    grants = int(len(bench.large.world.grants) * _IMPORTED)
    table = Table(
        f"G. `grantbook import` of {grants:,} grants into a new book, by database",
        ("database", "seconds", "CPU seconds", "grants a second", "of SQLite"),
        note="Beside the grants the file has people, departments and entities, whose time is taken off: what the file "
        "takes more than one without its grants. The command, and the database, have both cores. The CPU seconds are "
        "those of the command.",
    )
    spread(postgres.pid)
    on_postgres = [postgres.database(name) for name in ("others", "import")]
    for url in on_postgres:
        with Schema(url) as schema:
            schema.migrate()
    on_sqlite = [f"sqlite:///{bench.directory / name}" for name in ("others-g.db", "import-g.db")]
    base = 0.0
    for name, urls in (("SQLite", on_sqlite), ("PostgreSQL", on_postgres)):
        took = importing.grants_alone(bench.directory, urls[0], urls[1], grants)
        rate = took.grants / took.wall_s
        base = base or rate
        table.add(name, took.wall_s, took.cpu_s, rate, rate / base)
    return table
