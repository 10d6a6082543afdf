"""Points in time: whole microseconds since 1970-01-01T00:00:00Z, as `int`.

Integers compare exactly and look the same in every store. Text and `datetime` exist only at the edges.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

Instant = int
Clock = Callable[[], Instant]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
SECOND: Final = 1_000_000
MAX_INSTANT: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def from_datetime(value: datetime) -> Instant:
    """The instant of an aware datetime. Raises ValueError for a naive one: its zone would be a guess."""
    if value.tzinfo is None:
        raise ValueError("a time needs a zone, such as 2026-04-15T10:00:00Z")
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def to_datetime(value: Instant) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=value)


def to_text(value: Instant) -> str:
    """ISO 8601 UTC with `Z`; a fraction of 3 or 6 digits only where the instant has one."""
    spec = "seconds" if value % SECOND == 0 else "milliseconds" if value % 1000 == 0 else "microseconds"
    return to_datetime(value).replace(tzinfo=None).isoformat(timespec=spec) + "Z"
