"""The SQLite file: made, migrated, reopened, shared by processes, and refused where it cannot be used."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from grantbook.model.errors import ConfigurationError, StoreUnavailable
from grantbook.store import history, session
from grantbook.store.migrations import migrate
from grantbook.store.port import Lookup, Store, StoredResponse
from grantbook.store.schema import Schema
from grantbook.store.sql import SqlStore
from grantbook.store.sqlite import open_sqlite
from grantbook.store.tables import GRAMS, SCHEMA_VERSION, metadata
from tests.worlds import (
    AUTHOR,
    FACTS_OF_EVERY_KIND,
    ORGANIZATION,
    FakeClock,
    contents,
    deposit,
    member,
    withdraw,
)

OTHER_PROCESS = """
import os, sys
from grantbook.model.facts import DepartmentMember
from grantbook.store.port import Author
from grantbook.store.sql import SqlStore
from grantbook.store.sqlite import open_sqlite

url, name, rounds, ending = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
store = open_sqlite(url, lambda: 1)
for number in range(rounds):
    with store.transaction("org_1", Author(actor_id=name)) as book:
        book.add(DepartmentMember(department_id=name, user_id=f"usr_{number}", added_at=1), "joined")
if ending == "killed":
    with store.transaction("org_1", Author(actor_id=name)) as book:
        book.add(DepartmentMember(department_id=name, user_id="usr_unfinished", added_at=1), "joined")
        assert len(book.select(DepartmentMember)) == rounds + 1
        os._exit(9)
store.close()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite:///{file}"


@pytest.fixture
def book(url: str, clock: FakeClock) -> Iterator[Store]:
    opened = open_sqlite(url, clock)
    yield opened
    opened.close()


def _process(url: str, name: str, rounds: int, ending: str = "done") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, url, name, str(rounds), ending], stderr=subprocess.PIPE
    )


def _end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors.decode()


def test_reopening_the_file_keeps_everything(url: str, clock: FakeClock) -> None:
    answer = StoredResponse(fingerprint="f", status=200, headers=(("a", "b"),), body=b"\x00\xff")
    first = open_sqlite(url, clock)
    deposit(first, ORGANIZATION, FACTS_OF_EVERY_KIND)
    withdraw(first, ORGANIZATION, FACTS_OF_EVERY_KIND[:5])
    with first.transaction(ORGANIZATION, AUTHOR) as book:
        book.claim(Lookup.USER, {"usr_1": ORGANIZATION})
        book.keep_response("key", answer)
    expected = _all_of(first)
    first.close()
    again = open_sqlite(url, clock)
    assert _all_of(again) == expected
    with again.transaction(ORGANIZATION, AUTHOR) as book:
        assert book.find_response("key") == answer
    deposit(again, ORGANIZATION, FACTS_OF_EVERY_KIND[:5])
    assert history.verify(again, ORGANIZATION) == len(FACTS_OF_EVERY_KIND) + 10
    again.close()


def _all_of(store: Store) -> tuple[object, ...]:
    return (
        [contents(store, ORGANIZATION, revision) for revision in (None, 0, 1, 2)],
        store.head(ORGANIZATION),
        list(store.changes(ORGANIZATION)),
        store.look_up(Lookup.USER, "usr_1"),
        store.organizations_of("usr_1"),
        store.organization_ids(),
    )


def test_opening_the_file_twice_gives_one_book(book: Store, url: str, clock: FakeClock) -> None:
    other = open_sqlite(url, clock)
    deposit(book, ORGANIZATION, [member("usr_1")])
    deposit(other, ORGANIZATION, [member("usr_2")])
    assert contents(book, ORGANIZATION) == contents(other, ORGANIZATION)
    assert history.verify(book, ORGANIZATION) == 2
    other.close()


def test_several_processes_may_make_the_file_at_once_and_write_in_turn(url: str, clock: FakeClock) -> None:
    processes = [_process(url, f"dept_{number}", 15) for number in range(4)]
    assert [_end(process) for process in processes] == [(0, "")] * 4
    store = open_sqlite(url, clock)
    assert store.head(ORGANIZATION).revision == 60
    assert history.verify(store, ORGANIZATION) == 60
    assert len(contents(store, ORGANIZATION)["DepartmentMember"]) == 60
    store.close()


def test_what_a_killed_process_had_committed_stays_and_the_rest_never_was(url: str, clock: FakeClock) -> None:
    assert _end(_process(url, "dept_1", 3, "killed")) == (9, "")
    store = open_sqlite(url, clock)
    assert len(contents(store, ORGANIZATION)["DepartmentMember"]) == 3
    assert history.verify(store, ORGANIZATION) == 3
    assert deposit(store, ORGANIZATION, [member("usr_1")]) == 4
    store.close()


