"""Questions about access, each answered from one state of the book."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

import msgspec

from grantbook.engine import decide, lookup
from grantbook.model.errors import GrantbookError, NotFound, PermissionDenied
from grantbook.model.facts import Entity, EntityRef, Grant, Member
from grantbook.model.resolution import Access, Path
from grantbook.service import gates
from grantbook.service.desk import Reading
from grantbook.service.values import valid_id


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """May this user do this on this entity?"""

    user_id: str
    entity: EntityRef
    access_level: str


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The answer. Read `.allowed`: a decision has no truth value, so that no `if` can take it for a yes."""

    allowed: bool
    access_level: str | None
    revision: int
    paths: tuple[Path, ...] = ()
    remedies: tuple[Mapping[str, str], ...] = ()

    def __bool__(self) -> NoReturn:
        raise TypeError("a Decision has no truth value: read .allowed")


def check(reading: Reading, question: Check) -> Decision:
    """Raises ValidationFailed(entity_type, access_level), NotFound(user_id or entity_id), PermissionDenied(user_id)."""
    (result,) = check_many(reading, [question])
    if isinstance(result, GrantbookError):
        raise result
    return result


def check_many(reading: Reading, questions: Sequence[Check]) -> list[Decision | GrantbookError]:
    """The decision of each question in order, or its error: one bad question does not spoil the others.

    As many queries for a thousand questions as for one.
    """
    errors = _problems(reading, questions)
    pairs = {(each.user_id, each.entity) for each, error in zip(questions, errors, strict=True) if error is None}
    found = decide.access_many(reading.snapshot, reading.vocabulary, pairs, reading.at) if pairs else {}
    return [
        error if error is not None else _decision(reading, each, found[each.user_id, each.entity])
        for each, error in zip(questions, errors, strict=True)
    ]


def explain(reading: Reading, question: Check) -> Decision:
    """The decision with every path, and for a denial what would legitimately change it. Raises as `check`."""
    decision = check(reading, question)
    if decision.allowed:
        return decision
    return Decision(
        allowed=False,
        access_level=decision.access_level,
        revision=decision.revision,
        paths=decision.paths,
        remedies=tuple(remedies(reading, question)),
    )


def entities_of(
    reading: Reading, user_id: str, *, entity_type: str | None = None, access_level: str | None = None
) -> dict[EntityRef, Access]:
    """What the user reaches, ordered by type and id. Raises ValidationFailed, NotFound(user_id), PermissionDenied."""
    require_may_list(reading, user_id, entity_type, access_level)
    return lookup.entities_of(
        reading.snapshot,
        reading.vocabulary,
        user_id,
        reading.at,
        entity_type=entity_type,
        access_level=access_level,
    )


def users_of(reading: Reading, entity: EntityRef, *, access_level: str | None = None) -> dict[str, Access]:
    """Who reaches the entity, ordered by id. Raises ValidationFailed, NotFound(entity), PermissionDenied."""
    require_may_list_users(reading, entity, access_level)
    return lookup.users_of(reading.snapshot, reading.vocabulary, entity, reading.at, access_level=access_level)


def require_may_list_users(reading: Reading, entity: EntityRef, access_level: str | None) -> None:
    """Raises ValidationFailed(entity_id, entity_type, access_level), NotFound(entity), PermissionDenied(entity)."""
    valid_id("entity_id", entity.id)
    reading.vocabulary.check_filter(entity.type, access_level)
    gates.get_entity(reading, entity)
    if "check" not in (reading.caller.scopes or ()) and not gates.administers(reading, entity):
        raise PermissionDenied(entity_type=entity.type, entity_id=entity.id)


def require_may_list(reading: Reading, user_id: str, entity_type: str | None, access_level: str | None) -> None:
    """Raises ValidationFailed(user_id, entity_type, access_level), NotFound(user_id), PermissionDenied(user_id)."""
    reading.vocabulary.check_filter(entity_type, access_level)
    _require_user(reading, user_id)
    if not gates.may_ask_about(reading, user_id):
        raise PermissionDenied(user_id=user_id)


def _require_user(reading: Reading, user_id: str) -> None:
    valid_id("user_id", user_id)
    if not reading.known_users({user_id}):
        raise NotFound("User not found", user_id=user_id)


def _problems(reading: Reading, questions: Sequence[Check]) -> list[GrantbookError | None]:
    """What is wrong with each question, looked up for all of them at once."""
    user_ids = {each.user_id for each in questions}
    known_users = reading.known_users(user_ids)
    ids = {each.entity.id for each in questions}
    entities = {entity.ref for entity in reading.snapshot.select(Entity, {"id": ids})}
    return [_problem(reading, each, known_users, entities) for each in questions]


def _problem(
    reading: Reading, question: Check, known_users: set[str], entities: set[EntityRef]
) -> GrantbookError | None:
    try:
        valid_id("user_id", question.user_id)
        valid_id("entity_id", question.entity.id)
        reading.vocabulary.entity_type(question.entity.type).rank(question.access_level)
    except GrantbookError as error:
        return error
    if question.user_id not in known_users:
        return NotFound("User not found", user_id=question.user_id)
    if question.entity not in entities:
        return NotFound(
            f"{question.entity.type} not found", entity_type=question.entity.type, entity_id=question.entity.id
        )
    if not gates.may_ask_about(reading, question.user_id):
        return PermissionDenied(user_id=question.user_id)
    return None


def _decision(reading: Reading, question: Check, access: Access) -> Decision:
    return Decision(
        allowed=lookup.reaches(reading.vocabulary, question.entity, access, question.access_level),
        access_level=access.level,
        revision=reading.snapshot.revision,
        paths=access.paths,
    )


def remedies(reading: Reading, question: Check) -> list[Mapping[str, str]]:
    """What would allow it, the most direct first; each names the call's own ids."""
    kind = reading.vocabulary.entity_type(question.entity.type)
    entity = gates.get_entity(reading, question.entity)
    member = reading.snapshot.find(Member, question.user_id)
    if not entity.is_active:
        return [{"action": "unarchive_entity", "entity_type": entity.entity_type, "entity_id": entity.id}]
    if kind.is_bound and member is None:
        return [{"action": "invite_user", "user_id": question.user_id}]
    if kind.is_bound and member is not None and not member.is_active:
        return [{"action": "reactivate_user", "user_id": question.user_id, "account_state": member.state}]
    own = reading.snapshot.select(
        Grant,
        {
            "entity_type": entity.entity_type,
            "entity_id": entity.id,
            "grantee_type": "user",
            "grantee_id": question.user_id,
        },
    )
    for grant in own:
        if grant.is_in_force(reading.at):
            return [{"action": "raise_grant", "grant_id": grant.id, "access_level": question.access_level}]
        if not grant.is_expired(reading.at):
            return [{"action": "start_grant_earlier", "grant_id": grant.id, "access_level": question.access_level}]
    return [
        {
            "action": "create_grant",
            "entity_type": entity.entity_type,
            "entity_id": entity.id,
            "grantee_type": "user",
            "grantee_id": question.user_id,
            "access_level": question.access_level,
        }
    ]
