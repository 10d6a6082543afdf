"""Snapshots: the newest one does not move, and an older one reads as it read then, for ever."""

from collections.abc import Callable

import pytest

from grantbook.model.facts import Department, Entity, EntityRef, Grant, Member
from grantbook.store.port import Snapshot, Store
from tests.worlds import (
    AUTHOR,
    FACTS_OF_EVERY_KIND,
    MILLISECOND,
    NOW,
    ORGANIZATION,
    FakeClock,
    contains,
    contents,
    department,
    deposit,
    entity,
    everything,
    grant,
    member,
    user,
    withdraw,
)

OUTER, MIDDLE = EntityRef("knowledge_slice", "kslice_1"), EntityRef("knowledge_slice", "kslice_2")
INNER = EntityRef("vector_store", "vs_1")


def test_a_snapshot_does_not_move_while_others_write(store: Store) -> None:
    deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    with store.snapshot(ORGANIZATION) as snapshot:
        before = everything(snapshot), snapshot.count(Member), snapshot.page(Member, skip=0, limit=9)
        withdraw(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
        deposit(store, ORGANIZATION, [member("usr_2")])
        assert (everything(snapshot), snapshot.count(Member), snapshot.page(Member, skip=0, limit=9)) == before
        assert snapshot.revision == 1
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.revision == 3
        assert snapshot.select(Member) == [member("usr_2")]


def test_a_snapshot_of_an_empty_book_does_not_move_either(store: Store) -> None:
    with store.snapshot(ORGANIZATION) as snapshot:
        deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
        assert snapshot.revision == 0
        assert not any(everything(snapshot).values())


def test_a_writer_that_has_not_finished_is_not_seen(store: Store) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(member("usr_1"), member("usr_1", "deactivated"), "deactivated")
        book.add(member("usr_2"), "added")
        assert contents(store, ORGANIZATION)["Member"] == [member("usr_1")]
        assert store.head(ORGANIZATION).revision == 1
        assert len(list(store.changes(ORGANIZATION))) == 1
    assert contents(store, ORGANIZATION)["Member"] == [member("usr_1", "deactivated"), member("usr_2")]


def test_an_older_revision_reads_as_it_read_then(store: Store) -> None:
    """Three lives of the same keys, each with another content."""
    eras = [
        [department("dept_1", name=name), member("usr_1", full_name=name), entity(INNER, name=name)]
        for name in ("first", "second", "third")
    ]
    seen = {0: contents(store, ORGANIZATION)}
    for era in eras:
        revision = deposit(store, ORGANIZATION, era)
        seen[revision] = contents(store, ORGANIZATION)
        revision = withdraw(store, ORGANIZATION, era)
        seen[revision] = contents(store, ORGANIZATION)
    assert list(seen) == [0, 1, 2, 3, 4, 5, 6]
    for revision, expected in seen.items():
        assert contents(store, ORGANIZATION, revision) == expected
        with store.snapshot(ORGANIZATION, revision=revision) as past:
            assert past.revision == revision
            assert past.find(Department, "dept_1") == next(iter(expected["Department"]), None)
            assert past.find(Entity, *INNER) == next(iter(expected["Entity"]), None)
            assert past.count(Member, {"user_id": {"usr_1"}}) == len(expected["Member"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda snapshot: sorted(each.id for each in snapshot.departments_above(["dept_3"])),
        lambda snapshot: sorted(each.id for each in snapshot.departments_below(["dept_1"])),
        lambda snapshot: sorted(each.container.id for each in snapshot.containers_of([INNER])),
        lambda snapshot: sorted(each.member.id for each in snapshot.contents_of([OUTER])),
        lambda snapshot: [each.access_level for each in snapshot.select(Grant, {"entity_id": {INNER.id}})],
    ],
    ids=["departments_above", "departments_below", "containers_of", "contents_of", "grants"],
)
def test_closures_of_an_older_revision_never_change(store: Store, ask: Callable[[Snapshot], list[str]]) -> None:
    tree = [department("dept_1"), department("dept_2", "dept_1"), department("dept_3", "dept_2")]
    nest = [contains(OUTER, MIDDLE), contains(MIDDLE, INNER)]
    given = grant(INNER, user("usr_1"), "read")
    deposit(store, ORGANIZATION, [*tree, *nest, given])
    with store.snapshot(ORGANIZATION) as snapshot:
        whole = ask(snapshot)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(tree[1], department("dept_2"), "moved")
        book.remove(nest[0], "removed")
        book.replace(given, grant(INNER, user("usr_1"), "admin"), "updated")
    with store.snapshot(ORGANIZATION) as snapshot:
        broken = ask(snapshot)
    deposit(store, ORGANIZATION, [nest[0], department("dept_4", "dept_1")])
    withdraw(store, ORGANIZATION, [*tree[::2], nest[1]])
    assert broken != whole
    with store.snapshot(ORGANIZATION, revision=1) as past:
        assert ask(past) == whole
    with store.snapshot(ORGANIZATION, revision=2) as past:
        assert ask(past) == broken


def test_the_revision_at_a_time_is_the_newest_made_until_then(store: Store, clock: FakeClock) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    deposit(store, ORGANIZATION, [member("usr_2")])
    clock.advance(MILLISECOND)
    deposit(store, ORGANIZATION, [member("usr_3")])
    deposit(store, "org_other", [member("usr_4")])
    asked = (NOW - 1, NOW, NOW + 1, NOW + MILLISECOND - 1, NOW + MILLISECOND, NOW + 10 * MILLISECOND)
    assert [store.revision_at(ORGANIZATION, at) for at in asked] == [0, 2, 2, 2, 3, 3]


def test_a_clock_that_runs_backwards_does_not_hide_a_revision(store: Store, clock: FakeClock) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    clock.advance(-MILLISECOND)
    deposit(store, ORGANIZATION, [member("usr_2")])
    assert store.revision_at(ORGANIZATION, NOW - 1) == 0
    assert store.revision_at(ORGANIZATION, NOW) == 2


def test_the_head_tells_the_revision_its_time_and_the_hash_of_the_last_change(store: Store, clock: FakeClock) -> None:
    assert (store.head(ORGANIZATION).revision, store.head(ORGANIZATION).at) == (0, 0)
    deposit(store, ORGANIZATION, [member("usr_1")])
    clock.advance(MILLISECOND)
    deposit(store, ORGANIZATION, [member("usr_2"), member("usr_3")])
    head = store.head(ORGANIZATION)
    assert (head.revision, head.at) == (2, NOW + MILLISECOND)
    assert head.hash == list(store.changes(ORGANIZATION))[-1].hash
