"""A repeated request with the same `Idempotency-Key` changes nothing more, and gets the same answer for a day."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from grantbook.http import exchange
from tests.databases import empty_book
from tests.http.calls import CALLS, Call, Scene
from tests.http.envelope import error_of
from tests.http.inprocess import client_of, desk_at
from tests.serving import Server, Tenant
from tests.worlds import DAY, MILLISECOND, FakeClock

LAST_WORD = "DELETE /v1/organizations/{organization_id}"
"""Afterwards no key opens anything, not even the answer."""

WRITES = {name: call for name, call in CALLS.items() if call.changes and name != LAST_WORD}


@pytest.fixture
def body(tenant: Tenant) -> dict[str, str]:
    """A grant that can be made."""
    entity = tenant.entity()
    return {
        "entity_type": entity.type,
        "entity_id": entity.id,
        "grantee_type": "user",
        "grantee_id": tenant.user(),
        "access_level": "read",
    }


def create(client: httpx.Client, tenant: Tenant, body: Any, key: str, **headers: str) -> httpx.Response:
    return client.post(f"{tenant.path}/access/grants", json=body, headers={"Idempotency-Key": key, **headers})


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_every_write_can_be_repeated(call: Call, server: Server, client: httpx.Client) -> None:
    scene = Scene(server.desk)
    secret = scene.tenant.owner.secret
    first = call.request(scene).send(client, secret, Idempotency_Key="again")
    assert first.status_code == call.status
    revision, organizations = scene.tenant.revision, len(server.desk.store.organization_ids())
    again = call.request(scene).send(client, secret, Idempotency_Key="again")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Grantbook-Revision"] == first.headers["Grantbook-Revision"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers.get("Content-Type") == first.headers.get("Content-Type")
    assert (scene.tenant.revision, len(server.desk.store.organization_ids())) == (revision, organizations)


def test_another_request_with_the_same_key_is_refused(
    owner: httpx.Client, tenant: Tenant, body: dict[str, str]
) -> None:
    made = create(owner, tenant, body, "one")
    revision = tenant.revision
    for other in ({**body, "access_level": "write"}, {**body, "reason": "why not"}):
        error = error_of(create(owner, tenant, other, "one"), 409, "IDEMPOTENCY_KEY_REUSED")
        assert error["details"] == {"idempotency_key": "one"}
    sent = {"Idempotency-Key": "one"}
    gone = owner.delete(f"{tenant.path}/access/grants/{made.json()['id']}", headers=sent)
    error_of(gone, 409, "IDEMPOTENCY_KEY_REUSED")
    assert tenant.revision == revision


def test_another_key_is_another_request(owner: httpx.Client, tenant: Tenant, body: dict[str, str]) -> None:
    first, second = create(owner, tenant, body, "one"), create(owner, tenant, body, "two")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()


def test_keys_of_different_api_keys_are_apart(
    owner: httpx.Client, tenant: Tenant, stranger: Tenant, body: dict[str, str]
) -> None:
    assert create(owner, tenant, body, "one").status_code == 201
    second = tenant.key(tenant.owner.user_id)
    assert create(owner, tenant, body, "one", **{"X-API-Key": second}).status_code == 200
    another = {**body, "access_level": "write"}
    error_of(create(owner, tenant, another, "one", **{"X-API-Key": second}), 409, "IDEMPOTENCY_KEY_REUSED")
    theirs = stranger.entity()
    elsewhere = {**body, "entity_id": theirs.id, "grantee_id": stranger.user()}
    answer = create(owner, stranger, elsewhere, "one", **{"X-API-Key": stranger.owner.secret})
    assert answer.status_code == 201


def test_a_failure_is_not_remembered(owner: httpx.Client, tenant: Tenant, body: dict[str, str]) -> None:
    later = tenant.new_id("usr_")
    error_of(create(owner, tenant, {**body, "grantee_id": later}, "one"), 404)
    tenant.user(user_id=later)
    answer = create(owner, tenant, {**body, "grantee_id": later}, "one")
    assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (201, False)


def test_the_answer_outlives_what_it_tells_of(owner: httpx.Client, tenant: Tenant, body: dict[str, str]) -> None:
    """A retry after a revoke must not grant anew."""
    made = create(owner, tenant, body, "one")
    owner.delete(f"{tenant.path}/access/grants/{made.json()['id']}")
    assert create(owner, tenant, body, "one").json() == made.json()
    assert tenant.grants() == []


def test_an_organization_is_made_once(owner: httpx.Client, tenant: Tenant) -> None:
    new = {"name": "Branch", "type": "company"}
    sent = {"Idempotency-Key": "found"}
    first, again = (owner.post("/v1/organizations", json=new, headers=sent) for _ in range(2))
    assert first.json() == again.json()
    assert owner.post("/v1/organizations", json=new).json()["id"] != first.json()["id"]
    other = owner.post("/v1/organizations", json={**new, "name": "Other"}, headers=sent)
    error_of(other, 409, "IDEMPOTENCY_KEY_REUSED")


def test_of_requests_at_the_same_time_one_does_the_work(
    owner: httpx.Client, tenant: Tenant, body: dict[str, str]
) -> None:
    before = tenant.revision
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(owner, tenant, body, "same"), range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert tenant.revision == before + 1


@pytest.mark.parametrize("odd", ["", "x" * 256, "é\x80", "a\tb"])
def test_odd_keys_are_refused(odd: str, owner: httpx.Client, tenant: Tenant, body: dict[str, str]) -> None:
    headers = [("Idempotency-Key", odd.encode("latin-1"))]
    answer = owner.post(f"{tenant.path}/access/grants", json=body, headers=headers)  # type: ignore[arg-type]
    details = error_of(answer, 422, "VALIDATION_ERROR")["details"]
    assert details["field"] == "Idempotency-Key"
    assert details["message"] == "Idempotency-Key must be 1 to 255 printable characters"
    assert tenant.grants() == []


def test_a_key_of_just_the_bound_is_good(owner: httpx.Client, tenant: Tenant, body: dict[str, str]) -> None:
    assert create(owner, tenant, body, "x" * 255).status_code == 201
    assert "Idempotency-Replayed" in create(owner, tenant, body, "x" * 255).headers


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def timed(tmp_path: Path, clock: FakeClock) -> Iterator[Tenant]:
    """An organization whose time stands still."""
    with desk_at(empty_book(tmp_path), clock) as desk:
        yield Tenant.found(desk)


@pytest.fixture
def timed_client(timed: Tenant) -> Iterator[httpx.Client]:
    with client_of(timed.desk) as client:
        client.headers["X-API-Key"] = timed.owner.secret
        yield client


def test_answers_are_kept_for_a_day(timed_client: httpx.Client, timed: Tenant, clock: FakeClock) -> None:
    def invite(email: str) -> httpx.Response:
        return timed_client.post(
            f"{timed.path}/users/invite/v2", json={"email": email}, headers={"Idempotency-Key": "one"}
        )

    first = invite("kim@example.org")
    clock.advance(DAY - MILLISECOND)
    assert invite("kim@example.org").json() == first.json()
    error_of(invite("lee@example.org"), 409, "IDEMPOTENCY_KEY_REUSED")
    clock.advance(2 * MILLISECOND)
    error_of(invite("kim@example.org"), 409, "MEMBER_ALREADY_EXISTS")
    assert invite("lee@example.org").status_code == 201


def test_too_large_an_answer_is_not_kept(
    timed_client: httpx.Client, timed: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_IDEMPOTENT_RESPONSE_BYTES", 10)
    entity, user = timed.entity(), timed.user()
    grant = {"grantee_type": "user", "grantee_id": user, "access_level": "read"}
    body = {"entity_type": entity.type, "entity_id": entity.id, **grant}
    for status in (201, 200):
        answer = create(timed_client, timed, body, "one")
        assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (status, False)
