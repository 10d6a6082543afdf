"""The SDK's lists of grants and its answers about who reaches what."""

from datetime import UTC, datetime, timedelta

import pytest
from aitronos import Aitronos
from aitronos.types import AccessGrantListResponse, AccessGrantResponse

from grantbook.model.facts import EntityRef
from tests.http.calls import unknown
from tests.platform.house import ASSISTANT, SLICE, STORE, House
from tests.platform.refusals import ONCE, refused

# list_grants


@pytest.fixture
def grants(sdk: Aitronos, house: House) -> list[AccessGrantResponse]:
    """On each of three entities: to the user, to a department, to a role, to the organization; oldest first."""
    grantees = {
        "user": house.user,
        "department": house.tenant.department(),
        "role": house.tenant.role(),
        "organization": house.id,
    }
    return [
        house.create(sdk, entity, to=id_, kind=kind)
        for entity in (house.slice, house.store, house.assistant)
        for kind, id_ in grantees.items()
    ]


def test_list_grants(sdk: Aitronos, house: House, grants: list[AccessGrantResponse]) -> None:
    page = sdk.access_control.list_grants(house.id)
    assert isinstance(page, AccessGrantListResponse)
    assert page.items == grants
    assert (page.total, page.skip, page.limit, page.has_more) == (12, 0, 20, False)


def test_list_grants_with_each_filter(sdk: Aitronos, house: House, grants: list[AccessGrantResponse]) -> None:
    listed = sdk.access_control.list_grants
    for entity in (house.slice, house.store, house.assistant):
        wanted = [grant for grant in grants if grant.entity_id == entity.id]
        assert listed(house.id, entity_type=entity.type).items == wanted
        assert listed(house.id, entity_id=entity.id).items == wanted
        assert listed(house.id, entity_type=entity.type, entity_id=entity.id).items == wanted
    for kind, id_ in {(grant.grantee_type, grant.grantee_id) for grant in grants}:
        wanted = [grant for grant in grants if grant.grantee_id == id_]
        assert listed(house.id, grantee_type=kind).items == wanted
        assert listed(house.id, grantee_id=id_).items == wanted
    (one,) = listed(
        house.id, entity_type=SLICE, entity_id=house.slice.id, grantee_type="user", grantee_id=house.user
    ).items
    assert one == grants[0]
    assert listed(house.id, entity_type=STORE, entity_id=house.slice.id).items == []
    assert listed(house.id, entity_id=unknown("kslice_x")).items == []


def test_list_grants_in_pages(sdk: Aitronos, house: House, grants: list[AccessGrantResponse]) -> None:
    found: list[AccessGrantResponse] = []
    while True:
        page = sdk.access_control.list_grants(house.id, skip=len(found), limit=5)
        assert (page.total, page.skip, page.limit) == (12, len(found), 5)
        found += page.items
        if not page.has_more:
            break
    assert found == grants
    filtered = sdk.access_control.list_grants(house.id, entity_type=STORE, skip=3, limit=1)
    assert (filtered.items, filtered.total, filtered.has_more) == ([grants[7]], 4, False)


def test_list_grants_refuses_what_does_not_make_sense(sdk: Aitronos, house: House) -> None:
    for filters in ({"entity_type": "thread"}, {"entity_type": "rule"}, {"grantee_type": "team"}):
        (field,) = filters
        with refused(422, "VALIDATION_ERROR", field=field):
            sdk.access_control.list_grants(house.id, **filters)
    for name, value in (("skip", -1), ("limit", 0), ("limit", 101)):
        with refused(422, "VALIDATION_ERROR", field=name):
            sdk.access_control.list_grants(house.id, **{name: value})


def test_list_grants_shows_a_member_what_reaches_them_and_what_they_may_share(
    sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House, grants: list[AccessGrantResponse]
) -> None:
    to_all = [grant for grant in grants if grant.grantee_type == "organization"]
    assert clerk.access_control.list_grants(house.id).items == to_all
    own = house.create(sdk, house.store, "admin", to=house.clerk.user_id)
    shown = {grant.id for grant in clerk.access_control.list_grants(house.id).items}
    assert shown == {grant.id for grant in (*to_all, own, *grants) if grant in to_all or grant.entity_type == STORE}
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.access_control.list_grants(house.id)


