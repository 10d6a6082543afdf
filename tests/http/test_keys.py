"""What a key opens: its scopes narrow it, and it is worth no more than the member it speaks for."""

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import httpx
import pytest

from grantbook.model.facts import ApiKey
from grantbook.service import keys
from grantbook.service.desk import SYSTEM
from tests.http.calls import CALLS, OF_ORGANIZATION, Call, Scene
from tests.http.envelope import error_of
from tests.serving import Server, Tenant

DECISIONS = ("/access/check", "/access/check/batch", "/access/explain", "/access/entities", "/access/users")
every_route = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def scope_of(call: Call) -> str:
    """The scope that the call needs, by the contract."""
    if call.template.endswith(DECISIONS):
        return "check"
    return "write" if call.changes else "read"


@pytest.fixture(scope="module")
def scene(server: Server) -> Scene:
    return Scene(server.desk)


@every_route
def test_a_key_without_the_scope_is_refused(call: Call, scene: Scene, client: httpx.Client) -> None:
    others = tuple(scope for scope in ("check", "read", "write") if scope != scope_of(call))
    before = scene.tenant.revision + 1
    secret = scene.tenant.key(scene.tenant.owner.user_id, scopes=others)
    error = error_of(call.request(scene).send(client, secret), 403, "INSUFFICIENT_PERMISSIONS")
    assert error["details"] == {"scope": scope_of(call)}
    assert scene.tenant.revision == before


@every_route
def test_a_key_with_just_the_scope_is_enough(call: Call, scene: Scene, server: Server, client: httpx.Client) -> None:
    scene = Scene(server.desk) if call.changes else scene
    secret = scene.tenant.key(scene.tenant.owner.user_id, scopes=(scope_of(call),))
    assert call.request(scene).send(client, secret).status_code == call.status


def test_a_key_without_any_scope_opens_nothing(scene: Scene, client: httpx.Client) -> None:
    secret = scene.tenant.key(scene.tenant.owner.user_id, scopes=())
    for call in CALLS.values():
        error_of(call.request(scene).send(client, secret), 403, "INSUFFICIENT_PERMISSIONS")


def test_a_check_key_of_a_plain_member_may_ask_about_anybody_and_do_nothing_else(
    tenant: Tenant, client: httpx.Client
) -> None:
    bot, ann = tenant.user(), tenant.user()
    entity = tenant.entity()
    tenant.grant(entity, "write", ann)
    headers = {"X-API-Key": tenant.key(bot, scopes=("check",))}
    question = {"user_id": ann, "entity_type": entity.type, "entity_id": entity.id, "access_level": "write"}
    answer = client.post(f"{tenant.path}/access/check", headers=headers, json=question)
    assert (answer.status_code, answer.json()["allowed"]) == (200, True)
    listed = client.get(
        f"{tenant.path}/access/users", headers=headers, params={"entity_type": entity.type, "entity_id": entity.id}
    )
    assert ann in {item["user_id"] for item in listed.json()["items"]}
    for refused in ("/access/grants", "/access/overview", f"/users/{ann}/resolved-access"):
        error_of(client.get(f"{tenant.path}{refused}", headers=headers), 403, "INSUFFICIENT_PERMISSIONS")


def test_scopes_do_not_widen(tenant: Tenant, client: httpx.Client) -> None:
    """`write` does not make a plain member an administrator."""
    bot, entity = tenant.user(), tenant.entity()
    headers = {"X-API-Key": tenant.key(bot, scopes=("read", "write"))}
    body = {"name": "Mine", "owner_type": "user", "owner_id": bot}
    error_of(client.put(f"{tenant.path}/entities/{entity.type}/{entity.id}", headers=headers, json=body), 403)


@pytest.fixture(scope="module")
def former_admin(scene: Scene) -> str:
    """The key of one who could do everything."""
    admin = scene.tenant.person(scene.tenant.base_role())
    scene.tenant.set_state(admin.user_id, "deactivated")
    return admin.secret


@pytest.mark.parametrize("call", OF_ORGANIZATION.values(), ids=OF_ORGANIZATION)
def test_the_key_of_a_deactivated_member_opens_nothing(
    call: Call, scene: Scene, former_admin: str, client: httpx.Client
) -> None:
    error_of(call.request(scene).send(client, former_admin), 403, "ORGANIZATION_ACCESS_DENIED")


@pytest.mark.parametrize("operation", [name for name in CALLS if "/v1/rules/{rule_id}" in name])
def test_nor_does_it_speak_about_rules(operation: str, scene: Scene, former_admin: str, client: httpx.Client) -> None:
    error_of(CALLS[operation].request(scene).send(client, former_admin), 403, "INSUFFICIENT_PERMISSIONS")


