"""Lists of entities of one type, as the caller sees them: filtered, sorted, paged and counted in the store.

Who manages a type sees all of it; others what they reach, and what they own though it is archived.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grantbook.engine import sight
from grantbook.model.facts import Entity
from grantbook.model.instants import Instant
from grantbook.model.limits import DEFAULT_PAGE
from grantbook.service import gates, listing
from grantbook.service.conditions import crossed
from grantbook.service.desk import Reading
from grantbook.service.values import optional_text
from grantbook.store.port import OLDEST_FIRST, Contains, Order, Where

Place = tuple[Instant, str] | tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a list that is asked for: those after the place `after`, without the first `skip`."""

    skip: int = 0
    limit: int = DEFAULT_PAGE
    after: Place | None = None
    order: Order = OLDEST_FIRST


@dataclass(frozen=True, slots=True)
class Page(listing.Page[Entity]):
    """Some entities, and the order that they are in."""

    order: Order = OLDEST_FIRST

    @property
    def last(self) -> Place | None:
        """The place of the last item."""
        if not self.items:
            return None
        value: Any = getattr(self.items[-1], self.order.field)
        return value, self.items[-1].id


NOTHING = Page(items=[], total=0, has_more=False)


def list_entities(reading: Reading, entity_type: str, part: Part, *alternatives: Where) -> Page:
    """Entities of the type that the caller sees and that meet one of the alternatives; without any, all of them."""
    where = crossed(_seen(reading, entity_type), alternatives or [{}])
    if not where:
        return NOTHING
    found = reading.snapshot.page(
        Entity, *where, skip=part.skip, limit=part.limit + 1, after=part.after, order=part.order
    )
    has_more = len(found) > part.limit
    if part.after is None and not has_more and (found or part.skip == 0):
        total = part.skip + len(found)
    else:
        total = reading.snapshot.count(Entity, *where)
    return Page(items=found[: part.limit], total=total, has_more=has_more, order=part.order)


def list_of_type(
    reading: Reading, entity_type: str, part: Part, *, status: str | None = None, search: str | None = None
) -> Page:
    """Entities of a type that the caller sees, archived ones too: by status, and a text in the name.

    Raises ValidationFailed(entity_type, search).
    """
    reading.vocabulary.entity_type(entity_type)
    known: list[Where] = [{}] if status is None else [{"status": status}]
    return list_entities(reading, entity_type, part, *crossed(known, searched(search, "name")))


def with_defaults(wanted: Mapping[str, str | None], defaults: Mapping[str, str]) -> list[Where]:
    """Attributes that have the wanted values: one that an entity never got counts as its default."""
    choices: list[list[Where]] = [
        [{f"attributes.{name}": value}, {f"attributes.{name}": None}]
        if value == defaults.get(name)
        else [{f"attributes.{name}": value}]
        for name, value in wanted.items()
        if value is not None
    ]
    return crossed(*choices)


def searched(text: str | None, *fields: str) -> list[Where]:
    """Those that have the text in one of the fields; all, if there is no text. Raises ValidationFailed(search)."""
    optional_text("search", text)
    return [{field: Contains(text)} for field in fields] if text else [{}]


def _seen(reading: Reading, entity_type: str) -> list[Where]:
    if gates.sees_type(reading, entity_type):
        return [{"entity_type": entity_type}]
    user_id = reading.caller.user_id
    seen = sight.reach_of(reading.snapshot, reading.vocabulary, user_id, reading.at, entity_type)
    if reading.membership is not None and reading.membership.is_active:
        seen.append({"entity_type": entity_type, "owner_type": "user", "owner_id": {user_id}})
    return seen
