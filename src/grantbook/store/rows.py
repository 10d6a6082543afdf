"""Facts as rows and back, with the statements that are the same for every fact of a kind."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import Column, Update, bindparam, update

from grantbook.model.facts import Fact
from grantbook.store.tables import BOOLEANS, FACT_TABLES, OBJECTS, TUPLES


class Shape:
    """How one kind of fact lies in its table."""

    def __init__(self, kind: type[Fact]) -> None:
        self._kind = kind
        self._names = tuple(field.name for field in fields(kind))
        self._decoders = tuple((name, _DECODERS[name]) for name in self._names if name in _DECODERS)
        table = FACT_TABLES[kind]
        self.columns: list[Column[Any]] = [table.c[name] for name in self._names]
        self.close: Update = (
            update(table)
            .where(
                table.c.organization_id == bindparam("tenant"),
                table.c.until_revision.is_(None),
                *(table.c[name] == bindparam(f"old_{name}") for name in kind.KEY),
            )
            .values(until_revision=bindparam("revision"))
        )

    def read(self, row: Sequence[Any]) -> Fact:
        """The fact in a row of `columns`."""
        values = dict(zip(self._names, row, strict=True))
        for name, decode in self._decoders:
            if values[name] is not None:
                values[name] = decode(values[name])
        return self._kind(**values)

    def write(self, fact: Fact) -> dict[str, Any]:
        """The fact's own columns."""
        values = {name: getattr(fact, name) for name in self._names}
        for name, _ in self._decoders:
            if values[name] is not None:
                values[name] = int(values[name]) if name in BOOLEANS else json.dumps(values[name])
        return values


def _strings(value: str) -> tuple[str, ...]:
    return tuple(json.loads(value))


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(OBJECTS, json.loads),
    **dict.fromkeys(TUPLES, _strings),
    **dict.fromkeys(BOOLEANS, bool),
}
SHAPES: Final = {kind: Shape(kind) for kind in FACT_TABLES}
