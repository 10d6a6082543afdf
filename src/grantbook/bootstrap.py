"""The only place that wires things together: settings to store, vocabulary, clock and randomness."""

import errno
import os
import secrets
import socket
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grantbook.model.errors import ConfigurationError
from grantbook.model.ids import RandomBytes
from grantbook.model.instants import Clock, Instant
from grantbook.model.limits import DEFAULT_CACHE_MB, DEFAULT_CONNECTIONS, DEFAULT_STALENESS_MS, MEBIBYTE
from grantbook.model.vocabulary import BUILT_IN, Vocabulary
from grantbook.service.desk import Desk
from grantbook.store.memory import MemoryStore
from grantbook.store.port import Store


def system_clock() -> Instant:
    """Now, in whole milliseconds as the wire shows them, counted in microseconds."""
    return time.time_ns() // 1_000_000 * 1_000


def open_desk(
    database: str,
    *,
    vocabulary: Vocabulary = BUILT_IN,
    clock: Clock = system_clock,
    random: RandomBytes = secrets.token_bytes,
    cache_bytes: int = DEFAULT_CACHE_MB * MEBIBYTE,
    **options: Any,
) -> Desk:
    """A desk on the database of the URL. `options` are those of `open_store`, and the errors too."""
    return Desk(open_store(database, clock, **options), vocabulary, clock, random, cache_bytes=cache_bytes)


@contextmanager
def needing_psycopg() -> Iterator[None]:
    """A block that uses a PostgreSQL. Raises ConfigurationError where the driver is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ConfigurationError(
            "PostgreSQL needs psycopg: install grantbook with its extra, as in pip install '.[postgres]'"
        ) from error


def open_store(
    database: str,
    clock: Clock,
    *,
    connections: int = DEFAULT_CONNECTIONS,
    staleness_ms: int = DEFAULT_STALENESS_MS,
    replica: str | None = None,
    may_create: bool = False,
) -> Store:
    """`sqlite:///file`, its schema brought up to date; `postgresql://host/name`, whose schema is only touched where it
    `may_create` the book; or, for tests and trials, `memory:`. The other options are for PostgreSQL.

    Raises ConfigurationError for a URL or a database that cannot be used.
    """
    is_postgres = database.startswith(("postgresql:", "postgres:"))
    if replica is not None and not is_postgres:
        raise ConfigurationError("only a database of PostgreSQL has a replica: leave out --replica")
    if database == "memory:":
        return MemoryStore(clock)
    if database.startswith("sqlite:"):
        from grantbook.store.sqlite import open_sqlite  # not needed for memory

        return open_sqlite(database, clock)
    if is_postgres:
        with needing_psycopg():
            from grantbook.store.postgres import open_postgres
        if may_create:
            from grantbook.store.schema import Schema

            with Schema(database) as schema:
                schema.migrate()
        staleness_s = staleness_ms / 1000
        return open_postgres(database, clock, connections=connections, staleness_s=staleness_s, replica=replica)
    raise ConfigurationError(_unknown(database))


def file_of(database: str) -> Path | None:
    """The file of a SQLite database, None for another. Raises ConfigurationError."""
    if not database.startswith("sqlite:"):
        return None
    from grantbook.store.sqlite import path_of

    return Path(path_of(database))


def require_database(database: str) -> None:
    """Raises ConfigurationError where the URL names a SQLite file that is not there: a mistyped path must not answer
    as an empty book."""
    file = file_of(database)
    if file is not None and not file.is_file():
        raise ConfigurationError(f"there is no database {file}: make one with 'grantbook init', or set --database")


def require_free(host: str, port: int) -> None:
    """Raises ConfigurationError where nobody can listen on that address: another does, or it is none of this machine.

    Better told before anything is made for a server than by the server itself.
    """
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":  # elsewhere it would let two listen
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except socket.gaierror as error:
        raise ConfigurationError(f"there is no address for {host!r} ({error.strerror}): set another --host") from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        flag = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        raise ConfigurationError(f"cannot listen on {host}, port {port} ({why}): set another {flag}") from error


def _unknown(database: str) -> str:
    if not database:
        return "the database is not named: set --database to sqlite:///path, postgresql://host/name or memory:"
    if ":" not in database:  # else it may hold a password
        return f"the database is named by a URL: for a file of that name, sqlite:///{database}"
    return (
        f"the database URL {database.partition(':')[0]}:... is not supported: "
        "use sqlite:///path, postgresql://host/name or memory:"
    )


def load_vocabulary(path: str | None) -> Vocabulary:
    """The built-in entity types and those of the TOML file, if there is one. Raises ConfigurationError."""
    if path is None:
        return BUILT_IN
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the vocabulary file {path}: {error}") from error
    return BUILT_IN.extended(document)
