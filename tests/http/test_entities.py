"""Entities of one's own types: listed, archived and brought back as those of the built-in ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from grantbook.bootstrap import load_vocabulary, open_desk
from grantbook.model.facts import EntityRef
from grantbook.service.desk import Desk
from tests.databases import empty_book
from tests.http.calls import unknown
from tests.http.envelope import error_of
from tests.http.inprocess import client_of
from tests.serving import Person, Tenant

TYPES = """
[entity_types.notebook]
levels = ["view", "comment", "edit"]
id_prefix = "nb_"

[entity_types.folder]
levels = ["view", "comment", "edit"]
id_prefix = "fold_"
contains = ["notebook"]
"""
TOP = {"notebook": "edit", "assistant": "admin", "vector_store": "admin"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    types = tmp_path / "types.toml"
    types.write_text(TYPES, encoding="utf-8")
    opened = open_desk(empty_book(tmp_path), vocabulary=load_vocabulary(str(types)))
    yield opened
    opened.close()


@pytest.fixture
def tenant(desk: Desk) -> Tenant:
    return Tenant.found(desk)


class House:
    """An organization with notebooks, as each of its people sees it."""

    def __init__(self, tenant: Tenant, client: httpx.Client) -> None:
        self.tenant = tenant
        self._client = client

    def ask(self, who: Person, path: str, method: str = "GET", **options: Any) -> httpx.Response:
        headers = {"X-API-Key": who.secret}
        return self._client.request(method, f"{self.tenant.path}{path}", headers=headers, **options)

    def listed(self, who: Person, entity_type: str = "notebook", **query: Any) -> list[str]:
        page = self.ask(who, f"/entities/{entity_type}", params=query).json()
        assert page["total"] == len(page["items"])
        return [each["entity_id"] for each in page["items"]]

    def set_status(self, who: Person, ref: EntityRef, how: str) -> httpx.Response:
        return self.ask(who, f"/entities/{ref.type}/{ref.id}/{how}", "POST")

    def allows(self, who: Person, ref: EntityRef) -> bool:
        level = self.tenant.desk.vocabulary.entity_type(ref.type).lowest_level
        asked = {"user_id": who.user_id, "entity_type": ref.type, "entity_id": ref.id, "access_level": level}
        allowed: bool = self.ask(who, "/access/check", "POST", json=asked).json()["allowed"]
        return allowed


@pytest.fixture
def house(desk: Desk, tenant: Tenant) -> Iterator[House]:
    with client_of(desk) as client:
        yield House(tenant, client)


def test_everybody_sees_their_part_of_a_type(house: House, tenant: Tenant) -> None:
    reader, maker, admin = tenant.person(), tenant.person(), tenant.person(tenant.base_role())
    first, second = tenant.entity("notebook"), tenant.entity("notebook", owner_id=maker.user_id)
    tenant.entity("folder")
    assert house.listed(reader) == []
    tenant.grant(first, "view", reader.user_id)
    assert house.listed(reader) == [first.id]
    assert house.listed(maker) == [second.id]
    assert house.listed(admin) == house.listed(tenant.owner) == [first.id, second.id]
    for ref in (first, second):
        house.set_status(tenant.owner, ref, "archive")
    assert (house.listed(reader), house.listed(maker)) == ([], [second.id])
    assert house.listed(admin) == [first.id, second.id]


def test_a_type_is_listed_by_name_and_status(house: House, tenant: Tenant) -> None:
    refs = [tenant.entity("notebook", entity_id=f"nb_{name}") for name in ("plans", "Plants", "notes")]
    house.set_status(tenant.owner, refs[1], "archive")
    assert house.listed(tenant.owner, search="PLAN") == ["nb_plans", "nb_Plants"]
    assert house.listed(tenant.owner, status="archived") == ["nb_Plants"]
    assert house.listed(tenant.owner, status="active", search="plan") == ["nb_plans"]
    for odd in ({"status": "gone"}, {"search": "x" * 201}, {"search": "\x00"}, {"limit": 0}):
        refused = house.ask(tenant.owner, "/entities/notebook", params=odd)
        assert error_of(refused, 422)["details"]["field"] in odd


def test_an_item_of_the_list_is_what_is_shown_alone(house: House, tenant: Tenant) -> None:
    folders = [tenant.entity("folder") for _ in range(2)]
    inside = tenant.entity("notebook", containers=tuple(folders))
    alone = tenant.entity("notebook")
    items = house.ask(tenant.owner, "/entities/notebook").json()["items"]
    assert [len(each["containers"]) for each in items] == [2, 0]
    assert items == [house.ask(tenant.owner, f"/entities/notebook/{ref.id}").json() for ref in (inside, alone)]


@pytest.mark.parametrize("entity_type", TOP)
def test_archiving_ends_access_until_it_is_undone(entity_type: str, house: House, tenant: Tenant) -> None:
    person = tenant.person()
    ref = tenant.entity(entity_type)
    tenant.grant(ref, TOP[entity_type], person.user_id)
    assert house.allows(person, ref)
    for _ in range(2):
        archived = house.set_status(person if house.allows(person, ref) else tenant.owner, ref, "archive")
        assert (archived.status_code, archived.json()["status"]) == (200, "archived")
    assert not house.allows(person, ref)
    assert [grant.grantee_id for grant in tenant.grants(entity_id=ref.id)] == [person.user_id]
    assert house.set_status(tenant.owner, ref, "unarchive").json()["status"] == "active"
    assert house.allows(person, ref)


def test_archiving_takes_the_right_to_change_what_it_is(house: House, tenant: Tenant) -> None:
    maker, commenter, nobody = (tenant.person() for _ in range(3))
    ref = tenant.entity("notebook", owner_id=maker.user_id)
    tenant.grant(ref, "comment", commenter.user_id)
    for how in ("archive", "unarchive"):
        for who in (commenter, nobody):
            error = error_of(house.set_status(who, ref, how), 403, "INSUFFICIENT_PERMISSIONS")
            assert error["details"] == {"entity_type": "notebook", "entity_id": ref.id}
        assert house.set_status(maker, ref, how).status_code == 200


def test_a_type_or_an_entity_that_is_not_there_is_told(house: House, tenant: Tenant) -> None:
    for path, method in (("/entities/spaceship", "GET"), ("/entities/spaceship/nb_1/archive", "POST")):
        assert error_of(house.ask(tenant.owner, path, method), 422)["details"]["field"] == "entity_type"
    ref = EntityRef("notebook", unknown("nb_1"))
    for how in ("archive", "unarchive"):
        error = error_of(house.set_status(tenant.owner, ref, how), 404, "RESOURCE_NOT_FOUND")
        assert error["details"] == {"entity_type": "notebook", "entity_id": ref.id}
