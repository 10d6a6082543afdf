"""Who may change the book: capabilities, the base roles, and the rule that nobody gives what they lack."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from grantbook.model.errors import ValidationFailed
from grantbook.model.resolution import OVERRIDE


@dataclass(frozen=True, slots=True)
class Capability:
    """What a role can carry. `restricted` ones belong to Owners and are never put into a custom role by others."""

    key: str
    label: str
    group: str
    restricted: bool = False


MANAGE_ACCESS: Final = "manage_access_control"
CREATE_ORGANIZATIONS: Final = "create_organizations"

CAPABILITIES: Final = {
    capability.key: capability
    for capability in (
        Capability("manage_users", "Manage users", "Users"),
        Capability("invite_users", "Invite users", "Users"),
        Capability("deactivate_users", "Deactivate users", "Users"),
        Capability("remove_users", "Remove users", "Users"),
        Capability("manage_departments", "Manage departments", "Departments"),
        Capability("create_subdepartments", "Create sub-departments", "Departments"),
        Capability("reparent_departments", "Move departments", "Departments"),
        Capability("manage_roles", "Manage roles", "Roles"),
        Capability("assign_roles", "Assign roles", "Roles"),
        Capability("view_audit_log", "View the audit log", "Audit"),
        Capability("export_audit_log", "Export the audit log", "Audit"),
        Capability("manage_knowledge_slices", "Manage knowledge slices", "Knowledge"),
        Capability("create_knowledge", "Create knowledge", "Knowledge"),
        Capability("manage_assistants", "Manage assistants", "Assistants"),
        Capability("manage_rules", "Manage rules", "Rules"),
        Capability("manage_api_keys", "Manage API keys", "Security"),
        Capability(MANAGE_ACCESS, "Manage access control", "Security"),
        Capability(OVERRIDE, "Override all permissions", "Security"),
        Capability("manage_billing", "Manage billing", "Organization", restricted=True),
        Capability(CREATE_ORGANIZATIONS, "Create organizations", "Organization", restricted=True),
    )
}

OWNER: Final = "Owner"
ADMIN: Final = "Admin"
MEMBER: Final = "Member"

BASE_ROLES: Final[dict[str, tuple[str, ...]]] = {
    OWNER: tuple(CAPABILITIES),
    ADMIN: tuple(key for key, capability in CAPABILITIES.items() if not capability.restricted),
    MEMBER: (),
}


def valid_capabilities(keys: Iterable[str]) -> tuple[str, ...]:
    """The keys, each once, in the catalogue's order. Raises ValidationFailed (code INVALID_CAPABILITY)."""
    wanted = set(keys)
    if unknown := sorted(wanted - CAPABILITIES.keys()):
        message = f"unknown capability {unknown[0]!r}; known ones: {', '.join(CAPABILITIES)}"
        raise ValidationFailed("capabilities", message, code="INVALID_CAPABILITY")
    return tuple(key for key in CAPABILITIES if key in wanted)
