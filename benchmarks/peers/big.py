"""A book of many organizations: 1,000 of them hold 1,000,000 users and 10,000,000 grants.

What is asked, of a few organizations and then of all of them, on SQLite and on PostgreSQL: how long a server takes to
its first answer, what a check costs in an organization that nobody has asked about yet, of a user and an entity that
nobody has, and of those that somebody has; and whether the server keeps to the memory that it is
allowed. Data of the same shape is put into the peers that keep grants themselves.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from benchmarks.machine import CLIENT_CORE, anonymous_mb, pinned
from benchmarks.measuring import ENOUGH_FOR_P99, percentile
from benchmarks.parts import START_TARGET_S
from benchmarks.peers import big_books, big_stores
from benchmarks.peers.big_books import CHUNK, GRANTS, USERS, Home, Tenant, each_in_turn
from benchmarks.peers.big_stores import BigStore
from benchmarks.peers.grantbook import serve, wire_batch, wire_check
from benchmarks.peers.running import Json, Process, cpu_seconds, free_port
from benchmarks.peers.setup import Missing
from benchmarks.report import Table, verdict

_SMALL: Final = 20
_STARTS: Final = 6
_COLD: Final = 2_000
_WARM_ROUNDS: Final = 3
_FIRST, _APART, _AGAIN = "first about its organization", "user and entity not asked about", "asked before"
_CACHE_MB: Final = 64
_CACHE_BYTES_MB: Final = _CACHE_MB * 1024**2 / 1e6
_PASSES: Final = 2
_GROWS: Final = 3.0
_COLD_P99_MS: Final = 5.0
_AS_FAST: Final = 1.1
_ENVIRONMENT: Final = {
    "GRANTBOOK_LOG_LEVEL": "warning",
    "PYTHONDONTWRITEBYTECODE": "",  # from the second start on it has byte code, as an installation does from the first
}


@dataclass(frozen=True)
class Figure:
    """What single checks of one kind took."""

    cpu_ms: float
    p50_ms: float
    p99_ms: float | None


@dataclass
class Found:
    """What was measured of so many organizations on one database."""

    start_s: float = 0.0
    start_cpu_s: float = 0.0
    grown_mb: float = 0.0
    checks: dict[str, Figure] = field(default_factory=dict)


class _Tables:
    """The tables of all databases."""

    def __init__(self) -> None:
        self.loading = Table(
            "F. Loading many organizations",
            ("database", "organizations", "made by", "grants", "facts", "seconds", "facts/s", "MB on disk"),
            note=f"{GRANTS:,} grants and {USERS:,} users in each. The store's transactions have {CHUNK:,} facts; a "
            "copy is one transaction of the database alone, has no hashes of its own (`verify` would refuse it) and is "
            "not in SQLite's index of texts; checks read neither. The store's last line is one organization more "
            "beside all of them. In a peer each organization is another world; facts are grants and memberships.",
        )
        self.asking = Table(
            "F. Checks, one client",
            ("database", "organizations", "a check", "checks", "CPU ms", "p50 ms", "p99 ms", "MB of the server"),
            note=f"The CPU time is that of the server and the database. {_FIRST.capitalize()}: since the server "
            f"started, {_STARTS} starts in all; a peer's p50 and p99 are then the median of those. Latencies of "
            "Grantbook are seen by a client in Python, those of peers by ghz, which is quicker. Memory is without the "
            "pages of the database's file that are mapped.",
        )
        self.memory = Table(
            f"F. A server that may keep {_CACHE_MB} MiB of facts",
            ("database", "organizations", "when", "checks, all answered right", "checks/s", "MB", "grown by"),
            note="Each user and entity of each organization that is asked about is asked about in one batch; then all "
            "of them again, in another order. Looked at after each batch; the most is shown.",
        )
        self.targets = Table(
            "F. To reach",
            ("database", "what", "a few organizations", "all of them", "all / few", "to reach"),
        )


def run(directory: str | None, *, organizations_: int, seed: int, only: Sequence[str] = ()) -> list[Table]:
    """On each database, or those whose names begin with one of `only`: make a few organizations and measure, make the
    rest and measure again."""
    tables, last = _Tables(), dict[str, Found]()
    for make in big_books.HOMES:
        if only and not any(make.__name__.lower().startswith(each.lower()) for each in only):
            continue
        with tempfile.TemporaryDirectory(prefix="benchmarks-big-", dir=directory) as name:
            try:
                with closing(make(Path(name))) as home:
                    last[home.name] = _measured(tables, home, Path(name) / "log", organizations_, seed)
            except Missing as error:
                tables.loading.add(f"{make.__name__}: missing", None, str(error), *[None] * 5)
    for name in big_stores.STORES:
        if not only or any(name.lower().startswith(each.lower()) for each in only):
            _measure_peer(tables, name, directory, organizations_, seed)
    _compare(tables.targets, last)
    return [table for table in (tables.loading, tables.asking, tables.memory, tables.targets) if table.rows]


def _measured(tables: _Tables, home: Home, log: Path, organizations_: int, seed: int) -> Found:
    few = min(_SMALL, organizations_)
    made = big_books.load(home, range(few), seed)
    _loaded(tables.loading, home, few, "the store", made)
    before = now = _ask(tables, home, log, made.tenants)
    if organizations_ > few:
        copies = big_books.copy(home, made.tenants, range(few, organizations_))
        _loaded(tables.loading, home, organizations_, "copying", copies)
        now = _ask(tables, home, log, [*made.tenants, *copies.tenants])
        another = big_books.load(home, range(organizations_, organizations_ + 1), seed)
        _loaded(tables.loading, home, organizations_ + 1, "the store", another)
    _hold(tables.targets, home.name, before, now)
    return now


def _measure_peer(tables: _Tables, name: str, directory: str | None, organizations_: int, seed: int) -> None:
    few = min(_SMALL, organizations_)
    try:
        with big_stores.opened(name, directory) as store:
            for numbers in (range(few), range(few, organizations_)):
                if not numbers:
                    continue
                facts, took_s = store.add(numbers, seed, _questions(few).stop)
                row = GRANTS * len(numbers), facts, took_s, facts / took_s, store.size_mb()
                tables.loading.add(name, numbers.stop, "its own way", *row)
                _ask_peer(tables.asking, name, store, numbers.stop)
    except (Missing, RuntimeError, OSError) as error:
        tables.loading.add(f"{name}: no figures", None, str(error), *[None] * 5)


def _questions(organizations_: int) -> range:
    """The numbers of the questions about users and entities that nobody asked about, as many of each organization as
    make enough of all; those before them are the first ones after each start."""
    return range(_STARTS, _STARTS + -(-_COLD // organizations_))


def _ask_peer(table: Table, name: str, store: BigStore, organizations_: int) -> None:
    """As `_ask`."""
    store.require_right()
    rounds = _questions(organizations_)
    firsts = []
    for start in range(_STARTS):
        store.restart()
        firsts.append(store.ask([start]))
    apart = [store.ask(rounds)]
    again = [store.ask([*rounds] * _WARM_ROUNDS)]
    for what, found in ((_FIRST, firsts), (_APART, apart), (_AGAIN, again)):
        checks = sum(each.answers for each in found)
        cpu_ms = sum(each.server_s + each.database_s for each in found) * 1e3 / checks
        p99_ms = median(each.p99_ms for each in found if each.p99_ms) if found[0].p99_ms else None
        row = cpu_ms, median(each.p50_ms for each in found), p99_ms, store.server_mb()
        table.add(name, organizations_, what, checks, *row)


def _loaded(table: Table, home: Home, organizations_: int, by: str, made: big_books.Loaded) -> None:
    grants = GRANTS * len(made.tenants)
    table.add(home.name, organizations_, by, grants, made.facts, made.took_s, made.facts / made.took_s, home.size_mb())


def _ask(tables: _Tables, home: Home, log: Path, tenants: Sequence[Tenant]) -> Found:
    """Start servers that know nothing yet, and ask each about every organization; the last one is asked more."""
    print(f"{home.name}: asking about {len(tenants):,} organizations", file=sys.stderr)
    found, order = Found(), Random(1).sample(tenants, len(tenants))
    one, others = order[:1], order[1:] or order
    started, asked = list[tuple[float, float]](), _Asked(home)
    apart = _questions(len(order))
    with pinned(CLIENT_CORE):
        for start in range(_STARTS):
            begin = time.perf_counter()
            with _serving(home, log) as (pid, client):
                _time(client, one, range(start, start + 1))
                started.append((time.perf_counter() - begin, cpu_seconds(pid)))
                asked.ask(_FIRST, pid, client, others, range(start, start + 1))
                if start == _STARTS - 1:
                    asked.ask(_APART, pid, client, order, apart)
                    for _ in range(_WARM_ROUNDS):
                        asked.ask(_AGAIN, pid, client, order, apart)
        found.grown_mb = _bounded(tables.memory, home, log, order)
    found.start_s, found.start_cpu_s = (median(each) for each in zip(*started, strict=True))
    for what, (taken, cpu_s, megabytes) in asked.kinds.items():
        p99_ms = percentile(taken, 99) if len(taken) >= ENOUGH_FOR_P99 else None
        figure = found.checks[what] = Figure(cpu_s * 1e3 / len(taken), percentile(taken, 50), p99_ms)
        row = len(taken), figure.cpu_ms, figure.p50_ms, figure.p99_ms, megabytes
        tables.asking.add(home.name, len(tenants), what, *row)
    return found


class _Asked:
    """By kind of check: milliseconds of each, CPU seconds of all, and the server's memory after the last."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.kinds: dict[str, tuple[list[float], float, float]] = {}

    def ask(self, what: str, pid: int, client: Json, tenants: Sequence[Tenant], rounds: range) -> None:
        taken, cpu_s, _ = self.kinds.get(what, ([], 0.0, 0.0))
        before = cpu_seconds(pid) + self._home.used_s()
        taken += _time(client, tenants, rounds)
        cpu_s += cpu_seconds(pid) + self._home.used_s() - before
        self.kinds[what] = taken, cpu_s, anonymous_mb(pid)


