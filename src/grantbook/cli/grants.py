"""Grants: list, add, update, revoke. Grants on rules go the rules' own way."""

from typing import Final

import click
from msgspec import UNSET, UnsetType

from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_page
from grantbook.cli.places import Place, in_organization
from grantbook.http.platform import rendering
from grantbook.http.platform.rendering import Json
from grantbook.model.errors import NotFound, ValidationFailed
from grantbook.model.facts import EntityRef, Grant, Principal
from grantbook.model.instants import Instant
from grantbook.service import grants as use_cases
from grantbook.service import rule_permissions
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import NewGrant
from grantbook.service.listing import Page
from grantbook.service.rule_permissions import RULE, Permission

COLUMNS: Final = (
    "id", "entity_type", "entity_id", "grantee_type", "grantee_id", "grantee_name", "access_level", "granted_by",
    "starts_at", "expires_at",
)  # fmt: skip


@click.group()
def grants() -> None:
    """Who was given what: list, add, update, revoke."""


@grants.command("list")
@click.option("--type", "entity_type", metavar="TYPE", help="Only grants on entities of this type.")
@click.option("--id", "entity_id", type=options.ID, metavar="ID", help="Only grants on this entity.")
@click.option("--grantee-type", metavar="TYPE", help="Only grants to a user, department, role or organization.")
@click.option("--grantee-id", type=options.GRANTEE_ID, metavar="ID", help="Only grants to this one.")
@options.skip
@options.limit
@options.as_json
@in_organization
def list_(
    place: Place,
    *,
    entity_type: str | None,
    entity_id: str | None,
    grantee_type: str | None,
    grantee_id: str | None,
    skip: int,
    limit: int,
    as_json: bool,
) -> int:
    """Grants that were not revoked, oldest first, also those that have expired or not begun. For a rule, name it with
    --type rule --id ID.
    """
    with place.reading() as reading:
        if entity_type == RULE:
            found = _page_of_rule(reading, entity_id, grantee_type, grantee_id, skip, limit)
        else:
            found = use_cases.list_grants(
                reading,
                entity_type=entity_type,
                entity_id=entity_id,
                grantee_type=grantee_type,
                grantee_id=grantee_id,
                skip=skip,
                limit=limit,
            )
        items = rendering.grants(reading, found.items)
    if as_json:
        page = {"items": items, "total": found.total, "skip": skip, "limit": limit, "has_more": found.has_more}
        print_json(page)
        return Exit.DONE
    rows = [[item[column] for column in COLUMNS] for item in items]
    print_page(COLUMNS, rows, "grants", skip=skip, total=found.total, has_more=found.has_more)
    return Exit.DONE


@grants.command()
@click.argument("entity_type", metavar="TYPE")
@click.argument("entity_id", metavar="ID", type=options.ID)
@click.argument("grantee_type", metavar="GRANTEE_TYPE")
@click.argument("grantee_id", metavar="GRANTEE_ID", type=options.GRANTEE_ID)
@click.argument("access_level", metavar="LEVEL")
@click.option("--starts-at", type=options.TIME, metavar="TIME", help="From when; without it, from now.")
@click.option("--expires-at", type=options.TIME, metavar="TIME", help="Until when; without it, until revoked.")
@click.option("--reason", metavar="TEXT", help="Why, for the record.")
@options.as_json
@in_organization
def add(
    place: Place,
    *,
    entity_type: str,
    entity_id: str,
    grantee_type: str,
    grantee_id: str,
    access_level: str,
    starts_at: Instant | None,
    expires_at: Instant | None,
    reason: str | None,
    as_json: bool,
) -> int:
    """Give LEVEL on the entity to a user, department, role or organization. The same again changes nothing.

    A rule can also be given to all ('*'), and takes neither a window nor a reason.
    """
    new = NewGrant(
        grantee=Principal(grantee_type, grantee_id),
        access_level=access_level,
        starts_at=starts_at,
        expires_at=expires_at,
        reason=reason,
    )
    with place.writing() as writing:
        if entity_type == RULE:
            grant, is_new = _add_to_rule(writing, entity_id, new)
        else:
            grant, is_new = use_cases.create(writing, EntityRef(entity_type, entity_id), new)
        (document,) = rendering.grants(writing, [grant])
    _confirm(document, "granted" if is_new else "there already", as_json=as_json)
    return Exit.DONE


