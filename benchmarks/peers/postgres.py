"""A PostgreSQL of its own for each peer that needs one: durable, on the core of the servers, on loopback."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.peers import setup
from benchmarks.peers.running import Process, free_port, run

_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "1GB",
    "work_mem": "16MB",
    "effective_cache_size": "4GB",
    "random_page_cost": "1.1",
    "max_wal_size": "4GB",
    "max_connections": "200",
    "track_commit_timestamp": "on",
    "autovacuum_naptime": "5s",
    "fsync": "on",
    "synchronous_commit": "on",
}
_UNPRIVILEGED: Final = "nobody"


class Postgres:
    """A new cluster, in a directory that `nobody` may enter: PostgreSQL refuses to run as root, so there it runs as
    nobody. Raises Missing."""

    def __init__(self, directory: Path | None = None) -> None:
        programs = {name: setup.postgres(name) for name in ("initdb", "postgres")}
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._place = Path(tempfile.mkdtemp(prefix="benchmarks-postgres-", dir=directory))
        if self._user:
            shutil.chown(self._place, self._user)
        data = self._place / "data"
        environment = {"LC_ALL": "C.UTF-8", "TZ": "UTC"}
        initdb = [str(programs["initdb"]), "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8"]
        run([*initdb, "--locale=C.UTF-8"], user=self._user, environment=environment)
        self.port = free_port()
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        self._process = Process(
            [str(programs["postgres"]), "-D", str(data), "-p", str(self.port), *settings],
            self._place / "log",
            user=self._user,
            stop_with=signal.SIGINT,
            environment=environment,
        )
        self._process.wait_until(lambda: self.sql("SELECT 1"))

    def sql(self, statement: str) -> None:
        """Run a statement that returns nothing of interest. Raises OSError when it fails."""
        command = [str(setup.postgres("psql")), "-q", "-d", self.url, "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(done.stderr)

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def database(self, name: str) -> str:
        """The URL of a new database."""
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def size_mb(self, url: str | None = None) -> float:
        """Of a database: the first one, unless another is named."""
        with psycopg.connect(url or self.url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return 0.0 if row is None else row[0] / 1e6

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """End it and remove its data."""
        self._process.stop()
        shutil.rmtree(self._place, ignore_errors=True)
