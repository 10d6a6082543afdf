"""What is held in memory of one organization, all of it at one revision, and how changes are applied to it."""

from collections.abc import Callable, Sequence, Set
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from grantbook.engine.groups import HeldGroups
from grantbook.engine.held import FOREVER, Chain, HeldEntity, HeldGrant, HeldUser, Holders, name_of
from grantbook.engine.lists import Lists
from grantbook.model.errors import LimitExceeded
from grantbook.model.facts import EntityRef, Grant
from grantbook.model.instants import Instant
from grantbook.model.limits import MAX_CONTAINMENT_DEPTH
from grantbook.store.history import fact_in
from grantbook.store.present_port import GrantRow, Notice

if TYPE_CHECKING:
    from grantbook.engine.facts_cache import FactCache

USER_BYTES: Final = 600
ENTITY_BYTES: Final = 700
NAME_BYTES: Final = 100
GRANT_BYTES: Final = 200
ANSWER_BYTES: Final = 150
_ABOUT_RIGHTS: Final = frozenset({"Organization", "Member", "Role", "RoleAssignment", "ApiKey"})
_EPOCHS: Final = count()

Pair = tuple[str, tuple[str, str]]
"""A user, and an entity by type and id."""


class News(NamedTuple):
    """What changed after a revision on a line; everything may have where `notices` is None."""

    after: int
    after_line: int
    revision: int
    tip_hash: str
    line: int
    notices: Sequence[Notice] | None
    is_deleted: bool


