"""The reference store: plain dictionaries behind a lock. It keeps every promise of the port and nothing on disk."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from operator import gt, lt
from threading import RLock
from typing import Any

from grantbook.model.errors import Conflict
from grantbook.model.facts import (
    FACT_KINDS,
    Containment,
    Department,
    Entity,
    EntityRef,
    Fact,
    Grant,
    Member,
    Principal,
    key_of,
)
from grantbook.model.instants import SECOND, Clock, Instant
from grantbook.model.limits import IDEMPOTENCY_TTL_S
from grantbook.store.history import EMPTY, Recorder
from grantbook.store.matching import contains, matches
from grantbook.store.memory_present import MemoryPresent
from grantbook.store.port import (
    OLDEST_FIRST,
    Among,
    Author,
    Change,
    Contains,
    F,
    Head,
    Lookup,
    Order,
    Snapshot,
    StoredResponse,
    ToldText,
    Version,
    Where,
)
from grantbook.store.texts import texts_of


@dataclass(slots=True)
class _Version:
    fact: Fact
    since: int
    until: int | None = None

    def is_in(self, revision: int) -> bool:
        return self.since <= revision and (self.until is None or self.until > revision)


class _Book:
    """One organization: versions by kind and key, and what else belongs to it."""

    def __init__(self) -> None:
        self.versions: dict[type[Fact], dict[tuple[str, ...], list[_Version]]] = {}
        self.granted: dict[tuple[EntityRef, Principal], set[tuple[str, ...]]] = {}
        """Keys of all grants that ever were, by what they give to whom."""
        self.head = EMPTY
        self.changes: list[Change] = []
        self.responses: dict[str, tuple[Instant, StoredResponse]] = {}

    def note(self, fact: Fact) -> None:
        """That it is there, or was."""
        if isinstance(fact, Grant):
            self.granted.setdefault((fact.entity, fact.grantee), set()).add(key_of(fact))


class MemorySnapshot:
    """See `port.Snapshot`."""

    def __init__(self, organization_id: str, book: _Book, revision: int, lock: RLock) -> None:
        self.organization_id = organization_id
        self.revision = revision
        self._book = book
        self._lock = lock

    def find(self, kind: type[F], *key: str) -> F | None:
        with self._lock:
            for version in self._book.versions.get(kind, {}).get(key, ()):
                if version.is_in(self.revision):
                    return version.fact  # type: ignore[return-value]
        return None

    def select(self, kind: type[F], *where: Where) -> list[F]:
        with self._lock:
            conditions = [self._without_others(each) for each in where]
            return [
                version.fact  # type: ignore[misc]
                for versions in self._book.versions.get(kind, {}).values()
                for version in versions
                if version.is_in(self.revision) and matches(version.fact, conditions)
            ]

    def _without_others(self, where: Where) -> Where:
        """The conditions with the values themselves in place of `Among`."""
        return {name: self._values(wanted) if isinstance(wanted, Among) else wanted for name, wanted in where.items()}

    def _values(self, among: Among) -> set[str]:
        return {getattr(fact, among.field) for fact in self.select(among.kind, {among.by: among.value})}

    def find_all(self, kind: type[F], fields: tuple[str, ...], values: Collection[tuple[str, ...]]) -> list[F]:
        wanted = set(values)
        return [fact for fact in self.select(kind) if tuple([getattr(fact, name) for name in fields]) in wanted]

    def iterate(self, kind: type[F], *, after: tuple[str, ...] = ()) -> Iterator[F]:
        yield from sorted((fact for fact in self.select(kind) if key_of(fact) > after), key=key_of)

    def page(
        self,
        kind: type[F],
        *where: Where,
        skip: int,
        limit: int,
        after: tuple[Instant, str] | tuple[str, str] | None = None,
        order: Order = OLDEST_FIRST,
    ) -> list[F]:
        def place(fact: Any) -> tuple[Any, str]:
            return getattr(fact, order.field), key_of(fact)[-1]

        def rank(fact: Any) -> tuple[bool, Any, str]:
            value, key = place(fact)
            return value is not None, value, key

        found = sorted(self.select(kind, *where), key=rank, reverse=order.is_descending)
        is_past = lt if order.is_descending else gt
        return [fact for fact in found if after is None or is_past(place(fact), after)][skip : skip + limit]

    def count(self, kind: type[Fact], *where: Where) -> int:
        return len(self.select(kind, *where))

    def tally(self, kind: type[Fact], field: str, *where: Where) -> dict[str, int]:
        return dict(Counter(str(getattr(fact, field)) for fact in self.select(kind, *where)))

    def find_changes(
        self,
        *where: Where,
        first: int = 1,
        last: int | None = None,
        before: tuple[int, int] | None = None,
        skip: int,
        limit: int,
    ) -> list[Change]:
        last = self.revision if last is None else min(last, self.revision)
        found = [
            change
            for change in self._book.changes
            if first <= change.revision <= last
            and (before is None or (change.revision, change.ordinal) < before)
            and matches(change, where)
        ]
        return found[::-1][skip : skip + limit]

    def find_texts(self, wanted: Contains, *, limit: int) -> list[ToldText]:
        return [told for told in texts_of(self._book.changes) if contains(told.text, wanted)][:limit]

    def count_changes(self, *where: Where, first: int = 1, last: int | None = None) -> int:
        return len(self.find_changes(*where, first=first, last=last, skip=0, limit=len(self._book.changes)))

    def departments_above(self, department_ids: Collection[str]) -> list[Department]:
        found: dict[str, Department] = {}
        waiting = list(department_ids)
        while waiting:
            department = self.find(Department, waiting.pop())
            if department is not None and department.id not in found:
                found[department.id] = department
                if department.parent_id:
                    waiting.append(department.parent_id)
        return list(found.values())

    def departments_below(self, department_ids: Collection[str]) -> list[Department]:
        found = {d.id: d for d in self.select(Department, {"id": set(department_ids)})}
        frontier = set(found)
        while frontier:
            below = [d for d in self.select(Department, {"parent_id": frontier}) if d.id not in found]
            found.update((d.id, d) for d in below)
            frontier = {d.id for d in below}
        return list(found.values())

    def containers_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        return self._edges(entities, lambda edge: edge.member, lambda edge: edge.container)

    def contents_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        return self._edges(entities, lambda edge: edge.container, lambda edge: edge.member)

    def led_to(
        self,
        grantees: Collection[Principal],
        contents: Mapping[str, Collection[str]],
        levels: Collection[str],
        at: Instant,
    ) -> set[EntityRef]:
        active = {entity.ref for entity in self.select(Entity, {"entity_type": [*contents], "status": "active"})}
        found = {
            grant.entity
            for grant in self.select(Grant, {"access_level": levels})
            if grant.entity in active and grant.grantee in grantees and grant.is_in_force(at)
        }
        frontier = found
        while frontier:
            inside = {
                edge.member
                for edge in self.select(Containment)
                if edge.container in frontier and edge.member_type in contents[edge.container_type]
            }
            frontier = (inside & active) - found
            found = found | frontier
        return found

    def _edges(
        self,
        entities: Collection[EntityRef],
        near: Callable[[Containment], EntityRef],
        far: Callable[[Containment], EntityRef],
    ) -> list[Containment]:
        everything = self.select(Containment)
        found: dict[tuple[str, ...], Containment] = {}
        frontier = set(entities)
        while frontier:
            edges = [edge for edge in everything if near(edge) in frontier and key_of(edge) not in found]
            found.update((key_of(edge), edge) for edge in edges)
            frontier = {far(edge) for edge in edges}
        return list(found.values())


class MemoryTransaction(MemorySnapshot):
    """See `port.Transaction`. Keeps a list of what to undo should it fail."""

    def __init__(self, store: "MemoryStore", organization_id: str, book: _Book, author: Author, now: Instant) -> None:
        self._store = store
        self._recorder = Recorder(organization_id, book.head, now, author)
        self._undo: list[Callable[[], object]] = []
        self._changes: list[Change] = []
        self._kinds: set[type[Fact]] = set()
        self.now = now
        super().__init__(organization_id, book, self._recorder.revision, store.lock)

    @property
    def has_changes(self) -> bool:
        return bool(self._changes)

    @property
    def changed_kinds(self) -> Collection[type[Fact]]:
        return self._kinds

    @property
    def tip(self) -> Head:
        return self._recorder.head if self._changes else self._book.head

    def add(self, fact: Fact, action: str) -> None:
        if self.find(type(fact), *key_of(fact)) is not None or self._has_live_grant(fact):
            raise Conflict(kind=type(fact).__name__, key="/".join(key_of(fact)))
        self._open(fact)
        self._changes.append(self._recorder.record(action, None, fact))

    def replace(self, old: Fact, new: Fact, action: str) -> None:
        if old != new:
            self._close(old)
            self._open(new)
            self._changes.append(self._recorder.record(action, old, new))

    def remove(self, fact: Fact, action: str) -> None:
        self._close(fact)
        self._changes.append(self._recorder.record(action, fact, None))

    def claim(self, lookup: Lookup, values: Mapping[str, str]) -> dict[str, str]:
        lookups = self._store.lookups
        fresh = {(lookup, key): value for key, value in values.items() if (lookup, key) not in lookups}
        lookups.update(fresh)
        self._undo += [partial(lookups.pop, place) for place in fresh]
        return {key: lookups[lookup, key] for key in values}

    def find_response(self, idempotency_key: str) -> StoredResponse | None:
        at, response = self._book.responses.get(idempotency_key, (0, None))
        return response if at > self.now - IDEMPOTENCY_TTL_S * SECOND else None

    def keep_response(self, idempotency_key: str, response: StoredResponse) -> None:
        before = self._book.responses.get(idempotency_key)
        if self.find_response(idempotency_key) is not None:
            raise Conflict(idempotency_key=idempotency_key)
        self._book.responses[idempotency_key] = (self.now, response)
        if before is None:
            self._undo.append(lambda: self._book.responses.pop(idempotency_key))
        else:
            self._undo.append(lambda: self._book.responses.update({idempotency_key: before}))

    def commit(self) -> None:
        if self._changes:
            book, before, count = self._book, self._book.head, len(self._book.changes)
            self._undo += [lambda: setattr(book, "head", before), lambda: book.changes.__delitem__(slice(count, None))]
            book.head = self._recorder.head
            book.changes.extend(self._changes)
        else:
            self.revision = self._book.head.revision

    def rollback(self) -> None:
        for undo in reversed(self._undo):
            undo()

    def _open(self, fact: Fact) -> None:
        versions = self._book.versions.setdefault(type(fact), {}).setdefault(key_of(fact), [])
        versions.append(_Version(fact, self.revision))
        self._kinds.add(type(fact))
        self._undo.append(versions.pop)
        self._book.note(fact)
        if isinstance(fact, Member):
            known = self._store.user_organizations.setdefault(fact.user_id, set())
            if self.organization_id not in known:
                known.add(self.organization_id)
                self._undo.append(lambda: known.discard(self.organization_id))

    def _close(self, fact: Fact) -> None:
        versions = self._book.versions.get(type(fact), {}).get(key_of(fact), [])
        position = next((i for i, each in enumerate(versions) if each.until is None), None)
        if position is None:
            raise Conflict(kind=type(fact).__name__, key="/".join(key_of(fact)))
        version = versions[position]
        self._kinds.add(type(fact))
        if version.since == self.revision:
            versions.pop(position)
            self._undo.append(lambda: versions.insert(position, version))
        else:
            version.until = self.revision
            self._undo.append(lambda: setattr(version, "until", None))

    def _has_live_grant(self, fact: Fact) -> bool:
        if not isinstance(fact, Grant):
            return False
        keys = self._book.granted.get((fact.entity, fact.grantee), ())
        return any(self.find(Grant, *key) is not None for key in keys)


class _Together:
    """See `port.Store.together`."""

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self.done: list[MemoryTransaction] = []

    @contextmanager
    def transaction(self, organization_id: str, author: Author) -> Iterator[MemoryTransaction]:
        with self._store.transaction(organization_id, author) as transaction:
            yield transaction
        self.done.append(transaction)


class MemoryArchive:
    """See `port.Archive`. Takes a copy of what does not say since when it is there."""

    def __init__(self, store: "MemoryStore", snapshot: MemorySnapshot, book: _Book) -> None:
        self.head = book.head
        self.snapshot: Snapshot = snapshot
        self._book = book
        self._changes = list(book.changes)
        self._responses = dict(book.responses)
        self._lookups = dict(store.lookups)
        self._users = {user_id for user_id, known in store.user_organizations.items() if self._id in known}
        self._key_uses = {id_: at for (of, id_), at in store.all_key_uses.items() if of == self._id}

    @property
    def _id(self) -> str:
        return self.snapshot.organization_id

    def count(self) -> int:
        return len(self._changes) + sum(len(list(self.versions(kind))) for kind in FACT_KINDS)

    def revisions(self) -> Iterator[tuple[int, Instant]]:
        return iter(sorted({(change.revision, change.at) for change in self._changes}))

    def changes(self) -> Iterator[Change]:
        return iter(self._changes)

    def versions(self, kind: type[Fact]) -> Iterator[Version]:
        newest = self.head.revision
        for key, versions in sorted(self._book.versions.get(kind, {}).items()):
            for each in versions:
                if each.since <= newest:
                    until = each.until if each.until is not None and each.until <= newest else None
                    yield Version(key, each.fact, each.since, until)

    def look_up(self, lookup: Lookup, keys: Collection[str]) -> dict[str, str]:
        return {key: self._lookups[lookup, key] for key in keys if (lookup, key) in self._lookups}

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        return self._users & set(user_ids)

    def key_uses(self) -> Iterator[tuple[str, Instant]]:
        return iter(sorted(self._key_uses.items()))

    def responses(self) -> Iterator[tuple[str, Instant, StoredResponse]]:
        return ((key, *kept) for key, kept in sorted(self._responses.items()))


class MemoryRestoration:
    """See `port.Restoration`. Nothing of it is in the store before it is finished."""

    def __init__(self, store: "MemoryStore", organization_id: str, responses: Mapping[str, Any]) -> None:
        self.book = _Book()
        self.book.responses.update(responses)
        self.lookups: dict[tuple[Lookup, str], str] = {}
        self.key_uses: dict[tuple[str, str], Instant] = {}
        self._store = store
        self._id = organization_id

    def add_changes(self, changes: Sequence[Change]) -> None:
        self.book.changes += changes
        last = changes[-1]
        self.book.head = Head(revision=last.revision, at=last.at, hash=last.hash)

    def add_versions(self, versions: Sequence[Version]) -> None:
        for key, fact, since, until in versions:
            if fact is not None:
                kept = self.book.versions.setdefault(type(fact), {}).setdefault(key, [])
                if any(each.since == since or each.until is None is until for each in kept):
                    raise Conflict(kind=type(fact).__name__, key="/".join(key))
                kept.append(_Version(fact, since, until))
                self.book.note(fact)

    def claim(self, lookup: Lookup, values: Mapping[str, str]) -> dict[str, str]:
        held = {**self.lookups, **self._store.lookups}
        self.lookups.update({(lookup, key): value for key, value in values.items() if (lookup, key) not in held})
        return {key: held.get((lookup, key), value) for key, value in values.items()}

    def add_key_uses(self, uses: Mapping[str, Instant]) -> None:
        self.key_uses.update({(self._id, key_id): at for key_id, at in uses.items()})

    def add_response(self, idempotency_key: str, at: Instant, response: StoredResponse) -> None:
        self.book.responses.setdefault(idempotency_key, (at, response))


class MemoryStore:
    """See `port.Store`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._books: dict[str, _Book] = {}
        self.lock = RLock()
        self.lookups: dict[tuple[Lookup, str], str] = {}
        self.user_organizations: dict[str, set[str]] = {}
        self.commits = 0
        self.all_key_uses: dict[tuple[str, str], Instant] = {}

    @contextmanager
    def snapshot(
        self,
        organization_id: str,
        *,
        revision: int | None = None,
        at_least: int | None = None,  # noqa: ARG002 - there is no replica
    ) -> Iterator[MemorySnapshot]:
        with self.lock:
            book = self._books.get(organization_id, _Book())
            yield MemorySnapshot(organization_id, book, book.head.revision if revision is None else revision, self.lock)

    @contextmanager
    def transaction(self, organization_id: str, author: Author) -> Iterator[MemoryTransaction]:
        with self.lock:
            book = self._books.get(organization_id) or _Book()
            now = max(self._clock(), book.head.at)
            transaction = MemoryTransaction(self, organization_id, book, author, now)
            try:
                yield transaction
            except BaseException:
                transaction.rollback()
                raise
            transaction.commit()
            self.commits += 1
            if book.head.revision or book.responses:
                self._books[organization_id] = book

    @contextmanager
    def together(self) -> Iterator["_Together"]:
        with self.lock:
            block = _Together(self)
            try:
                yield block
            except BaseException:
                for transaction in reversed(block.done):
                    transaction.rollback()
                raise

    def require_ready(self) -> None:
        """It always is."""

    def head(self, organization_id: str) -> Head:
        with self.lock:
            book = self._books.get(organization_id)
            return book.head if book else EMPTY

    def revision_at(self, organization_id: str, at: Instant) -> int:
        return max((change.revision for change in self.changes(organization_id) if change.at <= at), default=0)

    def look_up(self, lookup: Lookup, key: str) -> str | None:
        with self.lock:  # here and below: what another thread has not committed must not be seen
            return self.lookups.get((lookup, key))

    def organizations_of(self, user_id: str) -> list[str]:
        with self.lock:
            return sorted(self.user_organizations.get(user_id, ()))

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        with self.lock:
            return {user_id for user_id in user_ids if self.user_organizations.get(user_id)}

    def note_key_uses(self, uses: Mapping[tuple[str, str], Instant]) -> None:
        with self.lock:
            for key, at in uses.items():
                self.all_key_uses[key] = max(at, self.all_key_uses.get(key, at))

    def key_uses(self, organization_id: str, key_ids: Collection[str]) -> dict[str, Instant]:
        with self.lock:
            used = {id_: self.all_key_uses.get((organization_id, id_)) for id_ in key_ids}
        return {id_: at for id_, at in used.items() if at is not None}

    def present(self) -> MemoryPresent:
        return MemoryPresent(self)

    def filling(self) -> AbstractContextManager[None]:
        return nullcontext()

    def organization_ids(self) -> list[str]:
        with self.lock:
            return sorted(id_ for id_, book in self._books.items() if book.head.revision)

    def changes(self, organization_id: str, *, after: int = 0) -> Iterator[Change]:
        with self.lock:
            book = self._books.get(organization_id)
            changes = list(book.changes) if book else []
        return (change for change in changes if change.revision > after)

    @contextmanager
    def archive(self, organization_id: str) -> Iterator[MemoryArchive]:
        with self.snapshot(organization_id) as snapshot:
            yield MemoryArchive(self, snapshot, self._books.get(organization_id, _Book()))

    @contextmanager
    def restoring(self, organization_id: str) -> Iterator[MemoryRestoration]:
        with self.lock:
            if self.head(organization_id).revision:
                raise Conflict("The organization is there already", organization_id=organization_id)
            restored = MemoryRestoration(self, organization_id, self._books.get(organization_id, _Book()).responses)
            yield restored
            book = restored.book
            if book.head.revision:
                self._books[organization_id] = book
            for member_id in (key[0] for key in book.versions.get(Member, ())):
                self.user_organizations.setdefault(member_id, set()).add(organization_id)
            self.lookups.update(restored.lookups)
            self.note_key_uses(restored.key_uses)
            self.commits += 1

    def close(self) -> None:
        """Nothing to release."""
