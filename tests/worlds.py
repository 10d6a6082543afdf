"""Worlds for tests: short ways to make facts, a clock that stands still, and random small organizations."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from hypothesis import strategies as st

from grantbook.model.facts import (
    ENTITY_STATUSES,
    EVERYONE,
    FACT_KINDS,
    MEMBER_STATES,
    AccessTarget,
    ApiKey,
    Containment,
    Department,
    DepartmentMember,
    Entity,
    EntityRef,
    Fact,
    Facts,
    Grant,
    Member,
    Organization,
    Principal,
    Role,
    RoleAssignment,
    key_of,
    revised,
)
from grantbook.model.governance import OWNER
from grantbook.model.instants import SECOND, Instant
from grantbook.model.resolution import OVERRIDE, Access, access
from grantbook.model.vocabulary import ACCESS_MODES, BUILT_IN
from grantbook.store.port import Author, Snapshot, Store

NOW: Final[Instant] = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z
MILLISECOND: Final = SECOND // 1000
DAY: Final = 24 * 3600 * SECOND
ORGANIZATION: Final = "org_1"
AUTHOR: Final = Author(actor_id="usr_author")


class FakeClock:
    """Stands still until it is told otherwise; may run backwards."""

    def __init__(self, now: Instant = NOW) -> None:
        self.now = now

    def __call__(self) -> Instant:
        return self.now

    def advance(self, by: Instant) -> Instant:
        self.now += by
        return self.now


def _times() -> dict[str, Instant]:
    return {"created_at": NOW, "updated_at": NOW}


def organization(id_: str = ORGANIZATION, **values: Any) -> Organization:
    return Organization(**{"id": id_, "name": id_, "created_by": "usr_author", **_times(), **values})


def member(user_id: str, state: str = "active", **values: Any) -> Member:
    return Member(**{"user_id": user_id, "email": f"{user_id}@example.org", "state": state, **_times(), **values})


def department(id_: str, parent_id: str | None = None, **values: Any) -> Department:
    return Department(
        **{"id": id_, "name": id_, "parent_id": parent_id, "created_by": "usr_author", "created_at": NOW, **values}
    )


def role(id_: str, *capabilities: str, **values: Any) -> Role:
    return Role(**{"id": id_, "name": id_, "capabilities": capabilities, "created_at": NOW, **values})


def joined(department_id: str, user_id: str) -> DepartmentMember:
    return DepartmentMember(department_id=department_id, user_id=user_id, added_at=NOW)


def assigned(role_id: str, user_id: str) -> RoleAssignment:
    return RoleAssignment(role_id=role_id, user_id=user_id, assigned_at=NOW)


def entity(ref: EntityRef, *, owner: Principal | None = None, mode: str = "private", **values: Any) -> Entity:
    """By default owned by nobody who exists, and shown to nobody."""
    owner = owner or Principal("user", "usr_nobody")
    known = {"entity_type": ref.type, "id": ref.id, "name": ref.id, "owner_type": owner.type, "owner_id": owner.id}
    return Entity(**{**known, "access_mode": mode, "created_by": "usr_author", **_times(), **values})


def target(ref: EntityRef, whom: Principal) -> AccessTarget:
    return AccessTarget(entity_type=ref.type, entity_id=ref.id, target_type=whom.type, target_id=whom.id)


def contains(container: EntityRef, inner: EntityRef) -> Containment:
    return Containment(
        container_type=container.type, container_id=container.id, member_type=inner.type, member_id=inner.id
    )


def grant(ref: EntityRef, grantee: Principal, level: str, **values: Any) -> Grant:
    """Its id says what it is about, unless one is given."""
    known = {
        "id": f"agrant_{ref.type}-{ref.id}-{grantee.type}-{grantee.id}".replace("*", "all"),
        "entity_type": ref.type,
        "entity_id": ref.id,
        "grantee_type": grantee.type,
        "grantee_id": grantee.id,
        "access_level": level,
        "granted_by": "usr_author",
    }
    return Grant(**{**known, **_times(), **values})


def api_key(id_: str, **values: Any) -> ApiKey:
    known = {"digest": f"digest-of-{id_}", "key_prefix": "gb_12345678", "name": id_, "user_id": "usr_1"}
    return ApiKey(**{"id": id_, **known, "created_by": "usr_author", "created_at": NOW, **values})


def user(user_id: str) -> Principal:
    return Principal("user", user_id)


FACTS_OF_EVERY_KIND: Final[tuple[Fact, ...]] = (
    organization(attributes={"plan": "trial"}, creator_key_id="ak_0", deleted_at=NOW),
    member("usr_1", full_name="Ada Lovelace", invitation_digest="digest", invited_at=NOW, deactivated_at=NOW + DAY),
    department("dept_1", "dept_0", description="All of it"),
    joined("dept_1", "usr_1"),
    role("role_1", "manage_users", "manage_roles", description="Two things", is_base=True),
    assigned("role_1", "usr_1"),
    entity(EntityRef("vector_store", "vs_1"), mode="public", status="archived", attributes={"size": 3}),
    target(EntityRef("vector_store", "vs_1"), user("usr_1")),
    contains(EntityRef("knowledge_slice", "kslice_1"), EntityRef("vector_store", "vs_1")),
    grant(EntityRef("vector_store", "vs_1"), user("usr_1"), "read", starts_at=NOW, expires_at=NOW + DAY, reason="why"),
    api_key("ak_1", scopes=("read",), is_active=False, is_paused=True, expires_at=NOW + DAY),
)


def deposit(store: Store, organization_id: str, facts: Iterable[Fact], author: Author = AUTHOR) -> int:
    """Add the facts in one revision, as they are, and return it."""
    with store.transaction(organization_id, author) as book:
        for fact in facts:
            book.add(fact, "added")
    return book.revision


def withdraw(store: Store, organization_id: str, facts: Iterable[Fact]) -> int:
    with store.transaction(organization_id, AUTHOR) as book:
        for fact in facts:
            book.remove(fact, "removed")
    return book.revision


def everything(snapshot: Snapshot) -> dict[str, list[Fact]]:
    """Every fact that the snapshot sees, by kind and in order of keys."""
    return {kind.__name__: sorted(snapshot.select(kind), key=key_of) for kind in FACT_KINDS}


def contents(store: Store, organization_id: str, revision: int | None = None) -> dict[str, list[Fact]]:
    with store.snapshot(organization_id, revision=revision) as snapshot:
        return everything(snapshot)


@contextmanager
def nothing_happens(store: Store, *organization_ids: str) -> Iterator[None]:
    """What the block does leaves neither facts nor changes nor a revision behind in these organizations."""
    before = [_state(store, each) for each in organization_ids]
    yield
    assert [_state(store, each) for each in organization_ids] == before


def _state(store: Store, organization_id: str) -> tuple[object, ...]:
    return store.head(organization_id), contents(store, organization_id), list(store.changes(organization_id))


@dataclass(frozen=True)
class World:
    """One organization at `NOW`, and everybody and everything to ask about, known or not."""

    facts: tuple[Fact, ...]
    users: tuple[str, ...]
    entities: tuple[EntityRef, ...]
    organization_id: str = ORGANIZATION

    @cached_property
    def grants(self) -> tuple[Grant, ...]:
        return tuple(fact for fact in self.facts if isinstance(fact, Grant))

    @property
    def pairs(self) -> list[tuple[str, EntityRef]]:
        return [(user_id, ref) for user_id in self.users for ref in self.entities]

    def access(self, user_id: str, ref: EntityRef) -> Access:
        return access(Facts.of(self.organization_id, self.facts), BUILT_IN, user_id, ref, NOW)

    def answers(self, at: Instant = NOW) -> dict[tuple[str, EntityRef], Access]:
        """By the definition: everybody's access to everything."""
        facts = Facts.of(self.organization_id, self.facts)
        return {(user_id, ref): access(facts, BUILT_IN, user_id, ref, at) for user_id, ref in self.pairs}

    def with_facts(self, facts: Iterable[Fact]) -> "World":
        return replace(self, facts=tuple(facts))

    def moved_to(self, organization_id: str) -> "World":
        """The same world, all ids alike, in another organization."""
        moved = tuple(_moved(fact, self.organization_id, organization_id) for fact in self.facts)
        return replace(self, facts=moved, organization_id=organization_id)


