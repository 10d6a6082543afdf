"""The present of a SQLite file, which tells by itself that it was written, whoever wrote."""

from collections.abc import Callable

from grantbook.model.errors import StoreUnavailable
from grantbook.store import wal_index
from grantbook.store.present import SqlPresent
from grantbook.store.statements import Dialect

_VERSION = "PRAGMA data_version"


class SqlitePresent(SqlPresent):
    """Asks the file for its version, or knows from the memory beside it that this is what it was."""

    is_local = True

    def __init__(self, dialect: Dialect, path: str) -> None:
        super().__init__(dialect)
        self._path = path
        self._version = 0
        self._header: Callable[[], bytes] | None = None
        self._seen: bytes | None = None

    def version(self) -> int:
        seen = None
        if self._header is not None:
            seen = self._header()  # before it is asked: what is written after this is noticed the next time
            if seen == self._seen:
                return self._version
        try:
            if self._cursor is None:
                self._connect()
            self._version, self._seen = self._version_read(), seen
        except self._dialect.errors as error:
            self.close(error)
            raise StoreUnavailable from error
        if self._header is None:
            self._header = wal_index.header_of(self._path)
        return self._version

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:  # noqa: ARG002
        return True

    def close(self, error: BaseException | None = None) -> None:
        self._header = self._seen = None  # good for this connection alone
        super().close(error)

    def _version_read(self) -> int:
        (version,) = self._cursor.execute(_VERSION).fetchone()
        return int(version) + (self._connections << 32)  # each connection counts for itself
