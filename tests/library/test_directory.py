"""Members, departments, roles and keys inside an application, on each kind of database."""

from datetime import timedelta
from typing import Any

import pytest

from grantbook import (
    AuthenticationFailed,
    Conflict,
    Grantbook,
    NotFound,
    OrganizationAccessDenied,
    OrganizationBook,
    PermissionDenied,
    ValidationFailed,
)
from grantbook.model.errors import LastOwner
from tests.http.inprocess import client_of
from tests.library.world import BOT, TIME, may


def test_members_come_and_go(acme: OrganizationBook) -> None:
    pending = acme.invite_member("gina@acme.example", full_name="Gina Rossi").member
    assert (pending.state, pending.full_name) == ("pending_invitation", "Gina Rossi")
    acme.create_grant(*BOT, ("user", pending.user_id), "read")
    assert not may(acme, pending.user_id)
    assert acme.set_member_state(pending.user_id, "active").member.state == "active"
    assert may(acme, pending.user_id)
    with pytest.raises(ValidationFailed, match="state"):
        acme.set_member_state(pending.user_id, "pending_invitation")
    acme.remove_member(pending.user_id)
    with pytest.raises(NotFound):
        acme.get_member(pending.user_id)
    assert acme.list_grants().total == 0


def test_members_are_listed(acme: OrganizationBook) -> None:
    acme.set_member_state("usr_eve", "deactivated")
    everybody = ["usr_ada", "usr_bob", "usr_eve"]
    page = acme.list_members(limit=2)
    assert ([each.member.user_id for each in page.items], page.total, page.has_more) == (everybody[:2], 3, True)
    (owner,) = [each for each in acme.list_roles() if each.name == "Owner"]

    def listed(**wanted: Any) -> list[str]:
        return [each.member.user_id for each in acme.list_members(**wanted).items]

    assert listed(skip=2) == everybody[2:]
    assert listed(search="BOB@") == ["usr_bob"]
    assert listed(state="deactivated") == ["usr_eve"]
    assert listed(role_id=owner.id) == ["usr_ada"]
    with pytest.raises(NotFound):
        listed(role_id="role_gone")


def test_departments_and_roles(acme: OrganizationBook) -> None:
    top = acme.create_department("Top", description="All of it")
    low = acme.create_department("Low", parent_id=top.id)
    role = acme.create_role("Editor", capabilities=["manage_users"], role_id="role_editor")
    view = acme.update_memberships("usr_bob", role_ids=[role.id], department_ids=[low.id])
    assert (view.role_ids, view.department_ids) == ((role.id,), (low.id,))
    assert [(each.line, each.member_count) for each in acme.list_departments()] == [
        (("Top",), 0),
        (("Top", "Low"), 1),
    ]
    assert role in acme.list_roles()
    assert role.capabilities == ("manage_users",)
    acme.create_grant(*BOT, ("department", top.id), "read")
    assert may(acme, "usr_bob")
    acme.delete_department(low.id)
    assert not may(acme, "usr_bob")
    acme.delete_role(role.id)
    assert role not in acme.list_roles()
    assert acme.get_member("usr_bob").role_ids == ()


def test_memberships_that_are_left_out_stay(acme: OrganizationBook) -> None:
    department, role = acme.create_department("Top").id, acme.create_role("Editor").id
    (member,) = acme.get_member("usr_bob").role_ids
    assert acme.update_memberships("usr_bob", department_ids=[department]).role_ids == (member,)
    assert acme.update_memberships("usr_bob", role_ids={role, member}).department_ids == (department,)
    assert acme.update_memberships("usr_bob") == acme.get_member("usr_bob")
    assert acme.update_memberships("usr_bob", role_ids=[], department_ids=[]).role_ids == ()


def test_a_book_says_whose_it_is(book: Grantbook, acme: OrganizationBook) -> None:
    assert repr(acme) == f"<OrganizationBook {acme.id} of system>"
    assert repr(book.organization(acme.id, acting_as="usr_bob")) == f"<OrganizationBook {acme.id} of usr_bob>"


