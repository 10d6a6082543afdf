"""The document describes the server: every operation, every answer, every error."""

from typing import Any

import httpx
import pytest

from tests.http.calls import CALLS, IN_LINES, OPENAPI, UNGUARDED, WITH_BODY, Call, Scene, documented_operations
from tests.http.schemas import problems
from tests.serving import Server

ERROR = {"$ref": "#/components/schemas/ErrorEnvelope"}
every_route = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


def test_every_operation_has_a_call() -> None:
    """So that each of the walks, over errors, keys, scopes, bodies, repetitions and revisions, comes by it."""
    known, documented = {*CALLS, *UNGUARDED, *IN_LINES}, set(documented_operations())
    assert documented - known == set(), "give these a call in tests/http/calls.py"
    assert known - documented == set(), "these are gone: take their calls out of tests/http/calls.py"


@pytest.fixture(scope="module")
def shared(server: Server) -> Scene:
    """For calls that change nothing."""
    return Scene(server.desk)


@every_route
def test_answers_are_as_documented(call: Call, shared: Scene, server: Server, client: httpx.Client) -> None:
    """The second time, something is there already, or gone already: another success, or a documented error."""
    scene = Scene(server.desk) if call.changes else shared
    first, second = (call.request(scene).send(client, scene.tenant.owner.secret) for _ in range(2))
    assert first.status_code == call.status, first.text
    for answer in (first, second):
        documented = call.schema["responses"][str(answer.status_code)].get("content")
        if documented is None:
            assert answer.content == b""
            continue
        content_type = answer.headers["Content-Type"].partition(";")[0]
        assert content_type in documented
        if content_type == "application/json":
            assert list(problems(answer.json(), documented[content_type]["schema"])) == []


@every_route
def test_errors_are_as_documented(call: Call, shared: Scene, client: httpx.Client) -> None:
    assert list(problems(call.request(shared).send(client).json(), ERROR)) == []


@every_route
def test_operations_are_described(call: Call) -> None:
    assert len(call.schema["description"]) > 10
    assert call.schema["summary"]
    assert call.schema["tags"]
    assert {"APIKeyHeader": []} in call.schema["security"]
    assert {"HTTPBearer": []} in call.schema["security"]


@every_route
def test_errors_are_described(call: Call) -> None:
    expected = {401, 403, 404, 422, 503}
    if call.operation in WITH_BODY:
        expected |= {400, 413}
    if call.changes:
        expected |= {409}
    documented = call.schema["responses"]
    assert expected <= {int(status) for status in documented}
    for status in expected:
        assert documented[str(status)]["content"]["application/json"]["schema"] == ERROR
        assert documented[str(status)]["description"]


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for methods in OPENAPI["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_the_document_and_its_page_are_served(client: httpx.Client) -> None:
    served = client.get("/openapi.json")
    assert (served.status_code, served.json()) == (200, OPENAPI)
    page = client.get("/docs")
    assert (page.status_code, "text/html" in page.headers["Content-Type"]) == (200, True)


def test_health_is_as_documented(client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        schema = OPENAPI["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert list(problems(client.get(path).json(), schema)) == []


def test_the_validator_of_these_tests_sees_problems() -> None:
    schema = {"$ref": "#/components/schemas/RuleGrant"}
    good = {
        "id": "grant_1",
        "target_type": "user",
        "target_id": "usr_1",
        "access_level": "use",
        "granted_by": "usr_2",
        "granted_at": "2026-04-15T10:00:00Z",
    }
    assert list(problems(good, schema)) == []
    bad: tuple[Any, ...] = (
        {**good, "more": 1},
        {**good, "id": None},
        {**good, "granted_at": "2026-04-15"},
        {},
        [],
        "x",
        None,
    )
    assert all(list(problems(each, schema)) for each in bad)
