"""Names to show beside ids: one query a kind, whatever the number of ids."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from grantbook.model.facts import Department, Entity, EntityRef, Member, Organization, Principal, Role
from grantbook.service.desk import SYSTEM_ID, Reading


class Name(NamedTuple):
    """What a person calls it, and the address where it is a person."""

    name: str | None = None
    email: str | None = None


NO_NAME = Name()


def of_principals(reading: Reading, principals: Iterable[Principal]) -> Mapping[Principal, Name]:
    """Names of those that still exist."""
    ids: dict[str, set[str]] = {}
    for principal in principals:
        ids.setdefault(principal.type, set()).add(principal.id)
    names: dict[Principal, Name] = {Principal("user", SYSTEM_ID): Name("Grantbook")}
    if users := ids.get("user"):
        for member in reading.snapshot.select(Member, {"user_id": users}):
            names[Principal("user", member.user_id)] = Name(member.full_name or member.email, member.email)
    if departments := ids.get("department"):
        for department in reading.snapshot.select(Department, {"id": departments}):
            names[Principal("department", department.id)] = Name(department.name)
    if roles := ids.get("role"):
        for role in reading.snapshot.select(Role, {"id": roles}):
            names[Principal("role", role.id)] = Name(role.name)
    if organizations := ids.get("organization"):
        for organization in reading.snapshot.select(Organization, {"id": organizations}):
            names[Principal("organization", organization.id)] = Name(organization.name)
    if "all" in ids:
        names[Principal("all", "*")] = Name("Everyone")
    return names


def of_entities(reading: Reading, entities: Iterable[EntityRef]) -> Mapping[EntityRef, str]:
    """Names of those that still exist."""
    wanted = set(entities)
    if not wanted:
        return {}
    found = reading.snapshot.select(Entity, {"id": {entity.id for entity in wanted}})
    return {entity.ref: entity.name for entity in found if entity.ref in wanted}
