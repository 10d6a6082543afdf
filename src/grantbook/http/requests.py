"""Bodies and parameters of requests. Unknown fields are refused; texts and lists are bounded."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from grantbook.model.limits import (
    MAX_ACCESS_TARGETS,
    MAX_BATCH_CHECKS,
    MAX_BULK_GRANTS,
    MAX_CONTAINERS_PER_ENTITY,
    MAX_DEPARTMENTS_PER_MEMBER,
    MAX_ID_LENGTH,
    MAX_MEMBERS_PER_CONTAINER,
    MAX_NAME_LENGTH,
    MAX_ROLES_PER_MEMBER,
    MAX_RULE_CONTENT_LENGTH,
    MAX_TEXT_LENGTH,
)

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]


class Body(BaseModel):
    """Base of every body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GrantWindow(Body):
    """When a grant counts, and why it was given: ours, optional everywhere."""

    starts_at: AwareDatetime | None = Field(None, description="From when on; now if left out.")
    expires_at: AwareDatetime | None = Field(None, description="Until when, exclusive; until revoked if left out.")
    reason: Text | None = Field(None, description="Why, for the record.")


class BulkGrantEntry(GrantWindow):
    """One grant of a bulk."""

    grantee_type: Word = Field(examples=["user"])
    grantee_id: Id = Field(examples=["usr_def456"])
    access_level: Word = Field(examples=["read"])


class CreateGrant(BulkGrantEntry):
    """A new access grant."""

    entity_type: Word = Field(examples=["knowledge_slice"])
    entity_id: Id = Field(examples=["kslice_abc123"])


class BulkCreateGrants(Body):
    """New access grants on one entity, all or none."""

    entity_type: Word = Field(examples=["knowledge_slice"])
    entity_id: Id = Field(examples=["kslice_abc123"])
    grants: list[BulkGrantEntry] = Field(min_length=1, max_length=MAX_BULK_GRANTS)


class UpdateGrant(Body):
    """Another level for a grant."""

    access_level: Word = Field(examples=["write"])


class RuleTarget(Body):
    """Whom a rule grant names; `*` is the id of `all`."""

    target_type: Word = Field(examples=["user"])
    target_id: Id = Field(examples=["usr_abc"])


class RulePermission(RuleTarget):
    """A rule grant."""

    access_level: Word = Field(examples=["use"])


class AtLeast(Body):
    """Read at least this revision."""

    at_least: Token


class CheckItem(Body):
    """May this user do this on this entity?"""

    user_id: Id = Field(examples=["usr_def456"])
    entity_type: Word = Field(examples=["knowledge_slice"])
    entity_id: Id = Field(examples=["kslice_abc123"])
    access_level: Word = Field(examples=["read"])


class CheckAccess(CheckItem):
    """The question, and of when."""

    as_of: AwareDatetime | None = Field(None, description="Answer as it was at this time.")
    consistency: Literal["full"] | AtLeast | None = None


class CheckBatch(Body):
    """Many questions, each answered or refused for itself."""

    checks: list[CheckItem] = Field(min_length=1, max_length=MAX_BATCH_CHECKS)
    as_of: AwareDatetime | None = None
    consistency: Literal["full"] | AtLeast | None = None


class CreateOrganization(Body):
    """A new organization; only its name decides about anything here."""

    name: Name
    type: Word = "company"
    description: Text | None = None
    website: Text | None = None
    industry: Text | None = None
    company_size: Text | None = None
    logo_image: Text | None = None
    use_system_provider_keys: bool | None = None
    domains: list[Name] | None = Field(None, max_length=100)
    permission_preset: Word | None = None


class InviteUser(Body):
    """A new member: pending, or active at once with `send_invitation: false`."""

    email: Annotated[str, StringConstraints(min_length=3, max_length=254)]
    full_name: Name | None = None
    role_ids: list[Id] | None = Field(None, max_length=MAX_ROLES_PER_MEMBER)
    department_ids: list[Id] | None = Field(None, max_length=MAX_DEPARTMENTS_PER_MEMBER)
    send_invitation: bool | None = None
    custom_message: Text | None = None
    user_id: Id | None = Field(None, description="Ours: the id that your platform knows the person by.")


class UpdateMemberships(Body):
    """All roles and departments of a member."""

    role_ids: list[Id] = Field(max_length=MAX_ROLES_PER_MEMBER)
    department_ids: list[Id] = Field(max_length=MAX_DEPARTMENTS_PER_MEMBER)


class CreateDepartment(Body):
    """A new department, at the top or below `parent_id`."""

    name: Name
    description: Text | None = None
    parent_id: Id | None = None
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class UserReference(Body):
    """A member to add."""

    user_id: Id


class CreateRole(Body):
    """A custom role."""

    name: Name
    description: Text | None = None
    capabilities: list[Word] | None = Field(None, max_length=100)
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class CreateSlice(Body):
    """A knowledge slice."""

    name: Name
    description: Text | None = None
    type: Word | None = None
    owner_type: Word
    owner_id: Id
    access_mode: Word | None = None
    access_target_ids: list[Id] | None = Field(None, max_length=MAX_ACCESS_TARGETS)
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class CreateComposite(Body):
    """A slice of slices."""

    name: Name
    description: Text | None = None
    member_slice_ids: list[Id] = Field(max_length=MAX_MEMBERS_PER_CONTAINER)
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class CreateStore(Body):
    """A vector store."""

    name: Name
    description: Text | None = None
    access_mode: Word | None = None
    access_target_id: Id | None = None
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class CreateRule(Body):
    """A rule; the caller becomes its owner."""

    name: Name
    content: Annotated[str, StringConstraints(max_length=MAX_RULE_CONTENT_LENGTH)]
    description: Text | None = None
    category: Word | None = None
    rule_type: Word | None = None
    scope: Word | None = None
    apply_mode: Word | None = None
    is_public: bool | None = None
    is_active: bool | None = None
    attachments: list[dict[str, object]] | None = Field(None, max_length=0, description="Not kept by Grantbook.")
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class EntityReference(Body):
    """A container."""

    entity_type: Word
    entity_id: Id


class RegisterEntity(Body):
    """An entity that your platform keeps. What is left out is cleared, as with any PUT."""

    name: Name
    owner_type: Word = Field(examples=["user"])
    owner_id: Id
    access_mode: Word | None = None
    access_target_ids: list[Id] | None = Field(None, max_length=MAX_ACCESS_TARGETS)
    containers: list[EntityReference] | None = Field(None, max_length=MAX_CONTAINERS_PER_ENTITY)
