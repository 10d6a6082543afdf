"""The whole of an organization, out of one book and into another: every fact that lives, with its ids and its times.

What speaks for somebody stays behind: keys and invitations, of which a book only has digests. So does the history: in
the new book it begins with the import.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from grantbook.model import ids
from grantbook.model.errors import GrantbookError, ValidationFailed
from grantbook.model.facts import (
    AccessTarget,
    Containment,
    Department,
    DepartmentMember,
    Entity,
    EntityRef,
    Fact,
    Grant,
    Member,
    Organization,
    Principal,
    Role,
    RoleAssignment,
    key_of,
    revised,
)
from grantbook.model.governance import valid_capabilities
from grantbook.model.instants import MAX_INSTANT
from grantbook.model.limits import MAX_DEPARTMENT_DEPTH
from grantbook.service import organizations
from grantbook.service.desk import Reading, Writing
from grantbook.service.entities import check_containment, lookup_key
from grantbook.service.gates import PRINCIPAL_KINDS
from grantbook.service.lines import Problems, missing_entities, missing_principals
from grantbook.service.values import (
    check_attributes,
    one_of,
    optional_instant,
    optional_text,
    valid_email,
    valid_id,
    valid_name,
)
from grantbook.store.port import Lookup

ACTIONS: Final[Mapping[type[Fact], str]] = {
    Organization: "created",
    Role: "created",
    Department: "created",
    Member: "added",
    DepartmentMember: "joined",
    RoleAssignment: "assigned",
    Entity: "created",
    AccessTarget: "listed",
    Containment: "added",
    Grant: "granted",
}
KINDS: Final = tuple(ACTIONS)
"""What is carried, in an order in which nothing comes before what it refers to."""

TIMES: Final[Mapping[type[Fact], tuple[str, ...]]] = {
    kind: tuple(name for name in kind.__struct_fields__ if name.endswith("_at")) for kind in KINDS
}
LEFT_BEHIND: Final[Mapping[type[Fact], tuple[str, ...]]] = {
    Organization: ("creator_key_id",),
    Member: ("invitation_digest",),
}
_UNIQUE: Final[Mapping[type[Fact], tuple[str, ...]]] = {
    Role: ("name",),
    Member: ("email",),
    Grant: ("entity_id", "entity_type", "grantee_id", "grantee_type"),
}
_PAIR: Final[Callable[[Fact], tuple[str, ...]]] = attrgetter(*_UNIQUE[Grant])
_PRINCIPALS: Final[Mapping[type[Fact], str]] = {kind: name for name, kind in PRINCIPAL_KINDS.items()}
_TARGETS: Final = ("department", "user")
_PART: Final = 1_000


class Line(NamedTuple):
    """A fact and the number of its line."""

    number: int
    fact: Fact


def counts(reading: Reading) -> dict[type[Fact], int]:
    """How many facts of each kind there are to carry."""
    return {kind: reading.snapshot.count(kind) for kind in KINDS}


def iterate(reading: Reading) -> Iterator[Fact]:
    """Every fact to carry, kind by kind: departments after those above them, grants oldest first, the others in order
    of their keys."""
    for kind in KINDS:
        if kind is Department:
            yield from _departments(reading)
        elif kind is Grant:
            yield from _grants(reading)
        else:
            yield from map(portable, reading.snapshot.iterate(kind))


def portable(fact: Fact) -> Fact:
    """The fact without what stays behind."""
    left = LEFT_BEHIND.get(type(fact))
    return revised(fact, **dict.fromkeys(left)) if left else fact


class Known:
    """What an import has seen to be there. It counts as long as nobody else writes."""

    def __init__(self) -> None:
        self.principals: set[Principal] = set()
        self.entities: set[EntityRef] = set()
        self.is_all = True
        self._revision = 0

    def begin(self, writing: Writing) -> None:
        """Forget everything, if somebody wrote since this was called last. While `is_all`, nobody else ever did."""
        if writing.book.revision != self._revision + 1:
            self.is_all = False
            self.principals.clear()
            self.entities.clear()
        self._revision = writing.book.revision

    def note(self, kind: type[Fact], lines: Iterable[Line]) -> None:
        """What was added just now."""
        if kind is Entity:
            self.entities.update(EntityRef(*key_of(fact)) for _, fact in lines)
        elif kind in _PRINCIPALS:
            self.principals.update(Principal(_PRINCIPALS[kind], key_of(fact)[0]) for _, fact in lines)


def add(writing: Writing, lines: Sequence[Line], known: Known, *, trusts_store: bool = False) -> int:
    """The facts that are not there yet, and how many they were; those that are there already stay as they are.

    All or nothing. Only for those who hold the database. The same `known` serves all parts of one import. A call that
    `trusts_store` leaves it to the store to refuse a second grant to one grantee, and what an import that began the
    organization has a second time: faster, but without naming the line.
    Raises InvalidLines for what is not valid, refers to nothing, or is there with another content; Conflict.
    """
    known.begin(writing)
    problems = Problems()
    by_kind: defaultdict[type[Fact], list[Line]] = defaultdict(list)
    for line in lines:
        by_kind[type(line.fact)].append(line)
        try:
            _check(writing, line.fact)
        except GrantbookError as error:
            problems.add_error(line.number, error)
    _require_organization(writing, lines, problems)
    problems.raise_any()
    by_kind[Grant].sort(key=_place)
    added = 0
    for kind in KINDS:
        # What others did not write is in the file twice, which the store refuses; except the id of a grant.
        is_new = trusts_store and known.is_all and kind is not Grant
        fresh = _fresh(writing, kind, by_kind[kind], problems, is_new=is_new)
        if fresh:
            _require_references(writing, fresh, known, problems)
            if kind is not Grant or not trusts_store:
                _require_unique(writing, kind, fresh, problems)
            _claim(writing, fresh, problems)
        problems.raise_any()
        action = ACTIONS[kind]
        for _, fact in fresh:
            writing.book.add(fact, action)
        known.note(kind, fresh)
        _require_trees(writing, kind, fresh)
        added += len(fresh)
    return added


def require_complete(reading: Reading) -> None:
    """Raises ValidationFailed where the organization has nobody who owns it."""
    if organizations.owner_of(reading) is None:
        raise ValidationFailed("role_assignment", "the organization has no owner yet: assign the base role Owner")


def _place(line: Line) -> tuple[str, ...]:
    """The entity, then the grantee. A book finds grants by these, so it takes in twice as fast what is ordered so."""
    return _PAIR(line.fact)


def _departments(reading: Reading) -> Iterator[Department]:
    level = reading.snapshot.select(Department, {"parent_id": None})
    while level:
        yield from sorted(level, key=lambda department: department.id)
        level = reading.snapshot.select(Department, {"parent_id": {department.id for department in level}})


def _grants(reading: Reading) -> Iterator[Grant]:
    """As they were made, which is the order that a book takes in fastest."""
    place = None
    while found := reading.snapshot.page(Grant, skip=0, limit=_PART, after=place):
        yield from found
        place = (found[-1].created_at, found[-1].id)


def _fresh(
    writing: Writing, kind: type[Fact], lines: Sequence[Line], problems: Problems, *, is_new: bool
) -> list[Line]:
    """The lines whose facts are not there, or in case `is_new` not in an earlier line. One that is there with another
    content is a problem."""
    if not lines:
        return []
    portables = [Line(line.number, portable(line.fact)) for line in lines] if kind in LEFT_BEHIND else lines
    keys = [key_of(line.fact) for line in portables]
    present: Sequence[Fact] = ()
    if is_new:
        pass
    elif len(kind.KEY) == 1:
        present = writing.snapshot.select(kind, {kind.KEY[0]: {key for (key,) in keys}})
    else:
        present = writing.snapshot.find_all(kind, kind.KEY, keys)
    known = {key_of(fact): portable(fact) for fact in present}
    fresh: list[Line] = []
    for key, line in zip(keys, portables, strict=True):
        there = known.setdefault(key, line.fact)
        if there is line.fact:
            fresh.append(line)
        elif there != line.fact:
            names = list(kind.__struct_fields__)
            other = next(name for name in names if getattr(there, name) != getattr(line.fact, name))
            problems.add(line.number, other, f"{'/'.join(key_of(there))} is there with another {other}")
    return fresh


def _check(writing: Writing, fact: Fact) -> None:
    """What can be seen from the fact alone. Raises ValidationFailed."""
    _check_times(fact)
    match fact:
        case Grant():
            _check_grant(writing, fact)
        case Entity():
            valid_id("id", fact.id, writing.vocabulary.entity_type(fact.entity_type).id_prefix)
            _same("name", fact.name, valid_name("name", fact.name))
            check_attributes(fact.attributes)
        case Member():
            valid_id("user_id", fact.user_id, ids.USER)
            _same("email", fact.email, valid_email("email", fact.email))
            if fact.full_name is not None:
                _same("full_name", fact.full_name, valid_name("full_name", fact.full_name))
        case Department() | Role():
            valid_id("id", fact.id, ids.DEPARTMENT if isinstance(fact, Department) else ids.ROLE)
            _same("name", fact.name, valid_name("name", fact.name))
            optional_text("description", fact.description)
            if isinstance(fact, Role):
                valid_capabilities(fact.capabilities)
        case Organization():
            if fact.id != writing.organization_id:
                raise ValidationFailed("id", f"this import is into {writing.organization_id}")
            _same("name", fact.name, valid_name("name", fact.name))
            check_attributes(fact.attributes)
        case AccessTarget():
            one_of("target_type", fact.target_type, _TARGETS)
        case Containment():
            if fact.member_type not in writing.vocabulary.entity_type(fact.container_type).contains:
                raise ValidationFailed("member_type", f"a {fact.container_type} cannot contain a {fact.member_type}")


def _check_times(fact: Fact) -> None:
    for name in TIMES[type(fact)]:
        at = getattr(fact, name)
        if at is not None and not 0 <= at <= MAX_INSTANT:  # a call for each would cost more than all other checks
            optional_instant(name, at)


def _check_grant(writing: Writing, grant: Grant) -> None:
    kind = writing.vocabulary.entity_type(grant.entity_type)
    kind.rank(grant.access_level)
    if grant.grantee_type not in kind.grantee_types:
        one_of("grantee_type", grant.grantee_type, kind.grantee_types)
    valid_id("id", grant.id)
    if grant.reason is not None:
        optional_text("reason", grant.reason)


def _same(field: str, given: str, valid: str) -> None:
    """What is carried comes out as it went in, so it is not put right on the way."""
    if given != valid:
        raise ValidationFailed(field, f"{field} must be written as {valid!r}")


def _require_organization(writing: Writing, lines: Sequence[Line], problems: Problems) -> None:
    if any(type(line.fact) is Organization for line in lines):
        return
    if lines and writing.snapshot.find(Organization, writing.organization_id) is None:
        problems.add(lines[0].number, "kind", f"there is no {writing.organization_id} yet: its line comes first")


def _require_references(writing: Writing, lines: Sequence[Line], known: Known, problems: Problems) -> None:
    """What the facts name must be there; a department may be among them."""
    known.principals.update(
        Principal("department", each.fact.id) for each in lines if isinstance(each.fact, Department)
    )
    entities: dict[EntityRef, list[tuple[int, str]]] = {}
    principals: dict[Principal, list[tuple[int, str]]] = {}
    for number, fact in lines:
        if type(fact) is Grant:
            entity_id, entity_type, grantee_id, grantee_type = _PAIR(fact)
            if (entity_type, entity_id) in known.entities and (grantee_type, grantee_id) in known.principals:
                continue  # most lines are grants, and most name what was seen before
        for field, entity in entities_in(fact):
            if entity not in known.entities:
                entities.setdefault(entity, []).append((number, field))
        for field, principal in principals_in(writing, fact):
            if principal not in known.principals:
                principals.setdefault(principal, []).append((number, field))
    no_entities, no_principals = missing_entities(writing, entities), missing_principals(writing, principals)
    known.entities |= entities.keys() - no_entities
    known.principals |= principals.keys() - no_principals
    for entity in (each for each in entities if each in no_entities):
        _refuse(entity, entities[entity], problems)
    for principal in (each for each in principals if each in no_principals):
        _refuse(principal, principals[principal], problems)


def _refuse(ref: EntityRef | Principal, places: Sequence[tuple[int, str]], problems: Problems) -> None:
    for number, field in places:
        problems.add(number, field, f"{field}: there is no {ref.type} {ref.id}")


def entities_in(fact: Fact) -> tuple[tuple[str, EntityRef], ...]:
    """The fields that name an entity."""
    match fact:
        case Grant() | AccessTarget():
            return (("entity_id", fact.entity),)
        case Containment():
            return ("container_id", fact.container), ("member_id", fact.member)
    return ()


def principals_in(reading: Reading, fact: Fact) -> tuple[tuple[str, Principal], ...]:
    """The fields that name a principal which has to be there. Users who own something may be gone, and rules are
    granted to users from elsewhere."""
    match fact:
        case Entity():
            return () if fact.owner_type == "user" else (("owner_id", fact.owner),)
        case Grant():
            is_bound = fact.grantee_type != "user" or reading.vocabulary.entity_type(fact.entity_type).is_bound
            return (("grantee_id", fact.grantee),) if is_bound else ()
        case AccessTarget():
            return (("target_id", fact.target),)
        case Department(parent_id=str(parent_id)):
            return (("parent_id", Principal("department", parent_id)),)
        case DepartmentMember():
            department = Principal("department", fact.department_id)
            return ("department_id", department), ("user_id", Principal("user", fact.user_id))
        case RoleAssignment():
            return ("role_id", Principal("role", fact.role_id)), ("user_id", Principal("user", fact.user_id))
    return ()


def _require_unique(writing: Writing, kind: type[Fact], lines: Sequence[Line], problems: Problems) -> None:
    """Two roles with one name, two members with one address, two grants to one grantee on one entity."""
    names = _UNIQUE.get(kind)
    if names is None:
        return
    value = attrgetter(*names, kind.KEY[0])  # the values, and after them the key
    present = writing.snapshot.find_all(kind, names, {value(line.fact)[:-1] for line in lines})
    holders = {value(fact)[:-1]: value(fact)[-1] for fact in present}
    for line in lines:
        *values, key = value(line.fact)
        holder = holders.setdefault(tuple(values), key)
        if holder != key:
            problems.add(line.number, names[0], f"{holder} has the same {' and '.join(names)}")


def _claim(writing: Writing, lines: Sequence[Line], problems: Problems) -> None:
    """What is known beyond the organization: users, and entities that are not bound to it."""
    here, types = writing.organization_id, writing.vocabulary
    if users := {fact.user_id: here for _, fact in lines if isinstance(fact, Member)}:
        writing.book.claim(Lookup.USER, users)
    unbound = {
        lookup_key(fact.ref): number
        for number, fact in lines
        if isinstance(fact, Entity) and not types.entity_type(fact.entity_type).is_bound
    }
    holders = writing.book.claim(Lookup.ENTITY, dict.fromkeys(unbound, here)) if unbound else {}
    for key, holder in holders.items():
        if holder != here:
            problems.add(unbound[key], "id", f"{key.partition('/')[2]} is taken by another organization")


def _require_trees(writing: Writing, kind: type[Fact], lines: Sequence[Line]) -> None:
    """Neither departments nor containers go round in a circle or too deep. Raises InvalidLines."""
    problems = Problems()
    if kind is Department:
        ids_ = {line.fact.id: line.number for line in lines if isinstance(line.fact, Department)}
        parents = {each.id: each.parent_id for each in writing.snapshot.departments_above(ids_)}
        for id_, number in ids_.items():
            depth, above = 0, parents.get(id_)
            while above is not None and depth <= MAX_DEPARTMENT_DEPTH:
                depth, above = depth + 1, parents.get(above)
            if depth >= MAX_DEPARTMENT_DEPTH:
                problems.add(number, "parent_id", f"departments can be at most {MAX_DEPARTMENT_DEPTH} levels deep")
    if kind is Containment:
        members = [line.fact.member for line in lines if isinstance(line.fact, Containment)]
        try:
            check_containment(writing, members)
        except GrantbookError as error:
            problems.add_error(lines[0].number, error)
    problems.raise_any()
