"""Every method of the SDK's `api_keys`, for success and for its main errors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from aitronos import Aitronos
from aitronos.types import ApiKeyCreateResponse

from tests.http.envelope import error_of
from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import ONCE, refused
from tests.serving import Server, Tenant

SOON = datetime(2100, 1, 1, tzinfo=UTC)
SWITCHES = ["activate_api_key", "deactivate_api_key", "pause_api_key", "unpause_api_key"]


def make(sdk: Aitronos, tenant: Tenant, **values: Any) -> ApiKeyCreateResponse:
    made: ApiKeyCreateResponse = sdk.api_keys.create_api_key(
        tenant.organization_id, **{"key_name": "reporting", "request_options": ONCE, **values}
    )
    return made


def lists_grants(connect: Connect, secret: str, tenant: Tenant) -> None:
    connect(secret).access_control.list_grants(tenant.organization_id)


def test_create_api_key(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    made = make(
        sdk, tenant, scopes=["read"], expires_at=SOON, usage_limit_chf=2.5, metadata={"team": "a", "tags": [1, None]}
    )
    assert made.id.startswith("ak_")
    assert made.key.startswith(made.key_prefix)
    assert (made.organization_id, made.key_name, made.is_active) == (tenant.organization_id, "reporting", True)
    assert (made.scopes, made.expires_at, made.usage_limit_chf) == (["read"], SOON, 2.5)
    assert (made.metadata, made.created_by) == ({"team": "a", "tags": [1, None]}, tenant.owner.user_id)
    assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=1)
    lists_grants(connect, made.key, tenant)
    with refused(403, "INSUFFICIENT_PERMISSIONS", scope="write"):
        make(connect(made.key), tenant)


def test_create_api_key_refuses_what_does_not_make_sense(sdk: Aitronos, tenant: Tenant) -> None:
    for values, field in (
        ({"key_name": ""}, "key_name"),
        ({"scopes": ["admin"]}, "scopes.0"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"usage_limit_chf": -1}, "usage_limit_chf"),
        ({"metadata": {"a": "x" * 9_000}}, "metadata"),
    ):
        with refused(422, "VALIDATION_ERROR", field=field):
            make(sdk, tenant, **values)


@pytest.mark.parametrize("odd", ["4102444800", 4102444800, "2100-01-01T00:00:00", "soon"])
def test_a_key_ends_at_a_time_that_is_written_as_one(client_of: httpx.Client, tenant: Tenant, odd: Any) -> None:
    answer = client_of.post(f"{tenant.path}/api-keys", json={"key_name": "x", "expires_at": odd})
    assert error_of(answer, 422)["details"]["field"] == "expires_at"


def test_create_api_key_gives_no_more_than_the_caller_has(connect: Connect, tenant: Tenant) -> None:
    narrow = connect(tenant.key(tenant.owner.user_id, scopes=("write",)))
    with refused(403, "INSUFFICIENT_PERMISSIONS", scope="read"):
        make(narrow, tenant, scopes=["read", "write"])
    assert make(narrow, tenant, scopes=["write"]).scopes == ["write"]


def test_list_api_keys(sdk: Aitronos, connect: Connect, house: House) -> None:
    tenant, clerk = house.tenant, connect(house.clerk.secret)
    mine = [make(clerk, tenant, key_name=f"key {number}").id for number in range(3)]
    listed = clerk.api_keys.list_api_keys(tenant.organization_id)
    assert ([key.id for key in listed.keys][1:], listed.total, listed.page) == (mine, 4, 1)
    second = clerk.api_keys.list_api_keys(tenant.organization_id, page=2, page_size=2)
    assert ([key.id for key in second.keys], second.page, second.page_size) == (mine[1:], 2, 2)
    third = clerk.api_keys.list_api_keys(tenant.organization_id, skip=3, take=1)
    assert ([key.id for key in third.keys], third.page, third.page_size) == (mine[2:], 4, 1)
    everybody = sdk.api_keys.list_api_keys(tenant.organization_id, page_size=100)
    assert (len(everybody.keys), everybody.total) == (5, 5)
    with refused(422, "VALIDATION_ERROR", field="page"):
        sdk.api_keys.list_api_keys(tenant.organization_id, page=0)


def test_get_api_key(sdk: Aitronos, clerk: Aitronos, tenant: Tenant, house: House) -> None:
    made = make(sdk, tenant)
    found = sdk.api_keys.get_api_key(tenant.organization_id, made.id)
    assert (found.id, found.key_prefix, found.is_paused, found.last_used_at) == (made.id, made.key_prefix, False, None)
    assert "key" not in (found.model_extra or {})
    with refused(404, "RESOURCE_NOT_FOUND", key_id="ak_none"):
        sdk.api_keys.get_api_key(tenant.organization_id, "ak_none")
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_api_keys"):
        clerk.api_keys.get_api_key(house.id, made.id)


def test_get_api_key_tells_when_it_was_used(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    made = make(sdk, tenant)
    lists_grants(connect, made.key, tenant)
    used = sdk.api_keys.get_api_key(tenant.organization_id, made.id).last_used_at
    assert used is not None
    assert abs(datetime.now(UTC) - used) < timedelta(minutes=1)


def test_the_last_use_outlives_the_server(server: Server, connect: Connect, tenant: Tenant) -> None:
    """It is written when the server stops, and no request waits for that."""
    revision = tenant.revision
    listed = connect(tenant.owner.secret).api_keys.list_api_keys(tenant.organization_id).keys
    assert server.desk.store.key_uses(tenant.organization_id, [listed[0].id]) == {}
    assert tenant.revision == revision
    server.stop()
    try:
        assert server.desk.store.key_uses(tenant.organization_id, [listed[0].id])
    finally:
        server.start()
    assert tenant.revision == revision


def test_update_api_key(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    made = make(sdk, tenant, usage_limit_chf=1.0, metadata={"a": 1})
    changed = sdk.api_keys.update_api_key(
        tenant.organization_id, made.id, key_name="other", scopes=["write"], expires_at=SOON
    )
    assert (changed.key_name, changed.scopes, changed.expires_at) == ("other", ["write"], SOON)
    assert (changed.usage_limit_chf, changed.metadata) == (1.0, {"a": 1})
    with refused(403, "INSUFFICIENT_PERMISSIONS", scope="read"):
        lists_grants(connect, made.key, tenant)
    reset = sdk.api_keys.update_api_key(
        tenant.organization_id, made.id, scopes=None, expires_at=None, usage_limit_chf=None
    )
    assert (reset.key_name, reset.scopes, reset.expires_at, reset.usage_limit_chf) == ("other", None, None, None)
    with refused(404, "RESOURCE_NOT_FOUND"):
        sdk.api_keys.update_api_key(tenant.organization_id, "ak_none", key_name="x")
    assert sdk.api_keys.update_api_key(tenant.organization_id, made.id, key_name=None).key_name == "other"


def test_deactivate_and_activate_api_key(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    made = make(sdk, tenant)
    answer = sdk.api_keys.deactivate_api_key(tenant.organization_id, made.id)
    assert (answer.success, answer.message, answer.key and answer.key.is_active) == (
        True,
        "API key deactivated",
        False,
    )
    with refused(401, "API_KEY_DEACTIVATED"):
        lists_grants(connect, made.key, tenant)
    answer = sdk.api_keys.activate_api_key(tenant.organization_id, made.id)
    assert (answer.message, answer.key and answer.key.is_active) == ("API key activated", True)
    lists_grants(connect, made.key, tenant)


def test_pause_and_unpause_api_key(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    made = make(sdk, tenant)
    answer = sdk.api_keys.pause_api_key(tenant.organization_id, made.id)
    assert (answer.success, answer.message, answer.key and answer.key.is_paused) == (True, "API key paused", True)
    with refused(401, "API_KEY_PAUSED"):
        lists_grants(connect, made.key, tenant)
    answer = sdk.api_keys.unpause_api_key(tenant.organization_id, made.id)
    assert (answer.message, answer.key and answer.key.is_paused) == ("API key unpaused", False)
    lists_grants(connect, made.key, tenant)


@pytest.mark.parametrize("method", [*SWITCHES, "rotate_api_key", "delete_api_key"])
def test_keys_that_are_not_there_or_of_others_are_refused(
    sdk: Aitronos, clerk: Aitronos, house: House, method: str
) -> None:
    with refused(404, "RESOURCE_NOT_FOUND", key_id="ak_none"):
        getattr(sdk.api_keys, method)(house.id, "ak_none")
    made = make(sdk, house.tenant)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_api_keys"):
        getattr(clerk.api_keys, method)(house.id, made.id)


def test_rotate_api_key(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    made = make(sdk, tenant, scopes=["read"], metadata={"a": 1})
    answer = sdk.api_keys.rotate_api_key(tenant.organization_id, made.id)
    assert (answer.success, answer.old_key_id) == (True, made.id)
    new = answer.new_key
    assert (new.key_name, new.scopes, new.metadata) == ("reporting", ["read"], {"a": 1})
    assert new.id != made.id
    with refused(401, "INVALID_API_KEY"):
        lists_grants(connect, made.key, tenant)
    lists_grants(connect, new.key, tenant)
    with refused(404, "RESOURCE_NOT_FOUND"):
        sdk.api_keys.get_api_key(tenant.organization_id, made.id)


def test_delete_api_key(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    made = make(sdk, tenant)
    for _ in range(2):
        answer = sdk.api_keys.delete_api_key(tenant.organization_id, made.id)
        assert (answer.success, answer.message, answer.key) == (True, "API key deleted", None)
    with refused(401, "INVALID_API_KEY"):
        lists_grants(connect, made.key, tenant)


def test_a_repeated_creation_gets_the_same_secret_though_the_book_cannot_tell_it(
    server: Server, tenant: Tenant
) -> None:
    with server.client(tenant.owner.secret) as client:
        sent = {"Idempotency-Key": "new key"}
        first, again = (client.post(f"{tenant.path}/api-keys", json={"key_name": "x"}, headers=sent) for _ in range(2))
        assert first.json() == again.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        secret = first.json()["key"]
        book = server.log.parent.glob("book.db*")
        assert not [path for path in book if secret.encode() in path.read_bytes()]
        other = client.post(f"{tenant.path}/api-keys", json={"key_name": "y"}, headers=sent)
        error_of(other, 409, "IDEMPOTENCY_KEY_REUSED")


def test_a_key_for_somebody_else_is_ours(server: Server, tenant: Tenant, client_of: httpx.Client) -> None:
    bob = tenant.user()
    body = {"key_name": "bot", "user_id": bob, "scopes": ["check"]}
    made = client_of.post(f"{tenant.path}/api-keys", json=body)
    assert (made.status_code, made.json()["user_id"]) == (201, bob)
    with server.client(made.json()["key"]) as bot:
        asked = bot.get(f"{tenant.path}/access/entities", params={"user_id": tenant.owner.user_id})
        assert asked.status_code == 200
    unknown = client_of.post(f"{tenant.path}/api-keys", json={**body, "user_id": "usr_nobody"})
    error_of(unknown, 404, "RESOURCE_NOT_FOUND")


@pytest.fixture
def client_of(server: Server, tenant: Tenant) -> Any:
    """Speaks for the owner, without the SDK."""
    with server.client(tenant.owner.secret) as client:
        yield client
