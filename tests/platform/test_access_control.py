"""Every method of the SDK's `access_control`, for success and for its main errors."""

from datetime import UTC, datetime, timedelta

import pytest
from aitronos import Aitronos
from aitronos.types import AccessGrantResponse, BulkGrantEntry

from grantbook.model.facts import EntityRef
from tests.http.calls import unknown
from tests.platform.house import SLICE, House
from tests.platform.refusals import ONCE, refused
from tests.serving import Tenant

# create_grant


def test_create_grant(sdk: Aitronos, house: House) -> None:
    grant = house.create(sdk, house.slice, "write")
    assert isinstance(grant, AccessGrantResponse)
    assert grant.id.startswith("agrant_")
    assert (grant.entity_type, grant.entity_id) == house.slice
    assert (grant.grantee_type, grant.grantee_id, grant.access_level) == ("user", house.user, "write")
    assert (grant.granted_by, grant.granted_by_name) == (house.tenant.owner.user_id, "Ada")
    assert grant.grantee_email == f"{house.user}@{house.tenant.tag}.test"
    assert grant.organization_id == house.id
    assert grant.created_at == grant.updated_at
    assert abs(datetime.now(UTC) - grant.created_at) < timedelta(minutes=1)


@pytest.mark.parametrize("level", ["read", "add_new", "overwrite", "write", "admin"])
@pytest.mark.parametrize("place", ["slice", "store", "assistant"])
def test_create_grant_of_each_level_on_each_type(sdk: Aitronos, house: House, place: str, level: str) -> None:
    assert house.create(sdk, getattr(house, place), level).access_level == level


def test_create_grant_for_each_type_of_grantee(sdk: Aitronos, house: House) -> None:
    grantees = {
        "user": house.user,
        "department": house.tenant.department(),
        "role": house.tenant.role(),
        "organization": house.id,
    }
    for kind, id_ in grantees.items():
        grant = house.create(sdk, house.slice, to=id_, kind=kind)
        assert (grant.grantee_type, grant.grantee_id) == (kind, id_)
        assert grant.grantee_name


def test_create_grant_again_gives_the_same_one(sdk: Aitronos, house: House) -> None:
    assert house.create(sdk, house.slice) == house.create(sdk, house.slice)
    assert len(house.tenant.grants()) == 1


def test_create_grant_of_another_level_is_a_conflict(sdk: Aitronos, house: House) -> None:
    present = house.create(sdk, house.slice)
    with refused(409, "GRANT_ALREADY_EXISTS", grant_id=present.id, access_level="read"):
        house.create(sdk, house.slice, "write")


def test_create_grant_after_a_revoke_makes_a_new_one(sdk: Aitronos, house: House) -> None:
    first = house.create(sdk, house.slice)
    sdk.access_control.revoke_grant(house.id, first.id)
    assert house.create(sdk, house.slice, "write").id != first.id


def test_create_grant_refuses_what_does_not_make_sense(sdk: Aitronos, house: House) -> None:
    for level in ("view", "owner", "READ"):
        with refused(422, "VALIDATION_ERROR", field="access_level"):
            house.create(sdk, house.slice, level)
    for kind in ("all", "team", "USER"):
        with refused(422, "VALIDATION_ERROR", field="grantee_type"):
            house.create(sdk, house.slice, kind=kind)
    for entity_type in ("rule", "thread", ""):
        with refused(422, "VALIDATION_ERROR", field="entity_type"):
            house.create(sdk, EntityRef(entity_type, "x_1"))


def test_create_grant_on_or_to_what_is_not_there(sdk: Aitronos, house: House) -> None:
    with refused(404, "RESOURCE_NOT_FOUND", entity_type=SLICE, entity_id="kslice_gone"):
        house.create(sdk, EntityRef(SLICE, "kslice_gone"))
    with refused(404, "RESOURCE_NOT_FOUND", entity_id=house.store.id):
        house.create(sdk, EntityRef(SLICE, house.store.id))
    for kind, id_ in (("user", "usr_x"), ("department", "dept_x"), ("role", "role_x"), ("organization", "org_x")):
        with refused(404, "RESOURCE_NOT_FOUND", grantee_id=id_, grantee_type=kind):
            house.create(sdk, house.slice, to=id_, kind=kind)


def test_create_grant_takes_the_right_to(clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.slice.id):
        house.create(clerk, house.slice)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        house.create(outsider, house.slice)
    house.tenant.grant(house.slice, "write", house.clerk.user_id)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        house.create(clerk, house.slice)


def test_create_grant_is_for_those_with_the_top_level_too(clerk: Aitronos, house: House) -> None:
    house.tenant.grant(house.slice, "admin", house.clerk.user_id)
    assert house.create(clerk, house.slice, "admin").granted_by == house.clerk.user_id


# bulk_create_grants


def bulk(sdk: Aitronos, house: House, *entries: tuple[str, str, str]) -> list[AccessGrantResponse]:
    made: list[AccessGrantResponse] = sdk.access_control.bulk_create_grants(
        house.id,
        entity_type=SLICE,
        entity_id=house.slice.id,
        grants=[BulkGrantEntry(grantee_type=kind, grantee_id=id_, access_level=level) for kind, id_, level in entries],
        request_options=ONCE,
    )
    return made


