"""PostgreSQL: its schema, and its replicas."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.exc import OperationalError

from grantbook.bootstrap import open_store
from grantbook.engine.facts_cache import MAX_APART, FactCache
from grantbook.engine.held import NONE
from grantbook.model.errors import ConfigurationError
from grantbook.model.facts import EntityRef, Fact, Member
from grantbook.model.vocabulary import BUILT_IN
from grantbook.store import migrations
from grantbook.store.port import Store, Transaction
from grantbook.store.postgres import driver_url, open_postgres
from grantbook.store.present_port import STREAMS
from grantbook.store.present_statements import next_name
from grantbook.store.schema import Schema
from grantbook.store.session import rows_of
from grantbook.store.tables import SCHEMA_VERSION, metadata
from tests import postgres
from tests.postgres import PostgresServer
from tests.worlds import (
    AUTHOR,
    FACTS_OF_EVERY_KIND,
    NOW,
    ORGANIZATION,
    FakeClock,
    assigned,
    contains,
    contents,
    department,
    deposit,
    entity,
    grant,
    joined,
    member,
    organization,
    role,
    target,
    user,
)

_PATIENCE_S = 30
_INNER = EntityRef("vector_store", "vs_1")


@pytest.fixture
def url() -> Iterator[str]:
    """A database without tables."""
    made = postgres.make_database(is_empty=True)
    yield made
    postgres.drop_database(made)


def test_an_empty_database_is_refused_and_told_how_to_fill(url: str, clock: FakeClock) -> None:
    with pytest.raises(ConfigurationError, match="grantbook migrate up"):
        open_postgres(url, clock)
    open_store(url, clock, may_create=True).close()
    open_postgres(url, clock).close()


def test_the_migrations_make_the_tables_that_the_store_expects(url: str) -> None:
    other = postgres.make_database(is_empty=True)
    created = create_engine(driver_url(other))
    metadata.create_all(created)
    with Schema(url) as schema:
        schema.migrate()
    migrated = create_engine(driver_url(url))
    for table in metadata.tables:
        for read in ("get_columns", "get_indexes", "get_pk_constraint"):
            found = [getattr(inspect(engine), read)(table) for engine in (migrated, created)]
            assert str(found[0]) == str(found[1])
    created.dispose()
    migrated.dispose()
    postgres.drop_database(other)


def test_several_may_migrate_at_once(url: str) -> None:
    program = "import sys; from grantbook.store.schema import Schema\nwith Schema(sys.argv[1]) as it: it.migrate()"
    command = [sys.executable, "-c", program, url]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: subprocess.run(command, check=False).returncode, range(4)))
    assert done == [0] * 4
    with Schema(url) as schema:
        assert schema.state().is_current


def test_a_migration_waits_for_nobody_for_long(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes after it would wait too. Nothing is half done, and it is said what to do."""
    engine = create_engine(driver_url(url))
    add_to_members = "ALTER TABLE members ADD COLUMN added TEXT"
    with migrations.migrating(engine) as connection:
        limits = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("lock_timeout", "statement_timeout")]
        assert limits == ["5s", "15min"]
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT", "SET LOCAL lock_timeout = '100ms'")
    with Schema(url) as schema:
        with migrations.migrating(engine), pytest.raises(ConfigurationError, match="nothing was changed, try again"):
            schema.migrate()
        assert schema.state().version is None
        schema.migrate()
    with postgres.administration(url) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM grants")
        with pytest.raises(OperationalError, match="lock timeout"):
            run_in_a_migration(engine, add_to_members, "ALTER TABLE grants ADD COLUMN added TEXT")
    monkeypatch.setattr(migrations, "_STATEMENT_TIMEOUT", "SET LOCAL statement_timeout = '100ms'")
    with pytest.raises(OperationalError, match="statement timeout"):
        run_in_a_migration(engine, add_to_members, "SELECT pg_sleep(5)")
    assert "added" not in {column["name"] for column in inspect(engine).get_columns("members")}
    engine.dispose()


def run_in_a_migration(engine: Engine, *statements: str) -> None:
    with migrations.migrating(engine) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_the_plan_is_what_is_done(url: str, clock: FakeClock) -> None:
    with Schema(url) as schema:
        plan = schema.plan()
        with psycopg.connect(url) as connection:
            connection.execute(plan.encode())
        assert schema.state().is_current
        assert schema.plan() == ""
    store = open_postgres(url, clock)
    deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    assert sum(len(facts) for facts in contents(store, ORGANIZATION).values()) == len(FACTS_OF_EVERY_KIND)
    store.close()


