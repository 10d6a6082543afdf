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
    description: str
    restricted: bool = False


MANAGE_ACCESS: Final = "manage_access_control"
CREATE_ORGANIZATIONS: Final = "create_organizations"
DELETE_ORGANIZATION: Final = "delete_organization"

CAPABILITIES: Final = {
    capability.key: capability
    for capability in (
        Capability("manage_users", "Manage users", "Users", "Add, change, deactivate and remove members."),
        Capability("invite_users", "Invite users", "Users", "Invite people, who are without access until they accept."),
        Capability("deactivate_users", "Deactivate users", "Users", "End the access of members for the time being."),
        Capability("remove_users", "Remove users", "Users", "Remove members, with the grants that name them."),
        Capability("manage_departments", "Manage departments", "Departments", "Make, change, move and delete them."),
        Capability("create_subdepartments", "Create sub-departments", "Departments", "Make departments below others."),
        Capability("reparent_departments", "Move departments", "Departments", "Put departments below other ones."),
        Capability("manage_roles", "Manage roles", "Roles", "Make, change and delete custom roles."),
        Capability("assign_roles", "Assign roles", "Roles", "Give members roles of capabilities that one has, too."),
        Capability("view_audit_log", "View the audit log", "Audit", "See who changed what, when and why."),
        Capability("export_audit_log", "Export the audit log", "Audit", "Take the audit log out as a file."),
        Capability("manage_knowledge_slices", "Manage knowledge slices", "Knowledge", "See, make and archive all."),
        Capability("create_knowledge", "Create knowledge", "Knowledge", "Make slices and vector stores of one's own."),
        Capability("manage_assistants", "Manage assistants", "Assistants", "See, make and change all assistants."),
        Capability("manage_rules", "Manage rules", "Rules", "See, make and change all rules."),
        Capability("manage_api_keys", "Manage API keys", "Security", "Handle the API keys of every member."),
        Capability(MANAGE_ACCESS, "Manage access control", "Security", "Share every entity, and see every grant."),
        Capability(OVERRIDE, "Override all permissions", "Security", "Reach every entity at its highest level."),
        Capability("manage_billing", "Manage billing", "Organization", "Handle what the platform costs.", True),
        Capability(CREATE_ORGANIZATIONS, "Create organizations", "Organization", "Make further organizations.", True),
        Capability(DELETE_ORGANIZATION, "Delete the organization", "Organization", "End it, for everybody.", True),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What every member may do: the capabilities of the base role Member."""

    key: str
    description: str
    capabilities: tuple[str, ...]


DEFAULT_PRESET: Final = "controlled"
PRESETS: Final = {
    preset.key: preset
    for preset in (
        Preset(
            key=DEFAULT_PRESET,
            description="Members use what is shared with them; everything else takes a role.",
            capabilities=(),
        ),
        Preset(
            key="balanced",
            description="Members also make knowledge of their own.",
            capabilities=("create_knowledge",),
        ),
        Preset(
            key="collaborative",
            description="Members also invite people and make sub-departments.",
            capabilities=("invite_users", "create_subdepartments", "create_knowledge"),
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleTemplate:
    """A proposal for a custom role."""

    name: str
    description: str
    capabilities: tuple[str, ...]


ROLE_TEMPLATES: Final = (
    RoleTemplate(
        name="User manager",
        description="Invites people, and gives them roles and departments.",
        capabilities=("manage_users", "invite_users", "deactivate_users", "remove_users", "assign_roles"),
    ),
    RoleTemplate(
        name="Department manager",
        description="Keeps the department tree, and who is in it.",
        capabilities=("manage_departments", "create_subdepartments", "reparent_departments"),
    ),
    RoleTemplate(
        name="Knowledge manager",
        description="Makes slices, composites and vector stores.",
        capabilities=("manage_knowledge_slices", "create_knowledge"),
    ),
    RoleTemplate(
        name="Access manager",
        description="Shares every entity, and sees every grant.",
        capabilities=("view_audit_log", MANAGE_ACCESS),
    ),
    RoleTemplate(
        name="Auditor",
        description="Reads and exports the audit log, and changes nothing.",
        capabilities=("view_audit_log", "export_audit_log"),
    ),
)


def valid_preset(key: str) -> Preset:
    """Raises ValidationFailed(preset)."""
    if key not in PRESETS:
        raise ValidationFailed("preset", f"preset must be one of {', '.join(PRESETS)}")
    return PRESETS[key]


def preset_of(capabilities: Iterable[str]) -> Preset | None:
    """The preset that gives exactly these, if there is one."""
    given = set(capabilities)
    return next((preset for preset in PRESETS.values() if set(preset.capabilities) == given), None)


def valid_capabilities(keys: Iterable[str]) -> tuple[str, ...]:
    """The keys, each once, in the catalogue's order. Raises ValidationFailed (code INVALID_CAPABILITY)."""
    wanted = set(keys)
    if unknown := sorted(wanted - CAPABILITIES.keys()):
        message = f"unknown capability {unknown[0]!r}; known ones: {', '.join(CAPABILITIES)}"
        raise ValidationFailed("capabilities", message, code="INVALID_CAPABILITY")
    return tuple(key for key in CAPABILITIES if key in wanted)