def _moved(fact: Fact, old: str, new: str) -> Fact:
    match fact:
        case Organization(id=id_) if id_ == old:
            return revised(fact, id=new)
        case Entity(owner_id=id_) if id_ == old:
            return revised(fact, owner_id=new)
        case Grant(grantee_id=id_) if id_ == old:
            return revised(fact, grantee_id=new)
        case _:
            return fact


# Two kinds of entity share an id, and a department shares one with a role: types keep them apart.
USERS: Final = ("usr_0", "usr_1", "usr_2", "usr_3")
OUTSIDER: Final = "usr_outsider"
DEPARTMENTS: Final = ("dept_0", "dept_1", "dept_2", "group_same")
ROLES: Final = ("role_0", "role_1", "group_same")
OWNER_ROLE: Final = role("role_owner", name=OWNER, is_base=True)
SLICES: Final = tuple(EntityRef("knowledge_slice", id_) for id_ in ("kslice_0", "kslice_1", "kslice_2", "thing_same"))
STORES: Final = tuple(EntityRef("vector_store", id_) for id_ in ("vs_0", "vs_1", "thing_same"))
ENTITIES: Final = (*SLICES, *STORES, EntityRef("assistant", "asst_0"), EntityRef("rule", "rule_0"))
EDGES: Final = (
    *((SLICES[outer], SLICES[inner]) for outer in range(len(SLICES)) for inner in range(outer + 1, len(SLICES))),
    *((outer, inner) for outer in SLICES for inner in STORES),
)
PEOPLE: Final = (
    *(Principal("user", id_) for id_ in (*USERS, OUTSIDER)),
    *(Principal("department", id_) for id_ in DEPARTMENTS),
)
GRANTEES: Final = (
    *PEOPLE,
    *(Principal("role", id_) for id_ in ROLES),
    Principal("organization", ORGANIZATION),
    Principal("organization", "org_elsewhere"),
    EVERYONE,
)
WINDOWS: Final[tuple[tuple[Instant | None, Instant | None], ...]] = (
    *[(None, None)] * 6,
    (NOW, None),
    (NOW + 1, None),
    (None, NOW),
    (None, NOW + 1),
    (NOW - DAY, NOW + DAY),
    (NOW - DAY, NOW - 1),
)


