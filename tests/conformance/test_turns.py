"""Processes that write to one file take turns: nobody waits for long beside one that writes without a pause."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import pytest

from grantbook.model.errors import StoreUnavailable
from grantbook.store import turns as module
from grantbook.store.sqlite import open_sqlite
from grantbook.store.turns import Turns
from tests.worlds import ORGANIZATION, FakeClock, deposit, member

OTHER_PROCESS = """
import os, sys
from grantbook.store.turns import Turns

turns, order = Turns(sys.argv[1]), os.open(sys.argv[1] + ".order", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while True:
    with turns.turn():
        os.write(order, b"o")
        if not sys.stdin.readline():
            break
"""
PROBE = """
import fcntl, os, sys

file = os.open(sys.argv[1] + "-turn", os.O_RDWR)
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(sys.argv[2]))
"""
NEXT, WRITER = 0, 1
SPELL_S = 0.02
"""Longer than a process may write without asking for the next turn."""
Other = subprocess.Popen[bytes]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.db"
    path.touch(0o640)
    return path


@pytest.fixture
def turns(book: Path) -> Iterator[Turns]:
    turns = Turns(str(book))
    yield turns
    turns.close()


@pytest.fixture
def other(book: Path) -> Iterator[Other]:
    """A process that has the turn, and for each line that it is sent ends it and takes the next at once."""
    with subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, str(book)], stdin=subprocess.PIPE) as process:
        try:
            wait_for(book, "o")
            yield process
        finally:
            process.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.1)


def order_of(book: Path) -> str:
    """Whose turn it was, one after the other: "o" is the other process."""
    path = Path(f"{book}.order")
    return path.read_text() if path.exists() else ""


def wait_for(book: Path, order: str) -> None:
    until = monotonic() + 30
    while order_of(book) != order:
        assert monotonic() < until, order_of(book)
        sleep(0.01)


def is_free(book: Path, byte: int) -> bool:
    """Whether a third process could have the lock."""
    if not Path(f"{book}-turn").exists():
        return True
    probe = [sys.executable, "-c", PROBE, str(book), str(byte)]
    return subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode == 0


def wait_until_taken(book: Path, byte: int) -> None:
    until = monotonic() + 30
    while is_free(book, byte):
        assert monotonic() < until
        sleep(0.01)


def test_who_waits_has_the_turn_before_who_had_its_spell(book: Path, turns: Turns, other: Other) -> None:
    assert other.stdin is not None

    def write() -> None:
        with turns.turn(), Path(f"{book}.order").open("a") as order:
            order.write("m")
            order.flush()
            sleep(SPELL_S)
            assert order_of(book)[-1] == "m", "two had the turn"

    with ThreadPoolExecutor(1) as pool:
        for round_ in range(1, 6):
            writing = pool.submit(write)
            wait_until_taken(book, NEXT)
            sleep(SPELL_S)
            other.stdin.write(b"\n")
            other.stdin.flush()
            writing.result()
            wait_for(book, "om" * round_ + "o")


def test_who_finds_another_writing_is_next_also_in_its_spell(
    book: Path, turns: Turns, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Two that are in their spells do not race for the writer's lock: the one that is done would win each time."""
    monkeypatch.setattr(module, "_SPELL_S", 60)
    with turns.turn():
        pass
    other: Other = request.getfixturevalue("other")
    assert other.stdin is not None

    def write() -> None:
        with turns.turn():
            pass

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        wait_until_taken(book, NEXT)
        other.stdin.write(b"\n")
        other.stdin.flush()
        writing.result()


@pytest.mark.usefixtures("impatient")
def test_who_was_killed_holds_nothing(book: Path, turns: Turns, other: Other) -> None:
    assert not is_free(book, WRITER)
    other.kill()
    other.wait()
    with turns.turn():
        assert not is_free(book, WRITER)
    assert is_free(book, WRITER)


@pytest.mark.usefixtures("impatient")
def test_a_suspended_process_is_not_waited_for_for_long(book: Path, turns: Turns, other: Other) -> None:
    other.send_signal(signal.SIGSTOP)
    with turns.turn():
        assert is_free(book, NEXT), "who gave up is not next any more"
    asked = monotonic()
    for _ in range(100):  # nor does each write wait
        with turns.turn():
            pass
    assert monotonic() - asked < 0.1 * 100


def test_a_thread_waits_for_others_no_longer_than_for_a_while(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_WITHIN_S", 0.1)

    def write() -> None:
        with turns.turn():
            pass

    with ThreadPoolExecutor(1) as pool:
        with turns.turn(), pytest.raises(StoreUnavailable):
            pool.submit(write).result()
        pool.submit(write).result()


def test_to_close_waits_for_the_turn(book: Path, turns: Turns) -> None:
    ends = Event()

    def write() -> None:
        with turns.turn():
            ends.wait(30)
            assert not is_free(book, WRITER)

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write)
        wait_until_taken(book, WRITER)
        closing = pool.submit(turns.close)
        sleep(SPELL_S)
        assert not closing.done()
        ends.set()
        writing.result()
        closing.result()


def test_the_file_is_for_those_who_may_write_to_the_book(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book.with_name("link.db").symlink_to(book)
    monkeypatch.chdir(book.parent)
    turns = Turns("link.db")
    monkeypatch.chdir("/")
    with turns.turn():
        made, like = Path(f"{book}-turn").stat(), book.stat()
    turns.close()
    assert (stat.S_IMODE(made.st_mode), made.st_uid, made.st_gid) == (
        stat.S_IMODE(like.st_mode),
        like.st_uid,
        like.st_gid,
    )


@pytest.mark.parametrize("planted", ["directory", "link to a file", "link to nothing", "pipe"])
def test_a_book_is_written_to_where_something_else_has_that_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, planted: str
) -> None:
    place, victim = tmp_path / "book.db-turn", tmp_path / "victim"
    match planted:
        case "directory":
            place.mkdir()
        case "link to a file":
            victim.touch(0o600)
            place.symlink_to(victim)
        case "link to nothing":
            place.symlink_to(victim)
        case "pipe":
            os.mkfifo(place)
    require_written_to(tmp_path)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "book.db-turn" in caplog.text
    assert victim.exists() == (planted == "link to a file")
    assert not victim.exists() or stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("byte", [NEXT, WRITER])
@pytest.mark.parametrize("failing", [fcntl.LOCK_EX, fcntl.LOCK_UN])
def test_a_book_is_written_to_where_locks_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int, byte: int
) -> None:
    lockf = fcntl.lockf

    def fail(file: int, command: int, length: int, start: int) -> None:
        if command & failing and start == byte:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        lockf(file, command, length, start)

    monkeypatch.setattr(fcntl, "lockf", fail)
    require_written_to(tmp_path)


def require_written_to(directory: Path) -> None:
    store = open_sqlite(f"sqlite:///{directory / 'book.db'}", FakeClock())
    deposit(store, ORGANIZATION, [member("usr_1")])
    deposit(store, ORGANIZATION, [member("usr_2")])
    assert store.head(ORGANIZATION).revision == 2
    store.close()
