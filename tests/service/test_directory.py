"""People, departments and roles: nobody gives what they lack, no owner is lost, nothing dangles."""

from collections.abc import Callable

import pytest

from grantbook.model.errors import (
    Conflict,
    GrantbookError,
    LastOwner,
    NotFound,
    PermissionDenied,
    ValidationFailed,
)
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.limits import MAX_DEPARTMENT_DEPTH
from grantbook.service import departments, entities, keys, members, organizations, roles
from grantbook.service.desk import SYSTEM, Caller
from grantbook.store.port import Lookup
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
from tests.worlds import ORGANIZATION, nothing_happens, user

LAST_OWNER_ATTEMPTS: dict[str, Callable[[Office], object]] = {
    "remove": lambda office: office.do(OWNER, members.remove, OWNER),
    "deactivate": lambda office: office.do(OWNER, members.set_state, OWNER, "deactivated"),
    "unassign": lambda office: office.do(OWNER, members.unassign_role, office.base_role("Owner"), OWNER),
    "replace roles": lambda office: office.do(OWNER, members.update_memberships, OWNER, role_ids=[], department_ids=[]),
    "by the system": lambda office: office.do(SYSTEM, members.remove, OWNER),
}


@pytest.mark.parametrize("attempt", LAST_OWNER_ATTEMPTS.values(), ids=LAST_OWNER_ATTEMPTS)
def test_the_last_owner_stays(office: Office, attempt: Callable[[Office], object]) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(LastOwner) as raised:
        attempt(office)
    assert raised.value.details == {"user_id": OWNER}
    office.do(OWNER, members.assign_role, office.base_role("Owner"), PLAIN)
    attempt(office)


@pytest.mark.parametrize("attempt", LAST_OWNER_ATTEMPTS.values(), ids=LAST_OWNER_ATTEMPTS)
def test_an_owner_who_is_not_active_does_not_count(office: Office, attempt: Callable[[Office], object]) -> None:
    office.do(OWNER, members.assign_role, office.base_role("Owner"), PLAIN)
    office.do(OWNER, members.set_state, PLAIN, "deactivated")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(LastOwner):
        attempt(office)
    office.do(OWNER, members.set_state, PLAIN, "active")
    attempt(office)


def test_an_invited_person_has_no_access_until_active(office: Office) -> None:
    office.give(NOTES, Principal("organization", ORGANIZATION), "read")
    office.invite("usr_new", active=False)
    assert office.level("usr_new", NOTES) is None
    office.do(ADMIN, members.set_state, "usr_new", "active")
    assert office.level("usr_new", NOTES) == "read"
    office.do(ADMIN, members.set_state, "usr_new", "deactivated")
    assert office.level("usr_new", NOTES) is None


def test_a_person_is_invited_once(office: Office) -> None:
    for email, user_id in [("USR_plain@Example.org", None), ("other@example.org", PLAIN)]:
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(Conflict) as raised:
            office.do(ADMIN, members.invite, email=email, user_id=user_id)
        assert raised.value.error_code == "MEMBER_ALREADY_EXISTS"
        assert raised.value.details == {"user_id": PLAIN}


def test_without_roles_a_new_member_has_the_base_role_member(office: Office) -> None:
    view = office.do(ADMIN, members.invite, email=" Ada@Example.org ", full_name=" Ada ", is_active=True)
    assert (view.member.email, view.member.full_name, view.member.state) == ("ada@example.org", "Ada", "active")
    assert view.role_ids == (office.base_role("Member"),)
    assert view.member.user_id.startswith("usr_")


@pytest.mark.parametrize("who", [PLAIN, OTHER, STRANGER])
@pytest.mark.parametrize(
    "attempt",
    [
        lambda office, who: office.do(who, members.invite, email="new@example.org"),
        lambda office, who: office.do(who, members.set_state, ADMIN, "deactivated"),
        lambda office, who: office.do(who, members.remove, ADMIN),
        lambda office, who: office.do(who, members.assign_role, office.base_role("Admin"), who),
        lambda office, who: office.do(who, members.assign_role, EDITOR.id, PLAIN),
        lambda office, who: office.do(who, members.join_department, TOP.id, OTHER),
        lambda office, who: office.do(who, members.leave_department, LOW.id, PLAIN),
        lambda office, who: office.do(
            who, members.update_memberships, OTHER, role_ids=[office.base_role("Owner")], department_ids=[]
        ),
        lambda office, who: office.do(who, departments.create, name="Mine"),
        lambda office, who: office.do(who, departments.delete, LOW.id),
        lambda office, who: office.do(who, roles.create, name="Mine"),
        lambda office, who: office.do(who, roles.delete, EDITOR.id),
    ],
)
def test_people_without_the_capability_change_nothing(
    office: Office, who: str, attempt: Callable[[Office, str], object]
) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises((PermissionDenied, NotFound)) as raised:
        attempt(office, who)
    assert isinstance(raised.value, PermissionDenied) or who not in {PLAIN, OTHER}


