"""Grants made in front of the application are those that the documented routes make, whoever asks and for whatever."""

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import sleep
from typing import Any

import httpx
import pytest
from fastapi import Response

from grantbook.bootstrap import open_desk
from grantbook.http.app import create_app
from grantbook.http.hot_writes import Writer, WriteRoutes
from grantbook.http.middleware import Scope
from grantbook.model.facts import ApiKey
from grantbook.model.limits import MAX_BODY_BYTES
from grantbook.service.desk import SYSTEM, Desk
from grantbook.store import history
from grantbook.store.memory import MemoryStore
from tests.databases import KINDS, empty_book
from tests.http.envelope import error_of
from tests.http.inprocess import InProcess
from tests.serving import Server, Tenant
from tests.worlds import FakeClock

Json = dict[str, Any]
JSON_TYPE = {"Content-Type": "application/json"}
ROUNDS = 200


@pytest.fixture(params=dict.fromkeys([*KINDS, "postgres"]))
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    opened = open_desk(empty_book(tmp_path, request.param))
    yield opened
    opened.close()


class Twins:
    """Two organizations alike: one written to through the hot routes, one through the documented ones alone."""

    def __init__(self, desk: Desk) -> None:
        self.tenants = [Tenant.found(desk, f"org_{name}", f"usr_{name}-ada") for name in ("hot", "cold")]
        hot, documented = create_app(desk), create_app(desk)
        documented.front = None
        self.clients = [httpx.Client(transport=InProcess(app), base_url="http://twins") for app in (hot, documented)]

    def agree(self, method: str, path: str, secrets: list[str], bodies: Any, **headers: str) -> int:
        """The status of both answers, after a look at whether they are alike."""
        answers = [
            client.request(
                method,
                f"{tenant.path}/access/grants{path}",
                headers={"X-API-Key": secret, **JSON_TYPE, **headers},
                **({"content": body} if isinstance(body, bytes) else {"json": body}),
            )
            for client, tenant, secret, body in zip(self.clients, self.tenants, secrets, bodies, strict=True)
        ]
        hot, documented = (self._told(answer, tenant) for answer, tenant in zip(answers, self.tenants, strict=True))
        assert hot == documented
        assert {name for name in answers[0].headers if name != "date"} == set(answers[1].headers)
        return answers[0].status_code

    def _told(self, answer: httpx.Response, tenant: Tenant) -> Any:
        body = answer.json() if answer.content else {}
        for name in ("trace_id", "timestamp"):
            (body.get("error") or {}).pop(name, None)
        for name in ("id", "created_at", "updated_at"):
            body.pop(name, None)
        (body.get("error", {}).get("details") or {}).pop("grant_id", None)
        text = str(body).replace(tenant.tag, "tag").replace(tenant.organization_id, "org")
        return answer.status_code, text.replace(tenant.owner.user_id, "usr_ada")


@pytest.fixture
def twins(desk: Desk) -> Twins:
    return Twins(desk)


def wire(entity: Any, user_id: str, **more: Any) -> Json:
    grantee = {"grantee_type": "user", "grantee_id": user_id}
    return {"entity_type": entity.type, "entity_id": entity.id, **grantee, "access_level": "read", **more}


def bodies_of(twins: Twins, **more: Any) -> list[Json]:
    """The same grant in both organizations, on a new entity to a new user."""
    return [wire(tenant.entity(), tenant.user(), **more) for tenant in twins.tenants]


async def unreachable(scope: Scope, *_: Any) -> None:
    raise AssertionError(f"{scope['path']} went on to the application")


def test_a_plain_write_of_a_known_caller_never_reaches_the_application(desk: Desk) -> None:
    tenant = Tenant.found(desk)
    body, headers = wire(tenant.entity(), tenant.user()), {"X-API-Key": tenant.owner.secret}
    app = create_app(desk)
    first = httpx.Client(transport=InProcess(app), base_url="http://hot", headers=headers)
    assert first.get(f"{tenant.path}/access/grants").status_code == 200
    client = httpx.Client(
        transport=InProcess(WriteRoutes(app.state, unreachable)), base_url="http://hot", headers=headers
    )
    made = client.post(f"{tenant.path}/access/grants", json=body, headers={"Idempotency-Key": "one"})
    assert made.status_code == 201
    assert client.delete(f"{tenant.path}/access/grants/{made.json()['id']}").status_code == 204
    assert tenant.grants() == []
    changes = [change for change in desk.store.changes(tenant.organization_id) if change.kind == "Grant"]
    assert [change.trace_id for change in changes] == [made.headers["X-Request-ID"], changes[1].trace_id]
    assert {change.actor_id for change in changes} == {tenant.owner.user_id}
    assert all(change.api_key_id for change in changes)


