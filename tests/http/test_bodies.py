"""Bodies that are broken, odd, hostile or too large: always the envelope, never a 500, and nothing changes."""

import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import httpx
import pytest

from grantbook.model.limits import MAX_BATCH_BODY_BYTES, MAX_BODY_BYTES
from tests.http.calls import OPENAPI, WITH_BODY, Call, Scene, leaves
from tests.http.envelope import error_of
from tests.serving import Server

every_body = pytest.mark.parametrize("call", WITH_BODY.values(), ids=WITH_BODY)
OPTIONAL = {name: call for name, call in WITH_BODY.items() if not call.schema["requestBody"].get("required")}
MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def scene(server: Server) -> Scene:
    return Scene(server.desk)


@pytest.fixture(scope="module")
def secret(scene: Scene) -> str:
    return scene.tenant.owner.secret


@pytest.fixture(autouse=True)
def _nothing_changes(scene: Scene) -> Iterator[None]:
    before = scene.tenant.revision
    yield
    assert scene.tenant.revision == before


@every_body
def test_broken_json_is_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    for broken in (b"{", b"{'a': 1}", b'{"a": }', b"nope", b'"', b"[1, 2", b'{"a": 1} x', b"\x00"):
        answer = call.request(scene).send_content(client, secret, broken)
        assert error_of(answer, 400, "INVALID_JSON")["details"] == {}


@every_body
def test_broken_utf8_is_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    for broken in (b"\xff\xfe{}", b'{"name": "\xc3\x28"}', b'"\x80"'):
        error_of(call.request(scene).send_content(client, secret, broken), 400, "INVALID_JSON")


@every_body
def test_json_that_is_too_deep_is_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    for deep in (b"[" * 500_000, b'{"a":' * 100_000):
        error = error_of(call.request(scene).send_content(client, secret, deep), 400, "INVALID_JSON")
        assert "nested too deeply" in error["system_message"]


def test_what_is_wrong_with_json_is_told(scene: Scene, secret: str, client: httpx.Client) -> None:
    request = WITH_BODY["POST /v1/organizations/{organization_id}/access/grants"].request(scene)
    for broken, told in (
        (b'{"a": 1,, "b": 2}', "Invalid JSON at character 8: "),
        (b'{"a": ' + b"9" * 5_000 + b"}", "A number in the JSON of the body has too many digits"),
        (b'{"a": "\xff"}', "The body could not be read as JSON in UTF-8"),
    ):
        error = error_of(request.send_content(client, secret, broken), 400, "INVALID_JSON")
        assert error["system_message"].startswith(told)


@every_body
def test_an_empty_body_is_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    for empty in (b"null",) if call.operation in OPTIONAL else (b"", b"null"):
        error = error_of(call.request(scene).send_content(client, secret, empty), 422, "VALIDATION_ERROR")
        assert error["details"]["field"] == "body"


@pytest.mark.parametrize("call", OPTIONAL.values(), ids=OPTIONAL)
def test_no_body_is_as_good_as_an_empty_object_where_nothing_is_required(
    call: Call, server: Server, client: httpx.Client
) -> None:
    def send(content: bytes | None) -> httpx.Response:
        fresh = Scene(server.desk)
        request, secret = call.request(fresh), fresh.tenant.owner.secret
        request.body = None
        return request.send(client, secret) if content is None else request.send_content(client, secret, content)

    assert [send(content).status_code for content in (None, b"", b"{}")] == [call.status] * 3


def test_every_post_of_which_nothing_is_required_takes_no_body() -> None:
    """But for a move: to leave out where to is to say the top, and nobody shall say that by forgetting the body."""
    posts = {name: call.schema["requestBody"] for name, call in WITH_BODY.items() if call.method == "POST"}
    free = {
        name for name, body in posts.items() if not _required(body["content"]["application/json"]["schema"]["$ref"])
    }
    assert free - set(OPTIONAL) == {"POST /v1/organizations/{organization_id}/departments/{department_id}/reparent"}


@every_body
def test_another_kind_of_value_is_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    for odd in (b"3", b'"text"', b"true", b"[[]]", b"[3]"):
        error_of(call.request(scene).send_content(client, secret, odd), 422, "VALIDATION_ERROR")


@every_body
def test_another_content_type_is_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    request = call.request(scene)
    for odd in ("text/plain", "application/x-www-form-urlencoded", "application/xml", ""):
        error = error_of(
            request.send_content(client, secret, json.dumps(request.body), Content_Type=odd), 422, "VALIDATION_ERROR"
        )
        assert error["details"]["field"] == "body"
        assert "application/json" in error["details"]["message"]


def named(*place: Any) -> str:
    """How an error calls a field: what is in a body that is a list has no name but its place."""
    return ".".join(str(step) for step in (("body", *place) if isinstance(place[0], int) else place))


