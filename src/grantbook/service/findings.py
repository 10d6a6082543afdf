"""What is wrong with a book."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from grantbook.model.errors import DamagedBook
from grantbook.store.history import Chain

MAX_PROBLEMS: Final = 1_000


class Problem(NamedTuple):
    """What is wrong with what: a kind of fact and its key, or change, head, revision."""

    kind: str
    key: str
    message: str


@dataclass
class Findings:
    """What was looked at, and what is wrong with it: the first `MAX_PROBLEMS`, and whether there are more."""

    organization_id: str
    revision: int
    changes: int = 0
    versions: int = 0
    problems: list[Problem] = field(default_factory=list)
    has_more: bool = False
    broken_at: tuple[int, int] | None = None

    @property
    def is_intact(self) -> bool:
        return not self.problems

    def add(self, kind: str, key: str, message: str) -> None:
        """One more, as long as there are few."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(kind, key, message))
        else:
            self.has_more = True

    def raise_any(self) -> None:
        """Raises TamperedHistory(organization_id, revision, ordinal) where the chain does not hold, else
        DamagedBook(organization_id, kind, key, problems) if anything is wrong."""
        if self.broken_at is not None:
            raise Chain(self.organization_id).broken_at(*self.broken_at)
        if self.problems:
            kind, key, _ = self.problems[0]
            raise DamagedBook(organization_id=self.organization_id, kind=kind, key=key, problems=len(self.problems))
