"""Organizations, members, departments and roles in the shapes of the wire. Names are looked up for a whole answer."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from grantbook.model import ids
from grantbook.model.facts import Department, DepartmentMember, Member, Role
from grantbook.model.governance import ADMIN, CAPABILITIES, OWNER, PRESETS, Preset, preset_of
from grantbook.model.instants import Instant, to_text
from grantbook.service.attributes import number_in, text_in, texts_in
from grantbook.service.departments import DepartmentView
from grantbook.service.desk import Reading
from grantbook.service.members import MemberView
from grantbook.service.organizations import OrganizationView
from grantbook.service.permissions import ROLE_KEEPERS, OwnAccess, Permissions

Json = dict[str, Any]

STATUSES: Final[Mapping[str, str]] = {
    "active": "Active",
    "pending_invitation": "Pending invitation",
    "deactivated": "Deactivated",
}
_NO_PRESET: Final = Preset(key="custom", description="Members have capabilities of no preset.", capabilities=())
_PAGES: Final[Mapping[str, tuple[str, ...] | None]] = {
    "organization": ("manage_users",),
    "my_team": None,
    "departments": None,
    "roles": ROLE_KEEPERS,
    "audit_log": ("view_audit_log",),
    "billing": ("manage_billing",),
    "knowledge": None,
    "rules": None,
    "members": None,
    "my_access": None,
}
_ACTIONS: Final[Mapping[str, tuple[str, ...] | None]] = {
    "invite_user": ("invite_users", "manage_users"),
    "deactivate_user": ("deactivate_users", "manage_users"),
    "remove_user": ("remove_users", "manage_users"),
    "manage_roles": ("manage_roles",),
    "assign_roles": ("assign_roles",),
    "manage_departments": ("manage_departments",),
    "create_subdepartment": ("create_subdepartments", "manage_departments"),
    "reparent_department": ("reparent_departments", "manage_departments"),
    "manage_knowledge": ("manage_knowledge_slices",),
    "create_knowledge": ("create_knowledge", "manage_knowledge_slices"),
    "view_all_knowledge": ("override_all_permissions",),
    "create_rules": ("manage_rules",),
    "manage_rules": ("manage_rules",),
    "view_members": None,
    "change_preset": ("manage_roles",),
    "view_audit_log": ("view_audit_log",),
    "export_audit_log": ("export_audit_log",),
    "manage_billing": ("manage_billing",),
    "can_manage_access_control": ("manage_access_control",),
    "can_manage_users": ("manage_users",),
    "can_override_all_permissions": ("override_all_permissions",),
}
"""Names of the published API, and which capabilities they take: one of these, or None for none at all."""


def organization(found: OrganizationView) -> Json:
    """An organization; what Grantbook does not keep is filled with honest constants."""
    known = found.organization
    attributes = known.attributes
    return {
        "id": known.id,
        "name": known.name,
        "type": text_in(attributes, "type") or "company",
        "description": text_in(attributes, "description"),
        "domain": None,
        "domains": texts_in(attributes, "domains"),
        "website": text_in(attributes, "website"),
        "industry": text_in(attributes, "industry"),
        "company_size": text_in(attributes, "company_size"),
        "logo_image": text_in(attributes, "logo_image"),
        "image_url": text_in(attributes, "image_url"),
        "is_active": not known.is_deleted,
        "owner_id": found.owner_id,
        "api_usage_limit": number_in(attributes, "api_usage_limit") or 0.0,
        "total_usage_limit": 0.0,
        "storage_free_bytes_allowance": 0,
        "pricing_tier_id": None,
        "created_at": to_text(known.created_at),
        "updated_at": to_text(known.updated_at),
        "member_count": found.member_count,
        "users_added_from_domains": 0,
    }


def statuses(organization_id: str) -> list[Json]:
    """The states of members, the same in every organization."""
    return [
        {
            "id": id_,
            "name": name,
            "description": None,
            "color": None,
            "is_base_status": True,
            "order": position,
            "organization_id": organization_id,
        }
        for position, (id_, name) in enumerate(STATUSES.items())
    ]


def current_preset(role: Role) -> Json:
    """The preset that the base role Member is of, and all there are."""
    preset = preset_of(role.capabilities) or _NO_PRESET
    return {
        "current_preset": preset.key,
        "current_description": preset.description,
        "member_capabilities": list(role.capabilities),
        "available_presets": [
            {"key": each.key, "description": each.description, "member_capabilities": list(each.capabilities)}
            for each in PRESETS.values()
        ],
    }


def changed_preset(preset: Preset, affected: int) -> Json:
    """The preset that was chosen."""
    return {
        "preset": preset.key,
        "description": preset.description,
        "member_capabilities": list(preset.capabilities),
        "members_affected": affected,
    }


def user(reading: Reading, found: MemberView, invitation_link: str | None = None) -> Json:
    """A member as users_v2 shows one."""
    member = found.member
    return {
        "id": member.user_id,
        "full_name": member.full_name,
        "email": member.email,
        "user_name": None,
        "account_state": member.state,
        "role_ids": list(found.role_ids),
        "department_ids": list(found.department_ids),
        "organization_id": reading.organization_id,
        "invitation_link": invitation_link,
        "invited_at": _time(member.invited_at),
        "deactivated_at": _time(member.deactivated_at),
    }


def members(reading: Reading, found: Sequence[MemberView]) -> list[Json]:
    """Members as crew_management_members shows them, in the order given."""
    role_ids = {id_ for each in found for id_ in each.role_ids}
    department_ids = {id_ for each in found for id_ in each.department_ids}
    roles = {role.id: role for role in reading.snapshot.select(Role, {"id": role_ids})} if role_ids else {}
    departments = reading.snapshot.select(Department, {"id": department_ids}) if department_ids else []
    names = {department.id: department.name for department in departments}
    return [_member(reading, each, roles, names) for each in found]


def _member(reading: Reading, found: MemberView, roles: Mapping[str, Role], names: Mapping[str, str]) -> Json:
    member = found.member
    joined = [{"id": id_, "name": names[id_]} for id_ in found.department_ids]
    return {
        "id": ids.ORGANIZATION_USER + member.user_id.removeprefix(ids.USER),
        "user_id": member.user_id,
        "organization_id": reading.organization_id,
        "full_name": member.full_name,
        "email": member.email,
        "username": None,
        "profile_image": None,
        "role": _foremost([roles[id_] for id_ in found.role_ids]),
        "status": {
            "id": member.state,
            "name": STATUSES[member.state],
            "selectable_in_ui": member.state != "pending_invitation",
        },
        "account_state": member.state,
        "joined_at": to_text(member.created_at),
        "created_at": to_text(member.created_at),
        "last_modified_at": to_text(member.updated_at),
        "departments": joined,
        "department_ids": list(found.department_ids),
    }


def _foremost(roles: Collection[Role]) -> Json:
    """Owner, else Admin, else the oldest custom role, else Member."""
    order = {OWNER: 0, ADMIN: 1}
    first = min(
        roles,
        key=lambda role: (order.get(role.name, 3) if role.is_base else 2, role.created_at, role.id),
        default=None,
    )
    return {"id": "", "name": ""} if first is None else {"id": first.id, "name": first.name}


def my_access(reading: Reading, found: OwnAccess, member_role: Role) -> Json:
    """The caller's own access."""
    preset = preset_of(member_role.capabilities) or _NO_PRESET
    given = set(found.permissions.capabilities)
    return {
        "user_id": reading.caller.user_id,
        "organization_id": reading.organization_id,
        "role_names": list(found.role_names),
        "preset": preset.key,
        "preset_description": preset.description,
        "access_items": [
            {
                "key": each.key,
                "label": each.label,
                "description": each.description,
                "granted": each.key in given,
                "group": each.group,
            }
            for each in CAPABILITIES.values()
        ],
        "owned_resources": [
            {
                "id": entity.id,
                "name": entity.name,
                "entity_type": entity.entity_type,
                "created_at": to_text(entity.created_at),
            }
            for entity in found.owned
        ],
        "shared_resources": [
            {
                "id": entity.id,
                "name": entity.name,
                "entity_type": entity.entity_type,
                "access_level": access.level,
                "granted_via": access.paths[0].type,
            }
            for entity, access in found.shared
        ],
        "owned_count": found.owned_count,
        "shared_count": found.shared_count,
    }


