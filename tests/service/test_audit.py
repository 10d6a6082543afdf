"""The audit log: who may read it, what the filters find, and what an entry tells."""

import csv
import io
from typing import Any

import pytest

from grantbook.http.platform.audit_log_rendering import COLUMNS, csv_headings, csv_lines, entries
from grantbook.model.errors import LimitExceeded, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EntityRef, Principal, key_of
from grantbook.service import audit, departments, entities, grants, members, roles, rule_permissions
from grantbook.service.audit import Filters
from grantbook.service.desk import SYSTEM
from grantbook.service.rule_permissions import Permission
from grantbook.store.port import Author, Change
from tests.service.office import ADMIN, LOW, NOTES, OTHER, OWNER, PLAIN, RULE, TEAM, TOP, Office
from tests.worlds import DAY, NOW, ORGANIZATION, contains, deposit, entity, grant, target, user, withdraw

AUDITOR, VIEWER = "usr_auditor", "usr_viewer"


@pytest.fixture
def watched(office: Office) -> Office:
    """Two who may see the log; one of them may take it out, too."""
    for who, capabilities in ((VIEWER, ["view_audit_log"]), (AUDITOR, ["view_audit_log", "export_audit_log"])):
        role = office.do(SYSTEM, roles.create, name=who, capabilities=capabilities)
        office.invite(who, roles=[role.id])
    return office


def found(office: Office, **filters: Any) -> list[Change]:
    page = office.ask(VIEWER, audit.list_entries, Filters(**filters), skip=0, limit=100)
    assert (len(page.items), page.has_more) == (page.total, False)
    return page.items


def told(office: Office, **filters: Any) -> list[dict[str, Any]]:
    with office.desk.reading(ORGANIZATION, SYSTEM) as reading:
        return entries(reading, found(office, **filters))


def test_the_log_is_for_those_with_the_capability(watched: Office) -> None:
    for who in (OWNER, ADMIN, VIEWER, AUDITOR):
        assert watched.ask(who, audit.list_entries, Filters(), skip=0, limit=1).items
    with pytest.raises(PermissionDenied) as raised:
        watched.ask(PLAIN, audit.list_entries, Filters(), skip=0, limit=1)
    assert raised.value.details == {"capability": "view_audit_log"}


def test_the_export_takes_a_capability_of_its_own(watched: Office) -> None:
    assert watched.ask(AUDITOR, audit.chunk, Filters(), before=None, limit=1)
    assert watched.ask(AUDITOR, audit.count, Filters()) == len(watched.changes(0))
    with pytest.raises(PermissionDenied) as raised:
        watched.ask(VIEWER, audit.count, Filters())
    assert raised.value.details == {"capability": "export_audit_log"}
    with pytest.raises(PermissionDenied):
        watched.ask(VIEWER, audit.chunk, Filters(), before=None, limit=1)


def test_entries_come_newest_first_by_skip_and_by_place(watched: Office) -> None:
    everything = watched.changes(0)[::-1]
    by_skip: list[Change] = []
    by_place: list[Change] = []
    place = None
    while True:
        page = watched.ask(VIEWER, audit.list_entries, Filters(), skip=len(by_skip), limit=7)
        by_skip += page.items
        assert page.total == len(everything)
        if not page.has_more:
            break
    while chunk := watched.ask(AUDITOR, audit.chunk, Filters(), before=place, limit=7):
        by_place += chunk
        place = (chunk[-1].revision, chunk[-1].ordinal)
    assert by_skip == by_place == everything


