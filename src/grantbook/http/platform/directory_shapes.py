"""Bodies of requests and answers about organizations, members, departments and roles."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from grantbook.http.requests import Body, Id, Name, Text, Word
from grantbook.model.limits import (
    DEFAULT_PAGE,
    MAX_DEPARTMENTS_PER_MEMBER,
    MAX_DOMAINS,
    MAX_EMAIL_LENGTH,
    MAX_LOGO_LENGTH,
    MAX_MEMBERS_PAGE,
    MAX_NAME_LENGTH,
    MAX_ROLES_PER_MEMBER,
    MAX_SKIP,
)

Domains = Annotated[list[Name], Field(max_length=MAX_DOMAINS)]
Limit = Annotated[float, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]
Capabilities = Annotated[list[Word], Field(max_length=100, examples=[["create_knowledge"]])]
Search = Annotated[str, StringConstraints(max_length=MAX_NAME_LENGTH)]
Logo = Annotated[
    str, StringConstraints(max_length=MAX_LOGO_LENGTH), Field(description="An image in base64, or its address.")
]
Part = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH // 2)]


class CreateOrganization(Body):
    """A new organization. Its name and its preset decide about something here; the rest is kept and shown."""

    name: Name
    type: Word = "company"
    description: Text | None = None
    website: Text | None = None
    industry: Text | None = None
    company_size: Text | None = None
    logo_image: Logo | None = None
    use_system_provider_keys: bool | None = None
    domains: Domains | None = None
    permission_preset: Word | None = None


class UpdateOrganization(Body):
    """What to change; what is left out stays, `null` clears. Nothing but the name decides about anything here."""

    name: Name | None = None
    description: Text | None = None
    website: Text | None = None
    industry: Text | None = None
    company_size: Text | None = None
    logo_image: Logo | None = None
    image_url: Text | None = None
    is_active: Literal[True] | None = Field(None, description="An organization ends by DELETE alone.")
    api_usage_limit: Limit | None = Field(None, description="Kept and shown; Grantbook meters nothing.")
    api_key_usage_limit: Limit | None = Field(None, description="Kept; Grantbook meters nothing.")
    domains: Domains | None = Field(None, description="Kept and shown; nobody becomes a member by an address.")
    default_skin_template_id: Text | None = None


class ChangePreset(Body):
    """Another permission preset."""

    preset: Word = Field(examples=["balanced"])


class InviteUser(Body):
    """A new member: pending, or active at once with `send_invitation: false`."""

    email: Annotated[str, StringConstraints(min_length=3, max_length=MAX_EMAIL_LENGTH)]
    full_name: Name | None = None
    role_ids: list[Id] | None = Field(None, max_length=MAX_ROLES_PER_MEMBER)
    department_ids: list[Id] | None = Field(None, max_length=MAX_DEPARTMENTS_PER_MEMBER)
    send_invitation: bool | None = None
    custom_message: Text | None = Field(None, description="Not kept: sending the invitation is up to you.")
    user_id: Id | None = Field(None, description="Ours: the id that your platform knows the person by.")


class AcceptInvitation(Body):
    """The token of an invitation's link."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class UpdateMemberships(Body):
    """All roles and departments of a member."""

    role_ids: list[Id] = Field(max_length=MAX_ROLES_PER_MEMBER)
    department_ids: list[Id] = Field(max_length=MAX_DEPARTMENTS_PER_MEMBER)


class DeactivateUser(Body):
    """Who owns from now on what the member owns; without it, it stays theirs and gives nobody anything."""

    transfer_resources_to_department_id: Id | None = None


class RemoveUser(DeactivateUser):
    """The same for a member who is removed."""

    confirm: Literal[True] | None = None


class ListMembers(Body):
    """Which members."""

    skip: Annotated[int, Field(ge=0, le=MAX_SKIP)] | None = Field(None, description="0, if left out.")
    take: Annotated[int, Field(ge=1, le=MAX_MEMBERS_PAGE)] | None = Field(
        None, description=f"{DEFAULT_PAGE}, if left out."
    )
    search_term: Search | None = Field(None, description="Somewhere in the name or the address.")
    role_id: Id | None = None
    status_id: Word | None = Field(None, examples=["active"])
    sort_column: Word | None = Field(None, description="created_at, last_modified_at, full_name, email or status.")
    sort_direction: Literal["asc", "desc"] | None = None
    include_inactive: bool | None = Field(None, description="Also those who are deactivated.")


class UpdateMember(Body):
    """What to change. `role_id` takes the place of all roles."""

    role_id: Id | None = None
    status_id: Word | None = Field(None, examples=["deactivated"])
    first_name: Part | None = None
    last_name: Part | None = None


class CreateDepartment(Body):
    """A new department, at the top or below `parent_id`."""

    name: Name
    description: Text | None = None
    parent_id: Id | None = None
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class UpdateDepartment(Body):
    """What to change."""

    name: Name | None = None
    description: Text | None = None


class ReparentDepartment(Body):
    """Where to: below another department, or with `null` to the top."""

    new_parent_id: Id | None = None


class UserReference(Body):
    """A member to add."""

    user_id: Id


class CreateRole(Body):
    """A custom role."""

    name: Name
    description: Text | None = None
    capabilities: Capabilities | None = None
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class UpdateRole(Body):
    """What to change."""

    name: Name | None = None
    description: Text | None = None
    capabilities: Capabilities | None = None