# list_slice_grants, list_store_grants, list_assistant_grants


@pytest.mark.parametrize("kind", [SLICE, STORE, ASSISTANT])
def test_grants_of_one_entity(
    sdk: Aitronos, clerk: Aitronos, house: House, grants: list[AccessGrantResponse], kind: str
) -> None:
    entity = entity_of(house, kind)
    page = grants_of(sdk, house, entity)
    assert page.items == [grant for grant in grants if grant.entity_type == kind]
    assert (page.total, page.has_more) == (4, False)
    middle = grants_of(sdk, house, entity, skip=1, limit=2)
    assert (middle.items, middle.has_more) == (page.items[1:3], True)
    assert grants_of(clerk, house, entity) == page  # a grant to the organization lets them read


@pytest.mark.parametrize("kind", [SLICE, STORE, ASSISTANT])
def test_grants_of_an_entity_that_is_not_there(sdk: Aitronos, outsider: Aitronos, house: House, kind: str) -> None:
    with refused(404, "RESOURCE_NOT_FOUND", entity_type=kind, entity_id="x_gone"):
        grants_of(sdk, house, EntityRef(kind, "x_gone"))
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        grants_of(outsider, house, entity_of(house, kind))


def test_grants_of_an_entity_are_for_those_who_read_it(clerk: Aitronos, house: House) -> None:
    for entity in (house.slice, house.store):
        with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=entity.id):
            grants_of(clerk, house, entity)
    assert grants_of(clerk, house, house.assistant).items == []  # membership is enough for an assistant


def entity_of(house: House, kind: str) -> EntityRef:
    return next(entity for entity in (house.slice, house.store, house.assistant) if entity.type == kind)


def grants_of(sdk: Aitronos, house: House, entity: EntityRef, **page: int) -> AccessGrantListResponse:
    calls = {
        SLICE: sdk.access_control.list_slice_grants,
        STORE: sdk.access_control.list_store_grants,
        ASSISTANT: sdk.access_control.list_assistant_grants,
    }
    listed: AccessGrantListResponse = calls[entity.type](house.id, entity.id, request_options=ONCE, **page)
    return listed


# get_resolved_access


def test_get_resolved_access(sdk: Aitronos, house: House) -> None:
    department = house.tenant.department(None, house.user)
    inside = house.tenant.entity(STORE, containers=(house.slice,))
    house.create(sdk, house.slice, "write", to=department, kind="department")
    house.create(sdk, house.slice, "read")
    found = sdk.access_control.get_resolved_access(house.id, house.user)
    assert found.user_id == house.user
    assert abs(datetime.now(UTC) - found.resolved_at) < timedelta(minutes=1)
    assert found.slice_access is not None
    (on_slice,) = found.slice_access
    assert (on_slice.slice_id, on_slice.slice_name) == (house.slice.id, f"The {house.slice.id}")
    assert on_slice.access_level == "write"
    assert on_slice.grant_paths is not None
    assert [(path.type, path.access_level, path.source_id) for path in on_slice.grant_paths] == [
        ("department", "write", department),
        ("direct", "read", house.user),
    ]
    assert on_slice.grant_paths[0].source_name == department
    assert found.store_access is not None
    (on_store,) = found.store_access
    assert (on_store.store_id, on_store.access_level) == (inside.id, "write")


def test_get_resolved_access_of_one_type(sdk: Aitronos, house: House) -> None:
    for entity in (house.slice, house.store, house.assistant):
        house.create(sdk, entity)
    found = sdk.access_control.get_resolved_access(house.id, house.user, entity_type=SLICE)
    assert found.slice_access is not None
    assert [each.slice_id for each in found.slice_access] == [house.slice.id]
    assert found.store_access == []
    only_stores = sdk.access_control.get_resolved_access(house.id, house.user, entity_type=STORE)
    assert only_stores.slice_access == []
    everything = sdk.access_control.get_resolved_access(house.id, house.user)
    assert everything.store_access == only_stores.store_access


def test_get_resolved_access_names_no_access_for_those_who_lost_it(sdk: Aitronos, house: House) -> None:
    house.create(sdk, house.slice)
    house.tenant.set_state(house.user, "deactivated")
    found = sdk.access_control.get_resolved_access(house.id, house.user)
    assert (found.slice_access, found.store_access) == ([], [])


