"""Parts of lists; and of lists that the published API gives whole, all only within a bound."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from grantbook.model.errors import LimitExceeded, ValidationFailed
from grantbook.model.facts import Fact
from grantbook.model.limits import MAX_UNPAGED
from grantbook.service.desk import Reading
from grantbook.store.port import OLDEST_FIRST, F, Order, Where

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items in a stable order, how many there are in all, and whether more follow."""

    items: list[T]
    total: int
    has_more: bool


def require_part(skip: int, limit: int | None) -> None:
    """Raises ValidationFailed(skip, limit) for what no list has. Without a `limit` all of it is asked for."""
    if skip < 0:
        raise ValidationFailed("skip", "skip must not be negative")
    if limit is not None and limit < 1:
        raise ValidationFailed("limit", "limit must be at least 1")


def part_of(
    reading: Reading, kind: type[F], *where: Where, skip: int, limit: int | None, order: Order = OLDEST_FIRST
) -> list[F]:
    """The facts in order, without the first `skip`; without a `limit` all of them.

    Raises LimitExceeded(limit, maximum) where that would be too many.
    """
    if limit is None:
        require_few(reading, kind, *where)
    return reading.snapshot.page(kind, *where, skip=skip, limit=MAX_UNPAGED if limit is None else limit, order=order)


def require_few(reading: Reading, kind: type[Fact], *where: Where) -> None:
    """Raises LimitExceeded(limit, maximum) where there are too many to be listed at once."""
    if reading.snapshot.count(kind, *where) > MAX_UNPAGED:
        explanation = f"There are more than {MAX_UNPAGED}: ask for parts, with skip and limit"
        raise LimitExceeded(explanation, limit="unpaged_items", maximum=MAX_UNPAGED)
