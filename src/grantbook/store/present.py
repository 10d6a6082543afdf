"""The present of every organization, read on one connection that is kept: what a cache of facts is filled from.

A snapshot gives whole facts and costs a connection; here are the few columns that decide about access, in as few
statements as possible, and the number that tells whether anything was written at all.
"""

import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, repeat
from threading import Lock
from types import TracebackType
from typing import Any, Final

from grantbook.model.errors import StoreUnavailable
from grantbook.model.facts import (
    EntityRef,
)
from grantbook.store import forks
from grantbook.store.history import NO_HASH
from grantbook.store.present_port import (
    EdgeRow,
    GivenRow,
    Glance,
    GlanceAtGroups,
    GrantRow,
    Notice,
    Outline,
    Standing,
    Stream,
)
from grantbook.store.present_statements import AT_ONCE, FEW, PARTS_OF_STANDING, REVISION, PresentStatements, next_name
from grantbook.store.session import rows_of
from grantbook.store.statements import Dialect

_log = logging.getLogger(__name__)
_MOST_LOOKED_UP: Final = 8_000
"""So many grants are looked up in one statement, which takes some tens of milliseconds, and seconds from a disk."""
_FEW_ROWS: Final = 10_000
_PLAIN_IDS: Final = 32
"""Up to so many ids are bound one by one, which SQLite answers faster than a list in one value."""


