"""Times of a repeated call, and the counter of SQL statements."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from threading import Lock
from typing import Any, Final

from grantbook.store.session import Session

ENOUGH_FOR_P99: Final = 100
_COUNTED: Final = ("all", "run", "run_many")  # `one` goes through `all`


@dataclass(frozen=True, slots=True)
class Times:
    """How long a call took, in milliseconds, over so many calls; no 99th percentile of fewer than a hundred."""

    p50_ms: float
    p99_ms: float | None
    calls: int


def times_of(call: Callable[[int], object], *, at_most: int, budget_s: float) -> Times:
    """Call with 0, 1, 2, ... until the number or the time is used up. The first call is not counted: it warms up."""
    call(0)
    taken: list[float] = []
    end = time.perf_counter() + budget_s
    for number in range(1, at_most + 1):
        begin = time.perf_counter()
        call(number)
        now = time.perf_counter()
        taken.append((now - begin) * 1e3)
        if now > end:
            break
    p99_ms = percentile(taken, 99) if len(taken) >= ENOUGH_FOR_P99 else None
    return Times(p50_ms=percentile(taken, 50), p99_ms=p99_ms, calls=len(taken))


def percentile(values: Sequence[float], percent: int) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]


class Counter:
    """SQL statements run so far, BEGIN and COMMIT left out; a batch of rows is one statement."""

    def __init__(self) -> None:
        self.statements = 0
        self._lock = Lock()

    def add(self) -> None:
        with self._lock:
            self.statements += 1


@contextmanager
def counted_statements() -> Iterator[Counter]:
    """Count what every session of this process runs during the block."""
    counter = Counter()
    originals = {name: getattr(Session, name) for name in _COUNTED}
    for name, original in originals.items():
        setattr(Session, name, _counting(original, counter))
    try:
        yield counter
    finally:
        for name, original in originals.items():
            setattr(Session, name, original)


def _counting(original: Callable[..., Any], counter: Counter) -> Callable[..., Any]:
    @wraps(original)
    def run(*args: Any, **values: Any) -> Any:
        counter.add()
        return original(*args, **values)

    return run
