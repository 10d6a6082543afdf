"""Every listed method of the SDK's `users_v2` and `crew_management_members`, for success and for its main errors."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from aitronos import Aitronos
from aitronos.types import RemoveUserRequest

from grantbook.model.facts import Entity
from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import ONCE, refused
from tests.serving import Server

# invite_user_v2


def token_of(link: str | None) -> str:
    (token,) = parse_qs(urlsplit(link or "").query)["token"]
    return token


def accept(server: Server, token: str, **headers: str) -> httpx.Response:
    with server.client() as anybody:
        return anybody.post("/v1/invitations/accept", json={"token": token}, headers=headers)


def test_invite_user_v2_gives_a_link_that_makes_the_member_active(sdk: Aitronos, house: House, server: Server) -> None:
    department = house.tenant.department()
    made = sdk.users_v2.invite_user_v2(
        house.id, email="kim@acme.test", full_name="Kim", department_ids=[department], custom_message="Welcome!"
    )
    assert (made.account_state, made.deactivated_at) == ("pending_invitation", None)
    assert made.invited_at is not None
    assert str(made.invitation_link).startswith(f"{server.url}/v1/invitations/accept?token=")
    house.create(sdk, house.slice, to=department, kind="department")
    assert sdk.access_control.get_resolved_access(house.id, made.id).slice_access == []
    answer = accept(server, token_of(made.invitation_link), Host="evil.example")
    assert answer.status_code == 200
    assert answer.headers["Grantbook-Revision"] == f"{house.id}.{house.tenant.revision}"
    shown = answer.json()
    assert (shown["id"], shown["account_state"], shown["invitation_link"]) == (made.id, "active", None)
    assert (shown["invited_at"], shown["department_ids"]) == (made.invited_at, [department])
    assert len(sdk.access_control.get_resolved_access(house.id, made.id).slice_access or ()) == 1


def test_invite_user_v2_makes_links_of_the_settings_alone(sdk: Aitronos, house: House, server: Server) -> None:
    with server.client(house.tenant.owner.secret) as owner:
        made = owner.post(
            f"{house.tenant.path}/users/invite/v2",
            json={"email": "kim@acme.test"},
            headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
        )
    assert made.status_code == 201
    assert "evil" not in made.text
    active = sdk.users_v2.invite_user_v2(house.id, email="lee@acme.test", send_invitation=False)
    assert (active.invitation_link, active.invited_at, active.account_state) == (None, None, "active")


def test_the_token_of_an_invitation_is_kept_nowhere(house: House, server: Server) -> None:
    with server.client(house.tenant.owner.secret) as owner:
        path = f"{house.tenant.path}/users/invite/v2"
        first = owner.post(path, json={"email": "kim@acme.test"}, headers={"Idempotency-Key": "once"})
        again = owner.post(path, json={"email": "kim@acme.test"}, headers={"Idempotency-Key": "once"})
        member = owner.get(f"{house.tenant.path}/users/{first.json()['id']}")
    assert first.content == again.content
    token = token_of(first.json()["invitation_link"])
    assert token not in member.text
    for file in server.log.parent.glob("book.db*"):
        assert token.encode() not in file.read_bytes()
    changes = str(list(house.tenant.desk.store.changes(house.id)))
    assert token not in changes
    assert "digest" not in changes


def test_an_invitation_is_refused_alike_whatever_is_wrong_with_it(sdk: Aitronos, house: House, server: Server) -> None:
    invited = [sdk.users_v2.invite_user_v2(house.id, email=f"kim{number}@acme.test") for number in range(3)]
    tokens = [token_of(each.invitation_link) for each in invited]
    sdk.users_v2.remove_user(house.id, invited[0].id)
    house.tenant.set_state(invited[1].id, "deactivated")
    answers = [accept(server, token) for token in (*tokens[:2], "gbi_" + "0" * 64, "x" * 200, tokens[2][:-1])]
    for answer in answers:
        assert answer.status_code == 404
        error = answer.json()["error"]
        assert (error["code"], error["details"]) == ("RESOURCE_NOT_FOUND", {})
    assert accept(server, "").status_code == 422
    assert accept(server, tokens[2]).status_code == 200
    before = house.tenant.revision
    assert accept(server, tokens[2]).json()["account_state"] == "active"
    assert house.tenant.revision == before
    sdk.organizations.delete_organization(house.id)
    assert accept(server, tokens[2]).status_code == 404


def test_invite_user_v2_refuses(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    sdk.users_v2.invite_user_v2(house.id, email="kim@acme.test")
    with refused(409, "MEMBER_ALREADY_EXISTS"):
        sdk.users_v2.invite_user_v2(house.id, email="KIM@acme.test", request_options=ONCE)
    with refused(422, "VALIDATION_ERROR", field="email"):
        sdk.users_v2.invite_user_v2(house.id, email="nobody")
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        sdk.users_v2.invite_user_v2(house.id, email="lee@acme.test", role_ids=["role_gone"])
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.users_v2.invite_user_v2(house.id, email="lee@acme.test", department_ids=["dept_gone"])
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_users"):
        clerk.users_v2.invite_user_v2(house.id, email="lee@acme.test")
    inviter = connect(house.tenant.person(house.tenant.role("invite_users")).secret)
    assert inviter.users_v2.invite_user_v2(house.id, email="lee@acme.test").account_state == "pending_invitation"
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_users"):
        inviter.users_v2.invite_user_v2(house.id, email="mia@acme.test", send_invitation=False)


# update_memberships


def test_update_memberships(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    role, department = house.tenant.role(), house.tenant.department()
    changed = sdk.users_v2.update_memberships(house.id, house.user, role_ids=[role], department_ids=[department])
    assert (changed.role_ids, changed.department_ids) == ([role], [department])
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        sdk.users_v2.update_memberships(house.id, house.user, role_ids=["role_gone"], department_ids=[])
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.users_v2.update_memberships(house.id, house.user, role_ids=[], department_ids=[])


# deactivate_user, reactivate_user


def owner_of(house: House, entity_id: str) -> tuple[str, str]:
    with house.tenant.desk.store.snapshot(house.id) as snapshot:
        (entity,) = snapshot.select(Entity, {"id": entity_id})
    return entity.owner_type, entity.owner_id


def test_deactivate_user_hands_over_what_they_own(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    department = house.tenant.department(None, house.clerk.user_id)
    owned = [house.tenant.entity(kind, owner_id=house.user) for kind in ("knowledge_slice", "assistant")]
    house.create(sdk, house.store, to=house.user)
    before = house.tenant.revision
    ended = sdk.users_v2.deactivate_user(house.id, house.user, transfer_resources_to_department_id=department)
    assert (ended.account_state, ended.deactivated_at is not None) == ("deactivated", True)
    assert house.tenant.revision == before + 1
    assert {owner_of(house, ref.id) for ref in owned} == {("department", department)}
    assert clerk.knowledge.get_slice(house.id, owned[0].id).owner_id == department
    assert sdk.access_control.get_resolved_access(house.id, house.user).store_access == []
    assert len(house.tenant.grants(grantee_id=house.user)) == 1
    back = sdk.users_v2.reactivate_user(house.id, house.user)
    assert (back.account_state, back.deactivated_at) == ("active", None)
    found = sdk.access_control.get_resolved_access(house.id, house.user)
    assert (len(found.store_access or ()), found.slice_access) == (1, [])


def test_deactivate_user_refuses(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    tenant = house.tenant
    department = tenant.department()
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.users_v2.deactivate_user(house.id, house.user, transfer_resources_to_department_id="dept_gone")
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.users_v2.deactivate_user(house.id, "usr_gone", transfer_resources_to_department_id=department)
    with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
        sdk.users_v2.deactivate_user(house.id, tenant.owner.user_id, transfer_resources_to_department_id=department)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.users_v2.deactivate_user(house.id, house.user, transfer_resources_to_department_id=department)
    keeper = connect(tenant.person(tenant.role("deactivate_users")).secret)
    tenant.entity(owner_id=house.user)
    before = tenant.revision
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_access_control"):
        keeper.users_v2.deactivate_user(house.id, house.user, transfer_resources_to_department_id=department)
    assert tenant.revision == before
    other = tenant.user()
    ended = keeper.users_v2.deactivate_user(house.id, other, transfer_resources_to_department_id=department)
    assert ended.account_state == "deactivated"


def test_reactivate_user_refuses(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    house.tenant.set_state(house.user, "deactivated")
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_users"):
        clerk.users_v2.reactivate_user(house.id, house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.users_v2.reactivate_user(house.id, "usr_gone")


# remove_user


@pytest.mark.parametrize("confirm", [True, None])
def test_remove_user_can_hand_over_what_they_own(sdk: Aitronos, house: House, confirm: bool | None) -> None:
    department = house.tenant.department()
    owned, kept = house.tenant.entity(owner_id=house.user), house.tenant.entity(owner_id=house.clerk.user_id)
    request = RemoveUserRequest(transfer_resources_to_department_id=department, confirm=confirm)
    sdk.users_v2.remove_user(house.id, house.user, request=request)
    assert owner_of(house, owned.id) == ("department", department)
    sdk.users_v2.remove_user(house.id, house.clerk.user_id)
    assert owner_of(house, kept.id) == ("user", house.clerk.user_id)
    with refused(404, "RESOURCE_NOT_FOUND", user_id=house.user):
        sdk.users_v2.remove_user(house.id, house.user, request=request)


def test_remove_user_refuses(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    with refused(422, "VALIDATION_ERROR", field="confirm"):
        sdk.users_v2.remove_user(house.id, house.user, request=RemoveUserRequest(confirm=False))
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        request = RemoveUserRequest(transfer_resources_to_department_id="dept_gone")
        sdk.users_v2.remove_user(house.id, house.user, request=request)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.users_v2.remove_user(house.id, house.user)
    with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
        sdk.users_v2.remove_user(house.id, house.tenant.owner.user_id)


# get_my_access, get_ui_access


def test_get_my_access(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    tenant, user_id = house.tenant, house.clerk.user_id
    tenant.role("create_knowledge", to=user_id)
    department = tenant.department(None, user_id)
    owned = tenant.entity("assistant", owner_id=user_id)
    tenant.grant(owned, "read", user_id)
    tenant.grant(house.slice, "read", user_id)
    tenant.grant(house.slice, "write", department, grantee_type="department")
    tenant.grant(house.store, "read", user_id, starts_at=tenant.desk.clock() + 3_600_000_000)
    found = clerk.users_v2.get_my_access(house.id)
    assert (found.user_id, found.organization_id, found.preset) == (user_id, house.id, "controlled")
    assert "Member" in found.role_names
    assert {item.key for item in found.access_items if item.granted} == {"create_knowledge"}
    assert [item.key for item in found.access_items] == [each.key for each in sdk.roles.list_capabilities()]
    assert ([each.id for each in found.owned_resources], found.owned_count) == ([owned.id], 1)
    (shared,) = found.shared_resources
    assert (shared.id, shared.access_level, shared.granted_via) == (house.slice.id, "write", "department")
    assert found.shared_count == 1
    assert all(item.granted for item in sdk.users_v2.get_my_access(house.id).access_items)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.users_v2.get_my_access(house.id)


def test_get_ui_access(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    own = clerk.users_v2.get_ui_access(house.id, house.clerk.user_id)
    assert (own.pages.departments, own.pages.audit_log, own.pages.billing) == (True, False, False)
    assert (own.actions.view_members, own.actions.invite_user, own.actions.manage_roles) == (True, False, False)
    owner = sdk.users_v2.get_ui_access(house.id, house.tenant.owner.user_id)
    assert (owner.pages.audit_log, owner.actions.invite_user, owner.actions.change_preset) == (True, True, True)
    assert sdk.users_v2.get_ui_access(house.id, house.clerk.user_id) == own
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.users_v2.get_ui_access(house.id, house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.users_v2.get_ui_access(house.id, "usr_gone")


# list_members


def test_list_members_pages_and_filters(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    tenant = house.tenant
    role, department = tenant.role(), tenant.department(None, house.user)
    sdk.roles.assign_role_member(house.id, role, user_id=house.user)
    pending, ended = tenant.user(is_active=False), tenant.user()
    tenant.set_state(ended, "deactivated")
    everybody = [tenant.owner.user_id, house.user, house.clerk.user_id, pending]
    found = clerk.crew_management_members.list_members(house.id)
    assert [each.user_id for each in found.users] == everybody
    assert (found.total_users_count, found.skip, found.take) == (4, 0, 20)
    (shown,) = (each for each in found.users if each.user_id == house.user)
    assert shown.id == "orgusr_" + house.user.removeprefix("usr_")
    assert (shown.role.id, shown.status.id, shown.account_state) == (role, "active", "active")
    assert ([each.id for each in shown.departments or ()], shown.department_ids) == ([department], [department])

    def ids(**wanted: object) -> list[str]:
        page = sdk.crew_management_members.list_members(house.id, **wanted)
        assert page.total_users_count >= len(page.users)
        return [each.user_id for each in page.users]

    assert ids(skip=1, take=2) == everybody[1:3]
    assert ids(skip=9) == []
    assert ids(include_inactive=True) == [*everybody, ended]
    assert ids(status_id="deactivated") == [ended]
    assert ids(status_id="pending_invitation") == [pending]
    assert ids(role_id=role) == [house.user]
    assert ids(role_id=tenant.base_role("Member")) == everybody[1:]
    assert ids(role_id=tenant.base_role("Member"), include_inactive=True) == [*everybody[1:], ended]
    assert ids(search_term="ADA@") == [tenant.owner.user_id]
    assert ids(search_term=house.user.removeprefix("usr_").upper()) == [house.user]
    assert ids(search_term="%") == []
    assert ids(sort_column="created_at", sort_direction="desc") == everybody[::-1]
    assert ids(sort_column="email") == sorted(everybody, key=lambda id_: "ada" if id_ == everybody[0] else id_)
    assert ids(sort_column="status") == sorted(everybody, key=lambda id_: (id_ == pending, id_))


def test_list_members_takes_what_is_none_for_left_out(sdk: Aitronos, house: House) -> None:
    left_out = sdk.crew_management_members.list_members(house.id)
    assert sdk.crew_management_members.list_members(house.id, skip=None, take=None) == left_out
    assert (left_out.skip, left_out.take) == (0, 20)


def test_list_members_refuses(sdk: Aitronos, outsider: Aitronos, house: House) -> None:
    for field, odd in (("take", 501), ("take", 0), ("skip", -1), ("sort_direction", "up"), ("sort_column", "role")):
        with refused(422, "VALIDATION_ERROR", field=field):
            sdk.crew_management_members.list_members(house.id, **{field: odd})
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        sdk.crew_management_members.list_members(house.id, role_id="role_gone")
    with refused(404, "RESOURCE_NOT_FOUND", status_id="asleep"):
        sdk.crew_management_members.list_members(house.id, status_id="asleep")
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.crew_management_members.list_members(house.id)


# get_member_ids


def test_get_member_ids(clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    gone = [house.tenant.user() for _ in range(2)]
    for user_id in gone:
        house.tenant.remove(user_id)
    present = [house.tenant.owner.user_id, house.user, house.clerk.user_id]
    assert clerk.crew_management_members.get_member_ids(house.id) == sorted(present)
    assert clerk.crew_management_members.get_member_ids(house.id, include_deleted=True) == sorted([*present, *gone])
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.crew_management_members.get_member_ids(house.id)


# get_member, update_member


def test_get_member_by_either_id(clerk: Aitronos, house: House) -> None:
    found = clerk.crew_management_members.get_member(house.id, house.user)
    assert (found.user_id, found.role.name, found.organization_id) == (house.user, "Member", house.id)
    assert clerk.crew_management_members.get_member(house.id, found.id) == found
    owner = clerk.crew_management_members.get_member(house.id, house.tenant.owner.user_id)
    assert (owner.role.name, owner.full_name) == ("Owner", "Ada")
    for unknown in ("usr_gone", "orgusr_gone"):
        with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
            clerk.crew_management_members.get_member(house.id, unknown)


def test_update_member(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    members, tenant = sdk.crew_management_members, house.tenant
    role = tenant.role()
    tenant.role(to=house.user)
    changed = members.update_member(house.id, house.user, role_id=role, first_name="Kim", last_name="van Dyke")
    assert (changed.role.id, changed.full_name) == (role, "Kim van Dyke")
    assert sdk.roles.get_effective_permissions(house.id, house.user).role_ids == [role]
    assert members.update_member(house.id, changed.id, last_name="Lee").full_name == "Kim Lee"
    assert members.update_member(house.id, house.user, status_id="deactivated").account_state == "deactivated"
    assert members.update_member(house.id, house.user, status_id="active").status.name == "Active"
    own = clerk.crew_management_members.update_member(house.id, house.clerk.user_id, first_name="Cleo")
    assert own.full_name == "Cleo"


def test_update_member_refuses(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    members, tenant = sdk.crew_management_members, house.tenant
    for status, code in (("asleep", 404), ("pending_invitation", 422)):
        with refused(code, "RESOURCE_NOT_FOUND" if code == 404 else "VALIDATION_ERROR"):
            members.update_member(house.id, house.user, status_id=status)
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        members.update_member(house.id, house.user, role_id="role_gone")
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        members.update_member(house.id, "usr_gone", first_name="X")
    for change in ({"role_id": tenant.base_role("Member")}, {"status_id": "deactivated"}):
        with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
            members.update_member(house.id, tenant.owner.user_id, **change)
    for change in ({"first_name": "X"}, {"role_id": tenant.base_role("Owner")}, {"status_id": "deactivated"}):
        with refused(403, "INSUFFICIENT_PERMISSIONS"):
            clerk.crew_management_members.update_member(house.id, house.user, **change)
    keeper = tenant.person(tenant.role("manage_users", "assign_roles"))
    for user_id, change in (
        (keeper.user_id, {"role_id": tenant.base_role()}),
        (tenant.owner.user_id, {"last_name": "X"}),
    ):
        with refused(403, "INSUFFICIENT_PERMISSIONS"):
            connect(keeper.secret).crew_management_members.update_member(house.id, user_id, **change)


# delete_member, restore_member


def test_a_deleted_member_comes_back_with_nothing(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    tenant, user_id = house.tenant, house.clerk.user_id
    tenant.role("create_knowledge", to=user_id)
    tenant.department(None, user_id)
    house.create(sdk, house.slice, "write", to=user_id)
    sdk.crew_management_members.update_member(house.id, user_id, role_id=tenant.role(), first_name="Cleo")
    before = sdk.crew_management_members.get_member(house.id, user_id)
    sdk.crew_management_members.delete_member(house.id, before.id)
    with refused(404, "RESOURCE_NOT_FOUND", user_id=user_id):
        sdk.crew_management_members.get_member(house.id, user_id)
    with refused(401, "INVALID_API_KEY"):
        clerk.organizations.get_organization(house.id)
    sdk.crew_management_members.restore_member(house.id, before.id)
    back = sdk.crew_management_members.get_member(house.id, user_id)
    assert (back.id, back.email, back.full_name, back.joined_at) == (before.id, before.email, "Cleo", before.joined_at)
    assert (back.account_state, back.role.name, back.department_ids) == ("active", "Member", [])
    assert sdk.access_control.get_resolved_access(house.id, user_id).slice_access == []
    assert sdk.roles.get_effective_permissions(house.id, user_id).capabilities == []
    assert tenant.grants() == []
    assert sdk.crew_management_members.get_member_ids(house.id, include_deleted=True).count(user_id) == 1


def test_delete_and_restore_member_refuse(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    members, tenant = sdk.crew_management_members, house.tenant
    with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
        members.delete_member(house.id, tenant.owner.user_id)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.crew_management_members.delete_member(house.id, house.user)
    with refused(422, "VALIDATION_ERROR", field="user_id"):
        members.restore_member(house.id, house.user)
    address = members.get_member(house.id, house.user).email
    members.delete_member(house.id, house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id=house.user):
        members.delete_member(house.id, house.user)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_users"):
        clerk.crew_management_members.restore_member(house.id, house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        members.restore_member(house.id, "usr_gone")
    other = sdk.users_v2.invite_user_v2(house.id, email=address)
    with refused(409, "MEMBER_ALREADY_EXISTS", user_id=other.id):
        members.restore_member(house.id, house.user, request_options=ONCE)
