"""Pages of entities between the wire and the book."""

from collections.abc import Sequence

from grantbook.http.paging import Paging
from grantbook.http.platform.rendering import Json
from grantbook.service.entity_lists import Page, Part, Place
from grantbook.store.port import OLDEST_FIRST, Order


def part_of(paging: Paging, order: Order = OLDEST_FIRST) -> Part:
    """The part that is asked for. Raises ValidationFailed(cursor), also for a cursor of another order."""
    after: Place | None
    after = paging.after(tuple[str, str]) if order.field == "name" else paging.after(tuple[int, str])
    return Part(skip=paging.skip, limit=paging.limit, after=after, order=order)


def page_of(paging: Paging, found: Page, items: Sequence[Json]) -> Json:
    """The page as every list looks."""
    return paging.page(items, total=found.total, last=found.last, has_more=found.has_more)


def order_of(field: str, direction: str) -> Order:
    """The order in the words of the wire."""
    return Order(field, is_descending=direction == "desc")
