"""The present of a SQLite file, which tells by itself that it was written, whoever wrote."""

from grantbook.model.errors import StoreUnavailable
from grantbook.store.present import SqlPresent

_VERSION = "PRAGMA data_version"


class SqlitePresent(SqlPresent):
    """Asks the file for its version."""

    is_local = True

    def version(self) -> int:
        try:
            if self._cursor is None:
                self._connect()
            return self._version_read()
        except self._dialect.errors as error:
            self.close()
            raise StoreUnavailable from error

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:  # noqa: ARG002
        return True

    def _version_read(self) -> int:
        (version,) = self._cursor.execute(_VERSION).fetchone()
        return int(version) + (self._connections << 32)  # each connection counts for itself
