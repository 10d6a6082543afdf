"""A backup that is put back under a running store: what is known of lost revisions is not taken for those that came
instead, though they have the same numbers."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from grantbook.model.facts import Member
from grantbook.store.port import Store, Where
from grantbook.store.sqlite import open_sqlite
from tests.worlds import NOW, ORGANIZATION, FakeClock, deposit, member

SKIPS = (0, 5, 150, 290, 400)
OF_THE_RECORD: list[list[Where]] = [
    [],
    [{"action": "added"}],
    [{"subject_id": {"usr_2_001", "usr_3_002"}}, {"subject_id": "usr_1_010"}],
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.fixture
def book(file: Path, clock: FakeClock) -> Iterator[Store]:
    opened = open_sqlite(f"sqlite:///{file}", clock)
    yield opened
    opened.close()


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(target)) as written:
        read.backup(written)


def _deposit(store: Store, revision: int, many: int) -> None:
    """So many, each half of them before and after all that are there."""
    people = [member(f"usr_{revision}_{n:03}", created_at=NOW + revision * (-1) ** n) for n in range(many)]
    assert deposit(store, ORGANIZATION, people) == revision


def _check(store: Store) -> None:
    record = list(store.changes(ORGANIZATION))[::-1]
    with store.snapshot(ORGANIZATION) as snapshot:
        people = sorted(snapshot.select(Member), key=lambda each: (each.created_at, each.user_id))
        for skip in SKIPS:
            assert snapshot.page(Member, skip=skip, limit=5) == people[skip : skip + 5]
        assert snapshot.count(Member) == len(people)
        for where in OF_THE_RECORD:
            for last in (3, 2, None):
                upto = [each for each in record if last is None or each.revision <= last]
                found = snapshot.find_changes(*where, last=last, skip=0, limit=1_000)
                assert snapshot.count_changes(*where, last=last) == len(found)
                assert where[1:] or found == upto
                for skip in SKIPS:
                    assert snapshot.find_changes(*where, last=last, skip=skip, limit=5) == found[skip : skip + 5]


@pytest.mark.parametrize("later", [0, 1, 2])
def test_what_is_known_of_lost_revisions_is_forgotten(book: Store, file: Path, tmp_path: Path, later: int) -> None:
    _deposit(book, 1, 300)
    _copy(file, tmp_path / "backup.db")
    for revision, many in ((2, 200), (3, 200), (4, 3)):
        _deposit(book, revision, many)
        _check(book)
    _copy(tmp_path / "backup.db", file)
    assert book.head(ORGANIZATION).revision == 1
    for revision, many in ((2, 250), (3, 100), (4, 7), (5, 3), (6, 5))[: 3 + later]:
        _deposit(book, revision, many)
    _check(book)
