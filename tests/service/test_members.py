"""Members through their whole life: invited, accepted, renamed, deactivated, removed, restored; and found in lists."""

import pytest

from grantbook.model.errors import Conflict, LastOwner, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import Entity, Member, Principal, RoleAssignment, revised
from grantbook.model.instants import SECOND
from grantbook.model.limits import INVITATION_TTL_S, MAX_SHOWN_RESOURCES
from grantbook.service import invitations, keys, member_lists, members, organizations, permissions, roles
from grantbook.service.desk import SYSTEM
from grantbook.service.member_lists import Wanted
from grantbook.store.port import Order
from tests.service.office import (
    ADMIN,
    BOT,
    EDITOR,
    LOW,
    NOTES,
    OTHER,
    OWNER,
    PLAIN,
    STRANGER,
    TEAM,
    TOP,
    Office,
)
from tests.worlds import DAY, MILLISECOND, NOW, ORGANIZATION, deposit, entity, member, nothing_happens, user

TTL = INVITATION_TTL_S * SECOND


def _invite(office: Office, email: str = "kim@example.org") -> tuple[str, str]:
    made = office.do(ADMIN, members.invite, email=email, department_ids=[LOW.id])
    return made.member.user_id, made.invitation_token or ""


def test_an_invitation_is_good_until_its_end(office: Office) -> None:
    office.give(NOTES, TOP, "read")
    invited = [_invite(office, f"kim{number}@example.org") for number in range(3)]
    assert {office.level(user_id, NOTES) for user_id, _ in invited} == {None}
    office.clock.advance(TTL - MILLISECOND)
    user_id, token = invited[0]
    assert invitations.find_invited(office.desk, token) == (ORGANIZATION, user_id)
    assert office.do(user_id, invitations.accept, token).is_active
    assert office.level(user_id, NOTES) == "read"
    office.clock.advance(MILLISECOND)
    user_id, token = invited[1]
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(user_id, invitations.accept, token)
    assert office.do(ADMIN, members.set_state, user_id, "active").member.is_active


def test_accepting_tells_who_it_was_and_changes_nothing_more(office: Office) -> None:
    user_id, token = _invite(office)
    before = office.revision
    office.do(user_id, invitations.accept, token)
    (change,) = office.changes(before)
    assert (change.actor_id, change.action, change.subject_id) == (user_id, "accepted", user_id)
    with nothing_happens(office.store, ORGANIZATION):
        assert office.do(user_id, invitations.accept, token).is_active


def test_a_token_is_good_for_its_member_alone(office: Office) -> None:
    (kim, token), (lee, other) = _invite(office), _invite(office, "lee@example.org")
    for who, wrong in ((kim, other), (lee, token), (kim, ""), (kim, token[:-1]), (PLAIN, token), (STRANGER, token)):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
            office.do(who, invitations.accept, wrong)
    for wrong in ("", "x", token[:-1], token + "0", "x" * 10_000, "\ud800"):
        with pytest.raises(NotFound):
            invitations.find_invited(office.desk, wrong)


def test_a_token_does_not_bring_back_who_was_deactivated_or_removed(office: Office) -> None:
    user_id, token = _invite(office)
    office.do(user_id, invitations.accept, token)
    office.do(ADMIN, members.set_state, user_id, "deactivated")
    for state in ("deactivated", "active"):
        office.do(ADMIN, members.set_state, user_id, state)
        with pytest.raises(NotFound):
            office.do(user_id, invitations.accept, token)
    user_id, token = _invite(office, "lee@example.org")
    office.do(ADMIN, members.remove, user_id)
    office.do(ADMIN, members.restore, user_id)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(user_id, invitations.accept, token)


def test_what_is_owned_goes_to_the_department_in_the_same_revision(office: Office) -> None:
    mine = [NOTES, BOT]
    for ref in mine:
        office.register(ref, owner=user(PLAIN))
    office.do(SYSTEM, members.join_department, TOP.id, OTHER)
    before = office.revision
    office.do(ADMIN, members.deactivate, PLAIN, heir_id=TOP.id)
    assert office.revision == before + 1
    done = {(change.subject_id, change.action) for change in office.changes(before)}
    assert done == {(PLAIN, "deactivated"), (NOTES.id, "updated"), (BOT.id, "updated")}
    for ref in mine:
        assert (office.entity(ref) or entity(ref)).owner == TOP
    assert (office.level(PLAIN, NOTES), office.level(OTHER, NOTES)) == (None, "write")
    assert (office.entity(TEAM) or entity(TEAM)).owner == user(OWNER)


