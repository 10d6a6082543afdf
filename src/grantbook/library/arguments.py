"""What an application passes to the library, checked before anything is done: Python itself would find out late, half
of the way in, and in words about something else."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import wraps
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, get_args, get_type_hints

from msgspec import UnsetType

from grantbook.model.errors import ValidationFailed
from grantbook.model.instants import Instant, from_datetime

Named = tuple[str, str]
"""The type and the id of somebody or something."""
P = ParamSpec("P")
R = TypeVar("R")
Class = TypeVar("Class", bound=type)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _are(is_one: Callable[[object], bool]) -> Callable[[object], bool]:
    """Several of them; a text is none, though it has letters."""
    return lambda value: isinstance(value, Collection) and not isinstance(value, str) and all(map(is_one, value))


_TEXTS: Final = _are(_is_text), 'several texts, such as ["one", "two"]'
_WANTED: Final[Mapping[Any, tuple[Callable[[object], bool], str]]] = {
    str: (_is_text, "a text"),
    int: (_is_whole, "a whole number"),
    bool: (lambda value: isinstance(value, bool), "True or False"),
    datetime: (
        lambda value: isinstance(value, datetime) and value.tzinfo is not None,
        "a datetime with a time zone, such as datetime.now(UTC)",
    ),
    Named: (_is_pair, 'a type and an id, such as ("user", "usr_1")'),
    Sequence[Named]: (_are(_is_pair), 'several types with ids, such as [("user", "usr_1")]'),
    Collection[str]: _TEXTS,
    Sequence[str]: _TEXTS,
    Mapping[str, Any]: (lambda value: isinstance(value, Mapping), "a mapping"),
}
"""By the annotation of a parameter what it takes, and how that is called."""
_ABSENT: Final = (NoneType, UnsetType)


def checked(*, but: Collection[str] = ()) -> Callable[[Class], Class]:
    """For a class whose public methods, `but` some, raise ValidationFailed(parameter) for what is not of its type."""

    def decorate(of: Class) -> Class:
        for name, method in list(vars(of).items()):
            is_public = name == "__init__" or not name.startswith("_")
            if inspect.isfunction(method) and is_public and name not in but:
                setattr(of, name, _checked(method))
        return of

    return decorate


def _checked(method: Callable[P, R]) -> Callable[P, R]:
    signature = inspect.signature(method)
    hints = get_type_hints(method)
    wanted = {name: taken for name in signature.parameters if (taken := _taken(hints.get(name)))}
    if not wanted:
        return method

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in wanted:
                wanted[name].require(name, value)
        return method(*args, **kwargs)

    return call


class _Taken(NamedTuple):
    """What a parameter takes: one of these classes, which say that there is nothing, or what passes, in words."""

    absent: tuple[type, ...]
    is_one: Callable[[object], bool]
    words: str

    def require(self, name: str, value: object) -> None:
        """Raises ValidationFailed(name) for anything else."""
        if not isinstance(value, self.absent) and not self.is_one(value):
            raise ValidationFailed(name, f"{name} must be {self.words}")


def _taken(hint: Any) -> _Taken | None:
    """What is annotated so takes; None where that is not known here."""
    alternatives = [*get_args(hint)] if isinstance(hint, UnionType) else [hint]
    absent = tuple(each for each in alternatives if each in _ABSENT)
    wanted = [each for each in alternatives if each not in absent]
    return _Taken(absent, *_WANTED[wanted[0]]) if len(wanted) == 1 and wanted[0] in _WANTED else None


_TEXT: Final = _Taken((), *_WANTED[str])
_MAYBE_TIME: Final = _Taken((NoneType,), *_WANTED[datetime])


def require_question(as_of: object, **texts: object) -> None:
    """Raises ValidationFailed for what is no time, if it is anything, or no text."""
    _MAYBE_TIME.require("as_of", as_of)
    for name, value in texts.items():
        _TEXT.require(name, value)


def instant_of(value: datetime | None) -> Instant | None:
    """The time as the book keeps it."""
    return None if value is None else from_datetime(value)