def test_get_resolved_access_is_for_oneself_and_those_who_manage(
    sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House
) -> None:
    own = clerk.access_control.get_resolved_access(house.id, house.clerk.user_id)
    assert (own.user_id, own.slice_access) == (house.clerk.user_id, [])
    with refused(403, "INSUFFICIENT_PERMISSIONS", user_id=house.user):
        clerk.access_control.get_resolved_access(house.id, house.user)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.access_control.get_resolved_access(house.id, house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.access_control.get_resolved_access(house.id, "usr_gone")
    with refused(422, "VALIDATION_ERROR", field="entity_type"):
        sdk.access_control.get_resolved_access(house.id, house.user, entity_type="thread")


# get_users_with_access


def test_get_users_with_access(sdk: Aitronos, house: House) -> None:
    admin = house.tenant.user(house.tenant.base_role())
    house.create(sdk, house.slice, "add_new")
    found = sdk.access_control.get_users_with_access(house.id, entity_type=SLICE, entity_id=house.slice.id)
    assert (found.entity_type, found.entity_id) == house.slice
    levels = {user.user_id: user.access_level for user in found.users}
    assert levels == {house.tenant.owner.user_id: "admin", admin: "admin", house.user: "add_new"}
    paths = {user.user_id: [path.type for path in user.grant_paths or ()] for user in found.users}
    assert paths == {house.tenant.owner.user_id: ["owner", "capability"], admin: ["capability"], house.user: ["direct"]}


def test_get_users_with_access_is_for_those_who_may_share(
    sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House
) -> None:
    place = {"entity_type": SLICE, "entity_id": house.slice.id}
    with refused(403, "INSUFFICIENT_PERMISSIONS", **place):
        clerk.access_control.get_users_with_access(house.id, **place)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.access_control.get_users_with_access(house.id, **place)
    house.create(sdk, house.slice, "admin", to=house.clerk.user_id)
    assert clerk.access_control.get_users_with_access(house.id, **place).users
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.access_control.get_users_with_access(house.id, entity_type=SLICE, entity_id="kslice_gone")
    with refused(422, "VALIDATION_ERROR", field="entity_type"):
        sdk.access_control.get_users_with_access(house.id, entity_type="thread", entity_id="x_1")


# get_access_overview


def test_get_access_overview_for_one_who_manages(sdk: Aitronos, house: House) -> None:
    inner = house.tenant.entity(STORE, containers=(house.slice,), mode="organization")
    composite = sdk.knowledge.create_composite(house.id, name="All", member_slice_ids=[house.slice.id])
    grant = house.create(sdk, house.slice)
    admin = house.tenant.user(house.tenant.base_role())
    found = sdk.access_control.get_access_overview(house.id)
    assert found.can_view_all is True
    assert {(each.id, each.is_composite) for each in found.slices} == {(house.slice.id, False), (composite.id, True)}
    assert {(each.id, each.access_mode) for each in found.stores} == {
        (house.store.id, "private"),
        (inner.id, "organization"),
    }
    (shown,) = found.grants
    assert shown.model_dump() == grant.model_dump(include=set(type(shown).model_fields))
    assert [(each.slice_id, each.store_id) for each in found.slice_store_map] == [(house.slice.id, inner.id)]
    assert [(each.composite_id, each.member_id) for each in found.composite_members] == [(composite.id, house.slice.id)]
    assert set(found.admin_users or ()) == {house.tenant.owner.user_id, admin}
    assert set(found.org_member_ids or ()) == {house.tenant.owner.user_id, house.user, house.clerk.user_id, admin}


def test_get_access_overview_for_a_member(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    assert clerk.access_control.get_access_overview(house.id).slices == []
    house.create(sdk, house.slice)
    mine = house.create(sdk, house.slice, to=house.clerk.user_id)
    found = clerk.access_control.get_access_overview(house.id)
    assert found.can_view_all is False
    assert [each.id for each in found.slices] == [house.slice.id]
    assert [each.id for each in found.grants] == [mine.id]
    assert (found.stores, found.admin_users, found.org_member_ids) == ([], [], [house.clerk.user_id])
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.access_control.get_access_overview(house.id)
