"""The tables spread over the workers of a Citus cluster, the rows of an organization together on one of them.

Every statement but those by a global key names one organization, so one worker answers it. The global keys are rows
of two tables that are spread by the key itself, each row on one worker: a reference table has a copy of every row on
every worker, and Citus lets one write it at a time (docs/decisions/0014).
"""

from typing import Final, NamedTuple

from sqlalchemy import Connection, Table, text

from grantbook.model.errors import ConfigurationError
from grantbook.store.tables import heads, lookups, metadata, user_organizations

GLOBAL_KEYS: Final = {lookups.name: "key", user_organizations.name: "user_id"}
"""What the tables that are not about one organization are spread by."""
_ORGANIZATION: Final = "organization_id"
_NO_TIMEOUT: Final = "SET LOCAL statement_timeout = 0"  # rows that are there are moved, however many
_EXTENSION: Final = "SELECT count(*) FROM pg_extension WHERE extname = 'citus'"
_DISTRIBUTED: Final = """
    SELECT relname FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid
    WHERE relname = ANY(:names) AND pg_table_is_visible(logicalrelid)
"""
_DISTRIBUTE: Final = "SELECT create_distributed_table(:name, :key, colocate_with => :beside)"
_FREE: Final = "SELECT truncate_local_data_after_distributing_table(:name)"
_SHARDS: Final = "SELECT set_config('citus.shard_count', :shards, true)"


class Distributed(NamedTuple):
    """The tables that were spread now, and those that were before."""

    now: tuple[str, ...]
    before: tuple[str, ...]


def distribution_key(table: Table) -> str | None:
    """The column whose value says where a row lies; None for a table that stays on the coordinator."""
    if table.name in GLOBAL_KEYS:
        return GLOBAL_KEYS[table.name]
    return _ORGANIZATION if _ORGANIZATION in table.c else None


def distribute(connection: Connection, shards: int | None) -> Distributed:
    """Spread every table that is not yet, with the rows it has, in the transaction of the connection.

    Each group of tables gets so many shards, as many as Citus makes by itself where that is None. Raises
    ConfigurationError on a database without Citus.
    """
    if not connection.execute(text(_EXTENSION)).scalar_one():
        raise ConfigurationError(
            "the database has no Citus extension: install Citus on the coordinator and the workers, "
            "and run CREATE EXTENSION citus in this database"
        )
    connection.execute(text(_NO_TIMEOUT))
    if shards is not None:
        connection.execute(text(_SHARDS), {"shards": str(shards)})
    keys = {table.name: key for table in metadata.sorted_tables if (key := distribution_key(table))}
    before = set(connection.execute(text(_DISTRIBUTED), {"names": list(keys)}).scalars())
    anchors = {_ORGANIZATION: heads.name, **{key: name for name, key in GLOBAL_KEYS.items()}}
    now = sorted(keys.keys() - before, key=lambda name: (name != anchors[keys[name]], name))  # anchors come first
    for name in now:
        anchor = anchors[keys[name]]
        values = {"name": name, "key": keys[name], "beside": "none" if name == anchor else anchor}
        connection.execute(text(_DISTRIBUTE), values)
        connection.execute(text(_FREE), {"name": name})
    return Distributed(tuple(now), tuple(sorted(before)))
