"""The SDK's registry of assistants: create, list, get, update, delete, for success and for their main errors."""

import inspect
from typing import Any

import pytest
from aitronos import Aitronos
from aitronos.types import AssistantResponse

from grantbook.model.facts import EntityRef
from tests.http.envelope import error_of
from tests.platform.conftest import Connect
from tests.platform.house import ASSISTANT, House
from tests.platform.refusals import ONCE, refused
from tests.serving import Server, Tenant

_SAMPLES = {"bool": True, "int": 1, "float": 0.5, "str": "text"}


def make(sdk: Aitronos, tenant: Tenant, name: str = "Clerk", **values: Any) -> AssistantResponse:
    made: AssistantResponse = sdk.assistants.create_assistant(
        organization_id=tenant.organization_id,
        assistant_create_organization_id=tenant.organization_id,
        name=name,
        request_options=ONCE,
        **values,
    )
    return made


def everything(method: Any, *but: str) -> dict[str, Any]:
    """Some value for each optional parameter of a method of the SDK."""
    values: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        wanted = str(parameter.annotation)
        if name in {*but, "request_options"} or "Optional" not in wanted:
            continue
        simple = next(
            (value for kind, value in _SAMPLES.items() if wanted.startswith(f"typing.Optional[{kind}]")), None
        )
        values[name] = {} if "Dict[" in wanted else ["text"] if "Sequence[" in wanted else simple
    return values


