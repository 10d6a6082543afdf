"""Filling an empty book: faster, and the same afterwards, whatever happens meanwhile."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from grantbook.model.facts import EntityRef, Grant
from grantbook.store.port import Order, Store
from grantbook.store.sqlite import SqliteDialect, open_sqlite
from grantbook.store.tables import LATE_INDEXES
from tests.worlds import ORGANIZATION, FakeClock, deposit, grant, member, user

STORE = EntityRef("vector_store", "vs_1")
NAMES = {str(index.name) for index in LATE_INDEXES}


def test_what_is_written_while_filling_reads_the_same_within_and_afterwards(store: Store) -> None:
    facts = [grant(STORE, user(f"usr_{number}"), "read") for number in range(30)]
    with store.filling():
        deposit(store, ORGANIZATION, facts[:20])
        _require_readable(store, facts[:20])
        deposit(store, ORGANIZATION, facts[20:])
    _require_readable(store, facts)


def _require_readable(store: Store, facts: list[Grant]) -> None:
    with store.snapshot(ORGANIZATION) as snapshot:
        newest = snapshot.page(Grant, skip=0, limit=100, order=Order(is_descending=True))
        assert sorted(each.id for each in newest) == sorted(each.id for each in facts)
        assert snapshot.select(Grant, {"grantee_id": "usr_3"}) == [facts[3]]
        assert snapshot.count_changes({"action": "added"}) == len(facts)
        assert len(snapshot.find_changes({"target_id": "usr_3"}, skip=0, limit=10)) == 1


def test_an_error_while_filling_comes_out_and_the_book_goes_on(store: Store) -> None:
    with pytest.raises(KeyError), store.filling():
        _fail_after(store)
    with store.filling():
        deposit(store, ORGANIZATION, [member("usr_2")])
    assert store.head(ORGANIZATION).revision == 2


def _fail_after(store: Store) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    raise KeyError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.fixture
def sqlite_store(path: Path, clock: FakeClock) -> Iterator[Store]:
    opened = open_sqlite(f"sqlite:///{path}", clock)
    yield opened
    opened.close()


def indexes(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        return {name: sql for name, sql in found if name in NAMES}


def test_an_empty_file_is_filled_without_indexes_and_has_the_same_ones_afterwards(
    sqlite_store: Store, path: Path
) -> None:
    before = indexes(path)
    assert before.keys() == NAMES
    with sqlite_store.filling():
        assert indexes(path) == {}
    assert indexes(path) == before


def test_a_book_in_use_keeps_its_indexes(sqlite_store: Store, path: Path) -> None:
    deposit(sqlite_store, ORGANIZATION, [member("usr_1")])
    with sqlite_store.filling():
        assert indexes(path).keys() == NAMES


def test_whoever_opens_a_file_after_its_process_was_killed_makes_the_indexes(path: Path, clock: FakeClock) -> None:
    url = f"sqlite:///{path}"
    killed = open_sqlite(url, clock)
    SqliteDialect(url).drop_indexes()
    deposit(killed, ORGANIZATION, [grant(STORE, user("usr_1"), "read")])
    open_sqlite(url, clock).close()
    assert indexes(path).keys() == NAMES
    deposit(killed, ORGANIZATION, [member("usr_2")])  # beside another process, whose statements are older
    killed.close()
