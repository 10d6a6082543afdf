"""Answers in the words of the wire (`--json`): the fields and shapes of the REST API, without importing a server."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from grantbook.model.facts import EntityRef, Grant, Principal
from grantbook.model.instants import Instant, to_text
from grantbook.model.resolution import Access, Path
from grantbook.service import names
from grantbook.service.decisions import Decision
from grantbook.service.desk import Reading, token_of
from grantbook.service.names import NO_NAME, Name

Json = dict[str, Any]
_SLICE: Final = "knowledge_slice"
_NAMED: Final = frozenset({"department", "role", "organization"})


def decision(reading: Reading, answer: Decision) -> Json:
    """As `POST access/check` answers."""
    return {
        "allowed": answer.allowed,
        "access_level": answer.access_level,
        "revision": token_of(reading.organization_id, answer.revision),
    }


def explanation(reading: Reading, entity: EntityRef, answer: Decision) -> Json:
    """As `POST access/explain` answers: every path, and for a denial what would change it."""
    known = names.of_principals(reading, {path.source for path in answer.paths})
    document = decision(reading, answer) | {"grant_paths": _paths(known, entity, answer.paths)}
    if not answer.allowed:
        document["remedies"] = [dict(remedy) for remedy in answer.remedies]
    return document


def entities(reading: Reading, user_id: str, found: Mapping[EntityRef, Access]) -> Json:
    """As `GET users/{user_id}/resolved-access` answers, in the form that has every entity type."""
    known = names.of_principals(reading, _sources(found.values()))
    return {
        "user_id": user_id,
        "resolved_at": to_text(reading.at),
        "entities": [
            {
                "entity_type": ref.type,
                "entity_id": ref.id,
                "access_level": access.level,
                "grant_paths": _paths(known, ref, access.paths),
            }
            for ref, access in found.items()
        ],
    }


def users(reading: Reading, entity: EntityRef, found: Mapping[str, Access]) -> Json:
    """As `GET access/users-with-access` answers."""
    known = names.of_principals(reading, _sources(found.values()))
    return {
        "entity_type": entity.type,
        "entity_id": entity.id,
        "users": [
            {"user_id": user_id, "access_level": access.level, "grant_paths": _paths(known, entity, access.paths)}
            for user_id, access in found.items()
        ],
    }


def page(items: Sequence[Json], *, total: int, skip: int, limit: int) -> Json:
    """As every list of the API looks."""
    return {"items": list(items), "total": total, "skip": skip, "limit": limit, "has_more": skip + len(items) < total}


def grants(reading: Reading, found: Sequence[Grant]) -> list[Json]:
    """Grants as `access/grants` shows them, in the order given, with the names of those involved."""
    known = names.of_principals(reading, {who for each in found for who in (each.grantee, giver_of(each))})
    return [_grant(reading, each, known) for each in found]


def giver_of(grant: Grant) -> Principal:
    """Who granted it."""
    return Principal("user", grant.granted_by)


def _grant(reading: Reading, grant: Grant, known: Mapping[Principal, Name]) -> Json:
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
        "granted_by_name": known.get(giver_of(grant), NO_NAME).name,
        "organization_id": reading.organization_id,
        "created_at": to_text(grant.created_at),
        "updated_at": to_text(grant.updated_at),
        "starts_at": _time(grant.starts_at),
        "expires_at": _time(grant.expires_at),
        "reason": grant.reason,
    }


def _paths(known: Mapping[Principal, Name], entity: EntityRef, paths: Iterable[Path]) -> list[Json]:
    return [_path(known, entity, path) for path in paths]


def _path(known: Mapping[Principal, Name], entity: EntityRef, path: Path) -> Json:
    source = path.source
    fields = {
        "type": path.type,
        "access_level": path.access_level,
        "grant_id": path.grant_id,
        "source_id": source.id,
        "source_name": known.get(source, NO_NAME).name,
        **({f"{source.type}_id": source.id} if source.type in _NAMED else {}),
        **_containers(entity, path.through),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _containers(entity: EntityRef, chain: Sequence[EntityRef]) -> Json:
    """The outermost container that holds slices is the composite, the one next to a store its slice."""
    slices = [ref.id for ref in chain if ref.type == _SLICE]
    if not slices:
        return {"container_type": chain[0].type, "container_id": chain[0].id} if chain else {}
    if entity.type == _SLICE:
        return {"composite_id": slices[0]}
    return {"slice_id": slices[-1]} if len(slices) == 1 else {"composite_id": slices[0], "slice_id": slices[-1]}


def _sources(accesses: Iterable[Access]) -> set[Principal]:
    return {path.source for access in accesses for path in access.paths}


def _time(value: Instant | None) -> str | None:
    return None if value is None else to_text(value)
