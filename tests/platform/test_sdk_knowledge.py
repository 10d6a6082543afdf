"""Every method of the SDK's `knowledge` but the audit log, for success and for its main errors."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from aitronos import Aitronos
from aitronos.types import KnowledgeSliceResponse, KnowledgeVectorStoreResponse

from grantbook.model.facts import EntityRef
from tests.platform.conftest import Connect
from tests.platform.house import SLICE, STORE, House
from tests.platform.refusals import ONCE, refused
from tests.serving import Server, Tenant


def make_slice(sdk: Aitronos, tenant: Tenant, name: str = "Handbook", **values: Any) -> KnowledgeSliceResponse:
    made: KnowledgeSliceResponse = sdk.knowledge.create_slice(
        tenant.organization_id,
        **{"name": name, "owner_type": "user", "owner_id": tenant.owner.user_id, "request_options": ONCE, **values},
    )
    return made


def make_store(sdk: Aitronos, tenant: Tenant, name: str = "Files", **values: Any) -> KnowledgeVectorStoreResponse:
    made: KnowledgeVectorStoreResponse = sdk.knowledge.create_store(
        tenant.organization_id, name=name, request_options=ONCE, **values
    )
    return made


@pytest.fixture
def http(server: Server, tenant: Tenant) -> Iterator[httpx.Client]:
    """Speaks for the owner, without the SDK."""
    with server.client(tenant.owner.secret) as client:
        yield client


def test_list_slices(sdk: Aitronos, tenant: Tenant) -> None:
    first = make_slice(sdk, tenant, "Sales handbook", description="How we sell")
    second = make_slice(sdk, tenant, "Legal", type="personal")
    third = sdk.knowledge.create_composite(tenant.organization_id, name="All HANDBOOKS", member_slice_ids=[first.id])
    sdk.knowledge.archive_slice(tenant.organization_id, second.id)

    def listed(**filters: Any) -> list[str]:
        found = sdk.knowledge.list_slices(tenant.organization_id, **filters)
        assert found.total == len(found.items)
        return [each.id for each in found.items]

    assert listed() == [first.id, second.id, third.id]
    assert listed(status="active") == [first.id, third.id]
    assert listed(status="archived") == [second.id]
    assert listed(type="personal") == [second.id]
    assert listed(type="standard") == [first.id, third.id]
    assert listed(search="handbook") == [first.id, third.id]
    assert listed(search="handbook", status="archived") == []
    assert sdk.knowledge.list_slices(tenant.organization_id).items[0] == first
    page = sdk.knowledge.list_slices(tenant.organization_id, skip=1, limit=1)
    assert ([each.id for each in page.items], page.total, page.has_more) == ([second.id], 3, True)
    with refused(422, "VALIDATION_ERROR", field="status"):
        sdk.knowledge.list_slices(tenant.organization_id, status="gone")
    with refused(422, "VALIDATION_ERROR", field="limit"):
        sdk.knowledge.list_slices(tenant.organization_id, limit=101)


def test_lists_go_on_after_a_cursor_whatever_comes_in_between(
    sdk: Aitronos, tenant: Tenant, http: httpx.Client
) -> None:
    made = [make_store(sdk, tenant, name).id for name in ("b", "d", "a", "c")]
    for sort, order, expected in (
        ("created_at", "asc", made),
        ("created_at", "desc", made[::-1]),
        ("name", "asc", [made[2], made[0], made[3], made[1]]),
        ("name", "desc", [made[1], made[3], made[0], made[2]]),
    ):
        seen: list[str] = []
        query: dict[str, str | int] = {"limit": 1, "sort": sort, "order": order}
        while True:
            page = http.get(f"{tenant.path}/knowledge/stores", params=query).json()
            seen += [each["id"] for each in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert seen == expected
    odd = http.get(f"{tenant.path}/knowledge/stores", params={"cursor": query["cursor"], "sort": "created_at"})
    assert (odd.status_code, odd.json()["error"]["details"]["field"]) == (422, "cursor")


def test_create_and_get_slice(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    department = house.tenant.department(None, house.clerk.user_id)
    made = make_slice(sdk, house.tenant, access_mode="department", access_target_ids=[department], description="Rules")
    assert (made.access_target_ids, made.description, made.type) == ([department], "Rules", "standard")
    assert sdk.knowledge.get_slice(house.id, made.id) == made
    assert clerk.knowledge.get_slice(house.id, made.id).id == made.id
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.knowledge.get_slice(house.id, "kslice_gone")
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="create_knowledge"):
        clerk.knowledge.create_slice(house.id, name="X", owner_type="user", owner_id=house.clerk.user_id)


def test_targets_are_ignored_for_a_mode_that_lists_nobody(sdk: Aitronos, house: House) -> None:
    owned = {"name": "T", "owner_type": "user", "owner_id": house.tenant.owner.user_id}
    for mode in ("organization", "public"):
        made = sdk.knowledge.create_slice(house.id, **owned, access_mode=mode, access_target_ids=[house.user])
        assert (made.access_mode, made.access_target_ids) == (mode, [])
    made = sdk.knowledge.create_slice(house.id, **owned, access_mode="private", access_target_ids=[house.user])
    assert made.access_target_ids == [house.user]


def test_update_slice(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    made = make_slice(sdk, house.tenant, description="Old")
    changed = sdk.knowledge.update_slice(house.id, made.id, name="New")
    assert (changed.name, changed.description, changed.access_mode) == ("New", "Old", "private")
    assert changed.updated_at > made.updated_at
    shown = sdk.knowledge.update_slice(house.id, made.id, access_target_ids=[house.clerk.user_id], description=None)
    assert (shown.access_target_ids, shown.description) == ([house.clerk.user_id], None)
    assert clerk.knowledge.get_slice(house.id, made.id).name == "New"
    opened = sdk.knowledge.update_slice(house.id, made.id, access_mode="organization")
    assert (opened.access_mode, opened.access_target_ids) == ("organization", [])
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=made.id):
        clerk.knowledge.update_slice(house.id, made.id, name="Mine")
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.knowledge.update_slice(house.id, "kslice_gone", name="X")
    with refused(404, "RESOURCE_NOT_FOUND", access_target_id="usr_gone"):
        sdk.knowledge.update_slice(house.id, made.id, access_mode="private", access_target_ids=["usr_gone"])
    for values, field in (
        ({"access_mode": "secret"}, "access_mode"),
        ({"access_mode": "inherit"}, "access_mode"),
        ({"name": " "}, "name"),
        ({"access_target_ids": [house.user]}, "access_target_ids"),
    ):
        with refused(422, "VALIDATION_ERROR", field=field):
            sdk.knowledge.update_slice(house.id, made.id, **values)


def test_archive_and_unarchive_slice(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    archived = sdk.knowledge.archive_slice(house.id, house.slice.id)
    assert (archived.status, archived.archived_by) == ("archived", house.tenant.owner.user_id)
    renamed = sdk.knowledge.update_slice(house.id, house.slice.id, name="Renamed")
    assert renamed.archived_at == archived.archived_at
    back = sdk.knowledge.unarchive_slice(house.id, house.slice.id)
    assert (back.status, back.archived_at, back.archived_by) == ("active", None, None)
    for method in (clerk.knowledge.archive_slice, clerk.knowledge.unarchive_slice):
        with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.slice.id):
            method(house.id, house.slice.id)
    for method in (sdk.knowledge.archive_slice, sdk.knowledge.unarchive_slice):
        with refused(404, "RESOURCE_NOT_FOUND"):
            method(house.id, "kslice_gone")


def test_list_slices_summary(sdk: Aitronos, clerk: Aitronos, house: House, http: httpx.Client) -> None:
    sdk.knowledge.create_store_in_slice(house.id, house.slice.id, name="Files")
    found: Any = sdk.knowledge.list_slices_summary(house.id)
    assert [(each["id"], each["store_count"], each["is_composite"]) for each in found["items"]] == [
        (house.slice.id, 1, False)
    ]
    assert (found["total"], found["has_more"]) == (1, False)
    seen: Any = clerk.knowledge.list_slices_summary(house.id, limit=5_000)
    assert seen["items"] == []
    with refused(422, "VALIDATION_ERROR", field="limit"):
        sdk.knowledge.list_slices_summary(house.id, limit=5_001)
    first = http.get(f"{house.tenant.path}/knowledge/slices/summary")
    same = {"If-None-Match": first.headers["ETag"]}
    again = http.get(f"{house.tenant.path}/knowledge/slices/summary", headers=same)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    sdk.knowledge.update_slice(house.id, house.slice.id, name="Other")
    assert http.get(f"{house.tenant.path}/knowledge/slices/summary", headers=same).status_code == 200


def test_composites(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    other = house.tenant.entity()
    made = sdk.knowledge.create_composite(house.id, name="All", member_slice_ids=[house.slice.id], description="Old")
    listed = sdk.knowledge.list_composites(house.id)
    assert (listed.items, listed.total, listed.has_more) == ([made], 1, False)
    assert clerk.knowledge.list_composites(house.id).items == []
    house.create(sdk, EntityRef(SLICE, made.id), to=house.clerk.user_id)
    assert [each.id for each in clerk.knowledge.list_composites(house.id).items] == [made.id]

    changed = sdk.knowledge.update_composite(house.id, made.id, name="Both", member_slice_ids=[other.id])
    assert (changed.name, changed.description, changed.member_slice_ids) == ("Both", "Old", [other.id])
    assert clerk.knowledge.get_slice(house.id, other.id).id == other.id
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.slice.id):
        clerk.knowledge.get_slice(house.id, house.slice.id)

    with refused(404, "RESOURCE_NOT_FOUND", entity_id=house.slice.id):
        sdk.knowledge.update_composite(house.id, house.slice.id, name="No composite")
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.knowledge.update_composite(house.id, made.id, member_slice_ids=["kslice_gone"])
    with refused(422, "VALIDATION_ERROR", field="member_slice_ids"):
        sdk.knowledge.update_composite(house.id, made.id, member_slice_ids=[made.id])
    with refused(422, "VALIDATION_ERROR", field="member_slice_ids.1"):
        sdk.knowledge.update_composite(house.id, made.id, member_slice_ids=[other.id, other.id])
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=made.id):
        clerk.knowledge.update_composite(house.id, made.id, member_slice_ids=[])
    with refused(422, "VALIDATION_ERROR", field="limit"):
        sdk.knowledge.list_composites(house.id, limit=0)


def test_a_composite_keeps_its_stores_when_its_slices_change(sdk: Aitronos, house: House) -> None:
    made = sdk.knowledge.create_composite(house.id, name="All", member_slice_ids=[house.slice.id])
    store = sdk.knowledge.create_store_in_slice(house.id, made.id, name="Files")
    changed = sdk.knowledge.update_composite(house.id, made.id, member_slice_ids=[])
    assert (changed.member_slice_ids, changed.store_count) == ([], 1)
    assert sdk.knowledge.get_store(house.id, store.id).slice_ids == [made.id]


def test_list_stores_by_slice(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    inside = [
        sdk.knowledge.create_store_in_slice(house.id, house.slice.id, name=name, access_mode=mode)
        for name, mode in (("Open", "organization"), ("Closed", "private"))
    ]
    listed = sdk.knowledge.list_stores_by_slice(house.id, house.slice.id)
    assert (listed.items, listed.total) == (inside, 2)
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.slice.id):
        clerk.knowledge.list_stores_by_slice(house.id, house.slice.id)
    sdk.knowledge.update_slice(house.id, house.slice.id, access_mode="organization")
    assert clerk.knowledge.list_stores_by_slice(house.id, house.slice.id).items == inside[:1]
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.knowledge.list_stores_by_slice(house.id, "kslice_gone")


def test_a_store_inherits_the_settings_of_its_slice_once(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    department = house.tenant.department(None, house.clerk.user_id)
    sdk.knowledge.update_slice(
        house.id, house.slice.id, access_mode="department", access_target_ids=[department, house.user]
    )
    made = sdk.knowledge.create_store_in_slice(house.id, house.slice.id, name="Files", access_mode="inherit")
    assert (made.access_mode, made.slice_id) == ("department", house.slice.id)
    for user in (house.user, house.clerk.user_id):
        found = sdk.access_control.get_resolved_access(house.id, user, entity_type=STORE).store_access
        assert [each.store_id for each in found or ()] == [made.id]
    sdk.knowledge.update_slice(house.id, house.slice.id, access_mode="organization")
    assert clerk.knowledge.get_store(house.id, made.id).access_mode == "department"
    moved = sdk.knowledge.update_store(house.id, house.store.id, slice_id=house.slice.id, access_mode="inherit")
    assert moved.access_mode == "organization"
    for attempt in (
        lambda: make_store(sdk, house.tenant, access_mode="inherit"),
        lambda: sdk.knowledge.update_store(house.id, made.id, access_mode="inherit"),
        lambda: sdk.knowledge.update_store(house.id, made.id, access_mode="inherit", slice_ids=[]),
    ):
        with refused(422, "VALIDATION_ERROR", field="access_mode"):
            attempt()
    with refused(422, "VALIDATION_ERROR", field="access_target_id"):
        sdk.knowledge.create_store_in_slice(
            house.id, house.slice.id, name="X", access_mode="inherit", access_target_id=department
        )


def test_list_stores_for_org(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    beta = make_store(sdk, house.tenant, "Beta")
    alpha = sdk.knowledge.create_store_in_slice(house.id, house.slice.id, name="Alpha", access_mode="private")
    off = make_store(sdk, house.tenant, "Off")
    sdk.knowledge.update_store(house.id, off.id, is_active=False)
    list_stores: Callable[..., Any] = sdk.knowledge.list_stores_for_org

    def listed(**filters: Any) -> list[str]:
        found = list_stores(house.id, **filters)
        assert found.total == len(found.items)
        return [each.id for each in found.items if each.id != house.store.id]

    assert listed() == [beta.id, alpha.id]
    assert listed(sort="name") == [alpha.id, beta.id]
    assert listed(sort="name", order="desc") == [beta.id, alpha.id]
    assert listed(sort="created_at", order="desc") == [alpha.id, beta.id]
    assert listed(sort="data_size") == [beta.id, alpha.id]
    assert listed(search="ALPH") == [alpha.id]
    assert listed(search="%") == []
    assert listed(slice_id=house.slice.id) == [alpha.id]
    assert listed(slice_id="kslice_gone") == []
    assert listed(status="inactive") == [off.id]
    assert [each.id for each in clerk.knowledge.list_stores_for_org(house.id).items] == [beta.id]
    for name in ("sort", "order", "status"):
        with refused(422, "VALIDATION_ERROR", field=name):
            list_stores(house.id, **{name: "odd"})


def test_create_and_get_store(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    made = make_store(sdk, house.tenant, access_mode="private", access_target_id=house.clerk.user_id)
    assert sdk.knowledge.get_store(house.id, made.id) == made
    assert clerk.knowledge.get_store(house.id, made.id) == made
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.get_store(house.id, house.store.id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="create_knowledge"):
        clerk.knowledge.create_store(house.id, name="X")
    with refused(404, "RESOURCE_NOT_FOUND"):
        sdk.knowledge.get_store(house.id, "vs_gone")


def test_update_store(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    other = house.tenant.entity()
    in_slice = sdk.knowledge.update_store(house.id, house.store.id, name="New", slice_id=house.slice.id)
    assert (in_slice.name, in_slice.slice_ids) == ("New", [house.slice.id])
    moved = sdk.knowledge.update_store(house.id, house.store.id, slice_id=other.id)
    assert (moved.slice_id, moved.slice_ids) == (other.id, [other.id])
    both = sdk.knowledge.update_store(house.id, house.store.id, slice_ids=[house.slice.id, other.id])
    assert both.slice_ids == sorted([house.slice.id, other.id])
    assert sdk.knowledge.update_store(house.id, house.store.id, description="Kept").slice_ids == both.slice_ids
    none = sdk.knowledge.update_store(house.id, house.store.id, slice_ids=[])
    assert (none.slice_ids, none.slice_id, none.description) == ([], None, "Kept")

    house.create(sdk, house.store, "write", to=house.clerk.user_id)
    off = sdk.knowledge.update_store(house.id, house.store.id, is_active=False)
    assert not off.is_active
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.store.id):
        clerk.knowledge.get_store(house.id, house.store.id)
    assert sdk.knowledge.update_store(house.id, house.store.id, is_active=True).is_active
    assert clerk.knowledge.get_store(house.id, house.store.id).name == "New"
    opened = sdk.knowledge.update_store(house.id, house.store.id, access_mode="public")
    assert opened.access_mode == "public"

    refusals: list[dict[str, Any]] = [
        {"name": "Mine"}, {"slice_ids": []}, {"access_mode": "private"}, {"is_active": False}, {},
    ]  # fmt: skip
    for values in refusals:
        with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.store.id):
            clerk.knowledge.update_store(house.id, house.store.id, **values)
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.knowledge.update_store(house.id, house.store.id, slice_id="kslice_gone")
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="vs_gone"):
        sdk.knowledge.update_store(house.id, "vs_gone", name="X")
    with refused(422, "VALIDATION_ERROR", field="slice_id"):
        sdk.knowledge.update_store(house.id, house.store.id, slice_id=other.id, slice_ids=[house.slice.id])
    with refused(422, "VALIDATION_ERROR", field="slice_ids.1"):
        sdk.knowledge.update_store(house.id, house.store.id, slice_ids=[other.id, other.id])


def test_delete_store(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    house.create(sdk, house.store, to=house.clerk.user_id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.store.id):
        clerk.knowledge.delete_store(house.id, house.store.id)
    sdk.knowledge.delete_store(house.id, house.store.id)
    with refused(404, "RESOURCE_NOT_FOUND", entity_id=house.store.id):
        sdk.knowledge.delete_store(house.id, house.store.id)
    assert house.tenant.grants(entity_id=house.store.id) == []
    house.tenant.entity(STORE, entity_id=house.store.id)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.get_store(house.id, house.store.id)


def test_a_member_lists_what_it_reaches_and_what_it_archived(sdk: Aitronos, connect: Connect, tenant: Tenant) -> None:
    tenant.entity()
    maker = tenant.person(tenant.role("create_knowledge"))
    own = connect(maker.secret)
    mine = make_slice(own, tenant, owner_id=maker.user_id)
    own.knowledge.archive_slice(tenant.organization_id, mine.id)
    shown = make_slice(sdk, tenant, access_mode="organization")
    assert [each.id for each in own.knowledge.list_slices(tenant.organization_id).items] == [mine.id, shown.id]
    assert own.knowledge.list_slices(tenant.organization_id, status="active").items == [shown]
    assert own.knowledge.get_slice(tenant.organization_id, mine.id).status == "archived"
    assert own.knowledge.unarchive_slice(tenant.organization_id, mine.id).status == "active"
