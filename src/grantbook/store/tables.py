"""One MetaData for every SQL store.

Every table is keyed by organization first, and so is every index, so that a distributed PostgreSQL can spread
the tables unchanged; `lookups` and `user_organizations` are the only global ones. Fact tables hold versions:
`until_revision` is NULL while a version lives. "live" indexes serve the present, "past" ones `as_of`.
Times are whole microseconds since 1970, lists and objects are JSON text, truth is 0 or 1.
"""

from types import NoneType, UnionType
from typing import Any, Final, get_args, get_origin

import msgspec
from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    event,
    text,
)

from grantbook.model.facts import (
    AccessTarget,
    ApiKey,
    Containment,
    Department,
    DepartmentMember,
    Entity,
    Fact,
    Grant,
    Member,
    Organization,
    Role,
    RoleAssignment,
)

SCHEMA_VERSION: Final = "0001"

metadata: Final = MetaData(naming_convention={"pk": "pk_%(table_name)s", "ix": "ix_%(table_name)s_%(column_0_N_name)s"})
_Big: Final = BigInteger().with_variant(Integer(), "sqlite")
_Text: Final = Text().with_variant(Text(collation="C"), "postgresql")  # byte for byte, as SQLite compares
_LIVE: Final = text("until_revision IS NULL")
_PAST: Final = text("until_revision IS NOT NULL")

_COLUMN_TYPES: Final[dict[Any, Any]] = {int: _Big, bool: Integer}
"""By the class of what is in a column, where that is no text."""


def types_of(kind: type[Fact]) -> dict[str, tuple[Any, bool]]:
    """By field the class of its values, and whether there may be none."""
    declared = {field.name: field.type for field in msgspec.structs.fields(kind)}
    choices = {name: get_args(each) if isinstance(each, UnionType) else (each,) for name, each in declared.items()}
    return {name: (get_origin(each[0]) or each[0], NoneType in each) for name, each in choices.items()}


def _table(name: str, *parts: Any) -> Table:
    return Table(name, metadata, *parts, sqlite_strict=True)


def _fact_table(name: str, kind: type[Fact], *indexes: tuple[str, ...], unique: tuple[str, ...] | None = None) -> Table:
    """Columns from the fields of `kind`. `unique` columns, by default the key, are so among live versions."""
    table = _table(
        name,
        Column("organization_id", _Text, nullable=False),
        *(
            Column(name, _COLUMN_TYPES.get(of, _Text), nullable=optional)
            for name, (of, optional) in types_of(kind).items()
        ),
        Column("since_revision", _Big, nullable=False),
        Column("until_revision", _Big, nullable=True),
        PrimaryKeyConstraint("organization_id", *kind.KEY, "since_revision"),
    )
    live_key = unique or kind.KEY
    _index(table, "live_key", live_key, live=True, unique=True)
    if unique:
        _index(table, "past_key", unique, live=False)
    for columns in indexes:
        _index(table, f"live_{'_'.join(columns)}", columns, live=True)
        if len(columns) == 1:  # longer ones serve pages, and those are of the newest revision only
            _index(table, f"past_{'_'.join(columns)}", columns, live=False)
    return table


def _index(table: Table, name: str, columns: tuple[str, ...], *, live: bool, unique: bool = False) -> None:
    condition = _LIVE if live else _PAST
    Index(
        f"ix_{table.name}_{name}",
        table.c.organization_id,
        *(table.c[column] for column in columns),
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )


FACT_TABLES: Final[dict[type[Fact], Table]] = {
    Organization: _fact_table("organizations", Organization),
    Member: _fact_table(
        "members",
        Member,
        ("created_at", "user_id", "state", "email", "full_name"),
        ("updated_at", "user_id", "state"),
        ("full_name", "user_id", "state", "email"),
        ("email", "user_id", "state", "full_name"),
        ("state", "user_id"),
    ),
    Department: _fact_table("departments", Department, ("parent_id",), ("created_at", "id")),
    DepartmentMember: _fact_table(
        "department_members", DepartmentMember, ("user_id",), ("department_id", "added_at", "user_id")
    ),
    Role: _fact_table("roles", Role, ("created_at", "id")),
    RoleAssignment: _fact_table(
        "role_assignments", RoleAssignment, ("user_id",), ("role_id", "assigned_at", "user_id")
    ),
    Entity: _fact_table(
        "entities",
        Entity,
        ("id",),
        ("owner_id", "entity_type", "id"),
        ("access_mode", "entity_type", "id"),
        ("entity_type", "created_at", "id", "status", "name"),
        ("entity_type", "name", "id", "status"),
        ("entity_type", "updated_at", "id", "status"),
    ),
    AccessTarget: _fact_table(
        "access_targets", AccessTarget, ("entity_id",), ("target_id", "entity_type", "entity_id")
    ),
    Containment: _fact_table("containments", Containment, ("container_id", "member_type", "member_id"), ("member_id",)),
    Grant: _fact_table(
        "grants",
        Grant,
        ("grantee_id", "entity_type", "entity_id"),
        ("created_at", "id", "entity_type", "grantee_type"),
        ("entity_type", "created_at", "id", "grantee_type"),
        unique=("entity_id", "entity_type", "grantee_id", "grantee_type"),
    ),
    ApiKey: _fact_table("api_keys", ApiKey, ("digest",), ("user_id",), ("created_at", "id")),
}
# The live one has the entity too: whichever index a planner takes for a grant to somebody on something is a good one.
for _kind, _column in (
    (Entity, "owner_id"),
    (Entity, "access_mode"),
    (AccessTarget, "target_id"),
    (Containment, "container_id"),
    (Grant, "grantee_id"),
):
    _index(FACT_TABLES[_kind], f"past_{_column}", (_column,), live=False)

