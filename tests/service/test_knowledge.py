"""Slices, composites and stores: who may change what they are, who reaches them, and where they lie."""

from typing import Any

import pytest

from grantbook.model.errors import NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EntityRef, Principal
from grantbook.service import entities, knowledge, members, roles
from grantbook.service.desk import SYSTEM
from grantbook.service.entities import Draft, Edit
from grantbook.service.entity_lists import Part
from grantbook.service.knowledge import COMPOSITE, FORM, SLICE, STORE
from grantbook.store.port import Order
from tests.service.office import ADMIN, EDITOR, LOW, NOTES, OTHER, OWNER, PLAIN, TEAM, TOP, Office
from tests.worlds import ORGANIZATION, nothing_happens, user

OPEN, BOOK, BOX = (EntityRef(SLICE, f"kslice_{name}") for name in ("open", "book", "box"))
EVERYTHING: list[Edit] = [
    Edit(name="New"),
    Edit(attributes={"description": "New"}),
    Edit(is_active=False),
    Edit(access_mode="organization"),
    Edit(targets=[OTHER]),
]


def _register(office: Office, ref: EntityRef, **values: Any) -> None:
    draft = {"ref": ref, "name": ref.id, "owner": user(OWNER), "access_mode": "private", **values}
    office.do(SYSTEM, entities.register, Draft(**draft))


def _allow(office: Office, who: str, *capabilities: str) -> None:
    office.do(OWNER, roles.create, name="Some", role_id="role_some", capabilities=capabilities)
    office.do(OWNER, members.assign_role, "role_some", who)


def _may(office: Office, who: str, change: Edit) -> bool:
    try:
        office.do(who, knowledge.update_store, NOTES.id, change, None)
    except PermissionDenied:
        return False
    office.do(SYSTEM, knowledge.update_store, NOTES.id, Edit(name="x", is_active=True, access_mode="private"), None)
    office.do(SYSTEM, knowledge.update_store, NOTES.id, Edit(targets=[]), None)
    return True


@pytest.mark.parametrize("level", [None, "read", "write", "admin"])
def test_the_top_level_changes_everything_and_a_lower_one_nothing(office: Office, level: str | None) -> None:
    if level is not None:
        office.give(NOTES, user(PLAIN), level)
    assert [_may(office, PLAIN, change) for change in EVERYTHING] == [level == "admin"] * len(EVERYTHING)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ("manage_knowledge_slices", [True, True, True, False, False]),
        ("manage_access_control", [True] * 5),
        ("override_all_permissions", [True] * 5),
        ("create_knowledge", [False] * 5),
        ("manage_assistants", [False] * 5),
    ],
)
def test_a_capability_changes_what_a_store_is_but_only_one_changes_who_reaches_it(
    office: Office, capability: str, expected: list[bool]
) -> None:
    _allow(office, PLAIN, capability)
    assert [_may(office, PLAIN, change) for change in EVERYTHING] == expected


def test_who_only_manages_slices_neither_moves_nor_deletes_nor_reaches(office: Office) -> None:
    _register(office, BOX, attributes={FORM: COMPOSITE})
    _allow(office, PLAIN, "manage_knowledge_slices", "create_knowledge")
    office.do(PLAIN, entities.create, Draft(ref=OPEN, name="Mine", owner=user(PLAIN)), *knowledge.CREATORS)
    for attempt in (
        lambda: office.do(PLAIN, knowledge.update_store, NOTES.id, Edit(), [OPEN.id]),
        lambda: office.do(PLAIN, knowledge.update_store, NOTES.id, Edit(), []),
        lambda: office.do(PLAIN, knowledge.update_composite, BOX.id, Edit(), [OPEN.id]),
        lambda: office.do(PLAIN, knowledge.update_composite, BOX.id, Edit(), []),
        lambda: office.do(PLAIN, knowledge.delete_store, NOTES.id),
    ):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            attempt()
    assert office.level(PLAIN, NOTES) is None
    assert office.ask(PLAIN, knowledge.get_store, NOTES.id).entity.ref == NOTES