class HeldFacts:
    """Users with whom they count as, and entities with their grants.

    `epoch` is another number whenever who may ask what may have changed: by keys, roles, members, the organization.
    `version` and `line` are those of the store, see `present_port.Present`.
    """

    lists: Lists

    def __init__(self, cache: "FactCache", organization_id: str) -> None:
        self.id = organization_id
        self.revision = -1
        self.tip_hash = ""
        self.version = -1
        self.line = -1
        self.epoch = next(_EPOCHS)
        self._cache = cache
        self._present = cache.present
        self.is_deleted = False
        self._users: dict[str, HeldUser] = {}
        self._entities: dict[tuple[str, str], HeldEntity] = {}
        self._older_users: dict[str, HeldUser] = {}
        self._older_entities: dict[tuple[str, str], HeldEntity] = {}
        self._changed = 0
        """How often anything changed that answers follow from."""
        self._names: dict[str, str] = {}
        self._groups = HeldGroups(cache.present, organization_id, self._names, self.spend)
        self._shape = 0
        self._apply: dict[str, Callable[[Notice], None]] = {
            "Grant": self._apply_grant,
            "Member": lambda notice: self._drop_user(notice.subject_id),
            "DepartmentMember": lambda notice: self._drop_user(notice.target_id),
            "RoleAssignment": lambda notice: self._drop_user(notice.target_id),
            "Department": self._apply_department,
            "Role": self._apply_role,
            "Entity": lambda notice: self._drop_entities(notice.subject_id),
            "AccessTarget": lambda notice: self._drop_entities(notice.subject_id),
            "Containment": lambda notice: self._drop_entities(notice.target_id),
            "ApiKey": lambda _: None,
        }

    def spend(self, taken: int) -> None:
        """Say how many bytes more are held."""
        self._cache.spent_bytes += taken

    def _holders(self, entity: HeldEntity) -> Holders | None:
        """The entity and its active containers at any depth, each with its shortest chain (ties: smallest ids).

        None where one of them is not held.
        """
        if entity.shape == self._shape:
            return entity.holders
        found: dict[EntityRef, tuple[HeldEntity, Chain]] = {entity.ref: (entity, ())}
        frontier = [entity]
        for _ in range(MAX_CONTAINMENT_DEPTH + 1):
            nearer, frontier = frontier, []
            for inner in nearer:
                for ref in inner.containers:
                    container = self._entity(ref)
                    if container is None:
                        return None
                    if ref not in found and container.is_active:
                        found[ref] = (container, (ref, *found[inner.ref][1]))
                        frontier.append(container)
            if not frontier:
                entity.holders, entity.shape = tuple(found.values()), self._shape
                return entity.holders
        raise LimitExceeded(limit="containment_depth", maximum=MAX_CONTAINMENT_DEPTH)

    def _hold_grants(self, entity: HeldEntity, rows: Sequence[GrantRow]) -> None:
        one, grants, rank_at = self._names.setdefault, entity.grants, entity.kind.ranks.get
        for grantee_type, grantee_id, level, id_, starts_at, expires_at in rows:
            name = f"{grantee_type}:{grantee_id}"  # as `name_of`, of which there may be thousands here
            name = one(name, name)
            if grantee_type != "user":
                entity.add_source(name)
            rank = rank_at(level)
            if rank is None:  # the vocabulary lost the level
                continue
            if starts_at is None and expires_at is None:
                grants[name] = HeldGrant(rank, id_, 0, FOREVER)
            else:
                window = starts_at or 0, FOREVER if expires_at is None else expires_at
                grants[name] = HeldGrant(rank, id_, *window)
                self._add_moments(entity, {*window})
        self._cache.spent_bytes += GRANT_BYTES * len(rows)

    def _add_moments(self, entity: HeldEntity, moments: Set[Instant]) -> None:
        """What was answered about the entity, and about what it contains, was to be good beyond them."""
        if not moments <= entity.moments:
            entity.moments |= moments
            self._changed += 1

    def _user(self, user_id: str) -> HeldUser | None:
        found = self._users.get(user_id)
        if found is None:
            found = self._older_users.pop(user_id, None)
            if found is not None:
                self._users[user_id] = found
                self._cache.spent_bytes += USER_BYTES + NAME_BYTES * len(found.who)
        return found

    def _entity(self, ref: tuple[str, str]) -> HeldEntity | None:
        found = self._entities.get(ref)
        if found is None:
            found = self._older_entities.pop(ref, None)
            if found is not None:
                self._entities[found.ref] = found
                self._cache.spent_bytes += ENTITY_BYTES + GRANT_BYTES * len(found.grants)
        return found

    def _expect(self, ref: tuple[str, str]) -> HeldEntity:
        found = self._entity(ref)
        if found is None:
            raise RuntimeError("an entity that was just loaded is not held")
        return found

    def rotate(self) -> bool:
        """What was touched since the last time becomes the older half, and that goes; whether anything is left."""
        self._older_users, self._users = self._users, {}
        self._older_entities, self._entities = self._entities, {}
        self._changed += 1
        self._names.clear()
        self._groups.clear()
        self._shape += 1
        self.lists.clear()
        return bool(self._older_users or self._older_entities)

    # Changes

    def _learn(self, news: News) -> None:
        self._changed += 1
        if news.notices is None:
            self._forget(is_deleted=news.is_deleted)
        else:
            for notice in news.notices:
                self._apply[notice.kind](notice)
                if notice.kind in _ABOUT_RIGHTS:
                    self.epoch = next(_EPOCHS)
            self.lists.apply(news.notices)
        self.revision, self.tip_hash, self.line = news.revision, news.tip_hash, news.line

    def _forget(self, *, is_deleted: bool) -> None:
        self._users, self._older_users, self._entities, self._older_entities = {}, {}, {}, {}
        self._groups.clear()
        self.is_deleted = is_deleted
        self.epoch = next(_EPOCHS)
        self._shape += 1
        self.lists.clear()

    def _apply_grant(self, notice: Notice) -> None:
        for text, is_there in ((notice.before, False), (notice.after, True)):
            if text is None:
                continue
            told = fact_in(Grant, text)
            ref, name = told.entity, name_of(*told.grantee)
            entity = self._entities.get(ref) or self._older_entities.get(ref)
            if entity is not None:
                if is_there:
                    row = GrantRow(*told.grantee, told.access_level, told.id, told.starts_at, told.expires_at)
                    self._hold_grants(entity, [row])
                elif entity.is_whole:
                    entity.grants.pop(name, None)
                else:
                    entity.grants[name] = None
            if told.grantee_type == "user":
                user = self._users.get(told.grantee_id) or self._older_users.get(told.grantee_id)
                if user is not None and not user.is_active:  # maybe only grants make the user known
                    self._drop_user(told.grantee_id)

    def _apply_role(self, notice: Notice) -> None:
        self._groups.drop_role(notice.subject_id)
        self._drop_users_of(name_of("role", notice.subject_id))

    def _apply_department(self, notice: Notice) -> None:
        self._groups.drop_departments()
        if notice.before is None:  # a membership may have been there before its department
            self._users, self._older_users = {}, {}
        else:
            self._drop_users_of(name_of("department", notice.subject_id))

    def _drop_user(self, user_id: str | None) -> None:
        if user_id is not None:
            self._users.pop(user_id, None)
            self._older_users.pop(user_id, None)

    def _drop_users_of(self, name: str) -> None:
        for users in (self._users, self._older_users):
            for user_id in [user.id for user in users.values() if name in user.who]:
                del users[user_id]

    def _drop_entities(self, entity_id: str | None) -> None:
        """Those with the id, whatever their type."""
        if entity_id is not None:
            for entity_type in self._cache.vocabulary.types:
                ref = EntityRef(entity_type, entity_id)
                self._entities.pop(ref, None)
                self._older_entities.pop(ref, None)
            self._shape += 1

    # What was loaded ahead: in facts of their own, while others ask these

    def start_from(self, others: "HeldFacts", pairs: Sequence[Pair]) -> None:
        """Stand where others do, with what they hold about these pairs."""
        self.revision, self.tip_hash = others.revision, others.tip_hash
        self.line, self.is_deleted = others.line, others.is_deleted
        self._groups.add(others._groups)
        users = {user_id: others._user(user_id) for user_id, _ in pairs}
        self._users = {user_id: user for user_id, user in users.items() if user is not None}
        frontier = {EntityRef(*ref) for _, ref in pairs}
        while frontier:
            found = [entity for entity in map(others._entity, frontier) if entity is not None]
            self._entities |= {entity.ref: _unlinked(entity, dict(entity.grants)) for entity in found}
            frontier = {ref for entity in found for ref in entity.containers} - self._entities.keys()

    def take_over(self, ahead: "HeldFacts", news: News | None) -> bool:
        """What was loaded ahead in the copy, where both are at the same revision; whether these are as new as that."""
        if news is not None and (news.after, news.after_line) == (self.revision, self.line):
            self._learn(news)
        if self.line != ahead.line or self.revision < ahead.revision:
            return False
        if self.revision == ahead.revision:
            self._add(ahead)
            self.version = max(self.version, ahead.version)
        return True

    def _add(self, ahead: "HeldFacts") -> None:
        self._groups.add(ahead._groups)
        self._users |= ahead._users
        for theirs in ahead._entities.values():
            mine = self._entity(theirs.ref)
            if mine is None or (theirs.is_whole and not mine.is_whole):
                self._entities[theirs.ref] = _unlinked(theirs, theirs.grants)
                self._shape += mine is not None  # what it contains is linked to the one of before
                self._changed += bool(theirs.moments)
            elif not mine.is_whole:
                mine.grants |= theirs.grants
                mine.was_probed |= theirs.was_probed
                mine.is_wide |= theirs.is_wide
                self._add_moments(mine, theirs.moments)
                for name in theirs.sources or ():
                    mine.add_source(name)
                if theirs.sources is None:
                    mine.sources = None


def _unlinked(entity: HeldEntity, grants: dict[str, HeldGrant | None]) -> HeldEntity:
    """The entity with these grants, for facts in which other objects contain it."""
    return replace(entity, grants=grants, holders=(), shape=-1, settled=-1, answers={}, answered=-1)
