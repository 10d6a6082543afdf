"""What is asked: each question in two forms, a call of the use-case in process and a request over HTTP."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from benchmarks.books import OWNER
from benchmarks.servers import Request
from benchmarks.world import ORGANIZATION_ID, WIDE_ID, World
from grantbook.model.facts import EntityRef, Principal
from grantbook.service import decisions, grants
from grantbook.service.decisions import Check
from grantbook.service.desk import Caller, Desk, Reading
from grantbook.service.grants import NewGrant

_BASE: Final = f"/v1/organizations/{ORGANIZATION_ID}"
_GRANTS: Final = f"{_BASE}/access/grants"
_SAMPLE: Final = 500
_BULK: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Something to time. `ask` and `request` take the number of the repetition; `ask` returns the answer's size.

    `target_ms` is the bound that the project sets itself. A writing question must never be asked twice the same.
    """

    name: str
    ask: Callable[[Desk, int], int]
    request: Callable[[int], Request]
    target_ms: float | None = None
    writes: bool = False
    as_member: bool = False


class Questions:
    """Every question about one world. Which user or entity a repetition is about is drawn once, from a fixed seed."""

    def __init__(self, world: World) -> None:
        random = Random(7)
        self._world = world
        self._users = random.sample([user for user in world.users if user != WIDE_ID], _SAMPLE)
        self._entities = random.choices(world.entities, k=_SAMPLE)
        self._bulks = self._new_bulks()
        self._singles = self._new_singles()
        self._random = random

    def reads(self) -> list[Question]:
        """Lists from both sides, and pages of grants under every filter."""
        deep = len(self._world.grants) * 3 // 4
        trios = self._world.trios
        return [
            _resolved("resolved access, typical user", lambda n: self._users[n % _SAMPLE], 50),
            _resolved("resolved access, user with everything", lambda _: WIDE_ID, None),
            _users_with_access("users with access, granted to 3 departments", lambda n: trios[n % len(trios)], 100),
            _page("list grants, by entity", lambda n: _by_entity(self._entities[n % _SAMPLE])),
            _page("list grants, by grantee", lambda n: {"grantee_type": "user", "grantee_id": self._user(n)}),
            _page("list grants, by entity type", lambda _: {"entity_type": "vector_store"}),
            _page("list grants, no filter", lambda _: {}),
            _page("list grants, no filter, skip 3/4 of all", lambda _: {}, skip=deep),
            _page("list grants, no filter, for a plain member", lambda _: {}, member_id=self._world.users[0]),
        ]

    def writes(self) -> list[Question]:
        """One grant, and a bulk of 1,000 on one entity; each repetition makes new ones."""
        return [
            Question(
                name="create one grant",
                ask=lambda desk, _: _create(desk, *next(self._singles)),
                request=lambda _: _single_request(*next(self._singles)),
                writes=True,
            ),
            Question(
                name=f"create a bulk of {_BULK:,} grants",
                ask=lambda desk, _: _create_bulk(desk, *next(self._bulks)),
                request=lambda _: _bulk_request(*next(self._bulks)),
                target_ms=300,
                writes=True,
            ),
        ]

    def checks(self) -> list[Question]:
        """Single checks, and batches of one user's checks and of everybody's."""
        return [
            _check_question("check", [[self._any_check()] for _ in range(_SAMPLE)], is_batch=False),
            _check_question("check/batch, 1 user x 100 entities", [self._checks_of_one(100) for _ in range(50)]),
            _check_question("check/batch, 1 user x 1,000 entities", [self._checks_of_one(1_000) for _ in range(20)]),
            _check_question(
                "check/batch, 1,000 users and entities", [[self._any_check() for _ in range(1_000)] for _ in range(20)]
            ),
        ]

    def _user(self, number: int) -> str:
        return self._users[number % _SAMPLE]

    def _any_check(self) -> Check:
        """Every second one is about a grant that names the user, the others about anybody and anything."""
        grant = self._random.choice(self._world.grants)
        if grant.grantee_type == "user" and self._random.random() < 0.5:
            return Check(user_id=grant.grantee_id, entity=grant.entity, access_level="read")
        return self._check(self._random.choice(self._users))

    def _checks_of_one(self, count: int) -> list[Check]:
        user_id = self._random.choice(self._users)
        return [self._check(user_id) for _ in range(count)]

    def _check(self, user_id: str) -> Check:
        return Check(user_id=user_id, entity=self._random.choice(self._world.entities), access_level="read")

    def _new_bulks(self) -> Iterator[tuple[EntityRef, list[str]]]:
        people = self._world.users
        for first in range(0, len(people) - _BULK + 1, _BULK):
            for ref in self._world.fresh[::2]:
                yield ref, people[first : first + _BULK]

    def _new_singles(self) -> Iterator[tuple[EntityRef, str]]:
        for user_id in self._world.users:
            for ref in self._world.fresh[1::2]:
                yield ref, user_id


