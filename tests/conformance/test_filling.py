"""Filling an empty book: faster, and the same afterwards, whatever happens meanwhile."""

import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from grantbook.model.errors import StoreUnavailable
from grantbook.model.facts import EntityRef, Grant
from grantbook.store.port import Order, Store
from grantbook.store.postgres import open_postgres
from grantbook.store.postgres_filling import Filling
from grantbook.store.schema import Schema
from grantbook.store.sqlite import open_sqlite
from grantbook.store.tables import LATE_INDEXES
from tests import postgres
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


@pytest.fixture(params=["postgres"] if postgres.IS_MEANT else ["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a new database, which nothing else uses."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'book.db'}"
        return
    made = postgres.make_database()
    yield made
    postgres.drop_database(made)


@pytest.fixture
def book(url: str, clock: FakeClock) -> Iterator[Store]:
    opened = opener(url, clock)()
    yield opened
    opened.close()


def opener(url: str, clock: FakeClock) -> Callable[[], Store]:
    open_ = open_sqlite if url.startswith("sqlite:") else open_postgres
    return lambda: open_(url, clock)


def indexes(url: str) -> dict[str, str]:
    """The late ones that are there, and how each is made."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            found = file.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
            return {name: sql for name, sql in found if name in NAMES}
    with psycopg.connect(url) as connection:
        made = connection.execute("SELECT indexname, indexdef FROM pg_indexes").fetchall()
        return {name: sql for name, sql in made if name in NAMES}


def test_an_empty_database_is_filled_without_indexes_and_has_the_same_ones_afterwards(book: Store, url: str) -> None:
    before = indexes(url)
    assert before.keys() == NAMES
    with book.filling():
        assert indexes(url) == {}
    assert indexes(url) == before


def test_an_error_in_the_block_leaves_the_indexes_behind_it(book: Store, url: str) -> None:
    before = indexes(url)
    with pytest.raises(KeyError), book.filling():
        _fail_after(book)
    assert indexes(url) == before


def test_an_error_in_the_block_is_told_also_where_the_indexes_cannot_be_made(on_postgres: str) -> None:
    connections = iter([psycopg.connect(on_postgres, autocommit=True)])

    def connect() -> psycopg.Connection[Any]:
        for connection in connections:
            return connection
        raise psycopg.OperationalError

    with pytest.raises(KeyError), Filling(create_engine("sqlite://"), connect).without_indexes():
        raise KeyError
    assert indexes(on_postgres) == {}


@pytest.mark.usefixtures("book")
def test_a_schema_of_a_later_release_has_the_indexes_that_it_wants(url: str, clock: FakeClock) -> None:
    _drop_indexes(url)
    _execute(url, "UPDATE alembic_version SET version_num = '9998'")
    with closing(opener(url, clock)()) as store:
        assert indexes(url) == {}
        with store.filling():
            deposit(store, ORGANIZATION, [member("usr_1")])
        assert indexes(url) == {}


def test_a_book_in_use_keeps_its_indexes(book: Store, url: str) -> None:
    deposit(book, ORGANIZATION, [member("usr_1")])
    with book.filling():
        assert indexes(url).keys() == NAMES


def test_whoever_opens_a_book_after_its_process_was_killed_makes_the_indexes(
    book: Store, url: str, clock: FakeClock
) -> None:
    before = indexes(url)
    _drop_indexes(url)
    deposit(book, ORGANIZATION, [grant(STORE, user("usr_1"), "read")])
    opener(url, clock)().close()
    assert indexes(url) == before
    deposit(book, ORGANIZATION, [member("usr_2")])  # beside another process, whose statements are older


def _drop_indexes(url: str) -> None:
    for name in sorted(NAMES):
        _execute(url, f"DROP INDEX {name}")


def _execute(url: str, statement: str) -> None:
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute(statement)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode())


@pytest.fixture
def on_postgres() -> Iterator[str]:
    made = postgres.make_database()
    yield made
    postgres.drop_database(made)


@pytest.fixture
def stores(on_postgres: str, clock: FakeClock) -> Iterator[list[Store]]:
    """Two servers on one database."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(open_postgres(on_postgres, clock))) for _ in range(2)]


def test_nobody_makes_the_indexes_that_another_server_fills_without(
    stores: list[Store], on_postgres: str, clock: FakeClock
) -> None:
    first, second = stores
    with first.filling():
        open_postgres(on_postgres, clock).close()
        assert indexes(on_postgres) == {}
        with second.filling():  # it would make them at its end
            deposit(second, ORGANIZATION, [member("usr_1")])
        assert indexes(on_postgres) == {}
        deposit(first, ORGANIZATION, [member("usr_2")])
    assert indexes(on_postgres).keys() == NAMES


def test_indexes_stay_where_somebody_reads(stores: list[Store], on_postgres: str) -> None:
    with psycopg.connect(on_postgres) as reader:
        reader.execute("SELECT * FROM grants")
        with stores[0].filling():  # waits for the reader, but not long
            assert indexes(on_postgres).keys() == NAMES


def test_indexes_wait_at_the_end_for_who_writes(on_postgres: str) -> None:
    impatient = partial(psycopg.connect, on_postgres, autocommit=True, options="-c lock_timeout=50ms")
    with psycopg.connect(on_postgres) as writer, Filling(create_engine("sqlite://"), impatient).without_indexes():
        writer.execute("DELETE FROM grants")
        timer = Timer(0.5, writer.rollback)
        timer.start()
    timer.join()
    assert indexes(on_postgres).keys() == NAMES


def test_a_migration_makes_them_too(on_postgres: str) -> None:
    _drop_indexes(on_postgres)
    with Schema(on_postgres) as schema:
        schema.migrate()
    assert indexes(on_postgres).keys() == NAMES


@pytest.mark.parametrize("may", ["all on the tables", "own the tables"])
def test_indexes_stay_where_the_role_may_not_make_them(
    on_postgres: str, clock: FakeClock, may: str, caplog: pytest.LogCaptureFixture
) -> None:
    with _plain_role(on_postgres, owns=may == "own the tables") as url, closing(open_postgres(url, clock)) as store:
        with store.filling():
            deposit(store, ORGANIZATION, [member("usr_1")])
            assert indexes(on_postgres).keys() == NAMES
        _drop_indexes(on_postgres)
        open_postgres(url, clock).close()  # slow, but not unusable
    assert indexes(on_postgres) == {}
    assert "run 'grantbook migrate up' as the user that owns the tables" in caplog.text


def test_what_the_role_may_not_write_is_told_to_the_log(
    on_postgres: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with _plain_role(on_postgres, owns=False) as url, closing(open_postgres(url, clock)) as store:
        name = make_url(url).username
        with postgres.administration(on_postgres) as connection:
            connection.execute(f"REVOKE UPDATE, INSERT ON heads FROM {name}".encode())
        with pytest.raises(StoreUnavailable):
            deposit(store, ORGANIZATION, [member("usr_1")])
    assert "permission denied for table heads" in caplog.text


@contextmanager
def _plain_role(url: str, *, owns: bool) -> Iterator[str]:
    """The database as somebody sees it who may read and write the rows of its tables, or has made them, but may not
    make anything there any more."""
    name, password = f"plain_{secrets.token_hex(8)}", secrets.token_hex(8)
    with postgres.administration(url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        try:
            connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}".encode())
            if owns:
                connection.execute(f"ALTER TABLE grants OWNER TO {name}; ALTER TABLE changes OWNER TO {name}".encode())
            yield make_url(url).set(username=name, password=password).render_as_string(hide_password=False)
        finally:
            connection.execute(f"REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}".encode())
            connection.execute(f"DROP ROLE {name}".encode())
