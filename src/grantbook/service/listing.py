"""Lists that the published API gives whole: a part where one is asked for, all of it only within a bound."""

from grantbook.model.errors import LimitExceeded
from grantbook.model.facts import Fact
from grantbook.model.limits import MAX_UNPAGED
from grantbook.service.desk import Reading
from grantbook.store.port import OLDEST_FIRST, F, Order, Where


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
