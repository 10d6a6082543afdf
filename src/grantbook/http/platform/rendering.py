"""Facts and answers in the shapes of the wire, for the server and for `--json`. Names are looked up for all at once."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from grantbook.model.facts import Entity, EntityRef, Grant, Principal
from grantbook.model.instants import Instant, to_text
from grantbook.model.resolution import Access, Path
from grantbook.service import names
from grantbook.service.decisions import Decision
from grantbook.service.desk import Reading, token_of
from grantbook.service.entities import EntityView
from grantbook.service.knowledge import is_composite
from grantbook.service.names import NO_NAME
from grantbook.service.overview import Overview

Json = dict[str, Any]
_SLICE = "knowledge_slice"
_ID_FIELDS: Final = {type_: f"{type_}_id" for type_ in ("department", "role", "organization")}
_OVERVIEW_PART: Final = 1_000


def grants(reading: Reading, found: Sequence[Grant]) -> list[Json]:
    """Access grants, in the order given."""
    people = {Principal("user", grant.granted_by) for grant in found}
    known = names.of_principals(reading, people | {grant.grantee for grant in found})
    return [_grant(reading, grant, known) for grant in found]


def _grant(reading: Reading, grant: Grant, known: Mapping[Principal, names.Name]) -> Json:
    grantee = known.get(grant.grantee, NO_NAME)
    return {
        "id": grant.id,
        "entity_type": grant.entity_type,
        "entity_id": grant.entity_id,
        "grantee_type": grant.grantee_type,
        "grantee_id": grant.grantee_id,
        "grantee_name": grantee.name,
        "grantee_email": grantee.email,
        "access_level": grant.access_level,
        "granted_by": grant.granted_by,
        "granted_by_name": known.get(Principal("user", grant.granted_by), NO_NAME).name,
        "organization_id": reading.organization_id,
        "created_at": to_text(grant.created_at),
        "updated_at": to_text(grant.updated_at),
        "starts_at": _time(grant.starts_at),
        "expires_at": _time(grant.expires_at),
        "reason": grant.reason,
    }


class PathShown(msgspec.Struct, omit_defaults=True, gc=False):
    """A path in the shape of both published answers; fields without a value are left out."""

    type: str
    access_level: str
    grant_id: str | None = None
    source_id: str | None = None
    source_name: str | None = None
    department_id: str | None = None
    role_id: str | None = None
    organization_id: str | None = None
    composite_id: str | None = None
    slice_id: str | None = None
    container_type: str | None = None
    container_id: str | None = None


def paths_of(reading: Reading, accesses: Iterable[Access]) -> "PathRenderer":
    """A renderer that knows the names of everything that the paths name."""
    each = {id(access): access for access in accesses}  # one may be that of many
    sources = {path.source for access in each.values() for path in access.paths}
    return PathRenderer(names.of_principals(reading, sources))


class PathRenderer:
    """Paths to an entity as they are shown."""

    def __init__(self, known: Mapping[Principal, names.Name]) -> None:
        self._known = known

    def __call__(self, ref: EntityRef, paths: Iterable[Path]) -> list[PathShown]:
        return [self._path(ref.type, path) for path in paths]

    def _path(self, type_: str, path: Path) -> PathShown:
        source = path.source
        name = self._known.get(source, NO_NAME).name
        shown = PathShown(path.type, path.access_level, path.grant_id, source.id, name)
        if source.type in _ID_FIELDS:
            setattr(shown, _ID_FIELDS[source.type], source.id)
        if path.through:
            _show_containers(shown, type_, path.through)
        return shown


def _show_containers(shown: PathShown, type_: str, chain: Sequence[EntityRef]) -> None:
    """By name: the slice next to the entity, and the composite that the grant is on. What contains a slice is a
    composite, however deep."""
    slices = [ref.id for ref in chain if ref.type == _SLICE]
    if not slices:
        shown.container_type, shown.container_id = chain[0]
    elif type_ == _SLICE or len(slices) > 1:
        shown.composite_id = slices[0]
        shown.slice_id = None if type_ == _SLICE else slices[-1]
    else:
        shown.slice_id = slices[0]


def reached_entities(reading: Reading, found: Mapping[EntityRef, Access]) -> list[Json]:
    """Entities that a user reaches, in the order given."""
    render = paths_of(reading, found.values())
    return [
        {
            "entity_type": ref.type,
            "entity_id": ref.id,
            "access_level": access.level,
            "grant_paths": render(ref, access.paths),
        }
        for ref, access in found.items()
    ]


def users_with_access(reading: Reading, entity: EntityRef, found: Mapping[str, Access]) -> Json:
    """Who reaches an entity."""
    known = dict(found)  # from now on each access is one object
    render = paths_of(reading, known.values())
    shared = {id(access): access for access in known.values()}  # one for many who have it by the same paths
    rendered = {key: render(entity, access.paths) for key, access in shared.items()}
    users = [
        {"user_id": user_id, "access_level": access.level, "grant_paths": rendered[id(access)]}
        for user_id, access in known.items()
    ]
    return {"entity_type": entity.type, "entity_id": entity.id, "users": users}


def decision(reading: Reading, answer: Decision) -> Json:
    """The bare answer."""
    return {
        "allowed": answer.allowed,
        "access_level": answer.access_level,
        "revision": token_of(reading.organization_id, answer.revision),
    }


def explanation(reading: Reading, entity: EntityRef, answer: Decision) -> Json:
    """The answer with every path, and the remedies of a denial."""
    access = Access(level=answer.access_level, paths=answer.paths)
    paths = paths_of(reading, [access])(entity, answer.paths)
    rendered = {**decision(reading, answer), "grant_paths": paths}
    if not answer.allowed:
        rendered["remedies"] = [dict(remedy) for remedy in answer.remedies]
    return rendered


def overview(found: Overview) -> Iterator[bytes]:
    """The access overview as a text of JSON, in parts."""
    lists: dict[str, Iterator[Any]] = {
        "slices": (_overview_slice(entity, found.composite_ids) for entity in found.slices),
        "stores": (
            {"id": entity.id, "name": entity.name, "created_by": entity.created_by, "access_mode": entity.access_mode}
            for entity in found.stores
        ),
        "grants": (
            {
                "id": grant.id,
                "entity_type": grant.entity_type,
                "entity_id": grant.entity_id,
                "grantee_type": grant.grantee_type,
                "grantee_id": grant.grantee_id,
                "access_level": grant.access_level,
            }
            for grant in found.grants
        ),
        "slice_store_map": (
            {"slice_id": edge.container_id, "store_id": edge.member_id} for edge in found.stores_inside
        ),
        "composite_members": (
            {"composite_id": edge.container_id, "member_id": edge.member_id} for edge in found.slices_inside
        ),
        "admin_users": iter(found.admin_user_ids),
        "org_member_ids": iter(found.member_ids),
    }
    yield b'{"can_view_all":' + msgspec.json.encode(found.can_view_all)
    for name, items in lists.items():
        yield f',"{name}":['.encode()
        comma = b""
        while part := list(islice(items, _OVERVIEW_PART)):
            yield comma + msgspec.json.encode(part)[1:-1]
            comma = b","
        yield b"]"
    yield b"}"


def _overview_slice(entity: Entity, composite_ids: Collection[str]) -> Json:
    return {
        "id": entity.id,
        "name": entity.name,
        "is_composite": entity.id in composite_ids or is_composite(entity),
        "created_by": entity.created_by,
    }


def entity(reading: Reading, found: EntityView) -> Json:
    """A registered entity of any type."""
    known = found.entity
    return {
        "entity_type": known.entity_type,
        "entity_id": known.id,
        "name": known.name,
        "owner_type": known.owner_type,
        "owner_id": known.owner_id,
        "access_mode": known.access_mode,
        "access_target_ids": list(found.target_ids),
        "status": known.status,
        "containers": [{"entity_type": ref.type, "entity_id": ref.id} for ref in found.containers],
        "organization_id": reading.organization_id,
        "created_by": known.created_by,
        "created_at": to_text(known.created_at),
        "updated_at": to_text(known.updated_at),
    }


def _time(value: Instant | None) -> str | None:
    return None if value is None else to_text(value)
