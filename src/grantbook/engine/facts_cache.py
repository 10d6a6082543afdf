"""Facts of the present, kept in memory and never out of date.

    with cache:                                   for one thread at a time
        facts = cache.current("org_...")          as new as the newest commit of any process
        facts.ranks([("usr_1", ref)], at)         from memory; what is missing is loaded first

Before anything is answered the store is asked for a number that every commit changes. Where it moved, the changes since
are applied: a changed grant takes the place of the one before it, anything else that changed is dropped, and no more
than that. What is not there is held too. Memory is bounded: what no question touched for the longest goes first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import BoundedSemaphore
from types import TracebackType
from typing import Final, Self

from grantbook.engine.held_facts import Pair
from grantbook.engine.organization_facts import OrganizationFacts
from grantbook.model.vocabulary import Vocabulary
from grantbook.store.port import Store

_PATIENCE_S: Final = 0.001
_ORGANIZATION_BYTES: Final = 3_000
_YOUNG_SHARE: Final = 0.45
"""The older half takes as much again, and the rest is lost between the two in the memory of the process."""
MAX_APART: Final = 4
"""So many threads load at a time without holding up others, each on a connection of its own."""


class FactCache:
    """The facts of every organization, in at most about `max_bytes`; 0 keeps nothing from one question to the next.

    Use it in a `with` block, or between `enter` and `leave`; safe to share between threads.
    """

    def __init__(self, store: Store, vocabulary: Vocabulary, max_bytes: int) -> None:
        self.present = store.present()
        self.vocabulary = vocabulary
        self.spent_bytes = 0
        self.loads = 0
        self.rotations = 0
        self._max_bytes = max_bytes
        self._organizations: dict[str, OrganizationFacts] = {}
        self._version = -1
        self.may_load = True
        self._is_full = False
        self._new: OrganizationFacts | None = None
        self._store = store
        self._apart: list[FactCache] = []
        self._turns = BoundedSemaphore(MAX_APART)

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    @contextmanager
    def asked(self, organization_id: str, pairs: Sequence[Pair], *, is_full: bool, at_least: int = 0) -> Iterator[None]:
        """A block about the organization and these pairs of it; where it is full, as new as the store is now.

        From a store that is far, what is missing is loaded before the block, so that nobody waits for it who needs no
        more than what is held. Raises StoreUnavailable.
        """
        new = None
        if self._max_bytes and not self.present.is_local:
            new = self._load_ahead(organization_id, pairs, at_least=at_least, is_full=is_full)
        self.enter(is_full=is_full)
        self._new = new
        try:
            yield
        finally:
            self.leave()

    def _load_ahead(
        self, organization_id: str, pairs: Sequence[Pair], *, at_least: int, is_full: bool
    ) -> OrganizationFacts | None:
        """Load what is not held; the facts, where they are as new as the store was when this was called."""
        with self:
            facts = self._facts_of(organization_id)
            lags = is_full or self._lags(facts, at_least)
            wanted = pairs if lags else facts.missing(pairs)
        if not wanted and not lags:  # who needs no more than what is held does not wait for a turn
            return None
        with self.apart() as ahead:
            with self:
                copy = self._facts_of(organization_id).copy_into(ahead, wanted)
            copy.version = ahead._version
            news = copy.load_ahead(wanted)
            with self:
                self.spent_bytes += ahead.spent_bytes
                self.loads += bool(wanted)
                facts = self._facts_of(organization_id)
                return facts if facts.take_over(copy, news) else None

    @contextmanager
    def apart(self) -> Iterator["FactCache"]:
        """A block in a cache of its own, on another connection: for what takes long, and keeps nothing for later.

        So many at a time as `MAX_APART`. Raises StoreUnavailable.
        """
        with self._turns:
            apart = self._apart.pop() if self._apart else FactCache(self._store, self.vocabulary, 0)
            try:
                with apart:
                    yield apart
            finally:
                self._apart.append(apart)

    def enter(self, *, waits: bool = True, loads: bool = True, is_full: bool = False) -> bool:
        """As a block begins; False where another thread stays in for longer than this one waits.

        Most stay for microseconds: who did not wait for that would be sent to a thread, which others then find in.
        Who may not load gets no more than what is held, unless the store answers in microseconds anyway.
        Raises StoreUnavailable.
        """
        present = self.present
        if waits:
            present.lock.acquire()
        elif not present.lock.acquire(timeout=_PATIENCE_S):
            return False
        self.may_load = loads or present.is_local
        self._new = None
        self._is_full = is_full and not present.is_local
        try:
            self._version = present.version()
        except BaseException:
            present.lock.release()
            raise
        return True

    def leave(self) -> None:
        """As `with` ends."""
        if self.spent_bytes > self._max_bytes * _YOUNG_SHARE:
            self._rotate()
        self.present.lock.release()

    def current(self, organization_id: str, *, at_least: int = 0) -> OrganizationFacts:
        """The facts of an organization, as new as the block that asks, and at the revision if there is one like it.

        Raises StoreUnavailable; TooMuchToLoad in a block that may not load.
        """
        facts = self._organizations.get(organization_id) or self._facts_of(organization_id)  # saves the call
        if facts is self._new and facts.revision >= at_least:
            return facts
        if facts.version != self._version or facts.revision < at_least or self._is_full:
            if self._may_lag(facts, at_least):
                facts.catch_up()
            facts.version = self._version
        return facts

    def _lags(self, facts: OrganizationFacts, at_least: int) -> bool:
        return (facts.version != self._version or facts.revision < at_least) and self._may_lag(facts, at_least)

    def _facts_of(self, organization_id: str) -> OrganizationFacts:
        """As new as they are."""
        facts = self._organizations.get(organization_id)
        if facts is None:
            facts = self._organizations[organization_id] = OrganizationFacts(self, organization_id)
            self.spent_bytes += _ORGANIZATION_BYTES
        return facts

    def _may_lag(self, facts: OrganizationFacts, at_least: int) -> bool:
        if self._is_full or facts.revision < at_least:
            return True
        return self.present.has_moved(facts.id, version=facts.version, revision=facts.revision)

    @property
    def held_organizations(self) -> int:
        """Of how many organizations anything is held."""
        return len(self._organizations)

    def close(self) -> None:
        """Forget everything and release the connection."""
        with self.present.lock:
            self._organizations.clear()
            self.present.close()
        for apart in self._apart:
            apart.close()

    def _rotate(self) -> None:
        """What was touched since the last time stays for another round; what was not goes."""
        self.spent_bytes = 0
        self.rotations += 1
        if not self._max_bytes:
            self._organizations.clear()
            return
        self._organizations = {id_: facts for id_, facts in self._organizations.items() if facts.rotate()}
