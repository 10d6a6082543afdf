"""The older words for who may do what with a rule, over the same facts as `rule_permissions`.

`view` is the level view, `edit` is modify (and use reads as edit, since the older words have nothing between), `owner`
is the owner of the rule. A rule has one owner: making somebody else the owner hands it over, and the owner before
keeps the level that they had, by a grant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from grantbook.model.errors import GrantWouldBeDemoted, LastOwner, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import Entity, Grant, Principal, revised
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.model.instants import Instant
from grantbook.service import gates, rule_permissions
from grantbook.service.desk import Reading, Writing
from grantbook.service.rule_permissions import RULE, Permission
from grantbook.service.rules import find
from grantbook.service.values import one_of, valid_id

VIEW, EDIT, OWNER = "view", "edit", "owner"
RIGHTS: Final = (VIEW, EDIT, OWNER)
_LEVELS: Final[Mapping[str, str]] = {VIEW: "view", EDIT: "modify"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRight:
    """What one user may do with a rule."""

    rule_id: str
    user_id: str
    access_level: str
    granted_by: str
    created_at: Instant
    updated_at: Instant


def list_rights(reading: Reading, rule_id: str) -> list[AccessRight]:
    """The owner, if it is a user, then users with a grant of their own, oldest first. For those who may view the rule.

    Raises NotFound(rule_id), PermissionDenied(rule_id).
    """
    grants = rule_permissions.list_permissions(reading, rule_id)
    rule = find(reading, rule_id)
    owner = [_of_owner(rule)] if rule.owner_type == "user" else []
    return owner + [
        _of_grant(grant) for grant in grants if grant.grantee_type == "user" and grant.grantee != rule.owner
    ]


def give(writing: Writing, rule_id: str, user_id: str, access_level: str) -> AccessRight:
    """Give a right or raise it; the same again changes nothing.

    Raises ValidationFailed(user_id, access_level), NotFound(rule_id or user), PermissionDenied(rule_id),
    GrantWouldBeDemoted(access_level).
    """
    _validate(user_id, access_level)
    rule = _get_for_change(writing, rule_id)
    if access_level == OWNER:
        return _hand_over(writing, rule, user_id)
    if rule.owner == Principal("user", user_id):
        raise GrantWouldBeDemoted(access_level=OWNER)
    return _of_grant(rule_permissions.grant_permission(writing, rule_id, _permission(user_id, access_level)))


def change(writing: Writing, rule_id: str, user_id: str, access_level: str) -> AccessRight:
    """Exactly this right for a user who has one.

    Raises ValidationFailed(user_id, access_level), NotFound(rule_id or user_id), PermissionDenied(rule_id),
    LastOwner(rule_id, user_id).
    """
    _validate(user_id, access_level)
    rule = _get_for_change(writing, rule_id)
    if rule.owner != Principal("user", user_id):
        _require_right(writing, rule, user_id)
    elif access_level != OWNER:
        raise LastOwner(rule_id=rule_id, user_id=user_id)
    if access_level == OWNER:
        return _hand_over(writing, rule, user_id)
    return _of_grant(rule_permissions.change_permission(writing, rule_id, _permission(user_id, access_level)))


def take(writing: Writing, rule_id: str, user_id: str) -> None:
    """Raises NotFound(rule_id or user_id), PermissionDenied(rule_id), LastOwner(rule_id, user_id)."""
    rule = _get_for_change(writing, rule_id)
    if rule.owner == Principal("user", user_id):
        raise LastOwner(rule_id=rule_id, user_id=user_id)
    _require_right(writing, rule, user_id)
    rule_permissions.revoke_permission(writing, rule_id, Principal("user", user_id))


def _validate(user_id: str, access_level: str) -> None:
    valid_id("user_id", user_id)
    one_of("access_level", access_level, RIGHTS)


def _get_for_change(writing: Writing, rule_id: str) -> Entity:
    rule_permissions.get_rule(writing, rule_id, "modify")
    return find(writing, rule_id)


def _require_right(writing: Writing, rule: Entity, user_id: str) -> None:
    if rule_permissions.live_permission(writing, rule.ref, Principal("user", user_id)) is None:
        raise NotFound("Access right not found", rule_id=rule.id, user_id=user_id)


def _hand_over(writing: Writing, rule: Entity, user_id: str) -> AccessRight:
    """Another owner, by the one that there is or by who manages access; nobody else has so much to give."""
    if rule.owner == Principal("user", user_id):
        return _of_owner(rule)
    access = gates.access_of_caller(writing, rule.ref)
    top = writing.vocabulary.entity_type(RULE).top_level
    is_owner = any(path.type in {"owner", "capability"} and path.access_level == top for path in access.paths)
    if not is_owner and MANAGE_ACCESS not in writing.capabilities:
        raise PermissionDenied(rule_id=rule.id)
    if not gates.get_member(writing, user_id).is_active:
        raise ValidationFailed("user_id", "user_id must be an active member, to own a rule")
    _keep_level(writing, rule)
    handed = revised(rule, owner_type="user", owner_id=user_id, updated_at=writing.at)
    writing.book.replace(rule, handed, "updated")
    return _of_owner(handed)


def _keep_level(writing: Writing, rule: Entity) -> None:
    """A grant for what the owner has by owning: giving a right to somebody takes none from others."""
    kind = writing.vocabulary.entity_type(RULE)
    level = kind.owner_levels[rule.owner_type]
    present = rule_permissions.live_permission(writing, rule.ref, rule.owner)
    if gates.unknown_principals(writing, [rule.owner]) or (
        present is not None and kind.rank(present.access_level) >= kind.rank(level)
    ):
        return
    rule_permissions.grant_permission(writing, rule.id, Permission(target=rule.owner, access_level=level))


def _permission(user_id: str, access_level: str) -> Permission:
    return Permission(target=Principal("user", user_id), access_level=_LEVELS[access_level])


def _of_owner(rule: Entity) -> AccessRight:
    return AccessRight(
        rule_id=rule.id,
        user_id=rule.owner_id,
        access_level=OWNER,
        granted_by=rule.created_by,
        created_at=rule.created_at,
        updated_at=rule.created_at,
    )


def _of_grant(grant: Grant) -> AccessRight:
    return AccessRight(
        rule_id=grant.entity_id,
        user_id=grant.grantee_id,
        access_level=VIEW if grant.access_level == "view" else EDIT,
        granted_by=grant.granted_by,
        created_at=grant.created_at,
        updated_at=grant.updated_at,
    )
