"""Bodies and parameters of requests. Unknown fields are refused; texts and lists are bounded."""

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, UnsetType
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from grantbook.model.instants import Instant, from_datetime
from grantbook.model.limits import (
    MAX_ACCESS_TARGETS,
    MAX_BATCH_CHECKS,
    MAX_BULK_GRANTS,
    MAX_CONTAINERS_PER_ENTITY,
    MAX_ID_LENGTH,
    MAX_NAME_LENGTH,
    MAX_TEXT_LENGTH,
)

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]


def _written(value: object) -> datetime:
    """Pydantic itself would take a number, or a text of digits, for seconds since 1970."""
    if isinstance(value, str):
        with suppress(ValueError):
            found = datetime.fromisoformat(value)
            if found.tzinfo is not None:
                return found
    raise PydanticCustomError("time", "must be a time such as 2026-04-15T10:00:00Z")


Time = Annotated[AwareDatetime, BeforeValidator(_written)]


class Body(BaseModel):
    """Base of every body."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def cleared(self, field: str) -> str | None:
        """The text of a field, empty where `null` was sent: None only where the field was left out."""
        return (getattr(self, field) or "") if field in self.model_fields_set else None


class GrantWindow(Body):
    """When a grant counts, and why it was given: ours, optional everywhere."""

    starts_at: Time | None = Field(None, description="From when on; now if left out.")
    expires_at: Time | None = Field(None, description="Until when, exclusive; until revoked if left out.")
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
    """Another level or window for a grant. What is left out stays."""

    access_level: Word | None = Field(None, examples=["write"])
    starts_at: Time | None = Field(None, description="From when on; `null` is from now on.")
    expires_at: Time | None = Field(None, description="Until when, exclusive; `null` is until revoked.")

    def moment(self, field: str) -> Instant | UnsetType | None:
        """The time in a field; UNSET where it was left out."""
        value: datetime | None = getattr(self, field)
        if field not in self.model_fields_set:
            return UNSET
        return None if value is None else from_datetime(value)


class AtLeast(Body):
    """Read at least this revision."""

    at_least: Token


def _named(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Pydantic itself would tell what is wrong with each of the two, by names of its own."""
    try:
        return validate(value)
    except ValidationError:
        raise PydanticCustomError("consistency", """must be "full" or {"at_least": TOKEN}""") from None


Consistency = Annotated[Literal["full"] | AtLeast, WrapValidator(_named)]


class CheckItem(Body):
    """May this user do this on this entity?"""

    user_id: Id = Field(examples=["usr_def456"])
    entity_type: Word = Field(examples=["knowledge_slice"])
    entity_id: Id = Field(examples=["kslice_abc123"])
    access_level: Word = Field(examples=["read"])


class CheckAccess(CheckItem):
    """The question, and of when."""

    as_of: Time | None = Field(None, description="Answer as it was at this time.")
    consistency: Consistency | None = None


class CheckBatch(Body):
    """Many questions, each answered or refused for itself."""

    checks: list[CheckItem] = Field(min_length=1, max_length=MAX_BATCH_CHECKS)
    as_of: Time | None = None
    consistency: Consistency | None = None


class EntityReference(Body):
    """A container."""

    entity_type: Word
    entity_id: Id


class RegisterEntity(Body):
    """An entity that your platform keeps. What is left out is cleared, but for the access mode, which stays."""

    name: Name
    owner_type: Word = Field(examples=["user"])
    owner_id: Id
    access_mode: Word | None = None
    access_target_ids: list[Id] | None = Field(None, max_length=MAX_ACCESS_TARGETS)
    containers: list[EntityReference] | None = Field(None, max_length=MAX_CONTAINERS_PER_ENTITY)