class OrganizationAnswer(BaseModel):
    """An organization."""

    id: str
    name: str
    type: str
    description: str | None
    domain: str | None
    domains: list[str]
    website: str | None
    industry: str | None
    company_size: str | None
    logo_image: str | None
    image_url: str | None
    is_active: bool
    owner_id: str | None
    api_usage_limit: float
    total_usage_limit: float
    storage_free_bytes_allowance: int
    pricing_tier_id: str | None
    created_at: datetime
    updated_at: datetime
    member_count: int
    users_added_from_domains: int


class OrganizationList(BaseModel):
    """A page of organizations, oldest first."""

    organizations: list[OrganizationAnswer]
    total: int
    skip: int
    limit: int


class StatusAnswer(BaseModel):
    """A state that a member can be in."""

    id: str
    name: str
    description: str | None
    color: str | None
    is_base_status: bool
    order: int
    organization_id: str


class PresetAnswer(BaseModel):
    """A permission preset."""

    key: str
    description: str
    member_capabilities: list[str]


class CurrentPreset(BaseModel):
    """The preset in force, and those there are."""

    current_preset: str
    current_description: str
    member_capabilities: list[str]
    available_presets: list[PresetAnswer]


class ChangedPreset(BaseModel):
    """The preset now in force, and how many have the base role Member."""

    preset: str
    description: str
    member_capabilities: list[str]
    members_affected: int


class UserAnswer(BaseModel):
    """A member. The link of an invitation is told once, in the answer that makes it."""

    id: str
    full_name: str | None
    email: str
    user_name: str | None
    account_state: str
    role_ids: list[str]
    department_ids: list[str]
    organization_id: str
    invitation_link: str | None
    invited_at: datetime | None
    deactivated_at: datetime | None


class RoleInfo(BaseModel):
    """The foremost role of a member; empty texts for who has none."""

    id: str
    name: str


class StatusInfo(BaseModel):
    """The state of a member."""

    id: str
    name: str
    selectable_in_ui: bool


class DepartmentInfo(BaseModel):
    """A department of a member."""

    id: str
    name: str


class MemberAnswer(BaseModel):
    """A member as the administration of the crew shows one."""

    id: str = Field(examples=["orgusr_abc123"])
    user_id: str = Field(examples=["usr_abc123"])
    organization_id: str
    full_name: str | None
    email: str
    username: str | None
    profile_image: str | None
    role: RoleInfo
    status: StatusInfo
    account_state: str
    joined_at: datetime
    created_at: datetime
    last_modified_at: datetime
    departments: list[DepartmentInfo]
    department_ids: list[str]


class MemberList(BaseModel):
    """A page of members."""

    users: list[MemberAnswer]
    total_users_count: int
    skip: int
    take: int


class AccessItem(BaseModel):
    """A capability, and whether one has it."""

    key: str
    label: str
    description: str
    granted: bool
    group: str


class OwnedResource(BaseModel):
    """Something that one owns."""

    id: str
    name: str
    entity_type: str
    created_at: datetime


class SharedResource(BaseModel):
    """Something that a grant shares with one."""

    id: str
    name: str
    entity_type: str
    access_level: str
    granted_via: str


class MyAccess(BaseModel):
    """One's own access. At most a hundred resources of each kind are listed; the counts are of all."""

    user_id: str
    organization_id: str
    role_names: list[str]
    preset: str
    preset_description: str
    access_items: list[AccessItem]
    owned_resources: list[OwnedResource]
    shared_resources: list[SharedResource]
    owned_count: int
    shared_count: int


class UiAccess(BaseModel):
    """What a user interface may show to a member; what Grantbook knows nothing about is false."""

    user_id: str
    organization_id: str
    pages: dict[str, bool]
    actions: dict[str, bool]


class DepartmentAnswer(BaseModel):
    """A department. `depth` is 0 at the top; `member_count` is of those in the department itself."""

    id: str
    name: str
    description: str | None
    parent_id: str | None
    path: str
    depth: int
    organization_id: str
    member_count: int
    is_active: bool
    is_default: bool
    color: str | None
    created_by: str | None
    created_at: datetime


class DepartmentTree(DepartmentAnswer):
    """A department with those below it."""

    children: list["DepartmentTree"]


class DepartmentMemberAnswer(BaseModel):
    """A member of a department."""

    user_id: str
    full_name: str | None
    email: str
    account_state: str
    role_ids: list[str]
    added_at: datetime


class RoleAnswer(BaseModel):
    """A role. What it may do is shown to those who keep members or roles; to others it is null."""

    id: str
    name: str
    description: str | None
    permissions: dict[str, bool] | None
    is_base_role: bool
    is_custom: bool
    is_system_role: bool
    capabilities: list[str] | None
    member_count: int
    knowledge_slice_ids: list[str]
    organization_id: str
    created_at: datetime


class RoleMemberAnswer(BaseModel):
    """A member who has a role."""

    user_id: str
    full_name: str | None
    email: str
    account_state: str
    avatar_url: str | None


class RoleMemberList(BaseModel):
    """A page of the members who have a role."""

    members: list[RoleMemberAnswer]
    total: int


class RoleAssignmentAnswer(BaseModel):
    """A role that a user has."""

    id: str
    user_id: str
    role_id: str
    organization_id: str
    assigned_at: datetime


class CapabilityAnswer(BaseModel):
    """A capability. Restricted ones belong to Owners."""

    key: str
    label: str
    description: str
    group: str
    restricted: bool


class RoleTemplateAnswer(BaseModel):
    """A proposal for a custom role."""

    name: str
    description: str
    capabilities: list[str]


class EffectivePermissions(BaseModel):
    """What a member may do by all roles, and in which departments: in all, or in those joined."""

    user_id: str
    capabilities: list[str]
    department_scope: Literal["all"] | list[str]
    role_ids: list[str]
    resolved_at: datetime