@grants.command()
@click.argument("grant_id", metavar="GRANT_ID", type=options.ID)
@click.argument("access_level", metavar="[LEVEL]", required=False)
@click.option("--starts-at", type=options.START, metavar="TIME", help="From when; 'now' is from now on.")
@click.option("--expires-at", type=options.END, metavar="TIME", help="Until when; 'never' is until revoked.")
@options.as_json
@in_organization
def update(
    place: Place,
    *,
    grant_id: str,
    access_level: str | None,
    starts_at: Instant | str | None,
    expires_at: Instant | str | None,
    as_json: bool,
) -> int:
    """Set another level for a grant, higher or lower, or another window. What is not given stays.

    Not for grants on rules: revoke them, and add them anew.
    """
    if access_level is None and starts_at is None and expires_at is None:
        raise click.UsageError("nothing to update: give LEVEL, --starts-at or --expires-at")
    with place.writing() as writing:
        grant = use_cases.update(
            writing, grant_id, access_level, starts_at=_moment(starts_at), expires_at=_moment(expires_at)
        )
        (document,) = rendering.grants(writing, [grant])
    _confirm(document, "updated", as_json=as_json)
    return Exit.DONE


@grants.command()
@click.argument("grant_id", metavar="GRANT_ID", type=options.ID)
@click.option("--reason", metavar="TEXT", help="Why, for the record.")
@options.as_json
@in_organization
def revoke(place: Place, *, grant_id: str, reason: str | None, as_json: bool) -> int:
    """End a grant. Its history stays; with --json, the grant as it was."""
    with place.writing(reason=reason) as writing:
        (document,) = rendering.grants(writing, [_revoke(writing, grant_id)])
    if as_json:
        print_json(document)
    else:
        click.echo(f"revoked: {grant_id}")
    return Exit.DONE


def _confirm(document: Json, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo(
            "{done}: {access_level} on {entity_type} {entity_id} to {grantee_type} {grantee_id}, {id}".format(
                done=done, **document
            )
        )


def _revoke(writing: Writing, grant_id: str) -> Grant:
    """The grant as it was. Raises NotFound(grant_id), PermissionDenied."""
    grant = writing.snapshot.find(Grant, grant_id)
    if grant is None:
        raise NotFound("Access grant not found", grant_id=grant_id)
    if grant.entity_type == RULE:
        rule_permissions.revoke_permission(writing, grant.entity_id, grant.grantee)
    else:
        use_cases.revoke(writing, grant_id)
    return grant


def _add_to_rule(writing: Writing, rule_id: str, new: NewGrant) -> tuple[Grant, bool]:
    """The grant, made or raised, and whether that changed anything."""
    if (new.starts_at, new.expires_at, new.reason) != (None, None, None):
        raise ValidationFailed(
            "starts_at", "starts_at, expires_at and reason are not for grants on rules: leave them out"
        )
    before = writing.snapshot.select(Grant, {"entity_type": RULE, "entity_id": rule_id})
    wanted = Permission(target=new.grantee, access_level=new.access_level)
    grant = rule_permissions.grant_permission(writing, rule_id, wanted)
    return grant, grant not in before


def _page_of_rule(
    reading: Reading, rule_id: str | None, grantee_type: str | None, grantee_id: str | None, skip: int, limit: int
) -> Page[Grant]:
    if rule_id is None:
        raise ValidationFailed("entity_id", "entity_id is needed for grants on rules: add --id RULE_ID")
    found = [
        grant
        for grant in rule_permissions.list_permissions(reading, rule_id)
        if grantee_type in {None, grant.grantee_type} and grantee_id in {None, grant.grantee_id}
    ]
    return Page(found[skip : skip + limit], len(found), has_more=skip + limit < len(found))


def _moment(given: Instant | str | None) -> Instant | UnsetType | None:
    """None for a word, such as never; UNSET for what was not given."""
    if given is None:
        return UNSET
    return None if isinstance(given, str) else given