def ui_access(reading: Reading, found: Permissions) -> Json:
    """What a user interface may show to the member."""
    given = set(found.capabilities)
    is_active = found.view.member.is_active

    def may(any_of: tuple[str, ...] | None) -> bool:
        return is_active and (any_of is None or bool(given & set(any_of)))

    return {
        "user_id": found.view.member.user_id,
        "organization_id": reading.organization_id,
        "pages": {name: may(any_of) for name, any_of in _PAGES.items()},
        "actions": {name: may(any_of) for name, any_of in _ACTIONS.items()},
    }


def effective_permissions(reading: Reading, found: Permissions) -> Json:
    """What a member may do."""
    return {
        "user_id": found.view.member.user_id,
        "capabilities": list(found.capabilities),
        "department_scope": "all" if found.department_ids is None else list(found.department_ids),
        "role_ids": list(found.view.role_ids),
        "resolved_at": to_text(reading.at),
    }


def department(reading: Reading, found: DepartmentView) -> Json:
    """A department with its place in the tree."""
    known = found.department
    return {
        "id": known.id,
        "name": known.name,
        "description": known.description,
        "parent_id": known.parent_id,
        "path": "/" + "/".join(name.replace("/", "-") for name in found.line),
        "depth": len(found.line) - 1,
        "organization_id": reading.organization_id,
        "member_count": found.member_count,
        "is_active": True,
        "is_default": False,
        "color": None,
        "created_by": known.created_by,
        "created_at": to_text(known.created_at),
    }


