"""Reading the record from a place on, and by what stood in a fact before or after a change."""

import json
from collections.abc import Callable

import pytest

from grantbook.model.errors import Conflict
from grantbook.model.facts import EntityRef, Principal
from grantbook.store.port import SMALL_LETTERS, Author, Change, Contains, Store, ToldText, Transaction, Where
from tests.worlds import AUTHOR, ORGANIZATION, department, deposit, grant, user

STORE = EntityRef("vector_store", "vs_1")
SLICE = EntityRef("knowledge_slice", "vs_1")


def _write_some(store: Store) -> list[Change]:
    """Five revisions, two changes in most; the changes, newest first."""
    first, second = grant(STORE, user("usr_1"), "read"), grant(SLICE, user("usr_1"), "write")
    deposit(store, ORGANIZATION, [department("dept_1", name="Law"), department("dept_2", name="Größe 50%")])
    deposit(store, ORGANIZATION, [first, second])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(department("dept_1", name="Law"), department("dept_1", name="Lawyers"), "updated")
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.remove(second, "revoked")
        book.remove(first, "revoked")
    deposit(store, ORGANIZATION, [grant(STORE, Principal("department", "dept_1"), "admin")])
    deposit(store, "org_other", [grant(STORE, user("usr_1"), "read")])
    return list(store.changes(ORGANIZATION))[::-1]


def test_changes_go_on_before_a_place(store: Store) -> None:
    changes = _write_some(store)
    with store.snapshot(ORGANIZATION) as snapshot:
        for position, change in enumerate(changes):
            place = (change.revision, change.ordinal)
            assert snapshot.find_changes(before=place, skip=0, limit=100) == changes[position + 1 :]
            assert snapshot.find_changes(before=place, skip=1, limit=2) == changes[position + 2 : position + 4]
        assert snapshot.find_changes(before=(99, 0), skip=0, limit=100) == changes
        assert snapshot.find_changes(before=(4, 1), last=3, first=2, skip=0, limit=100) == changes[3:6]


def test_changes_that_come_later_do_not_shift_what_comes_before_a_place(store: Store) -> None:
    changes = _write_some(store)
    deposit(store, ORGANIZATION, [department("dept_9")])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.find_changes(before=(5, 0), skip=0, limit=100) == changes[1:]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([{"after.entity_type": "vector_store"}], [(5, 0), (2, 0)]),
        ([{"before.entity_type": "vector_store"}], [(4, 1)]),
        ([{"after.access_level": "admin", "subject_id": "vs_1"}], [(5, 0)]),
        ([{"before.access_level": {"read", "write"}}], [(4, 1), (4, 0)]),
        ([{"after.name": Contains("LAW")}], [(3, 0), (1, 0)]),
        ([{"before.name": Contains("law")}, {"after.name": Contains("0%")}], [(3, 0), (1, 1)]),
        ([{"after.name": Contains("_")}], []),
        ([{"after.nothing": "x"}], []),
        ([{"kind": "Grant", "after": None}], [(4, 1), (4, 0)]),
    ],
)
def test_changes_are_found_by_the_fact_before_and_after(
    store: Store, where: list[Where], expected: list[tuple[int, int]]
) -> None:
    _write_some(store)
    with store.snapshot(ORGANIZATION) as snapshot:
        found = snapshot.find_changes(*where, skip=0, limit=100)
        assert [(change.revision, change.ordinal) for change in found] == expected
        assert snapshot.count_changes(*where) == len(expected)