def _reading(desk: Desk, caller: Caller, answer: Callable[[Reading], int]) -> int:
    with desk.reading(ORGANIZATION_ID, caller) as reading:
        return answer(reading)


def _resolved(name: str, user_of: Callable[[int], str], target_ms: float | None) -> Question:
    return Question(
        name=name,
        ask=lambda desk, n: _reading(desk, OWNER, lambda reading: len(decisions.entities_of(reading, user_of(n)))),
        request=lambda n: Request("GET", f"{_BASE}/users/{user_of(n)}/resolved-access"),
        target_ms=target_ms,
    )


def _users_with_access(name: str, entity_of: Callable[[int], EntityRef], target_ms: float) -> Question:
    def request(number: int) -> Request:
        ref = entity_of(number)
        return Request("GET", f"{_BASE}/access/users-with-access?entity_type={ref.type}&entity_id={ref.id}")

    return Question(
        name=name,
        ask=lambda desk, n: _reading(desk, OWNER, lambda reading: len(decisions.users_of(reading, entity_of(n)))),
        request=request,
        target_ms=target_ms,
    )


def _by_entity(ref: EntityRef) -> dict[str, str]:
    return {"entity_type": ref.type, "entity_id": ref.id}


def _page(
    name: str, filters_of: Callable[[int], dict[str, str]], *, skip: int = 0, member_id: str | None = None
) -> Question:
    """The first page of 20, or the one after `skip`."""
    caller = OWNER if member_id is None else Caller(user_id=member_id)

    def ask(desk: Desk, number: int) -> int:
        with desk.reading(ORGANIZATION_ID, caller) as reading:
            filters: dict[str, Any] = filters_of(number)
            return len(grants.list_grants(reading, skip=skip, **filters).items)

    def request(number: int) -> Request:
        query = "&".join(f"{name}={value}" for name, value in {**filters_of(number), "skip": skip}.items())
        return Request("GET", f"{_GRANTS}?{query}")

    return Question(name=name, ask=ask, request=request, target_ms=10, as_member=member_id is not None)


def _create(desk: Desk, ref: EntityRef, user_id: str) -> int:
    with desk.writing(ORGANIZATION_ID, OWNER) as writing:
        grants.create(writing, ref, _new(user_id))
    return 1


def _create_bulk(desk: Desk, ref: EntityRef, user_ids: list[str]) -> int:
    with desk.writing(ORGANIZATION_ID, OWNER) as writing:
        return len(grants.create_bulk(writing, ref, [_new(user_id) for user_id in user_ids]))


def _new(user_id: str) -> NewGrant:
    return NewGrant(grantee=Principal("user", user_id), access_level="read")


def _single_request(ref: EntityRef, user_id: str) -> Request:
    return Request("POST", _GRANTS, json.dumps({**_by_entity(ref), **_wire_grant(user_id)}))


def _bulk_request(ref: EntityRef, user_ids: list[str]) -> Request:
    entries = [_wire_grant(user_id) for user_id in user_ids]
    return Request("POST", f"{_GRANTS}/bulk", json.dumps({**_by_entity(ref), "grants": entries}))


def _wire_grant(user_id: str) -> dict[str, str]:
    return {"grantee_type": "user", "grantee_id": user_id, "access_level": "read"}


def _check_question(name: str, lists: list[list[Check]], *, is_batch: bool = True) -> Question:
    """Asked in turn. In process both forms are one call of `check_many`."""

    def ask(desk: Desk, number: int) -> int:
        asked = lists[number % len(lists)]
        return _reading(desk, OWNER, lambda reading: len(decisions.check_many(reading, asked)))

    def request(number: int) -> Request:
        asked = [_wire_check(each) for each in lists[number % len(lists)]]
        if is_batch:
            return Request("POST", f"{_BASE}/access/check/batch", json.dumps({"checks": asked}))
        return Request("POST", f"{_BASE}/access/check", json.dumps(asked[0]))

    return Question(name=name, ask=ask, request=request)


def _wire_check(check: Check) -> dict[str, str]:
    return {"user_id": check.user_id, **_by_entity(check.entity), "access_level": check.access_level}
