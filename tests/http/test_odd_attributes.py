"""Attributes of a type that no answer promises, as the library and imports may leave them: they count as not there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from grantbook.bootstrap import open_desk
from grantbook.service.desk import SYSTEM, Desk
from grantbook.service.organizations import update
from tests.databases import KINDS, empty_book
from tests.http.calls import OPENAPI
from tests.http.inprocess import client_of
from tests.http.schemas import problems
from tests.serving import Tenant

_NAMED: Final = (
    "description", "content", "category", "rule_type", "scope", "apply_mode", "state", "type", "form", "archived_at",
    "archived_by", "domains", "website", "logo_image", "api_usage_limit",
)  # fmt: skip
ODD: Final[dict[str, Any]] = {name: [1] for name in _NAMED}
LISTS: Final = {
    "/v1/organizations/{organization_id}/rules": "rules",
    "/v1/organizations/{organization_id}/knowledge/slices": "items",
    "/v1/organizations/{organization_id}/knowledge/slices/summary": "items",
    "/v1/organizations/{organization_id}/knowledge/stores": "items",
    "/v1/assistants": "assistants",
}
SINGLE: Final = {
    "/v1/organizations/{organization_id}/rules/{rule_id}": "rule",
    "/v1/rules/{rule_id}": "rule",
    "/v1/organizations/{organization_id}/knowledge/slices/{slice_id}": "knowledge_slice",
    "/v1/organizations/{organization_id}/knowledge/stores/{store_id}": "vector_store",
    "/v1/assistants/{assistant_id}": "assistant",
}
NAMES: Final = {
    "rule": "rule_id",
    "knowledge_slice": "slice_id",
    "vector_store": "store_id",
    "assistant": "assistant_id",
}


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    opened = open_desk(empty_book(tmp_path, request.param))
    yield opened
    opened.close()


@pytest.fixture
def tenant(desk: Desk) -> Tenant:
    return Tenant.found(desk)


@pytest.fixture
def owner(desk: Desk, tenant: Tenant) -> Iterator[httpx.Client]:
    with client_of(desk) as client:
        client.headers["X-API-Key"] = tenant.owner.secret
        yield client


def answered(owner: httpx.Client, tenant: Tenant, template: str, **ids: str) -> Any:
    """The answer, which is as documented."""
    path = template.format(organization_id=tenant.organization_id, **ids)
    query = {} if tenant.organization_id in path else {"organization_id": tenant.organization_id}
    answer = owner.get(path, params=query if template in LISTS else {})
    assert answer.status_code == 200, answer.text
    schema = OPENAPI["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert list(problems(answer.json(), schema)) == []
    return answer.json()


def test_what_is_of_another_type_is_not_told(tenant: Tenant, owner: httpx.Client) -> None:
    odd = {NAMES[kind]: tenant.entity(kind, version="x", **ODD).id for kind in NAMES}
    for template, kind in SINGLE.items():
        shown = answered(owner, tenant, template, **odd)
        assert (shown["id"], shown["description"]) == (odd[NAMES[kind]], None)
    for template, name in LISTS.items():
        (shown,) = answered(owner, tenant, template)[name]
        assert shown["id"] in odd.values()


@pytest.mark.parametrize("version", ["x", "3", [2], None, True, 2.5])
def test_a_version_that_is_no_number_is_the_first(version: object, tenant: Tenant, owner: httpx.Client) -> None:
    rule = tenant.entity("rule", version=version)
    address = f"{tenant.path}/rules/{rule.id}"
    assert owner.get(address).json()["version"] == 1
    assert owner.put(address, json={"content": "Be kind."}).json()["version"] == 2


def test_what_is_of_another_type_is_not_found_by_a_search(tenant: Tenant, owner: httpx.Client) -> None:
    tenant.entity("rule", description=["kind"], content=3.25)
    told = tenant.entity("rule", description="be kind, 3.25 times")
    for text in ("kind", "3.25"):
        found = owner.get(f"{tenant.path}/rules", params={"search": text}).json()
        assert ([each["id"] for each in found["rules"]], found["total"]) == ([told.id], 1)


def test_an_organization_is_shown_whatever_was_kept_of_it(desk: Desk, tenant: Tenant, owner: httpx.Client) -> None:
    with desk.writing(tenant.organization_id, SYSTEM) as writing:
        update(writing, attributes=ODD)
    shown = answered(owner, tenant, "/v1/organizations/{organization_id}")
    assert (shown["description"], shown["domains"], shown["api_usage_limit"]) == (None, [], 0.0)
