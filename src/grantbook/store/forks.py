"""What a process inherits when it is forked, and may not use.

A connection is that of the process which made it. Two that use one take each other's answers from a server; and of a
SQLite file only the first has the locks: others take away the log that the second still writes to, with all that it
acknowledged. So a forked process gives up what it inherited, and whoever uses that is told to open the book anew.
Source: SQLite, "How To Corrupt An SQLite Database File", section 2.6.
"""

import ctypes
import os
from typing import Any, Final, Protocol
from weakref import WeakSet

from grantbook.model.errors import ConfigurationError


class Inherited(Protocol):
    """Something with connections."""

    def is_idle(self) -> bool:
        """In a forked process: whether no other thread was using a connection when it was forked."""

    def give_up(self, *, closes: bool) -> None:
        """In a forked process: have no connection any more, and close them where that may be done."""


class Process:
    """The one that a book was opened in, until it is closed."""

    def __init__(self) -> None:
        self._id = os.getpid()
        self._is_over = False

    def end(self) -> None:
        """The book is closed."""
        self._is_over = True

    def require(self) -> None:
        """Raises ConfigurationError in any other, and for a book that is closed."""
        if self._is_over:
            raise ConfigurationError("this book is closed: open it anew")
        if os.getpid() != self._id:
            raise ConfigurationError("this book was opened before the process was forked: open it anew in this process")


class Safety:
    """Whether SQLite can be used in this process. What another thread was in the middle of cannot be closed in a fork,
    and as long as it is open SQLite takes the locks of the first process for those of this one."""

    def __init__(self) -> None:
        self._is_lost = False

    def lose(self) -> None:
        """From now on it cannot."""
        self._is_lost = True

    def require(self) -> None:
        """Raises ConfigurationError where it cannot."""
        if self._is_lost:
            raise ConfigurationError(
                "this process was forked while another thread used a SQLite book, and cannot open one: "
                "fork before that, or start the process anew ('spawn')"
            )


SQLITE: Final = Safety()
_opened: Final[WeakSet[Any]] = WeakSet()


def follow(opened: Inherited) -> None:
    """Have it given up in every process that is forked from this one."""
    _opened.add(opened)


def keep(inherited: object) -> None:
    """Have it never go, not even when the process ends: what goes is closed, which would be said to the server, or
    wait for a thread that is not in this process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


def _give_up() -> None:
    inherited: list[Inherited] = list(_opened)
    closes = all(each.is_idle() for each in inherited)  # else a lock of SQLite's own may be held for ever
    for each in inherited:
        each.give_up(closes=closes)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up)
