"""Thousands of entities or grants in one transaction: all of them, or none and what is wrong with each line.

For those who manage access. As many queries for ten thousand lines as for ten.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from grantbook.model.errors import GrantbookError
from grantbook.model.facts import (
    AccessTarget,
    Containment,
    Department,
    Entity,
    EntityRef,
    Grant,
    Member,
    Principal,
)
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.service import entities, gates, grants
from grantbook.service.desk import Writing
from grantbook.service.entities import Draft
from grantbook.service.grants import NewGrant
from grantbook.service.lines import Problems, missing_entities, missing_principals

_PAIR = ("entity_id", "entity_type", "grantee_id", "grantee_type")


@dataclass(frozen=True, slots=True)
class EntityLine:
    """An entity, and the number of its line."""

    number: int
    draft: Draft


@dataclass(frozen=True, slots=True)
class GrantLine:
    """A grant, and the number of its line."""

    number: int
    entity: EntityRef
    new: NewGrant


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of the lines."""

    created: int
    updated: int
    unchanged: int


def import_grants(writing: Writing, lines: Sequence[GrantLine]) -> Imported:
    """Every grant, made or there already. Raises PermissionDenied(capability), InvalidLines."""
    problems = Problems()
    for line in lines:
        try:
            grants.check_new(writing, grants.granted_type(writing, line.entity), line.new)
        except GrantbookError as error:
            problems.add_error(line.number, error)
    _refuse_repeats(problems, "grantee_id", [(line.number, (line.entity, line.new.grantee)) for line in lines])
    problems.raise_any()
    gates.require_capability(writing, MANAGE_ACCESS)
    no_entities = missing_entities(writing, {line.entity for line in lines})
    no_grantees = missing_principals(writing, {line.new.grantee for line in lines})
    for line in lines:
        _refuse_missing(problems, line.number, "entity_id", line.entity, no_entities)
        _refuse_missing(problems, line.number, "grantee_id", line.new.grantee, no_grantees)
    problems.raise_any()
    pairs = {(line.entity.id, line.entity.type, line.new.grantee.id, line.new.grantee.type) for line in lines}
    present = {(grant.entity, grant.grantee): grant for grant in writing.snapshot.find_all(Grant, _PAIR, pairs)}
    created = 0
    for line in lines:
        there = present.get((line.entity, line.new.grantee))
        try:
            created += grants.create_one(writing, line.entity, line.new, there)[1]
        except GrantbookError as error:
            field = "access_level" if there and there.access_level != line.new.access_level else "expires_at"
            has = f"; the grantee has {there.access_level} by {there.id}" if there else ""
            field = str(error.details.get("field", field))
            problems.add_error(line.number, error, field=field, message=f"{error.explanation}{has}")
    problems.raise_any()
    return Imported(created=created, updated=0, unchanged=len(lines) - created)


def import_entities(writing: Writing, lines: Sequence[EntityLine]) -> Imported:
    """Every entity as the platform that keeps it says it is, made or updated; lines may name each other as containers.

    Raises PermissionDenied(capability), InvalidLines.
    """
    problems = Problems()
    for line in lines:
        _check_entity(writing, line, problems)
    _refuse_repeats(problems, "entity_id", [(line.number, line.draft.ref) for line in lines])
    problems.raise_any()
    gates.require_capability(writing, MANAGE_ACCESS)
    targets = _targets(writing, {id_ for line in lines for id_ in line.draft.targets})
    _refuse_unknown(writing, lines, targets, problems)
    problems.raise_any()
    found = writing.snapshot.select(Entity, {"id": {line.draft.ref.id for line in lines}})
    present = {entity.ref: entity for entity in found}
    changed: set[EntityRef] = set()
    for line in lines:
        there = present.get(line.draft.ref)
        try:
            if there is None:
                entities.add_drafted(writing, line.draft)
            elif entities.redraft(writing, there, line.draft):
                changed.add(line.draft.ref)
        except GrantbookError as error:
            problems.add_error(line.number, error, field="entity_id", message=error.explanation)
    problems.raise_any()
    changed |= _set_targets(writing, lines, targets) | _set_containers(writing, lines)
    created = sum(line.draft.ref not in present for line in lines)
    updated = len(changed & present.keys())
    return Imported(created=created, updated=updated, unchanged=len(lines) - created - updated)


