"""Whose turn it is to write to a SQLite book, among the threads and processes that have it open.

SQLite's lock has no queue: whoever waits for it sleeps up to a tenth of a second between two looks, and a process that
writes without a pause has taken it again by then, for seconds on end. Here each takes two locks, on bytes of a file
"-turn" beside the book: first that of whoever is next, which it holds until it has the writer's. So who had its spell
cannot write again before who was next has. The locks end with their process, however it ends. They only order the
writers: that there is one at a time is SQLite's own business, and where they cannot be had nobody is kept from writing.
"""

import errno
import logging
import os
import stat
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
_POLL_S: Final = 0.0005
_SPELL_S: Final = 0.01
"""To change places with each write would take as long as to write."""
_PATIENCE_S: Final = 5
"""Longer than others have the turn, unless they are suspended, or make indexes."""
_PAUSE_S: Final = 60
_PATIENCE_WITHIN_S: Final = 10
"""Whoever waits keeps a thread that others could be answered by."""
_log = logging.getLogger(__name__)


class Turns:
    """Those of one store. Another store of the same process is not waited for: the locks are the process's."""

    def __init__(self, book: str) -> None:
        self._book = os.path.realpath(book)
        self._own = Lock()
        self._file: int | None = None
        self._asks_again_at = 0.0
        self._spell_ends_at = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A block in which no other thread of the store has the turn, and no other process that was worth the wait.

        Raises StoreUnavailable where the threads before this one take too long.
        """
        if not self._own.acquire(timeout=_PATIENCE_WITHIN_S):
            raise StoreUnavailable
        try:
            file = self._take()
            try:
                yield
            finally:
                if file is not None:
                    _unlock(file, _WRITER)
        finally:
            self._own.release()

    def close(self) -> None:
        """After the turn that is under way."""
        with self._own:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _take(self) -> int | None:
        """The file, if the turn is this process's. After a wait in vain it does without for some time."""
        if sys.platform == "win32" or monotonic() < self._asks_again_at:
            return None
        try:
            if self._file is None:
                self._file = _open_beside(self._book)
            if self._waited(self._file):
                return self._file
        except OSError as error:
            _log.warning("processes that write to one book may wait for each other for long: %s", error)
        self._asks_again_at = monotonic() + _PAUSE_S
        return None

    def _waited(self, file: int) -> bool:
        """Whether the turn was had in time: at once in a spell that nobody cut short, else after whoever is next."""
        if monotonic() < self._spell_ends_at and _lock(file, _WRITER, 0):
            return True
        until = monotonic() + _PATIENCE_S
        if not _lock(file, _NEXT, until):
            return False
        try:
            is_ours = _lock(file, _WRITER, until)
        finally:
            _unlock(file, _NEXT)
        self._spell_ends_at = monotonic() + _SPELL_S
        return is_ours


def _lock(file: int, byte: int, until: float) -> bool:
    """Whether it was had in time. Raises OSError where the system has no such locks."""
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            return True
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise
        if monotonic() > until:
            return False
        sleep(_POLL_S)


def _unlock(file: int, byte: int) -> None:
    with suppress(OSError):  # what was written was written
        fcntl.lockf(file, fcntl.LOCK_UN, 1, byte)


def _open_beside(book: str) -> int:
    """The file, made for whoever may write to the book: as SQLite's own, with its mode, and if root makes it its owner.

    Raises OSError, also where something else has its name.
    """
    path = f"{book}-turn"
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        file = os.open(path, flags)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.EEXIST, "something else than a file is there", path) from None
        return file
    with suppress(OSError):
        like = Path(book).stat()
        os.fchmod(file, stat.S_IMODE(like.st_mode))
        os.fchown(file, like.st_uid, like.st_gid)
    return file