def test_counts_keep_up_with_the_record(store: Store) -> None:
    """Also those that were asked for before, of a past revision, and between two."""
    for number in range(1, 5):
        deposit(store, ORGANIZATION, [department(f"dept_new{number}"), department(f"dept_more{number}")])
        with store.snapshot(ORGANIZATION) as snapshot:
            for _ in range(2):
                assert snapshot.count_changes() == 2 * number
                assert snapshot.count_changes({"kind": "Department", "action": "added"}) == 2 * number
                assert snapshot.count_changes({"kind": "Grant"}) == 0
                assert snapshot.count_changes({"subject_id": "dept_new1"}, {"target_id": "dept_new1"}) == 1
                assert snapshot.count_changes(first=2) == 2 * (number - 1)
                assert snapshot.count_changes(first=2, last=2) == (2 if number > 1 else 0)
        with store.snapshot(ORGANIZATION, revision=1) as past:
            assert past.count_changes() == 2
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        assert book.count_changes() == 8


def test_a_change_that_two_alternatives_find_is_found_once(store: Store) -> None:
    deposit(store, ORGANIZATION, [grant(STORE, Principal("department", "dept_1"), "read")])
    both: list[Where] = [{"subject_id": "vs_1"}, {"target_id": {"dept_1", "dept_2"}}, {"actor_id": "usr_author"}]
    with store.snapshot(ORGANIZATION) as snapshot:
        assert len(snapshot.find_changes(*both, skip=0, limit=10)) == 1
        assert snapshot.find_changes(*both, skip=1, limit=10) == []
        assert snapshot.count_changes(*both) == 1


def _texts_of(changes: list[Change]) -> set[ToldText]:
    """By the definition: what each change tells."""
    found: set[ToldText] = set()
    for each in changes:
        ids = [each.subject_id, each.actor_id, each.target_id]
        found |= {ToldText("id", text, "") for text in ids if text is not None}
        found |= {ToldText("word", text, "") for text in (each.subject_type, each.action)}
        found |= {ToldText("reason", each.reason, each.subject_id)} if each.reason is not None else set()
        for fact in (each.before, each.after):
            told = json.loads(fact or "{}")
            names = [told.get(name) for name in ("name", "full_name", "email")]
            found |= {ToldText("name", text, each.subject_id) for text in names if text is not None}
    return found


def _require_texts(store: Store) -> None:
    texts = _texts_of(list(store.changes(ORGANIZATION)))
    for wanted in (
        "",
        "a",
        "VS_1",
        "größe",
        "GRÖSSE",
        "law",
        "Lawyers",
        "ted",
        "%",
        "_1",
        "usr",
        "x" * 50,
        '"q',
        "Σσς",
    ):
        small = wanted.translate(SMALL_LETTERS)
        expected = {each for each in texts if small in each.text.translate(SMALL_LETTERS)}
        with store.snapshot(ORGANIZATION) as snapshot:
            found = snapshot.find_texts(Contains(wanted), limit=1_000)
            assert len(found) == len(expected)
            assert set(found) == expected, wanted
            assert len(snapshot.find_texts(Contains(wanted), limit=2)) == min(2, len(expected))


def test_texts_of_the_record_are_found_each_once(store: Store) -> None:
    _require_texts(store)
    _write_some(store)
    _require_texts(store)
    because = Author(actor_id="usr_author", reason="x" * 3_900 + 'said "quite" so: Σσς 😀')
    deposit(store, ORGANIZATION, [department("dept_3", name='"q')], because)
    deposit(store, ORGANIZATION, [grant(STORE, user("usr_2"), "read")], because)
    _require_texts(store)


def test_texts_of_a_transaction_that_failed_were_never_told(store: Store) -> None:
    deposit(store, ORGANIZATION, [department("dept_1")])
    for error, ending in ((KeyError, _fail), (KeyError, _fail), (Conflict, _add_again)):
        with pytest.raises(error):
            _add_and(store, ending)
    _require_texts(store)
    deposit(store, ORGANIZATION, [department("dept_2", name="Lawyers")])
    _require_texts(store)


def _add_and(store: Store, ending: Callable[[Transaction], None]) -> None:
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.add(department("dept_2", name="Lawyers"), "added")
        ending(book)


def _fail(_: Transaction) -> None:
    raise KeyError


def _add_again(book: Transaction) -> None:
    book.add(department("dept_1"), "added")
