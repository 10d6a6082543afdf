"""When the database is damaged: no access, no leak, and the envelope all the same."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from grantbook.bootstrap import system_clock
from tests.http.calls import CALLS, Scene
from tests.http.envelope import error_of
from tests.http.inprocess import client_of, desk_at

Damage = Callable[[str], None]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with desk_at(f"sqlite:///{tmp_path / 'book.db'}", system_clock) as desk:
        yield Scene(desk)


@pytest.fixture
def client(scene: Scene) -> Iterator[httpx.Client]:
    with client_of(scene.tenant.desk) as client:
        client.headers["X-API-Key"] = scene.tenant.owner.secret
        yield client


@pytest.fixture
def damage(tmp_path: Path) -> Damage:
    """Runs a statement behind the server's back."""

    def run(statement: str) -> None:
        with closing(sqlite3.connect(tmp_path / "book.db", isolation_level=None)) as connection:
            assert connection.execute(statement).rowcount != 0

    return run


def test_without_the_table_of_keys_nobody_comes_in(scene: Scene, client: httpx.Client, damage: Damage) -> None:
    damage("DROP TABLE api_keys")
    for call in CALLS.values():
        error = error_of(call.request(scene).send(client), 503, "STORE_UNAVAILABLE")
        assert error["details"] == {}
        assert "api_keys" not in str(error)


def test_without_the_table_of_grants_no_question_is_answered(
    scene: Scene, client: httpx.Client, damage: Damage
) -> None:
    damage("DROP TABLE grants")
    for operation in (
        "POST /v1/organizations/{organization_id}/access/check",
        "POST /v1/organizations/{organization_id}/access/check/batch",
        "POST /v1/organizations/{organization_id}/access/explain",
        "GET /v1/organizations/{organization_id}/access/entities",
        "GET /v1/organizations/{organization_id}/access/users",
        "GET /v1/organizations/{organization_id}/access/grants",
        "POST /v1/organizations/{organization_id}/access/grants",
    ):
        error = error_of(CALLS[operation].request(scene).send(client), 503, "STORE_UNAVAILABLE")
        assert "grants" not in str(error)


def test_a_failed_write_leaves_nothing_behind(scene: Scene, client: httpx.Client, damage: Damage) -> None:
    before = scene.tenant.revision, len(scene.tenant.grants())
    damage("DROP TABLE changes")
    call = CALLS["POST /v1/organizations/{organization_id}/access/grants"]
    error_of(call.request(scene).send(client), 503, "STORE_UNAVAILABLE")
    assert (scene.tenant.revision, len(scene.tenant.grants())) == before


def test_a_writer_who_was_known_before_is_told_in_the_envelope(
    scene: Scene, client: httpx.Client, damage: Damage
) -> None:
    call = CALLS["POST /v1/organizations/{organization_id}/access/grants"]
    assert call.request(scene).send(client).status_code == call.status
    entity, user_id = scene.tenant.entity(), scene.tenant.user()
    damage("UPDATE heads SET revision = revision + 1")  # so that what changed has to be looked up
    damage("ALTER TABLE changes RENAME TO lost")
    body = {"entity_type": entity.type, "entity_id": entity.id, "grantee_type": "user", "grantee_id": user_id}
    answer = client.post(f"{scene.tenant.path}/access/grants", json={**body, "access_level": "read"})
    error_of(answer, 503, "STORE_UNAVAILABLE")


def test_not_ready_without_a_database(client: httpx.Client, damage: Damage) -> None:
    damage("DROP TABLE heads")
    error_of(client.get("/readyz"), 503, "STORE_UNAVAILABLE")
    assert client.head("/readyz").status_code == 503
    assert client.get("/healthz").status_code == client.head("/healthz").status_code == 200


def test_a_failure_that_nobody_foresaw_tells_nothing(scene: Scene, client: httpx.Client, damage: Damage) -> None:
    damage("UPDATE entities SET attributes = 'hunter2' WHERE id LIKE 'kslice_%'")
    call = CALLS["GET /v1/organizations/{organization_id}/knowledge/slices/{slice_id}"]
    answer = call.request(scene).send(client, X_Request_ID="trace-1")
    error = error_of(answer, 500, "INTERNAL_ERROR")
    assert error["trace_id"] == "trace-1"
    assert error["details"] == {}
    assert "hunter2" not in answer.text


def test_a_damaged_level_gives_no_access(scene: Scene, client: httpx.Client, damage: Damage) -> None:
    damage("UPDATE grants SET access_level = 'almighty'")
    call = CALLS["POST /v1/organizations/{organization_id}/access/check"]
    answer = call.request(scene).send(client)
    assert answer.is_error or answer.json()["allowed"] is False
