"""Imports over HTTP: JSON Lines, all or none, with the problems of each line."""

import json
from typing import Any, Final

import httpx
import pytest

from grantbook.model.limits import MAX_BODY_BYTES, MAX_IMPORT_BODY_BYTES
from tests.http.envelope import FIELDS, error_of
from tests.serving import Tenant

LINES: Final = {"Content-Type": "application/x-ndjson"}
ROUTES: Final = ("/access/grants/import", "/entities/import")


def send(client: httpx.Client, tenant: Tenant, route: str, *lines: Any, **headers: str) -> httpx.Response:
    """The lines, those that are no bytes as JSON."""
    content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    sent = LINES | {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(tenant.path + route, content=content, headers=sent)


def lines_refused(answer: httpx.Response) -> list[tuple[int, str]]:
    """Lines and fields of the problems, after a look at what such an error tells."""
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert set(error) == FIELDS
    assert (error["code"], error["type"]) == ("INVALID_LINES", "client_error")
    problems = error["details"].pop("errors")
    assert error["details"] == problems[0]
    assert all(set(problem) == {"line", "field", "message"} for problem in problems)
    return [(problem["line"], problem["field"]) for problem in problems]


def grant(tenant: Tenant, entity_id: str, grantee_id: str, level: str = "read") -> dict[str, str]:
    return {
        "entity_type": "knowledge_slice",
        "entity_id": entity_id,
        "grantee_type": "user",
        "grantee_id": grantee_id,
        "access_level": level,
    }


def thing(tenant: Tenant, entity_id: str, **values: Any) -> dict[str, Any]:
    known = {"entity_type": "assistant", "entity_id": entity_id, "name": "Clerk", "owner_type": "user"}
    return {**known, "owner_id": tenant.owner.user_id, **values}


def test_grants_are_imported(owner: httpx.Client, tenant: Tenant) -> None:
    entity, users = tenant.entity(), [tenant.user() for _ in range(3)]
    until = {"expires_at": "2100-01-01T00:00:00Z", "reason": "the project"}
    lines = [grant(tenant, entity.id, users[0]), {**grant(tenant, entity.id, users[1], "write"), **until}]
    before = tenant.revision
    answer = send(owner, tenant, ROUTES[0], *lines)
    assert (answer.status_code, answer.json()) == (
        200,
        {"imported": 2, "created": 2, "updated": 0, "unchanged": 0},
    )
    assert answer.headers["Grantbook-Revision"] == f"{tenant.organization_id}.{before + 1}"
    assert {(made.grantee_id, made.access_level, made.reason) for made in tenant.grants()} == {
        (users[0], "read", None),
        (users[1], "write", "the project"),
    }
    again = send(owner, tenant, ROUTES[0], *lines, grant(tenant, entity.id, users[2]), b"")
    assert again.json() == {"imported": 3, "created": 1, "updated": 0, "unchanged": 2}


def test_entities_are_imported(owner: httpx.Client, tenant: Tenant) -> None:
    outer, inner, clerk = tenant.new_id("kslice_"), tenant.new_id("vs_"), tenant.new_id("asst_")
    lines = [
        thing(
            tenant,
            inner,
            entity_type="vector_store",
            containers=[{"entity_type": "knowledge_slice", "entity_id": outer}],
        ),
        thing(tenant, outer, entity_type="knowledge_slice", access_mode="private", access_target_ids=[tenant.user()]),
        thing(tenant, clerk),
    ]
    assert send(owner, tenant, ROUTES[1], *lines).json() == {
        "imported": 3,
        "created": 3,
        "updated": 0,
        "unchanged": 0,
    }
    stored = owner.get(f"{tenant.path}/entities/vector_store/{inner}").json()
    assert stored["containers"] == [{"entity_type": "knowledge_slice", "entity_id": outer}]
    lines[2]["name"] = "Other"
    assert send(owner, tenant, ROUTES[1], *lines).json() == {
        "imported": 3,
        "created": 0,
        "updated": 1,
        "unchanged": 2,
    }


def test_ten_thousand_lines_are_imported_at_once_and_no_more(owner: httpx.Client, tenant: Tenant) -> None:
    lines = [thing(tenant, f"asst_{tenant.tag}-{number}") for number in range(10_000)]
    assert send(owner, tenant, ROUTES[1], *lines).json()["created"] == 10_000
    user = tenant.user()
    grants = [{**grant(tenant, line["entity_id"], user), "entity_type": "assistant"} for line in lines]
    assert send(owner, tenant, ROUTES[0], *grants).json()["created"] == 10_000
    revision = tenant.revision
    error = error_of(send(owner, tenant, ROUTES[0], *grants, grants[0]), 422, "LIMIT_EXCEEDED")
    assert error["details"] == {"limit": "import_lines", "maximum": 10_000}
    assert tenant.revision == revision


def test_every_wrong_line_is_told_and_nothing_is_done(owner: httpx.Client, tenant: Tenant) -> None:
    entity, user = tenant.entity(), tenant.user()
    good = grant(tenant, entity.id, user)
    revision = tenant.revision
    shapes = send(
        owner,
        tenant,
        ROUTES[0],
        good,
        b"{",
        {**good, "more": 1},
        b"",
        {name: value for name, value in good.items() if name != "grantee_id"},
        b"[]",
        {**good, "access_level": ""},
        b"\xff",
        good,
    )
    assert lines_refused(shapes) == [
        (2, "line"),
        (3, "more"),
        (4, "line"),
        (5, "grantee_id"),
        (6, "body"),
        (7, "access_level"),
        (8, "line"),
    ]
    meaning = send(owner, tenant, ROUTES[0], good, {**good, "access_level": "view"}, good)
    assert lines_refused(meaning) == [(2, "access_level"), (2, "grantee_id"), (3, "grantee_id")]
    existence = send(owner, tenant, ROUTES[0], good, grant(tenant, "kslice_none", user))
    assert lines_refused(existence) == [(2, "entity_id")]
    assert tenant.revision == revision


def test_ids_of_another_organization_answer_as_unknown_ones(
    owner: httpx.Client, tenant: Tenant, stranger: Tenant
) -> None:
    entity, user = tenant.entity(), tenant.user()
    theirs = [grant(tenant, stranger.entity().id, user), grant(tenant, entity.id, stranger.user())]
    unknown = [grant(tenant, "kslice_none", user), grant(tenant, entity.id, "usr_none")]
    answers = [send(owner, tenant, ROUTES[0], *lines) for lines in (theirs, unknown)]
    assert lines_refused(answers[0]) == lines_refused(answers[1]) == [(1, "entity_id"), (2, "grantee_id")]
    for line, never, answer in zip(theirs, unknown, range(2), strict=True):
        texts = [each.json()["error"]["details"]["errors"][answer]["message"] for each in answers]
        named = line["entity_id"], line["grantee_id"]
        assert texts[1] in {texts[0].replace(id_, other) for id_ in named for other in never.values()}


@pytest.mark.parametrize("route", ROUTES)
def test_imports_come_in_lines(owner: httpx.Client, tenant: Tenant, route: str) -> None:
    for headers in ({}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}):
        answer = owner.post(tenant.path + route, content=b"{}", headers=headers)
        assert error_of(answer, 422, "VALIDATION_ERROR")["details"]["field"] == "body"
    for empty in (b"", b"\n", b" \r\n"):
        answer = owner.post(tenant.path + route, content=empty, headers=LINES)
        assert error_of(answer, 422, "VALIDATION_ERROR")["details"]["field"] == "body"