def test_an_application_finds_out_whom_a_key_speaks_for(book: Grantbook, acme: OrganizationBook) -> None:
    key, secret = acme.create_api_key(
        "usr_bob", "laptop", scopes=["check", "read"], expires_at=TIME + timedelta(days=1)
    )
    assert book.authenticate(secret) == (acme.id, "usr_bob", ("check", "read"), key.id)
    for wrong, code in (("gb_wrong", "INVALID_API_KEY"), ("", "INVALID_API_KEY")):
        with pytest.raises(AuthenticationFailed) as caught:
            book.authenticate(wrong)
        assert caught.value.error_code == code
    acme.pause_api_key(key.id)
    with pytest.raises(AuthenticationFailed, match="paused"):
        book.authenticate(secret)
    acme.unpause_api_key(key.id)
    acme.set_member_state("usr_bob", "deactivated")
    with pytest.raises(OrganizationAccessDenied):
        book.authenticate(secret)


def test_departments_are_changed_and_moved(book: Grantbook, acme: OrganizationBook) -> None:
    top, low = acme.create_department("Top"), acme.create_department("Low", description="Below")
    acme.join_department(low.id, "usr_bob")
    acme.join_department(low.id, "usr_bob")
    acme.create_grant(*BOT, ("department", top.id), "read")
    assert not may(acme, "usr_bob")
    assert acme.move_department(low.id, top.id).parent_id == top.id
    assert may(acme, "usr_bob")
    view = acme.get_department(low.id)
    assert (view.line, view.member_count) == (("Top", "Low"), 1)
    with pytest.raises(ValidationFailed, match="below itself"):
        acme.move_department(top.id, low.id)
    assert acme.move_department(low.id, None).parent_id is None
    assert not may(acme, "usr_bob")
    changed = acme.update_department(low.id, name="Lower")
    assert (changed.name, changed.description) == ("Lower", "Below")
    assert acme.update_department(low.id, description="").description is None
    eve = book.organization(acme.id, acting_as="usr_eve")
    for refused in (
        lambda: eve.update_department(low.id, name="Mine"),
        lambda: eve.move_department(low.id, top.id),
        lambda: eve.join_department(low.id, "usr_eve"),
        lambda: eve.leave_department(low.id, "usr_bob"),
    ):
        with pytest.raises(PermissionDenied):
            refused()
    acme.leave_department(low.id, "usr_bob")
    assert acme.get_department(low.id).member_count == 0
    with pytest.raises(NotFound):
        acme.leave_department(low.id, "usr_bob")


def test_roles_are_changed_given_and_taken(book: Grantbook, acme: OrganizationBook) -> None:
    role = acme.create_role("Editor", description="Edits")
    acme.create_role("Reader")
    acme.create_grant(*BOT, ("role", role.id), "write")
    acme.assign_role(role.id, "usr_bob")
    acme.assign_role(role.id, "usr_bob")
    assert may(acme, "usr_bob", "write")
    changed = acme.update_role(role.id, name="Author", capabilities=["manage_departments"])
    assert (changed.name, changed.capabilities, changed.description) == ("Author", ("manage_departments",), "Edits")
    assert acme.get_role(role.id) == changed
    book.organization(acme.id, acting_as="usr_bob").create_department("Bob's")
    with pytest.raises(Conflict, match="name"):
        acme.update_role(role.id, name="Reader")
    (owner,) = [each for each in acme.list_roles() if each.name == "Owner"]
    with pytest.raises(PermissionDenied):
        acme.update_role(owner.id, name="Boss")
    with pytest.raises(LastOwner):
        acme.unassign_role(owner.id, "usr_ada")
    eve = book.organization(acme.id, acting_as="usr_eve")
    for refused in (
        lambda: eve.update_role(role.id, name="Mine"),
        lambda: eve.assign_role(owner.id, "usr_eve"),
        lambda: eve.unassign_role(role.id, "usr_bob"),
    ):
        with pytest.raises(PermissionDenied):
            refused()
    acme.unassign_role(role.id, "usr_bob")
    assert not may(acme, "usr_bob")
    with pytest.raises(NotFound):
        acme.unassign_role(role.id, "usr_bob")
    with pytest.raises(NotFound):
        acme.get_role("role_gone")


