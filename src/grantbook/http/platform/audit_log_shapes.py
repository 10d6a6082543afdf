"""Answers about the audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class AuditEntry(BaseModel):
    """One change: who did what, to what and for whom, with the level or the fields before and after it."""

    id: str = Field(examples=["audit_12-0"])
    entity_type: str = Field(examples=["knowledge_grant"])
    entity_id: str = Field(examples=["kslice_abc123"])
    entity_name: str | None
    action_type: str = Field(examples=["granted"])
    actor_id: str = Field(examples=["usr_owner1"])
    actor_name: str
    actor_email: str
    target_id: str | None = Field(examples=["usr_def456"])
    target_name: str | None
    previous_value: str | None
    new_value: str | None = Field(examples=["read"])
    metadata: dict[str, Any]
    organization_id: str
    department_id: str | None
    created_at: datetime


class AuditLog(BaseModel):
    """A page of the audit log, newest first."""

    items: list[AuditEntry]
    total: int
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None