def test_good_and_bad_grants_are_answered_alike(twins: Twins) -> None:
    owners = [tenant.owner.secret for tenant in twins.tenants]
    bodies = bodies_of(twins)
    for status in (201, 200):
        assert twins.agree("POST", "", owners, bodies) == status
    odd: list[Json] = [
        {"access_level": "write"},
        {"access_level": "nonsense"},
        {"entity_type": "rule"},
        {"entity_id": "kslice_none"},
        {"entity_id": "no id"},
        {"grantee_id": "usr_none"},
        {"grantee_type": "all", "grantee_id": "*"},
        {"grantee_type": "department"},
        {"reason": "x" * 20_000},
        {"reason": "\x07"},
        {"reason": None, "starts_at": None, "expires_at": None},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"starts_at": "soon"},
        {"extra": 1},
    ]
    found = {twins.agree("POST", "", owners, [{**body, **more} for body in bodies]) for more in odd}
    assert found == {200, 404, 409, 422}
    assert twins.agree("POST", "", owners, bodies_of(twins, reason="because", expires_at="2100-01-01T00:00:00Z")) == 201


def test_what_is_not_plain_is_answered_alike(twins: Twins) -> None:
    owners = [tenant.owner.secret for tenant in twins.tenants]
    for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"entity_type": "\\ud800"}', b" " * (MAX_BODY_BYTES + 1)):
        assert twins.agree("POST", "", owners, [body, body]) in {400, 413, 422}
    for method, path in (("PUT", ""), ("POST", "/agrant_1"), ("DELETE", "")):
        assert twins.agree(method, path, owners, [b"", b""]) == 405
    for path, status in (("/agrant_none", 404), ("/no%20id", 404)):
        assert twins.agree("DELETE", path, owners, [b"", b""]) == status
    bodies = bodies_of(twins)
    assert twins.agree("POST", "?whatever=1", owners, bodies) == 422
    assert twins.agree("POST", "", owners, bodies, **{"Content-Type": "text/plain"}) == 422
    assert twins.agree("POST", "", owners, bodies, **{"Idempotency-Key": ""}) == 422
    assert twins.agree("POST", "", ["gb_wrong", "gb_wrong"], bodies) == 401


def test_everybody_may_do_what_they_may(twins: Twins) -> None:
    people = [tenant.person() for tenant in twins.tenants]
    plain = [person.secret for person in people]
    reading = [tenant.key(tenant.owner.user_id, scopes=("read",)) for tenant in twins.tenants]
    writing = [tenant.key(tenant.owner.user_id, scopes=("write",)) for tenant in twins.tenants]
    bodies = bodies_of(twins)
    for secrets, status in ((plain, 403), (reading, 403), (writing, 201), (plain, 403)):
        for _ in range(2):
            assert twins.agree("POST", "", secrets, bodies) in {status, 200 if status == 201 else status}
    for tenant, person, body in zip(twins.tenants, people, bodies, strict=True):
        ref = next(grant.entity for grant in tenant.grants(entity_id=body["entity_id"]))
        tenant.grant(ref, "admin", person.user_id)
    assert twins.agree("POST", "", plain, [{**body, "access_level": "write"} for body in bodies]) == 409
    for tenant, person in zip(twins.tenants, people, strict=True):
        tenant.set_state(person.user_id, "deactivated")
    assert twins.agree("POST", "", plain, bodies) in {401, 403}
    assert twins.agree("POST", "", list(reversed(plain)), bodies) in {401, 403}


def test_a_capability_that_was_taken_away_is_not_used(twins: Twins) -> None:
    people = [tenant.person() for tenant in twins.tenants]
    roles = [
        tenant.role("manage_access_control", to=each.user_id)
        for tenant, each in zip(twins.tenants, people, strict=True)
    ]
    secrets = [person.secret for person in people]
    for _ in range(2):
        assert twins.agree("POST", "", secrets, bodies_of(twins)) == 201
    bodies = bodies_of(twins)
    for tenant, role_id in zip(twins.tenants, roles, strict=True):
        answer = twins.clients[1].delete(f"{tenant.path}/roles/{role_id}", headers={"X-API-Key": tenant.owner.secret})
        assert answer.is_success
    assert twins.agree("POST", "", secrets, bodies) == 403


