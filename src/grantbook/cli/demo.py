"""`grantbook demo`: an organization to try things on, written through the same use-cases as any other.

Each chapter is one transaction, so the revision says which are written; a repeated call goes on from there. Chapters
are dated back, so that `--as-of` has something to show. Keys are made now, with real randomness.
"""

import itertools
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from secrets import token_bytes
from shlex import quote
from shutil import which
from typing import Any, Final

import click

from grantbook import settings
from grantbook.bootstrap import require_free
from grantbook.cli import demo_world as world
from grantbook.cli import options
from grantbook.cli.config import masked
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json
from grantbook.cli.places import opened
from grantbook.model.errors import Conflict
from grantbook.model.facts import ApiKey, EntityRef, Organization, Principal, Role, revised
from grantbook.model.governance import MANAGE_ACCESS, MEMBER
from grantbook.model.ids import RandomBytes
from grantbook.model.instants import SECOND
from grantbook.service import departments, entities, grants, keys, members, organizations, roles, rule_permissions
from grantbook.service.desk import Caller, Desk, Writing
from grantbook.service.entities import Draft
from grantbook.service.grants import NewGrant
from grantbook.service.knowledge import COMPOSITE, FORM
from grantbook.service.rule_permissions import Permission
from grantbook.settings import Settings

DAY: Final = 24 * 3600 * SECOND
KEY_NAME: Final = "demo"
_OWNER: Final = Caller(user_id=world.OWNER_ID)
_ID_BYTES: Final = 16


@click.command()
@options.database
@click.option("--port", type=click.IntRange(1, 65535), help="The port that the requests shown go to [default: 8420].")
@click.option(
    "--before-serving", is_flag=True, help="A server starts next: change nothing where that port is taken already."
)
@options.as_json
def demo(*, database: str | None, port: int | None, before_serving: bool, as_json: bool) -> int:
    """Make the organization org_demo, if it is not there yet, and a fresh API key for it.

    The key of an earlier call stops working.
    """
    given = settings.load({"database": database, "port": port})
    if before_serving:  # else the key of the server that runs there would be off
        require_free(given.host, given.port)
    is_new = seed(given)
    with opened(given) as desk:
        secret = issue_key(desk)
    made = {"organization_id": world.ORGANIZATION_ID, "user_id": world.OWNER_ID, "api_key": secret}
    if as_json:
        print_json({**made, "is_new": is_new, "requests": requests(given.port)})
        return Exit.DONE
    where = "" if given.database == Settings().database else f" --database {quote(masked(given.database))}"
    click.echo(f"{world.ORGANIZATION_NAME} is {'made' if is_new else 'already there; its earlier demo key is off'}.")
    click.echo("Ask it something:\n")
    grantbook = _program()
    click.echo(
        f"  {grantbook} why usr_felix write vector_store vs_incidents --organization {world.ORGANIZATION_ID}{where}"
    )
    if before_serving:
        click.echo("\nOr ask the server", nl=False)
    else:
        listening = "" if given.port == Settings().port else f" --port {given.port}"
        click.echo(f"\nOr start the server:\n\n  {grantbook} serve{where}{listening}\n\nand ask it", nl=False)
    click.echo(" from another terminal. The key is shown this once: only a digest of it is kept.\n")
    click.echo(f"  export GRANTBOOK_API_KEY={secret}")
    for request in requests(given.port):
        click.echo(f"  {request}")
    return Exit.DONE


def _program() -> str:
    """What a shell finds this command by: its name, or else the path that it was called by."""
    called = Path(sys.argv[0])
    return "grantbook" if which("grantbook") or called.name != "grantbook" else quote(str(called))


def requests(port: int) -> list[str]:
    """Commands to try first, with the key in `GRANTBOOK_API_KEY`: a list, and a question with three reasons."""
    address = f"http://127.0.0.1:{port}/v1/organizations/{world.ORGANIZATION_ID}/access"
    question = {
        "user_id": "usr_felix",
        "entity_type": "vector_store",
        "entity_id": "vs_incidents",
        "access_level": "write",
    }
    key = '-H "X-API-Key: $GRANTBOOK_API_KEY"'
    body = f"-H 'Content-Type: application/json' -d '{json.dumps(question)}'"
    return [f"curl -s {address}/grants {key}", f"curl -s {address}/explain {key} {body}"]


def seed(given: Settings) -> bool:
    """Write the chapters that are missing, and say whether there were any.

    Raises Conflict(organization_id) where an organization of that id is not the demo.
    """
    with opened(given, may_create=True) as desk:
        written = _chapters_in(desk)
        now = desk.clock()
    for number, (days_ago, write) in enumerate(CHAPTERS[written:], written):
        clock = partial(int, now - days_ago * DAY)
        with (
            opened(given, clock=clock, random=_numbers(number * 1000 + 1)) as desk,
            desk.writing(world.ORGANIZATION_ID, _OWNER) as writing,
        ):
            write(writing)
    return written < len(CHAPTERS)


