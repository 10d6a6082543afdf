"""Reads of one organization at one revision of a SQL database, the same for every dialect."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Final, Generic, cast

import msgspec

from grantbook.model.facts import Containment, Department, EntityRef, Fact, Principal, key_of
from grantbook.model.instants import Instant
from grantbook.store import kept
from grantbook.store.history import EMPTY, NO_HASH
from grantbook.store.kept import Kept, Line, Memory, Milestone, Milestones, Place, State, T, V
from grantbook.store.matching import Told, is_told, matches
from grantbook.store.pages import has_places
from grantbook.store.port import OLDEST_FIRST, Change, Contains, F, Head, Order, ToldText, Where
from grantbook.store.rows import SHAPES, change_of
from grantbook.store.session import Session
from grantbook.store.shapes import Shape, has_alternatives, is_split, shared
from grantbook.store.statements import STREAM_ROWS, Prepared, Statements, pattern_of

_NEWEST_FIRST: Final = Order("revision", is_descending=True)

_FEW_REVISIONS = 500
_FEW_CHANGES = 500
_FEW_VALUES = 1_000
_LONG = 200
_WORTH = 2  # so many rows that are walked past cost as much as one that is found by an id
_PATIENCE = 4  # how much longer than expected a walk may take


@dataclass(frozen=True, slots=True)
class _Asked(ABC, Generic[T]):
    """What is asked for: conditions, as they are and as statements take them, what tells them from all others, and the
    order that the answer has."""

    where: Sequence[Where]
    shape: Shape
    values: dict[str, Any]
    question: Any
    order: Order

    @abstractmethod
    def prepared(self, statements: Statements, **options: bool) -> Prepared:
        """The statement for a part of the answer."""

    @property
    @abstractmethod
    def read(self) -> Callable[[Sequence[Any]], T]:
        """Gives what is in a row."""

    @abstractmethod
    def place_of(self, item: T) -> Place:
        """Where it is in the order."""

    @abstractmethod
    def total(self, snapshot: "SqlSnapshot") -> int:
        """How many there are."""

    @abstractmethod
    def carried(self, snapshot: "SqlSnapshot", milestones: Milestones, since: int) -> Milestones:
        """Milestones that were kept at a revision, and where they are by now."""

    def as_kept(self, snapshot: "SqlSnapshot", milestones: Milestones) -> Milestones:  # noqa: ARG002 - of some
        """The milestones in the form in which they are kept."""
        return milestones

    def clamp(self, place: Place) -> Place:
        """The place, or the nearest within what is asked for."""
        return place


@dataclass(frozen=True, slots=True)
class _Facts(_Asked[F]):
    kind: type[F]

    def prepared(self, statements: Statements, **options: bool) -> Prepared:
        return statements.page(self.kind, self.shape, self.order, **options)

    @property
    def read(self) -> Callable[[Sequence[Any]], F]:
        return cast("Callable[[Sequence[Any]], F]", SHAPES[self.kind].read)

    def place_of(self, item: F) -> Place:
        return getattr(item, self.order.field), key_of(item)[-1]

    def total(self, snapshot: "SqlSnapshot") -> int:
        return snapshot._count(self)

    def carried(self, snapshot: "SqlSnapshot", milestones: Milestones, since: int) -> Milestones:
        moves = snapshot._moves(self, since)
        if moves is None:
            return ()
        at = [(sign, (told[self.order.field], told[self.kind.KEY[-1]])) for sign, told in moves]
        return kept.moved(milestones, at, is_descending=self.order.is_descending)


@dataclass(frozen=True, slots=True)
class _Changes(_Asked[Change]):
    first: int
    last: int

    def prepared(self, statements: Statements, **options: bool) -> Prepared:
        return statements.find_changes(self.shape, **options)

    @property
    def read(self) -> Callable[[Sequence[Any]], Change]:
        return change_of

    def place_of(self, item: Change) -> Place:
        return item.revision, item.ordinal

    def total(self, snapshot: "SqlSnapshot") -> int:
        return snapshot._count_of_record(self)

    def carried(self, snapshot: "SqlSnapshot", milestones: Milestones, since: int) -> Milestones:  # noqa: ARG002 - good at any
        return kept.turned(milestones, self.total(snapshot))

    def as_kept(self, snapshot: "SqlSnapshot", milestones: Milestones) -> Milestones:
        """As counted from the oldest: that never changes, as the record only grows."""
        return kept.turned(milestones, self.total(snapshot))

    def clamp(self, place: Place) -> Place:
        return min(max(place, (self.first, 0)), (self.last + 1, 0))


class SqlSnapshot:
    """See `port.Snapshot`. `past` None means the newest revision: then only live versions are read."""

    def __init__(
        self,
        statements: Statements,
        session: Session,
        organization_id: str,
        past: int | None,
        kept_before: Memory | None = None,
    ) -> None:
        self.organization_id = organization_id
        self._dialect = session.dialect
        self._statements = statements
        self._session = session
        self._past = past
        self._kept = kept_before or Memory(is_on=False)
        self._times = {"tenant": organization_id} if past is None else {"tenant": organization_id, "past": past}
        self.newest = self._head() if past is None else EMPTY
        self.revision = self.newest.revision if past is None else past
        self._hashes = {0: NO_HASH, self.newest.revision: self.newest.hash}

    def _head(self) -> Head:
        row = self._session.one(self._statements.head(), tenant=self.organization_id)
        return Head(revision=row[0], at=row[1], hash=row[2]) if row else EMPTY

    def _state(self, revision: int) -> State | None:
        """What the revision is known by in this record, None where it is not in it."""
        if revision not in self._hashes:
            row = self._session.one(self._statements.last_hash(), tenant=self.organization_id, wanted=revision)
            if row is None:
                return None
            self._hashes[revision] = row[0]
        return State(revision, self._hashes[revision])

    def _latest(self, known: Kept[V], question: Any) -> tuple[State, V] | None:
        """What is kept, if the state that it is of is in this record."""
        latest = known.latest(question)
        return latest if latest is not None and self._state(latest[0].revision) == latest[0] else None

    def _keep(self, known: Kept[V], question: Any, revision: int, value: V) -> None:
        if self._kept.is_on and (state := self._state(revision)) is not None:
            known.keep(question, state, value)

    def find(self, kind: type[F], *key: str) -> F | None:
        found = self.select(kind, dict(zip(kind.KEY, key, strict=True)))
        return found[0] if found else None

    def select(self, kind: type[F], *where: Where) -> list[F]:
        shape, values = self._statements.shape_and_values(where)
        return self._facts(kind, self._statements.select(kind, shape, past=self._past is not None), values)

    def find_all(self, kind: type[F], fields: tuple[str, ...], values: Collection[tuple[str, ...]]) -> list[F]:
        if not values:
            return []
        prepared = self._statements.find_all(kind, fields, past=self._past is not None)
        return self._facts(kind, prepared, {"combinations": self._dialect.list_value(values)})

    def iterate(self, kind: type[F], *, after: tuple[str, ...] = ()) -> Iterator[F]:
        while True:
            place = {f"after_{name}": value for name, value in zip(kind.KEY, after, strict=bool(after))}
            prepared = self._statements.iterate(kind, past=self._past is not None, is_after=bool(place))
            found = self._facts(kind, prepared, place)
            yield from found
            if len(found) < STREAM_ROWS:
                return
            after = key_of(found[-1])

    def page(
        self,
        kind: type[F],
        *where: Where,
        skip: int,
        limit: int,
        after: tuple[Instant, str] | tuple[str, str] | None = None,
        order: Order = OLDEST_FIRST,
    ) -> list[F]:
        asked = self._asked(kind, where, order)
        if not self._kept.is_on:
            return self._part(asked, after, skip, limit)
        if is_split(asked.shape):
            everything = self._asked(kind, [shared(where)], order)
            return self._part_of_alternatives(asked, everything, after, skip, limit)
        if after is not None:
            return self._part(asked, after, skip, limit)
        known = self._known_count(asked) if skip else None
        if known is not None and known <= skip:
            return []
        if skip < kept.NEAR or not has_places(kind, asked.shape, order):
            return self._part(asked, None, skip, limit)
        return self._far_part(asked, skip, limit)

    def _part_of_alternatives(
        self, asked: _Asked[T], everything: _Asked[T], after: Place | None, skip: int, limit: int
    ) -> list[T]:
        """Each alternative names ids. They are found by these, or by walking past everything in order: whichever looks
        at less."""
        total = asked.total(self)
        if after is None and total <= skip:
            return []
        start = Milestone(after, 0) if after is not None else kept.nearest(self._milestones(asked), skip)
        place, passed = start or (None, 0)
        window = _window(skip - passed + limit, total, everything.total(self))
        if window:
            end = self._places(everything, place, window, 1)
            until = end[0] if end else None
            if after is not None:
                found = self._part(asked, after, skip, limit, walks=True, until=until)
            else:
                found = self._far_part(asked, skip, limit, walks=True, until=until)
            if until is None or len(found) == (limit if after is not None else min(limit, total - skip)):
                return found
        return self._part(asked, after, skip, limit)

    def _far_part(
        self, asked: _Asked[T], skip: int, limit: int, *, walks: bool = False, until: Place | None = None
    ) -> list[T]:
        """By milestones, and setting new ones."""
        line = Line(
            rows=partial(self._part, asked, walks=walks, until=until),
            places=partial(self._places, asked, walks=walks, until=until),
            place_of=asked.place_of,
        )
        milestones = self._milestones(asked)
        found, fresh = kept.far_part(line, kept.nearest(milestones, skip), skip, limit)
        if fresh:
            made = asked.as_kept(self, kept.joined(milestones, fresh))
            self._keep(self._kept.milestones, (asked.question, asked.order), self.revision, made)
        return found

    def _part(
        self,
        asked: _Asked[T],
        after: Place | None,
        skip: int,
        limit: int,
        *,
        walks: bool = False,
        until: Place | None = None,
    ) -> list[T]:
        read = asked.read
        return [read(row) for row in self._rows_after(asked, after, skip, limit, walks=walks, until=until)]

    def _places(
        self,
        asked: _Asked[Any],
        after: Place | None,
        skip: int,
        limit: int,
        *,
        walks: bool = False,
        until: Place | None = None,
    ) -> list[Place]:
        rows = self._rows_after(asked, after, skip, limit, walks=walks, until=until, only_places=True)
        return [(row[0], row[1]) for row in rows]

    def _rows_after(
        self,
        asked: _Asked[Any],
        after: Place | None,
        skip: int,
        limit: int,
        *,
        walks: bool,
        until: Place | None,
        only_places: bool = False,
    ) -> list[Sequence[Any]]:
        prepared = asked.prepared(
            self._statements,
            is_after=after is not None,
            is_until=until is not None,
            walks=walks,
            only_places=only_places,
        )
        values = {**asked.values, "skip": skip, "limit": limit}
        if after is not None:
            values["after_at"], values["after_key"] = asked.clamp(after)
        if until is not None:
            values["until_at"], values["until_key"] = asked.clamp(until)
        return self._rows(prepared, values)

    def _milestones(self, asked: _Asked[Any]) -> Milestones:
        """Those that are kept, and where they are by now."""
        latest = self._latest(self._kept.milestones, (asked.question, asked.order))
        return () if latest is None else asked.carried(self, latest[1], latest[0].revision)

    def _asked(self, kind: type[F], where: Sequence[Where], order: Order = OLDEST_FIRST) -> _Facts[F]:
        shape, values = self._statements.shape_and_values(where)
        return _Facts(where, shape, values, (self.organization_id, kind, shape, _told_apart(values)), order, kind)

    def count(self, kind: type[Fact], *where: Where) -> int:
        if self._past is not None:
            return len(self.select(kind, *where))
        return self._count(self._asked(kind, where))

    def _count(self, asked: _Facts[Any]) -> int:
        count = self._known_count(asked)
        if count is None:
            ((count,),) = self._rows(self._statements.count(asked.kind, asked.shape), asked.values)
        self._keep(self._kept.counts, asked.question, self.revision, int(count))
        return int(count)

    def _known_count(self, asked: _Facts[Any]) -> int | None:
        """The count from an earlier one and what changed since, if that is little and tells enough."""
        known = self._latest(self._kept.counts, asked.question)
        moves = None if known is None else self._moves(asked, known[0].revision)
        return None if known is None or moves is None else known[1] + sum(sign for sign, _ in moves)

    def _moves(self, asked: _Facts[Any], since: int) -> list[tuple[int, Told]] | None:
        """What came (1) and what went (-1) after a revision, of what is asked for; None where nobody can tell."""
        if since == self.revision:
            return []
        if not is_told(asked.where) or not 0 < self.revision - since <= _FEW_REVISIONS:
            return None
        recent = self.find_changes(first=since + 1, skip=0, limit=_FEW_CHANGES + 1)  # no index finds them by kind
        if len(recent) > _FEW_CHANGES:
            return None
        of_kind = [each for each in recent if each.kind == asked.kind.__name__]
        told = ((sign, text) for each in of_kind for sign, text in ((-1, each.before), (1, each.after)))
        facts = ((sign, msgspec.json.decode(text)) for sign, text in told if text is not None)
        return [(sign, fact) for sign, fact in facts if matches(fact, asked.where)]

    def tally(self, kind: type[Fact], field: str, *where: Where) -> dict[str, int]:
        if self._past is not None:
            return dict(Counter(str(getattr(fact, field)) for fact in self.select(kind, *where)))
        asked = self._asked(kind, where)
        found = self._known_tally(asked, field)
        if found is None:
            rows = self._rows(self._statements.tally(kind, field, asked.shape), asked.values)
            found = {str(value): int(count) for value, count in rows}
        if len(found) <= _FEW_VALUES:
            self._keep(self._kept.tallies, (asked.question, field), self.revision, found)
        return dict(found)

    def _known_tally(self, asked: _Facts[Any], field: str) -> Mapping[str, int] | None:
        """As `_known_count`."""
        known = self._latest(self._kept.tallies, (asked.question, field))
        moves = None if known is None else self._moves(asked, known[0].revision)
        if known is None or moves is None:
            return None
        found = Counter(known[1])
        for sign, told in moves:
            found[str(told[field])] += sign
        return +found

    def find_changes(
        self,
        *where: Where,
        first: int = 1,
        last: int | None = None,
        before: tuple[int, int] | None = None,
        skip: int,
        limit: int,
    ) -> list[Change]:
        asked = self._asked_of_record(where, first, last)
        if self._kept.is_on and has_alternatives(asked.shape):
            everything = self._asked_of_record([], first, last)
            return self._part_of_alternatives(asked, everything, before, skip, limit)
        if before is not None or not self._kept.is_on or skip < kept.NEAR:
            return self._part(asked, before, skip, limit)
        return self._far_part(asked, skip, limit) if skip < asked.total(self) else []

    def find_texts(self, wanted: Contains, *, limit: int) -> list[ToldText]:
        grams = self._dialect.grams_of(wanted.text)
        values = {"tenant": self.organization_id, "pattern": pattern_of(wanted), "grams": grams, "limit": limit}
        rows = self._session.all(self._statements.find_texts(by_grams=grams is not None), **values)
        return [ToldText(*row) for row in rows]

    def _asked_of_record(self, where: Sequence[Where], first: int, last: int | None) -> _Changes:
        shape, values = self._statements.shape_and_values(where)
        last = self.revision if last is None else min(last, self.revision)
        question = (self.organization_id, Change, first, shape, _told_apart(values))
        values = {**values, "first": first, "last": last}
        return _Changes(where, shape, values, question, _NEWEST_FIRST, first, last)

    def count_changes(self, *where: Where, first: int = 1, last: int | None = None) -> int:
        return self._count_of_record(self._asked_of_record(where, first, last))

    def _count_of_record(self, asked: _Changes) -> int:
        """What was counted before is not counted again: the record only grows."""
        question = (*asked.question, asked.last if asked.last < self.revision else None)
        upto, counted = asked.first - 1, 0
        known = self._latest(self._kept.counts, question)
        if known is not None and known[0].revision <= asked.last:
            upto, counted = known[0].revision, known[1]
        if upto < asked.last:
            values = {**asked.values, "first": upto + 1}
            ((fresh,),) = self._rows(self._statements.count_changes(asked.shape), values)
            counted += int(fresh)
        self._keep(self._kept.counts, question, asked.last, counted)
        return counted

    def departments_above(self, department_ids: Collection[str]) -> list[Department]:
        return self._closure(Department, "id", "id", "parent_id", department_ids)

    def departments_below(self, department_ids: Collection[str]) -> list[Department]:
        return self._closure(Department, "id", "parent_id", "id", department_ids)

    def containers_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        return self._edges(entities, "member", "container")

    def contents_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        return self._edges(entities, "container", "member")

    def led_to(
        self,
        grantees: Collection[Principal],
        contents: Mapping[str, Collection[str]],
        levels: Collection[str],
        at: Instant,
    ) -> set[EntityRef]:
        as_list = self._dialect.list_value
        values = {
            "grantees": as_list({grantee.id for grantee in grantees}),
            "names": as_list([f"{grantee.type}:{grantee.id}" for grantee in grantees]),
            "types": as_list(contents),
            "levels": as_list(levels),
            "at": at,
        }
        is_past = self._past is not None
        found = {EntityRef(*row) for row in self._rows(self._statements.given(past=is_past), values)}
        fresh = found
        while fresh:  # level by level: a recursive statement keeps each row in a table of its own
            containers = as_list({id_ for _, id_ in fresh})
            inside = self._statements.active_inside(past=is_past)
            rows = self._rows(inside, {"containers": containers, "types": values["types"]})
            fresh = {
                EntityRef(*member)
                for type_, id_, *member in rows
                if (type_, id_) in fresh and member[0] in contents[type_]
            } - found
            found |= fresh
        return found

    def _edges(self, entities: Collection[EntityRef], near: str, far: str) -> list[Containment]:
        """Walks by id in SQL, then by type and id here: two types may use the same id."""
        ids = {entity.id for entity in entities}
        edges = self._closure(Containment, f"{near}_id", f"{near}_id", f"{far}_id", ids)
        leaving: dict[EntityRef, list[Containment]] = {}
        for edge in edges:
            leaving.setdefault(getattr(edge, near), []).append(edge)
        found: list[Containment] = []
        frontier = list(entities)
        while frontier:
            fresh = [edge for entity in frontier for edge in leaving.pop(entity, ())]
            found += fresh
            frontier = [getattr(edge, far) for edge in fresh]
        return found

    def _closure(self, kind: type[F], by: str, near: str, far: str, start: Collection[str]) -> list[F]:
        if not start:
            return []
        prepared = self._statements.closure(kind, by, near, far, past=self._past is not None)
        return self._facts(kind, prepared, {"start": self._dialect.list_value(start)})

    def _facts(self, kind: type[F], prepared: Prepared, values: dict[str, Any]) -> list[F]:
        read = SHAPES[kind].read
        return cast("list[F]", [read(row) for row in self._rows(prepared, values)])

    def _rows(self, prepared: Prepared, values: dict[str, Any]) -> list[Sequence[Any]]:
        return self._session.all(prepared, **self._times, **values)


def _window(wanted: int, matching: int, everything: int) -> int:
    """How many of everything to walk past to come by so many of what matches; 0 where to find all of it is less work.

    Nobody knows where in the order they lie, so a walk has an end.
    """
    expected = wanted * everything // max(1, matching) + 1
    return min(_PATIENCE * expected, _WORTH * matching) if expected < _WORTH * matching else 0


def _told_apart(values: Mapping[str, Any]) -> tuple[tuple[str, str | bytes], ...]:
    """The values as something that is kept: of a long one, as thousands of ids are, what tells it from all others."""
    texts = ((name, repr(value)) for name, value in values.items())
    return tuple((name, text if len(text) <= _LONG else sha256(text.encode()).digest()) for name, text in texts)