@pytest.mark.parametrize(
    "attempt",
    [
        lambda office: office.do(ADMIN, members.assign_role, office.base_role("Owner"), ADMIN),
        lambda office: office.do(ADMIN, members.unassign_role, office.base_role("Owner"), OWNER),
        lambda office: office.do(ADMIN, members.invite, email="a@b.org", role_ids=[office.base_role("Owner")]),
        lambda office: office.do(ADMIN, members.remove, OWNER),
        lambda office: office.do(ADMIN, members.set_state, OWNER, "deactivated"),
        lambda office: office.do(ADMIN, roles.create, name="Boss", capabilities=["manage_billing"]),
        lambda office: office.do(ADMIN, roles.delete, office.base_role("Member")),
        lambda office: office.do(OWNER, roles.delete, office.base_role("Owner")),
    ],
)
def test_nobody_gives_takes_or_outranks_what_they_lack(office: Office, attempt: Callable[[Office], object]) -> None:
    office.do(OWNER, members.assign_role, office.base_role("Owner"), PLAIN)  # so that no owner is the last one
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
        attempt(office)
    assert not isinstance(raised.value, LastOwner)


def test_a_deactivated_admin_can_do_nothing(office: Office) -> None:
    office.do(ADMIN, members.join_department, TOP.id, OTHER)
    office.do(OWNER, members.set_state, ADMIN, "deactivated")
    with pytest.raises(PermissionDenied):
        office.do(ADMIN, members.leave_department, TOP.id, OTHER)
    with pytest.raises(PermissionDenied):
        office.do(ADMIN, members.set_state, ADMIN, "active")


def test_memberships_are_replaced_as_a_whole(office: Office) -> None:
    view = office.do(ADMIN, members.update_memberships, PLAIN, role_ids=[EDITOR.id], department_ids=[TOP.id])
    assert (view.role_ids, view.department_ids) == ((EDITOR.id,), (TOP.id,))
    with nothing_happens(office.store, ORGANIZATION):
        office.do(ADMIN, members.update_memberships, PLAIN, role_ids=[EDITOR.id], department_ids=[TOP.id])
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(ADMIN, members.update_memberships, PLAIN, role_ids=["role_9"], department_ids=[])
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(ADMIN, members.update_memberships, PLAIN, role_ids=[EDITOR.id] * 2, department_ids=[])


def test_joining_and_assigning_again_change_nothing(office: Office) -> None:
    with nothing_happens(office.store, ORGANIZATION):
        office.do(ADMIN, members.join_department, LOW.id, PLAIN)
        office.do(ADMIN, members.assign_role, EDITOR.id, OTHER)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda office: office.do(ADMIN, members.remove, STRANGER),
        lambda office: office.do(ADMIN, members.set_state, STRANGER, "active"),
        lambda office: office.do(ADMIN, members.assign_role, EDITOR.id, STRANGER),
        lambda office: office.do(ADMIN, members.assign_role, "role_9", PLAIN),
        lambda office: office.do(ADMIN, members.unassign_role, EDITOR.id, PLAIN),
        lambda office: office.do(ADMIN, members.leave_department, TOP.id, PLAIN),
        lambda office: office.do(ADMIN, members.join_department, "dept_9", PLAIN),
        lambda office: office.do(ADMIN, departments.delete, "dept_9"),
        lambda office: office.do(ADMIN, departments.create, name="New", parent_id="dept_9"),
        lambda office: office.do(ADMIN, roles.delete, "role_9"),
    ],
)
def test_what_is_not_there_is_not_found(office: Office, attempt: Callable[[Office], object]) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        attempt(office)


def _list_on(office: Office, ref: EntityRef, whom: Principal) -> None:
    draft = entities.Draft(ref=ref, name=ref.id, owner=user(OWNER), access_mode="private", targets=[whom.id])
    office.do(SYSTEM, entities.register, draft)


def _dangling(office: Office, before: int) -> list[tuple[str, str]]:
    """What the last revision ended, which must be one."""
    assert office.revision == before + 1
    return sorted((change.kind, change.key) for change in office.changes(before) if change.after is None)


def test_a_member_goes_with_all_that_names_them_in_one_revision(office: Office) -> None:
    gone = [office.give(NOTES, user(PLAIN), "read").id, office.give(BOT, user(PLAIN), "admin").id]
    stays = office.give(NOTES, user(OTHER), "read").id
    _list_on(office, TEAM, user(PLAIN))
    key, _ = office.do(OWNER, keys.create, user_id=PLAIN, name="key")
    assert office.level(PLAIN, TEAM) == "read"
    before = office.revision
    office.do(ADMIN, members.remove, PLAIN)
    assert _dangling(office, before) == sorted(
        [
            *(("Grant", id_) for id_ in gone),
            ("AccessTarget", f"{TEAM.type}/{TEAM.id}/user/{PLAIN}"),
            ("ApiKey", key.id),
            ("DepartmentMember", f"{LOW.id}/{PLAIN}"),
            ("RoleAssignment", f"{office.base_role('Member')}/{PLAIN}"),
            ("Member", PLAIN),
        ]
    )
    assert [grant.id for grant in office.grants()] == [stays]
    office.invite(PLAIN)
    assert [office.level(PLAIN, ref) for ref in (NOTES, BOT, TEAM)] == [None, None, None]