def _check_entity(writing: Writing, line: EntityLine, problems: Problems) -> None:
    draft = line.draft
    try:
        entities.check_draft(writing, draft)
        for container in draft.containers:
            if draft.ref.type not in writing.vocabulary.entity_type(container.type).contains:
                problems.add(line.number, "containers", f"a {container.type} cannot contain a {draft.ref.type}")
    except GrantbookError as error:
        problems.add_error(line.number, error)


def _refuse_repeats(problems: Problems, field: str, lines: Iterable[tuple[int, Hashable]]) -> None:
    first: dict[Hashable, int] = {}
    for number, value in lines:
        if first.setdefault(value, number) != number:
            problems.add(number, field, f"{field} repeats line {first[value]}")


def _refuse_missing(
    problems: Problems,
    number: int,
    field: str,
    wanted: EntityRef | Principal,
    missing: set[EntityRef] | set[Principal],
) -> None:
    if wanted in missing:
        problems.add(number, field, f"{field}: there is no {wanted.type} {wanted.id}")


def _refuse_unknown(
    writing: Writing, lines: Sequence[EntityLine], targets: Mapping[str, str], problems: Problems
) -> None:
    """Owners, targets and containers must be there; a container may be another line."""
    here = {line.draft.ref for line in lines}
    no_owners = missing_principals(writing, {line.draft.owner for line in lines})
    containers = {container for line in lines for container in line.draft.containers}
    no_containers = missing_entities(writing, containers - here)
    for line in lines:
        _refuse_missing(problems, line.number, "owner_id", line.draft.owner, no_owners)
        for container in line.draft.containers:
            _refuse_missing(problems, line.number, "containers", container, no_containers)
        for target_id in line.draft.targets:
            if target_id not in targets:
                problems.add(
                    line.number, "access_target_ids", f"access_target_ids: there is no department or user {target_id}"
                )


def _targets(writing: Writing, ids: set[str]) -> dict[str, str]:
    """What each id names: a department or a user."""
    if not ids:
        return {}
    members = {member.user_id: "user" for member in writing.snapshot.select(Member, {"user_id": ids})}
    departments = {each.id: "department" for each in writing.snapshot.select(Department, {"id": ids})}
    return members | departments


def _set_targets(writing: Writing, lines: Sequence[EntityLine], targets: Mapping[str, str]) -> set[EntityRef]:
    """Exactly the targets of the lines, and the entities that this changes."""
    refs = {line.draft.ref for line in lines}
    found = writing.snapshot.select(AccessTarget, {"entity_id": {ref.id for ref in refs}})
    present = {(fact.entity, fact.target_id): fact for fact in found if fact.entity in refs}
    wanted = {(line.draft.ref, id_) for line in lines for id_ in line.draft.targets}
    for place in sorted(present.keys() - wanted):
        writing.book.remove(present[place], "removed")
    for ref, id_ in sorted(wanted - present.keys()):
        fact = AccessTarget(entity_type=ref.type, entity_id=ref.id, target_type=targets[id_], target_id=id_)
        writing.book.add(fact, "listed")
    return {ref for ref, _ in wanted ^ present.keys()}


def _set_containers(writing: Writing, lines: Sequence[EntityLine]) -> set[EntityRef]:
    """Exactly the containers of the lines, and the entities that this changes. Raises InvalidLines for a circle."""
    numbers = {line.draft.ref: line.number for line in lines}
    found = writing.snapshot.select(Containment, {"member_id": {ref.id for ref in numbers}})
    present = {(edge.container, edge.member): edge for edge in found if edge.member in numbers}
    wanted = {(container, line.draft.ref) for line in lines for container in line.draft.containers}
    for place in sorted(present.keys() - wanted):
        writing.book.remove(present[place], "removed")
    fresh = sorted(wanted - present.keys())
    for container, ref in fresh:
        edge = Containment(
            container_type=container.type, container_id=container.id, member_type=ref.type, member_id=ref.id
        )
        writing.book.add(edge, "added")
    problems = Problems()
    if fresh:
        try:
            entities.check_containment(writing, [ref for _, ref in fresh])
        except GrantbookError as error:
            problems.add_error(min(numbers[ref] for _, ref in fresh), error)
    problems.raise_any()
    return {ref for _, ref in wanted ^ present.keys()}
