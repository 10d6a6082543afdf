"""Check, batch, explain, and lists from both sides, as a platform uses them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from time import sleep
from typing import Any

import httpx
import pytest

from grantbook.model.ids import new_id
from grantbook.model.instants import to_text
from grantbook.model.limits import MAX_BATCH_CHECKS
from tests.databases import empty_book
from tests.http.calls import unknown
from tests.http.envelope import FIELDS, error_of
from tests.http.inprocess import client_of, desk_at
from tests.serving import Tenant
from tests.worlds import DAY, FakeClock

Json = dict[str, Any]
LEVELS = ("read", "add_new", "overwrite", "write", "admin")


class Office:
    """A user, an entity, and short ways to ask about the two."""

    def __init__(self, tenant: Tenant, client: httpx.Client) -> None:
        self.tenant = tenant
        self.client = client
        self.user = tenant.user()
        self.entity = tenant.entity()

    @property
    def question(self) -> Json:
        return {
            "user_id": self.user,
            "entity_type": self.entity.type,
            "entity_id": self.entity.id,
            "access_level": "read",
        }

    def ask(self, call: str = "check", **changed: Any) -> httpx.Response:
        return self.client.post(f"{self.tenant.path}/access/{call}", json={**self.question, **changed})

    def allowed(self, **changed: Any) -> bool:
        answer = self.ask(**changed)
        assert answer.status_code == 200, answer.text
        allowed: bool = answer.json()["allowed"]
        return allowed

    def explain(self, **changed: Any) -> Json:
        answer: Json = self.ask("explain", **changed).json()
        return answer

    def batch(self, *checks: Json, **more: Any) -> httpx.Response:
        return self.client.post(f"{self.tenant.path}/access/check/batch", json={"checks": list(checks), **more})


@pytest.fixture
def office(tenant: Tenant, owner: httpx.Client) -> Office:
    return Office(tenant, owner)


def now() -> str:
    return datetime.now(UTC).isoformat()


def test_a_grant_allows_its_level_and_those_below(office: Office) -> None:
    assert not office.allowed()
    office.tenant.grant(office.entity, "overwrite", office.user)
    assert [office.allowed(access_level=level) for level in LEVELS] == [True, True, True, False, False]
    answer = office.ask(access_level="admin").json()
    assert answer == {
        "allowed": False,
        "access_level": "overwrite",
        "revision": f"{office.tenant.organization_id}.{office.tenant.revision}",
    }


def test_a_level_that_the_type_does_not_have_is_refused(office: Office) -> None:
    for level in ("view", "READ", "read ", "owner"):
        for call in ("check", "explain"):
            assert error_of(office.ask(call, access_level=level), 422)["details"]["field"] == "access_level"
    rule = office.tenant.entity("rule")
    assert error_of(office.ask(entity_type="rule", entity_id=rule.id), 422)["details"]["field"] == "access_level"
    assert not office.allowed(entity_type="rule", entity_id=rule.id, access_level="view")


def test_a_batch_answers_in_order_and_a_bad_item_for_itself(office: Office) -> None:
    office.tenant.grant(office.entity, "read", office.user)
    bad = {
        "RESOURCE_NOT_FOUND": {**office.question, "user_id": unknown("usr_x")},
        "VALIDATION_ERROR": {**office.question, "access_level": "godlike"},
    }
    answer = office.batch(office.question, bad["VALIDATION_ERROR"], {**office.question, "access_level": "write"},
                          bad["RESOURCE_NOT_FOUND"], office.question)  # fmt: skip
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["allowed"] for result in results] == [True, False, False, False, True]
    assert [result["access_level"] for result in results] == ["read", None, "read", None, "read"]
    errors = {position: result["error"] for position, result in enumerate(results) if "error" in result}
    assert {position: error["code"] for position, error in errors.items()} == {
        1: "VALIDATION_ERROR",
        3: "RESOURCE_NOT_FOUND",
    }
    assert all(set(error) == FIELDS for error in errors.values())
    assert {error["trace_id"] for error in errors.values()} == {answer.headers["X-Request-ID"]}


def test_a_batch_has_1_to_10000_checks(office: Office) -> None:
    assert error_of(office.batch(), 422)["details"]["field"] == "checks"
    user, entity = new_id("usr_", token_bytes), new_id("kslice_", token_bytes)
    longest = {"user_id": user, "entity_type": "knowledge_slice", "entity_id": entity, "access_level": "overwrite"}
    full = office.batch(*[longest] * MAX_BATCH_CHECKS)
    assert [result["error"]["code"] for result in full.json()["results"]] == ["RESOURCE_NOT_FOUND"] * MAX_BATCH_CHECKS
    assert error_of(office.batch(*[longest] * (MAX_BATCH_CHECKS + 1)), 422)["details"]["field"] == "checks"


@pytest.mark.parametrize("odd", ["almost", {}, {"at_least": 3}, {"at_least": ""}, ["full"], 1])
def test_a_consistency_that_is_none_is_named_so(office: Office, odd: Any) -> None:
    answer = office.client.post(f"{office.tenant.path}/access/check", json={**office.question, "consistency": odd})
    details = error_of(answer, 422)["details"]
    assert (details["field"], details["message"]) == (
        "consistency",
        'consistency: must be "full" or {"at_least": TOKEN}',
    )


def test_a_malformed_check_spoils_the_batch(office: Office) -> None:
    """What is no question at all is an error of the request, named by its place."""
    answer = office.batch(office.question, {**office.question, "entity_id": 7})
    assert error_of(answer, 422)["details"]["field"] == "checks.1.entity_id"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def timed(tmp_path: Path, clock: FakeClock) -> Iterator[Office]:
    """An office whose time stands still."""
    with desk_at(empty_book(tmp_path, "memory"), clock) as desk, client_of(desk) as client:
        tenant = Tenant.found(desk)
        client.headers["X-API-Key"] = tenant.owner.secret
        yield Office(tenant, client)


def test_the_past_is_answered_as_it_was(timed: Office, clock: FakeClock) -> None:
    before = to_text(clock())
    granted = to_text(clock.advance(DAY))
    (grant,) = timed.tenant.grant(timed.entity, "write", timed.user)
    revoked = to_text(clock.advance(DAY))
    timed.client.delete(f"{timed.tenant.path}/access/grants/{grant.id}")
    clock.advance(DAY)
    assert not timed.allowed()
    assert not timed.allowed(as_of=before)
    assert timed.allowed(as_of=granted)
    assert timed.allowed(as_of=to_text(clock() - 2 * DAY + 1))
    assert not timed.allowed(as_of=revoked)
    explained = timed.explain(as_of=granted, access_level="write")
    assert [path["grant_id"] for path in explained["grant_paths"]] == [grant.id]
    result, _ = timed.batch(timed.question, timed.question, as_of=granted).json()["results"]
    assert result == {"allowed": True, "access_level": "write"}
    assert timed.ask(as_of=to_text(clock())).json() == timed.ask().json()


def test_a_grant_counts_from_its_start_until_just_before_its_end(timed: Office, clock: FakeClock) -> None:
    start, end = clock() + DAY, clock() + 2 * DAY
    ref = {"entity_type": timed.entity.type, "entity_id": timed.entity.id}
    window = {"starts_at": to_text(start), "expires_at": to_text(end)}
    made = timed.client.post(
        f"{timed.tenant.path}/access/grants",
        json={**ref, "grantee_type": "user", "grantee_id": timed.user, "access_level": "read", **window},
    )
    assert {name: made.json()[name] for name in window} == window
    expected = {start - 1: False, start: True, end - 1: True, end: False}
    assert {at: timed.allowed(as_of=to_text(at)) for at in expected} == expected
    for at, allowed in expected.items():
        clock.now = at
        assert timed.allowed() == allowed


def test_before_there_was_anything_nothing_is_found(office: Office) -> None:
    error_of(office.ask(as_of="1999-12-31T23:59:59Z"), 404, "RESOURCE_NOT_FOUND")


def test_the_past_is_asked_with_the_rights_of_the_present(office: Office, client: httpx.Client) -> None:
    admin = office.tenant.person(office.tenant.base_role())
    then = now()
    headers = {"X-API-Key": admin.secret}
    question = {**office.question, "as_of": then}
    address = f"{office.tenant.path}/access/check"
    assert client.post(address, headers=headers, json=question).status_code == 200
    member = office.tenant.base_role("Member")
    office.client.patch(
        f"{office.tenant.path}/users/{admin.user_id}/memberships", json={"role_ids": [member], "department_ids": []}
    )
    error_of(client.post(address, headers=headers, json=question), 403)


def test_a_window_opens_and_closes(office: Office) -> None:
    office.tenant.grant(office.entity, "read", office.user, starts_at=office.tenant.desk.clock() + 3_600_000_000)
    assert not office.allowed()
    assert office.allowed(as_of="2999-01-01T00:00:00Z")
    (remedy,) = office.explain()["remedies"]
    assert remedy["action"] == "start_grant_earlier"


def test_an_explanation_has_every_path(office: Office) -> None:
    tenant = office.tenant
    department = tenant.department(tenant.department(), office.user)
    role = tenant.role(to=office.user)
    composite = tenant.entity()
    inside = tenant.entity("vector_store", containers=(office.entity,))
    with_client = office.client.put(
        f"{tenant.path}/entities/{office.entity.type}/{office.entity.id}",
        json={
            "name": "Inner",
            "owner_type": "user",
            "owner_id": office.user,
            "containers": [{"entity_type": composite.type, "entity_id": composite.id}],
        },
    )
    assert with_client.status_code == 200
    (direct,) = tenant.grant(inside, "read", office.user)
    (by_department,) = tenant.grant(office.entity, "write", department, grantee_type="department")
    (by_role,) = tenant.grant(composite, "add_new", role, grantee_type="role")
    (by_organization,) = tenant.grant(inside, "overwrite", tenant.organization_id, grantee_type="organization")
    answer = office.explain(entity_type=inside.type, entity_id=inside.id, access_level="admin")
    paths = {path["type"]: path for path in answer["grant_paths"]}
    assert (answer["allowed"], answer["access_level"]) == (False, "write")
    assert [path["access_level"] for path in answer["grant_paths"]] == ["write", "overwrite", "add_new", "read"]
    assert paths["direct"] == {
        "type": "direct",
        "access_level": "read",
        "grant_id": direct.id,
        "source_id": office.user,
        "source_name": f"{office.user}@{tenant.tag}.test",
    }
    assert paths["department"]["department_id"] == department
    assert paths["department"]["slice_id"] == office.entity.id
    assert paths["department"]["grant_id"] == by_department.id
    assert (paths["role"]["role_id"], paths["role"]["grant_id"]) == (role, by_role.id)
    assert (paths["role"]["composite_id"], paths["role"]["slice_id"]) == (composite.id, office.entity.id)
    assert paths["organization"]["organization_id"] == tenant.organization_id
    assert paths["organization"]["grant_id"] == by_organization.id


def test_ownership_and_roles_that_override_are_paths(office: Office) -> None:
    boss = office.tenant.user(office.tenant.base_role())
    explained = office.explain(user_id=boss, access_level="admin")
    assert [path["type"] for path in explained["grant_paths"]] == ["capability"]
    explained = office.explain(user_id=office.tenant.owner.user_id, access_level="admin")
    assert {path["type"] for path in explained["grant_paths"]} == {"owner", "capability"}
    assert "remedies" not in explained


def test_a_denial_names_what_would_allow_it_and_that_does(office: Office) -> None:
    (remedy,) = office.explain(access_level="write")["remedies"]
    assert remedy.pop("action") == "create_grant"
    assert office.client.post(f"{office.tenant.path}/access/grants", json=remedy).status_code == 201
    assert office.allowed(access_level="write")
    (remedy,) = office.explain(access_level="admin")["remedies"]
    assert remedy["action"] == "raise_grant"
    address = f"{office.tenant.path}/access/grants/{remedy['grant_id']}"
    office.client.patch(address, json={"access_level": remedy["access_level"]})
    assert office.allowed(access_level="admin")
    office.tenant.set_state(office.user, "deactivated")
    (remedy,) = office.explain()["remedies"]
    assert (remedy["action"], remedy["account_state"]) == ("reactivate_user", "deactivated")
    office.client.post(f"{office.tenant.path}/users/{remedy['user_id']}/reactivate")
    assert office.allowed()
    office.client.post(f"{office.tenant.path}/knowledge/slices/{office.entity.id}/archive")
    (remedy,) = office.explain()["remedies"]
    assert remedy["action"] == "unarchive_entity"
    office.client.post(f"{office.tenant.path}/knowledge/slices/{remedy['entity_id']}/unarchive")
    assert office.allowed()


def test_lists_from_both_sides(office: Office) -> None:
    tenant = office.tenant
    tenant.grant(office.entity, "write", office.user)
    open_store = tenant.entity("vector_store", mode="organization")
    mine = f"{tenant.path}/access/entities"
    listed = office.client.get(mine, params={"user_id": office.user}).json()
    assert listed["complete"] is True
    assert {(item["entity_id"], item["access_level"]) for item in listed["items"]} == {
        (office.entity.id, "write"),
        (open_store.id, "read"),
    }
    narrowed = office.client.get(mine, params={"user_id": office.user, "access_level": "overwrite"}).json()
    assert [item["entity_id"] for item in narrowed["items"]] == [office.entity.id]
    stores = office.client.get(mine, params={"user_id": office.user, "entity_type": "vector_store"}).json()
    assert [item["entity_id"] for item in stores["items"]] == [open_store.id]
    ref = {"entity_type": office.entity.type, "entity_id": office.entity.id}
    people = office.client.get(f"{tenant.path}/access/users", params=ref).json()
    assert {(item["user_id"], item["access_level"]) for item in people["items"]} == {
        (office.user, "write"),
        (tenant.owner.user_id, "admin"),
    }
    admins = office.client.get(f"{tenant.path}/access/users", params={**ref, "access_level": "admin"}).json()
    assert [item["user_id"] for item in admins["items"]] == [tenant.owner.user_id]


def test_filters_that_make_no_sense_are_refused(office: Office) -> None:
    tenant = office.tenant
    for name, odd in (("entity_type", "planet"), ("access_level", "view")):
        query = {"user_id": office.user, "entity_type": "knowledge_slice", name: odd}
        answer = office.client.get(f"{tenant.path}/access/entities", params=query)
        assert error_of(answer, 422)["details"]["field"] == name
        query = {"entity_type": "knowledge_slice", "entity_id": office.entity.id, name: odd}
        answer = office.client.get(f"{tenant.path}/access/users", params=query)
        assert error_of(answer, 422)["details"]["field"] == name
    for missing in ("/access/entities", "/access/users", "/access/users-with-access"):
        error_of(office.client.get(f"{tenant.path}{missing}"), 422)


def test_a_plain_member_may_ask_about_themself_only(office: Office, client: httpx.Client) -> None:
    person = office.tenant.person()
    headers = {"X-API-Key": person.secret}
    address = f"{office.tenant.path}/access"
    own = {**office.question, "user_id": person.user_id}
    assert client.post(f"{address}/check", headers=headers, json=own).json()["allowed"] is False
    for call in ("check", "explain"):
        answer = client.post(f"{address}/{call}", headers=headers, json=office.question)
        assert error_of(answer, 403)["details"] == {"user_id": office.user}
    mixed = client.post(f"{address}/check/batch", headers=headers, json={"checks": [own, office.question]})
    first, second = mixed.json()["results"]
    assert "error" not in first
    assert (second["allowed"], second["error"]["code"]) == (False, "INSUFFICIENT_PERMISSIONS")
    ref = {"entity_type": office.entity.type, "entity_id": office.entity.id}
    error_of(client.get(f"{address}/users", headers=headers, params=ref), 403)
    error_of(client.get(f"{address}/entities", headers=headers, params={"user_id": office.user}), 403)
    mine = client.get(f"{address}/entities", headers=headers, params={"user_id": person.user_id})
    assert mine.json()["items"] == []


def test_who_shares_an_entity_may_see_who_reaches_it(office: Office, client: httpx.Client) -> None:
    person = office.tenant.person()
    office.tenant.grant(office.entity, "admin", person.user_id)
    ref = {"entity_type": office.entity.type, "entity_id": office.entity.id}
    headers = {"X-API-Key": person.secret}
    listed = client.get(f"{office.tenant.path}/access/users", headers=headers, params=ref)
    assert person.user_id in {item["user_id"] for item in listed.json()["items"]}


@pytest.mark.parametrize("time", [2031, "20310101", "2031", "2030-01-01", "2030-01-01T00:00:00", "tomorrow", "", True])
def test_a_time_that_is_not_written_as_one_is_refused_and_not_guessed(office: Office, time: object) -> None:
    body = {**office.question, "grantee_type": "user", "grantee_id": office.user, "starts_at": time}
    del body["user_id"]
    answer = office.client.post(f"{office.tenant.path}/access/grants", json=body)
    error = error_of(answer, 422)
    assert error["details"]["field"] == "starts_at"
    assert "2026-04-15T10:00:00Z" in error["details"]["message"]
    assert not office.allowed()


def test_a_window_is_changed_by_what_is_sent_of_it(office: Office) -> None:
    grants = f"{office.tenant.path}/access/grants"
    body = {**office.question, "grantee_type": "user", "grantee_id": office.user}
    del body["user_id"]
    window = {"starts_at": "2098-01-01T00:00:00Z", "expires_at": "9999-12-31T23:59:59Z"}
    made = office.client.post(grants, json={**body, **window}).json()
    changed = office.client.patch(f"{grants}/{made['id']}", json={"starts_at": None}).json()
    assert (changed["starts_at"], changed["expires_at"]) == (None, window["expires_at"])
    assert office.allowed()
    log = office.client.get(f"{office.tenant.path}/audit-log", params={"target_id": office.user}).json()["items"]
    assert log[0]["metadata"]["expires_at"] == window["expires_at"]
    assert "starts_at" not in log[0]["metadata"]
    error = error_of(office.client.patch(f"{grants}/{made['id']}", json={}), 422)
    assert error["details"]["field"] == "access_level"


def test_lists_of_the_past_are_those_of_then_and_an_unknown_parameter_is_no_list(office: Office) -> None:
    access = f"{office.tenant.path}/access"
    of = {"entity_type": office.entity.type, "entity_id": office.entity.id}
    before = datetime.now(UTC).isoformat()
    sleep(0.01)  # times of revisions are whole milliseconds
    office.tenant.grant(office.entity, "read", office.user)
    for name, params, shown in (
        ("entities", {"user_id": office.user}, office.entity.id),
        ("users", of, office.user),
    ):
        assert shown in office.client.get(f"{access}/{name}", params=params).text
        then = office.client.get(f"{access}/{name}", params={**params, "as_of": before})
        assert then.status_code == 200, then.text
        assert shown not in [item.get("entity_id") or item["user_id"] for item in then.json()["items"]]
        error = error_of(office.client.get(f"{access}/{name}", params={**params, "level": "write"}), 422)
        assert error["details"]["field"] == "level"