def test_a_department_goes_with_all_that_names_it_in_one_revision(office: Office) -> None:
    gone = office.give(NOTES, LOW, "read")
    office.give(NOTES, TOP, "add_new")
    _list_on(office, TEAM, LOW)
    before = office.revision
    office.do(ADMIN, departments.delete, LOW.id)
    assert _dangling(office, before) == sorted(
        [
            ("Grant", gone.id),
            ("AccessTarget", f"{TEAM.type}/{TEAM.id}/department/{LOW.id}"),
            ("DepartmentMember", f"{LOW.id}/{PLAIN}"),
            ("Department", LOW.id),
        ]
    )
    assert office.level(PLAIN, NOTES) is None
    office.do(ADMIN, departments.create, name="Low again", department_id=LOW.id)
    office.do(ADMIN, members.join_department, LOW.id, PLAIN)
    assert [office.level(PLAIN, ref) for ref in (NOTES, TEAM)] == [None, None]


def test_a_role_goes_with_all_that_names_it_in_one_revision(office: Office) -> None:
    gone = [office.give(NOTES, EDITOR, "read").id, office.give(TEAM, EDITOR, "read").id]
    before = office.revision
    office.do(ADMIN, roles.delete, EDITOR.id)
    assert _dangling(office, before) == sorted(
        [*(("Grant", id_) for id_ in gone), ("RoleAssignment", f"{EDITOR.id}/{OTHER}"), ("Role", EDITOR.id)]
    )
    office.do(ADMIN, roles.create, name="Editor", role_id=EDITOR.id)
    office.do(ADMIN, members.assign_role, EDITOR.id, OTHER)
    assert office.level(OTHER, NOTES) is None


def test_removing_keeps_what_the_member_owns_out_of_reach(office: Office) -> None:
    """It stays theirs by id, gives them nothing, and gives it back should they return."""
    office.register(NOTES, owner=user(PLAIN))
    assert office.level(PLAIN, NOTES) == "admin"
    office.do(ADMIN, members.remove, PLAIN)
    with pytest.raises(NotFound):
        office.level(PLAIN, NOTES)
    assert office.level(ADMIN, NOTES) == "admin"


@pytest.mark.parametrize("owns", [False, True])
def test_a_department_with_others_below_it_or_with_entities_stays(office: Office, owns: bool) -> None:
    error: type[GrantbookError] = ValidationFailed
    if owns:
        office.do(ADMIN, departments.delete, LOW.id)
        office.register(NOTES, owner=TOP)
        error = Conflict
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(error) as raised:
        office.do(ADMIN, departments.delete, TOP.id)
    assert raised.value.error_code == ("DEPARTMENT_OWNS_ENTITIES" if owns else "DEPARTMENT_HAS_CHILDREN")
    if owns:
        office.register(NOTES, owner=user(OWNER))
    else:
        office.do(ADMIN, departments.delete, LOW.id)
    office.do(ADMIN, departments.delete, TOP.id)


def test_departments_nest_as_deep_as_access_is_worked_out(office: Office) -> None:
    parent = TOP.id
    for depth in range(1, MAX_DEPARTMENT_DEPTH):
        parent = office.do(ADMIN, departments.create, name=f"Level {depth}", parent_id=parent).id
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(ADMIN, departments.create, name="Too deep", parent_id=parent)
    assert raised.value.details["field"] == "parent_id"
    office.give(NOTES, TOP, "read")
    office.do(ADMIN, members.join_department, parent, OTHER)
    assert office.level(OTHER, NOTES) == "read"


def test_names_and_ids_of_departments_and_roles_are_taken_once(office: Office) -> None:
    for attempt in (
        lambda: office.do(ADMIN, departments.create, name="Again", department_id=TOP.id),
        lambda: office.do(ADMIN, roles.create, name="Again", role_id=EDITOR.id),
        lambda: office.do(ADMIN, roles.create, name="Editor"),
        lambda: office.do(ADMIN, roles.create, name="Owner"),
        lambda: office.do(SYSTEM, organizations.found, name="Again", owner_email="a@b.org"),
    ):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(Conflict):
            attempt()


def test_the_home_of_a_user_is_the_organization_that_knew_them_first(office: Office) -> None:
    assert office.store.look_up(Lookup.USER, PLAIN) == ORGANIZATION
    with office.desk.writing("org_2", Caller(user_id=PLAIN)) as writing:
        organizations.found(writing, name="Second", owner_email="plain@example.org", owner_id=PLAIN)
    assert office.store.look_up(Lookup.USER, PLAIN) == ORGANIZATION
    assert office.store.organizations_of(PLAIN) == [ORGANIZATION, "org_2"]
    office.do(ADMIN, members.remove, PLAIN)
    assert office.store.look_up(Lookup.USER, PLAIN) == ORGANIZATION


def test_nothing_is_left_of_a_failed_invitation(office: Office) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(ADMIN, members.invite, email="new@example.org", user_id="usr_new", department_ids=["dept_9"])
    assert office.store.look_up(Lookup.USER, "usr_new") is None
    assert office.store.known_users(["usr_new"]) == set()