def test_a_grant_is_told_with_its_levels_and_names(watched: Office) -> None:
    grant = watched.give(NOTES, user(PLAIN), "read")
    watched.do(OWNER, grants.update, grant.id, "write")
    watched.do(ADMIN, grants.revoke, grant.id)
    revoked, updated, granted = told(watched, entity_type="knowledge_grant")
    assert [each["action_type"] for each in (granted, updated, revoked)] == ["granted", "updated", "revoked"]
    assert [(each["previous_value"], each["new_value"]) for each in (granted, updated, revoked)] == [
        (None, "read"),
        ("read", "write"),
        ("write", None),
    ]
    for each in (granted, updated, revoked):
        assert (each["entity_id"], each["entity_name"]) == (NOTES.id, NOTES.id)
        assert (each["target_id"], each["target_name"]) == (PLAIN, f"{PLAIN}@example.org")
        assert (each["organization_id"], each["department_id"]) == (ORGANIZATION, None)
    assert (granted["actor_name"], granted["actor_email"]) == ("Grantbook", "")
    assert (revoked["actor_id"], revoked["actor_email"]) == (ADMIN, f"{ADMIN}@example.org")


def test_grants_on_rules_have_a_type_of_their_own(watched: Office) -> None:
    wanted = Permission(target=Principal("all", "*"), access_level="use")
    watched.do(OWNER, rule_permissions.grant_permission, RULE.id, wanted)
    (entry,) = told(watched, entity_type="rule_grant", action_type="granted")
    assert (entry["entity_id"], entry["target_id"], entry["target_name"]) == (RULE.id, "*", "Everyone")
    assert found(watched, entity_type="knowledge_grant") == []


def test_what_is_gone_still_has_its_name(watched: Office) -> None:
    watched.give(NOTES, user(PLAIN), "admin")
    watched.do(PLAIN, grants.create, NOTES, grants.NewGrant(grantee=user(OTHER), access_level="read"))
    for who in (PLAIN, OTHER):
        watched.do(SYSTEM, members.remove, who)
    watched.do(SYSTEM, entities.delete, NOTES)
    (granted,) = told(watched, entity_type="knowledge_grant", actor_id=PLAIN)
    assert (granted["entity_name"], granted["target_name"]) == (NOTES.id, f"{OTHER}@example.org")
    assert (granted["actor_name"], granted["actor_email"]) == (f"{PLAIN}@example.org", f"{PLAIN}@example.org")


def test_a_change_of_fields_is_told_field_by_field(watched: Office) -> None:
    draft = entities.Draft(ref=NOTES, name="Ideas", owner=user(OTHER), access_mode="private", attributes={"size": 3})
    watched.do(SYSTEM, entities.register, draft)
    entry = told(watched, entity_id=NOTES.id, action_type="updated")[0]
    assert entry["previous_value"] == f"name: {NOTES.id}; owner_id: {OWNER}; size: none"
    assert entry["new_value"] == f"name: Ideas; owner_id: {OTHER}; size: 3"
    (created,) = told(watched, entity_id=NOTES.id, action_type="created")
    assert (created["entity_name"], created["previous_value"], created["new_value"]) == (NOTES.id, None, NOTES.id)


def test_long_values_are_cut(watched: Office) -> None:
    draft = entities.Draft(ref=BOOK, name="x", owner=user(OWNER), access_mode="private", attributes={"text": "y" * 900})
    watched.do(SYSTEM, entities.register, draft)
    watched.do(SYSTEM, entities.register, entities.Draft(**{**_draft(draft), "attributes": {"text": "z" * 900}}))
    entry = told(watched, entity_id=BOOK.id, action_type="updated")[0]
    assert len(entry["new_value"]) == 200


BOOK = EntityRef("assistant", "asst_book")


def _draft(draft: entities.Draft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in draft.__dataclass_fields__}


def test_filters_narrow_together(watched: Office) -> None:
    watched.give(NOTES, user(PLAIN), "read")
    watched.do(OWNER, grants.create, NOTES, grants.NewGrant(grantee=user(OTHER), access_level="write"))
    watched.do(OWNER, grants.create, TEAM, grants.NewGrant(grantee=user(OTHER), access_level="read"))
    assert len(found(watched, actor_id=OWNER, action_type="granted")) == 2
    assert [each.subject_id for each in found(watched, actor_id=OWNER, target_id=OTHER, entity_id=TEAM.id)] == [TEAM.id]
    assert found(watched, actor_id=OWNER, target_id=PLAIN) == []
    assert found(watched, entity_type="no such type") == []