def test_another_process_sees_a_committed_write_at_once(book: Store, url: str) -> None:
    deposit(book, ORGANIZATION, [member("usr_1")])
    with book.snapshot(ORGANIZATION) as snapshot:
        assert _end(_process(url, "dept_1", 1)) == (0, "")
        assert snapshot.revision == 1
    assert book.head(ORGANIZATION).revision == 2


def _schema(file: Path) -> set[tuple[str, str, str]]:
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    connection.close()
    return {
        (kind, name, " ".join((sql or "").split())) for kind, name, table, sql in rows if table != "alembic_version"
    }


def test_migrating_from_nothing_gives_the_tables_that_the_code_knows(tmp_path: Path) -> None:
    migrated = create_engine(f"sqlite:///{tmp_path}/migrated.db")
    created = create_engine(f"sqlite:///{tmp_path}/created.db")
    migrate(migrated)
    metadata.create_all(created)
    migrated.dispose()
    created.dispose()
    assert _schema(tmp_path / "migrated.db") == _schema(tmp_path / "created.db")
    tables = {name for kind, name, _ in _schema(tmp_path / "created.db") if kind == "table"}
    assert {name for name in tables if not name.startswith(GRAMS)} == set(metadata.tables)


def test_a_database_of_a_newer_release_is_refused_and_left_alone(book: Store, url: str, file: Path) -> None:
    deposit(book, ORGANIZATION, [member("usr_1")])
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.execute("UPDATE compatibility SET works_from = '9998'")
    before = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    with pytest.raises(ConfigurationError, match=f"9999, which this release .{SCHEMA_VERSION}. does not know: upgrade"):
        open_sqlite(url, FakeClock())
    assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before
    connection.execute("UPDATE compatibility SET works_from = ?", [SCHEMA_VERSION])  # a later one that only added
    connection.close()
    again = open_sqlite(url, FakeClock())
    assert contents(again, ORGANIZATION)["Member"] == [member("usr_1")]
    again.close()


def test_a_database_of_a_development_version_is_told_from_one_of_a_newer_release(
    book: Store, url: str, file: Path
) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("DROP TABLE compatibility")
    with pytest.raises(ConfigurationError, match=f"{SCHEMA_VERSION}, but not as this release makes it: a development"):
        open_sqlite(url, FakeClock())


def test_a_file_that_is_no_database_is_refused_and_left_alone(file: Path, url: str) -> None:
    file.write_text("these are the minutes of a meeting, not a database\n" * 100)
    before = file.read_bytes()
    with pytest.raises(ConfigurationError, match="cannot use the database file"):
        open_sqlite(url, FakeClock())
    assert file.read_bytes() == before


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot use the database file"):
        open_sqlite(f"sqlite:///{tmp_path}", FakeClock())


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:", "no url"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_sqlite(url, FakeClock())


def test_a_missing_directory_is_an_error_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"there is no directory {tmp_path}/a/b for the database file"):
        open_sqlite(f"sqlite:///{tmp_path}/a/b/book.db", FakeClock())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table", ["customers", "alembic_version"])
def test_the_file_of_another_application_is_refused_and_left_alone(file: Path, url: str, table: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(f"CREATE TABLE {table} (id)")
    connection.close()
    before = file.read_bytes()
    for open_ in (lambda: open_sqlite(url, FakeClock()), lambda: Schema(url)):
        with pytest.raises(ConfigurationError, match=f"{file} holds the tables of another application"):
            open_()
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("url", ["sqlite:///book.db?mode=ro", "sqlite:///book.db?x", "sqlite://host/book.db"])
def test_a_url_with_more_than_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="and nothing else"):
        open_sqlite(url, FakeClock())