def _time(client: Json, tenants: Sequence[Tenant], rounds: range) -> list[float]:
    """Milliseconds of each question. Raises RuntimeError for a wrong answer."""
    taken = []
    for tenant, question, allowed in each_in_turn(tenants, rounds):
        begin = time.perf_counter()
        answer = client.post(f"{_access(tenant)}/check", wire_check(question), headers={"X-API-Key": tenant.key})
        taken.append((time.perf_counter() - begin) * 1e3)
        if answer["allowed"] != allowed:
            raise RuntimeError(f"{tenant.id} answers {answer} to {question}")
    return taken


def _bounded(table: Table, home: Home, log: Path, tenants: Sequence[Tenant]) -> float:
    """By how many megabytes a server of little memory grows. Raises RuntimeError for a wrong answer."""
    with _serving(home, log, "--cache-mb", str(_CACHE_MB)) as (pid, client):
        _time(client, tenants[:1], range(1))
        base = most = anonymous_mb(pid)
        table.add(home.name, len(tenants), "after the first answer", 1, None, base, None)
        for number in range(1, _PASSES + 1):
            count, took_s = 0, 0.0
            for tenant in Random(number).sample(tenants, len(tenants)):
                begin = time.perf_counter()
                count += _batch(client, tenant)
                took_s += time.perf_counter() - begin
                most = max(most, anonymous_mb(pid))
            when = f"all asked about, {number} of {_PASSES}"
            table.add(home.name, len(tenants), when, count, count / took_s, most, most - base)
    return most - base


