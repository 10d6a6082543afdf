"""Names to show beside ids: one query a kind, whatever the number of ids."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from grantbook.model.facts import EVERYONE, Department, Entity, EntityRef, Member, Principal, Role
from grantbook.model.vocabulary import GRANTEE_TYPES
from grantbook.service.desk import SYSTEM_ID, Reading
from grantbook.service.gates import PRINCIPAL_KINDS
from grantbook.store.port import Where


class Name(NamedTuple):
    """What a person calls it, and the address where it is a person."""

    name: str | None = None
    email: str | None = None


NO_NAME = Name()
Thing = tuple[str, str]
"""A principal or an entity: its type, and its id."""

_MAX_GONE: Final = 1_000


def of_principals(reading: Reading, principals: Iterable[Principal]) -> Mapping[Principal, Name]:
    """Names of those that still exist."""
    ids: dict[str, set[str]] = {}
    for principal in principals:
        ids.setdefault(principal.type, set()).add(principal.id)
    names = {Principal("user", SYSTEM_ID): Name("Grantbook"), EVERYONE: Name("Everyone")}
    for type_, kind in PRINCIPAL_KINDS.items():
        for fact in reading.find_each(kind, ids.get(type_, ())):
            names[Principal(type_, getattr(fact, kind.KEY[0]))] = name_in(msgspec.structs.asdict(fact))
    return names


def of_entities(reading: Reading, entities: Iterable[EntityRef]) -> Mapping[EntityRef, str]:
    """Names of those that still exist."""
    wanted = set(entities)
    if not wanted:
        return {}
    found = reading.snapshot.select(Entity, {"id": {entity.id for entity in wanted}})
    return {entity.ref: entity.name for entity in found if entity.ref in wanted}


def of_things(reading: Reading, things: Iterable[Thing]) -> Mapping[Thing, Name]:
    """Names of principals and entities, also of those that are gone, as they were called last."""
    wanted = set(things)
    entities = of_entities(reading, {EntityRef(*thing) for thing in wanted if thing[0] not in GRANTEE_TYPES})
    principals = of_principals(reading, {Principal(*thing) for thing in wanted if thing[0] in GRANTEE_TYPES})
    known: dict[Thing, Name] = {(who.type, who.id): name for who, name in principals.items()}
    known |= {(ref.type, ref.id): Name(name) for ref, name in entities.items()}
    return {**_of_the_gone(reading, wanted - known.keys()), **known}


def name_in(fact: Mapping[str, Any]) -> Name:
    """What a fact is called, by its fields."""
    return Name(fact.get("name") or fact.get("full_name") or fact.get("email"), fact.get("email"))


def _of_the_gone(reading: Reading, things: Iterable[Thing]) -> Mapping[Thing, Name]:
    """From the record of their end: one query, the newest first."""
    wanted = set(things)
    if not wanted:
        return {}
    kinds = {kind.__name__ for kind in (Member, Department, Role, Entity)}
    where: Where = {"subject_id": {id_ for _, id_ in wanted}, "kind": kinds, "after": None}
    names: dict[Thing, Name] = {}
    for change in reading.snapshot.find_changes(where, skip=0, limit=_MAX_GONE):
        names.setdefault((change.subject_type, change.subject_id), name_in(json.loads(change.before or "{}")))
    return {thing: names[thing] for thing in wanted if thing in names}
