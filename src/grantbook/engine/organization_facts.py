"""Answers of the present about one organization: see `facts_cache`, whose blocks they are given in."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from grantbook.engine.held import (
    FOREVER,
    NONE,
    HeldEntity,
    HeldUser,
    Holders,
    access_of,
    name_of,
    rank_of,
    rank_within,
)
from grantbook.engine.held_facts import ANSWER_BYTES, ENTITY_BYTES, NAME_BYTES, USER_BYTES, HeldFacts, News, Pair
from grantbook.engine.lists import Lists
from grantbook.model.facts import EntityRef
from grantbook.model.instants import Clock, Instant
from grantbook.model.resolution import NO_ACCESS, Access
from grantbook.model.vocabulary import LISTED_MODES
from grantbook.store.present_port import MAX_GLANCED, GrantRow, Notice, Outline, Standing

if TYPE_CHECKING:
    from grantbook.engine.facts_cache import FactCache

UNKNOWN_USER: Final = -2
UNKNOWN_ENTITY: Final = -3
_NOT_HELD: Final = -4
_MAX_NOTICES: Final = 5_000
_MAX_WHOLE: Final = 1_000
_MAX_PROBED: Final = 32


class TooMuchToLoad(Exception):
    """More is missing, or may have changed, than the caller is ready to wait for. Nothing was loaded."""


class OrganizationFacts(HeldFacts):
    """Answers from what is held, and loads what is not."""

    def __init__(self, cache: "FactCache", organization_id: str) -> None:
        super().__init__(cache, organization_id)
        self.lists = Lists(self, cache.present, cache.vocabulary)

    # Questions

    def rank(self, user_id: str, ref: tuple[str, str], clock: Clock) -> int:
        """The one of `ranks` for one pair, now; it is kept with the entity, for most are asked for again.

        Where nothing has a window the clock is left alone: to look at it takes as long as to find the answer.
        """
        entity = self._entities.get(ref)
        if (
            entity is not None
            and entity.answered == self._changed
            and ((entity.until == FOREVER and not entity.since) or entity.since <= clock() < entity.until)
        ):
            rank = entity.answers.get(user_id)
            if rank is not None:
                return rank
        at = clock()
        rank = self._rank(user_id, ref, at)
        if rank >= NONE:
            entity = self._entities[ref]
            if entity.answered == self._changed:
                self._keep_answer(self._users[user_id].id, entity, rank, at)
            else:  # the first question since then, and maybe the last
                entity.answered, entity.until = self._changed, 0
        return rank

    def _keep_answer(self, user_id: str, entity: HeldEntity, rank: int, at: Instant) -> None:
        if not entity.since <= at < entity.until:
            entity.answers, entity.since, entity.until = {}, 0, FOREVER
            for holder, _ in self._holders(entity) or ():
                for moment in holder.moments:
                    if moment <= at:
                        entity.since = max(entity.since, moment)
                    else:
                        entity.until = min(entity.until, moment)
        entity.answers[user_id] = rank
        self._cache.spent_bytes += ANSWER_BYTES

    def _rank(self, user_id: str, ref: tuple[str, str], at: Instant) -> int:
        rank = self._held_rank(user_id, ref, at)
        if rank == _NOT_HELD:
            with self._reading() as version:
                self._catch_up_to(version)
                self._load_pair(user_id, ref)
                self._cache.loads += 1
            rank = self._held_rank(user_id, ref, at)
        return rank

    def ranks(self, pairs: Sequence[Pair], at: Instant, *, max_loads: int | None = None) -> list[int]:
        """The rung of each user's highest level on the entity; or NONE, UNKNOWN_USER, UNKNOWN_ENTITY.

        Raises TooMuchToLoad where more than `max_loads` of them need what is not held; StoreUnavailable.
        """
        found = self._held_ranks(pairs, at)
        if _NOT_HELD not in found:
            return found
        missing = [position for position, rank in enumerate(found) if rank == _NOT_HELD]
        if max_loads is not None and len(missing) > max_loads:
            raise TooMuchToLoad
        with self._reading() as version:
            if self._catch_up_to(version):
                missing = list(range(len(pairs)))
            wanted = [pairs[position] for position in missing]
            self._load(wanted)
            self._cache.loads += 1
        for position, rank in zip(missing, self._held_ranks(wanted, at), strict=True):
            found[position] = rank
        return found

    def knows(self, user_id: str) -> bool:
        """Whether the user is a member in any state, or named by a grant. Raises StoreUnavailable."""
        user = self._user(user_id)
        if user is None:
            with self._reading() as version:
                self._catch_up_to(version)
                self._load_users([user_id])
            user = self._users[user_id]
        return user.is_known

    def has(self, ref: EntityRef) -> bool:
        """Whether the entity is there, archived or not. Raises StoreUnavailable."""
        entity = self._entity(ref)
        if entity is None:
            with self._reading() as version:
                self._catch_up_to(version)
                self._load_entities([ref])
            entity = self._expect(ref)
        return entity.is_there

    def access(self, user_id: str, ref: EntityRef, at: Instant) -> Access:
        """The level with every path, of a user and an entity that are known. Raises StoreUnavailable."""
        self.ranks([(user_id, ref)], at)  # holds all that it takes
        user, entity = self._user(user_id), self._entity(ref)
        holders = None if entity is None else self._holders(entity)
        if user is None or holders is None:
            raise RuntimeError("facts that were just asked for are not held")
        return NO_ACCESS if self.is_deleted else access_of(user, holders, self.id, at)

    def accesses(self, pairs: Sequence[Pair], at: Instant) -> list[Access]:
        """The access of each pair, none where the user or the entity is not known; within a reading."""
        self._load(pairs)
        found = []
        for user_id, ref in pairs:
            user, entity = self._users[user_id], self._entities[ref]
            is_known = user.is_known and entity.is_there and not self.is_deleted
            holders = self._holders(entity) if is_known else None
            found.append(NO_ACCESS if holders is None else access_of(user, holders, self.id, at))
        return found

    def holders_of(self, refs: Sequence[tuple[str, str]], *, loads: bool) -> list[Holders] | None:
        """Each of the entities with what contains it. Where something is not held, None, or within a reading it
        is loaded."""
        entity_at, shape = self._entities.get, self._shape
        found = [
            entity.holders
            if (entity := entity_at(ref)) is not None and entity.shape == shape
            else self._holders_at(ref)
            for ref in refs
        ]
        if None in found and loads:
            self._load_line([EntityRef(*ref) for ref, held in zip(refs, found, strict=True) if held is None])
            found = [self._holders(self._expect(ref)) for ref in refs]
        held = [holders for holders in found if holders is not None]
        return held if len(held) == len(refs) else None

    def _holders_at(self, ref: tuple[str, str]) -> Holders | None:
        entity = self._entity(ref)
        return None if entity is None else self._holders(entity)

    def load_user(self, user_id: str) -> HeldUser:
        """Whom the user counts as; within a reading."""
        if self._user(user_id) is None:
            self._load_users([user_id])
        return self._users[user_id]

    def _held_ranks(self, pairs: Sequence[Pair], at: Instant) -> list[int]:
        """Each as `_held_rank`. Pairs often come in a row about one user, and most give nothing, which is quick to see:
        for a plain entity, where neither the user nor one of its sources is among them."""
        user_at, entity_at, otherwise = self._users.get, self._entities.get, self._held_rank
        found: list[int] = []
        last, user = "", None
        name, is_apart = "", frozenset[str]().isdisjoint
        for user_id, ref in pairs:
            if user_id != last:
                last, user = user_id, user_at(user_id)
                if user is not None:
                    name, is_apart = user.name, user.who.isdisjoint
            entity = entity_at(ref)
            if user is None or entity is None or not entity.is_plain or not user.is_known:
                found.append(otherwise(user_id, ref, at))
                continue
            sources = entity.sources
            if sources is not None and is_apart(sources) and name not in entity.grants and not user.overriding:
                found.append(NONE)
            else:
                found.append(rank_of(user, entity, at))
        return [min(rank, NONE) for rank in found] if self.is_deleted else found

    def _held_rank(self, user_id: str, ref: tuple[str, str], at: Instant) -> int:
        user = self._users.get(user_id) or self._user(user_id)
        entity = self._entities.get(ref) or self._entity(ref)
        if user is None or entity is None:
            return _NOT_HELD
        if not user.is_known:
            return UNKNOWN_USER
        if not entity.is_there:
            return UNKNOWN_ENTITY
        if self.is_deleted:
            return NONE
        if entity.is_plain or (not entity.containers and not entity.lacks_grants_to(user)):
            return rank_of(user, entity, at)
        if entity.settled != self._shape:
            holders = self._holders(entity)
            if holders is None or any(holder.lacks_grants_to(user) for holder, _ in holders):
                return _NOT_HELD
            if all(holder.is_whole for holder, _ in holders):
                entity.settled = self._shape
        return rank_within(user, entity.holders, at)

    # Loading, always within one reading of the store

    def _load_pair(self, user_id: str, ref: tuple[str, str]) -> None:
        """As `_load` for one pair, with less ado where nothing contains the entity."""
        user = self._user(user_id)
        if user is None:
            user = self._hold_user(user_id, self._present.standing(self.id, user_id))
            if not user.is_known:
                self._recognize([user_id])
                user = self._users[user_id]
        entity = self._entity(ref)
        if entity is None:
            own = EntityRef(*ref)
            entity = self._hold_entity(own, self._present.outline(self.id, own))
        if entity.containers:
            self._load([(user_id, ref)])
        elif user.is_known and entity.is_there and entity.lacks_grants_to(user):
            if entity.grants or len(user.ids) > _MAX_PROBED:
                self._load_grants_to({entity.ref: user.who - entity.grants.keys()})
            else:
                self._probe(entity, user.who, user.ids)

    def _load(self, pairs: Sequence[Pair]) -> None:
        """Whatever decides about these pairs and is not held."""
        user_ids = {user_id for user_id, _ in pairs if self._user(user_id) is None}
        if user_ids:
            self._load_users(user_ids)
        self._load_line({EntityRef(*ref) for _, ref in pairs})
        self._load_grants(pairs)

    def _load_line(self, refs: Iterable[EntityRef]) -> None:
        """The entities, and whatever contains them at any depth."""
        wanted = set(refs)
        while absent := self._absent(wanted):
            self._load_entities(absent)
            wanted = set(absent)

    def _absent(self, refs: set[EntityRef]) -> list[EntityRef]:
        """Those that are not held, of the entities and whatever is known to contain them at any depth."""
        absent: list[EntityRef] = []
        frontier, seen = refs, set[EntityRef]()
        while frontier:
            seen |= frontier
            above = set[EntityRef]()
            for ref in frontier:
                entity = self._entity(ref)
                if entity is None:
                    absent.append(ref)
                else:
                    above.update(entity.containers)
            frontier = above - seen
        return absent

    def _load_users(self, user_ids: Collection[str]) -> None:
        standings = self._present.standings(self.id, user_ids)
        self._groups.load([*chain.from_iterable(standings.values())])
        users = [self._hold_user(user_id, standings.get(user_id, ())) for user_id in user_ids]
        self._recognize([user.id for user in users if not user.is_known])

    def _recognize(self, strangers: Collection[str]) -> None:
        """Who is no member is known all the same where a grant names them."""
        for user_id in self._present.named_by_grants(self.id, strangers) if strangers else ():
            self._users[user_id] = replace(self._users[user_id], is_known=True)

    def _hold_user(self, user_id: str, standing: Sequence[Standing]) -> HeldUser:
        return self._keep_user(self._groups.user(user_id, standing))

    def _keep_user(self, user: HeldUser) -> HeldUser:
        self._users[user.id] = user
        self._cache.spent_bytes += USER_BYTES + NAME_BYTES * len(user.who)
        return user

    def _load_entities(self, refs: Collection[EntityRef]) -> None:
        outlines = self._present.outlines(self.id, refs)
        for ref in refs:
            self._hold_entity(ref, outlines.get(ref, ()))

    def _hold_entity(self, ref: EntityRef, outline: Sequence[Outline]) -> HeldEntity:
        vocabulary = self._cache.vocabulary
        kind = vocabulary.entity_type(ref.type)
        entity = HeldEntity(ref=ref, kind=kind, is_bound=kind.is_bound, grants={})
        targets: list[str] = []
        containers: list[EntityRef] = []
        for part, status, other_type, other_id, mode, name in outline:
            if part == "entity":
                entity.is_there, entity.name = True, name or ""
                entity.is_active = status == "active"
                entity.owner = name_of(other_type, other_id)
                entity.owner_rank = kind.ranks[kind.owner_levels[other_type]]
                entity.is_open = mode not in LISTED_MODES
            elif part == "target":
                targets.append(name_of(other_type, other_id))
            elif vocabulary.may_contain(other_type, ref.type):
                containers.append(EntityRef(other_type, other_id))
        entity.sources = (entity.owner,)
        if entity.is_open:
            entity.add_source(name_of("organization", self.id))
        elif targets:
            entity.targets = frozenset([self._names.setdefault(name, name) for name in targets])
            for name in entity.targets:
                entity.add_source(name)
        if containers:
            entity.containers = tuple(sorted(containers))
        self._entities[ref] = entity
        self._cache.spent_bytes += ENTITY_BYTES + NAME_BYTES * (1 + len(entity.targets))
        return entity

    def _load_grants(self, pairs: Sequence[Pair]) -> None:
        wanted: dict[EntityRef, set[str]] = {}
        for user_id, ref in pairs:
            user, entity = self._user(user_id), self._expect(ref)
            if user is None or not user.is_known or not entity.is_there:
                continue
            for holder, _ in self._holders(entity) or ():
                if holder.lacks_grants_to(user):
                    wanted.setdefault(holder.ref, set()).update(user.who - holder.grants.keys())
        self._load_grants_to(wanted)

    def _load_grants_to(self, wanted: Mapping[EntityRef, Collection[str]]) -> None:
        """Those to these alone the first time, which may be the last; the next time all, unless they are very many.

        Of several entities all from the first time on, where each question crosses a network and these are too many to
        be asked for on all of them.
        """
        entities = {ref: self._expect(ref) for ref in wanted}
        is_far = not self._present.is_local
        ids = _ids_of(chain.from_iterable(wanted.values())) if is_far else set()
        are_few = len(ids) <= _MAX_PROBED
        self._load_whole(
            [
                entity
                for ref, entity in entities.items()
                if not entity.is_wide and (entity.was_probed or not are_few or len(wanted[ref]) > _MAX_PROBED)
            ]
        )
        probed = [entity for entity in entities.values() if not entity.is_whole]
        if probed and is_far and are_few:
            found = self._present.grants_to_each(self.id, [entity.ref for entity in probed], ids)
            for entity, rows in zip(probed, found, strict=True):
                self._hold_probed(entity, wanted[entity.ref], rows)
        else:
            for entity in probed:
                self._probe(entity, wanted[entity.ref], _ids_of(wanted[entity.ref]))

    def _probe(self, entity: HeldEntity, names: Collection[str], ids: Collection[str]) -> None:
        self._hold_probed(entity, names, self._present.grants_to(self.id, entity.ref, ids))

    def _hold_probed(self, entity: HeldEntity, names: Collection[str], rows: Sequence[GrantRow]) -> None:
        """These are the grants to all these names."""
        if rows:
            self._hold_grants(entity, rows)
        entity.was_probed = True
        before = len(entity.grants)
        entity.grants = dict.fromkeys(names) | entity.grants
        self._cache.spent_bytes += NAME_BYTES * (len(entity.grants) - before)

    def _load_whole(self, entities: Sequence[HeldEntity]) -> None:
        if not entities:
            return
        found = self._present.grants_on(self.id, [entity.ref for entity in entities], limit=_MAX_WHOLE + 1)
        for entity, rows in zip(entities, found, strict=True):
            entity.is_wide = len(rows) > _MAX_WHOLE
            if not entity.is_wide:
                entity.grants = {}
                self._hold_grants(entity, rows)
                entity.is_whole, entity.is_plain = True, not entity.containers

    def _reading(self) -> AbstractContextManager[int]:
        if not self._cache.may_load:
            raise TooMuchToLoad
        return self._present.reading()

    # Loading ahead: in facts of their own, on another connection, while others ask these

    def missing(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those of the pairs about which something that decides is not held."""
        ranks = self._held_ranks(pairs, 0)
        return [pair for pair, rank in zip(pairs, ranks, strict=True) if rank == _NOT_HELD]

    def copy_into(self, cache: "FactCache", pairs: Sequence[Pair]) -> "OrganizationFacts":
        """Facts in another cache that are at the same revision, with what is held about these pairs."""
        copy = OrganizationFacts(cache, self.id)
        copy.start_from(self, pairs)
        return copy

    def load_ahead(self, pairs: Sequence[Pair]) -> News | None:
        """Become as new as the store is, with all that decides about these pairs; what is new since the copy was made.

        Raises StoreUnavailable.
        """
        if len(pairs) == 1 and self.revision >= 0 and self._glance_at(*pairs[0]):
            self._cache.loads += 1
            return None
        with self._reading():
            news = self._news()
            if news is not None:
                self._learn(news)
            if pairs:
                self._load(pairs)
                self._cache.loads += 1
        return news

    def _glance_at(self, user_id: str, ref: tuple[str, str]) -> bool:
        """Load what decides about a pair without a transaction around it, which takes half as long; whether that was
        all, and nothing is new. Each question tells the revision that its answer is of, so whatever is held after it is
        of the revision of these facts, also where this fails half-way."""
        user, entity = self._user(user_id), self._entity(ref)
        has_asked = user is None or entity is None
        if user is None or entity is None:
            found = self._present.glance(self.id, user_id, EntityRef(*ref))
            if not self._is_of_now(found.revision):
                return False
            user = user or self._glance_at_user(user_id, found.standing)
            if user is None:
                return False
            entity = entity or self._hold_entity(EntityRef(*ref), found.outline)
        if absent := self._absent({entity.ref}):
            has_asked = self._glance_at_line(absent)
            if not has_asked:
                return False
        if user.is_known and entity.is_there:
            holders = self._holders(entity) or ()
            if lacking := [holder for holder, _ in holders if holder.lacks_grants_to(user)]:
                return self._glance_at_grants(lacking, user)
        return has_asked  # else nobody has said that nothing is new

    def _glance_at_user(self, user_id: str, standing: Sequence[Standing]) -> HeldUser | None:
        """Whom the user counts as; None for who is no member, or where something is new."""
        user = self._groups.find_user(user_id, standing)
        if user is None:
            lines, roles = self._groups.missing(standing)
            found = self._present.glance_at_groups(self.id, lines, roles)
            if not self._is_of_now(found.revision):
                return None
            self._groups.hold(lines, found.departments, roles, found.roles)
            user = self._groups.user(user_id, standing)
        return self._keep_user(user) if user.is_known else None

    def _glance_at_line(self, refs: Sequence[EntityRef]) -> bool:
        """As `_load_line`, of entities that are not held."""
        absent = refs
        while absent:
            if len(absent) > MAX_GLANCED:
                return False
            revision, outlines = self._present.glance_at_outlines(self.id, absent)
            if not self._is_of_now(revision):
                return False
            for ref in absent:
                self._hold_entity(ref, outlines.get(ref, ()))
            absent = self._absent(set(absent))
        return True

    def _glance_at_grants(self, holders: Sequence[HeldEntity], user: HeldUser) -> bool:
        are_to_be_whole = any(holder.was_probed and not holder.is_wide for holder in holders)
        if are_to_be_whole or len(holders) > MAX_GLANCED or len(user.ids) > _MAX_PROBED:
            return False
        revision, found = self._present.glance_at_grants(self.id, [holder.ref for holder in holders], user.ids)
        if not self._is_of_now(revision):
            return False
        for holder, rows in zip(holders, found, strict=True):
            self._hold_probed(holder, user.who, rows)
        return True

    def _is_of_now(self, revision: int) -> bool:
        return (revision, self._present.line()) == (self.revision, self.line)

    # Changes

    def catch_up(self) -> None:
        """Become as new as the store is."""
        with self._reading():
            self.catch_up_in_reading()

    def _catch_up_to(self, version: int) -> bool:
        """Become as new as the state of that number, which is being read; whether anything changed."""
        return not 0 <= version == self.version and self.catch_up_in_reading()

    def catch_up_in_reading(self) -> bool:
        """Become as new as the state that is being read; whether anything changed."""
        news = self._news()
        if news is not None:
            self._learn(news)
        return news is not None

    def _news(self) -> News | None:
        present = self._present
        (revision, tip_hash), line = present.tip(self.id), present.line()
        if (revision, tip_hash, line) == (self.revision, self.tip_hash, self.line):
            return None
        notices: Sequence[Notice] | None = None
        grew = 0 <= self.revision < revision and line == self.line
        if grew and present.has_had(self.id, self.revision, self.tip_hash):
            notices = present.notices(self.id, after=self.revision, limit=_MAX_NOTICES + 1)
            if not 0 < len(notices) <= _MAX_NOTICES or any(notice.kind not in self._apply for notice in notices):
                notices = None
        is_deleted = present.is_deleted(self.id) if notices is None else self.is_deleted
        return News(self.revision, self.line, revision, tip_hash, line, notices, is_deleted)


def _ids_of(names: Iterable[str]) -> set[str]:
    """Of principals by name."""
    return {name.partition(":")[2] for name in names}