def test_create_assistant(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    department = house.tenant.department()
    made = make(
        sdk,
        house.tenant,
        description="Helps",
        access_mode="department",
        access_departments=[department],
        access_users=[house.clerk.user_id],
    )
    assert made.id.startswith("asst_")
    assert (made.name, made.description, made.organization_id) == ("Clerk", "Helps", house.id)
    assert (made.access_mode, made.access_departments, made.access_users) == (
        "department",
        [department],
        [house.clerk.user_id],
    )
    assert (made.created_by, made.is_active, made.user_access_level) == (house.tenant.owner.user_id, True, "owner")
    assert clerk.assistants.get_assistant(made.id).user_access_level == "view"
    assert make(sdk, house.tenant).access_mode == "private"
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_assistants"):
        make(clerk, house.tenant)
    with refused(404, "RESOURCE_NOT_FOUND", target_id="usr_gone"):
        make(sdk, house.tenant, access_users=["usr_gone"])
    with refused(404, "RESOURCE_NOT_FOUND", target_id=house.user):
        make(sdk, house.tenant, access_departments=[house.user])
    for values, field in (
        ({"name": " "}, "name"),
        ({"access_mode": "secret"}, "access_mode"),
        ({"access_mode": "public", "access_users": [house.user]}, "access_users"),
        ({"access_users": [house.user, house.user]}, "access_users.1"),
    ):
        with refused(422, "VALIDATION_ERROR", field=field):
            make(sdk, house.tenant, **values)


def test_the_organization_of_query_and_body_must_be_one_that_the_key_opens(
    sdk: Aitronos, outsider: Aitronos, house: House
) -> None:
    with refused(422, "VALIDATION_ERROR", field="organization_id"):
        sdk.assistants.create_assistant(
            organization_id=house.id, assistant_create_organization_id="org_other", name="X", request_options=ONCE
        )
    for call in (
        lambda: make(outsider, house.tenant),
        lambda: outsider.assistants.list_assistants(organization_id=house.id),
    ):
        with refused(403, "ORGANIZATION_ACCESS_DENIED", organization_id=house.id):
            call()


def test_the_older_sdk_names_the_organization_in_the_body_alone(server: Server, tenant: Tenant) -> None:
    body = {"name": "Clerk", "organization_id": tenant.organization_id}
    with server.client(tenant.owner.secret) as client:
        made = client.post("/v1/assistants", json=body)
        assert (made.status_code, made.json()["organization_id"]) == (201, tenant.organization_id)
        refused = client.post("/v1/assistants", json={**body, "organization_id": "org_other"})
        error_of(refused, 403, "ORGANIZATION_ACCESS_DENIED")
    with server.client(Tenant.found(tenant.desk).owner.secret) as client:
        error_of(client.post("/v1/assistants", json=body), 403, "ORGANIZATION_ACCESS_DENIED")


def test_every_field_of_the_sdk_is_taken_and_an_unknown_one_refused(
    sdk: Aitronos, server: Server, tenant: Tenant
) -> None:
    counted = ("name", "description", "access_mode", "access_departments", "access_users", "is_active")
    made = make(sdk, tenant, **everything(sdk.assistants.create_assistant, *counted))
    changed = sdk.assistants.update_assistant(made.id, **everything(sdk.assistants.update_assistant, *counted))
    assert (changed.id, changed.name, changed.updated_at) == (made.id, made.name, made.updated_at)
    assert changed.editable_by_users is None
    with server.client(tenant.owner.secret) as client:
        odd = client.put(f"/v1/assistants/{made.id}", json={"instruction": "x"})
        assert (odd.status_code, odd.json()["error"]["details"]["field"]) == (422, "instruction")


def test_list_assistants(sdk: Aitronos, clerk: Aitronos, tenant: Tenant, house: House) -> None:
    zoe = make(sdk, tenant, "Zoe", description="Knows the law")
    abe = make(sdk, tenant, "Abe", access_mode="organization")
    off = make(sdk, tenant, "Off", is_active=False)

    def listed(**filters: Any) -> list[str | None]:
        found = sdk.assistants.list_assistants(organization_id=house.id, **filters)
        assert found.total == len(found.assistants) == found.pagination.total
        return [each.id for each in found.assistants if each.id != house.assistant.id]

    assert listed() == [zoe.id, abe.id]
    assert listed(include_inactive=True) == [zoe.id, abe.id, off.id]
    assert listed(sort_by="name") == [abe.id, zoe.id]
    assert listed(sort_by="updated_at", sort_order="desc") == [abe.id, zoe.id]
    assert listed(search="LAW") == [zoe.id]
    assert listed(access_mode="organization") == [abe.id]
    assert listed(vector_store_id=house.store.id) == []
    assert listed(fields="summary", for_chat=True, visible_in_chat=True) == [zoe.id, abe.id]
    page = sdk.assistants.list_assistants(organization_id=house.id, limit=1, offset=1, sort_by="name")
    assert (page.total, page.pagination.has_more, page.pagination.offset) == (3, True, 1)
    assert (page.filters_applied.sort_by, page.user_context.user_id) == ("name", tenant.owner.user_id)
    assert [each.id for each in clerk.assistants.list_assistants(organization_id=house.id).assistants] == [abe.id]
    for name in ("sort_by", "sort_order", "access_mode", "fields"):
        with refused(422, "VALIDATION_ERROR", field=name):
            sdk.assistants.list_assistants(organization_id=house.id, **{name: "odd"})


def test_get_assistant(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    found = sdk.assistants.get_assistant(house.assistant.id, include_available_tools=True, include_connected_tools=True)
    assert (found.id, found.organization_id) == (house.assistant.id, house.id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.assistant.id):
        clerk.assistants.get_assistant(house.assistant.id)
    for speaker, id_ in ((sdk, "asst_gone"), (outsider, house.assistant.id), (outsider, "asst_gone")):
        with refused(404, "RESOURCE_NOT_FOUND", entity_id=id_):
            speaker.assistants.get_assistant(id_)


def test_update_assistant(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    department = house.tenant.department()
    ref = house.assistant
    listed = sdk.assistants.update_assistant(
        ref.id, name="New", description="Helps", access_departments=[department], access_users=[house.user]
    )
    assert (listed.name, listed.description) == ("New", "Helps")
    assert (listed.access_departments, listed.access_users) == ([department], [house.user])
    fewer = sdk.assistants.update_assistant(ref.id, access_users=[])
    assert (fewer.access_departments, fewer.access_users) == ([department], [])
    other_mode = sdk.assistants.update_assistant(ref.id, access_mode="department", access_users=[house.user])
    assert (other_mode.access_departments, other_mode.access_users) == ([], [house.user])
    opened = sdk.assistants.update_assistant(ref.id, access_mode="organization")
    assert (opened.access_mode, opened.access_users) == ("organization", [])
    assert clerk.assistants.get_assistant(ref.id).name == "New"
    assert not sdk.assistants.update_assistant(ref.id, is_active=False).is_active
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.assistants.get_assistant(ref.id)
    assert sdk.assistants.update_assistant(ref.id, is_active=True).is_active
    house.create(sdk, ref, "write", to=house.clerk.user_id)
    for values in ({"name": "Mine"}, {"access_mode": "public"}, {"access_users": [house.clerk.user_id]}):
        with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=ref.id):
            clerk.assistants.update_assistant(ref.id, **values)
    with refused(404, "RESOURCE_NOT_FOUND", entity_id=ref.id):
        outsider.assistants.update_assistant(ref.id, name="Mine")
    with refused(422, "VALIDATION_ERROR", field="access_departments"):
        sdk.assistants.update_assistant(ref.id, access_departments=[department])


def test_delete_assistant(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    house.create(sdk, house.assistant, "write", to=house.clerk.user_id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=house.assistant.id):
        clerk.assistants.delete_assistant(house.assistant.id)
    with refused(404, "RESOURCE_NOT_FOUND"):
        outsider.assistants.delete_assistant(house.assistant.id)
    sdk.assistants.delete_assistant(house.assistant.id)
    with refused(404, "RESOURCE_NOT_FOUND", entity_id=house.assistant.id):
        sdk.assistants.delete_assistant(house.assistant.id)
    house.tenant.entity(ASSISTANT, entity_id=house.assistant.id)
    assert house.tenant.grants(entity_id=house.assistant.id) == []
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.assistants.get_assistant(house.assistant.id)


@pytest.mark.parametrize("is_in_both", [False, True])
def test_an_assistant_is_found_in_the_organizations_that_the_key_made(
    sdk: Aitronos, connect: Connect, tenant: Tenant, is_in_both: bool
) -> None:
    """First in its own, should both use the same id; and never in one that only its user belongs to."""
    branch = sdk.organizations.create_organization(name="Branch", type="company")
    there = sdk.assistants.create_assistant(
        organization_id=branch.id, assistant_create_organization_id=branch.id, name="There", request_options=ONCE
    )
    assert sdk.assistants.get_assistant(there.id).organization_id == branch.id
    if is_in_both:
        tenant.entity(ASSISTANT, entity_id=there.id)
        assert sdk.assistants.get_assistant(there.id).organization_id == tenant.organization_id
    other_key = connect(tenant.key(tenant.owner.user_id))
    if is_in_both:
        assert other_key.assistants.get_assistant(there.id).organization_id == tenant.organization_id
    else:
        with refused(404, "RESOURCE_NOT_FOUND"):
            other_key.assistants.get_assistant(there.id)


def test_an_assistant_that_a_platform_registered_is_found(sdk: Aitronos, tenant: Tenant) -> None:
    ref: EntityRef = tenant.entity(ASSISTANT, entity_id="asst_own")
    assert sdk.assistants.get_assistant(ref.id).id == "asst_own"