def issue_key(desk: Desk) -> str:
    """The secret of a new key; those of earlier calls are deactivated in the same transaction."""
    with desk.writing(world.ORGANIZATION_ID, _OWNER) as writing:
        for key in writing.snapshot.select(ApiKey, {"user_id": world.OWNER_ID}):
            if key.name == KEY_NAME and key.is_active:
                writing.book.replace(key, revised(key, is_active=False), "deactivated")
        _, secret = keys.create(writing, user_id=world.OWNER_ID, name=KEY_NAME)
    return secret


def _chapters_in(desk: Desk) -> int:
    """How many chapters are written: one revision each, before any other."""
    revision = desk.store.head(world.ORGANIZATION_ID).revision
    if revision:
        with desk.reading(world.ORGANIZATION_ID, _OWNER) as reading:
            present = reading.snapshot.find(Organization, world.ORGANIZATION_ID)
        if present is None or present.created_by != world.OWNER_ID:
            raise Conflict("This organization is not the demo", organization_id=world.ORGANIZATION_ID)
    return min(revision, len(CHAPTERS))


def _found(writing: Writing) -> None:
    """The first chapter: people, things and grants."""
    organizations.found(
        writing,
        name=world.ORGANIZATION_NAME,
        owner_email=world.OWNER_EMAIL,
        owner_name=world.OWNER_NAME,
        owner_id=world.OWNER_ID,
    )
    for each in world.DEPARTMENTS:
        departments.create(writing, name=each.name, parent_id=each.parent_id, department_id=each.id)
    for role in world.ROLES:
        roles.create(
            writing,
            name=role.name,
            description=role.description,
            capabilities=role.capabilities,
            role_id=role.id,
        )
    _invite_people(writing)
    for thing in world.THINGS:
        entities.create(writing, _draft(thing), MANAGE_ACCESS)
    for ref, given in world.GRANTS.items():
        grants.create_bulk(writing, EntityRef(*ref), [_grant(writing, each) for each in given])
    for rule_id, given in world.RULE_GRANTS.items():
        wanted = [Permission(target=Principal(*each.grantee), access_level=each.level) for each in given]
        rule_permissions.replace_permissions(writing, rule_id, wanted)


def _change(writing: Writing) -> None:
    """The second chapter: what makes yesterday's answers differ from today's."""
    entities.set_status(writing, EntityRef(*world.LATER_ARCHIVED), "archived")
    members.set_state(writing, world.LATER_DEACTIVATED, "deactivated")
    ref, grantee = EntityRef(*world.LATER_REVOKED[0]), Principal(*world.LATER_REVOKED[1])
    grants.revoke(writing, grants.live_grants(writing, ref, [grantee])[grantee].id)


CHAPTERS: Final[tuple[tuple[int, Callable[[Writing], None]], ...]] = (
    (world.FOUNDED_DAYS_AGO, _found),
    (world.LATER_DAYS_AGO, _change),
)


def _invite_people(writing: Writing) -> None:
    base = {role.name: role.id for role in writing.snapshot.select(Role) if role.is_base}
    for person in world.PEOPLE:
        members.invite(
            writing,
            email=person.email,
            full_name=person.name,
            role_ids=[base[MEMBER], *(base.get(each, each) for each in person.roles)],
            department_ids=person.departments,
            is_active=person.is_active,
            user_id=person.id,
        )


def _draft(thing: world.Thing) -> Draft:
    is_rule = thing.type == world.RULE
    attributes: dict[str, Any] = (
        {"content" if is_rule else "description": thing.description} if thing.description else {}
    )
    if thing.holds:
        attributes[FORM] = COMPOSITE
    return Draft(
        ref=EntityRef(thing.type, thing.id),
        name=thing.name,
        owner=Principal(*thing.owner),
        access_mode=thing.access_mode,
        targets=thing.targets,
        attributes=attributes,
        containers=[EntityRef(world.SLICE, each) for each in thing.within],
        members=[EntityRef(world.SLICE, each) for each in thing.holds],
    )


def _grant(writing: Writing, given: world.Given) -> NewGrant:
    return NewGrant(
        grantee=Principal(*given.grantee),
        access_level=given.level,
        starts_at=None if given.starts is None else writing.at + given.starts * DAY,
        expires_at=None if given.expires is None else writing.at + given.expires * DAY,
        reason=given.reason,
    )


def _numbers(first: int) -> RandomBytes:
    """Not random: the demo's grants have the same ids everywhere, so that the documentation can name them.

    What is longer than an id is a secret, and random.
    """
    numbers = itertools.count(first)
    return lambda length: next(numbers).to_bytes(length, "big") if length <= _ID_BYTES else token_bytes(length)
