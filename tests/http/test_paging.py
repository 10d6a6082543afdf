"""Pages, by `skip` and by `cursor`: every item once, in a stable order, at any page size."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from grantbook.model.limits import MAX_SKIP
from tests.http.envelope import error_of
from tests.serving import Server, Tenant

PAGED = (
    "/access/grants",
    "/knowledge/slices/{slice}/grants",
    "/vector-stores/{store}/grants",
    "/assistants/{assistant}/grants",
    "/access/entities?user_id={user}&access_level=read",
    "/access/users?entity_type=assistant&entity_id={assistant}",
    "/entities/knowledge_slice",
)
FIELDS = {"items", "total", "skip", "limit", "has_more", "next_cursor"}
Json = dict[str, Any]
every_list = pytest.mark.parametrize("template", PAGED)


class Book:
    """Eleven grants on each of three entities, and eleven slices that one user reaches."""

    def __init__(self, server: Server) -> None:
        self.tenant = tenant = Tenant.found(server.desk)
        self.users = [tenant.user() for _ in range(11)]
        self.names: dict[str, str] = {"user": self.users[0]}
        for name, entity_type in {
            "slice": "knowledge_slice", "store": "vector_store", "assistant": "assistant",
        }.items():  # fmt: skip
            entity = tenant.entity(entity_type)
            self.names[name] = entity.id
            tenant.grant(entity, "read", *self.users)
        for _ in range(10):
            tenant.grant(tenant.entity(), "write", self.users[0])


@pytest.fixture(scope="module")
def book(server: Server) -> Book:
    return Book(server)


@pytest.fixture(scope="module")
def get(book: Book, server: Server) -> Iterator[Callable[..., httpx.Response]]:
    """Gets a list, with more query parameters."""
    with server.client(book.tenant.owner.secret) as client:

        def get(template: str, **query: object) -> httpx.Response:
            address = httpx.URL(f"{book.tenant.path}{template.format(**book.names)}")
            return client.get(address.copy_merge_params({name: str(value) for name, value in query.items()}))

        yield get


def whole(get: Callable[..., httpx.Response], template: str) -> list[Json]:
    page = get(template, limit=100).json()
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    assert page["total"] == len(page["items"]) >= 11
    items: list[Json] = page["items"]
    return items


@every_list
def test_walking_by_cursor_gives_each_item_once(template: str, get: Callable[..., httpx.Response]) -> None:
    everything = whole(get, template)
    for limit in (1, 3, 10, len(everything), 99):
        found: list[Json] = []
        query: Json = {"limit": limit}
        while True:
            page = get(template, **query).json()
            assert set(page) >= FIELDS
            assert (page["total"], page["limit"]) == (len(everything), limit)
            assert len(page["items"]) <= limit
            assert page["has_more"] == (len(found) + len(page["items"]) < len(everything))
            assert (page["next_cursor"] is not None) == page["has_more"]
            found += page["items"]
            if not page["has_more"]:
                break
            query["cursor"] = page["next_cursor"]
        assert found == everything


@every_list
def test_walking_by_skip_gives_each_item_once(template: str, get: Callable[..., httpx.Response]) -> None:
    everything = whole(get, template)
    for limit in (1, 4, len(everything)):
        found: list[Json] = []
        for skip in range(0, len(everything), limit):
            page = get(template, skip=skip, limit=limit).json()
            assert (page["skip"], page["limit"]) == (skip, limit)
            found += page["items"]
        assert found == everything
    beyond = get(template, skip=len(everything)).json()
    assert (beyond["items"], beyond["has_more"], beyond["total"]) == ([], False, len(everything))
    assert get(template, skip=MAX_SKIP).json()["items"] == []


@every_list
def test_a_page_has_twenty_items_unless_said_otherwise(template: str, get: Callable[..., httpx.Response]) -> None:
    page = get(template).json()
    assert (page["skip"], page["limit"]) == (0, 20)


@every_list
def test_pages_out_of_bounds_are_refused(template: str, get: Callable[..., httpx.Response]) -> None:
    for name, odd in (("skip", -1), ("skip", "x"), ("skip", 10**20), ("limit", 0), ("limit", 101), ("limit", "all")):
        assert error_of(get(template, **{name: odd}), 422)["details"]["field"] == name


def _encoded(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@every_list
def test_a_bad_cursor_is_refused(template: str, get: Callable[..., httpx.Response]) -> None:
    odd = (
        "", "x", "!!!!", "é", "AAAA", _encoded({}), _encoded([]), _encoded([1]), _encoded([1, 2]),
        _encoded([1, "a", 2]),
        _encoded([None, "a"]), _encoded([10**30, "a"]), _encoded([-(10**30), "a"]), _encoded([1.5, "a"]),
        "A" * 401,
    )  # fmt: skip
    for cursor in odd:
        assert error_of(get(template, cursor=cursor), 422)["details"]["field"] == "cursor", cursor


@every_list
def test_a_cursor_goes_without_skip(template: str, get: Callable[..., httpx.Response]) -> None:
    cursor = get(template, limit=1).json()["next_cursor"]
    assert error_of(get(template, cursor=cursor, skip=1), 422)["details"]["field"] == "cursor"
    assert get(template, cursor=cursor).status_code == 200


def test_a_cursor_goes_on_where_it_was_whatever_happens_meanwhile(tenant: Tenant, owner: httpx.Client) -> None:
    entity = tenant.entity()
    grants = [tenant.grant(entity, "read", tenant.user())[0] for _ in range(6)]
    address = f"{tenant.path}/access/grants"
    page = owner.get(address, params={"limit": 3}).json()
    for gone in (grants[0], grants[2], grants[3]):
        owner.delete(f"{address}/{gone.id}")
    (new,) = tenant.grant(entity, "read", tenant.user())
    rest = owner.get(address, params={"limit": 100, "cursor": page["next_cursor"]}).json()
    assert [item["id"] for item in rest["items"]] == [grants[4].id, grants[5].id, new.id]


def test_grants_made_at_the_same_time_are_ordered_by_id(tenant: Tenant, owner: httpx.Client) -> None:
    made = tenant.grant(tenant.entity(), "read", *(tenant.user() for _ in range(7)))
    listed = owner.get(f"{tenant.path}/access/grants").json()["items"]
    assert [item["id"] for item in listed] == sorted(grant.id for grant in made)
