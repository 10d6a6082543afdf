"""Revision tokens: a write gives one, a read that brings it sees at least that write."""

import httpx
import pytest

from tests.http.calls import CALLS, Call, Scene
from tests.http.envelope import error_of
from tests.serving import Server, Tenant

WRITES = {name: call for name, call in CALLS.items() if call.changes}
READS = {name: call for name, call in CALLS.items() if name not in WRITES and name != "GET /v1/rules/platform"}
"""Of a platform's own rules there are none, at any revision."""

QUESTIONS = {name: call for name, call in READS.items() if call.method == "POST" and "/access/" in name}


@pytest.fixture(scope="module")
def scene(server: Server) -> Scene:
    return Scene(server.desk)


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_every_write_tells_its_revision(call: Call, server: Server, client: httpx.Client) -> None:
    scene = Scene(server.desk)
    answer = call.request(scene).send(client, scene.tenant.owner.secret)
    if call.operation == "POST /v1/organizations":
        expected = f"{answer.json()['id']}.1"
    else:
        expected = f"{scene.tenant.organization_id}.{scene.tenant.revision}"
    assert answer.headers["Grantbook-Revision"] == expected


def test_a_write_that_changes_nothing_tells_the_present_revision(scene: Scene, client: httpx.Client) -> None:
    before = scene.tenant.revision
    call = CALLS["POST /v1/organizations/{organization_id}/users/{user_id}/reactivate"]
    answer = call.request(scene).send(client, scene.tenant.owner.secret)
    assert answer.headers["Grantbook-Revision"] == f"{scene.tenant.organization_id}.{before}"
    assert scene.tenant.revision == before


@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_every_read_can_ask_for_a_revision(call: Call, scene: Scene, client: httpx.Client) -> None:
    tenant, request = scene.tenant, call.request(scene)
    secret, present = tenant.owner.secret, tenant.revision
    for reached in (0, 1, present):
        answer = request.send(client, secret, Grantbook_At_Least=f"{tenant.organization_id}.{reached}")
        assert answer.status_code == 200
    future = f"{tenant.organization_id}.{present + 1}"
    error = error_of(request.send(client, secret, Grantbook_At_Least=future), 503, "REVISION_NOT_REACHED")
    assert error["details"] == {"revision": present + 1}


@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_what_is_no_token_of_the_organization_is_refused(
    call: Call, scene: Scene, stranger: Tenant, client: httpx.Client
) -> None:
    odd = ("", "x", "5", ".5", f"{stranger.organization_id}.1", f"{scene.tenant.organization_id}.", "\u0663".encode())
    more = (f"{scene.tenant.organization_id}.-1", f"{scene.tenant.organization_id}.{'9' * 30}")
    for token in (*odd, *more):
        answer = call.request(scene).send(client, scene.tenant.owner.secret, Grantbook_At_Least=token)  # type: ignore[arg-type]
        assert error_of(answer, 422, "VALIDATION_ERROR")["details"]["field"] == "at_least"


@pytest.mark.parametrize("call", QUESTIONS.values(), ids=QUESTIONS)
def test_a_question_can_say_it_in_its_body(call: Call, scene: Scene, client: httpx.Client) -> None:
    tenant, request = scene.tenant, call.request(scene)
    secret = tenant.owner.secret
    present = f"{tenant.organization_id}.{tenant.revision}"
    for consistency in ("full", None, {"at_least": present}):
        request.body["consistency"] = consistency
        assert request.send(client, secret).json()["revision"] == present
    request.body["consistency"] = {"at_least": f"{tenant.organization_id}.{tenant.revision + 1}"}
    error_of(request.send(client, secret), 503, "REVISION_NOT_REACHED")
    for odd in ("eventual", {}, {"at_least": ""}, {"at_least": 5}, {"at_least": present, "more": 1}, 7):
        request.body["consistency"] = odd
        assert error_of(request.send(client, secret), 422)["details"]["field"].startswith("consistency")
    request.body["consistency"] = {"at_least": f"{tenant.organization_id}.x"}
    error_of(request.send(client, secret), 422)


def test_a_read_after_a_write_sees_it(tenant: Tenant, owner: httpx.Client) -> None:
    entity, user = tenant.entity(), tenant.user()
    ref = {"entity_type": entity.type, "entity_id": entity.id}
    grant = {**ref, "grantee_type": "user", "grantee_id": user, "access_level": "read"}
    question = {**ref, "user_id": user, "access_level": "read"}
    for _ in range(5):
        made = owner.post(f"{tenant.path}/access/grants", json=grant)
        seen = {"Grantbook-At-Least": made.headers["Grantbook-Revision"]}
        assert owner.post(f"{tenant.path}/access/check", json=question, headers=seen).json()["allowed"] is True
        gone = owner.delete(f"{tenant.path}/access/grants/{made.json()['id']}")
        seen = {"Grantbook-At-Least": gone.headers["Grantbook-Revision"]}
        assert owner.post(f"{tenant.path}/access/check", json=question, headers=seen).json()["allowed"] is False
