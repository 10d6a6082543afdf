"""`grantbook export` and `grantbook import`: a whole organization as JSON Lines."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from grantbook import settings
from grantbook.cli import lines, options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json
from grantbook.cli.places import opened, place_in
from grantbook.model.errors import ConfigurationError, Conflict, GrantbookError, ValidationFailed
from grantbook.model.facts import Fact, Organization
from grantbook.model.ids import ORGANIZATION, is_id
from grantbook.service import transfer
from grantbook.service.desk import SYSTEM, Desk
from grantbook.service.lines import Problems
from grantbook.service.transfer import Line

CHUNK: Final = 50_000
"""More lines in a transaction cost memory, fewer cost time: each one rewrites much of the indexes."""
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
STANDARD: Final = "-"


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default=STANDARD)
@click.option("--organization", type=options.ID, metavar="ID", help="The organization, if there are several.")
@options.database
def export(*, file: str, organization: str | None, database: str | None) -> int:
    """Write a whole organization to FILE as JSON Lines, or to stdout: who is in it, what there is, and every grant.

    API keys, invitations and the history stay behind.
    """
    given = settings.load({"database": database, "organization": organization})
    with opened(given) as desk:
        place = place_in(desk, given.organization)
        with place.reading() as reading, _written(file) as out:
            counts = transfer.counts(reading)
            out.write(lines.header(place.organization_id, counts))
            with _progress() as progress:
                task = progress.add_task("facts", total=sum(counts.values()))
                for fact in progress.track(transfer.iterate(reading), task_id=task):
                    out.write(lines.line_of(fact))
    click.echo(f"{sum(counts.values())} facts of {place.organization_id} exported", err=True)
    return Exit.DONE


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--organization", type=options.ORGANIZATION_ID, metavar="ID", help="The organization, if no line names it."
)
@options.database
@options.as_json
def import_(*, file: str, organization: str | None, database: str | None, as_json: bool) -> int:
    """Read an organization, or a part of one, from the JSON Lines of FILE (- for stdin).

    What is there already stays as it is, so an import that was interrupted is finished by running it again. Each part
    of 50,000 lines is there as a whole or not at all.
    """
    given = settings.load({"database": database, "organization": organization})
    with _read(file) as source, opened(given, may_create=True) as desk, _progress() as progress:
        task = progress.add_task("lines", total=_size(source))
        arrival = Arrival(desk, given.organization, reason=f"import of {Path(file).name}")
        with desk.store.filling():
            while arrival.take(source):
                progress.update(task, completed=arrival.size)
            progress.update(task, description="indexes")
        arrival.finish()
    if as_json:
        print_json(arrival.told())
    else:
        click.echo("{organization_id}: {added} facts imported, {present} were there already".format(**arrival.told()))
    return Exit.DONE


@dataclass
class Arrival:
    """An import under way: how far it got, and how much of it was new."""

    desk: Desk
    organization_id: str | None
    reason: str
    read: int = 0
    size: int = 0
    facts: int = 0
    added: int = 0
    _announced: int | None = None
    _known: transfer.Known = field(default_factory=transfer.Known)

    def take(self, source: BinaryIO) -> bool:
        """The next part, in one transaction; False after the last. Raises InvalidLines, Conflict."""
        texts = list(islice(iter(lambda: source.readline(MAX_LINE_BYTES + 1), b""), CHUNK))
        if not texts:
            return False
        with _uncollected():
            self._take(texts)
        return True

    def _take(self, texts: list[bytes]) -> None:
        found = self._facts(texts)
        if found:
            try:
                self.added += self._add(found, trusts_store=True)
            except Conflict:
                self.added += self._add(found, trusts_store=False)  # to say which line it was
            self.facts += len(found)
        self.read += len(texts)
        self.size += sum(map(len, texts))

    def _add(self, found: list[Line], *, trusts_store: bool) -> int:
        with self.desk.writing(self._chosen(found), SYSTEM, reason=self.reason) as writing:
            return transfer.add(writing, found, self._known, trusts_store=trusts_store)

    def finish(self) -> None:
        """Raises ValidationFailed for a file that is not whole, or leaves the organization without an owner."""
        if self._announced is not None and self.facts != self._announced:
            raise ValidationFailed(
                "file", f"the file tells of {self._announced} facts and has {self.facts}: it is cut off"
            )
        if self.organization_id is None:
            raise ValidationFailed("file", "there is nothing in the file")
        with self.desk.reading(self.organization_id, SYSTEM) as reading:
            transfer.require_complete(reading)

    def told(self) -> dict[str, Any]:
        """What came of it."""
        return {"organization_id": self.organization_id, "added": self.added, "present": self.facts - self.added}

    def _facts(self, texts: list[bytes]) -> list[Line]:
        problems = Problems()
        found: list[Line] = []
        for number, text in enumerate(texts, self.read + 1):
            if not text.strip():
                continue
            try:
                fact = self._fact(text)
            except GrantbookError as error:
                problems.add_error(number, error)
                continue
            if fact is not None:
                found.append(Line(number, fact))
        problems.raise_any()
        return found

    def _fact(self, text: bytes) -> Fact | None:
        if len(text) > MAX_LINE_BYTES:
            raise ValidationFailed("line", f"a line has at most {MAX_LINE_BYTES} bytes")
        found = lines.read(text)
        if isinstance(found, Fact):
            return found
        if found.get("version") != lines.VERSION:
            raise ValidationFailed("version", f"this release reads version {lines.VERSION}")
        self._announced = _sum(found.get("counts"))
        self._choose(found.get("organization_id"))
        return None

    def _chosen(self, found: list[Line]) -> str:
        for line in found:
            if isinstance(line.fact, Organization):
                self._choose(line.fact.id)
        if self.organization_id is None:
            raise click.UsageError("no line of the file names the organization: choose one with --organization ID")
        return self.organization_id

    def _choose(self, organization_id: Any) -> None:
        if not isinstance(organization_id, str) or not is_id(organization_id, ORGANIZATION):
            raise ValidationFailed("organization_id", "organization_id must be an id of an organization")
        if self.organization_id not in {None, organization_id}:
            raise ValidationFailed("organization_id", f"this import is into {self.organization_id}")
        self.organization_id = organization_id


def _sum(counts: Any) -> int:
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise ValidationFailed("counts", "counts must tell how many facts of each kind follow")
    return sum(counts.values())


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of circles: a part makes a million objects, none in a circle, and it would look at all of
    them again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _written(file: str) -> Iterator[BinaryIO]:
    """A file that appears when it is whole, or stdout."""
    if file == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = Path(f"{file}.part")
    try:
        with part.open("wb") as out:
            yield out
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _read(file: str) -> Iterator[BinaryIO]:
    if file == STANDARD:
        yield sys.stdin.buffer
        return
    if not Path(file).is_file():
        raise ConfigurationError(f"there is no file {file}")
    with Path(file).open("rb") as source:
        yield source


def _size(source: BinaryIO) -> int | None:
    try:
        return os.fstat(source.fileno()).st_size or None
    except OSError:
        return None


def _progress() -> Progress:
    """On stderr, and only for a person who looks at it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal)
