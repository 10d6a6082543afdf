"""Rules, their grants, and the older access rights, in the shapes of the wire."""

from hashlib import sha256
from typing import Final

from grantbook.http.platform.rendering import Json
from grantbook.model.facts import Grant
from grantbook.model.ids import ACCESS_RIGHT
from grantbook.model.instants import to_text
from grantbook.service.attributes import text_in
from grantbook.service.desk import Reading
from grantbook.service.rule_access_rights import AccessRight
from grantbook.service.rules import DEFAULTS, RuleView, version_of

_PREVIEW: Final = 200


def rule(reading: Reading, found: RuleView) -> Json:
    """A rule with its content."""
    return {**_outline(reading, found), "content": _content(found)}


def listed_rule(reading: Reading, found: RuleView) -> Json:
    """A rule in a list, with the beginning of its content."""
    return {**_outline(reading, found), "content_preview": _content(found)[:_PREVIEW]}


def rule_grant(grant: Grant) -> Json:
    """A grant on a rule, with exactly the fields of the published page."""
    return {
        "id": grant.id,
        "target_type": grant.grantee_type,
        "target_id": grant.grantee_id,
        "access_level": grant.access_level,
        "granted_by": grant.granted_by,
        "granted_at": to_text(grant.updated_at),
    }


def access_right(right: AccessRight) -> Json:
    """An older access right: the id is that of the pair of rule and user, whatever the level."""
    pair = f"{right.rule_id}/{right.user_id}"
    return {
        "id": ACCESS_RIGHT + sha256(pair.encode()).hexdigest()[:32],
        "rule_id": right.rule_id,
        "user_id": right.user_id,
        "access_level": right.access_level,
        "granted_by": right.granted_by,
        "granted_at": to_text(right.updated_at),
        "is_deleted": False,
        "created_at": to_text(right.created_at),
        "updated_at": to_text(right.updated_at),
    }


def _outline(reading: Reading, found: RuleView) -> Json:
    entity, attributes = found.entity, found.entity.attributes
    return {
        "id": entity.id,
        "name": entity.name,
        "description": text_in(attributes, "description") or None,
        "content_length": len(_content(found)),
        "category": text_in(attributes, "category"),
        "rule_type": text_in(attributes, "rule_type") or DEFAULTS["rule_type"],
        "scope": text_in(attributes, "scope") or DEFAULTS["scope"],
        "apply_mode": text_in(attributes, "apply_mode"),
        "organization_id": reading.organization_id,
        "created_by": entity.created_by,
        "is_public": entity.access_mode == "public",
        "is_active": attributes.get("state") != "inactive",
        "version": version_of(entity),
        "usage_count": 0,
        "can_edit": found.can_edit,
        "created_at": to_text(entity.created_at),
        "updated_at": to_text(entity.updated_at),
        "attached_entities": [],
    }


def _content(found: RuleView) -> str:
    return text_in(found.entity.attributes, "content") or ""
