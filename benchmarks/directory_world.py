"""One large organization for the lists of the directory: of 500,000 grants 50,000 members and 20,000 entities, among
2,000 departments in eight levels, one of which has half of the others below it.

The first member is a plain one with many grants. Rules and assistants are there too, a part of everything is open to
the organization or to departments, and everybody has one role in common.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from benchmarks.world import OWNER_ID, World
from grantbook.model.facts import (
    AccessTarget,
    ApiKey,
    Containment,
    Department,
    DepartmentMember,
    Entity,
    EntityRef,
    Fact,
    Grant,
    Member,
    Principal,
    Role,
    RoleAssignment,
)
from grantbook.model.instants import SECOND, Instant
from grantbook.model.vocabulary import BUILT_IN

SLICE, STORE, ASSISTANT, RULE = "knowledge_slice", "vector_store", "assistant", "rule"
COMMON_ROLE: Final = "role_everybody"
TOP, BIG, OTHER, ANNEX = "dept_top", "dept_big", "dept_other", "dept_annex"
COMPOSITE: Final[dict[str, Any]] = {"form": "composite"}
ATTRIBUTES: Final[dict[str, dict[str, Any]]] = {RULE: {"version": 1, "content": "Be kind. " * 20}}

_BEGIN: Final[Instant] = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z
_SHARES: Final = ((SLICE, "kslice_", 15), (STORE, "vs_", 65), (ASSISTANT, "asst_", 10), (RULE, "rule_", 10))
_ROLES: Final = 40
_KEYS: Final = 1_000
_WIDTH: Final = 3
_MANY: Final = 900


@dataclass(frozen=True, kw_only=True)
class Directory(World):
    """The world with what its lists are asked about."""

    roles: list[str]
    kept: dict[str, list[str]]


def make(grants: int, seed: int = 2026) -> Directory:
    """Members a tenth, entities a twenty-fifth, departments a 250th of the grants."""
    return _Maker(Random(seed)).make(grants)


class _Maker:
    """Draws one world; all randomness comes from one generator, in one order."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def make(self, grants: int) -> Directory:
        tree = _departments(max(20, grants // 250))
        departments = [department.id for department in tree]
        roles = [Role(id=f"role_{n:03}", name=f"Role {n}", created_at=_BEGIN + n) for n in range(_ROLES)]
        common = Role(id=COMMON_ROLE, name="Everybody", created_at=_BEGIN)
        people = [f"usr_{self._random.getrandbits(64):016x}" for _ in range(max(200, grants // 10))]
        directory: list[Fact] = [*tree, *roles, common]
        for number, user_id in enumerate(people):
            directory += self._person(number, user_id, departments, [role.id for role in roles])
        kept = self._ids(max(100, grants // 25))
        directory += self._entities(kept, people, departments)
        directory += [_key(number, self._random.choice(people)) for number in range(min(_KEYS, len(people)))]
        refs = [EntityRef(type_, id_) for type_, ids in kept.items() for id_ in ids]
        pairs = self._pairs(grants, refs, people, departments, [role.id for role in roles])
        return Directory(
            directory=directory,
            grants=[self._grant(number, *pair) for number, pair in enumerate(pairs)],
            users=people,
            leaves=departments,
            entities=refs,
            trios=[],
            fresh=[],
            roles=[role.id for role in roles],
            kept=kept,
        )

    def _person(self, number: int, user_id: str, departments: list[str], roles: list[str]) -> Iterator[Fact]:
        """One in fifty is invited, one in fifty deactivated; the first is active."""
        at = _BEGIN + number * SECOND
        state = {49: "pending_invitation", 48: "deactivated"}.get(number % 50, "active")
        yield Member(
            user_id=user_id,
            email=f"person{number}@example.org",
            full_name=f"Person {self._random.randrange(10**9):09}",
            state=state,
            created_at=at,
            updated_at=at,
        )
        for department_id in self._random.sample(departments, 2):
            yield DepartmentMember(department_id=department_id, user_id=user_id, added_at=at)
        for role_id in (COMMON_ROLE, self._random.choice(roles)):
            yield RoleAssignment(role_id=role_id, user_id=user_id, assigned_at=at)

    def _ids(self, wanted: int) -> dict[str, list[str]]:
        return {
            type_: [f"{prefix}{self._random.getrandbits(64):016x}" for _ in range(wanted * share // 100)]
            for type_, prefix, share in _SHARES
        }

    def _entities(self, kept: dict[str, list[str]], people: list[str], departments: list[str]) -> Iterator[Fact]:
        """A tenth of the slices are composites; nine stores in ten lie in a slice."""
        slices = kept[SLICE]
        plain = slices[len(slices) // 10 :]
        composites = dict.fromkeys(slices[: len(slices) // 10])
        for type_, ids in kept.items():
            for number, id_ in enumerate(ids):
                attributes = COMPOSITE if id_ in composites else ATTRIBUTES.get(type_, {})
                yield from self._entity(number, EntityRef(type_, id_), people, departments, attributes)
        for id_ in kept[STORE]:
            if self._random.random() < 0.9:
                yield _edge(self._random.choice(plain), STORE, id_)
        for id_ in plain:
            if self._random.random() < 0.3:
                yield _edge(self._random.choice(list(composites)), SLICE, id_)

    def _entity(
        self, number: int, ref: EntityRef, people: list[str], departments: list[str], attributes: dict[str, Any]
    ) -> Iterator[Fact]:
        at, draw = _BEGIN + number * SECOND, self._random.random()
        mode = "organization" if draw < 0.05 else "department" if draw < 0.10 else "private"
        yield Entity(
            entity_type=ref.type,
            id=ref.id,
            name=f"Entity {self._random.randrange(10**9):09}",
            owner_type="user",
            owner_id=self._random.choice(people),
            access_mode=mode,
            status="archived" if draw > 0.95 and ref.type in {SLICE, STORE} else "active",
            attributes=attributes,
            created_by=OWNER_ID,
            created_at=at,
            updated_at=at,
        )
        if mode == "department":
            yield AccessTarget(
                entity_type=ref.type,
                entity_id=ref.id,
                target_type="department",
                target_id=self._random.choice(departments),
            )

    def _pairs(
        self, wanted: int, refs: list[EntityRef], people: list[str], departments: list[str], roles: list[str]
    ) -> list[tuple[EntityRef, Principal]]:
        """Distinct pairs in random order."""
        first = self._random.sample(refs, min(_MANY, len(refs) // 2))
        pairs = {(ref, Principal("user", people[0])): None for ref in first}
        while len(pairs) < wanted:
            ref, draw = self._random.choice(refs), self._random.random()
            if draw < 0.858:
                grantee = Principal("user", self._random.choice(people))
            elif draw < 0.998:
                grantee = Principal("department", self._random.choice(departments))
            else:
                grantee = Principal("role", self._random.choice(roles))
            pairs[ref, grantee] = None
        found = list(pairs)
        self._random.shuffle(found)
        return found

    def _grant(self, number: int, ref: EntityRef, grantee: Principal) -> Grant:
        at = _BEGIN + number * SECOND // 1000
        return Grant(
            id=f"agrant_{self._random.getrandbits(64):016x}",
            entity_type=ref.type,
            entity_id=ref.id,
            grantee_type=grantee.type,
            grantee_id=grantee.id,
            access_level=self._random.choice(BUILT_IN.entity_type(ref.type).levels),
            granted_by=OWNER_ID,
            created_at=at,
            updated_at=at,
        )


def _departments(wanted: int) -> list[Department]:
    """The top with two branches and an annex; a branch has `_WIDTH` departments below each."""
    made = [(TOP, None), (BIG, TOP), (OTHER, TOP), (ANNEX, TOP)]
    for branch, size in ((BIG, wanted // 2), (OTHER, wanted - wanted // 2 - len(made))):
        ids = [branch, *(f"{branch}_{number:04}" for number in range(size))]
        made += [(id_, ids[number // _WIDTH]) for number, id_ in enumerate(ids[1:])]
    return [
        Department(id=id_, name=f"Department {n}", parent_id=parent, created_by=OWNER_ID, created_at=_BEGIN + n)
        for n, (id_, parent) in enumerate(made)
    ]


def _key(number: int, user_id: str) -> ApiKey:
    """Its secret is nobody's."""
    return ApiKey(
        id=f"ak_{number:05}",
        digest=f"{number:064x}",
        key_prefix="gb_",
        name=f"Key {number}",
        user_id=user_id,
        created_by=user_id,
        created_at=_BEGIN + number,
    )


def _edge(container_id: str, member_type: str, member_id: str) -> Containment:
    return Containment(container_type=SLICE, container_id=container_id, member_type=member_type, member_id=member_id)
