"""Entities: registered, contained, archived, deleted; and no way to get more by putting things into one another."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from grantbook.model.errors import Conflict, LimitExceeded, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.limits import MAX_CONTAINMENT_DEPTH
from grantbook.service import entities, members, organizations, roles
from grantbook.service.desk import SYSTEM, Caller
from grantbook.service.entities import Draft
from tests.service.office import ADMIN, BOT, EDITOR, LOW, NOTES, OTHER, OWNER, PLAIN, RULE, TEAM, TOP, Office
from tests.worlds import ORGANIZATION, nothing_happens, user

ALL = EntityRef("knowledge_slice", "kslice_all")
MINE = EntityRef("knowledge_slice", "kslice_mine")
MAKER = "create_knowledge"


def _draft(ref: EntityRef, owner: str | Principal = OWNER, **values: Any) -> Draft:
    principal = user(owner) if isinstance(owner, str) else owner
    return Draft(**{"ref": ref, "name": ref.id, "owner": principal, "access_mode": "private", **values})


@pytest.fixture
def office(office: Office) -> Office:
    """usr_plain and usr_other may make knowledge."""
    office.do(OWNER, roles.create, name="Maker", role_id="role_maker", capabilities=[MAKER])
    for user_id in (PLAIN, OTHER):
        office.do(OWNER, members.assign_role, "role_maker", user_id)
    return office


def _create(office: Office, who: str, ref: EntityRef, members: Sequence[EntityRef] = ()) -> None:
    office.do(who, entities.create, _draft(ref, who, members=members), MAKER)


def test_who_makes_an_entity_owns_it(office: Office) -> None:
    _create(office, PLAIN, MINE)
    assert office.level(PLAIN, MINE) == "admin"
    assert office.level(OTHER, MINE) is None
    for who, owner, capability in ((PLAIN, OTHER, MAKER), (PLAIN, TOP, MAKER), (ADMIN, ADMIN, "create_organizations")):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            office.do(who, entities.create, _draft(ALL, owner), capability)


@pytest.mark.parametrize("level", [None, "read", "write", "admin"])
def test_a_composite_takes_only_what_its_maker_administers(office: Office, level: str | None) -> None:
    """Otherwise its maker, who owns the composite, would reach all that is inside at the highest level."""
    if level is not None:
        office.give(NOTES, user(PLAIN), level)
    if level == "admin":
        _create(office, PLAIN, MINE, [NOTES])
        return
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
        _create(office, PLAIN, MINE, [NOTES])
    assert raised.value.details == {"entity_type": NOTES.type, "entity_id": NOTES.id}
    assert office.level(PLAIN, NOTES) == level


@pytest.mark.parametrize("level", ["read", "add_new", "admin"])
def test_putting_something_into_a_container_takes_the_right_to_add_there(office: Office, level: str) -> None:
    """And so does not show it to people who were not to see it, by somebody who may not add."""
    _create(office, PLAIN, MINE)
    office.give(TEAM, user(PLAIN), level)
    draft = _draft(MINE, PLAIN, containers=[TEAM])
    if level == "read":
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            office.do(PLAIN, entities.register, draft)
        assert raised.value.details == {"entity_type": TEAM.type, "entity_id": TEAM.id, "access_level": "add_new"}
        return
    view, is_new = office.do(PLAIN, entities.register, draft)
    assert (view.containers, is_new) == ((TEAM,), False)


def test_only_who_manages_access_registers_what_is_new_or_gives_it_another_owner(office: Office) -> None:
    for who in (PLAIN, OTHER):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            office.do(who, entities.register, _draft(ALL, who))
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            office.do(who, entities.register, _draft(NOTES, who))
    office.give(NOTES, user(PLAIN), "admin")
    assert office.do(PLAIN, entities.register, _draft(NOTES, OWNER, name="New name"))[0].entity.name == "New name"
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, entities.register, _draft(NOTES, PLAIN))
    assert office.do(ADMIN, entities.register, _draft(ALL, OTHER))[1]


def test_registering_again_changes_only_what_differs(office: Office) -> None:
    draft = _draft(ALL, targets=[PLAIN, TOP.id], attributes={"a": 1}, containers=[TEAM])
    view, is_new = office.do(SYSTEM, entities.register, draft)
    assert is_new
    assert (view.target_ids, view.containers) == (tuple(sorted([PLAIN, TOP.id])), (TEAM,))
    with nothing_happens(office.store, ORGANIZATION):
        assert office.do(SYSTEM, entities.register, draft) == (view, False)
    changed = _draft(ALL, targets=[OTHER], attributes={"b": 2})
    view, is_new = office.do(SYSTEM, entities.register, changed)
    assert (view.target_ids, view.containers, view.entity.attributes) == ((OTHER,), (), {"a": 1, "b": 2})


def test_registering_again_never_shows_an_entity_to_more_than_its_access_mode_did(office: Office) -> None:
    store = EntityRef("vector_store", "vs_pay")
    office.do(SYSTEM, entities.register, _draft(store, access_mode="private"))
    assert office.level(OTHER, store) is None
    renamed, _ = office.do(SYSTEM, entities.register, _draft(store, access_mode=None, name="Salaries"))
    assert (renamed.entity.name, renamed.entity.access_mode) == ("Salaries", "private")
    assert office.level(OTHER, store) is None
    office.do(SYSTEM, entities.register, _draft(store, access_mode="organization"))
    with pytest.raises(ValidationFailed, match="access_target_ids is only for"):
        office.do(SYSTEM, entities.register, _draft(store, access_mode=None, targets=[PLAIN]))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"ref": EntityRef("knowledge_slice", "vs_1")}, "entity_id"),
        ({"ref": EntityRef("knowledge_slice", "kslice_")}, "entity_id"),
        ({"ref": EntityRef("spaceship", "ship_1")}, "entity_type"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"owner": Principal("role", "role_editor")}, "owner_type"),
        ({"access_mode": "secret"}, "access_mode"),
        ({"access_mode": "public", "targets": [PLAIN]}, "access_target_ids"),
        ({"targets": [PLAIN, PLAIN]}, "access_target_ids.1"),
        ({"containers": [TEAM, TEAM]}, "containers.1"),
        ({"containers": [BOT]}, "containers"),
        ({"containers": [NOTES]}, "containers"),
        ({"attributes": {"note": "\x00"}}, "note"),
        ({"attributes": {"note": [{"\ud800": 1}]}}, "note"),
        ({"attributes": {"seen": {1, 2}}}, "seen"),
        ({"attributes": {"seen": {"at": datetime(2026, 5, 1, tzinfo=UTC)}}}, "seen"),
        ({"attributes": {"seen": [b"x"]}}, "seen"),
        ({"attributes": {"seen": {1: 2}}}, "seen"),
        ({"attributes": {"size": float("nan")}}, "size"),
        ({"attributes": {"size": float("inf")}}, "size"),
        ({"attributes": {"size": 10**400}}, "size"),
        ({"attributes": {"tree": json.loads("[" * 40 + "]" * 40)}}, "tree"),
        ({"attributes": {"\x00": 1}}, "attributes"),
        ({"attributes": {1: 2}}, "attributes"),
    ],
)
def test_an_impossible_entity_is_refused(office: Office, values: dict[str, Any], field: str) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(SYSTEM, entities.register, _draft(**{"ref": ALL, **values}))
    assert raised.value.details["field"] == field
    assert office.do(SYSTEM, entities.register, _draft(ALL))[1]


@pytest.mark.parametrize(
    "values",
    [
        {"owner": user("usr_9")},
        {"owner": Principal("department", "dept_9")},
        {"owner": Principal("organization", "org_9")},
        {"targets": ["usr_9"]},
        {"containers": [EntityRef("knowledge_slice", "kslice_9")]},
        {"members": [EntityRef("vector_store", "vs_9")]},
    ],
)
def test_nothing_unknown_owns_holds_or_sees_an_entity(office: Office, values: dict[str, Any]) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(SYSTEM, entities.register, _draft(**{"ref": ALL, **values}))


def _chain(office: Office, length: int) -> list[EntityRef]:
    """Slices, each in the one before it."""
    refs = [EntityRef("knowledge_slice", f"kslice_{number}") for number in range(length)]
    for position, ref in enumerate(refs):
        office.do(SYSTEM, entities.register, _draft(ref, containers=refs[position - 1 : position]))
    return refs


@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_cycle_of_composites_is_refused(office: Office, length: int) -> None:
    refs = _chain(office, length)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(SYSTEM, entities.register, _draft(refs[0], containers=[refs[-1]]))
    assert raised.value.details["field"] == "containers"
    closing = _draft(MINE, members=[refs[0]], containers=[refs[-1]])
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(SYSTEM, entities.create, closing, MAKER)
    office.do(SYSTEM, entities.create, _draft(MINE, members=[refs[0]]), MAKER)


def test_an_entity_cannot_be_put_into_itself(office: Office) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(SYSTEM, entities.create, _draft(MINE, members=[MINE]), MAKER)


@pytest.mark.parametrize("end", ["top", "bottom", "middle"])
def test_a_nest_is_as_deep_as_access_is_worked_out(office: Office, end: str) -> None:
    refs = _chain(office, MAX_CONTAINMENT_DEPTH)
    office.do(SYSTEM, entities.register, _draft(NOTES, containers=[refs[-1]]))
    office.give(refs[0], user(PLAIN), "read")
    assert office.level(PLAIN, NOTES) == "read"
    one_more = {
        "top": _draft(MINE, members=[refs[0]]),
        "bottom": _draft(MINE, containers=[refs[-1]], members=[EntityRef("vector_store", "vs_2")]),
        "middle": _draft(MINE, containers=[refs[3]], members=[refs[4]]),
    }[end]
    office.register(EntityRef("vector_store", "vs_2"))
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(LimitExceeded):
        office.do(SYSTEM, entities.create, one_more, MAKER)
    assert office.level(PLAIN, NOTES) == "read"


@pytest.mark.parametrize("ref", [NOTES, TEAM])
def test_archiving_ends_all_access_and_bringing_back_restores_it(office: Office, ref: EntityRef) -> None:
    """Also of what is reached through it."""
    office.register(NOTES, containers=[TEAM])
    given = [office.give(ref, user(PLAIN), "write"), office.give(TEAM, LOW, "read")]
    before = office.level(PLAIN, NOTES)
    office.do(OWNER, entities.set_status, ref, "archived")
    assert [office.level(who, NOTES) for who in (PLAIN, OTHER)] == [None, None]
    assert sorted(grant.id for grant in office.grants()) == sorted(grant.id for grant in given)
    with nothing_happens(office.store, ORGANIZATION):
        office.do(OWNER, entities.set_status, ref, "archived")
    office.do(OWNER, entities.set_status, ref, "active")
    assert office.level(PLAIN, NOTES) == before == "write"


def test_an_owner_brings_back_what_they_archived_as_long_as_they_are_active(office: Office) -> None:
    _create(office, PLAIN, MINE)
    office.do(PLAIN, entities.set_status, MINE, "archived")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(OTHER, entities.set_status, MINE, "active")
    office.do(OWNER, members.set_state, PLAIN, "deactivated")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, entities.set_status, MINE, "active")
    office.do(OWNER, members.set_state, PLAIN, "active")
    office.do(PLAIN, entities.set_status, MINE, "active")
    assert office.level(PLAIN, MINE) == "admin"


def test_an_entity_goes_with_all_that_names_it_and_its_id_starts_anew(office: Office) -> None:
    office.register(NOTES, containers=[TEAM])
    gone = [office.give(NOTES, user(PLAIN), "read").id, office.give(NOTES, EDITOR, "admin").id]
    office.give(TEAM, user(PLAIN), "write")
    office.do(SYSTEM, entities.register, _draft(NOTES, containers=[TEAM], targets=[OTHER]))
    before = office.revision
    office.do(OWNER, entities.delete, NOTES)
    assert office.revision == before + 1
    assert sorted((change.kind, change.key) for change in office.changes(before) if change.after is None) == sorted(
        [
            *(("Grant", id_) for id_ in gone),
            ("AccessTarget", f"{NOTES.type}/{NOTES.id}/user/{OTHER}"),
            ("Containment", f"{TEAM.type}/{TEAM.id}/{NOTES.type}/{NOTES.id}"),
            ("Entity", f"{NOTES.type}/{NOTES.id}"),
        ]
    )
    with pytest.raises(NotFound):
        office.level(PLAIN, NOTES)
    office.register(NOTES)
    assert [office.level(who, NOTES) for who in (PLAIN, OTHER)] == [None, None]


def test_deleting_a_container_takes_away_what_was_reached_through_it(office: Office) -> None:
    office.register(NOTES, containers=[TEAM])
    office.give(TEAM, user(PLAIN), "read")
    assert office.level(PLAIN, NOTES) == "read"
    office.do(OWNER, entities.delete, TEAM)
    assert office.level(PLAIN, NOTES) is None
    office.register(TEAM)
    assert office.level(PLAIN, NOTES) is None


@pytest.mark.parametrize("level", [None, "read", "write"])
def test_deleting_takes_the_top_level(office: Office, level: str | None) -> None:
    if level is not None:
        office.give(NOTES, user(PLAIN), level)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, entities.delete, NOTES)
    office.give(NOTES, LOW, "admin")
    office.do(PLAIN, entities.delete, NOTES)


def test_an_entity_is_shown_to_those_who_reach_it(office: Office) -> None:
    for who in (OWNER, ADMIN, SYSTEM):
        assert office.ask(who, entities.get, NOTES).entity.ref == NOTES
    for who in (PLAIN, OTHER, "usr_stranger", Caller(user_id=PLAIN, scopes=("read",))):
        with pytest.raises(PermissionDenied):
            office.ask(who, entities.get, NOTES)
    office.give(NOTES, user(PLAIN), "read")
    assert office.ask(PLAIN, entities.get, NOTES).entity.ref == NOTES
    with pytest.raises(NotFound):
        office.ask(OWNER, entities.get, EntityRef("vector_store", "vs_9"))


def test_the_id_of_a_rule_belongs_to_one_organization(office: Office) -> None:
    """Rules are asked for without naming an organization, so two of them cannot share an id."""
    with office.desk.writing("org_2", SYSTEM) as writing:
        organizations.found(writing, name="Second", owner_email="a@b.org", owner_id="usr_second")
    with nothing_happens(office.store, ORGANIZATION, "org_2"), pytest.raises(Conflict):
        _register_in(office, "org_2", RULE)
    _register_in(office, "org_2", NOTES)
    office.do(OWNER, entities.delete, RULE)
    with pytest.raises(Conflict):
        _register_in(office, "org_2", RULE)
    office.register(RULE)


def _register_in(office: Office, organization_id: str, ref: EntityRef) -> None:
    with office.desk.writing(organization_id, SYSTEM) as writing:
        entities.register(writing, _draft(ref, "usr_second"))
