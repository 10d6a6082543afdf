"""Assistants in the shape of the wire: the constants are what the three published shapes require."""

from typing import Any, Final

from grantbook.http.platform.rendering import Json
from grantbook.model.instants import SECOND
from grantbook.model.resolution import Access
from grantbook.service.assistants import AssistantView
from grantbook.service.attributes import text_in
from grantbook.service.desk import Reading

_CONSTANTS: Final[dict[str, Any]] = {
    "is_default": False,
    "api_enabled": False,
    "public_enabled": False,
    "workflow_based": False,
    "is_pinned": False,
    "is_forced": False,
    "temperature": 0.0,
    "default_model_key": "",
    "context_strategy": "",
    "vector_store_ids": [],
    "slice_ids": [],
    "rule_ids": [],
    "skill_ids": [],
}
_EDITS: Final = frozenset({"overwrite", "write", "admin"})


def assistant(reading: Reading, found: AssistantView) -> Json:
    """An assistant with all fields of its summary, standard and full shape that are required somewhere."""
    entity = found.entity
    return {
        **_CONSTANTS,
        "id": entity.id,
        "organization_id": reading.organization_id,
        "name": entity.name,
        "description": text_in(entity.attributes, "description") or None,
        "access_mode": entity.access_mode,
        "access_departments": list(found.department_ids),
        "access_users": list(found.user_ids),
        "is_active": entity.is_active,
        "user_access_level": _level(found.access),
        "created_by": entity.created_by,
        "created_at": entity.created_at // SECOND,
        "updated_at": entity.updated_at // SECOND,
    }


def _level(access: Access) -> str | None:
    """The caller's level in the words of this route."""
    if access.level is None:
        return None
    if any(path.type == "owner" and path.source.type == "user" for path in access.paths):
        return "owner"
    return "edit" if access.level in _EDITS else "view"
