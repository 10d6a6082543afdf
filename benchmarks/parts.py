"""The parts of a run: loading, lists, traffic. Each measures the yardstick first and shows its rates beside it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import httpx

from benchmarks import books, importing, servers
from benchmarks.books import Book
from benchmarks.machine import SERVER_CORE, memory_mb, pinned
from benchmarks.measuring import Times, counted_statements, times_of
from benchmarks.questions import Question, Questions
from benchmarks.report import Cell, Table, verdict
from benchmarks.servers import Load, Request, Server
from grantbook.http.app import create_app

START_TARGET_S: Final = 1.5
_MANY_CLIENTS: Final = 32
_AT_MOST: Final = 200
_AT_MOST_WRITES: Final = 50
_BUDGET_S: Final = 1.5
_HTTP_BULKS: Final = 120
_KINDS_OF_NAME: Final = 4
_IMPORTED: Final = 2.5  # so many for each grant of the other parts: 500,000 by default
_ENOUGH: Final = 10
_LONGEST_S: Final = 12


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What every part works with: a large and a small book with their questions, a directory, seconds a load.

    The questions are shared by the parts, so that none writes what another has written already.
    """

    directory: Path
    large: Book
    small: Book
    about_large: Questions
    about_small: Questions
    seconds: float


@dataclass(frozen=True, slots=True)
class Yardstick:
    """uvicorn's hello world with one client and with many."""

    one: Load
    many: Load


def yardstick(bench: Bench) -> Yardstick:
    """Measured anew for each part, so that what slows the machine for a while slows both."""
    with servers.hello() as server:
        measure = partial(server.load, [Request("GET", "/")], bench.directory)
        measure(clients=_MANY_CLIENTS, seconds=1)
        many = measure(clients=_MANY_CLIENTS, seconds=bench.seconds)
        return Yardstick(one=measure(clients=1, seconds=bench.seconds), many=many)


def loading(bench: Bench) -> list[Table]:
    """C. The loader, and what SQLite alone does with the same rows on the same disk."""
    hello = yardstick(bench).many.per_cpu_s
    book = bench.large
    columns = ("what", "rows", "rows/s", "rows per hello request")
    table = Table(
        "C. Loading",
        columns,
        note=f"Transactions of {books.CHUNK:,} facts. The bare rows have the same table, indexes and durability, but "
        "no history, no audit, no hash chain and no checks. One hello request is the yardstick's on the same core.",
    )
    with pinned(SERVER_CORE):
        bare = books.bare_rows_per_s(book.path, bench.directory / "bare.db")
        commits = books.bare_commits_per_s(bench.directory / "commits.db")
    directory, grants = len(book.world.directory), len(book.world.grants)
    for what, rows, rate in (
        ("people, departments, roles, entities, containment", directory, directory / book.directory_s),
        ("grants, each with its change in the hashed history", grants, grants / book.grants_s),
        ("the same grants by bare sqlite3, no history", grants, bare),
        ("durable commits of one row by bare sqlite3", None, commits),
    ):
        table.add(what, rows, rate, rate / hello)
    table.add("database on disk, MB", None, book.path.stat().st_size / 1e6, None)
    return [table, importing.table(bench.directory, int(grants * _IMPORTED))]


def lists(bench: Bench) -> list[Table]:
    """B. Lists, pages, bulk: in process and over HTTP, and the statements that each issues on both books."""
    hello = yardstick(bench).one
    small, large = bench.about_small, bench.about_large
    small_counts = _statements(bench.small, [*small.reads(), *small.writes(), *small.checks()])
    asked = [*large.reads(), *large.writes(), *large.checks()]
    large_counts = _statements(bench.large, asked)
    in_process = _in_process(bench.large, asked)
    over_http = _over_http(bench, asked)
    few, many = f"{len(bench.small.world.grants):,}", f"{len(bench.large.world.grants):,}"
    times = Table(
        f"B. Lists on {many} grants",
        (
            "what",
            "items",
            "use-case p50 ms",
            "use-case p99 ms",
            "HTTP p50 ms",
            "HTTP p99 ms",
            "HTTP CPU ms",
            "CPU x hello",
            "target ms, HTTP p50",
        ),
        note="One caller at a time. The use-case returns values; HTTP adds the key, validation, names and JSON. CPU is "
        "that of the server for one request; x hello is how many requests of the yardstick it would pay for. "
        f"The yardstick answers one client with p50 {hello.p50_ms:.3f} ms and {hello.per_cpu_s:,.0f} requests per "
        "CPU-second.",
    )
    counts = Table(
        "B. SQL statements of one call",
        ("what", f"use-case, {few} grants", f"use-case, {many}", f"HTTP, {few}", f"HTTP, {many}", "grows"),
        note="Without BEGIN and COMMIT. HTTP includes looking up the key and the caller's membership, and names: one "
        f"statement for each kind of name in the answer, so that two answers may differ by {_KINDS_OF_NAME}.",
    )
    for number, question in enumerate(asked):
        (size, alone), load = in_process[number], over_http[number]
        target: Cell = None if question.target_ms is None else verdict(load.p50_ms, question.target_ms)
        cpu_ms, hellos = 1e3 / load.per_cpu_s, hello.per_cpu_s / load.per_cpu_s
        times.add(question.name, size, alone.p50_ms, alone.p99_ms, load.p50_ms, load.p99_ms, cpu_ms, hellos, target)
        before, after = small_counts[number], large_counts[number]
        grows = "no" if after[0] <= before[0] and after[1] <= before[1] + _KINDS_OF_NAME else "YES"
        counts.add(question.name, before[0], after[0], before[1], after[1], grows)
    return [times, counts]


