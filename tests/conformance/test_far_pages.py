"""Pages far in hold what they held without memory of earlier ones, through every change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from grantbook.model.facts import EntityRef, Grant, Member, revised
from grantbook.store.kept import Line, Milestones, Place, far_part, joined, nearest
from grantbook.store.matching import matches
from grantbook.store.port import OLDEST_FIRST, Contains, Order, Snapshot, Store, Where
from grantbook.store.sqlite import open_sqlite
from tests.worlds import AUTHOR, NOW, ORGANIZATION, FakeClock, deposit, grant, member, user, withdraw

A, B = EntityRef("vector_store", "vs_a"), EntityRef("knowledge_slice", "kslice_b")
SKIPS: Final = (0, 99, 100, 101, 160, 210, 299, 300, 310, 400, 2**31 - 1)
QUESTIONS: Final[list[list[Where]]] = [
    [],
    [{"entity_type": "vector_store"}],
    [{"access_level": {"read", "write"}}],
    [{"entity_id": A.id}, {"grantee_id": {"usr_001", "usr_002"}}],
    [{"entity_id": {A.id, B.id}}, {"grantee_id": "usr_003"}],
    [{"entity_id": B.id, "grantee_id": {"usr_001", "usr_280"}}, {"grantee_id": {"usr_009"}}],
]


def _grants(first: int, last: int, **values: Any) -> list[Grant]:
    """One on each of the two entities for each number; two numbers share a time."""
    return [
        grant(ref, user(f"usr_{number:03}"), "read", created_at=NOW + number // 2, **values)
        for number in range(first, last)
        for ref in (A, B)
    ]


def _check(store: Store, kind: type[Any] = Grant, questions: Sequence[list[Where]] = QUESTIONS) -> None:
    with store.snapshot(ORGANIZATION) as snapshot:
        for where in questions:
            for is_descending in (False, True):
                found = sorted(
                    snapshot.select(kind, *where),
                    key=lambda each: (each.created_at, getattr(each, kind.KEY[-1])),
                    reverse=is_descending,
                )
                _require_pages(snapshot, kind, where, Order(is_descending=is_descending), found)


def _require_pages(snapshot: Snapshot, kind: type[Any], where: list[Where], order: Order, found: list[Any]) -> None:
    for skip in SKIPS:
        assert snapshot.page(kind, *where, skip=skip, limit=7, order=order) == found[skip : skip + 7], (where, skip)
        if skip < len(found):
            place = (found[skip].created_at, getattr(found[skip], kind.KEY[-1]))
            after = snapshot.page(kind, *where, skip=1, limit=7, after=place, order=order)
            assert after == found[skip + 2 : skip + 9], (where, skip)


def test_pages_far_in_stay_right_through_every_change(store: Store) -> None:
    grants = _grants(20, 180)
    _check(store)
    deposit(store, ORGANIZATION, grants[::-1])
    for _ in range(2):
        _check(store)
    deposit(store, ORGANIZATION, _grants(0, 3))
    _check(store)
    withdraw(store, ORGANIZATION, [*grants[7:12], grants[100], grants[-1]])
    _check(store)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        for old in grants[120:130]:
            book.replace(old, revised(old, access_level="admin"), "updated")
        book.add(_grants(10, 11)[0], "added")
    _check(store)
    deposit(store, ORGANIZATION, _grants(300, 600))
    _check(store)


def test_pages_stay_right_where_a_change_does_not_tell_enough(store: Store) -> None:
    people = [member(f"usr_{n:03}", created_at=NOW + n, invitation_digest="abc") for n in range(200)]
    deposit(store, ORGANIZATION, people)
    questions: list[list[Where]] = [[{"invitation_digest": "abc"}], [{"email": Contains("USR_")}]]
    _check(store, Member, questions)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(people[3], revised(people[3], invitation_digest=None), "updated")
    _check(store, Member, questions)


def test_a_transaction_sees_its_own_writes_in_pages_far_in(store: Store) -> None:
    grants = _grants(10, 180)
    deposit(store, ORGANIZATION, grants)
    _check(store)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        (first,) = _grants(0, 1)[:1]
        book.add(first, "added")
        ordered = sorted([*grants, first], key=lambda each: (each.created_at, each.id))
        assert book.page(Grant, skip=200, limit=3) == ordered[200:203]


def test_what_was_granted_last_is_found_among_alternatives_too(store: Store) -> None:
    """A walk from the oldest on would have to go past all others first."""
    others = [grant(B, user(f"usr_other{n:04}"), "read", created_at=NOW + n) for n in range(1_500)]
    mine = [grant(A, user(f"usr_{n}"), "read", created_at=NOW + 9_999) for n in range(300)]
    deposit(store, ORGANIZATION, [*others, *mine])
    where: list[Where] = [{"entity_id": A.id}, {"grantee_id": {"usr_1"}}]
    ordered = sorted(mine, key=lambda each: each.id)
    with store.snapshot(ORGANIZATION) as snapshot:
        for _ in range(2):
            assert snapshot.page(Grant, *where, skip=0, limit=5) == ordered[:5]
            assert snapshot.page(Grant, *where, skip=150, limit=5) == ordered[150:155]
            assert snapshot.page(Grant, *where, skip=298, limit=5) == ordered[298:]


def test_no_milestone_is_set_between_two_at_the_same_place() -> None:
    """Whoever goes on from a place leaves out all that are there."""
    items = [(number // 2, "thing") for number in range(20_600)]

    def after(place: Place | None, skip: int, limit: int) -> list[Place]:
        return [each for each in items if place is None or each > place][skip : skip + limit]

    line = Line(rows=after, places=after, place_of=lambda item: item)
    milestones: Milestones = ()
    for skip in (101, 200, 355, 10_001, 20_000, 10_205, 20_101, 10_206):
        found, fresh = far_part(line, nearest(milestones, skip), skip, 3)
        assert found == items[skip : skip + 3]
        milestones = joined(milestones, fresh)
    assert milestones
    assert all(items.index(place) + 2 == passed for place, passed in milestones)


def test_a_page_ten_thousand_in_is_found_from_both_sides_of_a_leap(store: Store) -> None:
    deposit(store, ORGANIZATION, [member(f"usr_{n:05}", created_at=NOW + n) for n in range(10_400)])
    with store.snapshot(ORGANIZATION) as snapshot:
        for skip in (10_350, 10_010, 9_990, 10_398, 10_400):
            found = [each.user_id for each in snapshot.page(Member, skip=skip, limit=3)]
            assert found == [f"usr_{n:05}" for n in range(skip, min(skip + 3, 10_400))]
            changes = snapshot.find_changes(skip=skip, limit=3)
            assert [each.subject_id for each in changes] == [f"usr_{10_399 - n:05}" for n in range(skip, skip + 3)][
                : len(found)
            ]


RECORD_QUESTIONS: Final[list[list[Where]]] = [
    [],
    [{"action": "added"}],
    [{"subject_id": A.id}, {"target_id": {"usr_001", "usr_002"}}],
    [{"subject_id": {A.id, B.id}}, {"target_id": "usr_003"}],
    [{"target_id": {"usr_009", "usr_170"}}, {"actor_id": "usr_nobody"}],
]


def _check_record(store: Store) -> None:
    head = store.head(ORGANIZATION).revision
    record = list(store.changes(ORGANIZATION))[::-1]
    for revision in (None, max(1, head - 1)):
        with store.snapshot(ORGANIZATION, revision=revision) as snapshot:
            for where in RECORD_QUESTIONS:
                for first, last in ((1, None), (2, None), (1, head - 1), (2, head - 1)):
                    found = snapshot.find_changes(*where, first=first, last=last, skip=0, limit=10_000)
                    upto = snapshot.revision if last is None else min(last, snapshot.revision)
                    assert found == [each for each in record if first <= each.revision <= upto and matches(each, where)]
                    for skip in SKIPS:
                        page = snapshot.find_changes(*where, first=first, last=last, skip=skip, limit=7)
                        assert page == found[skip : skip + 7], (where, first, last, skip)
                    for change in found[::97]:
                        place = (change.revision, change.ordinal)
                        page = snapshot.find_changes(*where, first=first, last=last, before=place, skip=1, limit=7)
                        at = found.index(change)
                        assert page == found[at + 2 : at + 9]


def test_pages_far_into_the_record_stay_right_as_it_grows(store: Store) -> None:
    grants = _grants(0, 180)
    for part in (grants[:40], grants[40:300], grants[300:]):
        deposit(store, ORGANIZATION, part)
        _check_record(store)
    withdraw(store, ORGANIZATION, grants[100:250])
    _check_record(store)


def test_places_alone_are_refused_where_only_whole_facts_would_be_found(tmp_path: Path, clock: FakeClock) -> None:
    store = open_sqlite(f"sqlite:///{tmp_path}/book.db", clock)
    shape, _ = store._statements.shape_and_values(QUESTIONS[3])
    options = {"is_after": False, "is_until": False, "only_places": True}
    with pytest.raises(ValueError, match="whole facts"):
        store._statements.page(Grant, shape, OLDEST_FIRST, walks=False, **options)
    assert "expires_at" not in store._statements.page(Grant, shape, OLDEST_FIRST, walks=True, **options).sql
    store.close()
