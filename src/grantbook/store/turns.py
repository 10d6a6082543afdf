"""Whose turn it is to write to a SQLite book, among the threads and processes that have it open.

SQLite's lock has no queue: whoever waits for it sleeps up to a tenth of a second between two looks, and a process that
writes without a pause has taken it again by then, for seconds on end. Here each takes two locks, on bytes of a file
"-turn" beside the book: first that of whoever is next, which it holds until it has the writer's. So who was done cannot
write again before who was next has. The locks end with their process, however it ends. They only order the writers:
that there is one at a time is SQLite's own business.
"""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Final

from grantbook.model.errors import StoreUnavailable

if sys.platform != "win32":
    import fcntl

_NEXT: Final = 0
_WRITER: Final = 1
_POLL_S: Final = 0.0003
_log = logging.getLogger(__name__)


class Turns:
    """Those of one process at the book in a file."""

    def __init__(self, book: str, patience_s: float) -> None:
        self._book = book
        self._patience_s = patience_s
        self._own = Lock()
        self._is_open = False
        self._file: int | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A block in which nobody else has the turn. Raises StoreUnavailable after some time of waiting for others."""
        with self._own:
            file = self._opened()
            if file is None:
                yield
                return
            until = monotonic() + self._patience_s
            self._lock(file, _NEXT, until)
            try:
                self._lock(file, _WRITER, until)
            finally:
                _unlock(file, _NEXT)
            try:
                yield
            finally:
                _unlock(file, _WRITER)

    def close(self) -> None:
        """When no turn is under way or will be."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int | None:
        """The file, made by the first who writes. None where it cannot be had: it is not worth refusing a write for."""
        if not self._is_open:
            self._is_open = True
            if sys.platform != "win32":
                try:
                    self._file = _open_beside(self._book)
                except OSError as error:
                    _log.warning("processes that write to the book at once may wait long: %s", error)
        return self._file

    def _lock(self, file: int, byte: int, until: float) -> None:
        while not _locks(file, byte):
            if monotonic() > until:
                raise StoreUnavailable
            sleep(_POLL_S)  # to be woken instead would have no end where a process is suspended


def _open_beside(book: str) -> int:
    """For whoever may write to the book, as SQLite does with its own files: its mode, and for root its owner too."""
    file = os.open(f"{os.path.realpath(book)}-turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with suppress(OSError):
        like = Path(book).stat()
        os.fchmod(file, like.st_mode & 0o777)
        os.fchown(file, like.st_uid, like.st_gid)
    return file


def _locks(file: int, byte: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:  # others say that there are no locks here: then nobody is waited for
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


def _unlock(file: int, byte: int) -> None:
    fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)