def test_bulk_create_grants_answers_in_request_order(sdk: Aitronos, house: House) -> None:
    entries = [
        ("role", house.tenant.role(), "read"),
        ("user", house.user, "admin"),
        ("organization", house.id, "add_new"),
        ("department", house.tenant.department(), "write"),
    ]
    made = bulk(sdk, house, *entries)
    assert [(grant.grantee_type, grant.grantee_id, grant.access_level) for grant in made] == entries
    assert len({grant.id for grant in made}) == 4
    assert {grant.created_at for grant in made} == {made[0].created_at}


def test_bulk_create_grants_keeps_what_is_there(sdk: Aitronos, house: House) -> None:
    present = house.create(sdk, house.slice)
    made = bulk(sdk, house, ("role", house.tenant.role(), "read"), ("user", house.user, "read"))
    assert made[1] == present


def test_bulk_create_grants_is_all_or_nothing(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    good = ("role", house.tenant.role(), "read")
    with refused(404, "RESOURCE_NOT_FOUND", grantee_id="usr_gone"):
        bulk(sdk, house, good, ("user", "usr_gone", "read"))
    with refused(422, "VALIDATION_ERROR", field="grants.2"):
        bulk(sdk, house, good, ("user", house.user, "read"), good)
    with refused(422, "VALIDATION_ERROR", field="grants.1.access_level"):
        bulk(sdk, house, good, ("user", house.user, "godlike"))
    with refused(422, "VALIDATION_ERROR", field="grants"):
        bulk(sdk, house)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        bulk(clerk, house, good)
    assert house.tenant.grants() == []
    house.create(sdk, house.slice, "write")
    with refused(409, "GRANT_ALREADY_EXISTS", access_level="write"):
        bulk(sdk, house, good, ("user", house.user, "read"))
    assert len(house.tenant.grants()) == 1


def test_bulk_create_grants_takes_a_thousand(sdk: Aitronos, house: House) -> None:
    entries = [("user", f"usr_{number}", "read") for number in range(1_001)]
    with refused(422, "VALIDATION_ERROR", field="grants"):
        bulk(sdk, house, *entries)
    with refused(404, "RESOURCE_NOT_FOUND", grantee_id="usr_0"):
        bulk(sdk, house, *entries[:1_000])


# update_grant, revoke_grant


def test_update_grant(sdk: Aitronos, house: House) -> None:
    grant = house.create(sdk, house.slice)
    changed = sdk.access_control.update_grant(house.id, grant.id, access_level="admin")
    assert changed.access_level == "admin"
    assert changed.updated_at >= grant.updated_at
    same = {"access_level", "updated_at"}
    assert changed.model_dump(exclude=same) == grant.model_dump(exclude=same)
    assert sdk.access_control.update_grant(house.id, grant.id, access_level="admin") == changed


def test_revoke_grant(sdk: Aitronos, house: House) -> None:
    grant = house.create(sdk, house.slice)
    sdk.access_control.revoke_grant(house.id, grant.id)
    assert sdk.access_control.list_grants(house.id).items == []


@pytest.mark.parametrize("call", ["update", "revoke"])
def test_a_grant_that_is_not_there_is_not_found(sdk: Aitronos, house: House, call: str) -> None:
    revoked = house.create(sdk, house.slice).id
    sdk.access_control.revoke_grant(house.id, revoked)
    other = Tenant.found(house.tenant.desk)
    (foreign,) = other.grant(other.entity(), "read", other.user())
    for grant_id in (revoked, unknown("agrant_x"), foreign.id):
        with refused(404, "RESOURCE_NOT_FOUND", grant_id=grant_id) as caught:
            change(sdk, house, call, grant_id)
        assert caught.value.body["error"]["system_message"] == "Access grant not found"
        assert caught.value.body["error"]["details"] == {"grant_id": grant_id}


@pytest.mark.parametrize("call", ["update", "revoke"])
def test_changing_a_grant_takes_the_right_to(clerk: Aitronos, outsider: Aitronos, house: House, call: str) -> None:
    (grant,) = house.tenant.grant(house.slice, "read", house.user)
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.slice.id):
        change(clerk, house, call, grant.id)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        change(outsider, house, call, grant.id)
    assert house.tenant.grants() == [grant]


def test_update_grant_refuses_a_level_that_is_none(sdk: Aitronos, house: House) -> None:
    grant = house.create(sdk, house.slice)
    with refused(422, "VALIDATION_ERROR", field="access_level"):
        sdk.access_control.update_grant(house.id, grant.id, access_level="view")


def change(sdk: Aitronos, house: House, call: str, grant_id: str) -> None:
    if call == "update":
        sdk.access_control.update_grant(house.id, grant_id, access_level="write", request_options=ONCE)
    else:
        sdk.access_control.revoke_grant(house.id, grant_id, request_options=ONCE)
