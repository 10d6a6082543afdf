"""Questions about access: may this user (check), why or why not (why), who reaches it (who), what is reached (what)."""

import click

from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.explaining import tree_of
from grantbook.cli.output import print_json, print_table, print_tree
from grantbook.cli.places import Place, in_organization
from grantbook.http.platform import rendering
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.instants import Instant, to_text
from grantbook.model.resolution import Access
from grantbook.service import decisions, names
from grantbook.service.decisions import Check, Decision
from grantbook.service.names import NO_NAME


@click.command()
@click.argument("user_id", metavar="USER", type=options.ID)
@click.argument("access_level", metavar="LEVEL")
@click.argument("entity_type", metavar="TYPE")
@click.argument("entity_id", metavar="ID", type=options.ID)
@options.as_of
@options.as_json
@in_organization
def check(
    place: Place,
    *,
    user_id: str,
    access_level: str,
    entity_type: str,
    entity_id: str,
    as_of: Instant | None,
    as_json: bool,
) -> int:
    """May USER do LEVEL on the entity? Exit code 0 for yes, 1 for no."""
    question = Check(user_id=user_id, entity=EntityRef(entity_type, entity_id), access_level=access_level)
    with place.reading(as_of=as_of) as reading:
        answer = decisions.check(reading, question)
        document = rendering.decision(reading, answer)
    if as_json:
        print_json(document)
    else:
        has = f"has {answer.access_level}" if answer.access_level else "has no access"
        click.echo(f"{'allowed' if answer.allowed else 'denied'}: {user_id} {has} on {entity_type} {entity_id}")
    return _exit(answer)


@click.command()
@click.argument("user_id", metavar="USER", type=options.ID)
@click.argument("access_level", metavar="LEVEL")
@click.argument("entity_type", metavar="TYPE")
@click.argument("entity_id", metavar="ID", type=options.ID)
@options.as_of
@options.as_json
@in_organization
def why(
    place: Place,
    *,
    user_id: str,
    access_level: str,
    entity_type: str,
    entity_id: str,
    as_of: Instant | None,
    as_json: bool,
) -> int:
    """Why may USER do LEVEL on the entity, or why not? Every path, or what would allow it."""
    question = Check(user_id=user_id, entity=EntityRef(entity_type, entity_id), access_level=access_level)
    with place.reading(as_of=as_of) as reading:
        answer = decisions.explain(reading, question)
        if as_json:
            print_json(rendering.explanation(reading, question.entity, answer))
        else:
            print_tree(tree_of(reading, question, answer, place.flags))
    return _exit(answer)


@click.command()
@click.argument("entity_type", metavar="TYPE")
@click.argument("entity_id", metavar="ID", type=options.ID)
@click.option("--level", "access_level", metavar="LEVEL", help="Only those with at least this level.")
@options.as_of
@options.as_json
@in_organization
def who(
    place: Place, *, entity_type: str, entity_id: str, access_level: str | None, as_of: Instant | None, as_json: bool
) -> int:
    """Who reaches the entity, at which level, by which kinds of path?"""
    entity = EntityRef(entity_type, entity_id)
    with place.reading(as_of=as_of) as reading:
        found = decisions.users_of(reading, entity, access_level=access_level)
        if as_json:
            print_json(rendering.users_with_access(reading, entity, found))
            return Exit.DONE
        known = names.of_principals(reading, {Principal("user", user_id) for user_id in found})
    rows = [
        (user_id, known.get(Principal("user", user_id), NO_NAME).name, access.level, _kinds(access))
        for user_id, access in found.items()
    ]
    print_table(("user_id", "name", "access_level", "paths"), rows)
    return Exit.DONE


@click.command()
@click.argument("user_id", metavar="USER", type=options.ID)
@click.option("--type", "entity_type", metavar="TYPE", help="Only entities of this type.")
@click.option("--level", "access_level", metavar="LEVEL", help="Only those reached with at least this level.")
@options.as_of
@options.as_json
@in_organization
def what(
    place: Place,
    *,
    user_id: str,
    entity_type: str | None,
    access_level: str | None,
    as_of: Instant | None,
    as_json: bool,
) -> int:
    """What does USER reach, at which level, by which kinds of path?"""
    with place.reading(as_of=as_of) as reading:
        found = decisions.entities_of(reading, user_id, entity_type=entity_type, access_level=access_level)
        if as_json:
            items = rendering.reached_entities(reading, found)
            print_json({"user_id": user_id, "resolved_at": to_text(reading.at), "entities": items})
            return Exit.DONE
        known = names.of_entities(reading, found)
    rows = [(ref.type, ref.id, known.get(ref), access.level, _kinds(access)) for ref, access in found.items()]
    print_table(("entity_type", "entity_id", "name", "access_level", "paths"), rows)
    return Exit.DONE


def _exit(answer: Decision) -> Exit:
    return Exit.DONE if answer.allowed else Exit.DENIED


def _kinds(access: Access) -> str:
    return ", ".join(dict.fromkeys(path.type for path in access.paths))
