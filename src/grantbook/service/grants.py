"""Grants on entities: list, create, update, revoke.

There is one live grant for each entity and grantee. An expired one no longer counts: it is closed when a new one is
created. Times are instants; `None` for "from now" and "until revoked".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from msgspec import UNSET, UnsetType

from grantbook.engine import sight
from grantbook.engine.loading import for_users_and_entities
from grantbook.model import ids
from grantbook.model.errors import GrantAlreadyExists, NotFound, ValidationFailed
from grantbook.model.facts import EntityRef, Grant, Principal, revised
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.model.instants import Instant
from grantbook.model.limits import DEFAULT_PAGE, MAX_BULK_GRANTS
from grantbook.model.resolution import principals
from grantbook.model.vocabulary import EntityType
from grantbook.service import gates
from grantbook.service.conditions import crossed
from grantbook.service.desk import Reading, Writing
from grantbook.service.listing import Page, require_part
from grantbook.service.values import item_of, one_of, optional_instant, optional_text, valid_id, without_repeats
from grantbook.store.port import Where

GRANTED, UPDATED, REVOKED, EXPIRED = "granted", "updated", "revoked", "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    """What to give to whom. Times are instants: whole microseconds since 1970-01-01T00:00:00Z."""

    grantee: Principal
    access_level: str
    starts_at: Instant | None = None
    expires_at: Instant | None = None
    reason: str | None = None


def create(writing: Writing, entity: EntityRef, new: NewGrant) -> tuple[Grant, bool]:
    """The grant, and whether it is new: the same grant again is not an error.

    Raises ValidationFailed(entity_type, grantee_type, access_level, expires_at, ...), NotFound(entity or grantee),
    PermissionDenied(entity_type, entity_id), GrantAlreadyExists(grant_id, access_level) where level or window differ.
    """
    check_new(writing, granted_type(writing, entity), new)
    (result,) = _create(writing, entity, [new])
    return result


def create_bulk(writing: Writing, entity: EntityRef, new: Sequence[NewGrant]) -> list[Grant]:
    """Up to 1,000 grants on one entity, all or none, in request order. Raises as `create` does."""
    if not new:
        raise ValidationFailed("grants", "grants must have at least one item")
    without_repeats("grants", [each.grantee for each in new], MAX_BULK_GRANTS)
    kind = granted_type(writing, entity)
    for position, each in enumerate(new):
        with item_of("grants", position):
            check_new(writing, kind, each)
    return [grant for grant, _ in _create(writing, entity, new)]


def update(
    writing: Writing,
    grant_id: str,
    access_level: str | None = None,
    *,
    starts_at: Instant | UnsetType | None = UNSET,
    expires_at: Instant | UnsetType | None = UNSET,
) -> Grant:
    """Another level or window for a live grant; what is not given stays.

    Raises NotFound(grant_id), ValidationFailed(access_level, starts_at, expires_at), PermissionDenied.
    """
    known = {level for name in writing.vocabulary.bound_types for level in writing.vocabulary.types[name].levels}
    if access_level is not None:
        one_of("access_level", access_level, known)
    grant = _get(writing, grant_id)
    level = grant.access_level if access_level is None else access_level
    writing.vocabulary.entity_type(grant.entity_type).rank(level)
    start = grant.starts_at if starts_at is UNSET else optional_instant("starts_at", starts_at)
    end = grant.expires_at if expires_at is UNSET else optional_instant("expires_at", expires_at)
    if end != grant.expires_at:
        _require_to_come(writing, end)
    gates.require_administration(writing, grant.entity)
    if (level, start, end) == (grant.access_level, grant.starts_at, grant.expires_at):
        return grant
    changed = revised(grant, access_level=level, starts_at=start, expires_at=end, updated_at=writing.at)
    writing.book.replace(grant, changed, UPDATED)
    return changed


def revoke(writing: Writing, grant_id: str) -> None:
    """The grant ends; its history stays. Raises NotFound(grant_id), PermissionDenied."""
    grant = _get(writing, grant_id)
    gates.require_administration(writing, grant.entity)
    writing.book.remove(grant, REVOKED)


def list_grants(
    reading: Reading,
    *,
    entity_type: str | None = None,
    entity_id: str | None = None,
    grantee_type: str | None = None,
    grantee_id: str | None = None,
    skip: int = 0,
    limit: int = DEFAULT_PAGE,
    after: tuple[Instant, str] | None = None,
) -> Page[Grant]:
    """Grants in order (created_at, id) that the caller may see: all with `manage_access_control`, else those on
    entities the caller administers and those that reach the caller. Raises ValidationFailed."""
    require_part(skip, limit)
    filters = _filters(reading, entity_type, entity_id, grantee_type, grantee_id)
    return _page(reading, _shown(reading, filters), skip, limit, after)


def get(reading: Reading, grant_id: str) -> Grant:
    """The live grant, for whom `list_grants` shows it to. To others it is unknown. Raises NotFound(grant_id)."""
    grant = _get(reading, grant_id)
    alone: Where = {
        "entity_type": grant.entity_type,
        "entity_id": grant.entity_id,
        "grantee_type": grant.grantee_type,
        "grantee_id": grant.grantee_id,
    }
    if not _shown(reading, alone):
        raise _unknown(grant_id)
    return grant


def list_of_entity(
    reading: Reading,
    entity: EntityRef,
    *,
    skip: int = 0,
    limit: int = DEFAULT_PAGE,
    after: tuple[Instant, str] | None = None,
) -> Page[Grant]:
    """Grants on one entity, for those who have its lowest level (an assistant: for every member).

    Why somebody else has one is told to those alone who may give one.
    """
    gates.get_entity(reading, entity)
    may_give = gates.administers(reading, entity)
    if entity.type != "assistant" and not may_give:
        gates.require_level(reading, entity, reading.vocabulary.entity_type(entity.type).lowest_level)
    page = _page(reading, [{"entity_type": entity.type, "entity_id": entity.id}], skip, limit, after)
    if may_give:
        return page
    return replace(page, items=[_without_reason(grant, reading.caller.user_id) for grant in page.items])


def _without_reason(grant: Grant, user_id: str) -> Grant:
    return grant if user_id in {grant.grantee_id, grant.granted_by} else revised(grant, reason=None)


def live_grants(reading: Reading, entity: EntityRef, grantees: Sequence[Principal]) -> dict[Principal, Grant]:
    """Live grants of these grantees on the entity, expired ones included."""
    where: Where = {
        "entity_type": entity.type,
        "entity_id": entity.id,
        "grantee_id": {grantee.id for grantee in grantees},
    }
    found = {grant.grantee: grant for grant in reading.snapshot.select(Grant, where)}
    return {grantee: found[grantee] for grantee in grantees if grantee in found}


def revoke_dangling(writing: Writing, *where: Where) -> None:
    """Revoke what would name something that goes: called in the transaction that removes it."""
    for grant in writing.snapshot.select(Grant, *where):
        writing.book.remove(grant, REVOKED)


def _create(writing: Writing, entity: EntityRef, new: Sequence[NewGrant]) -> list[tuple[Grant, bool]]:
    """What was checked, if the caller may and all are there."""
    gates.get_entity(writing, entity)
    gates.require_principals(writing, [each.grantee for each in new], "grantee")
    gates.require_administration(writing, entity)
    present = live_grants(writing, entity, [each.grantee for each in new])
    return [create_one(writing, entity, each, present.get(each.grantee)) for each in new]


def granted_type(reading: Reading, entity: EntityRef) -> EntityType:
    """The type of a well-formed reference to what access grants are on. Raises ValidationFailed."""
    kind = reading.vocabulary.entity_type(one_of("entity_type", entity.type, reading.vocabulary.bound_types))
    valid_id("entity_id", entity.id)
    return kind


def check_new(writing: Writing, kind: EntityType, new: NewGrant) -> None:
    """What can be seen from the grant alone. Raises ValidationFailed(grantee_type, access_level, ...)."""
    one_of("grantee_type", new.grantee.type, kind.grantee_types)
    kind.rank(new.access_level)
    optional_text("reason", new.reason)
    optional_instant("starts_at", new.starts_at)
    optional_instant("expires_at", new.expires_at)
    _require_to_come(writing, new.expires_at)


def _require_to_come(writing: Writing, expires_at: Instant | None) -> None:
    if expires_at is not None and expires_at <= writing.at:
        raise ValidationFailed("expires_at", "expires_at must be in the future")


def create_one(writing: Writing, entity: EntityRef, new: NewGrant, present: Grant | None) -> tuple[Grant, bool]:
    """The checked grant beside the one that the grantee has, and whether it is new. Raises GrantAlreadyExists."""
    if present is not None and present.is_expired(writing.at):
        writing.book.remove(present, EXPIRED)
        present = None
    if present is not None:
        wanted = (new.access_level, new.starts_at, new.expires_at)
        if wanted == (present.access_level, present.starts_at, present.expires_at):
            return present, False
        raise GrantAlreadyExists(grant_id=present.id, access_level=present.access_level)
    grant = Grant(
        id=writing.new_id(ids.ACCESS_GRANT),
        entity_type=entity.type,
        entity_id=entity.id,
        grantee_type=new.grantee.type,
        grantee_id=new.grantee.id,
        access_level=new.access_level,
        starts_at=new.starts_at,
        expires_at=new.expires_at,
        reason=new.reason,
        granted_by=writing.caller.user_id,
        created_at=writing.at,
        updated_at=writing.at,
    )
    writing.book.add(grant, GRANTED)
    return grant, True


def _get(reading: Reading, grant_id: str) -> Grant:
    grant = reading.snapshot.find(Grant, grant_id)
    if grant is None or grant.entity_type not in reading.vocabulary.bound_types:
        raise _unknown(grant_id)
    return grant


def _unknown(grant_id: str) -> NotFound:
    return NotFound("Access grant not found", grant_id=grant_id)


def _filters(
    reading: Reading, entity_type: str | None, entity_id: str | None, grantee_type: str | None, grantee_id: str | None
) -> Where:
    kinds = reading.vocabulary.bound_types
    where: dict[str, str | set[str]] = {
        "entity_type": one_of("entity_type", entity_type, kinds) if entity_type is not None else set(kinds)
    }
    if entity_id is not None:
        where["entity_id"] = entity_id
    if grantee_type is not None:
        where["grantee_type"] = one_of("grantee_type", grantee_type, gates.PRINCIPAL_KINDS)
    if grantee_id is not None:
        where["grantee_id"] = grantee_id
    return where


def _shown(reading: Reading, filters: Where) -> list[Where]:
    """The filters, narrowed to what the caller may see; none where that is nothing."""
    return [filters] if MANAGE_ACCESS in reading.capabilities else _visible(reading, filters)


def _visible(reading: Reading, filters: Where) -> list[Where]:
    """The filters, narrowed to what concerns the caller: by grantee, and by administered entity."""
    user_id = reading.caller.user_id
    mine: dict[str, set[str]] = {}
    for type_, id_ in principals(for_users_and_entities(reading.snapshot, [user_id], []), user_id):
        mine.setdefault(type_, set()).add(id_)
    about: list[Where] = [{"grantee_type": type_, "grantee_id": ids} for type_, ids in mine.items()]
    administered = _administered(reading, filters)
    about += [{"entity_type": type_, "entity_id": ids} for type_, ids in administered.items() if ids]
    return crossed([filters], about)


def _administered(reading: Reading, filters: Mapping[str, Any]) -> dict[str, set[str]]:
    """Entities on which the caller has the top level, by type: of those that the filters leave."""
    wanted, entity_id = filters["entity_type"], filters.get("entity_id")
    types = [wanted] if isinstance(wanted, str) else sorted(wanted)
    if entity_id is None:
        return sight.administered_by(reading.snapshot, reading.vocabulary, reading.caller.user_id, reading.at, types)
    top = {type_: reading.vocabulary.entity_type(type_).top_level for type_ in types}
    return {type_: {entity_id} for type_ in types if gates.has_level(reading, EntityRef(type_, entity_id), top[type_])}


def _page(
    reading: Reading, where: Sequence[Where], skip: int, limit: int, after: tuple[Instant, str] | None
) -> Page[Grant]:
    if not where:
        return Page([], 0, has_more=False)
    found = reading.snapshot.page(Grant, *where, skip=skip, limit=limit + 1, after=after)
    return Page(found[:limit], reading.snapshot.count(Grant, *where), has_more=len(found) > limit)
