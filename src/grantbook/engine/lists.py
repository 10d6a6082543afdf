"""Whole lists of the present, kept as long as nothing that they follow from changes.

A list is made by the definition over facts loaded for it (`lookup`), which takes milliseconds; kept, its pages take
microseconds. A grant that changes drops the lists of those whom it names, and of what it is on; a person's directory
entry drops that person's list and the lists of people; anything else drops them all.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from grantbook.engine import lookup
from grantbook.engine.held import FOREVER
from grantbook.model.facts import EntityRef, Facts
from grantbook.model.instants import Instant
from grantbook.model.resolution import Access, principals, reach
from grantbook.model.vocabulary import Vocabulary
from grantbook.store.port import Notice, Snapshot

ITEM_BYTES: Final = 700
_ABOUT_PEOPLE: Final = {"Member": "subject_id", "DepartmentMember": "target_id", "RoleAssignment": "target_id"}


class KeptList(msgspec.Struct, frozen=True):
    """What one user reaches, or who reaches one entity: ordered places, and the access of each.

    True from `since` until `until`, exclusive: the nearest moments at which a grant begins or ends. `grantees` and
    `entities` are the ids of what it follows from.
    """

    places: tuple[Any, ...]
    accesses: tuple[Access, ...]
    names: tuple[str, ...]
    since: Instant
    until: Instant
    user_id: str | None
    grantees: frozenset[str]
    entities: frozenset[str]

    def as_dict(self) -> dict[Any, Access]:
        """The access by place, in order."""
        return dict(zip(self.places, self.accesses, strict=True))

    def first_after(self, place: EntityRef | str) -> int:
        """The position of the first place after this one."""
        return bisect_right(self.places, place)


class Lists:
    """The lists of one organization, by their questions."""

    def __init__(self) -> None:
        self._kept: dict[object, KeptList] = {}

    def find(self, question: object, at: Instant) -> KeptList | None:
        """The list, if it is kept and true at that time."""
        found = self._kept.get(question)
        return found if found is not None and found.since <= at < found.until else None

    def keep(self, question: object, answer: KeptList) -> int:
        """Keep a list of the newest state; about how many bytes it takes."""
        self._kept[question] = answer
        return ITEM_BYTES * (len(answer.places) + 1)

    def clear(self) -> None:
        self._kept.clear()

    def apply(self, notices: Iterable[Notice]) -> None:
        """Drop what the changes may touch: the lists are gone through once, however many changes there are."""
        if not self._kept:
            return
        users: set[str | None] = set()
        grantees: set[str | None] = set()
        entities: set[str] = set()
        for notice in notices:
            if notice.kind == "Grant":
                grantees.add(notice.target_id)
                entities.add(notice.subject_id)
            elif notice.kind in _ABOUT_PEOPLE:
                users |= {None, getattr(notice, _ABOUT_PEOPLE[notice.kind])}
            elif notice.kind != "ApiKey":
                self.clear()
                return
        self._kept = {
            question: each
            for question, each in self._kept.items()
            if each.user_id not in users and grantees.isdisjoint(each.grantees) and entities.isdisjoint(each.entities)
        }


def of_entities(
    snapshot: Snapshot,
    vocabulary: Vocabulary,
    user_id: str,
    at: Instant,
    *,
    entity_type: str | None,
    access_level: str | None,
) -> KeptList:
    """What a user reaches, ordered by type and id, with the name of each."""
    found, facts = lookup.resolve(snapshot, vocabulary, user_id, at, entity_type=entity_type)
    if access_level is not None:
        found = {ref: each for ref, each in found.items() if lookup.reaches(vocabulary, ref, each, access_level)}
    since, until = _window(facts, at)
    return KeptList(
        places=tuple(found),
        accesses=tuple(found.values()),
        names=tuple(facts.entities[ref].name for ref in found),
        since=since,
        until=until,
        user_id=user_id,
        grantees=frozenset(who.id for who in principals(facts, user_id)),
        entities=frozenset(),
    )


def of_users(
    snapshot: Snapshot, vocabulary: Vocabulary, entity: EntityRef, at: Instant, *, access_level: str | None
) -> KeptList:
    """Who reaches an entity, ordered by id."""
    found, facts = lookup.resolve_users(snapshot, vocabulary, entity, at, access_level=access_level)
    since, until = _window(facts, at)
    return KeptList(
        places=tuple(found),
        accesses=tuple(found.values()),
        names=(),
        since=since,
        until=until,
        user_id=None,
        grantees=frozenset(),
        entities=frozenset(ref.id for ref in reach(facts, entity)),
    )


def _window(facts: Facts, at: Instant) -> tuple[Instant, Instant]:
    """Around `at`, while no grant among the facts begins or ends."""
    moments = [
        moment
        for grants in facts.grants_on.values()
        for grant in grants
        for moment in (grant.starts_at, grant.expires_at)
        if moment is not None
    ]
    return (
        max((moment for moment in moments if moment <= at), default=0),
        min((moment for moment in moments if moment > at), default=FOREVER),
    )
