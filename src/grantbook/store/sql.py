"""The book in a SQL database, the same for every dialect: transactions, the store."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from grantbook.model.errors import Conflict, OutcomeUnknown, StoreUnavailable
from grantbook.model.facts import Fact, Member, key_of
from grantbook.model.instants import SECOND, Clock, Instant
from grantbook.model.limits import IDEMPOTENCY_TTL_S
from grantbook.store.archives import ArchiveStatements, SqlArchive, SqlRestoration, add_texts, claim, fresh_texts
from grantbook.store.history import NO_HASH, Recorder
from grantbook.store.kept import Memory
from grantbook.store.port import Author, Change, Head, Lookup, StoredResponse, ToldText
from grantbook.store.present_port import Present
from grantbook.store.rows import SHAPES, change_of
from grantbook.store.session import Session
from grantbook.store.snapshots import SqlSnapshot
from grantbook.store.statements import STREAM_ROWS, Dialect, Prepared, Statements
from grantbook.store.tables import changes, heads, responses, revisions, user_organizations
from grantbook.store.texts import KnownTexts, texts_of

_CHANGE_COLUMNS = ("organization_id", *Change.__struct_fields__)


class SqlTransaction(SqlSnapshot):
    """See `port.Transaction`. Writes wait in lists until a read, or the commit, needs them: bulk stays bulk."""

    def __init__(
        self,
        statements: Statements,
        session: Session,
        organization_id: str,
        author: Author,
        clock: Clock,
        texts: KnownTexts,
    ) -> None:
        self._texts = texts
        self._opened: defaultdict[type[Fact], list[Fact]] = defaultdict(list)
        self._closed: dict[type[Fact], list[Fact]] = {}
        self._changes: list[Change] = []
        self._kinds: set[type[Fact]] = set()
        self._flushed: list[Fact] = []
        self._made_here: set[tuple[type[Fact], tuple[str, ...]]] = set()
        super().__init__(statements, session, organization_id, None)
        self.now = max(clock(), self.newest.at)
        self._recorder = Recorder(organization_id, self.newest, self.now, author)
        self.revision = self._recorder.revision

    def _head(self) -> Head:
        """Where writers take turns on the row, it is there and ours afterwards."""
        if not self._dialect.locks_heads:
            return super()._head()
        for _ in range(2):
            row = self._session.one(self._statements.locked_head(), tenant=self.organization_id)
            if row is not None:
                return Head(revision=row[0], at=row[1], hash=row[2])
            values = {"organization_id": self.organization_id, "revision": 0, "at": 0, "hash": NO_HASH}
            self._session.run(self._statements.insert_ignoring(heads), **values)
        raise StoreUnavailable

    @property
    def has_changes(self) -> bool:
        return bool(self._changes)

    @property
    def changed_kinds(self) -> Collection[type[Fact]]:
        return self._kinds

    def add(self, fact: Fact, action: str) -> None:
        self._open(fact)
        self._changes.append(self._recorder.record(action, None, fact))

    def replace(self, old: Fact, new: Fact, action: str) -> None:
        if old != new:
            self._close(old)
            self._open(new)
            self._changes.append(self._recorder.record(action, old, new))

    def remove(self, fact: Fact, action: str) -> None:
        self._close(fact)
        self._changes.append(self._recorder.record(action, fact, None))

    def claim(self, lookup: Lookup, values: Mapping[str, str]) -> dict[str, str]:
        return claim(self._statements, self._session, lookup, values)

    def find_response(self, idempotency_key: str) -> StoredResponse | None:
        row = self._session.one(
            self._statements.response(), tenant=self.organization_id, wanted=idempotency_key, since=self._stale_before
        )
        if row is None:
            return None
        headers = tuple((name, value) for name, value in json.loads(row[2]))
        return StoredResponse(fingerprint=row[0], status=row[1], headers=headers, body=row[3])

    def keep_response(self, idempotency_key: str, response: StoredResponse) -> None:
        self._session.run(self._statements.forget_responses(), tenant=self.organization_id, since=self._stale_before)
        self._session.run(
            self._statements.insert(responses),
            organization_id=self.organization_id,
            idempotency_key=idempotency_key,
            at=self.now,
            fingerprint=response.fingerprint,
            status=response.status,
            headers=json.dumps(response.headers),
            body=response.body,
        )

    def finish(self) -> None:
        """Write what waits, the changes and the new head; all but the commit."""
        self._flush_closed()
        if not self._changes:
            self.revision = self._recorder.revision - 1
            return
        fresh = self._fresh_texts()
        with self._session.at_once(len(self._changes) + len(fresh)):
            self._flush_opened()
            rows = [(self.organization_id, *msgspec.structs.astuple(change)) for change in self._changes]
            self._session.insert_rows(self._statements.insert(changes), _CHANGE_COLUMNS, rows)
            add_texts(self._statements, self._session, self.organization_id, fresh)
            self._move_head(self.tip)
            self._session.announce(self.organization_id, self.revision)

    def _fresh_texts(self) -> dict[str, ToldText]:
        """Those of the changes that were not told before; from now on they count as told."""
        known = self._texts.known_at(self.organization_id, self.newest.hash)
        told = texts_of(self._changes) - known
        self._texts.keep(self.organization_id, self.tip.hash, known, told)
        return fresh_texts(self._statements, self._session, self.organization_id, told)

    @property
    def tip(self) -> Head:
        return self._recorder.head if self._changes else self.newest

    @property
    def _stale_before(self) -> Instant:
        return self.now - IDEMPOTENCY_TTL_S * SECOND

    def _move_head(self, head: Head) -> None:
        self._session.run(
            self._statements.insert(revisions),
            organization_id=self.organization_id,
            revision=head.revision,
            at=head.at,
        )
        moved = self._session.run(
            self._statements.move_head(),
            tenant=self.organization_id,
            new_revision=head.revision,
            new_at=head.at,
            new_hash=head.hash,
        )
        if not moved and not self._dialect.locks_heads:  # there the row is since it was locked, and may not be told of
            self._session.run(
                self._statements.insert(heads),
                organization_id=self.organization_id,
                revision=head.revision,
                at=head.at,
                hash=head.hash,
            )

    def _open(self, fact: Fact) -> None:
        self._kinds.add(type(fact))
        self._opened[type(fact)].append(fact)

    def _close(self, fact: Fact) -> None:
        """Ends the live version; one that this very transaction made is taken out, for it was never seen."""
        kind, key = type(fact), key_of(fact)
        self._kinds.add(kind)
        self._flush_opened()
        self._made_here.update((type(made), key_of(made)) for made in self._flushed)
        self._flushed.clear()
        if (kind, key) in self._made_here:
            self._made_here.discard((kind, key))
            self._session.run(self._statements.delete_fact(kind), tenant=self.organization_id, **_old(fact))
        else:
            self._closed.setdefault(kind, []).append(fact)

    def _rows(self, prepared: Prepared, values: dict[str, Any]) -> list[Sequence[Any]]:
        self._flush()
        return super()._rows(prepared, values)

    def _flush(self) -> None:
        self._flush_closed()
        self._flush_opened()

    def _flush_closed(self) -> None:
        for kind, facts in self._closed.items():
            rows = [{"tenant": self.organization_id, "revision": self.revision, **_old(fact)} for fact in facts]
            if self._session.run_many(self._statements.close_fact(kind), rows) != len(rows):
                raise Conflict(kind=kind.__name__)  # not live: the record must not tell of what did not happen
        self._closed.clear()

    def _flush_opened(self) -> None:
        if not self._opened:
            return
        self._flush_closed()
        for kind, facts in self._opened.items():
            shape = SHAPES[kind]
            columns = ("organization_id", *shape.names, "since_revision", "until_revision")
            rows = [(self.organization_id, *shape.write(fact), self.revision, None) for fact in facts]
            self._session.insert_rows(self._statements.insert_fact(kind), columns, rows)
            if kind is Member:
                known = [(key_of(fact)[0], self.organization_id) for fact in facts]
                insert = self._statements.insert_ignoring(user_organizations)
                self._session.insert_rows(insert, ("user_id", "organization_id"), known)
            self._flushed += facts
        self._opened.clear()


@dataclass(frozen=True, slots=True)
class Together:
    """See `port.Store.together`."""

    session: Session
    begin: Callable[[str, Author], AbstractContextManager[SqlTransaction]]
    done: list[SqlTransaction | SqlRestoration]

    @contextmanager
    def transaction(self, organization_id: str, author: Author) -> Iterator[SqlTransaction]:
        with self.session.part(), self.begin(organization_id, author) as transaction:
            yield transaction
        self.done.append(transaction)


class SqlStore:
    """See `port.Store`."""

    def __init__(self, dialect: Dialect, clock: Clock) -> None:
        self._dialect = dialect
        self._statements = Statements(dialect)
        self._archive_statements = ArchiveStatements(dialect)
        self._clock = clock
        self._kept = Memory()
        self._texts = KnownTexts()

    @contextmanager
    def snapshot(
        self, organization_id: str, *, revision: int | None = None, at_least: int | None = None
    ) -> Iterator[SqlSnapshot]:
        needed = None if at_least is None else max(at_least, revision or 0)
        session = None if needed is None else self._on_replica(organization_id, needed)
        if session is None:
            session = Session(self._dialect, writes=False)
        try:
            yield SqlSnapshot(self._statements, session, organization_id, revision, self._kept)
        finally:
            session.close()

    def _on_replica(self, organization_id: str, needed: int) -> Session | None:
        """A session on the replica, if there is one that is new enough; whatever shows to be wrong with it here is
        no error."""
        heard = self._dialect.heard_revision(organization_id)
        if heard is None or self._dialect.replica_engine is None:
            return None
        try:
            session = Session(self._dialect, writes=False, engine=self._dialect.replica_engine)
        except StoreUnavailable:
            return None
        try:
            head = session.one(self._statements.head(), tenant=organization_id)
            if (head[0] if head else 0) >= max(needed, heard):
                return session
        except StoreUnavailable:
            pass
        session.close()
        return None

    @contextmanager
    def transaction(self, organization_id: str, author: Author) -> Iterator[SqlTransaction]:
        with self._committing() as (session, done):
            with self._transaction(session, organization_id, author) as transaction:
                yield transaction
            done.append(transaction)

    @contextmanager
    def together(self) -> Iterator["Together"]:
        with self._committing() as (session, done):
            yield Together(session, partial(self._transaction, session), done)

    @contextmanager
    def _transaction(self, session: Session, organization_id: str, author: Author) -> Iterator[SqlTransaction]:
        transaction = SqlTransaction(self._statements, session, organization_id, author, self._clock, self._texts)
        yield transaction
        transaction.finish()

    @contextmanager
    def _committing(self) -> Iterator[tuple[Session, list[SqlTransaction | SqlRestoration]]]:
        """A session that is committed at the end, and the list of the transactions that are done by then."""
        done: list[SqlTransaction | SqlRestoration] = []
        with self._dialect.turn():
            with self._session(writes=True) as session:
                yield session, done
                lost = session.try_commit()
            made = [transaction for transaction in done if transaction.has_changes]
            if lost is not None:
                if not made:
                    raise lost
                self._require_committed(made[-1], lost)  # all of them, or none
        for transaction in made:
            self._dialect.committed(transaction.organization_id, transaction.revision)

    def _require_committed(self, transaction: SqlTransaction | SqlRestoration, lost: StoreUnavailable) -> None:
        """After a commit whose answer was lost: whether the book has the revision that it made.

        Raises the error again where it has not, and OutcomeUnknown where that cannot be asked.
        """
        values = {"tenant": transaction.organization_id}
        try:
            with self._session(writes=True) as session:
                if self._dialect.locks_heads:  # whoever still commits it holds the row: wait for the end of that
                    session.one(self._statements.locked_head(), **values)
                last = session.one(self._statements.last_hash(), **values, wanted=transaction.revision)
                is_made = last is not None and last[0] == transaction.tip.hash
                if is_made:  # a distributed database may have lost the first announcement
                    session.announce(transaction.organization_id, transaction.revision)
                    session.commit()
        except StoreUnavailable as error:
            raise OutcomeUnknown from error
        if not is_made:
            raise lost

    def require_ready(self) -> None:
        self._dialect.require_own()
        self.head("org_readiness")

    def head(self, organization_id: str) -> Head:
        with self.snapshot(organization_id) as snapshot:
            return snapshot.newest

    def revision_at(self, organization_id: str, at: Instant) -> int:
        with self._session() as session:
            row = session.one(self._statements.revision_at(), tenant=organization_id, moment=at)
        return int(row[0]) if row and row[0] is not None else 0

    def look_up(self, lookup: Lookup, key: str) -> str | None:
        with self._session() as session:
            row = session.one(self._statements.look_up(), lookup=lookup.value, looked_up=key)
        return str(row[0]) if row else None

    def organizations_of(self, user_id: str) -> list[str]:
        return self._strings(self._statements.organizations_of(), user=user_id)

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        if not user_ids:
            return set()
        return set(self._strings(self._statements.known_users(), users=self._dialect.list_value(user_ids)))

    def note_key_uses(self, uses: Mapping[tuple[str, str], Instant]) -> None:
        rows = [
            {"organization_id": organization_id, "key_id": key_id, "last_used_at": at}
            for (organization_id, key_id), at in sorted(uses.items())  # in one order: two servers may do so at once
        ]
        with self._dialect.turn(), self._session(writes=True) as session:
            session.run_many(self._statements.insert_key_use(), rows)
            session.commit()

    def key_uses(self, organization_id: str, key_ids: Collection[str]) -> dict[str, Instant]:
        if not key_ids:
            return {}
        wanted = self._dialect.list_value(key_ids)
        with self._session() as session:
            rows = session.all(self._statements.key_uses(), tenant=organization_id, keys=wanted)
        return {str(row[0]): int(row[1]) for row in rows}

    def present(self) -> Present:
        return self._dialect.present()

    @contextmanager
    def filling(self) -> Iterator[None]:
        with nullcontext() if self.organization_ids() else self._dialect.filling():
            yield

    def organization_ids(self) -> list[str]:
        return self._strings(self._statements.organization_ids())

    def changes(self, organization_id: str, *, after: int = 0) -> Iterator[Change]:
        place = (after, 2**31)
        while True:
            with self._session() as session:
                rows = session.all(
                    self._statements.changes_after(),
                    tenant=organization_id,
                    after_revision=place[0],
                    after_ordinal=place[1],
                )
            for row in rows:
                yield change_of(row)
            if len(rows) < STREAM_ROWS:
                return
            place = (rows[-1][0], rows[-1][1])

    @contextmanager
    def archive(self, organization_id: str) -> Iterator[SqlArchive]:
        with self._session() as session:
            snapshot = SqlSnapshot(self._statements, session, organization_id, None, self._kept)
            yield SqlArchive(self._statements, self._archive_statements, session, snapshot, snapshot.newest)

    @contextmanager
    def restoring(self, organization_id: str) -> Iterator[SqlRestoration]:
        with self._committing() as (session, done):
            restoration = SqlRestoration(self._statements, session, organization_id)
            yield restoration
            restoration.finish()
            done.append(restoration)

    def close(self) -> None:
        self._dialect.close()

    def _strings(self, prepared: Prepared, **values: Any) -> list[str]:
        with self._session() as session:
            return sorted(row[0] for row in session.all(prepared, **values))

    @contextmanager
    def _session(self, *, writes: bool = False) -> Iterator[Session]:
        session = Session(self._dialect, writes=writes)
        try:
            yield session
        finally:
            session.close()


def _old(fact: Fact) -> dict[str, str]:
    return {f"old_{name}": getattr(fact, name) for name in fact.KEY}
