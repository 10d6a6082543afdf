"""Where a test opens a book of its own by its URL: in memory, in a file, or on PostgreSQL."""

from pathlib import Path
from typing import Final

from tests import postgres

KINDS: Final = ["postgres"] if postgres.IS_MEANT else ["memory", "sqlite"]
"""The kinds of database for what runs on each; `make test-postgres` runs it on PostgreSQL alone."""


def empty_book(directory: Path, kind: str = "sqlite") -> str:
    """The URL of an empty database of that kind, or on PostgreSQL in `make test-postgres`.

    There it is the one of this process, emptied: whoever has it open meanwhile keeps to organizations of its own.
    """
    if postgres.IS_MEANT or kind == "postgres":
        return postgres.empty_database()
    return "memory:" if kind == "memory" else f"sqlite:///{directory}/book.db"
