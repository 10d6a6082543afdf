"""What Python warns of from 3.13 on, also before: a connection to SQLite that nobody closed."""

import sqlite3
import sqlite3.dbapi2
import sys
import warnings
from functools import partial
from typing import Any


class _Connection(sqlite3.Connection):
    is_closed = True  # where it could not be opened

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.is_closed = False

    def close(self) -> None:
        super().close()
        self.is_closed = True

    def __del__(self) -> None:
        if not self.is_closed:
            warnings.warn(f"unclosed database in {self!r}", ResourceWarning, source=self, stacklevel=1)


def warn() -> None:
    """From now on."""
    if sys.version_info < (3, 13):
        sqlite3.connect = sqlite3.dbapi2.connect = partial(sqlite3.connect, factory=_Connection)  # type: ignore[assignment]