def test_the_file_is_set_up_so_that_an_acknowledged_write_survives(book: Store, file: Path) -> None:
    assert deposit(book, ORGANIZATION, [member("usr_1")]) == 1
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    strict = dict(connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").fetchall())
    assert all(strict[name] for name in metadata.tables)
    connection.close()


def test_a_broken_database_is_an_error_that_tells_no_secrets(book: Store, file: Path) -> None:
    """And never an empty answer, from which 'no such grant' or 'no such key' would follow."""
    deposit(book, ORGANIZATION, [member("usr_1")])
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("ALTER TABLE members RENAME TO lost")
    with pytest.raises(StoreUnavailable) as raised:
        contents(book, ORGANIZATION)
    assert str(raised.value) == StoreUnavailable.system_message
    assert raised.value.details == {}
    assert isinstance(raised.value.__cause__, sqlite3.Error)
    with pytest.raises(StoreUnavailable):
        deposit(book, ORGANIZATION, [member("usr_2")])
    connection.execute("ALTER TABLE lost RENAME TO members")
    connection.close()
    assert book.head(ORGANIZATION).revision == 1
    assert contents(book, ORGANIZATION)["Member"] == [member("usr_1")]


def test_a_writer_that_waited_in_vain_does_not_wait_again(file: Path, url: str) -> None:
    store = open_sqlite(url, FakeClock())
    deposit(store, ORGANIZATION, [member("usr_1")])
    made = []

    @event.listens_for(store._dialect.writing_engine, "connect")
    def count(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA busy_timeout=0")
        made.append(connection)

    kept = store._dialect.writing_engine.raw_connection()
    kept.cursor().execute("PRAGMA busy_timeout=0")
    kept.close()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        deposit(store, ORGANIZATION, [member("usr_2")])
    other.close()
    deposit(store, ORGANIZATION, [member("usr_2")])
    assert made == []
    store.close()


def test_none_of_those_together_goes_on_where_sqlite_gave_up(url: str) -> None:
    """As it may on a full disk: it ends the whole transaction, and would then commit every statement by itself."""
    store = open_sqlite(url, FakeClock())
    with pytest.raises(StoreUnavailable):
        _lose_the_transaction(store)
    assert list(store.changes(ORGANIZATION)) == []
    deposit(store, ORGANIZATION, [member("usr_1")])
    assert store.head(ORGANIZATION).revision == 1
    store.close()


def _lose_the_transaction(store: SqlStore) -> None:
    with store.together() as block:
        with block.transaction(ORGANIZATION, AUTHOR) as book:
            book.add(member("usr_1"), "added")
        with suppress(StoreUnavailable), block.transaction(ORGANIZATION, AUTHOR) as book:
            book._session._cursor.execute("ROLLBACK")
            raise InterruptedError
        with suppress(StoreUnavailable), block.transaction(ORGANIZATION, AUTHOR) as book:
            book.add(member("usr_2"), "added")


def test_why_it_refuses_is_told_once_a_minute(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = open_sqlite(url, FakeClock()), [1_000.0]
    monkeypatch.setattr(session, "_told", {})
    monkeypatch.setattr(session, "monotonic", lambda: now[0])
    store._dialect.writing_engine.dispose()
    event.listen(
        store._dialect.writing_engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA max_page_count=1"),  # it may not grow
    )
    told = []
    for later in (0, 1, 58, 1):
        now[0] += later
        with pytest.raises(StoreUnavailable):
            deposit(store, ORGANIZATION, [member(f"usr_{number}") for number in range(1_000)])
        told.append(caplog.text.count("the database refuses: database or disk is full"))
    assert told == [1, 1, 1, 2]
    store.close()


@pytest.mark.parametrize("taken_by", ["a copy", "nothing"])
def test_nothing_is_written_once_another_file_has_the_name(
    file: Path, url: str, taken_by: str, caplog: pytest.LogCaptureFixture
) -> None:
    copy, aside = file.with_name("copy.db"), file.with_name("aside.db")
    store = open_sqlite(url, FakeClock())
    deposit(store, ORGANIZATION, [member("usr_1")])
    store.require_ready()
    with closing(sqlite3.connect(file)) as there, closing(sqlite3.connect(copy)) as here:
        there.backup(here)
    file.rename(aside)
    if taken_by == "a copy":
        copy.rename(file)
    with pytest.raises(StoreUnavailable):
        deposit(store, ORGANIZATION, [member("usr_2")])
    with pytest.raises(StoreUnavailable):
        store.require_ready()
    assert f"remove {file}-wal" in caplog.text
    aside.rename(file)
    store.require_ready()
    deposit(store, ORGANIZATION, [member("usr_3")])
    assert store.head(ORGANIZATION).revision == 2
    history.verify(store, ORGANIZATION)
    store.close()


def test_a_process_may_go_elsewhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    store = open_sqlite(f"sqlite:///{file.name}", FakeClock())
    monkeypatch.chdir("/")
    deposit(store, ORGANIZATION, [member("usr_1")])
    present = store.present()
    versions = {present.version()}
    deposit(store, ORGANIZATION, [member("usr_2")])
    assert present.version() not in versions
    present.close()
    store.close()
    assert sorted(path.name for path in file.parent.iterdir()) == ["book.db", "book.db-turn"]
