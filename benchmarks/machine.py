"""The machine: which core does what, and what a server has used of it."""

import os
import platform
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Final

import psutil

SERVER_CORE: Final = 0
CLIENT_CORE: Final = 1


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this process on one core for the block; on a machine with a single one, where it is."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def spread(pid: int) -> None:
    """Let the process and its living descendants, and those to come, have all cores that this one has."""
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.cpu_affinity(list(os.sched_getaffinity(0)))


def cpu_seconds(pid: int) -> float:
    """CPU time that the process and its living descendants have used, user and system."""
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system
    return total


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and private megabytes. The first counts pages of the database file that are mapped, and shared code."""
    used = psutil.Process(pid).memory_full_info()
    return used.rss / 1e6, used.uss / 1e6


def anonymous_mb(pid: int) -> float:
    """Megabytes of the process without files: pages of a mapped database are the system's, which takes them back."""
    used = psutil.Process(pid).memory_info()
    return float(used.rss - used.shared) / 1e6


def description() -> dict[str, str]:
    """What a reader needs to compare runs, and nothing that names the machine."""
    packages = ("uvicorn", "uvloop", "httptools", "fastapi", "msgspec", "sqlalchemy")
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in packages},
    }
