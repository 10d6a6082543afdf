"""Searching facts and changes: texts anywhere in a field, tallies, places in a list, changes newest first."""

from collections.abc import Sequence

import pytest

from grantbook.model.facts import Department, Entity, EntityRef, Member
from grantbook.store.port import Author, Change, Contains, Snapshot, Store, Where
from tests.worlds import (
    NOW,
    ORGANIZATION,
    department,
    deposit,
    entity,
    grant,
    member,
    user,
    withdraw,
)

PEOPLE = [
    member("usr_1", full_name="Ada Lovelace", created_at=1),
    member("usr_2", full_name="ADAM Smith", created_at=2),
    member("usr_3", full_name=None, created_at=3),
    member("usr_4", full_name="100% of_it [a-z]*", created_at=4),
    member("usr_5", full_name="Ärzte \\ 'und' \"so\"", created_at=5),
    member("usr_6", full_name="", created_at=6),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada", "12"),
        ("LOVE", "1"),
        ("a l", "1"),
        ("adam smith", "2"),
        ("%", "4"),
        ("_", "4"),
        ("[a-z]*", "4"),
        ("\\", "5"),
        ("'und'", "5"),
        ('"so"', "5"),
        ("Ä", "5"),
        ("ä", ""),
        ("none", ""),
        ("", "12456"),
        (" ", "1245"),
    ],
)
def test_a_text_is_found_anywhere_in_a_field_whatever_the_case_of_a_to_z(
    store: Store, text: str, expected: str
) -> None:
    """And nothing in it is a pattern."""
    deposit(store, ORGANIZATION, PEOPLE)
    for revision in (None, 1):
        with store.snapshot(ORGANIZATION, revision=revision) as snapshot:
            found = snapshot.select(Member, {"full_name": Contains(text)})
            assert sorted(each.user_id for each in found) == [f"usr_{digit}" for digit in expected]
            assert snapshot.count(Member, {"full_name": Contains(text)}) == len(expected)


def test_a_text_is_one_condition_among_others(store: Store) -> None:
    deposit(store, ORGANIZATION, PEOPLE)
    either: list[Where] = [{"full_name": Contains("ada")}, {"email": Contains("USR_5")}]
    with store.snapshot(ORGANIZATION) as snapshot:
        assert [each.user_id for each in snapshot.page(Member, *either, skip=0, limit=9)] == ["usr_1", "usr_2", "usr_5"]
        assert snapshot.select(Member, {"full_name": Contains("ada"), "user_id": {"usr_2", "usr_5"}}) == [PEOPLE[1]]


def test_a_text_in_an_attribute_can_be_asked_for(store: Store) -> None:
    refs = [EntityRef("rule", f"rule_{number}") for number in range(6)]
    attributes: list[dict[str, object]] = [
        {"category": "Style", "x.y": 1},
        {"category": "style"},
        {},
        {"category": None},
        {"category": ["style"]},
        {"category": 3},
    ]
    facts = [entity(ref, attributes=each) for ref, each in zip(refs, attributes, strict=True)]
    deposit(store, ORGANIZATION, facts)
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.select(Entity, {"attributes.category": "Style"}) == [facts[0]]
        assert snapshot.select(Entity, {"attributes.category": {"style", "other"}}) == [facts[1]]
        assert snapshot.count(Entity, {"attributes.category": Contains("STYLE")}) == 2
        assert snapshot.count(Entity, {"attributes.category": Contains("3")}) == 0
        assert snapshot.count(Entity, {"attributes.category": None}) == 4
        assert snapshot.count(Entity, {"attributes.unheard_of": "Style"}) == 0


def test_a_tally_counts_by_value_and_leaves_out_what_none_has(store: Store) -> None:
    things = [
        *(entity(EntityRef("rule", f"rule_{number}"), mode="public") for number in range(3)),
        entity(EntityRef("assistant", "asst_1"), mode="public"),
        entity(EntityRef("assistant", "asst_2"), status="archived"),
    ]
    deposit(store, ORGANIZATION, things)
    deposit(store, "org_other", things)
    withdraw(store, ORGANIZATION, things[:1])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.tally(Entity, "entity_type") == {"rule": 2, "assistant": 2}
        assert snapshot.tally(Entity, "entity_type", {"status": "active"}) == {"rule": 2, "assistant": 1}
        assert snapshot.tally(Entity, "entity_type", {"status": "archived"}, {"access_mode": "private"}) == {
            "assistant": 1
        }
        assert snapshot.tally(Entity, "entity_type", {"id": "rule_9"}) == {}
    with store.snapshot(ORGANIZATION, revision=1) as past:
        assert past.tally(Entity, "entity_type") == {"rule": 3, "assistant": 2}