def _batch(client: Json, tenant: Tenant) -> int:
    """How many answers a batch has. Raises RuntimeError for a wrong one."""
    body = wire_batch([question for question, _ in tenant.asked])
    answer = client.post(f"{_access(tenant)}/check/batch", body, headers={"X-API-Key": tenant.key})
    given = [each["allowed"] for each in answer["results"]]
    if given != [allowed for _, allowed in tenant.asked]:
        raise RuntimeError(f"{tenant.id} answers {answer} to a batch")
    return len(given)


def _access(tenant: Tenant) -> str:
    return f"/v1/organizations/{tenant.id}/access"


def _hold(table: Table, name: str, few: Found, all_: Found) -> None:
    """The bounds on one database."""

    def ratio(what: str, before: float | None, now: float | None) -> None:
        if before and now:
            table.add(name, what, before, now, now / before, verdict(now / before, _GROWS))

    started = few.start_s, all_.start_s, all_.start_s / few.start_s
    table.add(name, "start to first answer, s", *started, verdict(all_.start_s, START_TARGET_S))
    used = few.start_cpu_s, all_.start_cpu_s, all_.start_cpu_s / few.start_cpu_s
    table.add(name, "start to first answer, CPU s of the server", *used, None)
    for what, now in all_.checks.items():
        before = few.checks[what]
        ratio(f"{what}, CPU ms", before.cpu_ms, now.cpu_ms)
        ratio(f"{what}, p50 ms", before.p50_ms, now.p50_ms)
        ratio(f"{what}, p99 ms", before.p99_ms, now.p99_ms)
        if what != _AGAIN and now.p99_ms:
            table.add(name, f"{what}, p99 ms", None, now.p99_ms, None, verdict(now.p99_ms, _COLD_P99_MS))
    grown = few.grown_mb, all_.grown_mb
    table.add(
        name,
        "memory beyond the first answer's, MB",
        *grown,
        grown[1] / grown[0],
        verdict(all_.grown_mb, _CACHE_BYTES_MB),
    )


def _compare(table: Table, found: dict[str, Found]) -> None:
    """What is in memory costs the same, wherever it came from."""
    if len(found) == len(big_books.HOMES):
        on_sqlite, on_postgresql = (each.checks[_AGAIN] for each in found.values())
        for what, one, other in (
            ("CPU", on_sqlite.cpu_ms, on_postgresql.cpu_ms),
            ("p50", on_sqlite.p50_ms, on_postgresql.p50_ms),
        ):
            name, compared = " / ".join(reversed(found)), other / one
            table.add(name, f"{_AGAIN}, {what}", None, None, compared, verdict(compared, _AS_FAST))


@contextmanager
def _serving(home: Home, log: Path, *options: str) -> Iterator[tuple[int, Json]]:
    port = free_port()
    process = Process(serve(home.url, port, *options), log, environment=_ENVIRONMENT)
    try:
        process.wait_until(lambda: Json(port).get("/healthz"))
        with closing(Json(port)) as client:
            yield process.pid, client
    finally:
        process.stop()
