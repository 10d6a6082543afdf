"""Whole organizations out of a SQL database and into one, with their history: rows as they are, in the order of their
keys, a part at a time."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from sqlalchemy import Select, Table, bindparam, func, select, tuple_

from grantbook.model.errors import Conflict, GrantbookError
from grantbook.model.facts import Fact, Member
from grantbook.model.instants import Instant
from grantbook.store.history import EMPTY, NO_HASH
from grantbook.store.port import Change, Head, Lookup, Snapshot, StoredResponse, ToldText, Version
from grantbook.store.rows import SHAPES, change_of
from grantbook.store.session import Session
from grantbook.store.statements import STREAM_ROWS, MadeOnce, Prepared, Statements
from grantbook.store.tables import (
    FACT_TABLES,
    changes,
    heads,
    key_uses,
    lookups,
    responses,
    revisions,
    told_texts,
    user_organizations,
)
from grantbook.store.texts import digest_of, texts_of

_TENANT: Final = "organization_id"
_TEXT_COLUMNS: Final = (_TENANT, "digest", "field", "text", "about")


class ArchiveStatements(MadeOnce):
    """The statements that nothing else needs."""

    def rows(self, table: Table, *, is_after: bool) -> Prepared:
        """The first rows of an organization in the order of their keys, or the first after a key; without its id."""

        def build() -> Select[Any]:
            columns = [column for column in table.c if column.name != _TENANT]
            key = [table.c[name] for name in _key_names(table)]
            query = select(*columns).where(table.c[_TENANT] == bindparam("tenant"))
            if is_after:
                query = query.where(tuple_(*key) > tuple_(*(bindparam(f"after_{column.name}") for column in key)))
            return query.order_by(*key).limit(STREAM_ROWS)

        return self._get(("rows", table.name, is_after), build)

    def count(self, table: Table) -> Prepared:
        here = table.c[_TENANT] == bindparam("tenant")
        return self._get(("count", table.name), lambda: select(func.count()).select_from(table).where(here))

    def known_users(self) -> Prepared:
        table = user_organizations
        return self._get(
            "known_users",
            lambda: select(table.c.user_id).where(
                self._dialect.is_in(table.c.user_id, "users"), table.c[_TENANT] == bindparam("tenant")
            ),
        )


class SqlArchive:
    """See `port.Archive`."""

    def __init__(
        self,
        shared: Statements,
        statements: ArchiveStatements,
        session: Session,
        snapshot: Snapshot,
        head: Head,
    ) -> None:
        self.head = head
        self.snapshot = snapshot
        self._shared = shared
        self._statements = statements
        self._session = session
        self._tenant = snapshot.organization_id

    def count(self) -> int:
        rows = (
            self._session.one(self._statements.count(table), tenant=self._tenant)
            for table in (changes, *FACT_TABLES.values())
        )
        return sum(int(row[0]) for row in rows if row is not None)

    def revisions(self) -> Iterator[tuple[int, Instant]]:
        return ((row[0], row[1]) for row in self._rows(revisions))

    def changes(self) -> Iterator[Change]:
        return map(change_of, self._rows(changes))

    def versions(self, kind: type[Fact]) -> Iterator[Version]:
        shape = SHAPES[kind]
        positions = [shape.names.index(name) for name in kind.KEY]
        for row in self._rows(FACT_TABLES[kind]):
            try:
                fact = shape.read(row)
            except (GrantbookError, msgspec.DecodeError, UnicodeError):
                fact = None
            yield Version(tuple([row[position] for position in positions]), fact, row[-2], row[-1])

    def look_up(self, lookup: Lookup, keys: Collection[str]) -> dict[str, str]:
        return looked_up(self._shared, self._session, lookup, keys)

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        wanted = self._session.dialect.list_value(user_ids)
        rows = self._session.all(self._statements.known_users(), tenant=self._tenant, users=wanted)
        return {str(row[0]) for row in rows}

    def key_uses(self) -> Iterator[tuple[str, Instant]]:
        return ((row[0], row[1]) for row in self._rows(key_uses))

    def responses(self) -> Iterator[tuple[str, Instant, StoredResponse]]:
        for key, at, fingerprint, status, headers, body in self._rows(responses):
            named = tuple((name, value) for name, value in json.loads(headers))
            yield key, at, StoredResponse(fingerprint=fingerprint, status=status, headers=named, body=bytes(body))

    def _rows(self, table: Table) -> Iterator[Sequence[Any]]:
        names = [column.name for column in table.c if column.name != _TENANT]
        places = [(name, names.index(name)) for name in _key_names(table)]
        after: dict[str, Any] = {}
        while True:
            prepared = self._statements.rows(table, is_after=bool(after))
            found = self._session.all(prepared, tenant=self._tenant, **after)
            yield from found
            if len(found) < STREAM_ROWS:
                return
            after = {f"after_{name}": found[-1][position] for name, position in places}


class SqlRestoration:
    """See `port.Restoration`. Writers of the organization wait from the beginning on."""

    def __init__(self, statements: Statements, session: Session, organization_id: str) -> None:
        self.organization_id = organization_id
        self.tip = EMPTY
        self._statements = statements
        self._session = session
        values = {_TENANT: organization_id, "revision": 0, "at": 0, "hash": NO_HASH}
        session.run(statements.insert_ignoring(heads), **values)
        prepared = statements.locked_head() if session.dialect.locks_heads else statements.head()
        row = session.one(prepared, tenant=organization_id)
        if row is None or row[0]:
            raise Conflict("The organization is there already", organization_id=organization_id)

    @property
    def revision(self) -> int:
        return self.tip.revision

    @property
    def has_changes(self) -> bool:
        return bool(self.revision)

    def add_changes(self, changes_: Sequence[Change]) -> None:
        self._insert(changes, Change.__struct_fields__, map(msgspec.structs.astuple, changes_))
        place = self._statements, self._session, self.organization_id
        add_texts(*place, fresh_texts(*place, texts_of(changes_)))
        times = {change.revision: change.at for change in changes_}
        times.pop(self.revision, None)  # the last part may have ended in the middle of it
        self._insert(revisions, ("revision", "at"), times.items())
        last = changes_[-1]
        self.tip = Head(revision=last.revision, at=last.at, hash=last.hash)

    def add_versions(self, versions: Sequence[Version]) -> None:
        facts = [cast("Fact", version.fact) for version in versions]
        kind = type(facts[0])
        shape = SHAPES[kind]
        rows = (
            (*shape.write(fact), version.since, version.until) for fact, version in zip(facts, versions, strict=True)
        )
        self._insert(FACT_TABLES[kind], (*shape.names, "since_revision", "until_revision"), rows)
        if kind is Member:
            users = sorted({version.key[0] for version in versions})
            insert = self._statements.insert_ignoring(user_organizations)
            self._session.insert_rows(
                insert, ("user_id", _TENANT), [(user_id, self.organization_id) for user_id in users]
            )

    def claim(self, lookup: Lookup, values: Mapping[str, str]) -> dict[str, str]:
        return claim(self._statements, self._session, lookup, values)

    def add_key_uses(self, uses: Mapping[str, Instant]) -> None:
        rows = [{_TENANT: self.organization_id, "key_id": id_, "last_used_at": at} for id_, at in sorted(uses.items())]
        self._session.run_many(self._statements.insert_key_use(), rows)

    def add_response(self, idempotency_key: str, at: Instant, response: StoredResponse) -> None:
        self._session.run(
            self._statements.insert_ignoring(responses),
            organization_id=self.organization_id,
            idempotency_key=idempotency_key,
            at=at,
            fingerprint=response.fingerprint,
            status=response.status,
            headers=json.dumps(response.headers),
            body=response.body,
        )

    def finish(self) -> None:
        """Move the head; all but the commit."""
        values = {"new_revision": self.revision, "new_at": self.tip.at, "new_hash": self.tip.hash}
        self._session.run(self._statements.move_head(), tenant=self.organization_id, **values)
        self._session.announce(self.organization_id, self.revision)

    def _insert(self, table: Table, names: Sequence[str], rows: Any) -> None:
        whole = [(self.organization_id, *row) for row in rows]
        if whole:
            self._session.insert_rows(self._statements.insert(table), (_TENANT, *names), whole)


def fresh_texts(
    statements: Statements, session: Session, organization_id: str, told: Collection[ToldText]
) -> dict[str, ToldText]:
    """Those of the texts of the record that are not kept yet, by digest."""
    fresh = {digest_of(each): each for each in told}
    if fresh:
        digests = session.dialect.list_value(sorted(fresh))
        for row in session.all(statements.known_texts(), tenant=organization_id, digests=digests):
            del fresh[row[0]]
    return fresh


def add_texts(statements: Statements, session: Session, organization_id: str, fresh: Mapping[str, ToldText]) -> None:
    """Keep these texts, by digest."""
    if fresh:
        rows = [(organization_id, digest, *each) for digest, each in fresh.items()]
        session.insert_rows(statements.insert(told_texts), _TEXT_COLUMNS, rows)
        session.index_texts([(each.text, digest) for digest, each in fresh.items()])


def _key_names(table: Table) -> list[str]:
    return [column.name for column in table.primary_key if column.name != _TENANT]


def claim(statements: Statements, session: Session, lookup: Lookup, values: Mapping[str, str]) -> dict[str, str]:
    """As `port.Transaction.claim`. In one order: of two who want the same keys at once the later one waits."""
    rows = [(lookup.value, key, value) for key, value in sorted(values.items())]
    session.insert_rows(statements.insert_ignoring(lookups), ("kind", "key", "value"), rows)
    return looked_up(statements, session, lookup, values)


def looked_up(statements: Statements, session: Session, lookup: Lookup, keys: Collection[str]) -> dict[str, str]:
    """The values of those of the global keys that have one. One key is asked for where it is, several everywhere."""
    if len(keys) == 1:
        (wanted,) = keys
        row = session.one(statements.look_up(), lookup=lookup.value, looked_up=wanted)
        return {} if row is None else {wanted: str(row[0])}
    rows = session.all(statements.look_up_all(), lookup=lookup.value, keys=session.dialect.list_value(keys))
    return {str(key): str(value) for key, value in rows}
