"""What writers looked up about an organization, and is still so.

Who gives a thousand grants is asked a thousand times who they are, and what the entity is called. A writer finds what
the one before it had looked up, if nothing but grants was changed in between: the hash of the newest change tells that
nobody else wrote, in whatever process.
"""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Final, TypeVar

from grantbook.model.facts import Entity, Grant
from grantbook.store.port import Transaction

T = TypeVar("T")

_MAX_ORGANIZATIONS: Final = 32
_MAX_ANSWERS: Final = 1_000
_GRANTS: Final = frozenset({Grant})
Answers = dict[Hashable, Any]


class Remembered:
    """What the last writer of each organization knew. Writers of one organization take turns; others may be beside."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, Answers]] = {}
        self._lock = Lock()

    def at(self, organization_id: str, state: str) -> Answers:
        """What is known of this state, to be added to."""
        held = self._held.get(organization_id)
        return held[1] if held is not None and held[0] == state else {}

    def keep(self, organization_id: str, state: str, answers: Answers) -> None:
        """That the answers hold for this state too, and for no other."""
        with self._lock:
            self._held.pop(organization_id, None)
            if len(answers) <= _MAX_ANSWERS:
                self._held[organization_id] = state, answers
            while len(self._held) > _MAX_ORGANIZATIONS:
                self._held.pop(next(iter(self._held)))


class Recollection:
    """What one transaction may take from those before it, and leave to those after it: all but what is about grants."""

    def __init__(self, remembered: Remembered, transaction: Transaction) -> None:
        self._remembered = remembered
        self._transaction = transaction
        self._answers = remembered.at(transaction.organization_id, transaction.tip.hash)

    @property
    def is_good(self) -> bool:
        """Whether the transaction changed nothing but grants so far."""
        return _GRANTS.issuperset(self._transaction.changed_kinds)

    def answer(self, question: Hashable, find: Callable[[], T]) -> T:
        """What was found before, or else now."""
        if not self.is_good:
            return find()
        if question in self._answers:
            known: T = self._answers[question]
            return known
        found = find()
        if not (isinstance(found, Entity) and found.attributes):  # they may be long
            self._answers[question] = found
        return found

    def leave(self) -> None:
        """To whoever begins at the state that the transaction leaves: if it fails after all, nobody does."""
        if self.is_good:
            self._remembered.keep(self._transaction.organization_id, self._transaction.tip.hash, self._answers)
