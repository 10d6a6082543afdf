"""Imports of entities and of grants: all lines or none, and what is wrong with each."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from grantbook.model.errors import InvalidLines, PermissionDenied
from grantbook.model.facts import AccessTarget, Containment, EntityRef, Principal
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.service import entities, imports, roles
from grantbook.service.desk import SYSTEM
from grantbook.service.entities import Draft
from grantbook.service.grants import NewGrant
from grantbook.service.imports import EntityLine, GrantLine, Imported
from tests.service.office import ADMIN, BOT, EDITOR, LOW, MEMBERS, NOTES, OTHER, OWNER, PLAIN, RULE, TEAM, TOP, Office
from tests.worlds import DAY, NOW, ORGANIZATION, nothing_happens, user

MANAGER = "usr_manager"
NEW, OTHER_NEW = EntityRef("knowledge_slice", "kslice_new"), EntityRef("knowledge_slice", "kslice_other")
FILES = EntityRef("vector_store", "vs_files")


@pytest.fixture
def managed(office: Office) -> Office:
    """With somebody who may manage access, and nothing else."""
    role = office.do(SYSTEM, roles.create, name="Manager", capabilities=[MANAGE_ACCESS])
    office.invite(MANAGER, roles=[role.id])
    return office


def _grants(office: Office, *given: tuple[EntityRef, Principal, str], who: str = MANAGER, **values: Any) -> Imported:
    lines = [
        GrantLine(number, ref, NewGrant(grantee=grantee, access_level=level, **values))
        for number, (ref, grantee, level) in enumerate(given, 1)
    ]
    return office.do(who, imports.import_grants, lines)


def _draft(ref: EntityRef, **values: Any) -> Draft:
    return Draft(**{"ref": ref, "name": ref.id, "owner": user(OWNER), "access_mode": "private", **values})


def _entities(office: Office, *drafts: Draft, who: str = MANAGER) -> Imported:
    lines = [EntityLine(number, draft) for number, draft in enumerate(drafts, 1)]
    return office.do(who, imports.import_entities, lines)


def problems(office: Office, call: Callable[[], object]) -> list[tuple[int, str]]:
    """The lines and fields that are refused, after nothing has happened."""
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(InvalidLines) as raised:
        call()
    return [(problem["line"], problem["field"]) for problem in raised.value.details["errors"]]


def test_grants_are_made_in_one_revision(managed: Office) -> None:
    before = managed.revision
    done = _grants(
        managed, (NOTES, user(PLAIN), "read"), (BOT, LOW, "write"), (NOTES, EDITOR, "admin"), expires_at=NOW + DAY
    )
    assert done == Imported(created=3, updated=0, unchanged=0)
    assert managed.revision == before + 1
    made = managed.grants()
    assert {(grant.entity, grant.grantee, grant.access_level) for grant in made} == {
        (NOTES, user(PLAIN), "read"),
        (BOT, LOW, "write"),
        (NOTES, EDITOR, "admin"),
    }
    assert {(grant.granted_by, grant.expires_at, grant.created_at) for grant in made} == {(MANAGER, NOW + DAY, NOW)}
    assert {change.action for change in managed.changes(before)} == {"granted"}
    assert managed.level(PLAIN, NOTES) == "read"


def test_grants_that_are_there_stay_as_they_are(managed: Office) -> None:
    present = managed.give(NOTES, user(PLAIN), "read")
    assert _grants(managed, (NOTES, user(PLAIN), "read"), (NOTES, TOP, "read")) == Imported(
        created=1, updated=0, unchanged=1
    )
    assert present in managed.grants()
    with nothing_happens(managed.store, ORGANIZATION):
        assert _grants(managed, (NOTES, user(PLAIN), "read")).unchanged == 1


def test_grants_of_another_level_or_window_are_told(managed: Office) -> None:
    managed.give(NOTES, user(PLAIN), "read")
    managed.give(NOTES, user(OTHER), "read", expires_at=NOW + DAY)
    assert problems(
        managed,
        lambda: _grants(managed, (NOTES, TOP, "read"), (NOTES, user(PLAIN), "write"), (NOTES, user(OTHER), "read")),
    ) == [(2, "access_level"), (3, "expires_at")]


def test_an_expired_grant_makes_room(managed: Office) -> None:
    managed.give(NOTES, user(PLAIN), "read", expires_at=NOW + DAY)
    managed.clock.advance(DAY)
    before = managed.revision
    assert _grants(managed, (NOTES, user(PLAIN), "admin")).created == 1
    assert [change.action for change in managed.changes(before)] == ["expired", "granted"]


def test_every_line_of_grants_that_is_wrong_is_told(managed: Office) -> None:
    wrong = [
        (NOTES, user(PLAIN), "view"),
        (NOTES, Principal("all", "*"), "read"),
        (RULE, user(PLAIN), "use"),
        (EntityRef("planet", "p_1"), user(PLAIN), "read"),
        (NOTES, user(OTHER), "read"),
        (NOTES, user(OTHER), "write"),
    ]
    assert problems(managed, lambda: _grants(managed, *wrong)) == [
        (1, "access_level"),
        (2, "grantee_type"),
        (3, "entity_type"),
        (4, "entity_type"),
        (6, "grantee_id"),
    ]
    nobody = [
        (EntityRef("assistant", NOTES.id), user(PLAIN), "read"),
        (NOTES, user("usr_none"), "read"),
        (NOTES, TOP, "read"),
    ]
    assert problems(managed, lambda: _grants(managed, *nobody)) == [(1, "entity_id"), (2, "grantee_id")]
    late = lambda: _grants(managed, (NOTES, TOP, "read"), expires_at=NOW)  # noqa: E731
    assert problems(managed, late) == [(1, "expires_at")]
    turned = lambda: _grants(managed, (NOTES, TOP, "read"), starts_at=NOW + 2, expires_at=NOW + 1)  # noqa: E731
    assert problems(managed, turned) == [(1, "expires_at")]


def test_no_more_than_a_hundred_problems_are_told(managed: Office) -> None:
    assert len(problems(managed, lambda: _grants(managed, *[(NOTES, user(PLAIN), "view")] * 300))) == 100


@pytest.mark.parametrize("who", [PLAIN, OTHER])
def test_imports_take_the_right_to_manage_access(managed: Office, who: str) -> None:
    """Also of those who administer everything that the lines name. Nothing is said about what is there."""
    managed.give(NOTES, user(PLAIN), "admin")
    attempts: list[Callable[[], object]] = [
        lambda: _grants(managed, (NOTES, TOP, "read"), who=who),
        lambda: _grants(managed, (EntityRef("vector_store", "vs_none"), TOP, "read"), who=who),
        lambda: _entities(managed, _draft(NEW), who=who),
    ]
    for attempt in attempts:
        with nothing_happens(managed.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            attempt()
        assert raised.value.details == {"capability": MANAGE_ACCESS}


def test_admins_may_import(managed: Office) -> None:
    assert _grants(managed, (NOTES, TOP, "read"), who=ADMIN).created == 1


def test_entities_are_registered_as_one_by_one(managed: Office) -> None:
    before = managed.revision
    done = _entities(
        managed,
        _draft(FILES, containers=[NEW, TEAM], owner=MEMBERS, access_mode="organization"),
        _draft(NEW, containers=[OTHER_NEW], targets=[PLAIN, LOW.id]),
        _draft(OTHER_NEW),
        _draft(NOTES, name="Notes"),
        _draft(TEAM),
        _draft(RULE),
    )
    assert done == Imported(created=3, updated=1, unchanged=2)
    assert managed.revision == before + 1
    view = managed.ask(SYSTEM, entities.view, FILES)
    assert view.containers == (NEW, TEAM)
    assert (view.entity.owner, view.entity.access_mode, view.entity.created_by) == (MEMBERS, "organization", MANAGER)
    targets = managed.ask(SYSTEM, entities.view, NEW).target_ids
    assert targets == (LOW.id, PLAIN)
    assert managed.level(PLAIN, NEW) == "read"
    changed = managed.entity(NOTES)
    assert changed is not None
    assert (changed.name, changed.created_by) == ("Notes", "system")
    assert [change.subject_id for change in managed.changes(before) if change.action == "updated"] == [NOTES.id]


def test_what_a_line_leaves_out_is_cleared(managed: Office) -> None:
    _entities(managed, _draft(NEW, containers=[TEAM], targets=[PLAIN, OTHER]), _draft(FILES, containers=[NEW]))
    assert _entities(managed, _draft(NEW, targets=[OTHER]), _draft(FILES, containers=[NEW])) == Imported(
        created=0, updated=1, unchanged=1
    )
    view = managed.ask(SYSTEM, entities.view, NEW)
    assert (view.containers, view.target_ids, view.members) == ((), (OTHER,), (FILES,))


def test_what_is_not_named_stays(managed: Office) -> None:
    """Above all what belongs to an entity of another type with the same id."""
    same = EntityRef("vector_store", "vs_same"), EntityRef("assistant", "asst_same")
    _entities(managed, _draft(same[0], containers=[TEAM], targets=[PLAIN]), _draft(same[1], targets=[PLAIN]))
    with managed.store.snapshot(ORGANIZATION) as snapshot:
        before = snapshot.count(AccessTarget), snapshot.count(Containment)
    _entities(managed, _draft(NEW))
    with managed.store.snapshot(ORGANIZATION) as snapshot:
        assert (snapshot.count(AccessTarget), snapshot.count(Containment)) == before


def test_every_line_of_entities_that_is_wrong_is_told(managed: Office) -> None:
    wrong = [
        _draft(NEW, name=" "),
        _draft(EntityRef("planet", "p_1")),
        _draft(EntityRef("vector_store", "kslice_1")),
        _draft(FILES, access_mode="secret"),
        _draft(FILES, containers=[BOT]),
        _draft(NEW, access_mode="public", targets=[PLAIN]),
        _draft(OTHER_NEW, containers=[TEAM, TEAM]),
        _draft(EntityRef("assistant", "asst_1")),
        _draft(EntityRef("assistant", "asst_1")),
    ]
    assert problems(managed, lambda: _entities(managed, *wrong)) == [
        (1, "name"),
        (2, "entity_type"),
        (3, "entity_id"),
        (4, "access_mode"),
        (5, "containers"),
        (5, "entity_id"),
        (6, "access_target_ids"),
        (6, "entity_id"),
        (7, "containers.1"),
        (9, "entity_id"),
    ]
    missing = [
        _draft(NEW, owner=user("usr_none")),
        _draft(FILES, containers=[EntityRef("knowledge_slice", "kslice_none")]),
        _draft(OTHER_NEW, targets=["usr_none"]),
    ]
    assert problems(managed, lambda: _entities(managed, *missing)) == [
        (1, "owner_id"),
        (2, "containers"),
        (3, "access_target_ids"),
    ]


def test_lines_may_not_contain_each_other(managed: Office) -> None:
    circle = [_draft(NEW, containers=[OTHER_NEW]), _draft(OTHER_NEW, containers=[NEW])]
    assert problems(managed, lambda: _entities(managed, *circle)) == [(1, "containers")]


def test_a_rule_of_another_organization_is_taken(managed: Office) -> None:
    taken = EntityRef("rule", "rule_taken")
    with managed.desk.writing("org_other", SYSTEM) as writing:
        entities.add_drafted(writing, replace(_draft(taken), owner=user("usr_x")))
    assert problems(managed, lambda: _entities(managed, _draft(NEW), _draft(taken))) == [(2, "entity_id")]


def test_an_id_that_comes_back_starts_with_no_grants(managed: Office) -> None:
    managed.give(NOTES, user(PLAIN), "admin")
    managed.do(SYSTEM, entities.delete, NOTES)
    _entities(managed, _draft(NOTES))
    assert managed.level(PLAIN, NOTES) is None