class SqlPresent(ABC):
    """See `present_port.Present`; a database tells of its own accord when it moved. Not for two threads at once."""

    is_local: bool

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._statements = PresentStatements(dialect)
        self._reading = _Reading(self)
        self.lock = Lock()
        self._connection: Any = None
        self._cursor: Any = None
        self._connections = 0

    @abstractmethod
    def version(self) -> int: ...

    @abstractmethod
    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool: ...

    def line(self) -> int:
        return self._connections

    def reading(self) -> "_Reading":
        return self._reading

    def tip(self, organization_id: str) -> tuple[int, str]:
        found = self._rows("tip", organization_id)
        return (int(found[0][0]), str(found[0][1])) if found else (0, NO_HASH)

    def has_had(self, organization_id: str, revision: int, tip_hash: str) -> bool:
        return not self.is_local or revision == 0 or (tip_hash,) in self._rows("hash", organization_id, revision)

    def notices(self, organization_id: str, *, after: int, limit: int) -> list[Notice]:
        return [Notice(*row) for row in self._rows("notices", organization_id, after, limit)]

    def is_deleted(self, organization_id: str) -> bool:
        return bool(self._rows("deleted", organization_id))

    def standing(self, organization_id: str, user_id: str) -> list[Standing]:
        return self._rows("standing", organization_id, user_id)

    def standings(self, organization_id: str, user_ids: Collection[str]) -> dict[str, list[Standing]]:
        found: defaultdict[str, list[Standing]] = defaultdict(list)
        for row in self._rows_of("standings", user_ids, organization_id):
            found[row[0]].append(row[1:])
        return found

    def departments(self, organization_id: str, ids: Collection[str]) -> list[tuple[str, str | None]]:
        return self._rows_of("departments", ids, organization_id)

    def roles(self, organization_id: str, ids: Collection[str]) -> list[tuple[str, str]]:
        return self._rows_of("roles", ids, organization_id)

    def named_by_grants(self, organization_id: str, user_ids: Collection[str]) -> set[str]:
        return {row[0] for row in self._rows_of("named", user_ids, organization_id)}

    def outline(self, organization_id: str, entity: EntityRef) -> list[Outline]:
        return self._rows("outline", organization_id, *entity)

    def outlines(self, organization_id: str, entities: Collection[EntityRef]) -> dict[tuple[str, str], list[Outline]]:
        found: defaultdict[tuple[str, str], list[Outline]] = defaultdict(list)
        for row in self._rows_of("outlines", {entity.id for entity in entities}, organization_id):
            found[row[:2]].append(row[2:])
        return found

    def grants_to(self, organization_id: str, entity: EntityRef, grantee_ids: Collection[str]) -> list[GrantRow]:
        if self.is_local:
            return self._rows_of("grants_to", grantee_ids, organization_id, *entity)
        return self._rows("grants_to", organization_id, *entity, self._dialect.list_value(set(grantee_ids)))

    def grants_to_each(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> list[list[GrantRow]]:
        if self.is_local:
            return [self.grants_to(organization_id, entity, grantee_ids) for entity in entities]
        found: list[Any] = []
        as_list, wanted = self._dialect.list_value, set(grantee_ids)
        at_once = max(1, _MOST_LOOKED_UP // max(1, len(wanted)))
        for first in range(0, len(entities), at_once):
            part = entities[first : first + at_once]
            types, ids = [entity.type for entity in part], [entity.id for entity in part]
            found += self._rows("grants_to_each", organization_id, as_list(types), as_list(ids), as_list(wanted))
        return _of_each(entities, found)

    def glance(self, organization_id: str, user_id: str, entity: EntityRef) -> Glance:
        revision = -1
        standing: list[Standing] = []
        outline: list[Outline] = []
        for row in self._rows_alone("glance", organization_id, user_id, *entity):
            if row[0] == REVISION:
                revision = int(row[1])
            elif row[0] in PARTS_OF_STANDING:
                standing.append(row[:2])
            else:
                outline.append(row)
        return Glance(revision, standing, outline)

    def glance_at_groups(
        self, organization_id: str, department_ids: Collection[str], role_ids: Collection[str]
    ) -> GlanceAtGroups:
        lists = self._dialect.list_value(department_ids), self._dialect.list_value(role_ids)
        revision, rows = self._glanced("glance_at_groups", organization_id, *lists)
        departments = [row[1:] for row in rows if row[0] == "department"]
        return GlanceAtGroups(revision, departments, [row[1:] for row in rows if row[0] == "role"])

    def glance_at_outlines(
        self, organization_id: str, entities: Collection[EntityRef]
    ) -> tuple[int, dict[tuple[str, str], list[Outline]]]:
        ids = self._dialect.list_value({entity.id for entity in entities})
        revision, rows = self._glanced("glance_at_outlines", organization_id, ids)
        found: defaultdict[tuple[str, str], list[Outline]] = defaultdict(list)
        for row in rows:
            found[row[:2]].append(row[2:])
        return revision, found

    def glance_at_grants(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> tuple[int, list[list[GrantRow]]]:
        ids = self._dialect.list_value(set(grantee_ids))
        revision, rows = self._glanced(f"glance_at_grants_on_{len(entities)}", organization_id, *chain(*entities), ids)
        return revision, _of_each(entities, rows)

    def _glanced(self, name: str, *values: Any) -> tuple[int, list[Any]]:
        """The revision, -1 where it was not told, and the rows. However many ids there are, it is one statement, which
        the driver soon has prepared."""
        revision, found = -1, []
        for number, *row in self._rows_alone(name, *values):
            if number is None:
                found.append(tuple(row))
            else:
                revision = int(number)
        return revision, found

    def grants_on(self, organization_id: str, entities: Sequence[EntityRef], *, limit: int) -> list[list[GrantRow]]:
        if self.is_local or len(entities) == 1:
            return [self._rows("grants_on", organization_id, *entity, limit) for entity in entities]
        found: list[Any] = []
        for first in range(0, len(entities), AT_ONCE):
            part = entities[first : first + AT_ONCE]
            filled = chain(*part, repeat("", 2 * (AT_ONCE - len(part))))  # which is nothing's type and id
            found += self._rows("grants_on_several", organization_id, *filled, limit)
        return _of_each(entities, found)

    def groups_on(self, organization_id: str, entity: EntityRef) -> list[tuple[str, str]]:
        return self._rows("groups_on", organization_id, *entity)

    def next_ids(
        self, organization_id: str, stream: Stream, of: Collection[str], type_: str, *, after: str, limit: int
    ) -> list[str]:
        name, values = next_name(stream), (organization_id, type_, after, limit)
        if self.is_local:
            rows = [row for each in of for row in self._rows(name, *values, each, count=1)]
        else:
            rows = self._rows(name, *values, self._dialect.list_value(of))
        return sorted({id_ for (id_,) in rows})[:limit]

    def given_to(self, organization_id: str, principal_ids: Collection[str], *, limit: int) -> list[GivenRow]:
        return self._rows_up_to("given_to", principal_ids, organization_id, limit)

    def edges_from(self, organization_id: str, container_ids: Collection[str], *, limit: int) -> list[EdgeRow]:
        return self._rows_up_to("edges_from", container_ids, organization_id, limit)

    def active_entities(self, organization_id: str, *, only_open: bool, limit: int) -> list[tuple[str, str]]:
        return self._rows("open_entities" if only_open else "active_entities", organization_id, limit)

    def departments_below(self, organization_id: str, department_ids: Collection[str]) -> list[tuple[str, str]]:
        return self._rows_of("departments_below", department_ids, organization_id)

    def people_in(self, organization_id: str, department_ids: Collection[str], *, limit: int) -> list[tuple[str, str]]:
        return self._rows_up_to("people_in", department_ids, organization_id, limit)

    def people_with(self, organization_id: str, role_ids: Collection[str], *, limit: int) -> list[tuple[str, str]]:
        return self._rows_up_to("people_with", role_ids, organization_id, limit)

    def people(self, organization_id: str, *, only_active: bool, limit: int) -> list[tuple[str]]:
        return self._rows("active_people" if only_active else "people", organization_id, limit)

    def active_among(self, organization_id: str, user_ids: Collection[str]) -> list[tuple[str]]:
        return self._rows_of("active_among", user_ids, organization_id)

    def capabilities(self, organization_id: str) -> list[tuple[str, str]]:
        return self._rows("capabilities", organization_id)

    @property
    def is_open(self) -> bool:
        """Whether it holds a connection."""
        return self._connection is not None

    def close(self, error: BaseException | None = None) -> None:
        """Give the connection back; after an error it may be broken, and nobody shall get it from the pool."""
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is None:
            return
        if error is None:
            connection.close()
        else:
            connection.invalidate(error)

    def give_up(self, *, closes: bool) -> None:
        """As `forks.Inherited`."""
        self.lock = Lock()  # whoever held it is not in this process
        if not closes:
            forks.keep(self._connection)
            self._connection = None
        self.close()

    def begin(self) -> int:
        """What comes is read from one state, which has this version. Raises StoreUnavailable.

        On the connection that is kept, or where that broke meanwhile on a new one.
        """
        try:
            if self._cursor is not None:
                try:
                    self._cursor.execute(self._dialect.begin_read)
                    return self._version_read()
                except self._dialect.errors as error:
                    self.close(error)
            self._connect()
            self._cursor.execute(self._dialect.begin_read)
            return self._version_read()
        except self._dialect.errors as error:
            self.close(error)
            raise StoreUnavailable from error

    def end(self, error: BaseException | None) -> None:
        """The other end of `begin`, after an error of the driver too. Raises StoreUnavailable."""
        try:
            self._cursor.execute("COMMIT")  # as `Session.close` does
        except self._dialect.errors as worse:
            error = worse
        if isinstance(error, self._dialect.errors):
            self.close(error)
            raise StoreUnavailable from error

    def _connect(self) -> None:
        self._connection = self._dialect.engine.raw_connection()
        self._cursor = self._connection.cursor()
        self._connections += 1

    def _version_read(self) -> int:
        """Within a reading, which version is read, if that can be told cheaply."""
        return -1

    def _rows_of(self, name: str, ids: Collection[str], *values: Any) -> list[Any]:
        """As `_rows`, of the statement for so many ids."""
        if not 0 < len(ids) <= _PLAIN_IDS:
            return self._rows(name, *values, self._dialect.list_value(ids))
        return self._rows(name, *values, *ids, count=len(ids))

    def _rows_up_to(self, name: str, ids: Collection[str], organization_id: str, limit: int) -> list[Any]:
        """As `_rows_of`, at most so many."""
        return self._rows_of(name + (FEW if limit <= _FEW_ROWS else ""), ids, organization_id, limit)

    def _rows(self, name: str, *values: Any, count: int = 0) -> list[Any]:
        return rows_of(self._dialect, self._cursor, self._statements.get(name, count), values)

    def _rows_alone(self, name: str, *values: Any) -> list[Any]:
        """As `_rows`, of a statement that is a transaction by itself; none where the database did not answer."""
        try:
            if self._cursor is None:
                self._connect()
            return self._rows(name, *values)
        except self._dialect.errors as error:
            _log.warning("%s failed, and is asked for in a transaction: %s", name, type(error).__name__)
            self.close(error)
            return []


def _of_each(entities: Sequence[EntityRef], rows: Iterable[Any]) -> list[list[GrantRow]]:
    """Those of each of the entities, in their order, of rows that begin with its type and id."""
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows:
        found[row[:2]].append(row[2:])
    return [found[entity] for entity in entities]


class _Reading:
    """A block of `SqlPresent`, made once for all: they do not lie within each other."""

    def __init__(self, present: SqlPresent) -> None:
        self._present = present

    def __enter__(self) -> int:
        return self._present.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._present.end(error)