@pytest.mark.parametrize("level", ["read", "add_new"])
def test_moving_a_store_takes_the_top_level_on_it_and_adding_to_the_slice(office: Office, level: str) -> None:
    _register(office, BOOK)
    office.give(TEAM, user(PLAIN), level)
    office.give(BOOK, user(PLAIN), "admin")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
        office.do(PLAIN, knowledge.update_store, NOTES.id, Edit(), [TEAM.id])
    assert raised.value.details["entity_id"] == NOTES.id
    office.give(NOTES, user(PLAIN), "admin")
    if level == "read":
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            office.do(PLAIN, knowledge.update_store, NOTES.id, Edit(), [BOOK.id, TEAM.id])
        assert raised.value.details["entity_id"] == TEAM.id
        return
    moved = office.do(PLAIN, knowledge.update_store, NOTES.id, Edit(), [BOOK.id, TEAM.id])
    assert moved.slice_ids == (BOOK.id, TEAM.id)


def test_a_store_leaves_those_who_reached_it_through_its_slice_also_who_moves_it(office: Office) -> None:
    _register(office, BOOK)
    office.register(NOTES, containers=[TEAM])
    office.give(TEAM, user(PLAIN), "admin")
    office.give(TEAM, user(OTHER), "read")
    office.give(BOOK, user(PLAIN), "add_new")
    before = office.revision
    moved = office.do(
        PLAIN, knowledge.update_store, NOTES.id, Edit(name="Moved", access_mode="organization"), [BOOK.id]
    )
    assert (moved.slice_ids, moved.entity.name, moved.entity.access_mode) == ((BOOK.id,), "Moved", "organization")
    assert office.revision == before + 1
    assert (office.level(PLAIN, NOTES), office.level(OTHER, NOTES)) == ("add_new", "read")
    office.do(SYSTEM, knowledge.update_store, NOTES.id, Edit(access_mode="private"), None)
    assert office.level(OTHER, NOTES) is None


def test_a_composite_gives_nobody_more_than_who_changes_it_may_give(office: Office) -> None:
    """Its members are reached by all who have a grant on it."""
    _register(office, BOX, owner=user(PLAIN), attributes={FORM: COMPOSITE})
    office.give(BOX, user(OTHER), "write")
    for level in (None, "write"):
        if level is not None:
            office.give(TEAM, user(PLAIN), level)
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            office.do(PLAIN, knowledge.update_composite, BOX.id, Edit(name="Mine"), [TEAM.id])
        assert raised.value.details["entity_id"] == TEAM.id
    office.give(TEAM, LOW, "admin")
    view = office.do(PLAIN, knowledge.update_composite, BOX.id, Edit(name="Mine"), [TEAM.id])
    assert (view.member_ids, view.entity.name, office.level(OTHER, TEAM)) == ((TEAM.id,), "Mine", "write")
    office.do(PLAIN, knowledge.update_composite, BOX.id, Edit(), [])
    assert office.level(OTHER, TEAM) is None
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(OWNER, knowledge.update_composite, TEAM.id, Edit(name="X"), None)


def test_members_that_stay_need_no_right_and_all_are_checked_before_any_goes(office: Office) -> None:
    _register(office, BOOK)
    _register(office, BOX, owner=user(PLAIN), attributes={FORM: COMPOSITE}, members=[TEAM])
    office.do(PLAIN, knowledge.update_composite, BOX.id, Edit(name="Same"), [TEAM.id])
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, knowledge.update_composite, BOX.id, Edit(name="Other"), [BOOK.id])
    assert office.ask(SYSTEM, knowledge.get_slice, BOX.id).member_ids == (TEAM.id,)


def test_a_new_mode_begins_without_the_targets_of_the_old_one(office: Office) -> None:
    def update(**values: Any) -> tuple[str, tuple[str, ...]]:
        view = office.do(OWNER, knowledge.update_slice, TEAM.id, Edit(**values))
        return view.entity.access_mode, view.target_ids

    assert update(targets=[PLAIN]) == ("private", (PLAIN,))
    assert update(name="New") == ("private", (PLAIN,))
    assert update(access_mode="private") == ("private", (PLAIN,))
    assert update(access_mode="department") == ("department", ())
    assert update(access_mode="private", targets=[LOW.id]) == ("private", (LOW.id,))
    assert office.level(PLAIN, TEAM) == "read"
    assert update(access_mode="organization") == ("organization", ())
    assert update(access_mode="private") == ("private", ())
    assert office.level(PLAIN, TEAM) is None
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        update(access_mode="public", targets=[PLAIN])


