"""Processes that write to one file take turns: nobody waits for long beside one that writes without a pause."""

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import pytest

from grantbook.model.errors import StoreUnavailable
from grantbook.store.sqlite import open_sqlite
from grantbook.store.turns import Turns
from tests.worlds import ORGANIZATION, FakeClock, deposit, member

OTHER_PROCESS = """
import os, sys
from grantbook.store.turns import Turns

book = sys.argv[1]
turns, order = Turns(book, 30), os.open(book + ".order", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while True:
    with turns.turn():
        os.write(order, b"o")
        sys.stdin.readline()
"""
Other = subprocess.Popen[bytes]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "book.db"
    path.touch(0o640)
    return path


@pytest.fixture
def other(book: Path) -> Iterator[Other]:
    """A process that has the turn, and for each line that it is sent ends it and takes the next at once."""
    with subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, str(book)], stdin=subprocess.PIPE) as process:
        wait_for(book, "o")
        yield process
        process.kill()


def order_of(book: Path) -> str:
    """Whose turn it was, one after the other: "o" is the other process."""
    path = Path(f"{book}.order")
    return path.read_text() if path.exists() else ""


def wait_for(book: Path, order: str) -> None:
    until = monotonic() + 30
    while order_of(book) != order:
        assert monotonic() < until, order_of(book)
        sleep(0.01)


def test_who_waits_has_the_turn_before_who_had_it_last(book: Path, other: Other) -> None:
    assert other.stdin is not None
    turns = Turns(str(book), 30)

    def write() -> None:
        with turns.turn(), Path(f"{book}.order").open("a") as order:
            order.write("m")
            order.flush()
            sleep(0.005)
            assert order_of(book)[-1] == "m", "two had the turn"

    with ThreadPoolExecutor(1) as pool:
        for round_ in range(1, 11):
            writing = pool.submit(write)
            sleep(0.02)  # now it waits
            other.stdin.write(b"\n")
            other.stdin.flush()
            writing.result()
            wait_for(book, "om" * round_ + "o")
    turns.close()


def test_who_was_killed_holds_nothing(book: Path, other: Other) -> None:
    other.kill()
    other.wait()
    turns = Turns(str(book), 30)
    with turns.turn():
        pass
    turns.close()


def test_a_suspended_process_is_not_waited_for_without_end(book: Path, other: Other) -> None:
    other.send_signal(signal.SIGSTOP)
    turns = Turns(str(book), 0.1)
    for _ in range(2):  # who gave up is not next any more
        with pytest.raises(StoreUnavailable), turns.turn():
            pass
    other.kill()
    other.wait()
    with turns.turn():
        pass
    turns.close()


def test_the_file_is_for_those_who_may_write_to_the_book(book: Path) -> None:
    link = book.with_name("link.db")
    link.symlink_to(book)
    turns = Turns(str(link), 30)
    with turns.turn():
        made = book.with_name("book.db-turn").stat()
    turns.close()
    assert (stat.S_IMODE(made.st_mode), made.st_uid, made.st_gid) == (0o640, book.stat().st_uid, book.stat().st_gid)


def test_a_book_is_written_to_where_no_such_file_can_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "book.db-turn").mkdir()
    store = open_sqlite(f"sqlite:///{tmp_path / 'book.db'}", FakeClock())
    deposit(store, ORGANIZATION, [member("usr_1")])
    deposit(store, ORGANIZATION, [member("usr_2")])
    assert store.head(ORGANIZATION).revision == 2
    store.close()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "book.db-turn" in caplog.text