def test_handing_over_takes_the_right_to_share(office: Office) -> None:
    office.do(SYSTEM, roles.update, EDITOR.id, capabilities=["deactivate_users", "remove_users"])
    office.register(NOTES, owner=user(PLAIN))
    for end in (members.deactivate, members.remove):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            office.do(OTHER, end, PLAIN, heir_id=LOW.id)
        assert raised.value.details == {"capability": "manage_access_control"}
    office.do(OTHER, members.deactivate, PLAIN)
    assert (office.entity(NOTES) or entity(NOTES)).owner == user(PLAIN)
    with pytest.raises(NotFound):
        office.do(ADMIN, members.remove, PLAIN, heir_id="dept_gone")
    office.do(ADMIN, members.remove, PLAIN, heir_id=LOW.id)
    assert (office.entity(NOTES) or entity(NOTES)).owner == LOW


@pytest.mark.parametrize("state", ["active", "deactivated", "pending_invitation"])
def test_a_restored_member_has_the_state_and_nothing_else_of_before(office: Office, state: str) -> None:
    office.invite("usr_kim", roles=[EDITOR.id], departments=[LOW.id], active=state != "pending_invitation")
    office.give(NOTES, user("usr_kim"), "admin")
    _, secret = office.do(SYSTEM, keys.create, user_id="usr_kim", name="k")
    if state == "deactivated":
        office.do(ADMIN, members.set_state, "usr_kim", state)
    office.do(ADMIN, members.remove, "usr_kim")
    office.clock.advance(DAY)
    before = office.revision
    back = office.do(ADMIN, members.restore, "usr_kim")
    assert {change.action for change in office.changes(before)} == {"restored", "assigned"}
    assert (back.member.state, back.member.email) == (state, "usr_kim@example.org")
    assert (back.member.created_at, back.member.updated_at) == (NOW, NOW + DAY)
    assert (back.role_ids, back.department_ids) == ((office.base_role("Member"),), ())
    assert office.level("usr_kim", NOTES) is None
    assert office.grants() == []
    with pytest.raises(Exception, match="not valid"):
        keys.authenticate(office.desk, secret)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(ADMIN, members.restore, "usr_kim")


def test_a_member_is_removed_and_restored_as_often_as_one_likes(office: Office) -> None:
    for number in range(3):
        office.do(ADMIN, members.update, PLAIN, first_name=f"Name{number}")
        office.do(ADMIN, members.remove, PLAIN)
        assert office.do(ADMIN, members.restore, PLAIN).member.full_name == f"Name{number}"
    assert office.ask(PLAIN, member_lists.list_ids, with_removed=True) == sorted([OWNER, ADMIN, PLAIN, OTHER])


def test_restoring_refuses(office: Office) -> None:
    office.do(ADMIN, members.remove, PLAIN)
    for who in (OTHER, STRANGER, PLAIN):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            office.do(who, members.restore, PLAIN)
    for nobody in (STRANGER, "usr_gone"):
        with pytest.raises(NotFound):
            office.do(ADMIN, members.restore, nobody)
    office.do(ADMIN, members.invite, email=f"{PLAIN}@example.org", user_id="usr_other_plain")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(Conflict):
        office.do(ADMIN, members.restore, PLAIN)


def test_an_update_is_all_or_nothing(office: Office) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(LastOwner):
        office.do(OWNER, members.update, OWNER, first_name="New", state="deactivated")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, members.update, PLAIN, first_name="New", role_id=office.base_role("Owner"))
    with nothing_happens(office.store, ORGANIZATION):
        office.do(PLAIN, members.update, PLAIN)
        office.do(ADMIN, members.update, PLAIN, role_id=office.base_role("Member"), state="active")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(ADMIN, members.update, OWNER, last_name="New")


def test_one_role_takes_the_place_of_all(office: Office) -> None:
    office.do(SYSTEM, members.assign_role, office.base_role("Owner"), ADMIN)
    changed = office.do(OWNER, members.update, ADMIN, role_id=office.base_role("Member"))
    assert changed.role_ids == (office.base_role("Member"),)
    assert office.do(OWNER, members.update, PLAIN, role_id=EDITOR.id).department_ids == (LOW.id,)


def _listed(office: Office, wanted: Wanted, skip: int = 0, limit: int = 100) -> tuple[list[str], int]:
    found = office.ask(PLAIN, member_lists.list_members, wanted, skip=skip, limit=limit)
    return [each.member.user_id for each in found.items], found.total


