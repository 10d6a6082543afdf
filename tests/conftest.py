"""Shared by all tests: the clock, every kind of store, and how hard hypothesis tries."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from grantbook.store.memory import MemoryStore
from grantbook.store.port import Store
from grantbook.store.postgres import open_postgres
from grantbook.store.sqlite import open_sqlite
from tests import citus, postgres, statements, unclosed
from tests.databases import sqlite_book
from tests.worlds import FakeClock

STORES: Final[dict[str, Callable[[Path, FakeClock], Store]]] = {
    "memory": lambda _, clock: MemoryStore(clock),
    "sqlite": lambda directory, clock: open_sqlite(sqlite_book(directory), clock),
    "postgres": lambda _, clock: open_postgres(postgres.empty_database(), clock),
}
if citus.IS_GIVEN:
    STORES["citus"] = lambda _, clock: open_postgres(citus.empty_database(), clock)
collect_ignore = [] if citus.IS_GIVEN else ["cluster"]

SHARED_STORES: Final = [
    *(["postgres"] if postgres.IS_MEANT else ["memory", "sqlite"]),
    *(["citus"] if citus.IS_GIVEN else []),
]
"""For what asks very much: `make test-postgres` asks it of PostgreSQL, where each question crosses a socket."""

settings.register_profile(
    "default", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("few", settings.get_profile("ci"), max_examples=12)
settings.register_profile("deep", settings.get_profile("default"), max_examples=2_000)  # --hypothesis-profile=deep
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_configure(config: pytest.Config) -> None:
    """Before there are workers of xdist, which have `workerinput`."""
    statements.inspect_all()
    unclosed.warn()
    os.environ.pop("PYTHONUNBUFFERED", None)  # the processes of the tests are as those of most users
    if not hasattr(config, "workerinput"):
        postgres.begin_session()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for a quarter of the time of the tests is waiting."""
    return (os.cpu_count() or 1) + 1


def pytest_report_header() -> str:
    """A store that is not there has no tests to skip, so that is said here."""
    return f"Citus: {'the cluster of ' if citus.IS_GIVEN else 'not run, for want of '}{citus.GIVEN}"


def pytest_unconfigure(config: pytest.Config) -> None:
    postgres.drop_own_database()
    citus.end_process()
    if not hasattr(config, "workerinput"):
        postgres.end_session()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is installed, a skipped test hides something: in CI it fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["postgres"] if postgres.IS_MEANT else STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    """An empty book, in each kind of store."""
    opened = STORES[request.param](tmp_path, clock)
    yield opened
    opened.close()


@pytest.fixture(params=SHARED_STORES, scope="module")
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One book for many random worlds, each in an organization of its own; its clock stands still."""
    opened = STORES[request.param](tmp_path_factory.mktemp("book"), FakeClock())
    yield opened
    opened.close()
