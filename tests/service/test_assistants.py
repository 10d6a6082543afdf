"""The registry of assistants: who makes, sees and changes one, and in which organization it is looked for."""

from typing import Any

import pytest

from grantbook.model.errors import NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EntityRef, Principal
from grantbook.service import assistants, entities, keys, members, organizations, roles
from grantbook.service.assistants import ASSISTANT, AssistantView, Settings
from grantbook.service.desk import SYSTEM, Caller
from grantbook.service.entities import Draft
from grantbook.service.entity_lists import Part
from grantbook.service.keys import Identity
from tests.service.office import ADMIN, BOT, LOW, OTHER, OWNER, PLAIN, TOP, Office
from tests.worlds import ORGANIZATION, nothing_happens, user


def _update(office: Office, who: str = OWNER, **values: Any) -> AssistantView:
    return office.do(who, assistants.update, BOT.id, Settings(**values))


def _allow(office: Office, who: str, *capabilities: str) -> None:
    office.do(OWNER, roles.create, name="Some", role_id="role_some", capabilities=capabilities)
    office.do(OWNER, members.assign_role, "role_some", who)


@pytest.mark.parametrize("capability", ["create_knowledge", "manage_knowledge_slices", "manage_access_control"])
def test_making_an_assistant_takes_the_capability_that_names_it(office: Office, capability: str) -> None:
    _allow(office, PLAIN, capability)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
        office.do(PLAIN, assistants.create, Settings(name="Mine"), "asst_mine")
    assert raised.value.details == {"capability": "manage_assistants"}
    office.do(OWNER, roles.create, name="Bots", role_id="role_bots", capabilities=["manage_assistants"])
    office.do(OWNER, members.assign_role, "role_bots", PLAIN)
    made = office.do(PLAIN, assistants.create, Settings(name="Mine", is_active=False), "asst_mine")
    assert (made.entity.owner, made.entity.is_active, made.entity.access_mode) == (user(PLAIN), False, "private")


def test_who_manages_assistants_changes_what_they_are_and_not_who_reaches_them(office: Office) -> None:
    _allow(office, PLAIN, "manage_assistants")
    assert _update(office, PLAIN, name="New", description="Helps", is_active=False).entity.name == "New"
    assert _update(office, PLAIN, is_active=True).entity.is_active
    about_access: list[dict[str, Any]] = [{"access_mode": "public"}, {"user_ids": [PLAIN]}, {"department_ids": []}]
    for values in about_access:
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            _update(office, PLAIN, **values)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, assistants.delete, BOT.id)
    assert office.level(PLAIN, BOT) is None
    assert office.ask(PLAIN, assistants.get, BOT.id).access.level is None


def test_each_kind_of_target_is_replaced_for_itself_while_the_mode_stays(office: Office) -> None:
    def listed(**values: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        view = _update(office, **values)
        return view.department_ids, view.user_ids

    assert listed(department_ids=[TOP.id], user_ids=[OTHER]) == ((TOP.id,), (OTHER,))
    assert listed(user_ids=[PLAIN]) == ((TOP.id,), (PLAIN,))
    assert listed(name="New") == ((TOP.id,), (PLAIN,))
    assert listed(access_mode="private", user_ids=[]) == ((TOP.id,), ())
    assert office.level(PLAIN, BOT) == "read"
    assert listed(access_mode="department", user_ids=[OTHER]) == ((), (OTHER,))
    assert listed(access_mode="private") == ((), ())
    assert office.level(OTHER, BOT) is None


@pytest.mark.parametrize(
    "values",
    [
        {"user_ids": ["usr_9"]},
        {"department_ids": ["dept_9"]},
        {"department_ids": [PLAIN]},
        {"user_ids": [LOW.id]},
    ],
)
def test_targets_must_be_there_and_of_their_kind(office: Office, values: dict[str, Any]) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        _update(office, name="New", **values)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(OWNER, assistants.create, Settings(name="New", **values), "asst_new")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"access_mode": "inherit"}, "access_mode"),
        ({"access_mode": "public", "user_ids": [PLAIN]}, "access_users"),
        ({"access_mode": "organization", "department_ids": [LOW.id]}, "access_departments"),
        ({"user_ids": [PLAIN, PLAIN]}, "access_users.1"),
        ({"name": ""}, "name"),
        ({"description": "\x00"}, "description"),
    ],
)
def test_impossible_settings_are_refused(office: Office, values: dict[str, Any], field: str) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        _update(office, **values)
    assert raised.value.details["field"] == field
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(OWNER, assistants.create, Settings(**{"name": "New", **values}), "asst_new")
    assert raised.value.details["field"] == field


def test_the_list_leaves_out_inactive_ones_unless_asked_for(office: Office) -> None:
    office.clock.advance(1)
    office.do(OWNER, assistants.create, Settings(name="Off", is_active=False), "asst_off")

    def listed(who: str, **filters: Any) -> list[str]:
        return [entity.id for entity in office.ask(who, assistants.list_assistants, Part(), **filters).items]

    assert listed(ADMIN) == [BOT.id]
    assert listed(ADMIN, with_inactive=True) == [BOT.id, "asst_off"]
    assert listed(PLAIN, with_inactive=True) == []
    office.give(BOT, LOW, "read")
    office.give(EntityRef(ASSISTANT, "asst_off"), LOW, "read")
    assert listed(PLAIN, with_inactive=True) == [BOT.id]


def test_an_assistant_is_looked_for_where_the_key_opens(office: Office) -> None:
    """Its own organization first, then those made with it; what none of them has counts as unknown in its own."""
    key, _ = office.do(SYSTEM, keys.create, user_id=OWNER, name="first")
    for organization_id, made_with in (("org_branch", key.id), ("org_foreign", None)):
        maker = Caller(user_id=OWNER, api_key_id=made_with, key_line_id=made_with)
        with office.desk.writing(organization_id, maker) as writing:
            organizations.found(writing, name=organization_id, owner_email="o@example.org", owner_id=OWNER)
        for name in (organization_id.removeprefix("org_"), "both"):
            ref = EntityRef(ASSISTANT, f"asst_{name}")
            with office.desk.writing(organization_id, SYSTEM) as writing:
                entities.register(writing, Draft(ref=ref, name=name, owner=Principal("user", OWNER)))
    caller = Caller(user_id=OWNER, api_key_id=key.id, key_line_id=key.line)
    identity = Identity(caller=caller, organization_id=ORGANIZATION)

    def found(assistant_id: str) -> str:
        return assistants.organization_of(office.desk, identity, assistant_id)

    assert (found(BOT.id), found("asst_branch"), found("asst_both")) == (ORGANIZATION, "org_branch", "org_branch")
    assert (found("asst_foreign"), found("asst_gone")) == (ORGANIZATION, ORGANIZATION)
    office.register(EntityRef(ASSISTANT, "asst_both"))
    assert found("asst_both") == ORGANIZATION
    with office.desk.writing("org_branch", SYSTEM) as writing:
        members.invite(writing, email="p@example.org", user_id=PLAIN, role_ids=[], department_ids=[], is_active=True)
    stranger = Identity(caller=Caller(user_id=PLAIN, api_key_id="ak_other"), organization_id=ORGANIZATION)
    assert assistants.organization_of(office.desk, stranger, "asst_branch") == ORGANIZATION
