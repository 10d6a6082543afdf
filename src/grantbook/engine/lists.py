"""Lists of the present, from both sides: what a user reaches, and who reaches an entity.

A list is the union of what is held of everybody whom the user counts as, or of everybody who is named on the entity:
ids in order, and nothing else. Why something is reached is worked out only for what is shown. Both are kept as long
as nothing that they follow from changes: a grant that changes drops the lists of those whom it names, and of
what it is on; a person's directory entry drops that person's list and the lists of people; anything else drops all.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from grantbook.engine.held import (
    FOREVER,
    Chain,
    HeldUser,
    Holders,
    Sources,
    access_by,
    access_with,
    grant_path,
    grants_on,
    principal_of,
    standing_paths,
)
from grantbook.engine.list_facts import OPEN, OVERRIDING, ListFacts, TooLong
from grantbook.engine.long_lists import LongLists
from grantbook.model.facts import EVERYONE, EntityRef, Principal
from grantbook.model.instants import Instant
from grantbook.model.resolution import Access, Path
from grantbook.model.vocabulary import EntityType, Vocabulary
from grantbook.store.present_port import GrantRow, Notice, Present

if TYPE_CHECKING:
    from grantbook.engine.organization_facts import OrganizationFacts

LIST_BYTES: Final = 1_000
ITEM_BYTES: Final = 20
WHOLE_ITEM_BYTES: Final = 70
DIRECT_BYTES: Final = 500
SHOWN_BYTES: Final = 400
PATH_BYTES: Final = 250
_ALL: Final = 2**31 - 2
_MAX_MADE: Final = 10_000
"""A list that is made of more grants, memberships and the like is not made whole for a page of it, but for whoever
turns many pages."""
_REASONS: Final = 10
"""So many of these there may be for one item: somebody is in many departments that are all granted the same."""
_MOST_TURNED: Final = 20
_ABOUT_PEOPLE: Final = {"Member": "subject_id", "DepartmentMember": "target_id", "RoleAssignment": "target_id"}
Place = TypeVar("Place", EntityRef, str)


class EntitiesOf(NamedTuple):
    """What does the user reach, of that type, at that level or above? A level counts for the types that have it."""

    user_id: str
    entity_type: str | None = None
    access_level: str | None = None


class UsersOf(NamedTuple):
    """Who reaches the entity, at that level or above?"""

    entity: EntityRef
    access_level: str | None = None


Wanted: TypeAlias = EntitiesOf | UsersOf


class Part(NamedTuple):
    """So many after a place, or after the first ones."""

    after: Any
    skip: int
    limit: int


class ListPage(NamedTuple):
    """A part of a list, in order, as of a revision, and how many are in the whole; None where nobody counted them.

    `texts` is for whoever shows pages: what is put there by place is kept as long as the list is, and `accesses` are of
    those without.
    """

    places: Sequence[Any]
    accesses: Mapping[Any, Access]
    texts: dict[Any, msgspec.Raw]
    total: int | None
    has_more: bool
    revision: int


class Reached(Mapping[Place, Access], Generic[Place]):
    """A whole list: the access by place, in order, each worked out when it is asked for."""

    def __init__(self, kept: "KeptEntities | KeptUsers") -> None:
        self._kept: Any = kept
        self._held: Any = kept.held
        self._access: Callable[[Any, Any], Access] | None = None

    def __getitem__(self, place: Place) -> Access:
        if self._access is None:
            self._access = self._kept.accesses(self._held)
        return self._access(place, self._held[place])

    def __iter__(self) -> Iterator[Place]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, place: object) -> bool:
        return place in self._held

    @property
    def sources(self) -> frozenset[Principal]:
        """Whomever the paths may name."""
        found: frozenset[Principal] = self._kept.principals()
        return found

    def name(self, place: Place) -> str:
        """What the entity at this place is called."""
        found: str = self._held[place][0][0].name
        return found


@dataclass(slots=True, kw_only=True)
class Kept:
    """True from `since` until `until`, exclusive: the nearest moments at which a grant begins or ends. `grantees`
    and `entities` are the ids of what it follows from; `texts` has by place what was made of it for a page."""

    since: Instant
    until: Instant
    organization_id: str
    user_id: str | None = None
    grantees: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()
    texts: dict[Any, msgspec.Raw] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class KeptEntities(Kept):
    """What one user reaches: by type the ids, all in order. `held` has what decides, where all was asked for."""

    user: HeldUser
    sources: Sources
    ids: tuple[tuple[str, list[str]], ...]
    held: dict[EntityRef, Holders] | None = None

    def __len__(self) -> int:
        return sum(len(ids) for _, ids in self.ids)

    @property
    def taken_bytes(self) -> int:
        """About how much memory it takes beside what is shared."""
        return ITEM_BYTES * len(self)

    def places(self, first: int, limit: int) -> list[EntityRef]:
        found: list[EntityRef] = []
        for type_, ids in self.ids:
            if first < len(ids):
                found += [EntityRef(type_, id_) for id_ in ids[first : first + limit - len(found)]]
            first = max(0, first - len(ids))
            if len(found) == limit:
                break
        return found

    def first_after(self, place: EntityRef) -> int:
        """The position of the first place after this one."""
        first = 0
        for type_, ids in self.ids:
            if type_ < place.type:
                first += len(ids)
            elif type_ == place.type:
                first += bisect_right(ids, place.id)
        return first

    def accesses(self, held: Mapping[EntityRef, Holders]) -> Callable[[EntityRef, Holders], Access]:
        """How to tell the access to these."""
        refs = {holder.ref for holders in held.values() for holder, _ in holders}
        granted = grants_on(refs, self.sources)
        return lambda _, holders: access_by(self.user, holders, granted, self.organization_id)

    def principals(self) -> frozenset[Principal]:
        """Whomever the paths may name."""
        return frozenset(principal_of(name) for name in self.user.who)


@dataclass(slots=True, kw_only=True)
class KeptUsers(Kept):
    """Who reaches one entity, in order. `direct` has the paths of one user alone, `shared` those of many."""

    kind: EntityType
    ids: list[str]
    direct: dict[str, list[Path]]
    shared: list[tuple[Path, frozenset[str]]]
    held: dict[str, None] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def taken_bytes(self) -> int:
        """About how much memory it takes beside what is shared."""
        return ITEM_BYTES * len(self.ids) + DIRECT_BYTES * len(self.direct)

    def places(self, first: int, limit: int) -> list[str]:
        return self.ids[first : first + limit]

    def first_after(self, place: str) -> int:
        """The position of the first place after this one."""
        return bisect_right(self.ids, place)

    def accesses(self, held: Mapping[str, None]) -> Callable[[str, None], Access]:
        """How to tell the access of these: one and the same for those who have it by the same paths of many."""
        numbers: dict[str, list[int]] = {user_id: [] for user_id in held}
        for number, (_, users) in enumerate(self.shared):
            for user_id in users.intersection(held):
                numbers[user_id].append(number)
        of_many: dict[tuple[int, ...], Access] = {}

        def access(user_id: str, _: None) -> Access:
            direct, key = self.direct.get(user_id), tuple(numbers[user_id])
            found = of_many.get(key) if direct is None else None
            if found is None:
                found = access_with(self.kind, [*(direct or ()), *(self.shared[number][0] for number in key)])
                if direct is None:
                    of_many[key] = found
            return found

        return access

    def principals(self) -> frozenset[Principal]:
        """Whomever the paths may name."""
        paths = chain((path for path, _ in self.shared), *self.direct.values())
        return frozenset(path.source for path in paths)


class Lists:
    """The lists of one organization, by what was wanted."""

    def __init__(self, facts: "OrganizationFacts", present: Present, vocabulary: Vocabulary) -> None:
        self._facts = facts
        self._present = present
        self._vocabulary = vocabulary
        self._from = ListFacts(facts.id, present, vocabulary, facts.spend)
        self._long = LongLists(facts, present, vocabulary)
        self._kept: dict[Wanted, KeptEntities | KeptUsers] = {}
        self._turned: dict[Wanted, int] = {}
        """Of lists that are too long to be made whole, how many pages but the first were asked for."""

    def find_page(self, wanted: Wanted, at: Instant, part: Part) -> ListPage | None:
        """The page, if nothing has to be loaded for it."""
        kept = self._find(wanted, at)
        return None if kept is None else self._page(kept, part)

    def get_page(self, wanted: Wanted, at: Instant, part: Part) -> ListPage:
        """The page, with whatever must be loaded for it. Raises StoreUnavailable."""
        page = self.find_page(wanted, at, part)
        if page is None:
            with self._present.reading():
                self._facts.catch_up_in_reading()
                page = self._load_page(wanted, at, part)
        if page is None:
            raise RuntimeError("facts that were just loaded are not held")
        return page

    def _load_page(self, wanted: Wanted, at: Instant, part: Part) -> ListPage | None:
        if part.skip == 0 and self._turned.get(wanted, 0) < _MOST_TURNED:
            try:
                if wanted not in self._turned:
                    return self._page(self._get(wanted, at, _MAX_MADE), part, loads=True)
            except TooLong:
                self._turned[wanted] = 0
                self._facts.spend(LIST_BYTES)
            page = self._page_of_long(wanted, at, part)
            if page is not None:
                self._turned[wanted] += part.after is not None
                return page
        return self._page(self._get(wanted, at), part, loads=True)

    def _page_of_long(self, wanted: Wanted, at: Instant, part: Part) -> ListPage | None:
        limit = part.limit + 1  # to see whether there is more
        found: Mapping[Any, Access] | None
        if isinstance(wanted, EntitiesOf):
            kinds = self._kinds(wanted, self._facts.load_user(wanted.user_id))
            found = self._long.entities(wanted.user_id, kinds, at, part.after, limit)
        else:
            holders, lowest = self._holders_of(wanted)
            found = self._long.users(holders, self._from.overriding(), lowest, at, part.after, limit)
        if found is None:
            return None
        accesses = dict(islice(found.items(), part.limit))
        return ListPage(list(accesses), accesses, {}, None, len(found) > part.limit, self._facts.revision)

    def get_whole(self, wanted: Wanted, at: Instant, *, at_most: int = _ALL) -> Reached[Any] | None:
        """All of it; None where it has more than `at_most`, or shows to while it is made, and is not held yet.
        Raises StoreUnavailable."""
        kept = self._find(wanted, at)
        if kept is None or kept.held is None:
            with self._present.reading():
                self._facts.catch_up_in_reading()
                try:
                    kept = self._get(wanted, at, min(at_most * _REASONS, _ALL))
                except TooLong:
                    return None
                if len(kept) > at_most:
                    return None
                self._hold(kept)
        return Reached(kept)

    def clear(self) -> None:
        self._kept.clear()
        self._turned.clear()
        self._from.clear()

    def apply(self, notices: Sequence[Notice]) -> None:
        """Drop what the changes may touch: the lists are gone through once, however many changes there are."""
        self._turned.clear()
        users: set[str | None] = set()
        grantees: set[str | None] = set()
        entities: set[str] = set()
        self._from.apply(notices)
        for notice in notices:
            if notice.kind == "Grant":
                grantees.add(notice.target_id)
                entities.add(notice.subject_id)
            elif notice.kind in _ABOUT_PEOPLE:
                users |= {None, getattr(notice, _ABOUT_PEOPLE[notice.kind])}
            elif notice.kind != "ApiKey":
                self._kept.clear()
        self._kept = {
            wanted: each
            for wanted, each in self._kept.items()
            if each.user_id not in users and grantees.isdisjoint(each.grantees) and entities.isdisjoint(each.entities)
        }

    def _find(self, wanted: Wanted, at: Instant) -> KeptEntities | KeptUsers | None:
        found = self._kept.get(wanted)
        return found if found is not None and found.since <= at < found.until else None

    def _page(self, kept: KeptEntities | KeptUsers, part: Part, *, loads: bool = False) -> ListPage | None:
        first = part.skip if part.after is None else kept.first_after(part.after)
        places: Sequence[Any] = kept.places(first, part.limit)
        missing = [place for place in places if place not in kept.texts]
        accesses: dict[Any, Access] = {}
        if missing:
            held: Sequence[Any] | None = [None] * len(missing)
            if isinstance(kept, KeptEntities):
                held = self._facts.holders_of(missing, loads=loads)
            if held is None:
                return None
            held_at = dict(zip(missing, held, strict=True))
            access: Callable[[Any, Any], Access] = kept.accesses(held_at)
            accesses = {place: access(place, each) for place, each in held_at.items()}
            paths = sum(len(each.paths) for each in accesses.values())
            self._facts.spend(SHOWN_BYTES * len(missing) + PATH_BYTES * paths)
        has_more = len(kept) > first + len(places)
        return ListPage(places, accesses, kept.texts, len(kept), has_more, self._facts.revision)

    def _hold(self, kept: KeptEntities | KeptUsers) -> None:
        if isinstance(kept, KeptUsers):
            kept.held = dict.fromkeys(kept.ids)
        elif kept.held is None:
            refs = [(type_, id_) for type_, ids in kept.ids for id_ in ids]
            held = self._facts.holders_of(refs, loads=True) or ()
            kept.held = {holders[0][0].ref: holders for holders in held}
        self._facts.spend(WHOLE_ITEM_BYTES * len(kept))

    # Making, always within one reading of the store

    def _get(self, wanted: Wanted, at: Instant, at_most: int = _ALL) -> KeptEntities | KeptUsers:
        """Raises TooLong where it would be made of more than `at_most`."""
        found = self._find(wanted, at)
        if found is None:
            make: Callable[..., KeptEntities | KeptUsers] = (
                self._entities_of if isinstance(wanted, EntitiesOf) else self._users_of
            )
            made = make(wanted, at, at_most)
            found = self._kept[wanted] = made
            self._facts.spend(LIST_BYTES + made.taken_bytes)
        return found

    def _kinds(self, wanted: EntitiesOf, user: HeldUser) -> list[tuple[EntityType, int]]:
        """The types of which the user may reach any, in order, each with the lowest rung that is wanted."""
        found = []
        for name, kind in sorted(self._vocabulary.types.items()):
            lowest = 0 if wanted.access_level is None else kind.ranks.get(wanted.access_level)
            if lowest is None or wanted.entity_type not in {None, name} or self._facts.is_deleted:
                continue
            if user.is_active or not kind.is_bound:
                found.append((kind, lowest))
        return found

    def _entities_of(self, wanted: EntitiesOf, at: Instant, at_most: int) -> KeptEntities:
        facts, user = self._facts, self._facts.load_user(wanted.user_id)
        names = [*user.who, *([OPEN] if user.is_active else []), *([OVERRIDING] if user.overriding else [])]
        given = self._from.principals(names, at_most)
        ids: list[tuple[str, list[str]]] = []
        for kind, lowest in self._kinds(wanted, user):
            parts = [each.reached(kind.name, lowest, at, standing=user.is_active) for each in given]
            if found := dict.fromkeys(chain.from_iterable(chain.from_iterable(parts))):
                ids.append((kind.name, sorted(found)))
        moments = (
            moment
            for each in given
            for timed in each.timed.values()
            for moment in (timed.grant.starts_at, timed.grant.expires_at)
        )
        since, until = _around(at, moments)
        return KeptEntities(
            since=since,
            until=until,
            organization_id=facts.id,
            user_id=user.id,
            grantees=frozenset(name.partition(":")[2] for name in user.who),
            user=user,
            sources={
                name: [
                    (principal, grants)
                    for principal, each in zip(map(principal_of, names), given, strict=True)
                    for grants in each.grants(name, at)
                    if grants
                ]
                for name in self._vocabulary.types
            },
            ids=tuple(ids),
        )

    def _holders_of(self, wanted: UsersOf) -> tuple[Holders, int]:
        """The entity with what contains it, and the lowest rung that is wanted."""
        (holders,) = self._facts.holders_of([wanted.entity], loads=True) or ((),)
        kind = holders[0][0].kind
        return holders, 0 if wanted.access_level is None else kind.rank(wanted.access_level)

    def _users_of(self, wanted: UsersOf, at: Instant, at_most: int) -> KeptUsers:
        holders, lowest = self._holders_of(wanted)
        entity = holders[0][0]
        reasons = _Reasons(entity.kind)
        if entity.is_active and not self._facts.is_deleted:
            for holder, through in holders:
                (rows,) = self._present.grants_on(self._facts.id, [holder.ref], limit=at_most + 1)
                if len(rows) > at_most:
                    raise TooLong
                for row in rows:
                    reasons.add(row, through, at)
            named = {entity.owner, *entity.targets}
            standing = standing_paths(entity, named, self._from.overriding(), self._facts.id)
            self._settle(reasons, standing, at_most)
        since, until = _around(at, reasons.moments)
        return KeptUsers(
            since=since,
            until=until,
            organization_id=self._facts.id,
            entities=frozenset(holder.ref.id for holder, _ in holders),
            kind=entity.kind,
            ids=reasons.users(lowest),
            direct=reasons.direct,
            shared=reasons.shared,
        )

    def _settle(self, reasons: "_Reasons", standing: Sequence[Path], at_most: int) -> None:
        """Find out for whom each of the reasons counts."""
        is_bound = reasons.kind.is_bound
        asked = {path.source.id for path in standing if path.source.type == "user"}
        if is_bound:
            asked |= reasons.direct.keys()
        active = {id_ for (id_,) in self._present.active_among(self._facts.id, asked)} if asked else set()
        if is_bound:
            reasons.direct = {user_id: paths for user_id, paths in reasons.direct.items() if user_id in active}
        for path in standing:
            if path.source.type != "user":
                reasons.of_many.append(path)
            elif path.source.id in active:
                reasons.direct.setdefault(path.source.id, []).append(path)
        groups = self._from.groups({path.source for path in reasons.of_many}, at_most, is_bound=is_bound)
        for path in reasons.of_many:
            users = groups[path.source]
            if path.source == EVERYONE and not is_bound:
                users |= reasons.named
            reasons.shared.append((path, users))


class _Reasons:
    """Why anybody reaches an entity: paths of one user, and of many. `named` is whom grants name, in force or not."""

    def __init__(self, kind: EntityType) -> None:
        self.kind = kind
        self.direct: dict[str, list[Path]] = {}
        self.of_many: list[Path] = []
        self.shared: list[tuple[Path, frozenset[str]]] = []
        self.moments: list[Instant] = []
        self.named: set[str] = set()

    def add(self, row: GrantRow, through: Chain, at: Instant) -> None:
        """A grant on the entity or on what contains it."""
        type_, id_, level, grant_id, starts_at, expires_at = row
        self.moments += [moment for moment in (starts_at, expires_at) if moment is not None]
        if type_ == "user":
            self.named.add(id_)
        is_in_force = (starts_at is None or starts_at <= at) and (expires_at is None or at < expires_at)
        if is_in_force and level in self.kind.ranks:
            path = grant_path(Principal(type_, id_), level, grant_id, through)
            if type_ == "user":
                self.direct.setdefault(id_, []).append(path)
            else:
                self.of_many.append(path)

    def users(self, lowest: int) -> list[str]:
        """Whom they give the rung `lowest` or above, in order."""
        rank = self.kind.rank
        found = {
            user_id
            for user_id, paths in self.direct.items()
            if any(rank(path.access_level) >= lowest for path in paths)
        }
        return sorted(found.union(*(users for path, users in self.shared if rank(path.access_level) >= lowest)))


def _around(at: Instant, moments: Iterable[Instant]) -> tuple[Instant, Instant]:
    """Around `at`, while none of the moments is passed."""
    since, until = 0, FOREVER
    for moment in moments:
        if moment <= at:
            since = max(since, moment)
        else:
            until = min(until, moment)
    return since, until
