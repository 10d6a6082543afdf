"""Pages of lists that are too long to be made whole for one page: what a user reaches, who reaches an entity.

Whatever may be in a list is in one of a few streams of ids, which the store has in order: what a department is granted,
what a user owns, who joined a department. The first ids after a place are taken of each, put in order, and asked about
as in a check until the page is full: that costs as much however long the list is.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from grantbook.engine.held import Holders, standing_paths
from grantbook.model.facts import EVERYONE, MEMBER_STATES, EntityRef, Principal
from grantbook.model.instants import Instant
from grantbook.model.limits import MAX_CONTAINMENT_DEPTH
from grantbook.model.resolution import NO_ACCESS, Access
from grantbook.model.vocabulary import OPEN_MODES, EntityType, Vocabulary
from grantbook.store.present_port import (
    ASSIGNED,
    CONTAINED,
    GRANTED,
    IN_STATE,
    JOINED,
    LISTED,
    NAMED,
    OF_TYPE,
    OWNED,
    SHOWN,
    Present,
    Stream,
)

if TYPE_CHECKING:
    from grantbook.engine.organization_facts import OrganizationFacts

_MOST_SOURCES: Final = 200
"""So many departments, or containers, are looked into for each page; where there are more the list is made whole."""
_MOST_ASKED: Final = 1_000
"""So many are asked about for one page; where few of them are in the list it is made whole."""
_FEW: Final = 20
_Ids: TypeAlias = Callable[[str, int], list[str]]
"""The first ids of a source after a place, in order, at most so many."""


class LongLists:
    """The pages of one organization's, asked for within a reading. None where the list is better made whole."""

    def __init__(self, facts: "OrganizationFacts", present: Present, vocabulary: Vocabulary) -> None:
        self._facts = facts
        self._present = present
        self._types = vocabulary.types

    def entities(
        self, user_id: str, kinds: Iterable[tuple[EntityType, int]], at: Instant, after: EntityRef | None, limit: int
    ) -> dict[EntityRef, Access] | None:
        """The first entities after the place that the user reaches, of these types, each at its rung or above."""
        user = self._facts.load_user(user_id)
        containers = () if user.overriding else self._containers(user.ids)
        if containers is None or not user.is_known:  # what is granted to a stranger is not held
            return None
        found: dict[EntityRef, Access] = {}
        for kind, lowest in kinds:
            if after is not None and kind.name < after.type:
                continue
            if user.overriding:
                sources = [self._stream(OF_TYPE, [kind.name])]
            else:
                sources = [self._stream(stream, user.ids, kind.name) for stream in (GRANTED, OWNED, LISTED)]
                sources.append(self._stream(CONTAINED, containers, kind.name))
                sources.append(self._stream(SHOWN, OPEN_MODES if user.is_active else (), kind.name))

            def access(ids: Sequence[str], name: str = kind.name) -> list[Access]:
                return self._facts.accesses([(user_id, EntityRef(name, id_)) for id_ in ids], at)

            place = after.id if after is not None and kind.name == after.type else ""
            part = _taken(sources, place, limit - len(found), access, kind, lowest)
            if part is None:
                return None
            found |= {EntityRef(kind.name, id_): each for id_, each in part.items()}
            if len(found) == limit:
                break
        return found

    def users(
        self, holders: Holders, overriding: Sequence[str], lowest: int, at: Instant, after: str | None, limit: int
    ) -> dict[str, Access] | None:
        """The first users after the place who reach the first of the holders at the rung or above."""
        entity = holders[0][0]
        sources = self._sources_of_users(holders, overriding)
        if sources is None:
            return None

        def access(ids: Sequence[str]) -> list[Access]:
            found = self._facts.accesses([(id_, entity.ref) for id_ in ids], at)
            if entity.is_bound:
                return found
            here = self._members_and_named(holders, ids)
            return [each if id_ in here else NO_ACCESS for id_, each in zip(ids, found, strict=True)]

        return _taken(sources, after or "", limit, access, entity.kind, lowest)

    def _members_and_named(self, holders: Holders, ids: Collection[str]) -> set[str]:
        """Those of the users who are members, or whom a grant on these names. Others may be known for another entity,
        and reach what is granted to everyone; a list does not tell of them."""
        standings = self._present.standings(self._facts.id, ids)
        found = {id_ for id_, standing in standings.items() if any(part == "member" for part, _ in standing)}
        for holder, _ in holders:
            rows = self._present.grants_to(self._facts.id, holder.ref, ids)
            found.update(id_ for type_, id_, *_ in rows if type_ == "user")
        return found

    def _stream(self, stream: Stream, of: Collection[str], type_: str = "") -> _Ids:
        if not of:
            return lambda _, __: []
        next_ids = partial(self._present.next_ids, self._facts.id, stream, of, type_)
        return lambda after, limit: next_ids(after=after, limit=limit)

    def _containers(self, principal_ids: Collection[str]) -> list[str] | None:
        """Ids of what may contain something: of what these are granted, and whatever lies within that."""
        types = [name for name, kind in self._types.items() if kind.contains]
        found: set[str] = set()
        stream, of = GRANTED, principal_ids
        for _ in range(MAX_CONTAINMENT_DEPTH + 1):
            ids = {id_ for name in types for id_ in self._stream(stream, of, name)("", _MOST_SOURCES + 1)}
            stream, of = CONTAINED, ids - found
            found |= ids
            if len(found) > _MOST_SOURCES:
                return None
            if not of:
                break
        return sorted(found)

    def _sources_of_users(self, holders: Holders, overriding: Sequence[str]) -> list[_Ids] | None:
        entity, present, organization_id = holders[0][0], self._present, self._facts.id
        named = {entity.owner, *entity.targets}
        who = {path.source for path in standing_paths(entity, named, overriding, organization_id)}
        for holder, _ in holders:
            who.update(Principal(*row) for row in present.groups_on(organization_id, holder.ref))
        users, departments, roles = (
            sorted(each.id for each in who if each.type == type_) for type_ in ("user", "department", "role")
        )
        below = present.departments_below(organization_id, departments) if departments else ()
        joined = {id_ for _, id_ in below}
        if len(joined) + len(roles) > _MOST_SOURCES:
            return None
        is_of_all = EVERYONE in who or Principal("organization", organization_id) in who
        return [
            lambda after, limit: [id_ for id_ in users if id_ > after][:limit],
            *(self._stream(NAMED, [holder.ref.id], holder.ref.type) for holder, _ in holders),
            self._stream(JOINED, joined),
            self._stream(ASSIGNED, roles),
            self._stream(IN_STATE, MEMBER_STATES if is_of_all else ()),
        ]


def _taken(
    sources: Collection[_Ids],
    place: str,
    limit: int,
    access: Callable[[Sequence[str]], list[Access]],
    kind: EntityType,
    lowest: int,
) -> dict[str, Access] | None:
    """The first `limit` of all sources after the place that have access at the rung or above; None after too many that
    have not."""
    found: dict[str, Access] = {}
    asked, is_end = 0, False
    while len(found) < limit and not is_end:
        most = max(limit - len(found), _FEW)
        parts = [source(place, most) for source in sources]
        ids = sorted({id_ for part in parts for id_ in part})
        is_end = len(ids) <= most and all(len(part) < most for part in parts)
        ids = ids[:most]
        for id_, each in zip(ids, access(ids), strict=True):
            if each.level is not None and kind.rank(each.level) >= lowest and len(found) < limit:
                found[id_] = each
        asked += len(ids)
        if asked > _MOST_ASKED:
            return None
        place = ids[-1] if ids else place
    return found
