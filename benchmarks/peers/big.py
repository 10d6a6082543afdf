"""A book of many organizations: 1,000 of them hold 1,000,000 users and 10,000,000 grants. Grantbook only.

What is asked: whether loading keeps its pace, how long a server takes to its first answer on a large book, what a check
costs in an organization that nobody has asked about before, and what the server keeps in memory.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.machine import SERVER_CORE, pinned
from benchmarks.measuring import percentile
from benchmarks.peers import world as worlds
from benchmarks.peers.grantbook import book_facts, serve, wire_check
from benchmarks.peers.running import Json, Process, cpu_seconds, free_port, proportional_mb
from benchmarks.peers.world import Question, Questions
from benchmarks.report import Table
from benchmarks.world import OWNER_ID
from grantbook.bootstrap import open_desk
from grantbook.service import keys, organizations
from grantbook.service.desk import SYSTEM, Caller, Desk
from grantbook.store.port import Author

GRANTS: Final = 10_000
USERS: Final = 1_000
_SMALL: Final = 20
_CHUNK: Final = 5_000
_ASKED: Final = 50
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Tenant:
    """One organization: its id, a key, and questions with their answers."""

    id: str
    key: str
    asked: list[tuple[Question, bool]]


def run(directory: str | None, *, organizations_: int, seed: int) -> list[Table]:
    """Load a few organizations and measure, load the rest and measure again."""
    loading = Table(
        "F. Loading many organizations",
        ("organizations", "grants", "facts", "facts/s", "MB on disk"),
        note=f"{GRANTS:,} grants and {USERS:,} users in each; transactions of {_CHUNK:,} facts.",
    )
    asking = Table(
        "F. Checks, one client",
        ("organizations", "asked", "checks", "CPU ms", "p50 ms", "p99 ms", "MB of the server"),
        note="Cold: the first question about an organization since the server started. The others go round them all.",
    )
    with tempfile.TemporaryDirectory(prefix="benchmarks-big-", dir=directory) as name:
        path, tenants = Path(name) / "book.db", list[Tenant]()
        for wanted in sorted({min(_SMALL, organizations_), organizations_}):
            added, facts, took_s = _load(path, range(len(tenants), wanted), seed)
            tenants += added
            grants, size_mb = GRANTS * len(tenants), path.stat().st_size / 1e6
            loading.add(len(tenants), grants, facts, facts / took_s, size_mb)
            _ask(asking, path, tenants)
    return [loading, asking]


def _load(path: Path, numbers: range, seed: int) -> tuple[list[Tenant], int, float]:
    """The organizations of those numbers, how many facts they have, and how long the store took for them."""
    tenants, facts, took_s = list[Tenant](), 0, 0.0
    with pinned(SERVER_CORE):
        desk = open_desk(f"sqlite:///{path}")
        for number in numbers:
            tenant, count, seconds = _add(desk, number, seed + number)
            tenants.append(tenant)
            facts, took_s = facts + count, took_s + seconds
            if number % 100 == 99:
                print(f"{number + 1:,} organizations, {facts / took_s:,.0f} facts/s", file=sys.stderr)
        desk.store.close()
    return tenants, facts, took_s


def _add(desk: Desk, number: int, seed: int) -> tuple[Tenant, int, float]:
    organization_id = f"org_benchmark{number}"
    with desk.writing(organization_id, SYSTEM) as writing:
        email = f"owner{number}@example.org"
        organizations.found(writing, name=f"Benchmark {number}", owner_email=email, owner_id=OWNER_ID)
    with desk.writing(organization_id, Caller(user_id=OWNER_ID)) as writing:
        _, key = keys.create(writing, user_id=OWNER_ID, name="owner")
    world = worlds.make(seed, GRANTS, users_per_grant=USERS / GRANTS)
    made = book_facts(world)
    facts = [*made.directory, *made.grants]
    begin = time.perf_counter()
    for first in range(0, len(facts), _CHUNK):
        with desk.store.transaction(organization_id, Author(actor_id=OWNER_ID)) as book:
            for fact in facts[first : first + _CHUNK]:
                book.add(fact, "granted")
    took_s = time.perf_counter() - begin
    singles = Questions.about(world).warm[:_ASKED]
    asked = [(question, world.allowed(question)) for question in singles]
    return Tenant(organization_id, key, asked), len(facts), took_s


def _ask(table: Table, path: Path, tenants: Sequence[Tenant]) -> None:
    """First each organization once, then all of them in random order."""
    begin = time.perf_counter()
    with _serving(path) as (pid, port):
        client = Json(port)
        _time(client, tenants[:1], 0)
        started_ms = (time.perf_counter() - begin) * 1e3
        table.add(len(tenants), "start to first answer", 1, None, started_ms, None, proportional_mb(pid))
        order = Random(1).sample(tenants, len(tenants))
        for title, rounds in (("cold", range(1, 2)), ("again", range(2, 2 + _ROUNDS))):
            before = cpu_seconds(pid)
            taken = [each for at in rounds for each in _time(client, order, at)]
            used_ms = (cpu_seconds(pid) - before) * 1e3 / len(taken)
            p50_ms, p99_ms = percentile(taken, 50), percentile(taken, 99)
            table.add(len(tenants), title, len(taken), used_ms, p50_ms, p99_ms, proportional_mb(pid))
        client.close()


def _time(client: Json, tenants: Sequence[Tenant], at: int) -> list[float]:
    """Milliseconds of one question to each. Raises RuntimeError for a wrong answer."""
    taken = []
    for tenant in tenants:
        question, allowed = tenant.asked[at % _ASKED]
        path = f"/v1/organizations/{tenant.id}/access/check"
        begin = time.perf_counter()
        answer = client.post(path, wire_check(question), headers={"X-API-Key": tenant.key})
        taken.append((time.perf_counter() - begin) * 1e3)
        if answer["allowed"] != allowed:
            raise RuntimeError(f"{tenant.id} answers {answer} to {question}")
    return taken


@contextmanager
def _serving(path: Path) -> Iterator[tuple[int, int]]:
    port = free_port()
    process = Process(serve(f"sqlite:///{path}", port), path.with_suffix(".log"))
    try:
        process.wait_until(lambda: Json(port).get("/healthz"))
        yield process.pid, port
    finally:
        process.stop()
