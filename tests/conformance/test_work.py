"""How much SQLite does for an answer, in its own instructions: that is the same every time, and time is not."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from grantbook.engine import lists
from grantbook.engine.facts_cache import FactCache
from grantbook.engine.lists import EntitiesOf, ListPage, Part, UsersOf, Wanted
from grantbook.model.facts import Entity, EntityRef, Fact, Role, RoleAssignment
from grantbook.model.vocabulary import BUILT_IN
from grantbook.store.sql import SqlStore
from grantbook.store.sqlite import open_sqlite
from tests.worlds import (
    NOW,
    ORGANIZATION,
    FakeClock,
    assigned,
    contains,
    deposit,
    entity,
    grant,
    member,
    organization,
    role,
    user,
)


@pytest.fixture
def book(tmp_path: Path, clock: FakeClock) -> Iterator[SqlStore]:
    opened = open_sqlite(f"sqlite:///{tmp_path}/book.db", clock)
    yield opened
    opened.close()


def _instructions(store: SqlStore, act: Callable[[], object]) -> int:
    """How many SQLite carries out meanwhile, to the ten."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1

    @event.listens_for(store._dialect.engine, "checkout")
    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(one_more, 10)

    act()
    event.remove(store._dialect.engine, "checkout", watch)
    store._dialect.engine.dispose()
    return count * 10


def _roles(store: SqlStore, skip: int) -> Callable[[], list[Role]]:
    def act() -> list[Role]:
        with store.snapshot(ORGANIZATION) as snapshot:
            return snapshot.page(Role, skip=skip, limit=20)

    return act


def test_a_page_of_few_takes_no_longer_for_all_that_was_written_since_they_were_counted(book: SqlStore) -> None:
    deposit(book, ORGANIZATION, [role(f"role_{number}") for number in range(5)])
    with book.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.count(Role) == 5
    near, further = [], []
    for part in range(3):
        deposit(book, ORGANIZATION, [entity(EntityRef("rule", f"rule_{part}_{each}")) for each in range(1_500)])
        near.append(_instructions(book, _roles(book, 0)))
        further.append(_instructions(book, _roles(book, 1)))
    assert max(near) < 500
    assert max(further) < 1.1 * min(further)


def _tally(store: SqlStore) -> Callable[[], None]:
    def act() -> None:
        with store.snapshot(ORGANIZATION) as snapshot:
            assert len(snapshot.tally(RoleAssignment, "role_id")) == 5

    return act


def test_those_who_have_each_role_are_counted_once(book: SqlStore) -> None:
    deposit(book, ORGANIZATION, [assigned(f"role_{each % 5}", f"usr_{each}") for each in range(1_500)])
    first = _instructions(book, _tally(book))
    deposit(book, ORGANIZATION, [assigned("role_1", "usr_new")])
    assert _instructions(book, _tally(book)) < first / 10


@pytest.mark.parametrize(
    ("wanted", "of"),
    [
        (EntitiesOf("usr_1"), "granted"),
        (EntitiesOf("usr_1"), "contained"),
        (EntitiesOf("usr_owner", "vector_store"), "owned"),
        (UsersOf(EntityRef("vector_store", "vs_shared")), "shared"),
        (UsersOf(EntityRef("vector_store", "vs_open")), "open"),
    ],
)
def test_a_first_page_of_a_long_list_takes_no_longer_for_a_longer_one(
    book: SqlStore, monkeypatch: pytest.MonkeyPatch, wanted: Wanted, of: str
) -> None:
    monkeypatch.setattr(lists, "_MAX_MADE", 50)
    box, owner, somebody = EntityRef("knowledge_slice", "kslice_1"), user("usr_owner"), user("usr_1")
    shared, shown = EntityRef("vector_store", "vs_shared"), EntityRef("vector_store", "vs_open")
    facts: list[Fact] = [organization(), member("usr_owner"), member("usr_1"), entity(box), entity(shared)]
    facts += [entity(shown, mode="public")] if of == "open" else []
    facts += [grant(box, somebody, "read")] if of == "contained" else []
    deposit(book, ORGANIZATION, facts)

    def page() -> ListPage:
        cache = FactCache(book, BUILT_IN, 1 << 30)
        with cache:
            found = cache.current(ORGANIZATION).lists.get_page(wanted, NOW, Part(None, 0, 20))
        cache.close()
        return found

    def more(part: int) -> int:
        ids = [f"{part}{number:04}" for number in range(1_000)]
        refs = [EntityRef("vector_store", f"vs_{id_}") for id_ in ids] if isinstance(wanted, EntitiesOf) else []
        added: list[Fact] = [entity(ref, owner=owner) for ref in refs]
        added += [grant(ref, somebody, "read") for ref in refs if of == "granted"]
        added += [contains(box, ref) for ref in refs if of == "contained"]
        added += [member(f"usr_{id_}") for id_ in ids if not refs]
        added += [grant(shared, user(f"usr_{id_}"), "read") for id_ in ids if of == "shared"]
        deposit(book, ORGANIZATION, added)
        assert (len(page().places), page().total, page().has_more) == (20, None, True)
        return _instructions(book, page)

    few = more(1)
    more(2)
    assert more(3) < 1.1 * few


def _count_of(store: SqlStore, ids: Sequence[str]) -> Callable[[], None]:
    def act() -> None:
        with store.snapshot(ORGANIZATION) as snapshot:
            assert snapshot.count(Entity, {"id": ids}) == 3
            assert snapshot.count_changes({"subject_id": ids}) == 3

    return act


def test_a_question_about_very_many_is_kept_in_few_bytes_whatever_their_order(book: SqlStore) -> None:
    deposit(book, ORGANIZATION, [entity(EntityRef("rule", f"rule_{number}")) for number in range(3)])
    ids = [f"rule_{number}" for number in range(4_000)]
    first = _instructions(book, _count_of(book, ids))
    again = _instructions(book, _count_of(book, ids[::-1]))
    assert again < 500 < first
    assert len(repr(book._kept.counts._kept)) < 2_000
    with book.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.count(Entity, {"id": ids[1:]}) == 2
