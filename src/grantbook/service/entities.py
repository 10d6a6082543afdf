"""What grants are on: register, create, contain, archive, delete.

Containment gives access: a grant on a container reaches what it holds. So whoever puts something into a container must
administer what goes in, and be allowed to add to the container.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grantbook.engine import lookup
from grantbook.model.errors import Conflict, LimitExceeded, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import (
    AccessTarget,
    Containment,
    Department,
    Entity,
    EntityRef,
    Member,
    Principal,
    revised,
)
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.model.limits import (
    MAX_ACCESS_TARGETS,
    MAX_CONTAINERS_PER_ENTITY,
    MAX_CONTAINMENT_DEPTH,
    MAX_MEMBERS_PER_CONTAINER,
)
from grantbook.model.vocabulary import ACCESS_MODES, LISTED_MODES, OWNER_TYPES
from grantbook.service import gates
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import revoke_dangling
from grantbook.service.values import check_attributes, one_of, valid_id, valid_name, without_repeats
from grantbook.store.port import Lookup

ADD_LEVEL = "add_new"
ARCHIVING = ("archived_at", "archived_by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entity as asked for. `access_mode` None is what it has, or for a new one the type's default; `targets` are ids
    of departments or users."""

    ref: EntityRef
    name: str
    owner: Principal
    access_mode: str | None = None
    targets: Sequence[str] = ()
    attributes: Mapping[str, Any] | None = None
    containers: Sequence[EntityRef] = ()
    members: Sequence[EntityRef] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What to change of an entity: None leaves a thing as it is, and so does an attribute that is not named."""

    name: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    is_active: bool | None = None
    access_mode: str | None = None
    targets: Sequence[str] | None = None

    @property
    def is_about_access(self) -> bool:
        """Whether it changes who reaches the entity."""
        return self.access_mode is not None or self.targets is not None

    @property
    def is_about_nothing_else(self) -> bool:
        """Whether it leaves alone what the entity is."""
        return self.is_about_access and self.name is None and not self.attributes and self.is_active is None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityView:
    """An entity with what stands next to it, each in order of ids."""

    entity: Entity
    target_ids: tuple[str, ...]
    containers: tuple[EntityRef, ...]
    members: tuple[EntityRef, ...]


def create(writing: Writing, draft: Draft, *any_capability: str) -> EntityView:
    """A new entity, for callers with one of the capabilities.

    Raises ValidationFailed(name, owner_type, access_mode, ...), NotFound(owner, target, container or member),
    PermissionDenied, Conflict(entity_type, entity_id).
    """
    _validate(writing, draft)
    gates.require_capability(writing, *any_capability)
    _require_may_own(writing, draft.owner)
    if gates.find_entity(writing, draft.ref) is not None:
        raise Conflict("The entity already exists", entity_type=draft.ref.type, entity_id=draft.ref.id)
    _add(writing, draft)
    return view(writing, draft.ref)


def register(writing: Writing, draft: Draft) -> tuple[EntityView, bool]:
    """The entity as the platform that keeps it says it is, made or updated, and whether it is new.

    A new one needs `manage_access_control`; a known one also takes the top level on it, but not for a new owner.
    Raises as `create`.
    """
    _validate(writing, draft)
    present = gates.find_entity(writing, draft.ref)
    if present is None:
        gates.require_capability(writing, MANAGE_ACCESS)
        _add(writing, draft)
        return view(writing, draft.ref), True
    gates.require_administration(writing, draft.ref)
    if present.owner != draft.owner:
        gates.require_capability(writing, MANAGE_ACCESS)
    redraft(writing, present, draft)
    _set_targets(writing, draft.ref, draft.targets)
    set_containers(writing, draft.ref, draft.containers)
    return view(writing, draft.ref), False


def redraft(writing: Writing, present: Entity, draft: Draft) -> bool:
    """Put a checked draft in the place of the entity, without what stands next to it; whether that changes anything.

    An access mode that is not named stays: the default of the type might show the entity to more than have seen it.
    Raises ValidationFailed(access_target_ids).
    """
    mode = draft.access_mode or present.access_mode
    _check_targets(draft, mode)
    changed = revised(
        present,
        name=valid_name("name", draft.name),
        owner_type=draft.owner.type,
        owner_id=draft.owner.id,
        access_mode=mode,
        attributes={**present.attributes, **(draft.attributes or {})},
    )
    if changed != present:
        writing.book.replace(present, revised(changed, updated_at=writing.at), "updated")
    return changed != present


def edit(writing: Writing, ref: EntityRef, change: Edit) -> Entity:
    """The entity, changed. What it is takes the right to manage it; who reaches it, the top level on it.

    Raises ValidationFailed(name, access_mode, access_target_ids), NotFound(entity or target), PermissionDenied.
    """
    check_edit(change)
    return apply(writing, require_may_edit(writing, ref, change), change)


def check_edit(change: Edit) -> None:
    """Raises ValidationFailed(name, access_mode, access_target_ids) for what no entity can be."""
    if change.name is not None:
        valid_name("name", change.name)
    check_attributes(change.attributes)
    if change.access_mode is not None:
        one_of("access_mode", change.access_mode, ACCESS_MODES)
    without_repeats("access_target_ids", list(change.targets or ()), MAX_ACCESS_TARGETS)


def require_may_edit(writing: Writing, ref: EntityRef, change: Edit) -> Entity:
    """The entity, for that change. Raises NotFound, then PermissionDenied."""
    if change.is_about_access:
        gates.require_administration(writing, ref)
    if change.is_about_nothing_else:
        return gates.get_entity(writing, ref)
    return gates.require_management(writing, ref)


def apply(writing: Writing, entity: Entity, change: Edit) -> Entity:
    """The entity, changed, by a caller whose right was looked at. Targets that are not named end with their mode.

    Raises ValidationFailed(access_target_ids), NotFound(target).
    """
    mode = change.access_mode or entity.access_mode
    targets = change.targets if change.targets is not None or mode == entity.access_mode else ()
    if targets and mode not in LISTED_MODES:
        raise ValidationFailed("access_target_ids", f"access_target_ids is only for {', '.join(sorted(LISTED_MODES))}")
    changed = revised(
        entity,
        name=entity.name if change.name is None else valid_name("name", change.name),
        access_mode=mode,
        attributes={**entity.attributes, **change.attributes},
    )
    if changed != entity:
        changed = revised(changed, updated_at=writing.at)
        writing.book.replace(entity, changed, "updated")
    if targets is not None:
        _set_targets(writing, entity.ref, targets)
    if change.is_active is None:
        return changed
    return _set_status(writing, changed, "active" if change.is_active else "archived")


def view(reading: Reading, ref: EntityRef) -> EntityView:
    """The entity and its neighbours. Raises NotFound(entity_type, entity_id)."""
    return views(reading, [gates.get_entity(reading, ref)])[0]


def views(reading: Reading, found: Sequence[Entity]) -> list[EntityView]:
    """Entities of one type and their neighbours, in the order given: one query a kind."""
    if not found:
        return []
    type_, ids = found[0].entity_type, {entity.id for entity in found}
    targets: dict[str, list[str]] = {}
    for target in reading.snapshot.select(AccessTarget, {"entity_type": type_, "entity_id": ids}):
        targets.setdefault(target.entity_id, []).append(target.target_id)
    above: dict[str, list[EntityRef]] = {}
    for edge in reading.snapshot.select(Containment, {"member_type": type_, "member_id": ids}):
        above.setdefault(edge.member_id, []).append(edge.container)
    below: dict[str, list[EntityRef]] = {}
    for edge in reading.snapshot.select(Containment, {"container_type": type_, "container_id": ids}):
        below.setdefault(edge.container_id, []).append(edge.member)
    return [
        EntityView(
            entity=entity,
            target_ids=tuple(sorted(targets.get(entity.id, ()))),
            containers=tuple(sorted(above.get(entity.id, ()))),
            members=tuple(sorted(below.get(entity.id, ()))),
        )
        for entity in found
    ]


def get(reading: Reading, ref: EntityRef) -> EntityView:
    """The entity, for those who see it. Raises NotFound, PermissionDenied."""
    gates.require_sight(reading, ref)
    return view(reading, ref)


def set_status(writing: Writing, ref: EntityRef, status: str) -> EntityView:
    """Archive, which ends all access but keeps the grants, or bring back. Raises NotFound, PermissionDenied."""
    _set_status(writing, gates.require_management(writing, ref), status)
    return view(writing, ref)


def delete(writing: Writing, ref: EntityRef) -> None:
    """The entity goes, with its grants and containment, in one transaction: its id starts anew if it comes back.

    Raises NotFound(entity_type, entity_id), PermissionDenied.
    """
    entity = gates.require_administration(writing, ref)
    revoke_dangling(writing, {"entity_type": ref.type, "entity_id": ref.id})
    for target in writing.snapshot.select(AccessTarget, {"entity_type": ref.type, "entity_id": ref.id}):
        writing.book.remove(target, "removed")
    edges = writing.snapshot.select(
        Containment,
        {"member_type": ref.type, "member_id": ref.id},
        {"container_type": ref.type, "container_id": ref.id},
    )
    for edge in edges:
        writing.book.remove(edge, "removed")
    writing.book.remove(entity, "deleted")


def _validate(writing: Writing, draft: Draft) -> None:
    check_draft(writing, draft)
    gates.require_principals(writing, [draft.owner], "owner")


def check_draft(writing: Writing, draft: Draft) -> None:
    """What can be seen from the draft alone. Raises ValidationFailed(entity_id, name, access_mode, ...)."""
    kind = writing.vocabulary.entity_type(draft.ref.type)
    valid_id("entity_id", draft.ref.id, kind.id_prefix)
    valid_name("name", draft.name)
    without_repeats("access_target_ids", list(draft.targets), MAX_ACCESS_TARGETS)
    without_repeats("containers", list(draft.containers), MAX_CONTAINERS_PER_ENTITY)
    without_repeats("member_ids", list(draft.members), MAX_MEMBERS_PER_CONTAINER)
    one_of("owner_type", draft.owner.type, OWNER_TYPES)
    check_attributes(draft.attributes)
    if draft.access_mode is not None:
        _check_targets(draft, one_of("access_mode", draft.access_mode, ACCESS_MODES))


def _check_targets(draft: Draft, access_mode: str) -> None:
    if draft.targets and access_mode not in LISTED_MODES:
        raise ValidationFailed("access_target_ids", f"access_target_ids is only for {', '.join(sorted(LISTED_MODES))}")


def _require_may_own(writing: Writing, owner: Principal) -> None:
    """Callers own what they make; giving it to others takes the right to manage access."""
    if owner != Principal("user", writing.caller.user_id) and MANAGE_ACCESS not in writing.capabilities:
        raise PermissionDenied(capability=MANAGE_ACCESS)


def _set_status(writing: Writing, entity: Entity, status: str) -> Entity:
    if entity.status == status:
        return entity
    attributes = {name: value for name, value in entity.attributes.items() if name not in ARCHIVING}
    if status == "archived":
        attributes |= dict(zip(ARCHIVING, (writing.at, writing.caller.user_id), strict=True))
    changed = revised(entity, status=status, attributes=attributes, updated_at=writing.at)
    writing.book.replace(entity, changed, "archived" if status == "archived" else "unarchived")
    return changed


def _add(writing: Writing, draft: Draft) -> None:
    add_drafted(writing, draft)
    _set_targets(writing, draft.ref, draft.targets)
    set_containers(writing, draft.ref, draft.containers, is_new=True)
    set_members(writing, draft.ref, draft.members)


def add_drafted(writing: Writing, draft: Draft) -> None:
    """The entity of a checked draft, without what stands next to it.

    Raises ValidationFailed(access_target_ids), Conflict(entity_type, entity_id).
    """
    kind = writing.vocabulary.entity_type(draft.ref.type)
    mode = draft.access_mode or kind.default_access_mode
    _check_targets(draft, mode)
    if not kind.is_bound:
        key = lookup_key(draft.ref)
        if writing.book.claim(Lookup.ENTITY, {key: writing.organization_id})[key] != writing.organization_id:
            raise Conflict("The id is taken", entity_type=draft.ref.type, entity_id=draft.ref.id)
    entity = Entity(
        entity_type=draft.ref.type,
        id=draft.ref.id,
        name=valid_name("name", draft.name),
        owner_type=draft.owner.type,
        owner_id=draft.owner.id,
        access_mode=mode,
        attributes=dict(draft.attributes or {}),
        created_by=writing.caller.user_id,
        created_at=writing.at,
        updated_at=writing.at,
    )
    writing.book.add(entity, "created")


def lookup_key(ref: EntityRef) -> str:
    """The key of an entity that is not bound to its organization, in `Lookup.ENTITY`."""
    return f"{ref.type}/{ref.id}"


def _set_targets(writing: Writing, ref: EntityRef, target_ids: Collection[str]) -> None:
    present = {
        target.target_id: target
        for target in writing.snapshot.select(AccessTarget, {"entity_type": ref.type, "entity_id": ref.id})
    }
    for target_id in sorted(present.keys() - set(target_ids)):
        writing.book.remove(present[target_id], "removed")
    fresh = sorted(set(target_ids) - present.keys())
    if not fresh:
        return
    departments = {department.id for department in writing.snapshot.select(Department, {"id": set(fresh)})}
    members = {member.user_id for member in writing.snapshot.select(Member, {"user_id": set(fresh)})}
    for target_id in fresh:
        if target_id not in departments | members:
            raise NotFound("Access target not found", access_target_id=target_id)
        target_type = "department" if target_id in departments else "user"
        writing.book.add(
            AccessTarget(entity_type=ref.type, entity_id=ref.id, target_type=target_type, target_id=target_id),
            "listed",
        )


def set_containers(
    writing: Writing,
    ref: EntityRef,
    containers: Sequence[EntityRef],
    *,
    of_type: str | None = None,
    is_new: bool = False,
) -> None:
    """Exactly these containers from now on, or of one type exactly these.

    Raises NotFound, PermissionDenied, ValidationFailed(containers) for a cycle.
    """
    where = {"member_type": ref.type, "member_id": ref.id, **_of_type("container_type", of_type)}
    present = {edge.container: edge for edge in writing.snapshot.select(Containment, where)}
    fresh = [container for container in containers if container not in present]
    edges = _edges(writing, [(container, ref) for container in fresh])
    if fresh and not is_new:
        _require_administration(writing, [ref])
    _require_may_add(writing, fresh)
    for container in sorted(present.keys() - set(containers)):
        writing.book.remove(present[container], "removed")
    for edge in edges:
        writing.book.add(edge, "added")
    check_containment(writing, [ref])


def set_members(writing: Writing, ref: EntityRef, members: Sequence[EntityRef], *, of_type: str | None = None) -> None:
    """Exactly these members from now on, or of one type exactly these, in a container that the caller may change.

    Raises NotFound, PermissionDenied, ValidationFailed(containers) for a cycle.
    """
    where = {"container_type": ref.type, "container_id": ref.id, **_of_type("member_type", of_type)}
    present = {edge.member: edge for edge in writing.snapshot.select(Containment, where)}
    fresh = [member for member in members if member not in present]
    edges = _edges(writing, [(ref, member) for member in fresh])
    _require_administration(writing, fresh)
    for member in sorted(present.keys() - set(members)):
        writing.book.remove(present[member], "removed")
    for edge in edges:
        writing.book.add(edge, "added")
    check_containment(writing, fresh)


def _of_type(name: str, of_type: str | None) -> dict[str, str]:
    return {} if of_type is None else {name: of_type}


def _edges(writing: Writing, pairs: Sequence[tuple[EntityRef, EntityRef]]) -> list[Containment]:
    """From containers to members. Raises NotFound for the first that is not there, then ValidationFailed."""
    refs = [ref for pair in pairs for ref in pair]
    known = {entity.ref for entity in writing.snapshot.select(Entity, {"id": {ref.id for ref in refs}})} if refs else ()
    for ref in refs:
        if ref not in known:
            gates.get_entity(writing, ref)
    for container, member in pairs:
        if member.type not in writing.vocabulary.entity_type(container.type).contains:
            raise ValidationFailed("containers", f"a {container.type} cannot contain a {member.type}")
    return [
        Containment(
            container_type=container.type, container_id=container.id, member_type=member.type, member_id=member.id
        )
        for container, member in pairs
    ]


def _require_administration(writing: Writing, members: Sequence[EntityRef]) -> None:
    """What goes in must be administered by the caller, for grants on the container will reach it."""
    if MANAGE_ACCESS in writing.capabilities:
        return
    for ref, access in gates.accesses_of_caller(writing, members).items():
        if not lookup.reaches(writing.vocabulary, ref, access, writing.vocabulary.entity_type(ref.type).top_level):
            raise PermissionDenied(entity_type=ref.type, entity_id=ref.id)


def _require_may_add(writing: Writing, containers: Sequence[EntityRef]) -> None:
    if MANAGE_ACCESS not in writing.capabilities:
        for ref in containers:
            kind = writing.vocabulary.entity_type(ref.type)
            gates.require_level(writing, ref, ADD_LEVEL if ADD_LEVEL in kind.levels else kind.top_level)


def check_containment(writing: Writing, refs: Iterable[EntityRef]) -> None:
    """Raises ValidationFailed for a cycle and LimitExceeded for too deep a nest, before either can be committed."""
    wanted = list(refs)
    above: dict[EntityRef, set[EntityRef]] = {}
    for edge in writing.snapshot.containers_of(wanted) + writing.snapshot.contents_of(wanted):
        above.setdefault(edge.member, set()).add(edge.container)
    depths: dict[EntityRef, int] = {}

    def depth(ref: EntityRef, line: tuple[EntityRef, ...]) -> int:
        if ref in line:
            raise ValidationFailed("containers", f"{ref.id} would contain itself")
        if len(line) > MAX_CONTAINMENT_DEPTH:
            raise LimitExceeded(limit="containment_depth", maximum=MAX_CONTAINMENT_DEPTH)
        if ref not in depths:
            depths[ref] = max((1 + depth(up, (*line, ref)) for up in above.get(ref, ())), default=0)
        if depths[ref] > MAX_CONTAINMENT_DEPTH:
            raise LimitExceeded(limit="containment_depth", maximum=MAX_CONTAINMENT_DEPTH)
        return depths[ref]

    for ref in list(above):
        depth(ref, ())
