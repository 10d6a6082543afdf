"""What bounds a key is not lifted by the key, by its user's other keys, or from another organization."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.http.envelope import error_of
from tests.serving import Tenant

DENIED, OUTSIDE = "INSUFFICIENT_PERMISSIONS", "ORGANIZATION_ACCESS_DENIED"


class Holder:
    """Who calls with one key."""

    def __init__(self, client: httpx.Client, tenant: Tenant, secret: str) -> None:
        self._client = client
        self._path = tenant.path
        self.secret = secret

    def __call__(self, call: str, body: Any = None) -> httpx.Response:
        method, _, path = call.partition(" ")
        path = path if path.startswith("/v1/") else self._path + path
        return self._client.request(method, path, json=body, headers={"X-API-Key": self.secret})

    def make_key(self, **values: Any) -> dict[str, Any]:
        answer = self("POST /api-keys", {"key_name": "one", **values})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


@pytest.fixture
def owner(client: httpx.Client, tenant: Tenant) -> Holder:
    return Holder(client, tenant, tenant.owner.secret)


def found_with(holder: Holder) -> str:
    """The path of an organization that the key made."""
    answer = holder("POST /v1/organizations", {"name": "Branch", "type": "company"})
    assert answer.status_code == 201, answer.text
    return f"/v1/organizations/{answer.json()['id']}"


@pytest.mark.parametrize("scopes", [None, ["read", "write"]])
def test_a_key_gets_no_secret_that_opens_more_than_it_does(
    client: httpx.Client, tenant: Tenant, owner: Holder, scopes: list[str] | None
) -> None:
    made = owner.make_key()
    maker, sibling = (Holder(client, tenant, each["key"]) for each in (made, owner.make_key(scopes=scopes)))
    branch = found_with(maker)
    error_of(sibling(f"GET {branch}"), 403, OUTSIDE)
    if scopes:
        assert sibling(f"PATCH /api-keys/{made['id']}", {"scopes": scopes}).status_code == 200
    rotated = sibling(f"POST /api-keys/{made['id']}/rotate")
    assert rotated.status_code == 200, rotated.text
    error_of(Holder(client, tenant, rotated.json()["new_key"]["key"])(f"GET {branch}"), 403, OUTSIDE)


def test_a_key_that_rotates_itself_opens_what_it_opened(client: httpx.Client, tenant: Tenant, owner: Holder) -> None:
    made = owner.make_key()
    maker = Holder(client, tenant, made["key"])
    branch = found_with(maker)
    rotated = Holder(client, tenant, maker(f"POST /api-keys/{made['id']}/rotate").json()["new_key"]["key"])
    assert rotated(f"GET {branch}").status_code == 200
    error_of(maker(f"GET {branch}"), 401, "INVALID_API_KEY")


@pytest.mark.parametrize("end", ["deactivated", "removed"])
def test_who_is_no_active_member_at_home_is_nobody_elsewhere(client: httpx.Client, tenant: Tenant, end: str) -> None:
    someone = tenant.person(tenant.base_role("Owner"))
    holder = Holder(client, tenant, someone.secret)
    branch = found_with(holder)
    question = {"user_id": someone.user_id, "entity_type": "rule", "entity_id": "rule_x", "access_level": "view"}
    calls = [
        (f"GET {branch}", None),
        (f"GET {branch}/audit-log", None),
        (f"POST {branch}/users", {}),
        (f"POST {branch}/departments", {"name": "Mine"}),
        (f"POST {branch}/access/check", question),
    ]
    assert [holder(*call).status_code for call in calls] == [200, 200, 200, 201, 404]
    if end == "removed":
        tenant.remove(someone.user_id)
    else:
        tenant.set_state(someone.user_id, end)
    for call in calls:
        error_of(holder(*call), 401 if end == "removed" else 403)
    if end == "deactivated":
        assert holder("GET /v1/organizations").json().get("organizations", []) == []
        tenant.set_state(someone.user_id, "active")
        assert [holder(*call).status_code for call in calls] == [200, 200, 200, 201, 404]


def test_a_key_that_ends_gives_no_more_time_than_it_has(client: httpx.Client, tenant: Tenant, owner: Holder) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    made = owner.make_key(expires_at=end.isoformat())
    short = Holder(client, tenant, made["key"])
    later = (end + timedelta(seconds=1)).isoformat()
    endless = owner.make_key()
    for refused in (
        short(f"PATCH /api-keys/{made['id']}", {"expires_at": None}),
        short(f"PATCH /api-keys/{made['id']}", {"expires_at": later}),
        short("POST /api-keys", {"key_name": "longer"}),
        short("POST /api-keys", {"key_name": "longer", "expires_at": later}),
        short(f"POST /api-keys/{endless['id']}/rotate"),
        short(f"POST /api-keys/{endless['id']}/activate"),
    ):
        assert error_of(refused, 403, DENIED)["details"] == {"field": "expires_at"}
    assert short.make_key(expires_at=end.isoformat())["expires_at"] == made["expires_at"]
    assert short(f"PATCH /api-keys/{made['id']}", {"key_name": "other"}).status_code == 200
    assert owner(f"PATCH /api-keys/{made['id']}", {"expires_at": None}).status_code == 200


@pytest.mark.parametrize(("end", "begin"), [("deactivate", "activate"), ("pause", "unpause")])
def test_what_a_manager_of_keys_ended_its_user_does_not_open_again(
    client: httpx.Client, tenant: Tenant, owner: Holder, end: str, begin: str
) -> None:
    someone = tenant.person()
    other = Holder(client, tenant, tenant.key(someone.user_id))
    made = Holder(client, tenant, someone.secret).make_key()
    address = f"POST /api-keys/{made['id']}"
    assert [other(f"{address}/{how}").status_code for how in (end, begin)] == [200, 200]
    assert owner(f"{address}/{end}").status_code == 200
    assert error_of(other(f"{address}/{begin}"), 403, DENIED)["details"] == {"capability": "manage_api_keys"}
    error_of(Holder(client, tenant, made["key"])("GET /access/grants"), 401)
    rotated = other(f"{address}/rotate").json()["new_key"]
    address = f"POST /api-keys/{rotated['id']}"
    error_of(other(f"{address}/{begin}"), 403, DENIED)
    error_of(Holder(client, tenant, rotated["key"])("GET /access/grants"), 401)
    assert owner(f"{address}/{begin}").status_code == 200
    assert other(f"{address}/{begin}").status_code == 200  # which changes nothing
    assert [other(f"{address}/{how}").status_code for how in (end, begin)] == [200, 200]
