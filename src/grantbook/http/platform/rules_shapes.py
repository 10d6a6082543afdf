"""Bodies of requests and answers about rules, and who may do what with them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field, StringConstraints

from grantbook.http.requests import Body, Id, Name, Text, Word
from grantbook.model.limits import MAX_ID_LENGTH, MAX_NAME_LENGTH, MAX_RULE_CONTENT_LENGTH

Content = Annotated[str, StringConstraints(max_length=MAX_RULE_CONTENT_LENGTH)]
Right = Literal["view", "edit", "owner"]

Kind = Annotated[str | None, Query(min_length=1, max_length=64)]
Search = Annotated[
    str | None, Query(max_length=MAX_NAME_LENGTH, description="A text in the name, the description or the content.")
]
AttachedTo = Annotated[
    str | None, Query(max_length=MAX_ID_LENGTH, description="Grantbook keeps no attachments: this finds nothing.")
]
AttachedOnly = Annotated[bool | None, Query(description="Grantbook keeps no attachments: `true` finds nothing.")]
Forced = Annotated[bool | None, Query(description="Grantbook keeps no attachments that could be in the way.")]
WithAttachments = Annotated[bool | None, Query(description="Grantbook keeps no attachments.")]


class RuleTarget(Body):
    """Whom a rule grant names; `*` is the id of `all`."""

    target_type: Word = Field(examples=["user"])
    target_id: Id = Field(examples=["usr_abc"])


class RulePermission(RuleTarget):
    """A rule grant."""

    access_level: Word = Field(examples=["use"])


class CreateRule(Body):
    """A rule; the caller becomes its owner."""

    name: Name
    content: Content
    description: Text | None = None
    category: Word | None = None
    rule_type: Word | None = None
    scope: Word | None = None
    apply_mode: Word | None = None
    is_public: bool | None = None
    is_active: bool | None = None
    attachments: list[dict[str, object]] | None = Field(None, max_length=0, description="Not kept by Grantbook.")
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")


class UpdateRule(Body):
    """What to change; what is left out stays."""

    name: Name | None = None
    content: Content | None = None
    description: Text | None = None
    category: Word | None = None
    rule_type: Word | None = None
    scope: Word | None = None
    apply_mode: Word | None = None
    is_public: bool | None = None
    is_active: bool | None = None


class AccessRight(Body):
    """What a user may do with a rule, in the older words."""

    user_id: Id
    access_level: Right


class RuleGrant(BaseModel):
    """A grant on a rule."""

    id: str = Field(examples=["grant_abc123"])
    target_type: str = Field(examples=["user"])
    target_id: str = Field(examples=["usr_abc"])
    access_level: str = Field(examples=["use"])
    granted_by: str = Field(examples=["usr_owner"])
    granted_at: datetime


class RuleGrants(BaseModel):
    """The grants on a rule."""

    grants: list[RuleGrant]


class RuleOutline(BaseModel):
    """What every answer tells of a rule."""

    id: str
    name: str
    description: str | None
    content_length: int
    category: str | None
    rule_type: str
    scope: str
    apply_mode: str | None
    organization_id: str | None
    created_by: str | None
    is_public: bool
    is_active: bool
    version: int
    usage_count: int
    can_edit: bool
    created_at: datetime
    updated_at: datetime
    attached_entities: list[dict[str, Any]]


class RuleAnswer(RuleOutline):
    """A rule."""

    content: str


class RuleListed(RuleOutline):
    """A rule in a list."""

    content_preview: str


class RuleList(BaseModel):
    """A page of rules."""

    rules: list[RuleListed]
    total: int
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None
    filters: dict[str, str | bool | None]


class AccessRightAnswer(BaseModel):
    """What a user may do with a rule, in the older words."""

    id: str
    rule_id: str
    user_id: str
    access_level: str = Field(examples=["edit"])
    granted_by: str
    granted_at: datetime
    is_deleted: bool
    created_at: datetime
    updated_at: datetime


class AccessRights(BaseModel):
    """What users may do with a rule, in the older words."""

    access_rights: list[AccessRightAnswer]
    total: int