@every_body
def test_unknown_fields_are_refused_at_every_depth(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    request = call.request(scene)
    for holder in [(), *{place[:-1] for place, _ in leaves(request.body)}]:
        inner = request.value_at(("body", *holder))
        if not isinstance(inner, dict):
            continue
        answer = request.with_value(("body", *holder, "surprise"), 1).send(client, secret)
        details = error_of(answer, 422, "VALIDATION_ERROR")["details"]
        assert details["field"] == named(*holder, "surprise")
        assert details["message"] == f"{details['field']} is not a known field"


@every_body
def test_a_value_of_another_type_is_refused_and_its_field_named(
    call: Call, scene: Scene, secret: str, client: httpx.Client
) -> None:
    request = call.request(scene)
    others: tuple[Any, ...] = (3, {}, [], True)
    for place, value in leaves(request.body):
        for odd in others:
            if type(odd) is type(value):
                continue
            details = error_of(request.with_value(("body", *place), odd).send(client, secret), 422)["details"]
            assert details["field"].startswith(named(*place))


@every_body
def test_each_required_field_is_missed_by_name(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    request = call.request(scene)
    schema = call.schema["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" not in schema:
        return
    for name in _required(schema["$ref"]):
        body = {other: value for other, value in request.body.items() if other != name}
        details = error_of(request.send_content(client, secret, json.dumps(body)), 422)["details"]
        assert details["field"] == name
        assert details["message"] == f"{name} is required"


@every_body
def test_odd_field_names_are_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    request = call.request(scene)
    for odd in ("\ud800", "\x00", "", "x" * 10_000, "__proto__", "a.b"):
        body: Any = {**(request.body if isinstance(request.body, dict) else {}), odd: 1}
        error_of(request.send_content(client, secret, json.dumps(body)), 422, "VALIDATION_ERROR")


@every_body
def test_a_body_over_the_bound_is_refused(call: Call, scene: Scene, secret: str, client: httpx.Client) -> None:
    announced = b" " * (10 * MEGABYTE)
    answer = call.request(scene).send_content(client, secret, announced)
    maximum = MAX_BATCH_BODY_BYTES if call.template.endswith("/check/batch") else MAX_BODY_BYTES
    assert error_of(answer, 413, "PAYLOAD_TOO_LARGE")["details"] == {"limit_bytes": maximum}


@every_body
def test_a_body_over_the_bound_is_refused_in_chunks_too(
    call: Call, scene: Scene, secret: str, client: httpx.Client
) -> None:
    chunks = (b" " * MEGABYTE for _ in range(10))
    error_of(call.request(scene).send_content(client, secret, chunks), 413, "PAYLOAD_TOO_LARGE")


def test_a_body_of_just_the_bound_is_read(scene: Scene, secret: str, client: httpx.Client) -> None:
    request = WITH_BODY["POST /v1/organizations/{organization_id}/access/check"].request(scene)
    content = json.dumps(request.body).encode()
    full = content + b" " * (MAX_BODY_BYTES - len(content))
    assert request.send_content(client, secret, full).status_code == 200
    assert request.send_content(client, secret, iter([full[:9], full[9:]])).status_code == 200
    error_of(request.send_content(client, secret, full + b" "), 413)
    error_of(request.send_content(client, secret, iter([full, b" "])), 413)


def test_all_problems_are_listed_and_the_first_one_stands_out(scene: Scene, secret: str, client: httpx.Client) -> None:
    answer = client.post(
        f"{scene.tenant.path}/access/grants",
        headers={"X-API-Key": secret},
        json={"entity_type": 1, "grantee_type": "user", "more": None},
    )
    details = error_of(answer, 422, "VALIDATION_ERROR")["details"]
    assert [problem["field"] for problem in details["errors"]] == [
        "grantee_id", "access_level", "entity_type", "entity_id", "more",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["starts_at", "expires_at"])
@pytest.mark.parametrize(
    "odd",
    [
        "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "2030-01-01T00:00:00", "tomorrow", "", 1e300, -1e300,
        "2030-13-01T00:00:00Z", True, "+275760-09-13T00:00:00Z",
    ],
)  # fmt: skip
def test_odd_times_are_refused(name: str, odd: object, scene: Scene, secret: str, client: httpx.Client) -> None:
    request = WITH_BODY["POST /v1/organizations/{organization_id}/access/grants"].request(scene)
    request.body[name] = odd
    details = error_of(request.send(client, secret), 422, "VALIDATION_ERROR")["details"]
    assert details["field"] == name


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_a_question_about_an_odd_time_is_answered(odd: str, scene: Scene, secret: str, client: httpx.Client) -> None:
    request = WITH_BODY["POST /v1/organizations/{organization_id}/access/check"].request(scene)
    request.body["as_of"] = odd
    answer = request.send(client, secret)
    assert answer.status_code in {200, 404, 422}


def _required(reference: str) -> list[str]:
    schema = OPENAPI["components"]["schemas"][reference.rpartition("/")[2]]
    found: list[str] = schema.get("required", [])
    return found


@pytest.mark.parametrize("call", ["entities/import", "access/check/batch"])
@pytest.mark.parametrize("key", [None, "gb_wrong"])
def test_who_is_not_known_does_not_get_to_send_a_long_body(
    scene: Scene, server: Server, call: str, key: str | None
) -> None:
    """It is answered, and let go, as soon as it is longer than what everybody may send; the rest is never kept."""
    address = httpx.URL(server.url)
    head = f"POST {scene.tenant.path}/{call} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {4 * MEGABYTE}\r\n" + (f"X-API-Key: {key}\r\n" if key else "")
    with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
        connection.sendall(head.encode() + b"\r\n" + b" " * (4 * MEGABYTE))
        assert connection.recv(12) == b"HTTP/1.1 401"
    before = memory_of(server)
    idle = [socket.create_connection((address.host, address.port or 80), timeout=20) for _ in range(20)]
    for connection in idle:
        connection.sendall(head.encode() + b"\r\n" + b" " * (4 * MEGABYTE - 1))
    sleep(1)  # for what the server may have to take in: less is no failure
    assert memory_of(server) - before < 30 * MEGABYTE
    for connection in idle:
        connection.close()


def memory_of(server: Server) -> int:
    """The bytes of memory that the process has in use."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()