@pytest.mark.parametrize("route", ROUTES)
def test_imports_may_be_longer_than_other_bodies(owner: httpx.Client, tenant: Tenant, route: str) -> None:
    def padded(size: int) -> bytes:
        return b"{" + b" " * (size - 2) + b"}"

    longer = owner.post(tenant.path + route, content=padded(MAX_IMPORT_BODY_BYTES), headers=LINES)
    assert {line for line, _ in lines_refused(longer)} == {1}
    over = owner.post(tenant.path + route, content=padded(MAX_IMPORT_BODY_BYTES + 1), headers=LINES)
    assert error_of(over, 413, "PAYLOAD_TOO_LARGE")["details"] == {"limit_bytes": MAX_IMPORT_BODY_BYTES}
    elsewhere = owner.post(f"{tenant.path}/access/grants", content=padded(MAX_BODY_BYTES + 1), headers=LINES)
    assert error_of(elsewhere, 413, "PAYLOAD_TOO_LARGE")["details"] == {"limit_bytes": MAX_BODY_BYTES}


@pytest.mark.parametrize("route", ROUTES)
def test_imports_take_a_key_its_scope_and_the_right(
    client: httpx.Client, tenant: Tenant, stranger: Tenant, route: str
) -> None:
    line = thing(tenant, "asst_1") if route == ROUTES[1] else grant(tenant, "kslice_none", "usr_none")

    def refused(secret: str, status: int, code: str) -> dict[str, Any]:
        return error_of(send(client, tenant, route, line, X_API_Key=secret), status, code)

    error_of(send(client, tenant, route, line), 401, "AUTHENTICATION_REQUIRED")
    refused(stranger.owner.secret, 403, "ORGANIZATION_ACCESS_DENIED")
    read_only = tenant.key(tenant.owner.user_id, scopes=("read", "check"))
    assert refused(read_only, 403, "INSUFFICIENT_PERMISSIONS")["details"] == {"scope": "write"}
    clerk = refused(tenant.person().secret, 403, "INSUFFICIENT_PERMISSIONS")
    assert clerk["details"] == {"capability": "manage_access_control"}


def test_a_repeated_import_gets_the_same_answer(owner: httpx.Client, tenant: Tenant) -> None:
    line = grant(tenant, tenant.entity().id, tenant.user())
    first, again = (send(owner, tenant, ROUTES[0], line, Idempotency_Key="again") for _ in range(2))
    assert first.json() == again.json() == {"imported": 1, "created": 1, "updated": 0, "unchanged": 0}
    assert again.headers["Idempotency-Replayed"] == "true"
    other = send(owner, tenant, ROUTES[0], line, line, Idempotency_Key="again")
    error_of(other, 409, "IDEMPOTENCY_KEY_REUSED")
