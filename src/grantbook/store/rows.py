"""Facts as rows and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from grantbook.model.facts import Fact
from grantbook.store.port import Change
from grantbook.store.tables import FACT_TABLES, types_of


class Shape:
    """How one kind of fact lies in its table: its columns are its fields, in order."""

    def __init__(self, kind: type[Fact]) -> None:
        self.names = kind.__struct_fields__
        coded = {name: of for name, (of, _) in types_of(kind).items() if of in _DECODERS}
        self.read: Callable[[Sequence[Any]], Fact] = _reader(kind, coded)
        """The fact in a row."""
        self._encoded = tuple((self.names.index(name), int if of is bool else _json) for name, of in coded.items())

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


def _reader(kind: type[Fact], coded: Mapping[str, Any]) -> Callable[[Sequence[Any]], Fact]:
    """Written out for the kind, field by field: a dictionary of them would cost four times as much for each row."""
    arguments = ", ".join(
        f"{name}={f'decode_{name}(row[{position}])' if name in coded else f'row[{position}]'}"
        for position, name in enumerate(kind.__struct_fields__)
    )
    names = {f"decode_{name}": _unless_none(_DECODERS[of]) for name, of in coded.items()}
    read: Callable[[Sequence[Any]], Fact] = eval(f"lambda row: kind({arguments})", {"kind": kind, **names})  # noqa: S307 - our own fields
    return read


def _unless_none(decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else decode(value)


def change_of(row: Sequence[Any]) -> Change:
    """The change in a row of its columns."""
    return Change(*row)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_STRINGS: Final = msgspec.json.Decoder(tuple[str, ...])


def _strings(value: str) -> tuple[str, ...]:
    return _STRINGS.decode(value)


_DECODERS: Final[dict[Any, Callable[[Any], Any]]] = {
    Mapping: msgspec.json.Decoder(dict[str, Any]).decode,
    tuple: _strings,
    bool: bool,
}
"""By the class of what a column does not hold as it is."""
SHAPES: Final = {kind: Shape(kind) for kind in FACT_TABLES}
