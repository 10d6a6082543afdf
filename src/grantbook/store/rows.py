"""Facts as rows and back."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from grantbook.model.facts import Fact
from grantbook.store.port import Change
from grantbook.store.tables import BOOLEANS, FACT_TABLES, OBJECTS, TUPLES


class Shape:
    """How one kind of fact lies in its table: its columns are its fields, in order."""

    def __init__(self, kind: type[Fact]) -> None:
        self._kind = kind
        self.names = kind.__struct_fields__
        self._decoders = tuple((name, _DECODERS[name]) for name in self.names if name in _DECODERS)
        self._encoded = tuple(
            (position, int if name in BOOLEANS else _json)
            for position, name in enumerate(self.names)
            if name in _DECODERS
        )

    def read(self, row: Sequence[Any]) -> Fact:
        """The fact in a row."""
        values = dict(zip(self.names, row, strict=True))
        for name, decode in self._decoders:
            if values[name] is not None:
                values[name] = decode(values[name])
        return self._kind(**values)

    def write(self, fact: Fact) -> Sequence[Any]:
        """The row of a fact, in the order of `names`."""
        row = msgspec.structs.astuple(fact)
        if not self._encoded:
            return row
        values = list(row)
        for position, encode in self._encoded:
            if values[position] is not None:
                values[position] = encode(values[position])
        return values


def change_of(row: Sequence[Any]) -> Change:
    """The change in a row of its columns."""
    return Change(*row)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_STRINGS: Final = msgspec.json.Decoder(tuple[str, ...])


def _strings(value: str) -> tuple[str, ...]:
    return _STRINGS.decode(value)


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(OBJECTS, msgspec.json.Decoder(dict[str, Any]).decode),
    **dict.fromkeys(TUPLES, _strings),
    **dict.fromkeys(BOOLEANS, bool),
}
SHAPES: Final = {kind: Shape(kind) for kind in FACT_TABLES}