def test_saying_what_is_there_already_changes_nothing(office: Office) -> None:
    office.register(NOTES, containers=[TEAM])
    name = office.ask(SYSTEM, knowledge.get_store, NOTES.id).entity.name
    with nothing_happens(office.store, ORGANIZATION):
        office.do(OWNER, knowledge.update_store, NOTES.id, Edit(), None)
        same = Edit(name=name, is_active=True, access_mode="private", targets=[])
        office.do(OWNER, knowledge.update_store, NOTES.id, same, [TEAM.id])


@pytest.mark.parametrize(
    "change", [Edit(name=" "), Edit(name="x" * 201), Edit(access_mode="x"), Edit(attributes={"description": "\x00"})]
)
def test_an_impossible_change_is_refused_whole(office: Office, change: Edit) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(OWNER, knowledge.update_store, NOTES.id, change, [TEAM.id])


@pytest.mark.parametrize("mode", ["organization", "department", "private"])
def test_a_store_inherits_what_its_slice_was_like_then(office: Office, mode: str) -> None:
    targets = [] if mode == "organization" else sorted([TOP.id, OTHER])
    office.do(OWNER, knowledge.update_slice, TEAM.id, Edit(access_mode=mode, targets=targets))
    draft = Draft(ref=EntityRef(STORE, "vs_new"), name="New", owner=user(OWNER), access_mode="inherit")
    made = office.do(OWNER, knowledge.create_store, draft, TEAM.id).entity
    moved = office.do(OWNER, knowledge.update_store, NOTES.id, Edit(access_mode="inherit"), [TEAM.id]).entity
    for store in (made, moved):
        view = office.ask(SYSTEM, entities.get, store.ref)
        assert (view.entity.access_mode, list(view.target_ids)) == (mode, targets)
        assert office.level(PLAIN, store.ref) == "read"
    office.do(OWNER, knowledge.update_slice, TEAM.id, Edit(access_mode="public"))
    assert office.ask(SYSTEM, knowledge.get_store, "vs_new").entity.access_mode == mode


def test_inheriting_takes_one_slice_and_the_right_to_change_who_reaches_the_store(office: Office) -> None:
    inherit = Edit(access_mode="inherit")
    for slice_ids in (None, [], [TEAM.id, OPEN.id]):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
            office.do(OWNER, knowledge.update_store, NOTES.id, inherit, slice_ids)
        assert raised.value.details["field"] == "access_mode"
    office.give(NOTES, user(PLAIN), "write")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, knowledge.update_store, NOTES.id, inherit, [TEAM.id])


def test_what_its_owner_archived_is_theirs_to_see_and_to_bring_back(office: Office) -> None:
    _register(office, BOOK, owner=user(PLAIN))
    office.give(BOOK, user(OTHER), "admin")
    office.do(PLAIN, knowledge.set_status, BOOK.id, "archived")
    for who, seen in ((PLAIN, [BOOK.id]), (OTHER, [])):
        page = office.ask(who, knowledge.list_slices, Part(), status="archived")
        assert [entity.id for entity in page.items] == seen
    with pytest.raises(PermissionDenied):
        office.ask(OTHER, knowledge.get_slice, BOOK.id)
    office.do(SYSTEM, members.set_state, PLAIN, "deactivated")
    assert office.ask(PLAIN, knowledge.list_slices, Part()).items == []
    office.do(SYSTEM, members.set_state, PLAIN, "active")
    archived = office.ask(PLAIN, knowledge.get_slice, BOOK.id).entity
    assert archived.attributes["archived_by"] == PLAIN
    back = office.do(PLAIN, knowledge.set_status, BOOK.id, "active").entity
    assert "archived_by" not in back.attributes