def _statements(book: Book, asked: Sequence[Question]) -> list[tuple[int, int]]:
    """Statements of each question in process and through the application."""
    desk = book.open()
    app = create_app(desk)

    async def through_app(question: Question) -> int:
        transport = httpx.ASGITransport(app)
        key = book.member_key if question.as_member else book.key
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        request = question.request(1)
        async with httpx.AsyncClient(transport=transport, base_url="http://benchmark", headers=headers) as client:
            with counted_statements() as counter:
                answer = await client.request(request.method, request.path, content=request.body)
        answer.raise_for_status()
        return counter.statements

    found: list[tuple[int, int]] = []
    for question in asked:
        with counted_statements() as counter:
            question.ask(desk, 0)
        found.append((counter.statements, asyncio.run(through_app(question))))
    desk.close()
    return found


def _in_process(book: Book, asked: Sequence[Question]) -> list[tuple[int, Times]]:
    """The median size of the first answers, and the times, on the core that the servers run on."""
    desk = book.open()
    found: list[tuple[int, Times]] = []
    with pinned(SERVER_CORE):
        for question in asked:
            sizes = [question.ask(desk, number) for number in range(1 if question.writes else 9)]
            at_most = _AT_MOST_WRITES if question.writes else _AT_MOST
            taken = times_of(partial(question.ask, desk), at_most=at_most, budget_s=_BUDGET_S)
            found.append((int(median(sizes)), taken))
    desk.close()
    return found


def _over_http(bench: Bench, asked: Sequence[Question]) -> list[Load]:
    """One client; every question is answered once before it is timed."""
    with servers.grantbook(bench.large, asked[0].request(0)) as server:
        return [_load(bench, server, question, clients=1) for question in asked]


def _load(bench: Bench, server: Server, question: Question, *, clients: int) -> Load:
    """For the bench's seconds; for longer where that is too short for a handful of answers."""
    key = bench.large.member_key if question.as_member else bench.large.key
    status, answer = server.ask(question.request(0), key)
    if status not in {200, 201}:
        raise RuntimeError(f"{question.name}: {status} {answer}")
    requests = [question.request(number) for number in range(_repetitions(question))]
    seconds = bench.seconds
    while True:
        load = server.load(requests, bench.directory, clients=clients, seconds=seconds, key=key)
        if question.writes and load.requests > len(requests):
            raise RuntimeError(f"{question.name}: {load.requests} requests were sent of {len(requests)} different ones")
        if load.requests >= _ENOUGH * clients or seconds >= _LONGEST_S:
            return load
        seconds *= 2
        if question.writes:  # neither those that were answered nor those that were cut off
            requests = requests[load.requests + 2 * clients + 2 :]


def _repetitions(question: Question) -> int:
    if not question.writes:
        return 200
    return _HTTP_BULKS if "bulk" in question.name else 12_000


def traffic(bench: Bench) -> list[Table]:
    """A. Rates, start-up and memory of the server."""
    compared = yardstick(bench)
    questions = bench.about_large
    check, hundred, thousand, mixed = questions.checks()
    resolved = questions.reads()[1]
    create, bulk = questions.writes()
    table = Table(
        f"A. One server process on {len(bench.large.world.grants):,} grants",
        ("what", "clients", "requests/s", "requests per CPU-s", "of hello", "items per CPU-s", "p50 ms", "p99 ms"),
        note="Per CPU-second of the server's processes, which share one core; the clients have the other. "
        "`of hello` compares requests per CPU-second with the yardstick's at as many clients.",
    )
    _row(table, "uvicorn hello world (the yardstick)", 1, compared.one, compared, 0)
    _row(table, "uvicorn hello world (the yardstick)", _MANY_CLIENTS, compared.many, compared, 0)
    memory = Table("A. Memory of the server, MB", ("when", "resident", "private"))
    started: list[float] = []
    for _ in range(2):
        with servers.grantbook(bench.large, check.request(0)) as server:
            started.append(server.started_s)
    with servers.grantbook(bench.large, check.request(0)) as server:
        started.append(server.started_s)
        memory.add("after start and one check", *memory_mb(server.pid))
        plan = ((check, 1, 1), (check, _MANY_CLIENTS, 1), (hundred, 4, 100), (thousand, 4, 1_000), (mixed, 4, 1_000))
        for question, clients, items in (*plan, (resolved, 1, len(bench.large.world.entities))):
            _row(table, question.name, clients, _load(bench, server, question, clients=clients), compared, items)
        memory.add("after the reads", *memory_mb(server.pid))
        for question, clients, items in ((create, 1, 1), (create, _MANY_CLIENTS, 1), (bulk, 1, 1_000)):
            _row(table, question.name, clients, _load(bench, server, question, clients=clients), compared, items)
        memory.add("after the writes", *memory_mb(server.pid))
    start = Table("A. Start of the server", ("what", "seconds", "target s"))
    taken = median(started)
    start.add("start of the process to its first check, median of 3", taken, verdict(taken, START_TARGET_S))
    return [table, memory, start]


def _row(table: Table, name: str, clients: int, load: Load, compared: Yardstick, items: int) -> None:
    """`items` is how many checks, grants or entities one request is about."""
    hello = compared.one if clients == 1 else compared.many
    of_hello = load.per_cpu_s / hello.per_cpu_s
    per_cpu_s = items * load.per_cpu_s if items else None
    table.add(name, clients, load.per_s, load.per_cpu_s, of_hello, per_cpu_s, load.p50_ms, load.p99_ms)
