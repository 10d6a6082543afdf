"""API keys: create, list, rotate, pause, unpause, delete. A secret is shown once, by the command that makes it."""

from typing import Final

import click

from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_page, print_secret
from grantbook.cli.places import Place, in_organization
from grantbook.http.platform import api_keys_rendering as rendering
from grantbook.http.platform.rendering import Json
from grantbook.model.facts import ApiKey
from grantbook.model.instants import Instant
from grantbook.service import keys as use_cases

COLUMNS: Final = ("id", "user_id", "key_name", "key_prefix", "scopes", "state", "expires_at", "last_used_at")


@click.group()
def keys() -> None:
    """What opens the server: create, list, rotate, pause, unpause, delete API keys."""


@keys.command()
@click.argument("user_id", metavar="USER_ID", type=options.ID)
@click.argument("name", metavar="NAME")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(use_cases.SCOPES),
    multiple=True,
    help="What it may do, once for each; without it, all that its user may do.",
)
@click.option("--expires-at", type=options.TIME, metavar="TIME", help="Until when; without it, until deleted.")
@options.as_json
@in_organization
def create(
    place: Place, *, user_id: str, name: str, scopes: tuple[str, ...], expires_at: Instant | None, as_json: bool
) -> int:
    """Make a key that acts as the user, and show its secret, this once."""
    with place.writing() as writing:
        key, secret = use_cases.create(
            writing, user_id=user_id, name=name, scopes=scopes or None, expires_at=expires_at
        )
        document = rendering.new_api_key(writing, key, secret)
    _show_secret(document, as_json=as_json)
    return Exit.DONE


@keys.command("list")
@options.skip
@options.limit
@options.as_json
@in_organization
def list_(place: Place, *, skip: int, limit: int, as_json: bool) -> int:
    """Keys that were not deleted, oldest first, also those that open nothing. Of the secret only how it begins."""
    with place.reading() as reading:
        found = use_cases.list_keys(reading, skip=skip, limit=limit)
        items = rendering.api_keys(reading, found.items)
        states = [_state(key, reading.at) for key in found.items]
    if as_json:
        print_json({"keys": items, "total": found.total, "skip": skip, "limit": limit, "has_more": found.has_more})
        return Exit.DONE
    told = ({**item, "scopes": _scopes(item), "state": state} for item, state in zip(items, states, strict=True))
    rows = [[each[column] for column in COLUMNS] for each in told]
    print_page(COLUMNS, rows, "keys", skip=skip, total=found.total, has_more=found.has_more)
    return Exit.DONE


@keys.command()
@click.argument("key_id", metavar="KEY_ID", type=options.ID)
@options.as_json
@in_organization
def rotate(place: Place, *, key_id: str, as_json: bool) -> int:
    """Put a new key in the place of this one, which opens nothing from the same moment on, and show its secret, this
    once.

    It opens the organizations that were made with the old one, unless --as names somebody.
    """
    with place.writing() as writing:
        key, secret = use_cases.rotate(writing, key_id)
        document = rendering.new_api_key(writing, key, secret)
    _show_secret(document, as_json=as_json)
    return Exit.DONE


@keys.command()
@click.argument("key_id", metavar="KEY_ID", type=options.ID)
@options.as_json
@in_organization
def pause(place: Place, *, key_id: str, as_json: bool) -> int:
    """Let a key open nothing until it is unpaused."""
    return _switch(place, key_id, "pause", as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="KEY_ID", type=options.ID)
@options.as_json
@in_organization
def unpause(place: Place, *, key_id: str, as_json: bool) -> int:
    """End the pause of a key."""
    return _switch(place, key_id, "unpause", as_json=as_json)


@keys.command()
@click.argument("key_id", metavar="KEY_ID", type=options.ID)
@options.as_json
@in_organization
def delete(place: Place, *, key_id: str, as_json: bool) -> int:
    """End a key for good. Its history stays; doing it again is no error."""
    with place.writing() as writing:
        use_cases.delete(writing, key_id)
    if as_json:
        print_json({"id": key_id})
    else:
        click.echo(f"deleted: {key_id}")
    return Exit.DONE


def _switch(place: Place, key_id: str, how: str, *, as_json: bool) -> Exit:
    with place.writing() as writing:
        (document,) = rendering.api_keys(writing, [use_cases.switch(writing, key_id, how)])
    if as_json:
        print_json(document)
    else:
        click.echo(f"{use_cases.SWITCHES[how].action}: {key_id}")
    return Exit.DONE


def _show_secret(document: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        print_secret([(name, document[name]) for name in ("id", "key")])


def _state(key: ApiKey, at: Instant) -> str:
    """Why it opens nothing, or that it is active; the first of the reasons that a server gives."""
    if key.expires_at is not None and key.expires_at <= at:
        return "expired"
    if not key.is_active:
        return "deactivated"
    return "paused" if key.is_paused else "active"


def _scopes(item: Json) -> str:
    return "all" if item["scopes"] is None else ", ".join(item["scopes"]) or "none"
