"""What the project set itself to reach beside the others, and whether this run reached it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.peers.protocol import Measured, Work
from benchmarks.report import Table, shown
from benchmarks.servers import Load

Line = Callable[[str, str, Work], Measured | None]
"""What a system did: by the beginning of its name, the way it is asked, and the work."""


_HELLO: Final = 50_606
"""What the yardstick did where the bounds were set, in requests per CPU-second."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something to reach: at least so much, or at most."""

    what: str
    bound: float
    value: Callable[[Line, Load], float | None]
    at_most: bool = False
    is_ratio: bool = False

    def scaled(self, value: float, hello: Load) -> float:
        """What it would be where the bounds were set, by the yardstick here and there; a ratio is what it is."""
        if self.is_ratio:
            return value
        factor = _HELLO / hello.per_cpu_s
        return value / factor if self.at_most else value * factor

    def verdict(self, value: float) -> str:
        """The bound, and whether it was kept."""
        kept = value <= self.bound if self.at_most else value >= self.bound
        return f"{'<=' if self.at_most else '>='} {shown(self.bound)}: {'yes' if kept else 'NO'}"


def table(line: Line, hello: Load) -> Table:
    """Rates are per CPU-second of the server."""
    made = Table(
        "E. To reach",
        ("what", "measured", "scaled", "to reach"),
        note=f"The bounds were set on a machine whose yardstick did {_HELLO:,} requests per CPU-second, so what is "
        "held to them is scaled by this run's beside that.",
    )
    for target in _TARGETS:
        value = target.value(line, hello)
        scaled = None if value is None else target.scaled(value, hello)
        made.add(target.what, value, scaled, "not measured" if scaled is None else target.verdict(scaled))
    return made


def _rate(way: str, work: Work) -> Callable[[Line, Load], float | None]:
    def value(line: Line, _: Load) -> float | None:
        own = line("Grantbook", way, work)
        return own.per_cpu_s if own else None

    return value


def _beside(peer: str, way: str, work: Work) -> Callable[[Line, Load], float | None]:
    def value(line: Line, _: Load) -> float | None:
        own, other = line("Grantbook", "HTTP", work), line(peer, way, work)
        return own.per_cpu_s / other.per_cpu_s if own and other else None

    return value


def _latency(work: Work) -> Callable[[Line, Load], float | None]:
    def value(line: Line, _: Load) -> float | None:
        own = line("Grantbook", "in process", work)
        return own.p50_ms if own else None

    return value


def _share_of_hello(line: Line, hello: Load) -> float | None:
    own = line("Grantbook", "HTTP", Work.WARM)
    return own.per_cpu_s / hello.per_cpu_s if own else None


def _tail_beside_hello(line: Line, hello: Load) -> float | None:
    own = line("Grantbook", "HTTP", Work.WARM)
    return own.p99_ms / hello.p99_ms if own and own.p99_ms and hello.p99_ms else None


_TARGETS: Final = (
    Target("check over HTTP, warm / hello", 0.55, _share_of_hello, is_ratio=True),
    Target("its p99 / hello's", 3, _tail_beside_hello, at_most=True, is_ratio=True),
    Target("check, different questions / SpiceDB", 30, _beside("SpiceDB", "gRPC", Work.DIFFERENT), is_ratio=True),
    Target(
        "check, over and over / SpiceDB without heartbeat",
        30,
        _beside("SpiceDB, no", "gRPC", Work.WARM),
        is_ratio=True,
    ),
    Target(
        "check, over and over / Cerbos over HTTP, level sent",
        8,
        _beside("Cerbos, level", "HTTP", Work.WARM),
        is_ratio=True,
    ),
    Target("check over HTTP, cold", 10_000, _rate("HTTP", Work.COLD)),
    Target("checks in batches of 100 over HTTP", 300_000, _rate("HTTP", Work.HUNDRED)),
    Target("checks in batches of 1,000 over HTTP", 450_000, _rate("HTTP", Work.THOUSAND)),
    Target("check in process, warm", 500_000, _rate("in process", Work.WARM)),
    Target("check in process, cold", 25_000, _rate("in process", Work.COLD)),
    Target("all entities of a user in process, p50 ms", 0.5, _latency(Work.ENTITIES), at_most=True),
    Target("all users of an entity in process, p50 ms", 0.5, _latency(Work.USERS), at_most=True),
    Target("single durable grant over HTTP", 1_500, _rate("HTTP", Work.WRITE)),
)
