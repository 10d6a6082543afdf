"""Knowledge: slices, composites (slices of slices), and the vector stores in them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from grantbook.model.errors import NotFound, ValidationFailed
from grantbook.model.facts import AccessTarget, Containment, Entity, EntityRef
from grantbook.model.limits import MAX_CONTAINERS_PER_ENTITY, MAX_MEMBERS_PER_CONTAINER, MAX_SUMMARY
from grantbook.service import entities, gates
from grantbook.service.conditions import crossed
from grantbook.service.desk import Reading, Writing
from grantbook.service.entities import Draft, Edit
from grantbook.service.entity_lists import Page, Part, list_entities, searched, with_defaults
from grantbook.service.values import without_repeats
from grantbook.store.port import Where

SLICE: Final = "knowledge_slice"
STORE: Final = "vector_store"
CREATORS: Final = ("create_knowledge", "manage_knowledge_slices")
FORM: Final = "form"
COMPOSITE: Final = "composite"
STANDARD: Final = "standard"
INHERIT: Final = "inherit"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceView:
    """A slice, whom its access mode lists, the slices in it, and how many stores are in it."""

    entity: Entity
    target_ids: tuple[str, ...]
    member_ids: tuple[str, ...]
    store_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """A store, and the slices that hold it."""

    entity: Entity
    slice_ids: tuple[str, ...]


def is_composite(entity: Entity) -> bool:
    """Whether it was made to hold slices."""
    return entity.attributes.get(FORM) == COMPOSITE


def create_slice(writing: Writing, draft: Draft) -> SliceView:
    """A slice or composite. Raises as `entities.create`."""
    return _slice(writing, entities.create(writing, draft, *CREATORS).entity)


def list_slices(
    reading: Reading,
    part: Part,
    *,
    status: str | None = None,
    type_: str | None = None,
    form: str | None = None,
    search: str | None = None,
) -> Page:
    """Slices that the caller sees, composites included: by status, type, form, and a text in the name."""
    known: list[Where] = [{}] if status is None else [{"status": status}]
    attributes = with_defaults({"type": type_, FORM: form}, {"type": STANDARD})
    return list_entities(reading, SLICE, part, *crossed(known, attributes, searched(search, "name")))


def summary(reading: Reading, limit: int) -> tuple[Page, list[SliceView]]:
    """Up to `limit` slices that the caller sees, for a picture of all of them."""
    page = list_entities(reading, SLICE, Part(limit=min(limit, MAX_SUMMARY)))
    return page, slice_views(reading, page.items)


def get_slice(reading: Reading, slice_id: str) -> SliceView:
    """Raises NotFound, PermissionDenied."""
    return _slice(reading, gates.require_sight(reading, EntityRef(SLICE, slice_id)))


def slice_views(reading: Reading, found: Sequence[Entity]) -> list[SliceView]:
    """The slices with what stands next to them, in the order given: one query a kind."""
    ids = {entity.id for entity in found}
    if not ids:
        return []
    targets: dict[str, list[str]] = {}
    for target in reading.snapshot.select(AccessTarget, {"entity_type": SLICE, "entity_id": ids}):
        targets.setdefault(target.entity_id, []).append(target.target_id)
    inside: Where = {"container_type": SLICE, "container_id": ids}
    members: dict[str, list[str]] = {}
    for edge in reading.snapshot.select(Containment, {**inside, "member_type": SLICE}):
        members.setdefault(edge.container_id, []).append(edge.member_id)
    stores = reading.snapshot.tally(Containment, "container_id", {**inside, "member_type": STORE})
    return [
        SliceView(
            entity=entity,
            target_ids=tuple(sorted(targets.get(entity.id, ()))),
            member_ids=tuple(sorted(members.get(entity.id, ()))),
            store_count=stores.get(entity.id, 0),
        )
        for entity in found
    ]


def update_slice(writing: Writing, slice_id: str, change: Edit) -> SliceView:
    """Raises as `entities.edit`."""
    return _slice(writing, entities.edit(writing, EntityRef(SLICE, slice_id), change))


def set_status(writing: Writing, slice_id: str, status: str) -> SliceView:
    """Archive or bring back. Raises as `entities.set_status`."""
    return _slice(writing, entities.set_status(writing, EntityRef(SLICE, slice_id), status).entity)


def update_composite(writing: Writing, slice_id: str, change: Edit, member_ids: Sequence[str] | None) -> SliceView:
    """Another name, or exactly these members from now on: that takes the top level on the composite and each new one.

    Raises as `entities.edit`, NotFound for a plain slice, ValidationFailed(member_slice_ids, containers).
    """
    without_repeats("member_slice_ids", list(member_ids or ()), MAX_MEMBERS_PER_CONTAINER)
    entities.check_edit(change)
    ref = EntityRef(SLICE, slice_id)
    if not is_composite(gates.get_entity(writing, ref)):
        raise NotFound("Composite not found", entity_type=SLICE, entity_id=slice_id)
    entity = entities.require_may_edit(writing, ref, change)
    if member_ids is not None:
        gates.require_administration(writing, ref)
        entities.set_members(writing, ref, [EntityRef(SLICE, id_) for id_ in member_ids], of_type=SLICE)
    return _slice(writing, entities.apply(writing, entity, change))


def create_store(writing: Writing, draft: Draft, slice_id: str | None) -> StoreView:
    """A store, perhaps in a slice. Mode `inherit` copies the slice's mode and targets, once.

    Raises as `entities.create`.
    """
    containers = [] if slice_id is None else [EntityRef(SLICE, slice_id)]
    wanted = replace(draft, containers=containers)
    if draft.access_mode == INHERIT:
        mode, targets = _inherited(writing, None if slice_id is None else [slice_id])
        if draft.targets:
            raise ValidationFailed("access_target_id", "access_target_id is not for access_mode 'inherit'")
        wanted = replace(wanted, access_mode=mode, targets=targets)
    return _store(writing, entities.create(writing, wanted, *CREATORS).entity)


def list_stores(
    reading: Reading,
    part: Part,
    *,
    slice_id: str | None = None,
    status: str | None = None,
    search: str | None = None,
) -> Page:
    """Stores that the caller sees: by slice, status, and a text in the name. An unknown slice has none."""
    wanted: dict[str, str | set[str]] = {} if status is None else {"status": status}
    if slice_id is not None:
        edges: Where = {"container_type": SLICE, "container_id": slice_id, "member_type": STORE}
        wanted["id"] = {edge.member_id for edge in reading.snapshot.select(Containment, edges)}
    return list_entities(reading, STORE, part, *crossed([wanted], searched(search, "name")))


def list_stores_of_slice(reading: Reading, slice_id: str, part: Part) -> Page:
    """Stores that the caller sees, in a slice that the caller sees. Raises NotFound, PermissionDenied."""
    gates.require_sight(reading, EntityRef(SLICE, slice_id))
    return list_stores(reading, part, slice_id=slice_id)


def get_store(reading: Reading, store_id: str) -> StoreView:
    """Raises NotFound, PermissionDenied."""
    return _store(reading, gates.require_sight(reading, EntityRef(STORE, store_id)))


def store_views(reading: Reading, found: Sequence[Entity]) -> list[StoreView]:
    """The stores with the slices that hold them, in the order given: one query."""
    ids = {entity.id for entity in found}
    holders: dict[str, list[str]] = {}
    edges: Where = {"member_type": STORE, "member_id": ids, "container_type": SLICE}
    for edge in reading.snapshot.select(Containment, edges) if ids else ():
        holders.setdefault(edge.member_id, []).append(edge.container_id)
    return [StoreView(entity=entity, slice_ids=tuple(sorted(holders.get(entity.id, ())))) for entity in found]


def update_store(writing: Writing, store_id: str, change: Edit, slice_ids: Sequence[str] | None) -> StoreView:
    """Another name or status, or exactly these slices from now on, which takes the top level on the store.

    Mode `inherit` is for a move into one slice. Raises as `entities.edit`, and ValidationFailed(slice_ids, containers).
    """
    without_repeats("slice_ids", list(slice_ids or ()), MAX_CONTAINERS_PER_ENTITY)
    inherits = change.access_mode == INHERIT
    entities.check_edit(replace(change, access_mode=None) if inherits else change)
    ref = EntityRef(STORE, store_id)
    entity = entities.require_may_edit(writing, ref, change)
    if inherits:
        mode, targets = _inherited(writing, slice_ids)
        change = replace(change, access_mode=mode, targets=targets)
    if slice_ids is not None:
        gates.require_administration(writing, ref)
        entities.set_containers(writing, ref, [EntityRef(SLICE, id_) for id_ in slice_ids], of_type=SLICE)
    return _store(writing, entities.apply(writing, entity, change))


def delete_store(writing: Writing, store_id: str) -> None:
    """Raises as `entities.delete`."""
    entities.delete(writing, EntityRef(STORE, store_id))


def _inherited(writing: Writing, slice_ids: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    """The access mode and the targets of the slice that a store comes into."""
    if slice_ids is None or len(slice_ids) != 1:
        raise ValidationFailed("access_mode", "access_mode 'inherit' is for a store that comes into one slice")
    ref = EntityRef(SLICE, slice_ids[0])
    found = gates.require_sight(writing, ref)
    targets = writing.snapshot.select(AccessTarget, {"entity_type": ref.type, "entity_id": ref.id})
    return found.access_mode, tuple(sorted(target.target_id for target in targets))


def _slice(reading: Reading, entity: Entity) -> SliceView:
    return slice_views(reading, [entity])[0]


def _store(reading: Reading, entity: Entity) -> StoreView:
    return store_views(reading, [entity])[0]
