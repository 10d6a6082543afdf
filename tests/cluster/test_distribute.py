"""`grantbook migrate distribute` on a cluster: what was there is there afterwards, and the schema can go on."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from grantbook.model.facts import EntityRef, Member
from grantbook.store.distribute import distribution_key
from grantbook.store.history import verify
from grantbook.store.migrations import migrating
from grantbook.store.port import Lookup
from grantbook.store.postgres import driver_url, open_postgres
from grantbook.store.schema import Schema
from grantbook.store.tables import metadata
from tests import citus
from tests.postgres import administration
from tests.worlds import AUTHOR, FakeClock, contents, deposit, entity, grant, member, user

SPREAD = "SELECT logicalrelid::text, count(*) FROM pg_dist_shard GROUP BY logicalrelid"
CHANGES = (
    "ALTER TABLE members ADD COLUMN nickname TEXT",
    "CREATE INDEX ix_members_nickname ON members (organization_id, nickname) WHERE until_revision IS NULL",
    "UPDATE members SET nickname = 'Bo' WHERE organization_id = 'org_1'",
)
STORE = EntityRef("vector_store", "vs_1")


@pytest.fixture
def undistributed() -> Iterator[str]:
    """A database with our tables on the coordinator alone."""
    url = citus.make_database(is_distributed=False)
    yield url
    citus.drop_database(url)


def test_what_was_there_is_there_afterwards(undistributed: str) -> None:
    store = open_postgres(undistributed, FakeClock())
    organizations = [f"org_{number}" for number in range(5)]
    for organization_id in organizations:
        deposit(store, organization_id, [member("usr_1"), entity(STORE), grant(STORE, user("usr_1"), "read")])
    with store.transaction("org_0", AUTHOR) as book:
        book.claim(Lookup.API_KEY, {"digest": "org_0"})
    before = {id_: contents(store, id_) for id_ in organizations}
    store.close()

    with Schema(undistributed) as schema:
        assert len(schema.distribute(3).now) == sum(
            distribution_key(table) is not None for table in metadata.tables.values()
        )
        assert schema.distribute().now == ()

    store = open_postgres(undistributed, FakeClock())
    assert store.organization_ids() == organizations
    assert {id_: contents(store, id_) for id_ in organizations} == before
    assert [verify(store, id_) for id_ in organizations] == [3] * 5
    assert store.organizations_of("usr_1") == organizations
    assert store.look_up(Lookup.API_KEY, "digest") == "org_0"
    deposit(store, "org_0", [member("usr_2")])
    store.close()
    with administration(undistributed) as connection:
        shards = dict(connection.execute(SPREAD).fetchall())
        assert set(shards.values()) == {3}
        assert connection.execute("SELECT pg_relation_size('grants')").fetchone() == (0,), "freed on the coordinator"


def test_it_goes_on_where_a_migration_added_a_table(undistributed: str) -> None:
    with Schema(undistributed) as schema:
        schema.distribute(2)
        with administration(undistributed) as connection:
            connection.execute("SELECT undistribute_table('grants')")
        done = schema.distribute()
    assert done.now == ("grants",)
    with administration(undistributed) as connection:
        beside = connection.execute(
            "SELECT count(DISTINCT colocationid) FROM pg_dist_partition WHERE logicalrelid::text IN ('grants', 'heads')"
        ).fetchone()
    assert beside == (1,)


def test_a_migration_reaches_the_workers(undistributed: str) -> None:
    """Columns and indexes are added to every part, in the one transaction that a migration is."""
    store = open_postgres(undistributed, FakeClock())
    deposit(store, "org_1", [member("usr_1")])
    with Schema(undistributed) as schema:
        schema.distribute(2)
    with migrating(create_engine(driver_url(undistributed), poolclass=NullPool)) as connection:
        for change in CHANGES:
            connection.execute(text(change))
    with store.snapshot("org_1") as snapshot:
        assert snapshot.select(Member) == [member("usr_1")]
    deposit(store, "org_1", [member("usr_2")])
    store.close()
