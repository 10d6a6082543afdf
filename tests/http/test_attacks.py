"""What a malicious caller tries: each attempt gets a refusal, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.http.envelope import error_of
from tests.serving import Person, Tenant

DENIED = "INSUFFICIENT_PERMISSIONS"


class Attacker:
    """A person who calls with their own key."""

    def __init__(self, client: httpx.Client, tenant: Tenant, person: Person) -> None:
        self.user_id = person.user_id
        self._client = client
        self._path = tenant.path
        self._headers = {"X-API-Key": person.secret}

    def __call__(self, call: str, body: Any = None, **query: Any) -> httpx.Response:
        method, _, path = call.partition(" ")
        path = path if path.startswith("/v1/") else self._path + path
        return self._client.request(method, path, json=body, params=query, headers=self._headers)

    def level(self, entity_type: str, entity_id: str) -> str | None:
        """What they have on an entity, by their own question."""
        question = {"user_id": self.user_id, "entity_type": entity_type, "entity_id": entity_id}
        lowest = "view" if entity_type == "rule" else "read"
        answer = self("POST /access/check", {**question, "access_level": lowest})
        assert answer.status_code == 200, answer.text
        level: str | None = answer.json()["access_level"]
        return level


@pytest.fixture
def mallory(client: httpx.Client, tenant: Tenant) -> Attacker:
    """A member without capabilities."""
    return Attacker(client, tenant, tenant.person())


def with_capabilities(client: httpx.Client, tenant: Tenant, *capabilities: str) -> Attacker:
    return Attacker(client, tenant, tenant.person(tenant.role(*capabilities)))


def test_a_maker_of_knowledge_draws_nothing_foreign_into_a_container(client: httpx.Client, tenant: Tenant) -> None:
    mallory = with_capabilities(client, tenant, "create_knowledge")
    secret, store = tenant.entity(), tenant.entity("vector_store")
    tenant.grant(secret, "write", mallory.user_id)
    tenant.grant(store, "write", mallory.user_id)
    members = {"name": "Trap", "member_slice_ids": [secret.id]}
    error_of(mallory("POST /knowledge/composites", members), 403, DENIED)
    composite = mallory("POST /knowledge/composites", {"name": "Trap", "member_slice_ids": []})
    if composite.status_code == 201:
        place = f"/knowledge/composites/{composite.json()['id']}"
        error_of(mallory(f"PATCH {place}", {"member_slice_ids": [secret.id]}), 403, DENIED)
    mine = mallory("POST /knowledge/slices", {"name": "Trap", "owner_type": "user", "owner_id": mallory.user_id})
    assert mine.status_code == 201, mine.text
    moved = mallory(f"PATCH /knowledge/stores/{store.id}", {"slice_ids": [mine.json()["id"]]})
    error_of(moved, 403, DENIED)
    for ref in (secret, store):
        body = {
            "name": "Mine",
            "owner_type": "user",
            "owner_id": mallory.user_id,
            "containers": [{"entity_type": "knowledge_slice", "entity_id": mine.json()["id"]}],
        }
        error_of(mallory(f"PUT /entities/{ref.type}/{ref.id}", body), 403, DENIED)
        assert mallory.level(ref.type, ref.id) == "write"


@pytest.mark.parametrize("entity_type", ["knowledge_slice", "vector_store", "assistant", "rule"])
def test_who_administers_an_entity_does_not_become_its_owner(
    entity_type: str, mallory: Attacker, tenant: Tenant
) -> None:
    ref = tenant.entity(entity_type)
    body = {"name": "Mine", "owner_type": "user", "owner_id": mallory.user_id}
    error_of(mallory(f"PUT /entities/{entity_type}/{ref.id}", body), 403, DENIED)
    if entity_type == "rule":
        tenant.permit(ref, "modify", "user", mallory.user_id)
        handed = {"user_id": mallory.user_id, "access_level": "owner"}
        error_of(mallory(f"POST /v1/rules/{ref.id}/access", handed), 403, DENIED)
        error_of(mallory(f"PUT /v1/rules/{ref.id}/access/{mallory.user_id}", handed), 403, DENIED)
    else:
        tenant.grant(ref, "admin", mallory.user_id)
    error_of(mallory(f"PUT /entities/{entity_type}/{ref.id}", body), 403, DENIED)


def test_a_reader_does_not_open_what_they_read(mallory: Attacker, tenant: Tenant) -> None:
    ref, store, assistant = tenant.entity(), tenant.entity("vector_store"), tenant.entity("assistant")
    for each in (ref, store, assistant):
        tenant.grant(each, "write", mallory.user_id)
    change = {"access_mode": "department", "access_target_ids": [mallory.user_id]}
    error_of(mallory(f"PATCH /knowledge/slices/{ref.id}", change), 403, DENIED)
    error_of(mallory(f"PATCH /knowledge/slices/{ref.id}", {"access_mode": "public"}), 403, DENIED)
    error_of(mallory(f"PATCH /knowledge/stores/{store.id}", {"access_mode": "organization"}), 403, DENIED)
    error_of(mallory(f"PUT /v1/assistants/{assistant.id}", {"access_mode": "public"}), 403, DENIED)
    for each in (ref, store, assistant):
        grant = {"grantee_type": "user", "grantee_id": mallory.user_id, "access_level": "admin"}
        body = {"entity_type": each.type, "entity_id": each.id, **grant}
        error_of(mallory("POST /access/grants", body), 403, DENIED)
        (own,) = tenant.grants(entity_id=each.id)
        error_of(mallory(f"PATCH /access/grants/{own.id}", {"access_level": "admin"}), 403, DENIED)
        assert mallory.level(each.type, each.id) == "write"


def test_roles_are_no_ladder(client: httpx.Client, tenant: Tenant) -> None:
    own = tenant.role("manage_roles", "assign_roles", "manage_users")
    mallory = Attacker(client, tenant, tenant.person(own))
    owner_role, admin_role = tenant.base_role("Owner"), tenant.base_role("Admin")
    better = {"capabilities": ["manage_roles", "assign_roles", "override_all_permissions"]}
    for role_id in (owner_role, admin_role):
        error_of(mallory(f"POST /roles/{role_id}/members", {"user_id": mallory.user_id}), 403, DENIED)
        memberships = {"role_ids": [own, role_id], "department_ids": []}
        error_of(mallory(f"PATCH /users/{mallory.user_id}/memberships", memberships), 403, DENIED)
        error_of(mallory(f"PUT /users/{mallory.user_id}", {"role_id": role_id}), 403, DENIED)
        invited = {"email": "m@evil.test", "role_ids": [role_id], "send_invitation": False}
        error_of(mallory("POST /users/invite/v2", invited), 403, DENIED)
        error_of(mallory(f"PATCH /roles/{role_id}", {"description": "mine"}), 403, DENIED)
        error_of(mallory(f"DELETE /roles/{role_id}"), 403, DENIED)
    error_of(mallory(f"PATCH /roles/{own}", better), 403, DENIED)
    error_of(mallory("POST /roles", {"name": "Ladder", **better}), 403, DENIED)
    error_of(mallory("PATCH /permission-preset", {"preset": "collaborative"}), 403, DENIED)
    error_of(mallory(f"DELETE /roles/{owner_role}/members/{tenant.owner.user_id}"), 403)
    error_of(mallory(f"PATCH /users/{tenant.owner.user_id}/memberships", {"role_ids": [], "department_ids": []}), 403)
    error_of(mallory(f"POST /users/{tenant.owner.user_id}/deactivate", {}), 403)
    error_of(mallory(f"DELETE /users/{tenant.owner.user_id}"), 403)


def test_a_plain_member_changes_nobody(mallory: Attacker, tenant: Tenant) -> None:
    department, victim, role = tenant.department(), tenant.user(), tenant.role("create_knowledge")
    calls: list[tuple[str, Any]] = [
        (f"POST /departments/{department}/members", {"user_id": mallory.user_id}),
        ("POST /departments", {"name": "Mine"}),
        (f"POST /departments/{department}/reparent", {"new_parent_id": None}),
        (f"PATCH /departments/{department}", {"name": "Mine"}),
        (f"POST /roles/{role}/members", {"user_id": mallory.user_id}),
        ("POST /roles", {"name": "Mine", "capabilities": []}),
        (f"PATCH /users/{mallory.user_id}/memberships", {"role_ids": [role], "department_ids": [department]}),
        (f"PUT /users/{victim}", {"first_name": "Eve"}),
        (f"POST /users/{victim}/deactivate", {}),
        ("POST /users/invite/v2", {"email": "x@evil.test"}),
        ("PATCH ", {"name": "Mine"}),
        ("DELETE ", None),
        ("POST /v1/organizations", {"name": "Mine", "type": "company"}),
    ]
    for call, body in calls:
        error_of(mallory(call, body), 403, DENIED)


def test_a_plain_member_reads_nothing_about_others(mallory: Attacker, tenant: Tenant) -> None:
    victim, ref = tenant.person(), tenant.entity()
    tenant.grant(ref, "read", victim.user_id)
    for call in (
        f"GET /users/{victim.user_id}/resolved-access",
        f"GET /users/{victim.user_id}/ui-access",
        f"GET /users/{victim.user_id}/effective-permissions",
        "GET /audit-log",
        "GET /audit-log/export",
        "GET /audit-log/export/pdf",
        f"GET /knowledge/slices/{ref.id}/audit-log",
        f"GET /knowledge/slices/{ref.id}",
        f"GET /knowledge/slices/{ref.id}/grants",
        f"GET /entities/{ref.type}/{ref.id}",
    ):
        error_of(mallory(call), 403, DENIED)
    about = {"user_id": victim.user_id, "entity_type": ref.type, "entity_id": ref.id, "access_level": "read"}
    error_of(mallory("POST /access/check", about), 403, DENIED)
    error_of(mallory("POST /access/explain", about), 403, DENIED)
    error_of(mallory("GET /access/entities", user_id=victim.user_id, entity_type=ref.type), 403, DENIED)
    error_of(mallory("GET /access/users-with-access", entity_type=ref.type, entity_id=ref.id), 403, DENIED)
    assert mallory("GET /access/grants").json()["items"] == []
    (result,) = mallory("POST /access/check/batch", {"checks": [about]}).json()["results"]
    assert (result["allowed"], result["access_level"]) == (False, None)
    for shown in ("/access/overview", "/knowledge/slices", "/knowledge/slices/summary", "/my-access", "/api-keys"):
        answer = mallory(f"GET {shown}")
        assert answer.status_code == 200
        assert ref.id not in answer.text
        assert victim.user_id not in answer.text or shown == "/access/overview"


def test_a_key_of_ones_own_is_no_ladder(client: httpx.Client, tenant: Tenant) -> None:
    person = tenant.person(tenant.base_role("Admin"))
    admin = Attacker(client, tenant, person)
    with_body = {"key_name": "x", "user_id": tenant.owner.user_id}
    error_of(admin("POST /api-keys", with_body), 403, DENIED)
    for key in admin("GET /api-keys").json()["keys"]:
        if key["user_id"] == tenant.owner.user_id:
            error_of(admin(f"POST /api-keys/{key['id']}/rotate"), 403, DENIED)
            error_of(admin(f"PATCH /api-keys/{key['id']}", {"scopes": None}), 403, DENIED)
    narrow = Attacker(client, tenant, Person(person.user_id, tenant.key(person.user_id, scopes=("write",))))
    error_of(narrow("POST /api-keys", {"key_name": "x"}), 403, DENIED)
    error_of(narrow("POST /api-keys", {"key_name": "x", "scopes": ["read"]}), 403, DENIED)
    key, secret = tenant.api_key(person.user_id, scopes=("write",))
    narrow = Attacker(client, tenant, Person(person.user_id, secret))
    error_of(narrow(f"PATCH /api-keys/{key.id}", {"scopes": None}), 403, DENIED)
    error_of(narrow(f"PATCH /api-keys/{key.id}", {"scopes": ["read", "write"]}), 403, DENIED)


def test_handling_keys_gives_no_access_to_what_their_users_reach(client: httpx.Client, tenant: Tenant) -> None:
    mallory = with_capabilities(client, tenant, "manage_api_keys")
    victim, ref = tenant.person(), tenant.entity()
    tenant.grant(ref, "admin", victim.user_id)
    key, _ = tenant.api_key(victim.user_id)
    error_of(mallory("POST /api-keys", {"key_name": "x", "user_id": victim.user_id}), 403, DENIED)
    error_of(mallory(f"POST /api-keys/{key.id}/rotate"), 403, DENIED)
    assert mallory(f"POST /api-keys/{key.id}/pause").status_code == 200


def test_handing_over_to_ones_own_department_takes_the_right_to_share(client: httpx.Client, tenant: Tenant) -> None:
    person = tenant.person(tenant.role("manage_users", "deactivate_users", "remove_users"))
    mallory, victim = Attacker(client, tenant, person), tenant.user()
    own = tenant.department(None, person.user_id)
    tenant.entity(owner_id=victim)
    heir = {"transfer_resources_to_department_id": own}
    error_of(mallory(f"POST /users/{victim}/deactivate", heir), 403, DENIED)
    error_of(mallory(f"DELETE /users/{victim}", heir), 403, DENIED)


@pytest.fixture
def elsewhere(client: httpx.Client, stranger: Tenant) -> Attacker:
    """The owner of another organization."""
    return Attacker(client, stranger, stranger.owner)


def test_another_organization_opens_nothing_here(elsewhere: Attacker, tenant: Tenant, stranger: Tenant) -> None:
    rule, ref, role, department = tenant.entity("rule"), tenant.entity(), tenant.role(), tenant.department()
    own_rule, own = stranger.entity("rule"), stranger.entity()
    everyone = {"target_type": "user", "target_id": elsewhere.user_id, "access_level": "modify"}
    error_of(elsewhere(f"PATCH /v1/rules/{rule.id}/permissions/grant", everyone), 403, DENIED)
    error_of(elsewhere(f"PUT /v1/rules/{rule.id}/permissions", [everyone]), 403, DENIED)
    error_of(elsewhere(f"GET /v1/rules/{rule.id}"), 403, DENIED)
    for target_type, target_id in (
        ("role", role),
        ("department", department),
        ("organization", tenant.organization_id),
    ):
        foreign = {"target_type": target_type, "target_id": target_id, "access_level": "view"}
        error_of(elsewhere(f"PATCH /v1/rules/{own_rule.id}/permissions/grant", foreign), 404, "RESOURCE_NOT_FOUND")
        grant = {"grantee_type": target_type, "grantee_id": target_id, "access_level": "read"}
        body = {"entity_type": own.type, "entity_id": own.id, **grant}
        error_of(elsewhere("POST /access/grants", body), 404, "RESOURCE_NOT_FOUND")
    error_of(elsewhere(f"GET /knowledge/slices/{ref.id}"), 404, "RESOURCE_NOT_FOUND")
    error_of(elsewhere(f"GET {tenant.path}/audit-log"), 403, "ORGANIZATION_ACCESS_DENIED")
    twice = [stranger.organization_id, tenant.organization_id]
    error_of(elsewhere("GET /v1/assistants", organization_id=twice), 403, "ORGANIZATION_ACCESS_DENIED")
    shown = elsewhere("GET /v1/assistants", organization_id=twice[::-1])
    assert (shown.status_code, shown.json()["organization_id"]) == (200, stranger.organization_id)
    body = {"name": "Spy", "organization_id": tenant.organization_id}
    refused = elsewhere("POST /v1/assistants", body, organization_id=stranger.organization_id)
    assert refused.status_code in {403, 422}


def test_members_of_another_organization_by_the_same_id_speak_for_nobody(
    client: httpx.Client, tenant: Tenant, stranger: Tenant
) -> None:
    victim, rule = tenant.person(), tenant.entity("rule")
    tenant.permit(rule, "modify", "user", victim.user_id)
    double = Attacker(client, stranger, stranger.person(user_id=victim.user_id))
    error_of(double(f"GET /v1/rules/{rule.id}"), 403, DENIED)
    error_of(double(f"PUT /v1/rules/{rule.id}/permissions", []), 403, DENIED)
    error_of(double(f"GET {tenant.path}/my-access"), 403, "ORGANIZATION_ACCESS_DENIED")


def test_nobody_makes_a_member_of_a_user_who_is_at_home_elsewhere(
    client: httpx.Client, tenant: Tenant, stranger: Tenant
) -> None:
    """Those there speak for that user: what is shared with the member would be theirs."""
    squatter, owner = stranger.person(), Attacker(client, tenant, tenant.owner)
    invited = {"email": f"alice@{tenant.tag}.test", "user_id": squatter.user_id}
    error_of(owner("POST /users/invite/v2", invited), 409)
    assert owner("POST /users/invite/v2", {**invited, "user_id": f"usr_{tenant.tag}-alice"}).status_code == 201


@pytest.mark.parametrize("way", ["a department of theirs goes below", "they join", "they take the role"])
def test_nobody_lets_themself_into_what_is_granted_to_others(client: httpx.Client, tenant: Tenant, way: str) -> None:
    capabilities = "reparent_departments", "manage_departments", "manage_users", "assign_roles"
    mallory = with_capabilities(client, tenant, *capabilities)
    above, own, role = tenant.department(), tenant.department(None, mallory.user_id), tenant.role()
    secret = tenant.entity()
    tenant.grant(secret, "admin", above, grantee_type="department")
    tenant.grant(secret, "admin", role, grantee_type="role")
    match way:
        case "they join":
            answer = mallory(f"POST /departments/{above}/members", {"user_id": mallory.user_id})
        case "they take the role":
            answer = mallory(f"POST /roles/{role}/members", {"user_id": mallory.user_id})
        case _:
            answer = mallory(f"POST /departments/{own}/reparent", {"new_parent_id": above})
    error = error_of(answer, 403, DENIED)
    assert error["details"] == {"capability": "manage_access_control"}
    assert mallory.level(secret.type, secret.id) is None


def test_a_slice_does_not_tell_of_one_that_had_its_id_before(client: httpx.Client, tenant: Tenant) -> None:
    mallory, owner = with_capabilities(client, tenant, "create_knowledge"), Attacker(client, tenant, tenant.owner)
    secret = tenant.entity()
    tenant.grant(secret, "write", tenant.user())
    assert owner(f"DELETE /entities/knowledge_slice/{secret.id}").is_success
    body = {"id": secret.id, "name": "Mine", "owner_type": "user", "owner_id": mallory.user_id}
    assert mallory("POST /knowledge/slices", body).status_code == 201
    told = mallory(f"GET /knowledge/slices/{secret.id}/audit-log").json()
    assert [entry["action_type"] for entry in told["items"]] == ["created"]


@pytest.mark.parametrize("state", ["deactivated", "pending_invitation"])
def test_whoever_is_not_active_at_home_reaches_no_rule_anywhere(
    state: str, client: httpx.Client, tenant: Tenant, stranger: Tenant
) -> None:
    left = Attacker(client, tenant, tenant.person())
    rules = [tenant.entity("rule"), stranger.entity("rule")]
    for owner, rule in zip((tenant, stranger), rules, strict=True):
        owner.permit(rule, "modify", "user", left.user_id)
        assert left(f"GET /v1/rules/{rule.id}").status_code == 200
    tenant.set_state(left.user_id, state)
    for rule in rules:
        for path in ("", "/permissions", "/access"):
            error_of(left(f"GET /v1/rules/{rule.id}{path}"), 403)
        error_of(left(f"PUT /v1/rules/{rule.id}/permissions", []), 403)


def test_an_invitation_is_taken_once_and_not_guessed(client: httpx.Client, tenant: Tenant) -> None:
    owner = Attacker(client, tenant, tenant.owner)
    made = owner("POST /users/invite/v2", {"email": f"kim@{tenant.tag}.test"}).json()
    token = made["invitation_link"].partition("token=")[2]
    accept = "POST /v1/invitations/accept"
    for wrong in ("x", "gbi_" + "0" * 64, token[:-1], token + "0", token.upper(), "%" * 50, "/" + made["id"]):
        error_of(owner(accept, {"token": wrong}), 404, "RESOURCE_NOT_FOUND")
    assert owner(accept, {"token": token}).json()["account_state"] == "active"
    tenant.set_state(made["id"], "deactivated")
    error_of(owner(accept, {"token": token}), 404, "RESOURCE_NOT_FOUND")
    tenant.set_state(made["id"], "active")
    tenant.remove(made["id"])
    error_of(owner(accept, {"token": token}), 404, "RESOURCE_NOT_FOUND")


def test_an_idempotency_key_shows_nobody_anothers_answer(client: httpx.Client, tenant: Tenant) -> None:
    body = {"key_name": "mine", "scopes": ["read"]}
    answers = []
    secrets = [tenant.owner.secret, tenant.key(tenant.owner.user_id), tenant.person().secret]
    for secret in secrets:
        headers = {"X-API-Key": secret, "Idempotency-Key": "guessed"}
        answers.append(client.post(f"{tenant.path}/api-keys", json=body, headers=headers))
    assert len({answer.json()["key"] for answer in answers}) == len(secrets)
    tenant.set_state(answers[2].json()["user_id"], "deactivated")
    headers = {"X-API-Key": secrets[2], "Idempotency-Key": "guessed"}
    error_of(client.post(f"{tenant.path}/api-keys", json=body, headers=headers), 403)


def test_the_past_is_open_to_those_of_the_present_only(mallory: Attacker, tenant: Tenant) -> None:
    ref = tenant.entity()
    tenant.grant(ref, "read", tenant.user())
    before = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    about = {"entity_type": ref.type, "entity_id": ref.id, "access_level": "read", "as_of": before}
    for user_id in (tenant.owner.user_id, "usr_" + "0" * 32):
        refused = mallory("POST /access/explain", {"user_id": user_id, **about})
        assert refused.status_code in {403, 404}
    answer = mallory("POST /access/check", {"user_id": mallory.user_id, **about})
    assert answer.status_code == 404 or not answer.json()["allowed"]


def test_tokens_and_cursors_of_others_open_nothing(elsewhere: Attacker, tenant: Tenant, mallory: Attacker) -> None:
    hidden = [tenant.entity() for _ in range(3)]
    owner_page = Attacker(elsewhere._client, tenant, tenant.owner)("GET /knowledge/slices", limit="1").json()
    for attacker in (elsewhere, mallory):
        shown = attacker("GET /knowledge/slices", cursor=owner_page["next_cursor"])
        assert not [ref for ref in hidden if ref.id in shown.text]
    token = f"{tenant.organization_id}.1"
    headers = {**elsewhere._headers, "Grantbook-At-Least": token}
    error_of(elsewhere._client.get(f"{elsewhere._path}/knowledge/slices", headers=headers), 422, "VALIDATION_ERROR")


def test_a_log_of_ones_own_slice_does_not_name_what_one_may_not_see(client: httpx.Client, tenant: Tenant) -> None:
    mallory, owner = with_capabilities(client, tenant, "create_knowledge"), Attacker(client, tenant, tenant.owner)
    body = {"name": "Mine", "owner_type": "user", "owner_id": mallory.user_id}
    mine = mallory("POST /knowledge/slices", body).json()["id"]
    hidden = owner("POST /knowledge/composites", {"name": "Project Falcon", "member_slice_ids": [mine]})
    store = owner(f"POST /knowledge/slices/{mine}/stores", {"name": "Plain", "access_mode": "private"}).json()["id"]
    moved = owner(f"PATCH /knowledge/stores/{store}", {"slice_ids": [], "name": "Merger with Falcon"})
    assert (hidden.status_code, moved.status_code) == (201, 200)
    address = f"GET /knowledge/slices/{mine}/audit-log"
    told, all_told = mallory(address), owner(address)
    assert told.json()["total"] == all_told.json()["total"] == 4
    assert "Falcon" not in told.text
    assert all_told.text.count("Falcon") == 3
    assert {entry["entity_name"] for entry in told.json()["items"]} >= {"Mine", None}


def test_why_others_have_grants_is_told_to_those_who_give_them(client: httpx.Client, tenant: Tenant) -> None:
    mallory, owner = Attacker(client, tenant, tenant.person()), Attacker(client, tenant, tenant.owner)
    for ref, path in ((tenant.entity(), "knowledge/slices"), (tenant.entity("assistant"), "assistants")):
        tenant.grant(ref, "read", tenant.user(), reason="under investigation")
        tenant.grant(ref, "read", mallory.user_id, reason="on call")
        reasons = [
            [grant["reason"] for grant in who(f"GET /{path}/{ref.id}/grants").json()["items"]]
            for who in (owner, mallory)
        ]
        assert reasons == [["under investigation", "on call"], [None, "on call"]]


def test_a_store_does_not_inherit_what_its_owner_may_not_see(client: httpx.Client, tenant: Tenant) -> None:
    mallory, owner = with_capabilities(client, tenant, "create_knowledge"), Attacker(client, tenant, tenant.owner)
    secret = tenant.entity(access_mode="private")
    store = mallory("POST /knowledge/stores", {"name": "Mine", "access_mode": "private"}).json()["id"]
    assert owner(f"PATCH /knowledge/stores/{store}", {"slice_ids": [secret.id]}).status_code == 200
    change = {"slice_ids": [secret.id], "access_mode": "inherit"}
    error_of(mallory(f"PATCH /knowledge/stores/{store}", change), 403, DENIED)
    tenant.grant(secret, "read", mallory.user_id)
    assert mallory(f"PATCH /knowledge/stores/{store}", change).status_code == 200


def test_a_rule_that_everyone_may_view_does_not_tell_strangers_who_else_may(
    client: httpx.Client, tenant: Tenant, stranger: Tenant
) -> None:
    rule, role = tenant.entity("rule"), tenant.role()
    tenant.permit(rule, "view", "all", "*")
    tenant.permit(rule, "use", "role", role)
    tenant.permit(rule, "modify", "user", tenant.user())
    member, outsider = Attacker(client, tenant, tenant.person()), Attacker(client, stranger, stranger.owner)
    address = f"GET /v1/rules/{rule.id}/permissions"
    assert [len(who(address).json()["grants"]) for who in (member, outsider)] == [3, 1]
    assert len(outsider(f"GET /v1/rules/{rule.id}/access").json()["access_rights"]) <= 1
    tenant.permit(rule, "use", "user", outsider.user_id)
    assert [grant["target_type"] for grant in outsider(address).json()["grants"]] == ["all", "user"]
    tenant.permit(rule, "modify", "user", outsider.user_id)
    assert len(outsider(address).json()["grants"]) == 4
