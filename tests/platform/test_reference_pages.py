"""The four reference pages, replayed: each cURL command word for word, each answer field by field."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from aitronos import Aitronos

from grantbook.model.facts import EntityRef
from grantbook.service import grants, rule_permissions
from grantbook.service.desk import SYSTEM
from tests.platform.curl import Curl
from tests.serving import Person, Server, Tenant

PAGES: Final = Path(__file__).parent / "reference"
RULE: Final = EntityRef("rule", "rule_abc123")
RULE_PAGES: Final = ("list-rule-permissions", "replace-rule-permissions", "revoke-rule-permission")
MORE: Final = {
    "access grant": {"starts_at", "expires_at", "reason", "grantee_name", "grantee_email", "granted_by_name"},
    "error details": {"errors"},
}
"""What our answers have beyond the pages'."""


class Pages:
    """The organization that the pages speak of, with exactly their ids."""

    def __init__(self, server: Server) -> None:
        self.tenant = tenant = Tenant.found(server.desk, organization_id="org_xyz789", owner_id="usr_owner1")
        tenant.entity("knowledge_slice", entity_id="kslice_abc123")
        tenant.user(user_id="usr_def456")
        tenant.user(user_id="usr_abc")
        owner = tenant.person(user_id="usr_owner")
        tenant.entity("rule", entity_id=RULE.id, owner_id=owner.user_id)
        self.owner_of_the_rule = owner
        self.nobody = tenant.person()
        self.user = Person("usr_abc", tenant.key("usr_abc"))

    def without_grants(self) -> None:
        with self.tenant.desk.writing(self.tenant.organization_id, SYSTEM) as writing:
            for grant in self.tenant.grants(entity_type="knowledge_slice"):
                grants.revoke(writing, grant.id)
            rule_permissions.replace_permissions(writing, RULE.id, [])


@pytest.fixture(scope="session")
def world(server: Server) -> Pages:
    return Pages(server)


@pytest.fixture
def pages(world: Pages) -> Pages:
    """As the pages find it: nothing granted yet."""
    world.without_grants()
    return world


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as anonymous:
        yield anonymous


def command(page: str, person: Person) -> Curl:
    return Curl.parse((PAGES / f"{page}.curl.txt").read_text(encoding="utf-8"), ACCESS_TOKEN=person.secret)


def example(page: str, status: int) -> Any:
    return json.loads((PAGES / f"{page}.{status}.json").read_text(encoding="utf-8"))


def differences(page: Any, ours: Any, more: set[str], place: str = "") -> Iterator[str]:
    """Where our answer is not as the page shows it. Of ids, times and traces the shape is compared, else the value."""
    name = place.rpartition(".")[2]
    if isinstance(page, dict) and isinstance(ours, dict):
        allowed = more if place in {"", ".error.details"} else set()
        if page.keys() != ours.keys() - allowed:
            yield f"{place}: {sorted(page)} is on the page, {sorted(ours)} is ours"
        for key in page.keys() & ours.keys():
            yield from differences(page[key], ours[key], more, f"{place}.{key}")
    elif isinstance(page, list) and isinstance(ours, list):
        if len(page) != len(ours):
            yield f"{place}: {len(page)} items on the page, {len(ours)} ours"
        for position, (each, other) in enumerate(zip(page, ours, strict=False)):
            yield from differences(each, other, more, f"{place}.{position}")
    elif not is_alike(name, page, ours):
        yield f"{place}: {page!r} is on the page, {ours!r} is ours"


def is_alike(name: str, page: Any, ours: Any) -> bool:
    if name == "id":
        return str(ours).partition("_")[0] == str(page).partition("_")[0]
    if name == "timestamp" or name.endswith("_at"):
        return str(ours).endswith("Z") and datetime.fromisoformat(ours).tzinfo is not None
    if name == "trace_id":
        return isinstance(ours, str) and bool(ours)
    return type(page) is type(ours) and bool(page == ours)


def test_create_access_grant(pages: Pages, client: httpx.Client) -> None:
    answer = command("create-grant", pages.tenant.owner).send(client)
    assert answer.status_code == 201
    assert list(differences(example("create-grant", 201), answer.json(), MORE["access grant"])) == []
    assert answer.json()["created_at"] == answer.json()["updated_at"]
    (made,) = pages.tenant.grants(entity_type="knowledge_slice")
    assert made.id == answer.json()["id"]


