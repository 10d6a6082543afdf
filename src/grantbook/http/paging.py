"""Pages: by `skip`, or by a cursor that goes on after the last item seen, whatever was added or removed meanwhile."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query

from grantbook.model.errors import ValidationFailed
from grantbook.model.instants import MAX_INSTANT
from grantbook.model.limits import DEFAULT_PAGE, MAX_PAGE, MAX_SKIP

Place = tuple[int, str] | tuple[str, str] | tuple[int, int]
T = TypeVar("T", bound=Place)

MAX_CURSOR = 400


class Paging:
    """The part of a list that is asked for."""

    def __init__(self, skip: int, limit: int, cursor: str | None) -> None:
        if cursor is not None and skip:
            raise ValidationFailed("cursor", "cursor and skip cannot be used together")
        self.skip = skip
        self.limit = limit
        self._cursor = cursor

    def after(self, form: type[T]) -> T | None:
        """The place after which the page begins. Raises ValidationFailed(cursor)."""
        if self._cursor is None:
            return None
        try:
            place = msgspec.json.decode(urlsafe_b64decode(self._cursor + "=="), type=form)
            if not all(0 <= each <= MAX_INSTANT for each in place if isinstance(each, int)):
                raise ValueError("no store counts so far")
        except (Error, ValueError, msgspec.MsgspecError) as error:
            raise ValidationFailed("cursor", "cursor must be the next_cursor of an earlier page") from error
        return place

    def page(self, items: Sequence[Any], *, total: int | None, last: Place | None, has_more: bool) -> dict[str, Any]:
        """The page as every list looks; `last` is the place of its last item."""
        return {
            "items": list(items),
            "total": total,
            "skip": self.skip,
            "limit": self.limit,
            "has_more": has_more,
            "next_cursor": _cursor(last) if has_more and last is not None else None,
        }

    def part(self, places: Sequence[tuple[str, str]]) -> tuple[slice, bool]:
        """Which of these ordered places the page holds, and whether more follow."""
        after = self.after(tuple[str, str])
        first = self.skip if after is None else sum(place <= after for place in places)
        return slice(first, first + self.limit), first + self.limit < len(places)


async def _paging(  # async, since a plain function would cost a hop to a thread
    skip: Annotated[int, Query(ge=0, le=MAX_SKIP, description="Items to leave out before the page.")] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items in the page.")] = DEFAULT_PAGE,
    cursor: Annotated[
        str | None,
        Query(max_length=MAX_CURSOR, description="`next_cursor` of the page before, instead of `skip`."),
    ] = None,
) -> Paging:
    return Paging(skip, limit, cursor)


Paged = Annotated[Paging, Depends(_paging)]


def _cursor(place: Place) -> str:
    return urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")
