"""`grantbook verify`: whether a book agrees with itself."""

from collections.abc import Iterator, Sequence
from functools import partial

import click

from grantbook import settings
from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_table
from grantbook.cli.places import opened
from grantbook.cli.progress import progress
from grantbook.http.platform.rendering import Json
from grantbook.model.errors import NotFound
from grantbook.service import verification
from grantbook.service.desk import Desk
from grantbook.service.findings import Findings


@click.command()
@click.option("--organization", type=options.ID, metavar="ID", help="Only this organization.")
@options.database
@options.as_json
def verify(*, organization: str | None, database: str | None, as_json: bool) -> int:
    """Check that every organization's book agrees with itself. Exit code 3 where one does not.

    \b
    The history: each change has the hash that follows from it and the one
      before, the last one is the head, revisions have no gap and the times
      of their changes.
    The facts: every version of every fact is what the history tells, from
      and until the revision that it tells; none is missing, none is more.
    What they name: entities, members, departments and roles are there (users
      who own something, or are granted a rule, may be from elsewhere); keys,
      rules, members and invitations are found by what leads to them.

    It reads one state, in bounded memory; others may go on writing.
    """
    with opened(settings.load({"database": database})) as desk:
        found = list(_verified(desk, organization))
    if as_json:
        print_json({"organizations": [_document(each) for each in found]})
    else:
        _show(found)
    for each in found:
        each.raise_any()
    return Exit.DONE


def _verified(desk: Desk, organization_id: str | None) -> Iterator[Findings]:
    chosen = desk.store.organization_ids() if organization_id is None else [organization_id]
    for each in chosen:
        with desk.store.archive(each) as archive:
            total = archive.count()
            if archive.head.revision == 0:
                raise NotFound("The database has no such organization", organization_id=each)
        with progress() as shown:
            task = shown.add_task(each, total=total)
            yield verification.verify(desk, each, partial(shown.advance, task))


def _document(found: Findings) -> Json:
    return {
        "organization_id": found.organization_id,
        "revision": found.revision,
        "is_intact": found.is_intact,
        "changes": found.changes if found.is_intact else None,
        "versions": found.versions,
        "problems": [problem._asdict() for problem in found.problems],
        "has_more_problems": found.has_more,
    }


def _show(found: Sequence[Findings]) -> None:
    rows = [
        (each.organization_id, *(("intact", str(each.changes)) if each.is_intact else ("DAMAGED", "")))
        for each in found
    ]
    print_table(("organization_id", "history", "changes"), rows)
    problems = [(each.organization_id, *problem) for each in found for problem in each.problems]
    if problems:
        click.echo()
        print_table(("organization_id", "kind", "key", "problem"), problems)
    for each in found:
        if each.has_more:
            click.echo(f"{each.organization_id}: and more than these")
