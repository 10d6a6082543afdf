"""The registry of assistants: what decides about access to them, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from grantbook.model.errors import ValidationFailed
from grantbook.model.facts import AccessTarget, Entity, EntityRef, Principal
from grantbook.model.limits import MAX_ACCESS_TARGETS
from grantbook.model.resolution import Access
from grantbook.model.vocabulary import ACCESS_MODES, LISTED_MODES
from grantbook.service import entities, gates, keys
from grantbook.service.conditions import crossed
from grantbook.service.desk import Desk, Reading, Writing
from grantbook.service.entities import Draft, Edit
from grantbook.service.entity_lists import Page, Part, list_entities, searched
from grantbook.service.keys import Identity
from grantbook.service.values import one_of, without_repeats
from grantbook.store.port import Where

ASSISTANT: Final = "assistant"
MANAGE_ASSISTANTS: Final = "manage_assistants"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantView:
    """An assistant, whom its access mode lists, and what the caller has on it."""

    entity: Entity
    department_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked for: None leaves a thing as it is, or at its default."""

    name: str | None = None
    description: str | None = None
    is_active: bool | None = None
    access_mode: str | None = None
    department_ids: Sequence[str] | None = None
    user_ids: Sequence[str] | None = None


def organization_of(desk: Desk, identity: Identity, assistant_id: str) -> str:
    """Where an assistant lives, among the organizations that the key opens, its own first.

    The key's own where none has it: there it may have been deleted by the very request that is repeated now.
    """
    for organization_id in keys.opened(desk, identity):
        with desk.store.snapshot(organization_id) as snapshot:
            if snapshot.find(Entity, ASSISTANT, assistant_id) is not None:
                return organization_id
    return identity.organization_id


def create(writing: Writing, settings: Settings, assistant_id: str) -> AssistantView:
    """An assistant that the caller owns. Raises as `entities.create`, with access_departments or access_users."""
    ref = EntityRef(ASSISTANT, assistant_id)
    mode = settings.access_mode or writing.vocabulary.entity_type(ASSISTANT).default_access_mode
    _validate(settings, mode)
    gates.require_capability(writing, MANAGE_ASSISTANTS)
    _require_targets(writing, settings)
    draft = Draft(
        ref=ref,
        name=settings.name or "",
        owner=Principal("user", writing.caller.user_id),
        access_mode=mode,
        targets=[*(settings.department_ids or ()), *(settings.user_ids or ())],
        attributes={"description": settings.description},
    )
    entity = entities.create(writing, draft, MANAGE_ASSISTANTS).entity
    return _view(writing, entities.apply(writing, entity, Edit(is_active=settings.is_active)))


def list_assistants(
    reading: Reading,
    part: Part,
    *,
    search: str | None = None,
    access_mode: str | None = None,
    with_inactive: bool = False,
) -> Page:
    """Assistants that the caller sees: by access mode, and a text in the name or the description."""
    wanted: dict[str, str] = {} if with_inactive else {"status": "active"}
    if access_mode is not None:
        wanted["access_mode"] = one_of("access_mode", access_mode, ACCESS_MODES)
    texts = searched(search, "name", "attributes.description")
    return list_entities(reading, ASSISTANT, part, *crossed([wanted], texts))


def get(reading: Reading, assistant_id: str) -> AssistantView:
    """Raises NotFound, PermissionDenied."""
    return _view(reading, gates.require_sight(reading, EntityRef(ASSISTANT, assistant_id)))


def update(writing: Writing, assistant_id: str, settings: Settings) -> AssistantView:
    """The assistant, changed. Targets that are not named end with their mode. Raises as `entities.edit`."""
    ref = EntityRef(ASSISTANT, assistant_id)
    if settings.access_mode is not None:
        one_of("access_mode", settings.access_mode, ACCESS_MODES)
    attributes = {} if settings.description is None else {"description": settings.description}
    names_targets = settings.department_ids is not None or settings.user_ids is not None
    change = Edit(
        name=settings.name,
        attributes=attributes,
        is_active=settings.is_active,
        access_mode=settings.access_mode,
        targets=() if names_targets else None,
    )
    entities.check_edit(change)
    entity = entities.require_may_edit(writing, ref, change)
    if names_targets:
        mode = settings.access_mode or entity.access_mode
        _validate(settings, mode)
        _require_targets(writing, settings)
        change = replace(change, targets=_targets(writing, entity, settings, is_new_mode=mode != entity.access_mode))
    return _view(writing, entities.apply(writing, entity, change))


def delete(writing: Writing, assistant_id: str) -> None:
    """The assistant goes, with its grants. Raises as `entities.delete`."""
    entities.delete(writing, EntityRef(ASSISTANT, assistant_id))


def views(reading: Reading, found: Sequence[Entity]) -> list[AssistantView]:
    """The assistants with what stands next to them, in the order given: one query a kind."""
    targets = _listed(reading, {entity.id for entity in found})
    accesses = gates.accesses_of_caller(reading, [entity.ref for entity in found])
    return [
        AssistantView(
            entity=entity,
            department_ids=tuple(sorted(targets.get((entity.id, "department"), ()))),
            user_ids=tuple(sorted(targets.get((entity.id, "user"), ()))),
            access=accesses[entity.ref],
        )
        for entity in found
    ]


def _validate(settings: Settings, mode: str) -> None:
    one_of("access_mode", mode, ACCESS_MODES)
    for field, ids in (("access_departments", settings.department_ids), ("access_users", settings.user_ids)):
        without_repeats(field, list(ids or ()), MAX_ACCESS_TARGETS)
        if ids and mode not in LISTED_MODES:
            raise ValidationFailed(field, f"{field} is only for access_mode {', '.join(sorted(LISTED_MODES))}")


def _require_targets(writing: Writing, settings: Settings) -> None:
    departments = [Principal("department", id_) for id_ in settings.department_ids or ()]
    users = [Principal("user", id_) for id_ in settings.user_ids or ()]
    gates.require_principals(writing, [*departments, *users], "target")


def _targets(writing: Writing, entity: Entity, settings: Settings, *, is_new_mode: bool) -> list[str]:
    """Those named, and of a kind that is not named those that are there, unless the mode is new."""
    present = {} if is_new_mode else _listed(writing, {entity.id})
    named = {"department": settings.department_ids, "user": settings.user_ids}
    return [id_ for kind, ids in named.items() for id_ in (present.get((entity.id, kind), ()) if ids is None else ids)]


def _listed(reading: Reading, ids: set[str]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    where: Where = {"entity_type": ASSISTANT, "entity_id": ids}
    for target in reading.snapshot.select(AccessTarget, where) if ids else ():
        found.setdefault((target.entity_id, target.target_type), []).append(target.target_id)
    return found


def _view(reading: Reading, entity: Entity) -> AssistantView:
    return views(reading, [entity])[0]