def test_members_are_renamed_inherited_from_and_restored(acme: OrganizationBook) -> None:
    heir = acme.create_department("Heirs")
    assert acme.rename_member("usr_bob", first_name="Bob", last_name="Ross").member.full_name == "Bob Ross"
    notes = ("vector_store", "vs_bob")
    acme.register_entity(*notes, name="Bob's", owner=("user", "usr_bob"), access_mode="private")
    acme.remove_member("usr_bob", heir_id=heir.id)
    assert acme.get_entity(*notes).entity.owner == ("department", heir.id)
    back = acme.restore_member("usr_bob")
    assert (back.member.state, back.member.full_name, back.department_ids) == ("active", "Bob Ross", ())
    assert not may(acme, "usr_bob", "read", notes)
    with pytest.raises(ValidationFailed, match="only removed ones"):
        acme.restore_member("usr_bob")


def test_a_key_is_paused_and_rotated(book: Grantbook, acme: OrganizationBook) -> None:
    secret = acme.create_api_key("usr_bob", "laptop").secret
    (key,) = acme.list_api_keys().items
    eve = book.organization(acme.id, acting_as="usr_eve")
    for refused in (eve.pause_api_key, eve.unpause_api_key, eve.rotate_api_key):
        with pytest.raises(PermissionDenied):
            refused(key.id)
    with client_of(book.desk) as client:

        def status(secret: str) -> int:
            client.headers["X-API-Key"] = secret
            return client.get(f"/v1/organizations/{acme.id}/access/entities?user_id=usr_bob").status_code

        assert status(secret) == 200
        assert acme.pause_api_key(key.id).is_paused
        assert status(secret) == 401
        assert not acme.unpause_api_key(key.id).is_paused
        assert status(secret) == 200
        fresh = acme.rotate_api_key(key.id).secret
        assert (status(secret), status(fresh)) == (401, 200)
    (rotated,) = acme.list_api_keys().items
    assert (rotated.name, rotated.id != key.id) == ("laptop", True)
    assert fresh not in repr(rotated)


def test_a_key_that_the_application_rotates_opens_what_it_opened(book: Grantbook, acme: OrganizationBook) -> None:
    key, secret = acme.create_api_key("usr_ada", "maker")
    with client_of(book.desk) as client:

        def call(method: str, path: str, secret: str, **body: Any) -> Any:
            return client.request(method, f"/v1/organizations{path}", headers={"X-API-Key": secret}, **body)

        made = call("POST", "", secret, json={"name": "Branch", "type": "company"}).json()["id"]
        fresh = acme.rotate_api_key(key.id)
        assert call("GET", f"/{made}", fresh.secret).status_code == 200
        other = book.organization(acme.id, acting_as="usr_ada").rotate_api_key(fresh.key.id)
        assert call("GET", f"/{made}", other.secret).status_code == 403


def test_keys_open_the_server_until_they_end(book: Grantbook, acme: OrganizationBook) -> None:
    secret = acme.create_api_key("usr_bob", "laptop", scopes=["check"], expires_at=TIME + timedelta(days=1)).secret
    page = acme.list_api_keys()
    (key,) = page.items
    assert (key.user_id, key.name, page.total, page.has_more) == ("usr_bob", "laptop", 1, False)
    assert secret not in repr(key)
    eve = book.organization(acme.id, acting_as="usr_eve")
    assert eve.list_api_keys().items == []
    with pytest.raises(PermissionDenied):
        eve.delete_api_key(key.id)
    with client_of(book.desk) as client:
        client.headers["X-API-Key"] = secret
        address = f"/v1/organizations/{acme.id}/access/entities?user_id=usr_bob"
        assert client.get(address).status_code == 200
        acme.delete_api_key(key.id)
        assert client.get(address).status_code == 401
    assert acme.list_api_keys().items == []
    for name in ("first", "second"):
        acme.create_api_key("usr_bob", name)
    pages = acme.list_api_keys(limit=1), acme.list_api_keys(skip=1)
    assert [([each.name for each in page.items], page.total, page.has_more) for page in pages] == [
        (["first"], 2, True),
        (["second"], 2, False),
    ]
