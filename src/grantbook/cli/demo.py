"""`grantbook demo`: an organization to try things on, written through the same use-cases as any other.

Each chapter is one transaction, so the revision says which are written; a repeated call goes on from there. Chapters
are dated back, so that `--as-of` has something to show. Keys are made now, with real randomness.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from shlex import quote
from typing import Final

import click

from grantbook import settings
from grantbook.bootstrap import system_clock
from grantbook.cli import demo_world as world
from grantbook.cli import options
from grantbook.cli.config import masked
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_pairs
from grantbook.cli.places import opened
from grantbook.model.errors import Conflict
from grantbook.model.facts import ApiKey, EntityRef, Organization, Principal, Role
from grantbook.model.ids import RandomBytes
from grantbook.model.instants import SECOND
from grantbook.service import departments, entities, grants, keys, members, organizations, roles, rule_permissions
from grantbook.service.desk import Caller, Desk, Writing
from grantbook.service.entities import Draft
from grantbook.service.grants import NewGrant
from grantbook.service.rule_permissions import Permission
from grantbook.settings import Settings

DAY: Final = 24 * 3600 * SECOND
KEY_NAME: Final = "demo"
_OWNER: Final = Caller(user_id=world.OWNER_ID)
_ADDRESS: Final = f"http://127.0.0.1:{Settings().port}/v1/organizations/{world.ORGANIZATION_ID}/access"


@click.command()
@options.database
@options.as_json
def demo(*, database: str | None, as_json: bool) -> int:
    """Make the organization org_demo, if it is not there yet, and a fresh API key for it.

    The key of an earlier call stops working.
    """
    given = settings.load({"database": database})
    with opened(given, may_create=True) as desk:
        was_seeded = seed(desk)
        secret = issue_key(desk)
    made = {"organization_id": world.ORGANIZATION_ID, "user_id": world.OWNER_ID, "api_key": secret}
    if as_json:
        print_json({**made, "was_seeded": was_seeded, "requests": requests()})
        return Exit.DONE
    made["name"] = f"{world.ORGANIZATION_NAME}, {'made' if was_seeded else 'already there; earlier demo keys are off'}"
    print_pairs(list(made.items()))
    click.echo("\nThe key is shown this once. Start the server, then ask it something in another terminal:\n")
    where = "" if given.database == Settings().database else f" --database {quote(masked(given.database))}"
    click.echo(f"  grantbook serve{where}\n")
    click.echo("  export GRANTBOOK_API_KEY=<api_key>")
    for request in requests():
        click.echo(f"  {request}")
    click.echo(f"\nOr without a server:\n\n  grantbook why usr_felix write vector_store vs_incidents{where}")
    return Exit.DONE


def seed(desk: Desk) -> bool:
    """Write the chapters that are missing, and say whether there were any.

    Raises Conflict(organization_id) where an organization of that id is not the demo.
    """
    written = desk.store.head(world.ORGANIZATION_ID).revision
    if written:
        with desk.reading(world.ORGANIZATION_ID, _OWNER) as reading:
            present = reading.snapshot.find(Organization, world.ORGANIZATION_ID)
        if present is None or present.created_by != world.OWNER_ID:
            raise Conflict("This organization is not the demo", organization_id=world.ORGANIZATION_ID)
    missing = CHAPTERS[written:]
    for number, (days_ago, write) in enumerate(missing, written):
        with desk.writing(world.ORGANIZATION_ID, _OWNER) as writing:
            chapter = Writing(desk, writing.book, _OWNER)
            chapter.random = _numbered(number * 1000 + 1)
            write(chapter)
    return bool(missing)
