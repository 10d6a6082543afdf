"""Totals that were counted before."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import msgspec

from grantbook.store.matching import matches
from grantbook.store.port import Where


class Counts:
    """Totals of lists, each with the revision that it was counted at: what changed since is added to it.

    Holds the most recent `maximum`, and may be used by many threads.
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._kept: OrderedDict[Any, tuple[int, int]] = OrderedDict()
        self._lock = Lock()

    def latest(self, question: Any) -> tuple[int, int] | None:
        """The revision that it was counted at last, and the count."""
        return self._kept.get(question)

    def keep(self, question: Any, revision: int, count: int) -> None:
        if self._maximum:
            with self._lock:
                self._kept[question] = (revision, count)
                self._kept.move_to_end(question)
                while len(self._kept) > self._maximum:
                    self._kept.popitem(last=False)


def is_counted(told: str | None, where: Sequence[Where]) -> bool:
    """Whether a fact of the record, if there is one, counts among those that match."""
    return told is not None and matches(msgspec.json.decode(told), where)
