"""The same manners on every route: who may come in, and what is said to whom about ids."""

from collections.abc import Iterator

import httpx
import pytest

from tests.http.calls import CALLS, OF_ORGANIZATION, Call, Request, Scene, unknown
from tests.http.envelope import error_of
from tests.serving import Server, Tenant

every_route = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_route_of_an_organization = pytest.mark.parametrize("call", OF_ORGANIZATION.values(), ids=OF_ORGANIZATION)

TO_ANYBODY = "/v1/rules/"
"""A rule may be granted to users of other organizations, and viewed from there."""

NAMED_TWICE = {
    "PUT /v1/rules/{rule_id}/access/{user_id}": "user_id",
    "GET /v1/assistants": "organization_id",
    "POST /v1/assistants": "organization_id",
}
"""Ids that must be the same in two places, or that say who is asked: the tests of the SDK change them."""


@pytest.fixture(scope="module")
def scenes(server: Server) -> tuple[Scene, Scene]:
    """Ours, and that of another organization. No request of this module succeeds in changing either."""
    return Scene(server.desk), Scene(server.desk)


@pytest.fixture(autouse=True)
def _nothing_changes(scenes: tuple[Scene, Scene]) -> Iterator[None]:
    before = [scene.tenant.revision for scene in scenes]
    yield
    assert [scene.tenant.revision for scene in scenes] == before


@pytest.fixture
def ours(scenes: tuple[Scene, Scene]) -> Scene:
    return scenes[0]


@pytest.fixture
def theirs(scenes: tuple[Scene, Scene]) -> Scene:
    return scenes[1]


@every_route
def test_nobody_comes_in_without_a_key(call: Call, ours: Scene, client: httpx.Client) -> None:
    error_of(call.request(ours).send(client), 401, "AUTHENTICATION_REQUIRED")


@every_route
def test_a_key_that_nobody_has_is_refused(call: Call, ours: Scene, client: httpx.Client) -> None:
    for secret in ("gb_" + "0" * 64, "x", "x" * 5_000, ours.tenant.owner.secret[:-1]):
        error = error_of(call.request(ours).send(client, secret), 401, "INVALID_API_KEY")
        assert secret == "x" or secret not in str(error)


@pytest.fixture(scope="module")
def spent(scenes: tuple[Scene, Scene]) -> dict[str, str]:
    """Secrets of keys of the owner that were good once, by the code of their refusal."""
    tenant = scenes[0].tenant
    expired, secret = tenant.api_key(tenant.owner.user_id)
    tenant.change_key(expired, expires_at=tenant.desk.clock())
    return {
        "API_KEY_EXPIRED": secret,
        "API_KEY_DEACTIVATED": tenant.key(tenant.owner.user_id, is_active=False),
        "API_KEY_PAUSED": tenant.key(tenant.owner.user_id, is_paused=True),
    }


@every_route
def test_a_spent_key_is_refused(call: Call, ours: Scene, client: httpx.Client, spent: dict[str, str]) -> None:
    for code, secret in spent.items():
        error_of(call.request(ours).send(client, secret), 401, code)


@every_route_of_an_organization
def test_a_key_of_another_organization_opens_nothing(
    call: Call, ours: Scene, theirs: Scene, client: httpx.Client
) -> None:
    answer = call.request(theirs).send(client, ours.tenant.owner.secret)
    error = error_of(answer, 403, "ORGANIZATION_ACCESS_DENIED")
    assert error["details"] == {"organization_id": theirs.tenant.organization_id}


@every_route_of_an_organization
def test_an_unknown_organization_answers_as_one_of_others(call: Call, ours: Scene, client: httpx.Client) -> None:
    request = call.request(ours)
    request.ids["organization_id"] = unknown("org_x")
    error_of(request.send(client, ours.tenant.owner.secret), 403, "ORGANIZATION_ACCESS_DENIED")


@every_route
def test_unknown_ids_in_the_path_are_not_found(call: Call, ours: Scene, client: httpx.Client) -> None:
    for name in call.path_ids:
        request = call.request(ours)
        request.ids[name] = unknown(request.ids[name])
        if call.operation.startswith("PUT") and name == "entity_id":
            continue  # it registers the id
        if NAMED_TWICE.get(call.operation) == name:
            continue
        error = error_of(request.send(client, ours.tenant.owner.secret), 404, "RESOURCE_NOT_FOUND")
        assert request.ids[name] in error["details"].values()


@every_route
def test_ids_of_another_organization_in_the_path_answer_as_unknown_ones(
    call: Call, ours: Scene, theirs: Scene, client: httpx.Client
) -> None:
    for name in call.path_ids:
        request = call.request(ours)
        request.ids[name] = theirs.ids[name]
        if call.operation.startswith("PUT") and name == "entity_id":
            continue
        if NAMED_TWICE.get(call.operation) == name:
            continue
        answer = request.send(client, ours.tenant.owner.secret)
        if name == "rule_id" and not call.belongs_to_organization:
            error = error_of(answer, 403, "INSUFFICIENT_PERMISSIONS")
            assert error["details"] == {"rule_id": theirs.rule.id}
        else:
            _answers_alike(answer, _with_unknown(request, name, client, ours), theirs.ids[name])


