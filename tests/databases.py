"""Where a test opens a book of its own by its URL: in memory, in a file, or on PostgreSQL."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from grantbook.store.sqlite import open_sqlite
from tests import postgres
from tests.worlds import FakeClock

KINDS: Final = ["postgres"] if postgres.IS_MEANT else ["memory", "sqlite"]
"""The kinds of database for what runs on each; `make test-postgres` runs it on PostgreSQL alone."""


def empty_book(directory: Path, kind: str = "sqlite") -> str:
    """The URL of an empty database of that kind, or on PostgreSQL in `make test-postgres`.

    There it is the one of this process, emptied: whoever has it open meanwhile keeps to organizations of its own.
    """
    if postgres.IS_MEANT or kind == "postgres":
        return postgres.empty_database()
    return "memory:" if kind == "memory" else sqlite_book(directory)


def sqlite_book(directory: Path) -> str:
    """The URL of a file with the tables of a book, which is empty unless it was there already."""
    file = directory / "book.db"
    if not file.exists():
        file.write_bytes(_empty_file())
    return f"sqlite:///{file}"


@cache
def _empty_file() -> bytes:
    """To be copied: to make one takes a tenth of a second."""
    with TemporaryDirectory() as directory:
        file = Path(directory, "book.db")
        open_sqlite(f"sqlite:///{file}", FakeClock()).close()
        return file.read_bytes()
