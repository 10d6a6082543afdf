"""One organization of any size, the same for the same seed: people, a tree of departments, slices, stores, grants.

Shares follow the comparison with other engines: of 200,000 grants about 171,000 name users, 29,000 departments and
the rest roles; every user is in 3 departments and has 2 roles. What is not in that comparison: departments form a
tree, slices hold stores and composites hold slices, so that a grant reaches further than the row it is written in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from grantbook.model.facts import (
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

ORGANIZATION_ID: Final = "org_benchmark"
OWNER_ID: Final = "usr_owner"
WIDE_ID: Final = "usr_wide"
SLICE, STORE = "knowledge_slice", "vector_store"

_BEGIN: Final[Instant] = 1_767_225_600 * SECOND  # 2026-01-01T00:00:00Z
_DAY: Final = 24 * 3600 * SECOND
_FAR: Final = _BEGIN + 36_500 * _DAY
_ROOTS, _MIDDLE, _LEAVES = 4, 16, 80
_ROLES: Final = 10
_TRIOS: Final = 20
_FRESH: Final = 400
_LEVELS: Final = ("read", "read", "read", "read", "read", "read", "add_new", "write", "write", "admin")


@dataclass(frozen=True, kw_only=True)
class World:
    """Facts in the order to load them, and the ids that questions are asked about.

    `trios` are slices granted to exactly three teams; `fresh` slices have no grants yet; `WIDE_ID` has a
    grant of its own on every entity.
    """

    directory: list[Fact]
    grants: list[Grant]
    users: list[str]
    leaves: list[str]
    entities: list[EntityRef]
    trios: list[EntityRef]
    fresh: list[EntityRef]


def make(grants: int, seed: int = 2026) -> World:
    """The world with that many grants: a twentieth as many users (at least 2,000), a fortieth as many entities."""
    return _Maker(Random(seed)).make(grants, max(2_000, grants // 20), max(60, grants // 40))


class _Maker:
    """Draws one world; all randomness comes from one generator, in one order."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def make(self, grants: int, users: int, entities: int) -> World:
        tree = self._departments()
        departments = [department.id for department in tree]
        roles = [Role(id=self._id("role"), name=f"Role {n}", created_at=_BEGIN + n) for n in range(_ROLES)]
        people = [*(self._id("usr") for _ in range(users - 1)), WIDE_ID]
        directory: list[Fact] = [*tree, *roles]
        for number, user_id in enumerate(people):
            directory += self._person(number, user_id, departments[-_LEAVES:], [role.id for role in roles])
        things, trios, fresh = self._entities(entities, people)
        directory += things
        refs = [thing.ref for thing in things if isinstance(thing, Entity) and thing.ref not in fresh]
        pairs = self._pairs(grants, refs, trios, people, departments, [role.id for role in roles])
        return World(
            directory=directory,
            grants=[self._grant(number, *pair) for number, pair in enumerate(pairs)],
            users=people,
            leaves=departments[-_LEAVES:],
            entities=refs,
            trios=trios,
            fresh=fresh,
        )

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self._random.getrandbits(128):032x}"

    def _departments(self) -> list[Department]:
        """Roots, four divisions below each, five teams below each of those."""
        made: list[Department] = []
        for number in range(_ROOTS + _MIDDLE + _LEAVES):
            parent = None
            if number >= _ROOTS + _MIDDLE:
                parent = made[_ROOTS + number % _MIDDLE].id
            elif number >= _ROOTS:
                parent = made[number % _ROOTS].id
            name = f"Department {number}"
            made.append(
                Department(
                    id=self._id("dept"), name=name, parent_id=parent, created_by=OWNER_ID, created_at=_BEGIN + number
                )
            )
        return made

    def _person(self, number: int, user_id: str, leaves: list[str], roles: list[str]) -> Iterator[Fact]:
        at = _BEGIN + number * SECOND
        yield Member(
            user_id=user_id,
            email=f"person{number}@example.org",
            full_name=f"Person {number}",
            state="active",
            created_at=at,
            updated_at=at,
        )
        for department_id in self._random.sample(leaves, 3):
            yield DepartmentMember(department_id=department_id, user_id=user_id, added_at=at)
        for role_id in self._random.sample(roles, 2):
            yield RoleAssignment(role_id=role_id, user_id=user_id, assigned_at=at)

    def _entities(self, wanted: int, people: list[str]) -> tuple[list[Fact], list[EntityRef], list[EntityRef]]:
        """A fifth slices (a tenth of them composites), the rest stores, nine in ten of which lie in a slice."""
        slices = [EntityRef(SLICE, self._id("kslice")) for _ in range(wanted // 5)]
        stores = [EntityRef(STORE, self._id("vs")) for _ in range(wanted - len(slices))]
        fresh = [EntityRef(SLICE, self._id("kslice")) for _ in range(_FRESH)]
        composites, plain = slices[: len(slices) // 10], slices[len(slices) // 10 :]
        trios = plain[:_TRIOS] if len(plain) > 2 * _TRIOS else plain[:2]
        facts: list[Fact] = [self._entity(n, ref, people) for n, ref in enumerate([*slices, *stores, *fresh])]
        for store in stores:
            if self._random.random() < 0.9:
                facts.append(_edge(self._random.choice(plain), store))
        for inner in plain[len(trios) :]:
            if composites and self._random.random() < 0.3:
                facts.append(_edge(self._random.choice(composites), inner))
        return facts, trios, fresh

    def _entity(self, number: int, ref: EntityRef, people: list[str]) -> Entity:
        """Private: nobody reaches it but the owner and whom grants name."""
        at = _BEGIN + number * SECOND
        return Entity(
            entity_type=ref.type,
            id=ref.id,
            name=f"Entity {number}",
            owner_type="user",
            owner_id=self._random.choice(people),
            access_mode="private",
            created_by=OWNER_ID,
            created_at=at,
            updated_at=at,
        )

    def _pairs(
        self,
        wanted: int,
        refs: list[EntityRef],
        trios: list[EntityRef],
        people: list[str],
        departments: list[str],
        roles: list[str],
    ) -> list[tuple[EntityRef, Principal]]:
        """Distinct pairs in random order. Teams get most of the grants to departments, the roots few."""
        others = [ref for ref in refs if ref not in set(trios)]
        pairs: dict[tuple[EntityRef, Principal], None] = {}
        for ref in others:
            pairs[ref, Principal("user", WIDE_ID)] = None
        tiers = (departments[:_ROOTS], departments[_ROOTS : _ROOTS + _MIDDLE], departments[-_LEAVES:])
        for ref in trios:
            pairs.update(dict.fromkeys((ref, Principal("department", id_)) for id_ in self._random.sample(tiers[2], 3)))
        while len(pairs) < wanted:
            ref, draw = self._random.choice(others), self._random.random()
            if draw < 0.8535:
                grantee = Principal("user", self._random.choice(people))
            elif draw < 0.998:
                (tier,) = self._random.choices(tiers, (1, 9, 90))
                grantee = Principal("department", self._random.choice(tier))
            else:
                grantee = Principal("role", self._random.choice(roles))
            pairs[ref, grantee] = None
        found = list(pairs)
        self._random.shuffle(found)
        return found

    def _grant(self, number: int, ref: EntityRef, grantee: Principal) -> Grant:
        """One in twenty ends some day, one in a hundred has ended."""
        at = _BEGIN + number * SECOND // 1000
        draw = self._random.random()
        return Grant(
            id=self._id("agrant"),
            entity_type=ref.type,
            entity_id=ref.id,
            grantee_type=grantee.type,
            grantee_id=grantee.id,
            access_level=self._random.choice(_LEVELS),
            expires_at=at + _DAY if draw < 0.01 else _FAR if draw < 0.06 else None,
            granted_by=OWNER_ID,
            created_at=at,
            updated_at=at,
        )


def _edge(container: EntityRef, member: EntityRef) -> Containment:
    return Containment(
        container_type=container.type, container_id=container.id, member_type=member.type, member_id=member.id
    )
