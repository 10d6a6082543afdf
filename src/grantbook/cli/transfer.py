"""`grantbook export` and `grantbook import`: whole organizations as JSON Lines."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
from rich.progress import Progress

from grantbook import settings
from grantbook.cli import history_lines, lines, moving, options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json
from grantbook.cli.places import only_organization, opened, place_in
from grantbook.cli.progress import progress
from grantbook.model.errors import ConfigurationError, Conflict, GrantbookError, ValidationFailed
from grantbook.model.facts import Fact, Organization
from grantbook.model.ids import ORGANIZATION, is_id
from grantbook.service import transfer
from grantbook.service.desk import SYSTEM, Desk, again_if_aborted
from grantbook.service.lines import Problems
from grantbook.service.transfer import Line

CHUNK: Final = 50_000
"""More lines in a transaction cost memory, fewer cost time: each one rewrites much of the indexes."""
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
_SHOWN_EVERY: Final = 1_000
_SECRET_MODE: Final = 0o600
STANDARD: Final = "-"


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default=STANDARD)
@click.option("--organization", type=options.ID, metavar="ID", help="The organization, if there are several.")
@click.option("--history", "with_history", is_flag=True, help="All organizations as they are, with history and keys.")
@options.database
def export(*, file: str, organization: str | None, with_history: bool, database: str | None) -> int:
    """Write a whole organization to FILE as JSON Lines, or to stdout: who is in it, what there is, and every grant.

    API keys, invitations and the history stay behind.

    With --history nothing does: every version of every fact, the record with its hashes, the digests of keys, all of
    one moment; of all organizations, unless one is chosen. An import of that file gives the same answers about every
    time, and keys go on working: it is a secret, and only its owner can read it.
    """
    given = settings.load({"database": database, "organization": organization})
    if with_history:
        with opened(given) as desk, _written(file, mode=_SECRET_MODE) as out, progress() as shown:
            written = moving.write(desk, given.organization, out, shown)
        moving.show_written(written)
        return Exit.DONE
    with opened(given) as desk:
        place = place_in(desk, given.organization)
        with place.reading() as reading, _written(file) as out:
            counts = transfer.counts(reading)
            out.write(lines.header(place.organization_id, counts))
            with progress() as shown:
                task = shown.add_task("facts", total=sum(counts.values()))
                for fact in shown.track(transfer.iterate(reading), task_id=task):
                    out.write(lines.line_of(fact))
    click.echo(f"{sum(counts.values())} facts of {place.organization_id} exported", err=True)
    return Exit.DONE


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--organization",
    type=options.ORGANIZATION_ID,
    metavar="ID",
    help="The organization, if no line names it [default: the only one there is].",
)
@options.vocabulary
@options.database
@options.as_json
def import_(
    *, file: str, organization: str | None, vocabulary_file: str | None, database: str | None, as_json: bool
) -> int:
    """Read an organization, or a part of one, from the JSON Lines of FILE (- for stdin).

    What is there already stays as it is, so an import that was interrupted is finished by running it again. Each part
    of 50,000 lines is there as a whole or not at all.

    A file of 'export --history' restores organizations as they were, each as a whole or not at all. It is refused
    where one is there with another history; one that is there with the same stays as it is.
    """
    given = settings.load({"database": database, "vocabulary_file": vocabulary_file, "organization": organization})
    with _read(file) as source, opened(given, may_create=True) as desk, progress() as shown:
        texts, is_history = _texts(source, shown)
        if is_history:
            with desk.store.filling(), _uncollected():
                restored = moving.restore(desk, given.organization, texts)
        else:
            arrival = Arrival(desk, given.organization, reason=f"import of {Path(file).name}")
            _fill(arrival, texts, tells=not as_json)
    if is_history:
        moving.show(restored, as_json=as_json)
    elif as_json:
        print_json(arrival.told())
    else:
        click.echo("{organization_id}: {added} facts imported, {present} were there already".format(**arrival.told()))
    return Exit.DONE


def _fill(arrival: "Arrival", texts: Iterator[bytes], *, tells: bool) -> None:
    """All parts, and the end. What is in when it fails is told: an earlier part stays."""
    try:
        with arrival.desk.store.filling(), _uncollected():
            while arrival.take(texts):
                pass
        arrival.finish()
    except Exception:
        if arrival.added and tells:
            click.echo(f"{arrival.added} facts are in; what is in stays as it is when you import again", err=True)
        raise


def _texts(source: BinaryIO, shown: Progress) -> tuple[Iterator[bytes], bool]:
    """The lines, which move the progress on, and whether they are of histories."""
    task = shown.add_task("lines", total=_size(source))

    def followed() -> Iterator[bytes]:
        size = 0
        texts = iter(lambda: source.readline(history_lines.MAX_LINE_BYTES + 1), b"")
        while part := list(islice(texts, _SHOWN_EVERY)):
            yield from part
            size += sum(map(len, part))
            shown.update(task, completed=size)
        shown.update(task, description="indexes")

    texts = followed()
    first = list(islice(texts, 1))
    return chain(first, texts), bool(first) and first[0].startswith(history_lines.BEGINNING)


@dataclass
class Arrival:
    """An import under way: how far it got, and how much of it was new."""

    desk: Desk
    organization_id: str | None
    reason: str
    read: int = 0
    facts: int = 0
    added: int = 0
    _announced: int | None = None
    _known: transfer.Known = field(default_factory=transfer.Known)

    def take(self, lines_: Iterator[bytes]) -> bool:
        """The next part, in one transaction; False after the last. Raises InvalidLines, Conflict."""
        texts = list(islice(lines_, CHUNK))
        if not texts:
            return False
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

    @again_if_aborted
    def _add(self, found: list[Line], *, trusts_store: bool) -> int:
        with self.desk.writing(self._chosen(found), SYSTEM, reason=self.reason) as writing:
            return transfer.add(writing, found, self._known, trusts_store=trusts_store)

    def finish(self) -> None:
        """Raises ValidationFailed for a file that is not whole, or leaves the organization without an owner."""
        if self._announced is not None and self.facts != self._announced:
            raise ValidationFailed(
                "file",
                f"the file tells of {self._announced} facts and has {self.facts}: it is cut off. "
                f"What it has is in: import the whole file",
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
            self.organization_id = only_organization(self.desk)
        return self.organization_id

    def _choose(self, organization_id: Any) -> None:
        if not isinstance(organization_id, str) or not is_id(organization_id, ORGANIZATION):
            raise ValidationFailed("organization_id", "organization_id must be an id of an organization")
        if self.organization_id not in {None, organization_id}:
            raise ValidationFailed(
                "organization_id", f"this import is into {self.organization_id}, the line is of {organization_id}"
            )
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
def _written(file: str, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file that appears when it is whole, or stdout. Never is it open to more than `mode` says."""
    if file == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = Path(f"{file}.part")
    try:
        part.unlink(missing_ok=True)  # one of before would keep its own mode
        opened_ = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        error.filename = file
        raise
    try:
        with os.fdopen(opened_, "wb") as out:
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