def test_a_department_has_what_is_about_it_and_what_goes_to_it(watched: Office) -> None:
    before = watched.revision
    watched.give(NOTES, LOW, "read")
    watched.give(NOTES, TOP, "read")
    watched.do(SYSTEM, members.join_department, LOW.id, OTHER)
    entries_of_low = [each for each in told(watched, department_id=LOW.id) if each["metadata"]["revision"] > before]
    assert [(each["entity_type"], each["department_id"]) for each in entries_of_low] == [
        ("department_member", LOW.id),
        ("knowledge_grant", LOW.id),
    ]
    assert len(found(watched, department_id=LOW.id, target_id=LOW.id)) == 1
    assert found(watched, department_id=LOW.id, target_id=TOP.id) == []
    assert found(watched, department_id=LOW.id, entity_type="role") == []


def test_dates_are_included_at_both_ends(watched: Office) -> None:
    watched.clock.advance(DAY)
    watched.give(NOTES, user(PLAIN), "read")
    watched.clock.advance(DAY)
    watched.give(NOTES, user(OTHER), "read")
    grants_only = {"entity_type": "knowledge_grant"}

    def targets(**between: int) -> list[str | None]:
        return [each.target_id for each in found(watched, **grants_only, **between)]

    assert targets(since=NOW + DAY) == [OTHER, PLAIN]
    assert targets(since=NOW + DAY + 1) == [OTHER]
    assert targets(until=NOW + 2 * DAY) == [OTHER, PLAIN]
    assert targets(until=NOW + 2 * DAY - 1) == [PLAIN]
    assert targets(since=NOW + DAY, until=NOW + DAY) == [PLAIN]
    assert targets(since=NOW + 3 * DAY) == []
    assert targets(until=NOW - 1) == []
    assert targets(since=NOW + 2 * DAY, until=NOW) == []


def test_a_search_finds_ids_actions_and_names_of_then_and_now(watched: Office) -> None:
    watched.do(SYSTEM, departments.create, name="Vieux Carré", department_id="dept_v")
    watched.give(NOTES, Principal("department", "dept_v"), "read")
    assert {each.kind for each in found(watched, search_term="VIEUX")} == {"Department", "Grant"}
    assert {each.target_id for each in found(watched, search_term="dept_v", entity_type="knowledge_grant")} == {
        "dept_v"
    }
    assert {each.action for each in found(watched, search_term="grante")} == {"granted"}
    assert found(watched, search_term="grante", action_type="revoked") == []
    watched.do(SYSTEM, departments.delete, "dept_v")
    assert {each.action for each in found(watched, search_term="vieux")} == {"created", "deleted"}
    assert found(watched, search_term="100%") == []
    with pytest.raises(ValidationFailed):
        found(watched, search_term="\x00")


