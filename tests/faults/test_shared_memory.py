"""What is read from the memory that the processes of a SQLite file share: never an old version, and no lock is lost."""

import gc
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from grantbook.store import wal_index
from grantbook.store.port import Store
from grantbook.store.present_port import Present
from grantbook.store.sqlite import open_sqlite
from tests.worlds import ORGANIZATION, FakeClock, deposit, member

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="is asked of SQLite elsewhere")

TAKES_THE_LOCK_OF_WHO_IS_ALONE = """
import fcntl, sys
with open(sys.argv[1], "r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    opened = open_sqlite(f"sqlite:///{file}", FakeClock())
    yield opened
    opened.close()


@pytest.fixture
def present(store: Store) -> Iterator[Present]:
    """One that has looked often enough to read the memory from now on."""
    made = store.present()
    assert len({made.version() for _ in range(3)}) == 1
    yield made
    made.close()


def test_while_nothing_is_written_nothing_is_asked(present: Present) -> None:
    asked: list[str] = []
    present._connection.driver_connection.set_trace_callback(asked.append)  # type: ignore[attr-defined]
    assert len({present.version() for _ in range(100)}) == 1
    assert asked == []
    with present.reading() as version:
        assert version == present.version()
    assert asked == ["BEGIN", "PRAGMA data_version", "COMMIT"]


def test_every_commit_makes_another_version_whatever_becomes_of_the_log(file: Path, present: Present) -> None:
    """Also where the log is written back and begun anew, which may leave the file as long as it was."""
    other = open_sqlite(f"sqlite:///{file}", FakeClock())
    seen = {present.version()}
    with closing(sqlite3.connect(file, isolation_level=None)) as keeper:
        for number in range(60):
            deposit(other, ORGANIZATION, [member(f"usr_{number}")])
            version = present.version()
            assert version not in seen
            assert present.version() == version
            seen.add(version)
            mode = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")[number % 4]
            assert keeper.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
            seen.add(present.version())
            with present.reading():
                assert present.tip(ORGANIZATION)[0] == number + 1
    other.close()


def test_reading_the_memory_costs_the_process_none_of_its_locks(file: Path, store: Store, present: Present) -> None:
    """Else another process would take itself for the only one, and empty the memory that this one relies on."""
    for _ in range(5):
        another = store.present()
        assert len({another.version() for _ in range(3)}) == 1
        another.close()
        del another
        gc.collect()
    command = [sys.executable, "-c", TAKES_THE_LOCK_OF_WHO_IS_ALONE, f"{file}-shm"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "BlockingIOError" in tried.stderr
    assert present.version()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_was_closed_and_opened_again_has_other_memory(
    tmp_path: Path, file: Path, is_replaced: bool
) -> None:
    url, rest = f"sqlite:///{file}", tmp_path / "rest.db"
    first = open_sqlite(url, FakeClock())
    deposit(first, ORGANIZATION, [member("usr_1")])
    present = first.present()
    assert len({present.version() for _ in range(3)}) == 1
    present.close()
    first.close()
    assert not Path(f"{file}-shm").exists()
    if is_replaced:
        shutil.copy(file, rest)
        file.unlink()
        shutil.copy(rest, file)
    again, other = open_sqlite(url, FakeClock()), open_sqlite(url, FakeClock())
    present = again.present()
    seen = {present.version() for _ in range(3)}
    for number in range(2, 20):
        deposit(other, ORGANIZATION, [member(f"usr_{number}")])
        assert present.version() not in seen
        seen.add(present.version())
    present.close()
    other.close()
    again.close()


def test_memory_that_is_not_surely_that_of_an_open_database_is_not_read(tmp_path: Path, file: Path) -> None:
    assert wal_index.header_of(str(file)) is None
    Path(f"{file}-shm").write_bytes(bytes(32_768))  # nobody has it open
    assert wal_index.header_of(str(file)) is None
    link = tmp_path / "link.db"
    with closing(sqlite3.connect(tmp_path / "real.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA data_version").fetchone()
        link.symlink_to(tmp_path / "real.db")
        assert wal_index.header_of(str(link)) == wal_index.header_of(str(tmp_path / "real.db")) is not None
