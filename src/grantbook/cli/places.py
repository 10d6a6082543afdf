"""Where a command works: a database, one of its organizations, and on whose behalf."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from shlex import quote
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import click

from grantbook import settings
from grantbook.bootstrap import load_vocabulary, open_desk, require_database, system_clock
from grantbook.cli import options
from grantbook.cli.config import masked
from grantbook.model.errors import ConfigurationError, NotFound
from grantbook.model.ids import RandomBytes
from grantbook.model.instants import Clock, Instant
from grantbook.service import gates
from grantbook.service.desk import SYSTEM, Caller, Desk, Reading, Writing, again_if_aborted
from grantbook.service.values import optional_text, valid_id
from grantbook.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

_SHOWN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One organization of an open book, and the caller that the command acts as.

    `flags` are those that named it, as a shell reads them: for commands that are shown to be run next.
    """

    desk: Desk
    organization_id: str
    caller: Caller
    flags: str = ""

    def reading(self, *, as_of: Instant | None = None) -> AbstractContextManager[Reading]:
        """One question. See `Desk.reading`."""
        return self.desk.reading(self.organization_id, self.caller, as_of=as_of)

    def writing(self, *, reason: str | None = None) -> AbstractContextManager[Writing]:
        """One change. See `Desk.writing`. Raises ValidationFailed(reason)."""
        return self.desk.writing(self.organization_id, self.caller, reason=optional_text("reason", reason))


def in_organization(command: Callable[Concatenate[Place, P], R]) -> Callable[..., R]:
    """Give the command `--database`, `--vocabulary`, `--organization`, `--as`, and pass it the place that they name."""

    @click.option("--as", "acting_as", type=options.ID, metavar="USER", help="Act with this user's rights.")
    @click.option("--organization", type=options.ID, metavar="ID", help="The organization, if there are several.")
    @options.vocabulary
    @options.database
    @wraps(command)
    def with_place(
        *args: Any,
        database: str | None,
        vocabulary_file: str | None,
        organization: str | None,
        acting_as: str | None,
        **kwargs: Any,
    ) -> R:
        flags = {"database": database, "vocabulary_file": vocabulary_file, "organization": organization}
        given = settings.load(flags)
        with opened(given) as desk:
            place = replace(place_in(desk, given.organization, acting_as), flags=_written(flags))
            return again_if_aborted(command)(place, *args, **kwargs)

    return with_place


def _written(flags: Mapping[str, str | None]) -> str:
    given = {name.removesuffix("_file"): masked(value) for name, value in flags.items() if value is not None}
    return "".join(f" --{name} {quote(value)}" for name, value in given.items())


@contextmanager
def opened(
    given: Settings,
    *,
    may_create: bool = False,
    clock: Clock = system_clock,
    random: RandomBytes = secrets.token_bytes,
) -> Iterator[Desk]:
    """A desk on the database of the settings, closed at the end.

    Raises ConfigurationError where there is none, unless it `may_create` one.
    """
    if given.database == "memory:":
        raise ConfigurationError("a database in memory: ends with the command: use sqlite:///path")
    if not may_create:
        require_database(given.database)
    desk = open_desk(
        given.database,
        vocabulary=load_vocabulary(given.vocabulary_file),
        clock=clock,
        random=random,
        connections=given.connections,
        staleness_ms=given.staleness_ms,
        may_create=may_create,
    )
    try:
        yield desk
    finally:
        desk.close()


def place_in(desk: Desk, organization_id: str | None, acting_as: str | None = None) -> Place:
    """The organization named, or the only one; as an active member of it, or as the operator.

    Raises UsageError where several could be meant, NotFound(organization_id), OrganizationAccessDenied.
    """
    chosen = only_organization(desk) if organization_id is None else valid_id("organization", organization_id)
    if desk.store.head(chosen).revision == 0:
        raise NotFound("The database has no such organization", organization_id=chosen)
    caller = SYSTEM if acting_as is None else Caller(user_id=acting_as)
    with desk.reading(chosen, caller) as reading:
        gates.require_membership(reading)
    return Place(desk=desk, organization_id=chosen, caller=caller)


def only_organization(desk: Desk) -> str:
    """The one that need not be named. Raises UsageError where there are several, or none."""
    found = desk.store.organization_ids()
    if len(found) == 1:
        return found[0]
    if not found:
        raise click.UsageError(
            "The database holds no organization yet: make one with 'grantbook init --name NAME --email EMAIL'."
        )
    listed = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
    raise click.UsageError(
        f"The database holds {len(found)} organizations ({listed}): "
        "choose one with --organization ID or GRANTBOOK_ORGANIZATION."
    )
