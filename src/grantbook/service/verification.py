"""Whether a book agrees with itself: the history with its own hashes, the facts with the history, and what names
something with what is there.

It reads from one state, in bounded memory, and holds no writer up. The facts are compared with the history by sums:
each change says which versions begin and end with its revision, each version when it begins and ends, and both add up
to the same. Only where they do not are those of the same sum looked at one by one.
"""

from collections.abc import Callable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from grantbook.model.facts import (
    FACT_KINDS,
    Fact,
)
from grantbook.model.instants import Instant
from grantbook.service.desk import SYSTEM, Desk, Reading
from grantbook.service.findings import Findings
from grantbook.service.referents import Referents
from grantbook.store.history import Chain, joined_key, text_now, text_of
from grantbook.store.port import Archive, Version

_PART: Final = 1_000
_SUMS: Final = 4_096
_MAX_EVENTS: Final = 200_000

Seen = Callable[[int], object]


class Event(NamedTuple):
    """That a version begins with a revision, with this text, or ends with it: then the text is None."""

    kind: str
    key: str
    revision: int
    text: str | None


def verify(desk: Desk, organization_id: str, seen: Seen = lambda _: None) -> Findings:
    """Everything that is wrong with the organization. `seen` is told how many changes and versions were looked at."""
    with desk.store.archive(organization_id) as archive:
        findings = Findings(organization_id=organization_id, revision=archive.head.revision)
        sums = _Sums()
        for event in _told(archive, findings, seen):
            sums.add(event)
        referents = Referents(Reading(desk, archive.snapshot, SYSTEM, desk.clock()), archive, findings)
        for kind in FACT_KINDS:
            versions = archive.versions(kind)
            while part := list(islice(versions, _PART)):
                findings.versions += len(part)
                for version in part:
                    _check_version(kind, version, findings)
                    for event in _kept(kind, version):
                        sums.take(event)
                referents.check([each.fact for each in part if each.fact is not None and each.until is None])
                seen(len(part))
        if numbers := sums.differing():
            _compare(archive, numbers, findings)
        return findings


def _told(archive: Archive, findings: Findings, seen: Seen) -> Iterator[Event]:
    """What the history tells, revision by revision, while it is held against its hashes, the revisions and the head."""
    chain = Chain(findings.organization_id)
    times = _Times(archive, findings)
    for revision, changes in groupby(archive.changes(), key=attrgetter("revision")):
        ats: set[Instant] = set()
        ends: dict[tuple[str, str], bool] = {}
        begun: dict[tuple[str, str], str | None] = {}
        for change in changes:
            findings.changes += 1
            place = f"{change.revision}/{change.ordinal}"
            if not chain.takes(change):
                findings.broken_at = findings.broken_at or (change.revision, change.ordinal)
                findings.add("Change", place, "it does not have the hash that follows from what is there")
            text = None if change.after is None else text_now(change.kind, change.after)
            if text is None is not change.after:
                findings.add("Change", place, "the fact after it cannot be read")
                text = ""
            ats.add(change.at)
            # Of several changes of one fact, the first ends what was there before, and the last begins what stays.
            ends.setdefault((change.kind, change.key), change.before is not None)
            begun[change.kind, change.key] = text
            if findings.changes % _PART == 0:
                seen(_PART)
        times.check(revision, ats)
        yield from (Event(*each, revision, None) for each, is_ended in ends.items() if is_ended)
        yield from (Event(*each, revision, text) for each, text in begun.items() if text is not None)
    times.finish()
    if chain.head != archive.head:
        findings.broken_at = findings.broken_at or (archive.head.revision, 0)
        findings.add("Head", str(archive.head.revision), "the history leads to another one")