def test_the_key_of_a_removed_member_is_gone(tenant: Tenant, client: httpx.Client) -> None:
    person = tenant.person(tenant.base_role())
    headers = {"X-API-Key": person.secret}
    assert client.get(tenant.path, headers=headers).status_code == 200
    tenant.remove(person.user_id)
    error_of(client.get(tenant.path, headers=headers), 401, "INVALID_API_KEY")
    tenant.user(user_id=person.user_id)
    error_of(client.get(tenant.path, headers=headers), 401, "INVALID_API_KEY")


def test_a_pending_member_has_no_say(tenant: Tenant, client: httpx.Client) -> None:
    pending = tenant.user(is_active=False)
    headers = {"X-API-Key": tenant.key(pending)}
    error_of(client.get(tenant.path, headers=headers), 403, "ORGANIZATION_ACCESS_DENIED")
    tenant.set_state(pending, "active")
    assert client.get(tenant.path, headers=headers).status_code == 200


def test_a_reactivated_member_has_their_key_back(tenant: Tenant, client: httpx.Client) -> None:
    person = tenant.person()
    headers = {"X-API-Key": person.secret}
    tenant.set_state(person.user_id, "deactivated")
    error_of(client.get(tenant.path, headers=headers), 403, "ORGANIZATION_ACCESS_DENIED")
    tenant.set_state(person.user_id, "active")
    assert client.get(tenant.path, headers=headers).status_code == 200


def test_a_key_works_until_it_expires(tenant: Tenant, client: httpx.Client) -> None:
    later = tenant.desk.clock() + 3_600_000_000
    headers = {"X-API-Key": tenant.key(tenant.owner.user_id, expires_at=later)}
    assert client.get(tenant.path, headers=headers).status_code == 200


def test_pausing_takes_effect_at_once_and_ends_at_once(tenant: Tenant, client: httpx.Client) -> None:
    secret = tenant.key(tenant.owner.user_id)
    headers = {"X-API-Key": secret}
    for is_paused, status in ((True, 401), (False, 200)):
        with tenant.desk.reading(tenant.organization_id, SYSTEM) as reading:
            found = reading.snapshot.select(ApiKey, {"key_prefix": secret[:11]})
        tenant.change_key(found[0], is_paused=is_paused)
        assert client.get(tenant.path, headers=headers).status_code == status


def test_the_key_that_made_an_organization_opens_it_and_no_other_does(
    tenant: Tenant, owner: httpx.Client, client: httpx.Client
) -> None:
    made = owner.post("/v1/organizations", json={"name": "Branch", "type": "company"}).json()
    address = f"/v1/organizations/{made['id']}"
    assert made["owner_id"] == tenant.owner.user_id
    assert owner.get(address).json()["id"] == made["id"]
    second = tenant.key(tenant.owner.user_id)
    error_of(client.get(address, headers={"X-API-Key": second}), 403, "ORGANIZATION_ACCESS_DENIED")


def test_members_may_not_make_organizations(tenant: Tenant, client: httpx.Client) -> None:
    for person in (tenant.person(), tenant.person(tenant.base_role())):
        answer = client.post(
            "/v1/organizations", headers={"X-API-Key": person.secret}, json={"name": "Mine", "type": "company"}
        )
        assert error_of(answer, 403, "INSUFFICIENT_PERMISSIONS")["details"] == {"capability": "create_organizations"}


@pytest.mark.parametrize("how", ["paused", "deleted", "rotated", "narrowed"])
@pytest.mark.parametrize("path", ["access/grants", "departments"])
def test_a_key_that_ends_while_a_write_waits_for_its_turn_writes_nothing(
    server: Server, client: httpx.Client, how: str, path: str
) -> None:
    tenant = Tenant.found(server.desk)
    entity, user_id = tenant.entity(), tenant.user()
    body: dict[str, str] = {"name": "Late"}
    if path == "access/grants":
        grantee = {"grantee_type": "user", "grantee_id": user_id}
        body = {"entity_type": entity.type, "entity_id": entity.id, **grantee, "access_level": "read"}
    headers = {"X-API-Key": tenant.owner.secret}
    assert client.get(f"{tenant.path}/my-access", headers=headers).status_code == 200  # and known from now on
    with ThreadPoolExecutor(1) as pool:
        with tenant.desk.writing(tenant.organization_id, SYSTEM) as writing:
            (key,) = writing.snapshot.select(ApiKey, {"user_id": tenant.owner.user_id})
            match how:
                case "paused":
                    keys.switch(writing, key.id, "pause")
                case "deleted":
                    keys.delete(writing, key.id)
                case "rotated":
                    keys.rotate(writing, key.id)
                case _:
                    keys.update(writing, key.id, {"scopes": ("read", "check")})
            sent = pool.submit(client.post, f"{tenant.path}/{path}", headers=headers, json=body)
            sleep(0.3)  # it is admitted, and waits
            assert not sent.done()
        error_of(sent.result(), 403 if how == "narrowed" else 401)
    assert tenant.grants() == []