def test_lists_count_what_they_do_not_show(office: Office) -> None:
    people = [
        member(f"usr_{number:04}", "deactivated" if number % 10 == 0 else "active", created_at=NOW + 1 + number)
        for number in range(1_100)
    ]
    role_id = office.base_role("Member")
    given = [RoleAssignment(role_id=role_id, user_id=each.user_id, assigned_at=NOW) for each in people]
    deposit(office.store, ORGANIZATION, [*people, *given])
    active = [each.user_id for each in people if each.is_active]
    for wanted, expected in (
        (Wanted(role_id=role_id), [PLAIN, *active]),
        (Wanted(role_id=role_id, state="active"), [PLAIN, *active]),
        (Wanted(role_id=role_id, with_deactivated=True), [PLAIN, *(each.user_id for each in people)]),
        (Wanted(role_id=role_id, state="deactivated"), [each.user_id for each in people if not each.is_active]),
        (Wanted(role_id=role_id, search="R_000"), [id_ for id_ in active if id_.startswith("usr_000")]),
        (Wanted(role_id=EDITOR.id), [OTHER]),
        (Wanted(search="example.ORG"), [ADMIN, OTHER, OWNER, PLAIN, *active]),
    ):
        for skip, limit in ((0, 7), (max(0, len(expected) - 3), 7), (len(expected), 7), (5_000, 7)):
            assert _listed(office, wanted, skip, limit) == (expected[skip : skip + limit], len(expected))


def test_lists_come_in_any_order_of_theirs(office: Office) -> None:
    office.do(ADMIN, members.update, PLAIN, first_name="Zoe")
    office.do(ADMIN, members.update, OTHER, first_name="Ada")
    for field, expected in (
        ("email", [OWNER, ADMIN, OTHER, PLAIN]),
        ("full_name", [ADMIN, OWNER, OTHER, PLAIN]),
        ("state", [ADMIN, OTHER, OWNER, PLAIN]),
    ):
        assert _listed(office, Wanted(order=Order(field))) == (expected, 4)
        assert _listed(office, Wanted(order=Order(field, is_descending=True))) == (expected[::-1], 4)
    for odd in ("role", "invitation_digest", "", "user_id; DROP TABLE members"):
        with pytest.raises(ValidationFailed) as refused:
            _listed(office, Wanted(order=Order(odd)))
        known = "created_at, email, full_name, last_modified_at, status"
        assert refused.value.details["message"] == f"sort_column must be one of {known}"


def test_effective_permissions_are_those_of_all_roles(office: Office) -> None:
    office.do(SYSTEM, roles.update, EDITOR.id, capabilities=["create_knowledge"])
    office.do(SYSTEM, organizations.change_preset, "collaborative")
    office.do(SYSTEM, members.assign_role, EDITOR.id, PLAIN)
    found = office.ask(PLAIN, permissions.effective, PLAIN)
    assert found.capabilities == ("invite_users", "create_subdepartments", "create_knowledge")
    assert found.department_ids == (LOW.id,)
    assert office.ask(ADMIN, permissions.effective, OWNER).department_ids is None
    with pytest.raises(PermissionDenied):
        office.ask(PLAIN, permissions.effective, OTHER)
    with pytest.raises(NotFound):
        office.ask(PLAIN, permissions.effective, STRANGER)


def test_own_access_lists_a_hundred_and_counts_all(office: Office) -> None:
    owned = [
        revised(entity(replace_ref, owner=user(PLAIN)), created_at=NOW + 1 + number)
        for number in range(MAX_SHOWN_RESOURCES + 5)
        for replace_ref in [TEAM._replace(id=f"kslice_{number}")]
    ]
    shared = [entity(TEAM._replace(id=f"kslice_shared{number:03}")) for number in range(MAX_SHOWN_RESOURCES + 7)]
    deposit(office.store, ORGANIZATION, [*owned, *shared])
    for each in shared:
        office.give(each.ref, TOP, "read")
    office.give(NOTES, user(PLAIN), "write", expires_at=NOW + DAY)
    office.give(owned[0].ref, user(PLAIN), "read")
    found = office.ask(PLAIN, permissions.own_access)
    assert [each.id for each in found.owned] == [each.id for each in owned[:MAX_SHOWN_RESOURCES]]
    assert (found.owned_count, len(found.shared), found.shared_count) == (105, MAX_SHOWN_RESOURCES, 108)
    assert {access.level for _, access in found.shared} == {"read"}
    office.clock.advance(DAY)
    assert office.ask(PLAIN, permissions.own_access).shared_count == 107
    assert office.ask(OTHER, permissions.own_access).shared_count == 0


def test_every_fact_of_a_member_survives_being_written_down(office: Office) -> None:
    with office.store.snapshot(ORGANIZATION) as snapshot:
        before = snapshot.find(Member, PLAIN)
        kept = {each.ref: each.owner for each in snapshot.select(Entity)}
    office.do(ADMIN, members.remove, PLAIN)
    assert office.do(ADMIN, members.restore, PLAIN).member == before
    with office.store.snapshot(ORGANIZATION) as snapshot:
        assert {each.ref: each.owner for each in snapshot.select(Entity)} == kept
    assert Principal("user", PLAIN) not in kept.values()