class _Times:
    """The revisions beside the history, which tells when each was made."""

    def __init__(self, archive: Archive, findings: Findings) -> None:
        self._revisions = archive.revisions()
        self._next = next(self._revisions, None)
        self._findings = findings
        self._last = (0, 0)

    def check(self, revision: int, ats: set[Instant]) -> None:
        """The next revision that the history tells of, and the times of its changes."""
        last_revision, last_at = self._last
        self._last = revision, max(ats)
        if revision != last_revision + 1:
            self._add(last_revision + 1, f"the history goes on with {revision}")
        if len(ats) > 1 or max(ats) < last_at:
            self._add(revision, "its changes have several times, or one before those of the revision before")
        self._surplus(revision)
        if self._next is None or self._next[0] != revision:
            self._add(revision, "it is not among the revisions")
            return
        if self._next[1] not in ats:
            self._add(revision, "it has another time than its changes")
        self._next = next(self._revisions, None)

    def finish(self) -> None:
        """Nothing may be left."""
        self._surplus(None)

    def _surplus(self, before: int | None) -> None:
        while self._next is not None and (before is None or self._next[0] < before):
            self._add(self._next[0], "the history does not tell of it")
            self._next = next(self._revisions, None)

    def _add(self, revision: int, message: str) -> None:
        self._findings.add("Revision", str(revision), message)


def _kept(kind: type[Fact], version: Version) -> Iterator[Event]:
    """What a version tells."""
    name, key = kind.__name__, joined_key(version.key)
    yield Event(name, key, version.since, "" if version.fact is None else text_of(version.fact))
    if version.until is not None:
        yield Event(name, key, version.until, None)


def _check_version(kind: type[Fact], version: Version, findings: Findings) -> None:
    if version.fact is None:
        findings.add(kind.__name__, joined_key(version.key), f"the version since {version.since} cannot be read")
    if version.until is not None and version.until <= version.since:
        message = f"the version since {version.since} ends with {version.until}"
        findings.add(kind.__name__, joined_key(version.key), message)


class _Sums:
    """Of events, apart by a number from their keys: those that are not zero tell where to look."""

    def __init__(self) -> None:
        self._sums = [0] * _SUMS
        self._counts = [0] * _SUMS

    def add(self, event: Event) -> None:
        number = _number(event)
        self._sums[number] += hash(event)
        self._counts[number] += 1

    def take(self, event: Event) -> None:
        number = _number(event)
        self._sums[number] -= hash(event)
        self._counts[number] += 1

    def differing(self) -> set[int]:
        """The numbers of those that are not zero: all, or as many as can be looked at."""
        found: set[int] = set()
        events = 0
        for number, total in enumerate(self._sums):
            if total and (not found or events + self._counts[number] <= _MAX_EVENTS):
                found.add(number)
                events += self._counts[number]
        return found


def _number(event: Event) -> int:
    return hash(event[:2]) % _SUMS


def _compare(archive: Archive, numbers: set[int], findings: Findings) -> None:
    """What differs, of the keys with these numbers. The history was held against itself before."""
    told: dict[tuple[str, str, int, bool], str | None] = {}
    unheard = Findings(organization_id=findings.organization_id, revision=findings.revision)
    for event in _told(archive, unheard, lambda _: None):
        if _number(event) in numbers:
            told[_place(event)] = event.text
    for kind in FACT_KINDS:
        for version in archive.versions(kind):
            for event in _kept(kind, version):
                if _number(event) in numbers:
                    _take(told, event, findings)
    for name, key, revision, begins in sorted(told):
        message = "the version that it made is not there" if begins else "it ended a version, which goes on"
        findings.add(name, key, f"revision {revision}: {message}")


def _place(event: Event) -> tuple[str, str, int, bool]:
    return event.kind, event.key, event.revision, event.text is not None


def _take(told: dict[tuple[str, str, int, bool], str | None], event: Event, findings: Findings) -> None:
    """Take out what the history tells, or say that it does not tell so."""
    place = _place(event)
    if place not in told:
        message = "a version ends" if event.text is None else "a version begins"
        findings.add(event.kind, event.key, f"revision {event.revision}: {message} of which the history does not tell")
        return
    text = told.pop(place)
    if text != event.text and text and event.text:  # one that cannot be read was told of before
        names = ", ".join(_differing_fields(text, event.text))
        message = f"revision {event.revision}: the version differs from the history in {names}"
        findings.add(event.kind, event.key, message)


def _differing_fields(one: str, other: str) -> list[str]:
    first, second = (msgspec.json.decode(text, type=dict[str, object]) for text in (one, other))
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
