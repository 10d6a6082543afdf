"""Many things at once, each on a line of its own: what is wrong is told line by line, and then nothing happens."""

from collections.abc import Iterable
from typing import Any

from grantbook.model.errors import GrantbookError, InvalidLines, StoreUnavailable
from grantbook.model.facts import Entity, EntityRef, Principal
from grantbook.model.limits import MAX_LINE_PROBLEMS
from grantbook.service import gates
from grantbook.service.desk import Reading


class Problems:
    """What is wrong with which line, as far as it was looked at."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []

    def add(self, line: int, field: str, message: str) -> None:
        self._found.append({"line": line, "field": field, "message": message})

    def add_error(
        self, line: int, error: GrantbookError, *, field: str | None = None, message: str | None = None
    ) -> None:
        """What an error says about a field, or else about the line as a whole; unless it is told better here.

        Raises it again where it is about no line, but about the database.
        """
        if isinstance(error, StoreUnavailable):
            raise error
        found = field or error.details.get("field") or next(iter(error.details), "line")
        self.add(line, str(found), message or str(error.details.get("message") or error.explanation))

    def raise_any(self) -> None:
        """Raises InvalidLines(line, field, message, errors) if there is a problem: the first hundred, in order."""
        if self._found:
            raise InvalidLines(sorted(self._found, key=lambda each: int(each["line"]))[:MAX_LINE_PROBLEMS])


def missing_entities(reading: Reading, wanted: Iterable[EntityRef]) -> set[EntityRef]:
    """Those that the organization does not have; one query."""
    refs = set(wanted)
    if not refs:
        return refs
    return refs - {entity.ref for entity in reading.snapshot.select(Entity, {"id": {ref.id for ref in refs}})}


def missing_principals(reading: Reading, wanted: Iterable[Principal]) -> set[Principal]:
    """Those that the organization does not have; one query a kind."""
    return set(gates.unknown_principals(reading, list(set(wanted))))