@every_route
def test_malformed_ids_in_the_path_are_not_found(call: Call, ours: Scene, client: httpx.Client) -> None:
    for name in call.path_ids:
        for odd in ("x", "USR_1", "usr_", "usr_%00", "usr_a%20b", "usr_" + "a" * 65, "%ED%A0%80", "*"):
            request = call.request(ours)
            request.ids[name] = odd
            answer = request.send(client, ours.tenant.owner.secret)
            if name == "entity_id" and call.operation.startswith("PUT "):  # an id of one's own
                assert error_of(answer, 422)["details"]["field"] == "entity_id"
            else:
                error_of(answer, 404)


@every_route
def test_unknown_ids_in_the_body_are_not_found(call: Call, ours: Scene, client: httpx.Client) -> None:
    request = call.request(ours)
    for place in request.places_of(ours.everything):
        if NAMED_TWICE.get(call.operation) == place[-1]:
            continue
        stranger = unknown(request.value_at(place))
        answer = request.with_value(place, stranger).send(client, ours.tenant.owner.secret)
        if call.operation == "GET /v1/organizations/{organization_id}/access/grants":
            assert answer.json()["items"] == []
        elif call.operation.endswith("/check/batch"):
            (result,) = answer.json()["results"]
            assert (result["allowed"], result["error"]["code"]) == (False, "RESOURCE_NOT_FOUND")
        else:
            error = error_of(answer, 404, "RESOURCE_NOT_FOUND")
            assert stranger in error["details"].values()


@every_route
def test_ids_of_another_organization_in_the_body_answer_as_unknown_ones(
    call: Call, ours: Scene, theirs: Scene, client: httpx.Client
) -> None:
    request = call.request(ours)
    for place in request.places_of(ours.everything):
        if NAMED_TWICE.get(call.operation) == place[-1]:
            continue
        foreign = ours.counterpart(theirs, request.value_at(place))
        if foreign.startswith("usr_") and call.template.startswith(TO_ANYBODY):
            continue
        answer = request.with_value(place, foreign).send(client, ours.tenant.owner.secret)
        never = unknown(foreign)
        unknown_answer = request.with_value(place, never).send(client, ours.tenant.owner.secret)
        assert answer.status_code == unknown_answer.status_code
        assert _without_names(answer, foreign) == _without_names(unknown_answer, never)


@every_route
def test_the_request_id_comes_back_if_it_is_sane(call: Call, ours: Scene, client: httpx.Client) -> None:
    sane = "trace:1/a.b-c_d=e+f@g"
    error = error_of(call.request(ours).send(client, X_Request_ID=sane), 401)
    assert error["trace_id"] == sane
    for insane in ("", "a b", "<script>", "x" * 129, "é"):
        answer = call.request(ours).send(client, X_Request_ID=insane.encode("latin-1"))  # type: ignore[arg-type]
        assert error_of(answer, 401)["trace_id"] not in {"", insane}


def test_each_request_without_an_id_gets_a_new_one(client: httpx.Client) -> None:
    ids = {client.get("/healthz").headers["X-Request-ID"] for _ in range(5)}
    assert len(ids) == 5


def test_a_bearer_token_is_as_good_as_the_header_and_the_header_wins(tenant: Tenant, client: httpx.Client) -> None:
    bearer = {"Authorization": f"Bearer {tenant.owner.secret}"}
    assert client.get(tenant.path, headers=bearer).status_code == 200
    assert client.get(tenant.path, headers={"Authorization": f"bearer {tenant.owner.secret}"}).status_code == 200
    error_of(client.get(tenant.path, headers={**bearer, "X-API-Key": "gb_wrong"}), 401, "INVALID_API_KEY")
    good = {"X-API-Key": tenant.owner.secret, "Authorization": "Bearer gb_wrong"}
    assert client.get(tenant.path, headers=good).status_code == 200
    for useless in ("Bearer", "Basic YTpi", tenant.owner.secret):
        error_of(client.get(tenant.path, headers={"Authorization": useless}), 401, "AUTHENTICATION_REQUIRED")


def _with_unknown(request: Request, name: str, client: httpx.Client, ours: Scene) -> httpx.Response:
    request.ids[name] = unknown(request.ids[name])
    return request.send(client, ours.tenant.owner.secret)


def _answers_alike(answer: httpx.Response, of_unknown: httpx.Response, foreign: str) -> None:
    error_of(answer, 404, "RESOURCE_NOT_FOUND")
    assert _without_names(answer, foreign) == _without_names(of_unknown, unknown(foreign))


def _without_names(response: httpx.Response, id_: str) -> object:
    """The body without what differs between any two requests, and without the id."""
    if response.is_success:
        body = {name: value for name, value in response.json().items() if name != "revision"}
        for result in body.get("results", ()):
            result["error"] = _stripped(result["error"], id_)
        return body
    return _stripped(response.json()["error"], id_)


def _stripped(error: dict[str, object], id_: str) -> dict[str, str]:
    kept = {name: value for name, value in error.items() if name not in {"trace_id", "timestamp"}}
    return {name: str(value).replace(id_, "ID") for name, value in kept.items()}
