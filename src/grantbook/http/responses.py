"""Bodies of answers, for the documentation: `rendering` makes them, a test holds each to its schema."""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

_TOTAL: Final = "How many there are; null in a page of a long list, which nobody counts for it."


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str = Field(examples=["VALIDATION_ERROR"])
    message: str = Field(examples=["The request contains invalid data."])
    system_message: str = Field(examples=["Validation error"])
    type: str = Field(examples=["client_error"])
    status: int = Field(examples=[422])
    details: dict[str, Any] = Field(examples=[{"field": "entity_type", "message": "entity_type is required"}])
    trace_id: str = Field(examples=["b6f5c4a0-6a38-4f0e-9b8e-1f5c1f8f7a51"])
    timestamp: datetime


class ErrorEnvelope(BaseModel):
    """Every error looks like this."""

    success: bool = Field(False, examples=[False])
    error: ErrorBody


class AccessGrant(BaseModel):
    """An access grant."""

    id: str = Field(examples=["agrant_abc123def456"])
    entity_type: str = Field(examples=["knowledge_slice"])
    entity_id: str = Field(examples=["kslice_abc123"])
    grantee_type: str = Field(examples=["user"])
    grantee_id: str = Field(examples=["usr_def456"])
    grantee_name: str | None = None
    grantee_email: str | None = None
    access_level: str = Field(examples=["read"])
    granted_by: str = Field(examples=["usr_owner1"])
    granted_by_name: str | None = None
    organization_id: str = Field(examples=["org_xyz789"])
    created_at: datetime
    updated_at: datetime
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    reason: str | None = None


class AccessGrantList(BaseModel):
    """A page of access grants."""

    items: list[AccessGrant]
    total: int
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None


class GrantPath(BaseModel):
    """One reason for access, sufficient alone for its level."""

    type: str = Field(examples=["department"])
    access_level: str = Field(examples=["read"])
    grant_id: str | None = None
    source_id: str | None = None
    source_name: str | None = None
    department_id: str | None = None
    role_id: str | None = None
    organization_id: str | None = None
    composite_id: str | None = None
    slice_id: str | None = None
    container_type: str | None = None
    container_id: str | None = None


class EntityAccess(BaseModel):
    """Access to one entity."""

    entity_type: str
    entity_id: str
    access_level: str
    grant_paths: list[GrantPath]


class SliceAccess(BaseModel):
    """Access to one slice."""

    slice_id: str
    slice_name: str | None
    access_level: str
    grant_paths: list[GrantPath]


class StoreAccess(BaseModel):
    """Access to one store."""

    store_id: str
    store_name: str | None
    access_level: str
    grant_paths: list[GrantPath]


class ResolvedAccess(BaseModel):
    """Everything that a user reaches, with reasons."""

    user_id: str
    resolved_at: datetime
    entities: list[EntityAccess]
    slice_access: list[SliceAccess]
    store_access: list[StoreAccess]


class UserAccess(BaseModel):
    """Access of one user."""

    user_id: str
    access_level: str
    grant_paths: list[GrantPath]


class UsersWithAccess(BaseModel):
    """Everybody who reaches an entity, with reasons."""

    entity_type: str
    entity_id: str
    users: list[UserAccess]


class OverviewSlice(BaseModel):
    """A slice."""

    id: str
    name: str
    is_composite: bool
    created_by: str | None


class OverviewStore(BaseModel):
    """A store."""

    id: str
    name: str
    created_by: str | None
    access_mode: str


class OverviewGrant(BaseModel):
    """A grant."""

    id: str
    entity_type: str
    entity_id: str
    grantee_type: str
    grantee_id: str
    access_level: str


class SliceStore(BaseModel):
    """A store lies in a slice."""

    slice_id: str
    store_id: str


class CompositeMember(BaseModel):
    """A slice lies in a composite."""

    composite_id: str
    member_id: str


class AccessOverview(BaseModel):
    """Knowledge and its grants at a glance."""

    can_view_all: bool
    slices: list[OverviewSlice]
    stores: list[OverviewStore]
    grants: list[OverviewGrant]
    slice_store_map: list[SliceStore]
    composite_members: list[CompositeMember]
    admin_users: list[str]
    org_member_ids: list[str]


class Success(BaseModel):
    """It is done."""

    success: bool = Field(examples=[True])


class CheckAnswer(BaseModel):
    """Whether, at which level in fact, and of which revision."""

    allowed: bool
    access_level: str | None
    revision: str


class ExplainAnswer(CheckAnswer):
    """The answer with all its reasons, or for a denial with what would change it."""

    grant_paths: list[GrantPath]
    remedies: list[dict[str, str]] | None = None


class BatchItem(BaseModel):
    """One answer of a batch, or its error."""

    allowed: bool
    access_level: str | None
    error: ErrorBody | None = None


class BatchAnswer(BaseModel):
    """Answers in the order of the questions."""

    results: list[BatchItem]
    revision: str


class ReachedEntities(BaseModel):
    """A page of the entities that a user reaches."""

    items: list[EntityAccess]
    total: int | None = Field(description=_TOTAL)
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None
    complete: bool


class ReachingUsers(BaseModel):
    """A page of the users who reach an entity."""

    items: list[UserAccess]
    total: int | None = Field(description=_TOTAL)
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None
    complete: bool


class EntityAnswer(BaseModel):
    """A registered entity."""

    entity_type: str
    entity_id: str
    name: str
    owner_type: str
    owner_id: str
    access_mode: str
    access_target_ids: list[str]
    status: str
    containers: list[dict[str, str]]
    organization_id: str
    created_by: str
    created_at: datetime
    updated_at: datetime


class EntityList(BaseModel):
    """A page of registered entities."""

    items: list[EntityAnswer]
    total: int
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None


class Health(BaseModel):
    """Whether the server is well."""

    status: str = Field(examples=["ok"])
