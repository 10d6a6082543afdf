"""Facts for lists, kept in memory: what each principal is given, and which users each one stands for.

Both are shared by the lists of all who have a principal in common, so that a list is little more than their union.
Whatever a change may touch is dropped, and loaded again when it is asked for.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from grantbook.engine.groups import overrides
from grantbook.engine.held import FOREVER, HeldGrant, HeldPrincipal, Ids, Timed, name_of
from grantbook.model.errors import LimitExceeded
from grantbook.model.facts import EVERYONE, AccessTarget, Entity, EntityRef, Principal
from grantbook.model.limits import MAX_CONTAINMENT_DEPTH
from grantbook.model.vocabulary import GRANTEE_TYPES, OPEN_MODES, Vocabulary
from grantbook.store.history import fact_in
from grantbook.store.present_port import EdgeRow, Notice, Present

OVERRIDING: Final = "overriding"
OPEN: Final = "open"
"""As if these were principals: who overrides all permissions is given everything, and every active member what is
open. Of these the facts are held in place, since every new entity changes them."""
_OF_ALL: Final = frozenset({OVERRIDING, OPEN})
_EVERYONE: Final = name_of(*EVERYONE)
_ANYBODY: Final = name_of("all", "in any state")
_GRANT_BYTES: Final = 300
_ID_BYTES: Final = 150
Contents = Mapping[EntityRef, Collection[EntityRef]]


class TooLong(Exception):
    """More than a list that is made whole may have. What is held stays as it was."""


class ListFacts:
    """Those of one organization. What is loaded must be asked for within a reading of the store."""

    def __init__(
        self, organization_id: str, present: Present, vocabulary: Vocabulary, spend: Callable[[int], None]
    ) -> None:
        self._id = organization_id
        self._organization = name_of("organization", organization_id)
        self._present = present
        self._vocabulary = vocabulary
        self._spend = spend
        self._principals: dict[str, HeldPrincipal] = {}
        self._groups: dict[str, frozenset[str]] = {}
        self._overriding: tuple[str, ...] | None = None
        self._texts: dict[str, str] = {}

    def principals(self, names: Collection[str], at_most: int) -> list[HeldPrincipal]:
        """What each of these is given. Raises TooLong where that is more than `at_most` in all."""
        held = [self._principals[name] for name in names if name in self._principals]
        _require(sum(each.size for each in held), at_most)
        if len(held) < len(names):
            self._load_principals([name for name in names if name not in self._principals], at_most)
        found = [self._principals[name] for name in names]
        _require(sum(each.size for each in found), at_most)
        return found

    def groups(
        self, principals: Collection[Principal], at_most: int, *, is_bound: bool
    ) -> dict[Principal, frozenset[str]]:
        """The active members whom each department, role, organization and everyone stands for; for what is not
        bound to the organization, everyone stands for members in any state. Raises TooLong where these are more than
        `at_most` in all."""
        kept = {each: name_of(*each) for each in principals}
        if EVERYONE in kept and not is_bound:
            kept[EVERYONE] = _ANYBODY
        missing = [name for name in kept.values() if name not in self._groups]
        _require(sum(len(self._groups.get(name, ())) for name in kept.values()), at_most)
        if missing:
            self._load_groups(missing, at_most)
        found = {each: self._groups[name] for each, name in kept.items()}
        _require(sum(map(len, found.values())), at_most)
        return found

    def overriding(self) -> tuple[str, ...]:
        """Roles that override all permissions."""
        if self._overriding is None:
            found = self._present.capabilities(self._id)
            self._overriding = tuple(id_ for id_, told in found if overrides(told))
        return self._overriding

    def clear(self) -> None:
        """Forget everything."""
        self._principals, self._groups, self._texts, self._overriding = {}, {}, {}, None

    def apply(self, notices: Iterable[Notice]) -> None:
        """Drop what the changes may touch: the principals are gone through once, however many changes there are."""
        touched: set[str] = set()
        for notice in notices:
            match notice.kind:
                case "Grant":
                    self._drop(name_of(type_, notice.target_id or "") for type_ in GRANTEE_TYPES)
                case "AccessTarget":
                    told = [fact_in(AccessTarget, text) for text in (notice.before, notice.after) if text is not None]
                    self._drop(name_of(*each.target) for each in told)
                case "Entity" if self._apply_entity(notice):
                    touched.add(notice.subject_id)
                case "Containment":
                    touched.add(notice.subject_id)
                case "Member" | "Department" | "DepartmentMember":
                    self._groups = {}
                case "RoleAssignment":
                    self._groups.pop(name_of("role", notice.subject_id), None)
                case "Role":
                    self._overriding = None
        touched &= self._texts.keys()  # nothing leads to what was never heard of
        if touched:
            leading = (name for name, principal in self._principals.items() if principal.leads_to(touched))
            self._drop([name for name in leading if name not in _OF_ALL])

    def _apply_entity(self, notice: Notice) -> bool:
        """Whether it is another one as for the grants on it."""
        told = [fact_in(Entity, text) for text in (notice.before, notice.after) if text is not None]
        for name in _OF_ALL & self._principals.keys():
            standing = self._principals[name].standing
            for each in told:
                standing.get(each.entity_type, {}).pop(each.id, None)
            if told[-1].entity_type not in self._vocabulary.types:
                continue
            if notice.after is not None and told[-1].is_active and _counts(name, told[-1].access_mode):
                rank = self._rank_of_all(name, told[-1].entity_type)
                standing.setdefault(told[-1].entity_type, {})[told[-1].id] = rank
        if len({(each.owner, each.status) for each in told}) == 1 and len(told) > 1:
            return False
        self._drop(name_of(*each.owner) for each in told)
        return True

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            self._principals.pop(name, None)

    # Loading

    def _load_principals(self, names: Collection[str], at_most: int) -> None:
        limit = at_most + 1
        making = {name: _Making() for name in names}
        types, share = self._vocabulary, self._texts.setdefault
        for name in _OF_ALL & making.keys():
            entities = self._present.active_entities(self._id, only_open=name == OPEN, limit=limit)
            _require(len(entities), at_most)
            for entity_type, entity_id in entities:
                if entity_type in types.types:
                    making[name].stand(entity_type, share(entity_id, entity_id), self._rank_of_all(name, entity_type))
        ids = {name.partition(":")[2] for name in names if name not in _OF_ALL}
        rows = self._present.given_to(self._id, ids, limit=limit) if ids else ()
        _require(len(rows), at_most)
        for part, type_, id_, entity_type, entity_id, status, level, grant_id, starts_at, expires_at in rows:
            made = making.get(name_of(type_, id_))
            if made is None or entity_type not in types.types:
                continue
            kind, shared_id = types.entity_type(entity_type), share(entity_id, entity_id)
            if status != "active":
                made.idle.add(shared_id)
            elif part == "grant":
                granted = kind.ranks.get(level or "")
                if granted is not None:
                    end = FOREVER if expires_at is None else expires_at
                    made.add(kind.name, shared_id, HeldGrant(granted, grant_id or "", starts_at or 0, end))
            else:
                rank = kind.rank(kind.owner_levels[type_]) if part == "owned" else 0
                made.stand(kind.name, shared_id, rank)
        self._add_contents(making, at_most)
        for name, made in making.items():
            self._principals[name] = held = made.held()
            self._spend(_GRANT_BYTES * (1 + made.grants) + _ID_BYTES * (len(held.idle) + made.others))

    def _rank_of_all(self, name: str, entity_type: str) -> int:
        return 0 if name == OPEN else len(self._vocabulary.entity_type(entity_type).levels) - 1

    def _add_contents(self, making: Mapping[str, "_Making"], at_most: int) -> None:
        containers = {name for name, kind in self._vocabulary.types.items() if kind.contains}
        holding = {name: made.on(containers) for name, made in making.items()}
        contents: dict[EntityRef, list[EntityRef]] = {}
        idle: dict[EntityRef, list[str]] = {}
        for edge in self._edges_below({ref.id for given in holding.values() for ref, _ in given}, containers, at_most):
            container, member, is_active = self._edge(edge)
            if not self._vocabulary.may_contain(container.type, member.type):
                continue
            if is_active:
                contents.setdefault(container, []).append(member)
            else:
                idle.setdefault(container, []).append(member.id)
        for name, given in holding.items():
            for ref, grant in given:
                making[name].fill(ref, grant, contents, idle)

    def _edges_below(self, tops: set[str], container_types: set[str], at_most: int) -> list[EdgeRow]:
        """What is contained in these at any depth."""
        found: list[EdgeRow] = []
        frontier, seen = tops, set[str]()
        while frontier:
            seen |= frontier
            part = self._present.edges_from(self._id, frontier, limit=at_most + 1)
            found += part
            _require(len(found), at_most)
            frontier = {id_ for _, _, type_, id_, _ in part if type_ in container_types} - seen
        return found

    def _edge(self, edge: EdgeRow) -> tuple[EntityRef, EntityRef, bool]:
        container_type, container_id, member_type, member_id, status = edge
        member = EntityRef(member_type, self._texts.setdefault(member_id, member_id))
        return EntityRef(container_type, container_id), member, status == "active"

    def _load_groups(self, names: Collection[str], at_most: int) -> None:
        limit = at_most + 1
        found: dict[str, set[str]] = {name: set() for name in names}
        share = self._texts.setdefault
        if departments := _ids_of("department", names):
            below = self._present.departments_below(self._id, departments)
            people: dict[str, list[str]] = {id_: [] for _, id_ in below}
            joined = self._present.people_in(self._id, people, limit=limit) if people else ()
            _require(len(joined), at_most)
            for id_, user_id in joined:
                people[id_].append(share(user_id, user_id))
            for root, id_ in below:
                found[name_of("department", root)].update(people[id_])
        if roles := _ids_of("role", names):
            assigned = self._present.people_with(self._id, roles, limit=limit)
            _require(len(assigned), at_most)
            for id_, user_id in assigned:
                found[name_of("role", id_)].add(share(user_id, user_id))
        for name in found.keys() & {self._organization, _EVERYONE, _ANYBODY}:
            members = self._present.people(self._id, only_active=name != _ANYBODY, limit=limit)
            _require(len(members), at_most)
            found[name] = {share(id_, id_) for (id_,) in members}
        for name, users in found.items():
            self._groups[name] = frozenset(users)
            self._spend(_ID_BYTES * (1 + len(users)))


def _require(count: int, at_most: int) -> None:
    if count > at_most:
        raise TooLong


def _counts(name: str, access_mode: str) -> bool:
    return name == OVERRIDING or access_mode in OPEN_MODES


def _ids_of(type_: str, names: Iterable[str]) -> list[str]:
    """The ids of those of the type."""
    split = (name.partition(":") for name in names)
    return [id_ for each, _, id_ in split if each == type_]


class _Making:
    """A `HeldPrincipal` in the making."""

    def __init__(self) -> None:
        self.granted: dict[str, dict[str, HeldGrant]] = {}
        self.timed: dict[EntityRef, Timed] = {}
        self.below: Ids = {}
        self.standing: Ids = {}
        self.idle: set[str] = set()
        self.grants = 0
        self.others = 0

    def add(self, entity_type: str, entity_id: str, grant: HeldGrant) -> None:
        """A grant on something active."""
        self.grants += 1
        if grant.starts_at or grant.expires_at != FOREVER:
            self.timed[EntityRef(entity_type, entity_id)] = Timed(grant, {entity_type: (entity_id,)})
        else:
            self.granted.setdefault(entity_type, {})[entity_id] = grant

    def stand(self, entity_type: str, entity_id: str, rank: int) -> None:
        """Something active that is reached without a grant."""
        self.others += 1
        ranks = self.standing.setdefault(entity_type, {})
        ranks[entity_id] = max(rank, ranks.get(entity_id, rank))

    def on(self, entity_types: Collection[str]) -> list[tuple[EntityRef, HeldGrant]]:
        """The grants on entities of these types, the highest first."""
        found = [(ref, timed.grant) for ref, timed in self.timed.items() if ref.type in entity_types]
        for type_ in entity_types & self.granted.keys():
            found += [(EntityRef(type_, id_), grant) for id_, grant in self.granted[type_].items()]
        return sorted(found, key=lambda each: -each[1].rank)

    def fill(self, top: EntityRef, grant: HeldGrant, contents: Contents, idle: Mapping[EntityRef, list[str]]) -> None:
        """Whatever lies within what the grant is on, of which those that are higher were told before."""
        timed = self.timed.get(top)
        below: Ids = {} if timed is not None else self.below
        frontier: Collection[EntityRef] = [top]
        for _ in range(MAX_CONTAINMENT_DEPTH + 1):
            nearer, frontier = frontier, []
            for container in nearer:
                self.idle.update(idle.get(container, ()))
                for ref in contents.get(container, ()):
                    ranks = below.setdefault(ref.type, {})
                    if ref.id not in ranks:
                        ranks[ref.id] = grant.rank
                        self.others += 1
                        frontier.append(ref)
        if frontier:
            raise LimitExceeded(limit="containment_depth", maximum=MAX_CONTAINMENT_DEPTH)
        if timed is not None and below:
            reached = {type_: tuple(ids) for type_, ids in below.items()}
            reached[top.type] = (top.id, *reached.get(top.type, ()))
            self.timed[top] = Timed(grant, reached)

    def held(self) -> HeldPrincipal:
        """All of it, in the order of the ids: what is in order already is soon put together."""
        granted = {type_: dict(sorted(grants.items())) for type_, grants in self.granted.items()}
        below, standing = (
            {type_: dict(sorted(ranks.items())) for type_, ranks in part.items()}
            for part in (self.below, self.standing)
        )
        return HeldPrincipal(granted, below, self.timed, standing, frozenset(self.idle))
