"""What a peer is: something that loads the world, answers questions, and can be measured at each piece of work."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from benchmarks.peers.world import Question, Questions, World


class Work(Enum):
    """The pieces of work, each with a name for a column, a title for a table, and how many clients ask at once."""

    COLD = "check, cold", "Check, each user and each entity for the first time since the start", 32
    WARM = "check, warm", "Check, 2,000 questions asked over and over", 32
    DIFFERENT = "check, different", "Check, 60,000 different questions", 32
    ONE = "check, 1 client", "Check, 2,000 questions asked over and over", 1
    HUNDRED = "batch of 100", "Batches of 100 checks of one user", 4
    THOUSAND = "batch of 1,000", "Batches of 1,000 checks of one user", 4
    PAGE = "first 100 entities", "Entities of a user (about 900), the first 100", 4
    ENTITIES = "all entities", "Entities of a user, all", 4
    USERS = "all users", "Users of an entity (about 1,800), all", 4
    WRITE = "write", "One grant, durable when answered", 32

    def __init__(self, short: str, title: str, clients: int) -> None:
        self.short = short
        self.title = f"{title}, {clients} {'client' if clients == 1 else 'clients'}"
        self.clients = clients


WORKS: Final = tuple(Work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """`answers` counts checks, lists or grants; latencies are of one request. `database_s` is PostgreSQL's CPU time."""

    answers: float
    seconds: float
    server_s: float
    database_s: float = 0.0
    generator_s: float = 0.0
    p50_ms: float
    p99_ms: float | None
    note: str = ""

    @property
    def per_cpu_s(self) -> float:
        """Answers per CPU-second of everything that answers, the database included."""
        return self.answers / max(self.server_s + self.database_s, 0.01)

    @property
    def per_server_cpu_s(self) -> float:
        """Answers per CPU-second of the server alone."""
        return self.answers / max(self.server_s, 0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Proportional megabytes in memory: shared pages are divided among those who share them."""

    server_mb: float
    database_mb: float = 0.0


class Peer(Protocol):
    """One system under test, pinned to the core of the servers. `way` is how it is asked: HTTP, gRPC or in process.

    Every method may raise Missing, with the reason that the tables show.
    """

    name: str
    way: str

    def load(self, world: World, questions: Questions, directory: Path) -> float:
        """Start, put the world in, and return the seconds that the putting in took."""

    def check(self, questions: Sequence[Question]) -> list[bool]:
        """Answer by the route for single checks and, where there is one, by the route for batches too."""

    def entities(self, user: str, /) -> set[str] | None:
        """All that the user may read; None where that cannot be asked."""

    def users(self, entity: str, /) -> set[str] | None:
        """All who may read the entity; None where that cannot be asked."""

    def measure(self, work: Work, seconds: float) -> Measured | str:
        """The work for that long, or why there is nothing to measure."""

    def size(self) -> Size:
        """Memory now."""

    def stop(self) -> None:
        """End what was started. Safe to call when nothing was."""
