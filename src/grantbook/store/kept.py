"""What a process keeps of the lists that it was asked for: how long they are, how many
of them have each value of a field, and milestones on the way to far pages.

Each is kept with the state that it was true at; who asks takes what changed since from the record, if that state is in
it: a database that was restored, or failed over, may have lost revisions and used their numbers again.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, Generic, NamedTuple, TypeVar

T = TypeVar("T")
V = TypeVar("V")
Place = tuple[Any, Any]

NEAR: Final = 100
"""So far from a milestone nobody sets another one."""
_LEAP: Final = 10_000
_MOST: Final = 500


class State(NamedTuple):
    """A revision, and the hash of its last change, which tells it from others of the same number."""

    revision: int
    hash: str


class Kept(Generic[V]):
    """Values with the state of each. Holds the most recent `maximum`, and may be used by many threads."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._kept: OrderedDict[Any, tuple[State, V]] = OrderedDict()
        self._lock = Lock()

    def latest(self, question: Any) -> tuple[State, V] | None:
        """The state at which it was kept last, and the value. A question is small, whatever is asked for."""
        return self._kept.get(question)

    def keep(self, question: Any, state: State, value: V) -> None:
        if self._maximum:
            with self._lock:
                self._kept[question] = (state, value)
                self._kept.move_to_end(question)
                while len(self._kept) > self._maximum:
                    self._kept.popitem(last=False)


class Milestone(NamedTuple):
    """A place in an ordered list, and how many items there are up to it, an item at the place itself included."""

    place: Place
    passed: int


Milestones = tuple[Milestone, ...]


class Memory:
    """All that is kept; with `is_on` False, nothing."""

    def __init__(self, *, is_on: bool = True) -> None:
        self.is_on = is_on
        self.counts: Kept[int] = Kept(1_000 if is_on else 0)
        self.tallies: Kept[Mapping[str, int]] = Kept(50 if is_on else 0)
        self.milestones: Kept[Milestones] = Kept(200 if is_on else 0)


@dataclass(frozen=True, slots=True)
class Line(Generic[T]):
    """An ordered list that can be read on from a place: rows, or only their places, after a place without the first
    so many."""

    rows: Callable[[Place | None, int, int], list[T]]
    places: Callable[[Place | None, int, int], list[Place]]
    place_of: Callable[[T], Place]


def nearest(milestones: Milestones, skip: int) -> Milestone | None:
    """The last milestone that does not lie beyond."""
    return max((each for each in milestones if each.passed <= skip), key=lambda each: each.passed, default=None)


def far_part(line: Line[T], start: Milestone | None, skip: int, limit: int) -> tuple[list[T], list[Milestone]]:
    """The items of a line without the first `skip`, read on from the milestone, and new milestones to keep.

    None is set between items at the same place, for whoever reads on from a place leaves out all that are there.
    """
    place, passed = start or (None, 0)
    fresh: list[Milestone] = []
    while skip - passed > _LEAP:
        around = line.places(place, _LEAP - 1, 2)
        if len(around) < 2 or around[0] == around[1]:
            break
        place, passed = around[0], passed + _LEAP
        fresh.append(Milestone(place, passed))
    ahead = int(skip - passed >= NEAR)
    found = line.rows(place, skip - passed - ahead, limit + ahead)
    if ahead and len(found) > 1 and line.place_of(found[0]) != line.place_of(found[1]):
        fresh.append(Milestone(line.place_of(found[0]), skip))
    return found[ahead:], fresh


def joined(milestones: Milestones, fresh: Iterable[Milestone]) -> Milestones:
    """The milestones with the new ones; where they are too many, every second."""
    together = sorted({*milestones, *fresh}, key=lambda each: each.passed)
    return tuple(together[:: 2 if len(together) > _MOST else 1])


def moved(milestones: Milestones, moves: Sequence[tuple[int, Place]], *, is_descending: bool) -> Milestones:
    """The milestones after items came (1) or went (-1) at these places."""

    def passed(milestone: Milestone) -> int:
        place = milestone.place
        return milestone.passed + sum(sign for sign, at in moves if (at >= place if is_descending else at <= place))

    return tuple(Milestone(each.place, passed(each)) for each in milestones) if moves else milestones


def turned(milestones: Milestones, total: int) -> Milestones:
    """The milestones as counted from the other end of so many; those beyond it are left out."""
    return tuple(each._replace(passed=total - each.passed) for each in milestones if each.passed <= total)
