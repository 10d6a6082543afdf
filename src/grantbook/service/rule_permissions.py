"""Who may view, use or modify a rule: list, replace, grant (which only raises), revoke.

The rule's owner keeps the top level whatever the grants say, and is not listed. A rule may be granted to anybody:
also to users of other organizations, and to everyone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grantbook.model import ids
from grantbook.model.errors import GrantWouldBeDemoted, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EVERYONE, EntityRef, Grant, Principal, revised
from grantbook.model.limits import MAX_RULE_GRANTS
from grantbook.service import gates
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import EXPIRED, GRANTED, REVOKED, UPDATED, live_grants
from grantbook.service.values import item_of, one_of, without_repeats

RULE = "rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """A level for a target."""

    target: Principal
    access_level: str


def list_permissions(reading: Reading, rule_id: str) -> list[Grant]:
    """Live grants in order (created_at, id), for those who may view the rule: for others than members, and who may
    modify it, those alone that give them something.

    Raises NotFound(rule_id), PermissionDenied(rule_id).
    """
    rule = get_rule(reading, rule_id, "view")
    grants = [grant for grant in _all(reading, rule) if not grant.is_expired(reading.at)]
    if reading.membership is None and not gates.has_level(reading, rule, "modify"):
        own = {EVERYONE, Principal("user", reading.caller.user_id)}
        grants = [grant for grant in grants if grant.grantee in own]
    return sorted(grants, key=lambda grant: (grant.created_at, grant.id))


def replace_permissions(writing: Writing, rule_id: str, wanted: Sequence[Permission]) -> list[Grant]:
    """Exactly these grants from now on, atomically, in request order. One kept at its level keeps its id and time.

    Raises NotFound(rule_id or target), PermissionDenied(rule_id), ValidationFailed(target_type, ...).
    """
    without_repeats("body", [each.target for each in wanted], MAX_RULE_GRANTS)
    for position, each in enumerate(wanted):
        with item_of("body", position):
            _validate(writing, each.target, each.access_level)
    rule = get_rule(writing, rule_id, "modify")
    _require_targets(writing, [each.target for each in wanted])
    present = {grant.grantee: grant for grant in _all(writing, rule)}
    result = [_set(writing, rule, each, present.pop(each.target, None)) for each in wanted]
    for grant in present.values():
        writing.book.remove(grant, EXPIRED if grant.is_expired(writing.at) else REVOKED)
    return result


def grant_permission(writing: Writing, rule_id: str, wanted: Permission) -> Grant:
    """Create the grant or raise its level; the same again changes nothing.

    Raises as `replace_permissions`, and GrantWouldBeDemoted(grant_id, access_level).
    """
    _validate(writing, wanted.target, wanted.access_level)
    rule = get_rule(writing, rule_id, "modify")
    _require_targets(writing, [wanted.target])
    present = live_permission(writing, rule, wanted.target)
    if present is None or present.access_level == wanted.access_level:
        return present or _new(writing, rule, wanted)
    rank = writing.vocabulary.entity_type(RULE).rank
    if rank(wanted.access_level) < rank(present.access_level):
        raise GrantWouldBeDemoted(grant_id=present.id, access_level=present.access_level)
    return _raised_or_lowered(writing, present, wanted.access_level)


def revoke_permission(writing: Writing, rule_id: str, target: Principal) -> None:
    """Raises NotFound(rule_id, or target_type and target_id), PermissionDenied(rule_id), ValidationFailed."""
    _validate(writing, target, None)
    rule = get_rule(writing, rule_id, "modify")
    writing.book.remove(_get_live(writing, rule, target), REVOKED)


def change_permission(writing: Writing, rule_id: str, wanted: Permission) -> Grant:
    """Exactly this level, higher or lower, for a target that has one.

    Raises NotFound(rule_id, or target_type and target_id), PermissionDenied(rule_id), ValidationFailed.
    """
    _validate(writing, wanted.target, wanted.access_level)
    present = _get_live(writing, get_rule(writing, rule_id, "modify"), wanted.target)
    if present.access_level == wanted.access_level:
        return present
    return _raised_or_lowered(writing, present, wanted.access_level)


def _set(writing: Writing, rule: EntityRef, wanted: Permission, present: Grant | None) -> Grant:
    if present is not None:
        if present.access_level == wanted.access_level and not present.is_expired(writing.at):
            return present
        writing.book.remove(present, REVOKED)
    return _new(writing, rule, wanted)


def _new(writing: Writing, rule: EntityRef, wanted: Permission) -> Grant:
    grant = Grant(
        id=writing.new_id(ids.RULE_GRANT),
        entity_type=rule.type,
        entity_id=rule.id,
        grantee_type=wanted.target.type,
        grantee_id=wanted.target.id,
        access_level=wanted.access_level,
        granted_by=writing.caller.user_id,
        created_at=writing.at,
        updated_at=writing.at,
    )
    writing.book.add(grant, GRANTED)
    return grant


def _raised_or_lowered(writing: Writing, present: Grant, access_level: str) -> Grant:
    changed = revised(present, access_level=access_level, granted_by=writing.caller.user_id, updated_at=writing.at)
    writing.book.replace(present, changed, UPDATED)
    return changed


def _get_live(writing: Writing, rule: EntityRef, target: Principal) -> Grant:
    present = live_permission(writing, rule, target)
    if present is None:
        raise NotFound("Permission not found", target_type=target.type, target_id=target.id)
    return present


def live_permission(writing: Writing, rule: EntityRef, target: Principal) -> Grant | None:
    """The target's grant; an expired one is closed on the way."""
    present = live_grants(writing, rule, [target]).get(target)
    if present is not None and present.is_expired(writing.at):
        writing.book.remove(present, EXPIRED)
        return None
    return present


def get_rule(reading: Reading, rule_id: str, level: str) -> EntityRef:
    """The rule, for those who have the level on it. Raises NotFound(rule_id), PermissionDenied(rule_id)."""
    rule = EntityRef(RULE, rule_id)
    if reading.snapshot.revision == 0 or gates.find_entity(reading, rule) is None:
        raise NotFound("Rule not found", rule_id=rule_id)
    if not gates.has_level(reading, rule, level):
        raise PermissionDenied(rule_id=rule_id)
    return rule


def _all(reading: Reading, rule: EntityRef) -> list[Grant]:
    return reading.snapshot.select(Grant, {"entity_type": rule.type, "entity_id": rule.id})


def _validate(reading: Reading, target: Principal, access_level: str | None) -> None:
    kind = reading.vocabulary.entity_type(RULE)
    one_of("target_type", target.type, kind.grantee_types)
    if (target.type == EVERYONE.type) != (target.id == EVERYONE.id):
        raise ValidationFailed("target_id", "target_id must be '*' exactly when target_type is 'all'")
    if access_level is not None:
        kind.rank(access_level)


def _require_targets(writing: Writing, targets: Sequence[Principal]) -> None:
    strangers = gates.unknown_principals(writing, targets)
    users = {stranger.id for stranger in strangers if stranger.type == "user"}
    elsewhere = writing.users_anywhere(users) if users else set()
    for stranger in strangers:
        if stranger.type != "user" or stranger.id not in elsewhere:
            raise NotFound(f"{stranger.type} not found", target_type=stranger.type, target_id=stranger.id)