def subsets(values: Iterable[Any], at_most: int | None = None, *, at_least: int = 0) -> st.SearchStrategy[list[Any]]:
    """Some of the values, in any order, none twice."""
    return st.lists(st.sampled_from(tuple(values)), unique_by=id, min_size=at_least, max_size=at_most)


@st.composite
def worlds(draw: st.DrawFn, *, with_reasons: bool = True) -> World:
    """Any world with acyclic trees. Without reasons: no grant, and nothing that gives access without one."""
    deleted_at = draw(st.sampled_from((*[None] * 12, NOW)))
    facts: list[Fact] = [organization(deleted_at=deleted_at), OWNER_ROLE]
    facts += draw(_directory(with_reasons=with_reasons))
    facts += draw(_entities(with_reasons=with_reasons))
    facts += [contains(outer, inner) for outer, inner in draw(subsets(EDGES, 12, at_least=4))]
    if with_reasons:
        facts += draw(grants(at_least=5))
    return World(facts=tuple(facts), users=(*USERS, OUTSIDER), entities=ENTITIES)


@st.composite
def _directory(draw: st.DrawFn, *, with_reasons: bool) -> list[Fact]:
    facts: list[Fact] = []
    for user_id in USERS:
        state = draw(st.sampled_from(("active", "active", "active", *MEMBER_STATES, None)))  # None: was never invited
        facts += [member(user_id, state)] if state else []
    for position, id_ in enumerate(DEPARTMENTS):
        parent = draw(st.sampled_from((None, *DEPARTMENTS[:position], *DEPARTMENTS[:position], "missing")))
        facts += [department(id_, parent)] if parent != "missing" else []
    for id_ in ROLES:
        overrides = with_reasons and draw(st.integers(0, 5)) == 5
        facts += [role(id_, *((OVERRIDE,) if overrides else ()))] if draw(st.integers(0, 7)) else []
    pairs = [(id_, user_id) for id_ in DEPARTMENTS for user_id in (*USERS, OUTSIDER)]
    facts += [joined(*pair) for pair in draw(subsets(pairs, 8, at_least=3))]
    pairs = [(id_, user_id) for id_ in ROLES for user_id in (*USERS, OUTSIDER)]
    facts += [assigned(*pair) for pair in draw(subsets(pairs, 6, at_least=2))]
    return facts


@st.composite
def _entities(draw: st.DrawFn, *, with_reasons: bool) -> list[Fact]:
    facts: list[Fact] = []
    for ref in ENTITIES:
        status = draw(st.sampled_from(("active", "active", "active", *ENTITY_STATUSES, None)))  # None: deleted
        if status is None:
            continue
        owner, mode = user("usr_nobody"), "private"
        if with_reasons:
            owner = draw(st.sampled_from((*[user("usr_nobody")] * 9, *PEOPLE, Principal("organization", ORGANIZATION))))
            mode = draw(st.sampled_from(("private", "private", "private", *ACCESS_MODES)))
            facts += [target(ref, whom) for whom in draw(subsets(PEOPLE, 2))]
        facts.append(entity(ref, owner=owner, mode=mode, status=status))
    return facts


@st.composite
def grants(draw: st.DrawFn, *, at_least: int = 0) -> list[Grant]:
    """Grants of any level, also one that the vocabulary lost, and window; at most one for each entity and grantee."""
    place = st.tuples(st.sampled_from(ENTITIES), st.sampled_from(GRANTEES))
    places = draw(st.lists(place, unique=True, min_size=at_least, max_size=at_least + 10))
    found: list[Grant] = []
    for ref, grantee in places:
        starts_at, expires_at = draw(st.sampled_from(WINDOWS))
        level = draw(st.sampled_from((*BUILT_IN.entity_type(ref.type).levels, "once")))
        found.append(grant(ref, grantee, level, starts_at=starts_at, expires_at=expires_at))
    return found