def test_a_schema_that_was_only_added_to_is_worked_on_and_any_other_refused(clock: FakeClock) -> None:
    """As the next release will leave it: this one goes on, until a later one says that it cannot."""
    url = postgres.make_database()
    with postgres.administration(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9998'")
        for table in metadata.tables:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN added_later TEXT".encode())
        store = open_postgres(url, clock)
        deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
        assert contents(store, ORGANIZATION)["Member"]
        store.close()
        with Schema(url) as schema:
            schema.migrate()
            assert schema.state().version == "9998"
        connection.execute("UPDATE compatibility SET works_from = '9998'")
        with pytest.raises(ConfigurationError, match=f"9998, which this release .{SCHEMA_VERSION}. does not know"):
            open_postgres(url, clock)
    postgres.drop_database(url)


@pytest.mark.parametrize("version", ["0000", "main", ""])
def test_an_older_or_unknown_schema_is_refused(version: str, clock: FakeClock) -> None:
    url = postgres.make_database()
    with postgres.administration(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = %s", (version,))
    with pytest.raises(ConfigurationError, match=r"upgrade Grantbook|grantbook migrate up"):
        open_postgres(url, clock)
    postgres.drop_database(url)


@pytest.mark.parametrize(
    "url", ["postgresql://", "postgresql://localhost", "postgresql://[", "postgresql://host:port/name"]
)
def test_a_url_without_a_database_is_refused(url: str, clock: FakeClock) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user@host:5432/name"):
        open_store(url, clock)


def test_a_database_of_another_application_is_refused(url: str) -> None:
    with postgres.administration(url) as connection:
        connection.execute("CREATE TABLE grants (id int)")
    with Schema(url) as schema, pytest.raises(ConfigurationError, match="a database of its own"):
        schema.migrate()


def test_a_server_that_is_not_there_is_told(clock: FakeClock) -> None:
    with pytest.raises(ConfigurationError, match="cannot use the database"):
        open_store(f"postgresql://grantbook@127.0.0.1:{postgres.free_port()}/book", clock)


@pytest.fixture
def stores(url: str, clock: FakeClock) -> Iterator[tuple[Store, Store]]:
    """Two processes on one new database."""
    opened = open_store(url, clock, may_create=True), open_store(url, clock)
    yield opened
    for each in opened:
        each.close()


def test_very_many_facts_are_known_to_the_planner_when_the_same_transaction_asks(
    stores: tuple[Store, Store], url: str
) -> None:
    """Else it reads the whole table for each of them: a minute for some ten thousand."""
    held, others = stores
    with held.transaction(ORGANIZATION, AUTHOR) as book:
        _contain(book, 3_000)
        assert len(book.containers_of([_INNER])) == 3_000
        with others.transaction("org_other", AUTHOR) as beside:
            _contain(beside, 4_000)  # and waits for nobody
    with postgres.administration(url) as connection:
        ((known,),) = connection.execute("SELECT reltuples FROM pg_class WHERE relname = 'containments'").fetchall()
    assert known >= 3_000


def _contain(book: Transaction, count: int) -> None:
    for number in range(count):
        book.add(contains(EntityRef("knowledge_slice", f"kslice_{number}"), _INNER), "added")


def test_a_batch_about_many_entities_asks_few_statements(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each crosses a network."""
    refs = [EntityRef("vector_store", f"vs_{number}") for number in range(100)]
    grants = [grant(ref, user("usr_1"), "read") for ref in refs[::2]]
    things = [entity(ref, owner=user("usr_nobody"), mode="private") for ref in refs]
    deposit(stores[0], ORGANIZATION, [organization(), member("usr_1"), *things, *grants])
    asked: list[Any] = []

    def counted(*statement: Any) -> list[Any]:
        asked.append(statement)
        return rows_of(*statement)

    monkeypatch.setattr("grantbook.store.present.rows_of", counted)
    cache = FactCache(stores[0], BUILT_IN, 1 << 30)
    with cache:
        ranks = cache.current(ORGANIZATION).ranks([("usr_1", ref) for ref in refs], NOW)
    cache.close()
    assert ranks == [0, NONE] * 50
    assert len(asked) < 15


def test_who_asks_what_is_held_does_not_wait_for_a_turn_to_load(clock: FakeClock) -> None:
    store = open_postgres(postgres.empty_database(), clock, staleness_s=60)  # a late heartbeat leaves it current
    deposit(
        store, ORGANIZATION, [organization(), entity(_INNER), member("usr_1"), grant(_INNER, user("usr_1"), "read")]
    )
    cache = FactCache(store, BUILT_IN, 1 << 30)

    def ask() -> list[int]:
        with cache.asked(ORGANIZATION, [("usr_1", _INNER)], is_full=False):
            return cache.current(ORGANIZATION).ranks([("usr_1", _INNER)], NOW)

    def is_held() -> bool:
        """Not before the feed has begun: until then all that was loaded counts as changed."""
        version = cache.present.version()
        return ask() == ask() and cache.present.version() == version

    with closing(store), closing(cache), ExitStack() as loading, ThreadPoolExecutor(1) as pool:
        until(is_held)
        for _ in range(MAX_APART):
            loading.enter_context(cache.apart())
        asked = pool.submit(ask)
        try:
            assert asked.result(timeout=_PATIENCE_S)[0] > NONE
        finally:
            loading.close()  # else the thread would wait for ever


class Pair:
    """A primary, a replica, and a store on both."""

    def __init__(self, primary: PostgresServer, replica: PostgresServer) -> None:
        self.replica = replica
        url = postgres.make_database(primary.url)
        self.writer: Store = open_postgres(url, FakeClock())
        self.store: Store = open_postgres(url, FakeClock(), replica=postgres.same_on(replica, url))

    def asks_replica(self) -> bool:
        """Whether a snapshot that may lag is read from the replica: the primary does not see it."""
        with self.store.snapshot(ORGANIZATION, at_least=0) as snapshot:
            session = snapshot._session  # type: ignore[attr-defined]
            ((is_replica,),) = session._cursor.execute("SELECT pg_is_in_recovery()").fetchall()
            return bool(is_replica)

    def members(self, at_least: int | None = 0) -> int:
        with self.store.snapshot(ORGANIZATION, at_least=at_least) as snapshot:
            return snapshot.count(Member)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with postgres.own_pair() as (primary, replica):
        made = Pair(primary, replica)
        yield made
        made.store.close()
        made.writer.close()


def until(holds: Callable[[], bool]) -> None:
    end = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < end
        sleep(0.02)


def test_reads_that_may_lag_are_answered_by_a_replica_that_follows(pair: Pair) -> None:
    deposit(pair.writer, ORGANIZATION, [member("usr_follows")])
    until(pair.asks_replica)
    until(lambda: pair.members() == pair.members(at_least=None))


def test_a_replica_that_stands_still_answers_nothing_that_is_too_old(pair: Pair) -> None:
    until(pair.asks_replica)
    before = pair.members(at_least=None)
    with pair.replica.standing_still():
        deposit(pair.writer, ORGANIZATION, [member("usr_late")])
        revision = pair.writer.head(ORGANIZATION).revision
        assert pair.members(at_least=revision) == before + 1  # with the token, at once
        until(lambda: pair.members() == before + 1)  # without, when it was heard of
        deposit(pair.store, ORGANIZATION, [member("usr_own")])
        assert pair.members() == before + 2  # what this process wrote itself, at once
        assert not pair.asks_replica()
    until(pair.asks_replica)
    assert pair.members() == before + 2


def test_a_replica_that_is_gone_is_no_error(pair: Pair) -> None:
    until(pair.asks_replica)
    before = pair.members()
    pair.replica.stop()
    try:
        assert pair.members() == before
    finally:
        pair.replica.start()
    until(pair.asks_replica)


def test_a_probe_of_grants_reads_none_but_those_that_are_asked_for(url: str, clock: FakeClock) -> None:
    """However many others there are on the entity or to the grantee, and however few in most organizations."""
    store = open_store(url, clock, may_create=True)
    others = [EntityRef("vector_store", f"vs_{number}") for number in range(2, 2_002)]
    for number in range(100):
        grants = (grant(ref, user(f"usr_{number}_{ref.id}"), "read") for ref in others[:200])
        things = map(entity, others[:2])
        deposit(store, f"org_small{number}", [organization(id=f"org_small{number}"), *things, *grants])
    wanted = grant(_INNER, user("usr_1"), "read")
    on_it = (grant(_INNER, user(f"usr_many_{ref.id}"), "read") for ref in others)
    to_them = (grant(ref, user("usr_1"), "read") for ref in others)
    groups = (made(f"{made.__name__}_{number}") for made in (department, role) for number in range(2_000))
    deposit(store, ORGANIZATION, [organization(), *map(entity, others), *groups, wanted, *on_it, *to_them])
    present, ids = store.present(), ["usr_1", "usr_none"]
    with present.reading():
        assert [row[3] for row in present.grants_to(ORGANIZATION, _INNER, ids)] == [wanted.id]
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("ANALYZE")
        connection.execute("SET plan_cache_mode = force_generic_plan")  # as after a few executions
        for name, asked in (
            ("grants_to", (*_INNER, ids)),
            ("glance_at_grants_on_1", (*_INNER, ids)),
            ("grants_to_each", ([_INNER.type] * 2, [_INNER.id, "vs_none"], ids)),
            ("glance_at_outlines", (["vs_2", "vs_none"],)),
            ("glance_at_groups", (["department_2", "department_none"], ["role_2", "role_none"])),
        ):
            plan = _plan(connection, present._statements.get(name, 0), (ORGANIZATION, *asked))  # type: ignore[attr-defined]
            assert _dropped(plan) == 0
    present.close()
    store.close()


def test_the_first_ids_of_a_stream_are_read_and_no_more(url: str, clock: FakeClock) -> None:
    """However many there are of each, also where nobody told the planner so."""
    store = open_store(url, clock, may_create=True)
    owner, box = user("usr_1"), EntityRef("knowledge_slice", "kslice_1")
    things = [EntityRef("vector_store", f"vs_{number:04}") for number in range(2_000)]
    people = [f"usr_{number:04}" for number in range(2_000)]
    facts: list[Fact] = [organization(), entity(box), *(entity(ref, owner=owner, mode="public") for ref in things)]
    facts += [grant(ref, owner, "read") for ref in things] + [target(ref, owner) for ref in things]
    facts += [contains(box, ref) for ref in things] + [grant(things[0], user(id_), "read") for id_ in people]
    facts += [member(id_) for id_ in people] + [joined("dept_1", id_) for id_ in people]
    deposit(store, ORGANIZATION, [*facts, *(assigned("role_1", id_) for id_ in people)])
    of = {
        "container_id": box.id,
        "entity_id": "vs_0000",
        "entity_type": "vector_store",
        "access_mode": "public",
        "department_id": "dept_1",
        "role_id": "role_1",
        "state": "active",
    }
    present = store.present()
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        for stream in STREAMS:
            after = "vs_1000" if stream.id in {"id", "entity_id", "member_id"} else "usr_1000"
            asked = [of.get(stream.of, owner.id), "none"]
            statement = present._statements.get(next_name(stream), 0)  # type: ignore[attr-defined]
            values = (ORGANIZATION, "vector_store", after, 10, asked)
            with present.reading():
                found = present.next_ids(ORGANIZATION, stream, asked, "vector_store", after=after, limit=10)
            assert found == [f"{after[:-1]}{number}" for number in range(1, 10)] + [f"{after[:-2]}10"]
            assert _read(_plan(connection, statement, values)) <= 30
    present.close()
    store.close()


def _plan(connection: psycopg.Connection[Any], statement: Any, given: tuple[Any, ...]) -> dict[str, Any]:
    """How a statement of the present is carried out once it is prepared."""
    values = statement.bind(given)
    sql, names = statement.sql, list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement.sql)))
    for place, each in enumerate(names, 1):
        sql = sql.replace(f"%({each})s", f"${place}")
    connection.execute(f"DEALLOCATE ALL; PREPARE asked AS {sql}")
    explained = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({', '.join(['%s'] * len(names))})"
    (told,) = connection.execute(explained, [values[each] for each in names]).fetchall()
    found: dict[str, Any] = told[0][0]["Plan"]
    return found


def _read(plan: dict[str, Any]) -> int:
    """Rows that were read of tables."""
    here = int(plan["Actual Rows"] * plan["Actual Loops"]) if "Scan" in plan["Node Type"] else 0
    return here + _dropped({**plan, "Plans": ()}) + sum(map(_read, plan.get("Plans", ())))


def _dropped(plan: dict[str, Any]) -> int:
    """Rows that were read in vain, but for those of the smallest table."""
    here = 0 if plan.get("Relation Name") == "heads" else int(plan.get("Rows Removed by Filter", 0))
    return here + sum(map(_dropped, plan.get("Plans", ())))
