"""What the server answers is what the definition says, for random organizations; and for none about any other."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grantbook.model.facts import EntityRef, Member, Organization
from grantbook.model.resolution import Access
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import keys
from grantbook.service.desk import Desk
from grantbook.store.port import Lookup, Store
from tests.http.inprocess import client_of
from tests.worlds import AUTHOR, FakeClock, World, api_key, assigned, deposit, member, role, worlds

Json = dict[str, Any]
ASKER = member("usr_asker")
MANAGES = role("role_asks", "manage_access_control")


class Place:
    """A server in this process; each world becomes an organization of its own."""

    def __init__(self, store: Store) -> None:
        self.desk = Desk(store, BUILT_IN, FakeClock(), lambda count: b"\x07" * count)
        self.client = client_of(self.desk)
        self.count = 0

    def enter(self, world: World) -> World:
        """The world in the book, with somebody who may ask about everybody."""
        self.count += 1
        id_ = f"org_{self.count}"
        secret = f"gb_{self.count}"
        world = world.moved_to(id_)
        key = api_key(f"ak_{self.count}", digest=keys.digest_of(secret), user_id=ASKER.user_id)
        more = (ASKER, MANAGES, assigned(MANAGES.id, ASKER.user_id), key)
        deposit(self.desk.store, id_, [*world.facts, *more])
        with self.desk.store.transaction(id_, AUTHOR) as book:
            book.claim(Lookup.API_KEY, {key.digest: id_})
        self.client.headers["X-API-Key"] = secret
        return world

    def get(self, world: World, path: str, **query: str) -> httpx.Response:
        return self.client.get(f"/v1/organizations/{world.organization_id}{path}", params=query)

    def post(self, world: World, path: str, body: Json) -> Json:
        answer = self.client.post(f"/v1/organizations/{world.organization_id}{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


@pytest.fixture(scope="module")
def place(shared_store: Store) -> Iterator[Place]:
    made = Place(shared_store)
    yield made
    made.client.close()


def questions(world: World) -> list[tuple[str, EntityRef, str]]:
    return [(user, ref, level) for user, ref in world.pairs for level in BUILT_IN.entity_type(ref.type).levels]


def as_json(user_id: str, ref: EntityRef, level: str) -> Json:
    return {"user_id": user_id, "entity_type": ref.type, "entity_id": ref.id, "access_level": level}


def is_allowed(ref: EntityRef, access: Access, level: str) -> bool:
    rank = BUILT_IN.entity_type(ref.type).rank
    return access.level is not None and rank(access.level) >= rank(level)


@settings(max_examples=15)
@given(world=worlds())
def test_every_check_is_answered_by_the_definition(place: Place, world: World) -> None:
    world = place.enter(world)
    if is_closed(place, world):
        return
    known = {ref for ref in world.entities if any(getattr(fact, "ref", None) == ref for fact in world.facts)}
    truth = world.answers()
    asked = questions(world)
    results = place.post(world, "/access/check/batch", {"checks": [as_json(*each) for each in asked]})["results"]
    assert len(results) == len(asked)
    for (user_id, ref, level), result in zip(asked, results, strict=True):
        access = truth[user_id, ref]
        if "error" in result:
            assert result["error"]["code"] == "RESOURCE_NOT_FOUND"
            assert ref not in known or not is_member(world, user_id)
            assert (result["allowed"], result["access_level"]) == (False, None)
            assert access.level is None or not BUILT_IN.entity_type(ref.type).is_bound
        else:
            assert result == {"allowed": is_allowed(ref, access, level), "access_level": access.level}


@settings(max_examples=15)
@given(world=worlds(), data=st.data())
def test_every_explanation_is_the_one_of_the_definition(place: Place, world: World, data: st.DataObject) -> None:
    world = place.enter(world)
    if is_closed(place, world):
        return
    truth = {
        (user_id, ref): access
        for (user_id, ref), access in world.answers().items()
        if access.level is not None and is_member(world, user_id)
    }
    for user_id, ref in data.draw(st.permutations(sorted(truth)))[:5]:
        level = data.draw(st.sampled_from(BUILT_IN.entity_type(ref.type).levels))
        answer = place.post(world, "/access/explain", as_json(user_id, ref, level))
        access = truth[user_id, ref]
        assert answer["allowed"] == is_allowed(ref, access, level)
        assert [told(path) for path in answer["grant_paths"]] == [
            (path.type, path.access_level, path.source.id, path.grant_id) for path in access.paths
        ]
        assert ("remedies" in answer) == (not answer["allowed"])


@settings(max_examples=15)
@given(world=worlds())
def test_every_list_is_the_one_of_the_definition(place: Place, world: World) -> None:
    world = place.enter(world)
    if is_closed(place, world):
        return
    truth = world.answers()
    for user_id in world.users:
        if not is_member(world, user_id):
            continue
        answer = place.get(world, "/access/entities", user_id=user_id, limit="100").json()
        assert "items" in answer, answer
        found = {(item["entity_type"], item["entity_id"]): item["access_level"] for item in answer["items"]}
        assert found == {ref: truth[user_id, ref].level for ref in world.entities if truth[user_id, ref].level}
        assert (answer["total"], answer["complete"]) == (len(found), True)
    for ref in world.entities:
        response = place.get(world, "/access/users", entity_type=ref.type, entity_id=ref.id, limit="100")
        if response.status_code == 404:
            continue
        people = {item["user_id"]: item["access_level"] for item in response.json()["items"]}
        people.pop(ASKER.user_id, None)
        expected = {user: truth[user, ref].level for user in world.users if truth[user, ref].level}
        assert {user: level for user, level in people.items() if is_member(world, user)} == {
            user: level for user, level in expected.items() if is_member(world, user)
        }
        assert people.items() <= expected.items()


def is_closed(place: Place, world: World) -> bool:
    """Whether the organization is deleted: then its keys open nothing, so there is nobody to ask."""
    deleted = any(isinstance(fact, Organization) and fact.is_deleted for fact in world.facts)
    assert place.get(world, "").status_code == (403 if deleted else 200)
    return deleted


def told(path: Json) -> tuple[str, str, str, str | None]:
    return path["type"], path["access_level"], path["source_id"], path.get("grant_id")


def is_member(world: World, user_id: str) -> bool:
    return any(isinstance(fact, Member) and fact.user_id == user_id for fact in world.facts)