def department_tree(reading: Reading, found: Sequence[DepartmentView]) -> list[Json]:
    """The departments, each within its parent; those whose parent is not among them at the top."""
    nodes: dict[str, Json] = {each.department.id: {**department(reading, each), "children": []} for each in found}
    top: list[Json] = []
    for node in nodes.values():
        parent = nodes.get(node["parent_id"])
        (top if parent is None else parent["children"]).append(node)
    return top


def department_member(joined: DepartmentMember, found: MemberView) -> Json:
    """A member of a department."""
    return {
        "user_id": found.member.user_id,
        "full_name": found.member.full_name,
        "email": found.member.email,
        "account_state": found.member.state,
        "role_ids": list(found.role_ids),
        "added_at": to_text(joined.added_at),
    }


def role(reading: Reading, found: Role, member_count: int) -> Json:
    """A role; `permissions` says the same as `capabilities`, as a map."""
    is_open = bool(reading.capabilities & set(ROLE_KEEPERS))
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "permissions": dict.fromkeys(found.capabilities, True) if is_open else None,
        "is_base_role": found.is_base,
        "is_custom": not found.is_base,
        "is_system_role": found.is_base and found.name == OWNER,
        "capabilities": list(found.capabilities) if is_open else None,
        "member_count": member_count,
        "knowledge_slice_ids": [],
        "organization_id": reading.organization_id,
        "created_at": to_text(found.created_at),
    }


def role_member(member: Member) -> Json:
    """A member who has a role."""
    return {
        "user_id": member.user_id,
        "full_name": member.full_name,
        "email": member.email,
        "account_state": member.state,
        "avatar_url": None,
    }


def _time(value: Instant | None) -> str | None:
    return None if value is None else to_text(value)