def test_a_page_continues_after_a_place_even_when_the_fact_there_is_gone(store: Store) -> None:
    facts = [department(f"dept_{number}", created_at=NOW + number // 2) for number in range(6)]
    deposit(store, ORGANIZATION, facts)
    with store.snapshot(ORGANIZATION) as snapshot:
        for position, fact in enumerate(facts):
            after = (fact.created_at, fact.id)
            assert snapshot.page(Department, skip=0, limit=9, after=after) == facts[position + 1 :]
            assert snapshot.page(Department, skip=1, limit=2, after=after) == facts[position + 2 : position + 4]
        assert snapshot.page(Department, {"id": {"dept_1", "dept_5"}}, skip=0, limit=9, after=(NOW + 1, "dept_2")) == [
            facts[5]
        ]
    withdraw(store, ORGANIZATION, [facts[2]])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.page(Department, skip=0, limit=2, after=(NOW + 1, "dept_2")) == facts[3:5]


def _write_some(store: Store) -> list[Change]:
    """Four revisions by two authors; the changes, newest first."""
    ada, bob = Author(actor_id="usr_ada", reason="Spring cleaning"), Author(actor_id="usr_bob")
    given = grant(EntityRef("vector_store", "vs_1"), user("usr_1"), "read", id="agrant_1")
    deposit(store, ORGANIZATION, [member("usr_1"), member("usr_2")], ada)
    deposit(store, ORGANIZATION, [given], bob)
    with store.transaction(ORGANIZATION, ada) as book:
        book.remove(given, "revoked")
        book.remove(member("usr_2"), "removed")
    deposit(store, ORGANIZATION, [member("usr_2")], bob)
    deposit(store, "org_other", [member("usr_1")], ada)
    return list(store.changes(ORGANIZATION))[::-1]


def _found(snapshot: Snapshot, *where: Where, first: int = 1, last: int | None = None) -> list[tuple[int, int]]:
    found = snapshot.find_changes(*where, first=first, last=last, skip=0, limit=100)
    assert snapshot.count_changes(*where, first=first, last=last) == len(found)
    return [(change.revision, change.ordinal) for change in found]


def test_changes_are_found_newest_first_and_by_page(store: Store) -> None:
    changes = _write_some(store)
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.find_changes(skip=0, limit=100) == changes
        for limit in (1, 2, 4):
            pages = [snapshot.find_changes(skip=skip, limit=limit) for skip in range(0, 8, limit)]
            assert [change for page in pages for change in page] == changes
        assert snapshot.find_changes(skip=6, limit=9) == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([{"actor_id": "usr_ada"}], [(3, 1), (3, 0), (1, 1), (1, 0)]),
        ([{"subject_type": "user"}], [(4, 0), (3, 1), (1, 1), (1, 0)]),
        ([{"subject_type": "knowledge_grant", "action": "revoked"}], [(3, 0)]),
        ([{"target_id": "usr_1"}], [(3, 0), (2, 0)]),
        ([{"subject_id": "usr_1"}, {"target_id": "usr_1"}], [(3, 0), (2, 0), (1, 0)]),
        ([{"subject_id": {"usr_2", "vs_1"}, "action": {"added"}}], [(4, 0), (2, 0), (1, 1)]),
        ([{"reason": Contains("CLEAN")}], [(3, 1), (3, 0), (1, 1), (1, 0)]),
        ([{"reason": None}], [(4, 0), (2, 0)]),
        ([{"action": "unheard_of"}], []),
        ([{}], [(4, 0), (3, 1), (3, 0), (2, 0), (1, 1), (1, 0)]),
    ],
)
def test_changes_are_found_by_what_they_say(
    store: Store, where: Sequence[Where], expected: list[tuple[int, int]]
) -> None:
    _write_some(store)
    with store.snapshot(ORGANIZATION) as snapshot:
        assert _found(snapshot, *where) == expected
        assert _found(snapshot, *where, first=2) == [place for place in expected if place[0] >= 2]
        assert _found(snapshot, *where, last=2) == [place for place in expected if place[0] <= 2]
        assert _found(snapshot, *where, first=2, last=3) == [place for place in expected if place[0] in {2, 3}]
        assert _found(snapshot, *where, first=5, last=9) == []


def test_a_snapshot_finds_no_change_made_after_it(store: Store) -> None:
    _write_some(store)
    with store.snapshot(ORGANIZATION) as snapshot:
        before = _found(snapshot)
        deposit(store, ORGANIZATION, [member("usr_9")])
        assert _found(snapshot) == before
    with store.snapshot(ORGANIZATION, revision=2) as past:
        assert _found(past) == [(2, 0), (1, 1), (1, 0)]
    with store.snapshot("org_unknown") as snapshot:
        assert _found(snapshot) == []
