"""The data that every system gets, in no system's own words, and the reference that says what the answers are.

One organization: every user is in 3 of 100 departments and has 2 of 10 roles; grants are on entities of one type, at
one of three levels of which each includes those below. Nothing is nested: what reaches further in Grantbook (trees of
departments, containment, owners, modes, expiry) is left out, so that every peer can hold the same data.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Final

LEVELS: Final = ("read", "write", "admin")
USERS, DEPARTMENTS, ROLES, ENTITIES = 10_000, 100, 10, 5_000
FRESH: Final = 400
_WARM, _DIFFERENT, _USERS_ASKED = 2_000, 60_000, 500
_SHARES: Final = (("user", 0.8535), ("department", 0.998), ("role", 1.0))


@dataclass(frozen=True, slots=True, order=True)
class Principal:
    """Whom a grant names: kind is user, department or role."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """At most one for an entity and a principal."""

    entity: str
    principal: Principal
    level: str


@dataclass(frozen=True, slots=True)
class Question:
    """May this user do this on this entity?"""

    user: str
    entity: str
    level: str


@dataclass(frozen=True)
class World:
    """`groups` has the departments and roles of each user; `fresh` entities have no grant."""

    users: list[str]
    groups: dict[str, list[Principal]]
    entities: list[str]
    fresh: list[str]
    grants: list[Grant]
    seed: int

    @cached_property
    def ranks(self) -> dict[str, dict[Principal, int]]:
        """By entity and principal, the rank of the level that is granted."""
        found: dict[str, dict[Principal, int]] = defaultdict(dict)
        for grant in self.grants:
            found[grant.entity][grant.principal] = LEVELS.index(grant.level)
        return dict(found)

    @cached_property
    def members(self) -> dict[Principal, list[str]]:
        """By principal, the users that it stands for."""
        found: dict[Principal, list[str]] = defaultdict(list)
        for user in self.users:
            for principal in self.principals(user):
                found[principal].append(user)
        return dict(found)

    @cached_property
    def granted(self) -> dict[Principal, list[Grant]]:
        """By principal, its grants."""
        found: dict[Principal, list[Grant]] = defaultdict(list)
        for grant in self.grants:
            found[grant.principal].append(grant)
        return dict(found)

    def principals(self, user: str) -> list[Principal]:
        """The user, and what the user is a member of."""
        return [Principal("user", user), *self.groups[user]]

    def allowed(self, question: Question) -> bool:
        """The reference."""
        ranks, needed = self.ranks.get(question.entity, {}), LEVELS.index(question.level)
        return any(ranks.get(principal, -1) >= needed for principal in self.principals(question.user))

    def entities_of(self, user: str) -> set[str]:
        """What the user may at least read."""
        return {grant.entity for principal in self.principals(user) for grant in self.granted.get(principal, ())}

    def users_of(self, entity: str) -> set[str]:
        """Who may at least read the entity."""
        return {user for principal in self.ranks.get(entity, {}) for user in self.members.get(principal, ())}


def make(seed: int = 2026, grants: int = 200_000, *, users_per_grant: float = USERS / 200_000) -> World:
    """The same world for the same seed; fewer grants make a smaller one of the same shape."""
    random, scale = Random(seed), grants / 200_000
    users = _names(random, "usr", max(200, round(users_per_grant * grants)))
    departments = [Principal("department", each) for each in _names(random, "dept", DEPARTMENTS)]
    roles = [Principal("role", each) for each in _names(random, "role", ROLES)]
    entities = _names(random, "asst", max(100, round(ENTITIES * scale)))
    groups = {user: [*random.sample(departments, 3), *random.sample(roles, 2)] for user in users}
    choices = {"user": [Principal("user", each) for each in users], "department": departments, "role": roles}
    found: dict[tuple[str, Principal], str] = {}
    while len(found) < grants:
        draw = random.random()
        kind = next(kind for kind, below in _SHARES if draw < below)
        (level,) = random.choices(LEVELS, (7, 2, 1))
        found[random.choice(entities), random.choice(choices[kind])] = level
    return World(
        users=users,
        groups=groups,
        entities=entities,
        fresh=_names(random, "asst", FRESH),
        grants=[Grant(entity, principal, level) for (entity, principal), level in found.items()],
        seed=seed,
    )


@dataclass(frozen=True)
class Questions:
    """What is asked of every system: the same questions, in the same order."""

    warm: list[Question]
    different: list[Question]
    cold: list[Question]
    hundreds: list[list[Question]]
    thousands: list[list[Question]]
    users: list[str]
    entities: list[str]
    writes: list[Grant]

    @staticmethod
    def about(world: World) -> "Questions":
        """Half of the single questions are about something that the user reaches; a batch is one user's."""
        random = Random(world.seed + 1)
        singles = _singles(world, random)
        users = random.sample(world.users, min(_USERS_ASKED, len(world.users)))
        return Questions(
            warm=[next(singles) for _ in range(_WARM)],
            different=[next(singles) for _ in range(_DIFFERENT)],
            cold=_cold(world, random),
            hundreds=[_batch(world, random, user, 100) for user in users[:100]],
            thousands=[_batch(world, random, user, 1_000) for user in users[:20]],
            users=users,
            entities=random.choices(world.entities, k=_USERS_ASKED),
            writes=[
                Grant(entity, Principal("user", user), "read") for user in world.users[:100] for entity in world.fresh
            ],
        )


def asked_once(world: World) -> list[tuple[Question, bool]]:
    """Questions and their answers; no user and no entity twice."""
    return [(question, world.allowed(question)) for question in _cold(world, Random(world.seed + 1))]


def _singles(world: World, random: Random) -> Iterator[Question]:
    while True:
        user = random.choice(world.users)
        (level,) = random.choices(LEVELS, (8, 1, 1))
        entity = random.choice(world.entities)
        if random.random() < 0.5:
            held = world.granted.get(random.choice(world.principals(user)))
            entity = random.choice(held).entity if held else entity
        yield Question(user, entity, level)


def _cold(world: World, random: Random) -> list[Question]:
    """No user and no entity twice; about a fifth is allowed."""
    users, entities = (random.sample(each, len(each)) for each in (world.users, world.entities))
    return [Question(user, entity, "read") for user, entity in zip(users, entities, strict=False)]


def _batch(world: World, random: Random, user: str, size: int) -> list[Question]:
    return [Question(user, entity, "read") for entity in random.choices(world.entities, k=size)]


def _names(random: Random, prefix: str, count: int) -> list[str]:
    return [f"{prefix}_{random.getrandbits(128):032x}" for _ in range(count)]
