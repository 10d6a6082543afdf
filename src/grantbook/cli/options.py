"""Arguments and options that several commands share, and how their values are read."""

from datetime import datetime
from typing import Any, Final

import click

from grantbook.model.facts import EVERYONE
from grantbook.model.ids import is_id
from grantbook.model.instants import MAX_INSTANT, Instant, from_datetime
from grantbook.model.limits import DEFAULT_PAGE, MAX_PAGE, MAX_SKIP


class IdType(click.ParamType[str]):
    """A well-formed id, refused here so that no store ever sees anything else."""

    name = "id"

    def __init__(self, *, prefix: str = "", everyone: bool = False) -> None:
        self._prefix = prefix
        self._everyone = everyone

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if is_id(value, self._prefix) or (self._everyone and value == EVERYONE.id):
            return str(value)
        wanted = f"'{self._prefix}'" if self._prefix else "a lower-case prefix and '_'"
        return self.fail(f"an id is {wanted} and 1 to 64 letters, digits, '_' or '-'", param, ctx)


class TimeType(click.ParamType[Instant]):
    """ISO 8601 with a zone, as an instant. A naive time is refused: its zone would be a guess."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Instant:
        if isinstance(value, int):
            return value
        try:
            instant = from_datetime(datetime.fromisoformat(value))
        except ValueError:
            return self.fail("a time is ISO 8601 with a zone, such as 2026-04-15T10:00:00Z", param, ctx)
        if instant > MAX_INSTANT:
            return self.fail("a time is in the year 9999 at the latest", param, ctx)
        return instant


class TimeOrType(TimeType):
    """A time, or a word instead."""

    def __init__(self, word: str) -> None:
        self._word = word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == self._word else super().convert(value, param, ctx)


ID: Final = IdType()
GRANTEE_ID: Final = IdType(everyone=True)
ORGANIZATION_ID: Final = IdType(prefix="org_")
USER_ID: Final = IdType(prefix="usr_")
TIME: Final = TimeType()
START: Final = TimeOrType("now")
END: Final = TimeOrType("never")

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, in the words of the API.")
as_of = click.option("--as-of", type=TIME, metavar="TIME", help="Answer for this time, such as 2026-04-15T10:00:00Z.")
skip = click.option("--skip", type=click.IntRange(0, MAX_SKIP), default=0, help="How many to leave out.")
limit = click.option(
    "--limit",
    type=click.IntRange(1, MAX_PAGE),
    default=DEFAULT_PAGE,
    show_default=True,
    help="How many to show at most.",
)
database = click.option("--database", metavar="URL", help="The database, such as sqlite:///grantbook.db.")
vocabulary = click.option(
    "--vocabulary", "vocabulary_file", metavar="FILE", help="A TOML file with further entity types."
)
