"""Bodies of requests and answers about API keys."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from grantbook.http.requests import Body, Id, Name, Time, Word
from grantbook.model.limits import MAX_USAGE_LIMIT_CHF

UsageLimit = Annotated[float, Field(ge=0, le=MAX_USAGE_LIMIT_CHF, allow_inf_nan=False)]
Scopes = Annotated[list[Word], Field(max_length=10, examples=[["read"]])]


class CreateApiKey(Body):
    """A new key, for the caller unless `user_id` names somebody else. Without scopes: whatever its user may do."""

    key_name: Name = Field(examples=["reporting"])
    usage_limit_chf: UsageLimit | None = Field(None, description="Kept and shown; Grantbook meters nothing.")
    scopes: Scopes | None = None
    expires_at: Time | None = None
    metadata: dict[str, Any] | None = Field(None, description="An object of your own, at most 8,000 characters.")
    user_id: Id | None = Field(
        None, description="Ours: whom the key acts as. Needs `manage_api_keys` and `manage_access_control`."
    )


class UpdateApiKey(Body):
    """What to change; what is left out stays, `null` takes a bound away. A key has a name: `null` leaves it."""

    key_name: Name | None = Field(None, examples=["reporting"])
    usage_limit_chf: UsageLimit | None = None
    scopes: Scopes | None = None
    expires_at: Time | None = None


class ApiKeyBase(BaseModel):
    """What every answer tells about a key."""

    id: str = Field(examples=["ak_abc123"])
    organization_id: str
    key_name: str
    key_prefix: str = Field(examples=["gb_1f2e3d4c"])
    is_active: bool
    usage_limit_chf: float | None
    scopes: list[str] | None
    metadata: dict[str, Any] | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    user_id: str


class ApiKeyAnswer(ApiKeyBase):
    """A key, without its secret. `last_used_at` may be a minute behind."""

    is_paused: bool
    last_used_at: datetime | None


class NewApiKey(ApiKeyBase):
    """A new key with its secret, which is shown this once: only a digest of it is kept."""

    key: str


class ApiKeyList(BaseModel):
    """A page of keys, oldest first."""

    keys: list[ApiKeyAnswer]
    total: int
    page: int
    page_size: int


class ApiKeyAction(BaseModel):
    """What was done, and the key as it is now; none after it was deleted."""

    success: bool
    message: str
    key: ApiKeyAnswer | None


class ApiKeyRotation(BaseModel):
    """The key in the place of the old one, which opens nothing any more."""

    success: bool
    message: str
    old_key_id: str
    new_key: NewApiKey