def test_a_key_that_changed_is_looked_up_anew(twins: Twins) -> None:
    """Its scopes, and whether it is paused: what was known of it is confirmed with the write."""
    keys = [tenant.api_key(tenant.owner.user_id) for tenant in twins.tenants]
    secrets = [secret for _, secret in keys]

    def change(**fields: Any) -> None:
        for tenant, (key, _) in zip(twins.tenants, keys, strict=True):
            with tenant.desk.reading(tenant.organization_id, SYSTEM) as reading:
                newest = reading.find(ApiKey, key.id)
            assert newest is not None
            tenant.change_key(newest, **fields)

    assert twins.agree("POST", "", secrets, bodies_of(twins)) == 201
    assert twins.agree("POST", "", secrets, bodies_of(twins)) == 201  # known by now
    change(scopes=("read", "write"))
    assert twins.agree("POST", "", secrets, bodies_of(twins)) == 201
    change(scopes=("read",))
    assert twins.agree("POST", "", secrets, bodies_of(twins)) == 403
    change(scopes=("read", "write"))
    assert twins.agree("POST", "", secrets, bodies_of(twins)) == 201
    change(is_paused=True)
    for _ in range(2):
        assert twins.agree("POST", "", secrets, bodies_of(twins)) == 401
    change(is_paused=False)
    assert twins.agree("POST", "", secrets, bodies_of(twins)) == 201


def test_one_organization_does_not_wait_for_another_where_they_can_be_written_apart() -> None:
    """Eight of one, which wait for something, and then one of another."""
    free, answer = Event(), Response()

    async def write() -> list[Response]:
        writer = Writer(MemoryStore(FakeClock()), threads=2)
        held = [asyncio.ensure_future(writer.do("org_slow", lambda _: _after(free, answer))) for _ in range(8)]
        await asyncio.wait_for(writer.do("org_quick", lambda _: answer), timeout=10)
        assert not any(each.done() for each in held)
        free.set()
        return await asyncio.gather(*held)

    assert asyncio.run(write()) == [answer] * 8


def _after(free: Event, answer: Response) -> Response:
    assert free.wait(10)
    return answer


def test_of_many_at_once_each_is_a_revision_or_an_error_of_its_own(desk: Desk) -> None:
    """Some are refused in the middle of those that they wait with."""
    tenant, other = Tenant.found(desk), Tenant.found(desk)
    app = create_app(desk)
    places = [(each, each.entity()) for each in (tenant, other)]
    users = [[each.user() for _ in range(10)] for each in (tenant, other)]
    before = [each.revision for each in (tenant, other)]

    def create(number: int) -> httpx.Response:
        which = number % 2
        owner, entity = places[which]
        level = "read" if number % 3 else "nonsense"
        user_id = users[which][number // 2 % 10]
        client = httpx.Client(transport=InProcess(app), base_url="http://many")
        return client.post(
            f"{owner.path}/access/grants",
            json={**wire(entity, user_id), "access_level": level},
            headers={"X-API-Key": owner.owner.secret},
        )

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(create, range(ROUNDS)))
    for number, answer in enumerate(answers):
        if number % 3:
            assert answer.status_code in {200, 201}
        else:
            error_of(answer, 422, "VALIDATION_ERROR")
    for which, each in enumerate((tenant, other)):
        made = {
            answer.headers["Grantbook-Revision"]
            for number, answer in enumerate(answers)
            if number % 2 == which and answer.status_code == 201
        }
        assert len(made) == len(each.grants()) == each.revision - before[which]
        history.verify(desk.store, each.organization_id)


@pytest.mark.parametrize("path", ["grants", "check"])
def test_a_client_that_leaves_in_the_middle_of_a_body_did_not_ask(server: Server, tenant: Tenant, path: str) -> None:
    entity, user_id = tenant.entity(), tenant.user()
    body = {"entity_type": entity.type, "entity_id": entity.id, "access_level": "read"}
    body |= {"grantee_type": "user", "grantee_id": user_id} if path == "grants" else {"user_id": user_id}
    text = json.dumps(body)
    with server.client(tenant.owner.secret) as client:
        assert client.get(f"{tenant.path}/my-access").status_code == 200  # known from now on
        revision = tenant.revision
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = (
                f"POST {tenant.path}/access/{path} HTTP/1.1\r\nHost: here\r\nX-API-Key: {tenant.owner.secret}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(text) + 10}\r\n\r\n"
            )
            connection.sendall((head + text).encode())
            sleep(0.3)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1_000) == b""
        assert client.get("/healthz").status_code == 200
    assert (tenant.revision, tenant.grants()) == (revision, [])