@pytest.mark.parametrize(
    ("capability", "slices", "stores"),
    [
        (None, [OPEN.id], []),
        ("manage_knowledge_slices", [TEAM.id, OPEN.id, BOOK.id], [NOTES.id]),
        ("manage_access_control", [TEAM.id, OPEN.id, BOOK.id], [NOTES.id]),
        ("override_all_permissions", [TEAM.id, OPEN.id, BOOK.id], [NOTES.id]),
        ("manage_rules", [OPEN.id], []),
    ],
)
def test_lists_show_what_one_reaches_and_all_of_it_to_who_manages_it(
    office: Office, capability: str | None, slices: list[str], stores: list[str]
) -> None:
    for ref, mode in ((OPEN, "organization"), (BOOK, "private")):
        office.clock.advance(1)
        _register(office, ref, access_mode=mode)
    office.do(SYSTEM, knowledge.set_status, BOOK.id, "archived")
    if capability is not None:
        _allow(office, PLAIN, capability)
    page = office.ask(PLAIN, knowledge.list_slices, Part())
    assert ([entity.id for entity in page.items], page.total) == (slices, len(slices))
    assert [entity.id for entity in office.ask(PLAIN, knowledge.list_stores, Part()).items] == stores
    for id_ in slices:
        assert office.ask(PLAIN, knowledge.get_slice, id_).entity.id == id_


def test_pages_of_what_one_reaches_by_many_ways_hold_each_once_and_count_all(office: Office) -> None:
    """Owned, open, listed, granted to oneself, a department above and a container: in one order."""
    _register(office, BOX, attributes={FORM: COMPOSITE})
    reasons: list[dict[str, Any]] = [
        {"owner": user(PLAIN), "access_mode": "organization"},
        {"owner": Principal("department", TOP.id), "targets": [PLAIN]},
        {"containers": [BOX]},
        {},
    ]
    for number in range(20):
        office.clock.advance(1)
        ref = EntityRef(SLICE, f"kslice_{19 - number:02}")
        _register(office, ref, **reasons[number % 4])
        if number % 8 == 3:
            office.give(ref, user(PLAIN), "read")
    office.give(BOX, TOP, "read")
    reached = [f"kslice_{19 - number:02}" for number in range(20) if number % 4 != 3 or number % 8 == 3]
    expected = [BOX.id, *reached]
    for limit in (1, 3, 7, 100):
        seen: list[str] = []
        part = Part(limit=limit)
        while True:
            page = office.ask(PLAIN, knowledge.list_slices, part)
            seen += [entity.id for entity in page.items]
            assert page.total == len(expected)
            if not page.has_more:
                break
            part = Part(limit=limit, after=page.last)
        assert seen == expected
    by_name = office.ask(PLAIN, knowledge.list_slices, Part(limit=2, order=Order("name", is_descending=True)))
    assert [entity.id for entity in by_name.items] == sorted(expected, reverse=True)[:2]
    beyond = office.ask(PLAIN, knowledge.list_slices, Part(skip=100))
    assert (beyond.items, beyond.total, beyond.has_more) == ([], len(expected), False)


def test_a_filter_and_what_one_sees_hold_at_once(office: Office) -> None:
    office.register(NOTES, containers=[TEAM])
    draft = Draft(ref=EntityRef(STORE, "vs_open"), name="Open notes", owner=user(OWNER), access_mode="organization")
    office.do(OWNER, knowledge.create_store, draft, TEAM.id)
    office.give(NOTES, EDITOR, "read")

    def stores(who: str, **filters: Any) -> list[str]:
        return sorted(entity.id for entity in office.ask(who, knowledge.list_stores, Part(), **filters).items)

    for who, seen in ((PLAIN, ["vs_open"]), (OTHER, ["vs_notes", "vs_open"]), (ADMIN, ["vs_notes", "vs_open"])):
        assert stores(who, slice_id=TEAM.id) == stores(who, status="active", slice_id=TEAM.id) == seen
        assert stores(who, slice_id="kslice_gone") == stores(who, status="archived") == []
        assert stores(who, slice_id=TEAM.id, search="NOTES") == seen


def test_the_summary_says_when_there_is_more(office: Office) -> None:
    _register(office, BOOK)
    page, found = office.ask(OWNER, knowledge.summary, 1)
    assert (len(found), page.total, page.has_more) == (1, 2, True)
    page, found = office.ask(OWNER, knowledge.summary, 2)
    assert (len(found), page.total, page.has_more) == (2, 2, False)
