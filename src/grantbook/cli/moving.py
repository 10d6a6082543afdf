"""`grantbook export --history`, and what `grantbook import` does with such a file: organizations as they are, with
every version of every fact, the history, and the digests of keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO, Final, NamedTuple

import click
from rich.progress import Progress

from grantbook.cli import history_lines
from grantbook.cli.output import print_json
from grantbook.model.errors import NotFound, ValidationFailed
from grantbook.service import moves
from grantbook.service.desk import Desk

_SECRET: Final = "keep it as a secret: whoever restores it has a book in which the keys of this one work"  # noqa: S105


class Restored(NamedTuple):
    """An organization of the file, and whether it is new in this book."""

    organization_id: str
    revision: int
    restored: bool


def write(desk: Desk, organization_id: str | None, out: BinaryIO, progress: Progress) -> dict[str, int]:
    """One organization, or all of them, and the revision that each is written up to.

    Raises NotFound(organization_id), UsageError where there are none.
    """
    chosen = desk.store.organization_ids() if organization_id is None else [organization_id]
    if not chosen:
        raise click.UsageError("The database holds no organization yet.")
    written: dict[str, int] = {}
    for each in chosen:
        with desk.store.archive(each) as archive:
            if archive.head.revision == 0:
                raise NotFound("The database has no such organization", organization_id=each)
            task = progress.add_task(each, total=archive.count())
            for line in progress.track(history_lines.written(archive), task_id=task):
                out.write(line)
            written[each] = archive.head.revision
    return written


def show_written(written: Mapping[str, int]) -> None:
    """What is in the file, once it is there."""
    for organization_id, revision in written.items():
        click.echo(f"{organization_id}: exported with its history up to revision {revision}", err=True)
    click.echo(_SECRET, err=True)


def restore(desk: Desk, organization_id: str | None, lines: Iterable[bytes]) -> list[Restored]:
    """Every organization of the file, or the one that is chosen; each as a whole or not at all.

    Raises as `history_lines.read` and `moves.restore`, and ValidationFailed(organization) where the file has not the
    one that is chosen.
    """
    found: list[Restored] = []
    for header, pieces in history_lines.read(lines):
        if organization_id in {None, header.organization_id}:
            is_new = moves.restore(desk.store, header.organization_id, header.head, pieces)
            found.append(Restored(header.organization_id, header.head.revision, is_new))
    if not found:
        raise ValidationFailed("organization", f"the file has no organization {organization_id}")
    return found


def show(found: Sequence[Restored], *, as_json: bool) -> None:
    """What came of it."""
    if as_json:
        print_json({"organizations": [each._asdict() for each in found]})
        return
    for organization_id, revision, restored in found:
        how = "restored with its history" if restored else "was there already with its history"
        click.echo(f"{organization_id}: {how} up to revision {revision}")