_grants = FACT_TABLES[Grant]
_to_groups = text("until_revision IS NULL AND grantee_type <> 'user'")
Index(
    "ix_grants_live_to_groups",
    *(_grants.c[name] for name in ("organization_id", "entity_id", "entity_type", "grantee_type", "grantee_id")),
    sqlite_where=_to_groups,
    postgresql_where=_to_groups,
)
"""To departments, roles and all others that are no users: few, and not to be looked for among all on an entity."""

heads: Final = _table(
    "heads",
    Column("organization_id", _Text, nullable=False),
    Column("revision", _Big, nullable=False),
    Column("at", _Big, nullable=False),
    Column("hash", _Text, nullable=False),
    PrimaryKeyConstraint("organization_id"),
)

changes: Final = _table(
    "changes",
    Column("organization_id", _Text, nullable=False),
    Column("revision", _Big, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("at", _Big, nullable=False),
    Column("actor_id", _Text, nullable=False),
    Column("api_key_id", _Text),
    Column("trace_id", _Text),
    Column("reason", _Text),
    Column("action", _Text, nullable=False),
    Column("kind", _Text, nullable=False),
    Column("key", _Text, nullable=False),
    Column("subject_type", _Text, nullable=False),
    Column("subject_id", _Text, nullable=False),
    Column("target_id", _Text),
    Column("before", _Text),
    Column("after", _Text),
    Column("hash", _Text, nullable=False),
    PrimaryKeyConstraint("organization_id", "revision", "ordinal"),
)
for _columns in (
    ("subject_type", "action"),
    ("subject_type",),
    ("action",),
    ("subject_id",),
    ("target_id",),
    ("actor_id",),
):
    Index(
        f"ix_changes_{'_'.join(_columns)}",
        changes.c.organization_id,
        *(changes.c[column] for column in _columns),
        changes.c.revision,
        changes.c.ordinal,
    )

revisions: Final = _table(
    "revisions",
    Column("organization_id", _Text, nullable=False),
    Column("revision", _Big, nullable=False),
    Column("at", _Big, nullable=False),
    PrimaryKeyConstraint("organization_id", "revision"),
)
Index("ix_revisions_at", revisions.c.organization_id, revisions.c.at)

responses: Final = _table(
    "idempotent_responses",
    Column("organization_id", _Text, nullable=False),
    Column("idempotency_key", _Text, nullable=False),
    Column("at", _Big, nullable=False),
    Column("fingerprint", _Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", _Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("organization_id", "idempotency_key"),
)
Index("ix_idempotent_responses_at", responses.c.organization_id, responses.c.at)

key_uses: Final = _table(
    "key_uses",
    Column("organization_id", _Text, nullable=False),
    Column("key_id", _Text, nullable=False),
    Column("last_used_at", _Big, nullable=False),
    PrimaryKeyConstraint("organization_id", "key_id"),
)

lookups: Final = _table(
    "lookups",
    Column("kind", _Text, nullable=False),
    Column("key", _Text, nullable=False),
    Column("value", _Text, nullable=False),
    PrimaryKeyConstraint("kind", "key"),
)

told_texts: Final = _table(
    "told_texts",
    Column("organization_id", _Text, nullable=False),
    Column("digest", _Text, nullable=False),
    Column("field", _Text, nullable=False),
    Column("text", _Text, nullable=False),
    Column("about", _Text, nullable=False),
    PrimaryKeyConstraint("organization_id", "digest"),
)
"""Each text of the record once, see `store.texts`. The digest stands for the other three, which may be too long."""

GRAMS: Final = "told_text_grams"
MAKE_GRAMS: Final = (
    f"CREATE VIRTUAL TABLE {GRAMS} USING fts5 (text, digest UNINDEXED, tokenize='trigram', detail=none, columnsize=0)"
)
"""Of SQLite: finds texts by three letters in a row."""
event.listen(told_texts, "after_create", DDL(MAKE_GRAMS).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]

compatibility: Final = _table("compatibility", Column("works_from", _Text, nullable=False))
"""One row: the oldest schema version whose release works on this database. What expands the schema leaves it alone."""

LATE_INDEXES: Final = tuple(
    sorted(
        (index for table in (FACT_TABLES[Grant], changes) for index in table.indexes if not index.unique),
        key=lambda index: str(index.name),
    )
)
"""What makes a book quick to read and slow to fill: of no use to one that adds, and keeps nothing from being wrong."""

user_organizations: Final = _table(
    "user_organizations",
    Column("user_id", _Text, nullable=False),
    Column("organization_id", _Text, nullable=False),
    PrimaryKeyConstraint("user_id", "organization_id"),
)
