"""Organizations: deleted ones give nobody anything, presets fill the base role Member."""

import pytest

from grantbook.model.errors import NotFound, OrganizationAccessDenied, PermissionDenied, ValidationFailed
from grantbook.model.facts import Member, Organization, Role, revised
from grantbook.model.governance import CAPABILITIES, DELETE_ORGANIZATION, PRESETS, preset_of
from grantbook.service import decisions, grants, invitations, keys, members, organizations, roles
from grantbook.service.decisions import Check
from grantbook.service.desk import SYSTEM
from grantbook.service.grants import NewGrant
from tests.service.office import ADMIN, BOT, EDITOR, NOTES, OTHER, OWNER, PLAIN, RULE, STRANGER, TEAM, Office
from tests.worlds import DAY, NOW, ORGANIZATION, nothing_happens, user

PEOPLE = (OWNER, ADMIN, PLAIN, OTHER)


def test_a_deleted_organization_gives_nobody_anything(office: Office) -> None:
    for ref in (NOTES, TEAM, BOT):
        office.give(ref, user(PLAIN), "write")
    assert office.level(PLAIN, NOTES) == "write"
    assert office.level(OWNER, RULE) == "modify"
    before = office.revision
    office.do(OWNER, organizations.delete)
    assert office.revision == before + 1
    (change,) = office.changes(before)
    assert (change.subject_type, change.subject_id, change.action) == ("organization", ORGANIZATION, "deleted")
    for user_id in PEOPLE:
        assert {office.level(user_id, ref) for ref in (NOTES, TEAM, BOT, RULE)} == {None}
        assert office.ask(SYSTEM, decisions.entities_of, user_id) == {}
    for ref in (NOTES, RULE):
        assert office.ask(SYSTEM, decisions.users_of, ref) == {}
    question = Check(user_id=PLAIN, entity=NOTES, access_level="read")
    assert office.ask(SYSTEM, decisions.explain, question).paths == ()


def test_what_a_deleted_organization_gave_before_can_still_be_told(office: Office) -> None:
    office.give(NOTES, user(PLAIN), "write")
    office.clock.advance(DAY)
    office.do(OWNER, organizations.delete)
    question = Check(user_id=PLAIN, entity=NOTES, access_level="write")
    with office.desk.reading(ORGANIZATION, SYSTEM, as_of=NOW) as past:
        assert decisions.check(past, question).allowed
    with office.desk.reading(ORGANIZATION, SYSTEM, as_of=NOW + DAY) as present:
        assert not decisions.check(present, question).allowed


def test_nobody_does_anything_in_a_deleted_organization(office: Office) -> None:
    office.do(OWNER, organizations.delete)
    for who in (*PEOPLE, SYSTEM, STRANGER):
        with pytest.raises(OrganizationAccessDenied):
            office.ask(who, organizations.get_organization)
        with pytest.raises(OrganizationAccessDenied):
            office.do(who, organizations.delete)
    for who in PEOPLE:
        assert office.ask(who, lambda reading: reading.capabilities) == frozenset()
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            office.do(who, grants.create, NOTES, NewGrant(grantee=user(who), access_level="read"))


def test_the_keys_of_a_deleted_organization_are_dead(office: Office) -> None:
    _, secret = office.do(PLAIN, keys.create, user_id=PLAIN, name="mine")
    assert keys.authenticate(office.desk, secret).caller.user_id == PLAIN
    office.do(OWNER, organizations.delete)
    with pytest.raises(OrganizationAccessDenied):
        keys.authenticate(office.desk, secret)


def test_an_invitation_into_a_deleted_organization_is_void(office: Office) -> None:
    made = office.do(ADMIN, members.invite, email="kim@example.org")
    office.do(OWNER, organizations.delete)
    with pytest.raises(NotFound):
        office.do(made.member.user_id, invitations.accept, made.invitation_token or "")


def test_only_who_has_the_capability_deletes_the_organization(office: Office) -> None:
    for who in (ADMIN, PLAIN):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            office.do(who, organizations.delete)
        assert raised.value.details == {"capability": DELETE_ORGANIZATION}
    with pytest.raises(OrganizationAccessDenied):
        office.do(STRANGER, organizations.delete)


def test_an_update_keeps_what_it_does_not_name(office: Office) -> None:
    office.do(OWNER, organizations.update, attributes={"website": "https://x.test", "domains": ["x.test"]})
    view = office.do(ADMIN, organizations.update, name=" New ", attributes={"website": None})
    assert view.organization.name == "New"
    assert view.organization.attributes == {"domains": ["x.test"]}
    assert (view.owner_id, view.member_count) == (OWNER, 4)
    with nothing_happens(office.store, ORGANIZATION):
        office.do(ADMIN, organizations.update, name="New", attributes={})
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(ADMIN, organizations.update, attributes={"website": "\x00"})
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, organizations.update, name="Mine", attributes={})


def test_a_preset_is_what_the_base_role_member_carries(office: Office) -> None:
    assert preset_of(office.ask(PLAIN, organizations.member_role).capabilities) == PRESETS["controlled"]
    assert office.ask(PLAIN, lambda reading: reading.capabilities) == frozenset()
    for key, preset in PRESETS.items():
        found, affected = office.do(ADMIN, organizations.change_preset, key)
        assert (found, affected) == (preset, 1)
        assert office.ask(PLAIN, lambda reading: reading.capabilities) == set(preset.capabilities)
        assert preset_of(office.ask(PLAIN, organizations.member_role).capabilities) == preset
        with nothing_happens(office.store, ORGANIZATION):
            office.do(ADMIN, organizations.change_preset, key)
    assert set(CAPABILITIES) >= {each for preset in PRESETS.values() for each in preset.capabilities}


def test_an_unknown_set_of_capabilities_is_of_no_preset(office: Office) -> None:
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        role = organizations.member_role(writing)
        writing.book.replace(role, revised(role, capabilities=("manage_rules",)), "updated")
    assert preset_of(office.ask(PLAIN, organizations.member_role).capabilities) is None
    office.do(OWNER, organizations.change_preset, "controlled")
    assert office.ask(PLAIN, organizations.member_role).capabilities == ()


@pytest.mark.parametrize(("held", "key"), [((), "balanced"), (("create_knowledge",), "collaborative")])
def test_nobody_chooses_a_preset_that_gives_what_they_lack(office: Office, held: tuple[str, ...], key: str) -> None:
    office.do(SYSTEM, roles.update, EDITOR.id, capabilities=["manage_roles", *held])
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(OTHER, organizations.change_preset, key)
    office.do(OWNER, organizations.change_preset, "collaborative")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(OTHER, organizations.change_preset, "controlled")


def test_an_organization_is_founded_with_its_preset(office: Office) -> None:
    with office.desk.writing("org_new", SYSTEM) as writing:
        organizations.found(writing, name="New", owner_email="x@example.org", preset="balanced")
        assert writing.snapshot.count(Member) == writing.snapshot.count(Organization) == 1
        assert {role.name: role.capabilities for role in writing.snapshot.select(Role)}["Member"] == (
            "create_knowledge",
        )
    with pytest.raises(ValidationFailed), office.desk.writing("org_newer", SYSTEM) as writing:
        organizations.found(writing, name="Newer", owner_email="x@example.org", preset="anarchy")
    assert "org_newer" not in office.store.organization_ids()