def test_a_search_finds_the_same_by_the_texts_and_by_looking_through(
    watched: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.do(SYSTEM, departments.create, name="Vieux Carré", department_id="dept_v")
    watched.give(NOTES, Principal("department", "dept_v"), "read")
    watched.do(SYSTEM, departments.update, "dept_v", name="Quarter", description=None)
    because = Author(actor_id=OWNER, reason="Vieux is over")
    deposit(watched.store, ORGANIZATION, [grant(TEAM, user(OTHER), "read", id="agrant_x")], because)
    deposit(watched.store, ORGANIZATION, [grant(TEAM, user(PLAIN), "read", id="agrant_y")])
    terms = ("vieux", "QUARTER", "dept_v", "pt_", "usr_", OTHER, "over", "granted", "nothing of the kind", "é", "x is")
    filters: list[dict[str, Any]] = [{}, {"entity_type": "knowledge_grant"}, {"entity_id": TEAM.id}]
    asked = [{"search_term": term, **each} for term in terms for each in filters]
    by_texts = [found(watched, **each) for each in asked]
    monkeypatch.setattr(audit, "MAX_SEARCHED_TEXTS", -1)
    assert by_texts == [found(watched, **each) for each in asked]
    assert [len(each) for each in by_texts[:3]] == [3, 1, 1]


def test_a_search_for_what_everybody_is_called_is_an_error_and_not_a_part_of_the_answer(
    watched: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_SEARCHED_NAMES", 3)
    with pytest.raises(LimitExceeded) as raised:
        found(watched, search_term="example.org")
    assert raised.value.details["limit"] == "names_with_search_term"


def test_a_slice_has_a_log_for_those_with_its_top_level(watched: Office) -> None:
    watched.give(TEAM, user(PLAIN), "write")
    for who in (PLAIN, OTHER):
        with pytest.raises(PermissionDenied):
            watched.ask(who, audit.list_of_slice, TEAM.id, Filters(), skip=0, limit=9)
    watched.give(TEAM, user(OTHER), "admin")
    page = watched.ask(OTHER, audit.list_of_slice, TEAM.id, Filters(), skip=0, limit=9)
    assert [(each.kind, each.action, each.target_id) for each in page.items] == [
        ("Grant", "granted", OTHER),
        ("Grant", "granted", PLAIN),
        ("Entity", "created", None),
    ]
    assert watched.ask(VIEWER, audit.list_of_slice, TEAM.id, Filters(), skip=0, limit=9) == page
    only = watched.ask(OTHER, audit.list_of_slice, TEAM.id, Filters(action_type="created"), skip=0, limit=9)
    assert only.items == page.items[2:]
    with pytest.raises(NotFound):
        watched.ask(VIEWER, audit.list_of_slice, "kslice_none", Filters(), skip=0, limit=9)


def test_the_log_of_a_slice_has_nothing_of_another_entity_with_its_id(watched: Office) -> None:
    """Types keep ids apart: an assistant may have the very id of a slice."""
    mine, theirs = EntityRef("knowledge_slice", "thing_same"), EntityRef("assistant", "thing_same")
    facts = [
        entity(mine),
        entity(theirs),
        target(mine, user(PLAIN)),
        target(theirs, user(PLAIN)),
        contains(mine, NOTES),
        contains(TEAM, mine),
        grant(mine, user(PLAIN), "read", id="agrant_mine"),
        grant(theirs, user(PLAIN), "read", id="agrant_theirs"),
    ]
    deposit(watched.store, ORGANIZATION, facts)
    withdraw(watched.store, ORGANIZATION, facts[2:])
    page = watched.ask(VIEWER, audit.list_of_slice, mine.id, Filters(), skip=0, limit=20)
    expected = [facts[0], facts[2], *facts[4:7]]
    assert {each.key for each in page.items} == {"/".join(key_of(fact)) for fact in expected}
    assert page.total == len(expected) * 2 - 1


def test_cells_of_a_csv_never_begin_as_a_formula(watched: Office) -> None:
    odd = ["=1+1", "+1", "-1", "@a", "a,b", 'say "x"']
    for number, name in enumerate(odd):
        watched.do(SYSTEM, departments.create, name=name, department_id=f"dept_{number}")
    rows = told(watched, entity_type="department", search_term="dept_")
    read = list(csv.DictReader(io.StringIO(csv_headings() + csv_lines(rows), newline="")))
    assert tuple(read[0]) == COLUMNS
    shown = {row["entity_id"]: row["entity_name"] for row in read}
    assert [shown[f"dept_{number}"] for number in range(6)] == ["'=1+1", "'+1", "'-1", "'@a", "a,b", 'say "x"']


def test_many_things_that_are_gone_have_names(watched: Office) -> None:
    for number in range(30):
        watched.do(SYSTEM, departments.create, name=f"D{number}", department_id=f"dept_{number}")
        watched.give(NOTES, Principal("department", f"dept_{number}"), "read")
        watched.do(SYSTEM, departments.delete, f"dept_{number}")
    told_of = told(watched, entity_type="knowledge_grant", action_type="granted")
    assert {each["target_name"] for each in told_of} == {f"D{number}" for number in range(30)}
