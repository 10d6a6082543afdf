"""Whether anything was written to a SQLite database, read from the memory that all its processes share.

Beside a database in WAL mode lies a file "-shm" that every process maps which has the database open. It begins with a
header of 48 bytes, twice, and every commit changes both: that is what makes it visible. SQLite itself compares these
bytes to tell a reader that what it holds is old. So whoever finds them as they were before the last look knows what
`PRAGMA data_version` would say, without the system calls that it takes.
Source: SQLite, "WAL-mode File Format", section 2; walIndexTryHdr and walIndexWriteHdr in its src/wal.c.

To close any descriptor of the file would drop all the locks that this process has on it, and another could take the
database for its own. So each file is opened and mapped once, and neither closed nor unmapped while the process lives.
Source: SQLite, "How To Corrupt An SQLite Database File", section 2.2.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

_BOTH_BYTES: Final = 96
_LEAST_BYTES: Final = 136  # what SQLite writes at the beginning of the file
_PROT_READ: Final = 1
_MAP_SHARED: Final = 1
_FAILED: Final = ctypes.c_void_p(-1).value
_Key = tuple[int, int]

_mapped: Final[dict[_Key, Callable[[], bytes]]] = {}
"""By device and inode: as each stays open, no other file can get its number."""
_lock: Final = Lock()


def header_of(database: str) -> Callable[[], bytes] | None:
    """What reads both copies of the header, or None where they cannot be had.

    For a connection of this process that has read the database in WAL mode, and as long as that is open.
    """
    if not sys.platform.startswith("linux"):
        return None
    path = Path(f"{os.path.realpath(database)}-shm")
    with _lock, suppress(OSError):
        key = _key_of(path.stat())
        if key not in _mapped and _is_open(key):  # else it is not what SQLite uses
            _map(path, key)
        return _mapped.get(key)
    return None


def _key_of(found: os.stat_result) -> _Key:
    return found.st_dev, found.st_ino


def _is_open(key: _Key) -> bool:
    """Whether this process has the file open."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if _key_of(descriptor.stat()) == key:
                return True
    return False


def _map(path: Path, key: _Key) -> None:
    """Map the file, if it still is that of the key."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # never closed, whatever comes
    found = os.fstat(descriptor)
    if _key_of(found) != key or found.st_size < _LEAST_BYTES:
        return
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    address = library.mmap(None, _LEAST_BYTES, _PROT_READ, _MAP_SHARED, descriptor, 0)
    if address is not None and address != _FAILED:
        _mapped[key] = memoryview((ctypes.c_char * _BOTH_BYTES).from_address(address)).cast("B").tobytes
