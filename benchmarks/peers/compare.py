"""Every system in turn: load, verify, measure; then the tables of ratios."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from benchmarks import servers
from benchmarks.peers import targets
from benchmarks.peers import world as worlds
from benchmarks.peers.cerbos import all_ways
from benchmarks.peers.grantbook import GrantbookServer
from benchmarks.peers.library import GrantbookLibrary, Library
from benchmarks.peers.openfga import OpenFGA
from benchmarks.peers.protocol import WORKS, Measured, Peer, Size, Work
from benchmarks.peers.running import generator_time
from benchmarks.peers.setup import Missing
from benchmarks.peers.spicedb import SpiceDB
from benchmarks.peers.versions import version
from benchmarks.peers.world import Questions, World
from benchmarks.report import Cell, Table, shown
from benchmarks.servers import Load, Request

_SAMPLE: Final = 3_000
_LISTS: Final = 20
_HELLO_CLIENTS: Final = (1, 4, 32)
_BUSY: Final = 0.9
_VERSIONED: Final = ("spicedb", "openfga", "cerbos", "casbin", "cedarpy")


class Differs(Exception):
    """A system does not give the answers that the reference gives."""


@dataclass
class Found:
    """What one system did, or why it is missing."""

    name: str
    way: str
    missing: str = ""
    load_s: float = 0.0
    loaded: Size | None = None
    used: Size | None = None
    verified: str = ""
    works: dict[Work, Measured | str] = field(default_factory=dict)


def run(directory: str | None, *, grants: int, seed: int, seconds: float, only: Sequence[str] = ()) -> list[Table]:
    """Measure all, or those whose names begin with one of `only`. What answers wrongly gets no figures."""
    world = worlds.make(seed, grants)
    questions = Questions.about(world)
    with tempfile.TemporaryDirectory(prefix="benchmarks-peers-", dir=directory) as name:
        place = Path(name)
        hellos = _hello(place, seconds)
        found = [
            _measured(peer, world, questions, place, seconds)
            for peer in _peers()
            if not only or any(peer.name.lower().startswith(each.lower()) for each in only)
        ]
    return _tables(world, hellos, found)


def _peers() -> list[Peer]:
    return [
        GrantbookServer(),
        SpiceDB(heartbeat=True),
        SpiceDB(heartbeat=False),
        OpenFGA(),
        *all_ways(),
        GrantbookLibrary(),
        Library("casbin"),
        Library("cedarpy"),
    ]


def _hello(directory: Path, seconds: float) -> dict[int, tuple[Load, float]]:
    """The yardstick by number of clients, each with how busy the generator was."""
    found: dict[int, tuple[Load, float]] = {}
    with servers.hello() as server:
        server.load([Request("GET", "/")], directory, clients=_HELLO_CLIENTS[-1], seconds=1)
        for clients in _HELLO_CLIENTS:
            with generator_time() as used:
                load = server.load([Request("GET", "/")], directory, clients=clients, seconds=seconds)
            found[clients] = load, used()
    return found


def _measured(peer: Peer, world: World, questions: Questions, directory: Path, seconds: float) -> Found:
    found = Found(peer.name, peer.way)
    print(f"{peer.name}, {peer.way}: loading", file=sys.stderr)
    try:
        found.load_s = peer.load(world, questions, directory)
        found.loaded = peer.size()
        found.verified = _verified(peer, world, questions)
        for work in WORKS:
            print(f"{peer.name}, {peer.way}: {work.short}", file=sys.stderr)
            found.works[work] = _work_of(peer, work, seconds)
        found.used = peer.size()
    except (Missing, Differs) as error:
        found.missing = str(error)
        print(f"{peer.name}: {error}", file=sys.stderr)
    finally:
        peer.stop()
    return found


def _work_of(peer: Peer, work: Work, seconds: float) -> Measured | str:
    """What is refused or breaks has no figure: a reason instead."""
    try:
        return peer.measure(work, seconds)
    except RuntimeError as error:
        return f"failed: {error}"


def _verified(peer: Peer, world: World, questions: Questions) -> str:
    """Compare a sample of answers and lists with the reference. Raises Differs for the first difference."""
    asked = questions.different[:_SAMPLE]
    for question, answer in zip(asked, peer.check(asked), strict=True):
        if answer != world.allowed(question):
            raise Differs(f"WRONG: {answer} to {question}")
    lists = 0
    random = Random(world.seed + 2)
    for user in random.sample(questions.users, min(_LISTS, len(questions.users))):
        listed = peer.entities(user)
        if listed is not None and listed != world.entities_of(user):
            raise Differs(f"WRONG: {len(listed)} entities of {user}, not {len(world.entities_of(user))}")
        lists += listed is not None
    for entity in random.sample(questions.entities, min(_LISTS, len(questions.entities))):
        reaching = peer.users(entity)
        if reaching is not None and reaching != world.users_of(entity):
            raise Differs(f"WRONG: {len(reaching)} users of {entity}, not {len(world.users_of(entity))}")
        lists += reaching is not None
    return f"{len(asked):,} checks" + (f", {lists} lists" if lists else "")


def _tables(world: World, hellos: dict[int, tuple[Load, float]], found: Sequence[Found]) -> list[Table]:
    def line(name: str, way: str, work: Work) -> Measured | None:
        for each in found:
            if each.name.startswith(name) and each.way == way and isinstance(seen := each.works.get(work), Measured):
                return seen
        return None

    hello = hellos[Work.WARM.clients][0]
    tables = [_overview(hellos, found), targets.table(line, hello), _systems(world, found)]
    return tables + [_work(work, hellos, found) for work in WORKS]


def _overview(hellos: dict[int, tuple[Load, float]], found: Sequence[Found]) -> Table:
    """How many times as many answers Grantbook gives per CPU-second."""
    table = Table(
        "E. Grantbook / peer, answers per CPU-second",
        ("peer", "asked", *(work.short for work in WORKS)),
        note="Grantbook over HTTP beside servers, in process beside libraries; the CPU time of PostgreSQL counts where "
        "there is one. The last line is Grantbook over HTTP as a share of the yardstick's requests.",
    )
    for each in found:
        if each.name.startswith("Grantbook"):
            continue
        if each.missing:
            table.add(f"{each.name}: missing", each.way, *(None for _ in WORKS))
            continue
        cells = (_ratio(_own(found, each.way).get(work), each.works.get(work)) for work in WORKS)
        table.add(each.name, each.way, *cells)
    shares = [_of_hello(_own(found, "HTTP").get(work), hellos[work.clients][0]) for work in WORKS]
    table.add("Grantbook / uvicorn hello world", "HTTP", *shares)
    return table


def _systems(world: World, found: Sequence[Found]) -> Table:
    relations = len(world.grants) + sum(map(len, world.groups.values()))
    table = Table(
        "E. Loading, memory and verification",
        ("system", "asked", "version", "load s", "rows/s", "MB loaded", "MB at end", "PostgreSQL MB", "same answers"),
        note=f"{len(world.grants):,} grants and {relations - len(world.grants):,} memberships, by each system's own "
        "way for bulk. Memory is proportional (PSS): pages that processes share are counted once.",
    )
    for each in found:
        version_ = next((version(name) for name in _VERSIONED if each.name.lower().startswith(name)), "this one")
        if each.missing or each.loaded is None or each.used is None:
            table.add(each.name, each.way, version_, *(None for _ in range(5)), f"missing: {each.missing}")
            continue
        rate = relations / each.load_s if each.load_s else None
        database = each.used.database_mb or None
        megabytes = each.loaded.server_mb, each.used.server_mb, database
        table.add(each.name, each.way, version_, each.load_s or None, rate, *megabytes, each.verified)
    return table


def _work(work: Work, hellos: dict[int, tuple[Load, float]], found: Sequence[Found]) -> Table:
    columns = (
        "system",
        "asked",
        "per CPU-s",
        "per CPU-s without PostgreSQL",
        "x hello",
        "Grantbook / it",
        "per second",
        "p50 ms",
        "p99 ms",
        "limited by",
        "remark",
    )
    table = Table(f"E. {work.title}", columns, note=_left_out(work, found))
    hello, generator_s = hellos[work.clients]
    limit = _limit(hello.requests / hello.per_cpu_s, generator_s, hello.requests / hello.per_s)
    rates = hello.per_cpu_s, None, 1.0, None, hello.per_s
    table.add("uvicorn hello world", "HTTP", *rates, hello.p50_ms, hello.p99_ms, limit, None)
    for each in found:
        line = each.works.get(work)
        if each.missing:
            table.add(each.name, each.way, *(None for _ in range(8)), f"missing: {each.missing}")
        elif isinstance(line, Measured):
            table.add(
                each.name,
                each.way,
                line.per_cpu_s,
                line.per_server_cpu_s if line.database_s else None,
                _of_hello(line, hello),
                _ratio(_own(found, each.way).get(work), line),
                line.answers / line.seconds,
                line.p50_ms,
                line.p99_ms,
                _limit(line.server_s + line.database_s, line.generator_s, line.seconds),
                line.note or None,
            )
    return table


def _left_out(work: Work, found: Sequence[Found]) -> str:
    """A sentence on who has no line, and why."""
    names: dict[str, list[str]] = {}
    for each in found:
        if isinstance(reason := each.works.get(work), str):
            name = each.name.partition(", ")[0] if each.way != "in process" else each.name
            if name not in names.setdefault(reason, []):
                names[reason].append(name)
    reasons = "; ".join(f"{' and '.join(who)}: {reason}" for reason, who in names.items())
    return f"Without a line: {reasons}." if reasons else ""


def _own(found: Sequence[Found], way: str) -> dict[Work, Measured | str]:
    """Grantbook's own figures of the same kind: in process, or served."""
    inside = way == "in process"
    for each in found:
        if each.name.startswith("Grantbook") and (each.way == "in process") == inside:
            return each.works
    return {}


def _ratio(own: Measured | str | None, other: Measured | str | None) -> Cell:
    if not isinstance(own, Measured) or not isinstance(other, Measured):
        return None
    return own.per_cpu_s / other.per_cpu_s


def _of_hello(measured: Measured | str | None, hello: Load) -> Cell:
    return measured.per_cpu_s / hello.per_cpu_s if isinstance(measured, Measured) else None


def _limit(busy_s: float, generator_s: float, seconds: float) -> str:
    """What stood in the way of more per second: the cores that were busy, or neither (a disk, or one caller's turn)."""
    if busy_s >= _BUSY * seconds:
        return "its core"
    if generator_s >= _BUSY * seconds:
        return "the generator"
    return f"neither: {shown(round(100 * busy_s / seconds))} % busy"