def test_create_access_grant_for_what_cannot_be_granted_on(pages: Pages, client: httpx.Client) -> None:
    curl = command("create-grant", pages.tenant.owner)
    assert curl.body is not None
    for wrong in (b"thread", b"rule", b"knowledge_slices"):
        body = curl.body.replace(b'"knowledge_slice"', b'"' + wrong + b'"')
        answer = client.request(curl.method, curl.url.path, headers=curl.headers, content=body)
        assert answer.status_code == 422
        page, ours = example("create-grant", 422), answer.json()
        told = ours["error"]["details"].pop("message")
        shown = page["error"]["details"].pop("message")
        assert list(differences(page, ours, MORE["error details"])) == []
        assert told.startswith("entity_type must be one of ")
        assert all(name in told and name in shown for name in ("knowledge_slice", "vector_store", "assistant"))


def test_replace_rule_permissions(pages: Pages, client: httpx.Client) -> None:
    answer = command("replace-rule-permissions", pages.owner_of_the_rule).send(client)
    assert answer.status_code == 200
    assert list(differences(example("replace-rule-permissions", 200), answer.json(), set())) == []
    again = command("replace-rule-permissions", pages.owner_of_the_rule).send(client)
    assert again.json() == answer.json()


def test_list_rule_permissions(pages: Pages, client: httpx.Client) -> None:
    client.patch(
        f"/v1/rules/{RULE.id}/permissions/grant",
        headers={"X-API-Key": pages.owner_of_the_rule.secret},
        json={"target_type": "user", "target_id": "usr_abc", "access_level": "modify"},
    )
    for reader in (pages.owner_of_the_rule, pages.user):
        answer = command("list-rule-permissions", reader).send(client)
        assert answer.status_code == 200
        assert list(differences(example("list-rule-permissions", 200), answer.json(), set())) == []


def test_revoke_rule_permission(pages: Pages, client: httpx.Client) -> None:
    command("replace-rule-permissions", pages.owner_of_the_rule).send(client)
    answer = command("revoke-rule-permission", pages.owner_of_the_rule).send(client)
    assert (answer.status_code, answer.json()) == (200, example("revoke-rule-permission", 200))
    assert command("list-rule-permissions", pages.owner_of_the_rule).send(client).json() == {"grants": []}
    again = command("revoke-rule-permission", pages.owner_of_the_rule).send(client)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("page", RULE_PAGES)
def test_rule_permissions_are_not_for_those_without_access(pages: Pages, client: httpx.Client, page: str) -> None:
    answer = command(page, pages.nobody).send(client)
    assert answer.status_code == 403
    assert list(differences(example(page, 403), answer.json(), set())) == []


@pytest.mark.parametrize("page", RULE_PAGES[1:])
def test_changing_rule_permissions_takes_more_than_using_the_rule(
    pages: Pages, client: httpx.Client, page: str
) -> None:
    command("replace-rule-permissions", pages.owner_of_the_rule).send(client)
    answer = command(page, pages.user).send(client)
    assert list(differences(example(page, 403), answer.json(), set())) == []
    assert command("list-rule-permissions", pages.user).send(client).status_code == 200


def test_the_python_examples_of_the_rule_pages(pages: Pages, server: Server) -> None:
    """They use the SDK's own HTTP client, with addresses below `/v1`."""
    target = {"target_type": "user", "target_id": "usr_abc"}
    with httpx.Client(verify=False) as transport:
        client = Aitronos(api_key=pages.owner_of_the_rule.secret, base_url=f"{server.url}/v1", httpx_client=transport)
        response = client._client_wrapper.httpx_client.request(
            "rules/rule_abc123/permissions",
            method="PUT",
            json=[{**target, "access_level": "use"}],
        )
        assert list(differences(example("replace-rule-permissions", 200), response.json(), set())) == []
        listed = client._client_wrapper.httpx_client.request("rules/rule_abc123/permissions", method="GET")
        assert listed.json() == response.json()
        response = client._client_wrapper.httpx_client.request(
            "rules/rule_abc123/permissions/revoke", method="PATCH", json=target
        )
        assert response.json() == example("revoke-rule-permission", 200)


def test_these_tests_see_differences() -> None:
    page = example("create-grant", 201)
    for ours in (
        {**page, "surprise": 1},
        {name: value for name, value in page.items() if name != "granted_by"},
        {**page, "access_level": "write"},
        {**page, "id": "grant_1"},
        {**page, "created_at": "2025-06-15T10:00:00"},
    ):
        assert list(differences(page, ours, MORE["access grant"])) != []
