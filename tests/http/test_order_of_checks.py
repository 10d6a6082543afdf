"""401, then membership 403, then schema 422, then existence 404, then rights 403: each case is wrong later on too."""

import httpx
import pytest

from tests.http.calls import unknown
from tests.http.envelope import error_of
from tests.serving import Person, Tenant

BROKEN = {"entity_type": "knowledge_slice", "grantee_type": "user"}


@pytest.fixture
def clerk(tenant: Tenant) -> Person:
    """An active member who may do nothing."""
    return tenant.person()


@pytest.fixture
def grant_to_nothing(tenant: Tenant) -> dict[str, str]:
    return {
        "entity_type": "knowledge_slice",
        "entity_id": unknown("kslice_x"),
        "grantee_type": "user",
        "grantee_id": unknown("usr_x"),
        "access_level": "read",
    }


def test_the_key_comes_first(client: httpx.Client, stranger: Tenant) -> None:
    headers = {"X-API-Key": "gb_no"}
    answer = client.post(f"{stranger.path}/access/grants", headers=headers, content=b"{", params={"skip": "x"})
    error_of(answer, 401, "INVALID_API_KEY")


def test_membership_comes_before_the_schema(client: httpx.Client, clerk: Person, stranger: Tenant) -> None:
    headers = {"X-API-Key": clerk.secret}
    for content in (b"{", b"", b'{"a": 1}'):
        answer = client.post(f"{stranger.path}/access/grants", headers=headers, content=content)
        error_of(answer, 403, "ORGANIZATION_ACCESS_DENIED")
    answer = client.get(f"{stranger.path}/access/grants", headers=headers, params={"limit": 0})
    error_of(answer, 403, "ORGANIZATION_ACCESS_DENIED")


def test_scopes_come_before_the_schema(client: httpx.Client, tenant: Tenant) -> None:
    headers = {"X-API-Key": tenant.key(tenant.owner.user_id, scopes=("read",))}
    answer = client.post(f"{tenant.path}/access/grants", headers=headers, json=BROKEN)
    assert error_of(answer, 403, "INSUFFICIENT_PERMISSIONS")["details"] == {"scope": "write"}


def test_the_schema_comes_before_existence(
    client: httpx.Client, tenant: Tenant, clerk: Person, grant_to_nothing: dict[str, str]
) -> None:
    headers = {"X-API-Key": clerk.secret}
    for wrong in ({"access_level": "godlike"}, {"grantee_type": "planet"}, {"entity_type": "planet"}, {"more": 1}):
        answer = client.post(f"{tenant.path}/access/grants", headers=headers, json={**grant_to_nothing, **wrong})
        error_of(answer, 422, "VALIDATION_ERROR")
    missing = f"{tenant.path}/access/grants/{unknown('agrant_x')}"
    error_of(client.patch(missing, headers=headers, json={"access_level": "godlike"}), 422)


def test_existence_comes_before_rights(
    client: httpx.Client, tenant: Tenant, clerk: Person, grant_to_nothing: dict[str, str]
) -> None:
    headers = {"X-API-Key": clerk.secret}
    error_of(client.post(f"{tenant.path}/access/grants", headers=headers, json=grant_to_nothing), 404)
    error_of(client.delete(f"{tenant.path}/access/grants/{unknown('agrant_x')}", headers=headers), 404)
    error_of(client.get(f"{tenant.path}/users/{unknown('usr_x')}/resolved-access", headers=headers), 404)
    error_of(client.delete(f"{tenant.path}/users/{unknown('usr_x')}", headers=headers), 404)
    error_of(client.get(f"/v1/rules/{unknown('rule_x')}/permissions", headers=headers), 404)


def test_rights_come_last(client: httpx.Client, tenant: Tenant, clerk: Person) -> None:
    headers = {"X-API-Key": clerk.secret}
    entity = tenant.entity()
    (grant,) = tenant.grant(entity, "read", tenant.user())
    body = {
        "entity_type": entity.type,
        "entity_id": entity.id,
        "grantee_type": "user",
        "grantee_id": clerk.user_id,
        "access_level": "read",
    }
    address = f"{tenant.path}/access/grants"
    details = {"entity_type": entity.type, "entity_id": entity.id}
    error = error_of(client.post(address, headers=headers, json=body), 403, "INSUFFICIENT_PERMISSIONS")
    assert error["details"] == details
    error_of(client.delete(f"{address}/{grant.id}", headers=headers), 403, "INSUFFICIENT_PERMISSIONS")
    error_of(client.patch(f"{address}/{grant.id}", headers=headers, json={"access_level": "write"}), 403)
    others = f"{tenant.path}/users/{tenant.owner.user_id}/resolved-access"
    error_of(client.get(others, headers=headers), 403, "INSUFFICIENT_PERMISSIONS")


def test_an_idempotency_key_opens_nothing(client: httpx.Client, tenant: Tenant, clerk: Person) -> None:
    """A remembered answer is for the key that got it: rights, then membership, are asked again."""
    entity = tenant.entity()
    address = f"{tenant.path}/access/grants"
    body = {
        "entity_type": entity.type,
        "entity_id": entity.id,
        "grantee_type": "user",
        "grantee_id": clerk.user_id,
        "access_level": "read",
    }
    sent = {"Idempotency-Key": "same"}
    assert client.post(address, headers={"X-API-Key": tenant.owner.secret, **sent}, json=body).status_code == 201
    error_of(client.post(address, headers={"X-API-Key": clerk.secret, **sent}, json=body), 403)
    error_of(client.post(address, headers=sent, json=body), 401)
