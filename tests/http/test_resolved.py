"""Resolved access of somebody who reaches very much: sent in parts, and whole all the same."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from grantbook.engine.lists import Reached
from grantbook.http.platform import access
from grantbook.model.facts import EntityRef
from grantbook.service import asking
from grantbook.service.desk import Desk
from tests.databases import empty_book
from tests.http.inprocess import client_of, desk_at
from tests.serving import Tenant
from tests.worlds import FakeClock, deposit, entity, grant, user

MANY = 1_500


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with desk_at(empty_book(tmp_path), FakeClock()) as opened:
        yield opened


@pytest.fixture
def client(desk: Desk) -> httpx.Client:
    return client_of(desk)


@pytest.mark.parametrize("streamed", [MANY, 3 * MANY])
def test_a_long_answer_holds_everything_once_and_in_order(
    desk: Desk, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, streamed: int
) -> None:
    monkeypatch.setattr(access, "_STREAMED", streamed)
    tenant = Tenant.found(desk)
    person = tenant.person()
    refs = [EntityRef("vector_store", f"vs_{number:05}") for number in range(MANY)]
    refs += [EntityRef("knowledge_slice", f"kslice_{number:05}") for number in range(MANY)]
    facts = [entity(ref, owner=user("usr_nobody"), mode="private") for ref in refs]
    grants = [grant(ref, user(person.user_id), "write") for ref in refs]
    deposit(desk.store, tenant.organization_id, [*facts, *grants])
    client.headers["X-API-Key"] = person.secret
    for _ in range(2):  # made, then kept
        answer = client.get(f"{tenant.path}/users/{person.user_id}/resolved-access")
        assert answer.status_code == 200
        assert ("Content-Length" in answer.headers) == (streamed > 2 * MANY)
        told = answer.json()
        found = [EntityRef(each["entity_type"], each["entity_id"]) for each in told["entities"]]
        assert found == sorted(refs)
        assert {each["access_level"] for each in told["entities"]} == {"write"}
        assert [each["store_id"] for each in told["store_access"]] == [ref.id for ref in refs[:MANY]]
        assert [each["slice_id"] for each in told["slice_access"]] == [ref.id for ref in refs[MANY:]]
        paths = {ref: each["grant_paths"] for ref, each in zip(found, told["entities"], strict=True)}
        assert all(
            paths[EntityRef("vector_store", each["store_id"])] == each["grant_paths"] for each in told["store_access"]
        )


def test_a_very_long_answer_is_made_apart_and_is_the_same(
    desk: Desk, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = Tenant.found(desk)
    person = tenant.person()
    refs = [tenant.entity("vector_store") for _ in range(3)]
    for ref in refs:
        tenant.grant(ref, "write", person.user_id)
    client.headers["X-API-Key"] = person.secret
    path = f"{tenant.path}/users/{person.user_id}/resolved-access"
    held = client.get(path).json()
    tenant.grant(tenant.entity("vector_store"), "read", person.user_id)
    whole = client.get(path).json()
    monkeypatch.setattr(asking, "_MAX_HELD", 1)
    tenant.grant(tenant.entity("vector_store"), "read", person.user_id)
    apart = client.get(path).json()
    ids = [[each["entity_id"] for each in told["entities"]] for told in (held, whole, apart)]
    assert [len(each) for each in ids] == [3, 4, 5]
    assert [each for each in apart["entities"] if each["entity_id"] in ids[1]] == whole["entities"]


def test_nobody_waits_for_the_cache_within_a_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the cache may wait for the store, which lets one at a time in where it is in memory."""
    with desk_at("memory:", FakeClock()) as desk, ThreadPoolExecutor(1) as pool:
        tenant, client = Tenant.found(desk), client_of(desk)
        client.headers["X-API-Key"] = tenant.owner.secret
        ref, get_list = tenant.entity(), asking.get_list
        asked: list[bool] = []

        def as_another_holds_the_cache(*args: Any) -> Reached[Any]:
            asked.append(pool.submit(can_be_locked, desk.store).result())
            return get_list(*args)

        monkeypatch.setattr(asking, "get_list", as_another_holds_the_cache)
        for path in (
            f"users/{tenant.owner.user_id}/resolved-access",
            f"access/users-with-access?entity_type={ref.type}&entity_id={ref.id}",
        ):
            assert client.get(f"{tenant.path}/{path}").status_code == 200
        assert asked == [True, True]


def can_be_locked(store: Any) -> bool:
    found: bool = store.lock.acquire(timeout=1)
    if found:
        store.lock.release()
    return found


def test_a_short_answer_says_how_long_it_is(desk: Desk, client: httpx.Client) -> None:
    tenant = Tenant.found(desk)
    client.headers["X-API-Key"] = tenant.owner.secret
    answer = client.get(f"{tenant.path}/users/{tenant.owner.user_id}/resolved-access")
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.json()["entities"] == answer.json()["slice_access"] == answer.json()["store_access"] == []
