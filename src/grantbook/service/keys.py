"""API keys: a prefix and 256 random bits, of which only a digest is kept."""

from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from grantbook.model import ids
from grantbook.model.errors import AuthenticationFailed, OrganizationAccessDenied
from grantbook.model.facts import ApiKey, Organization
from grantbook.model.instants import Instant
from grantbook.service import gates
from grantbook.service.desk import Caller, Desk, Writing
from grantbook.service.values import valid_name
from grantbook.store.port import Lookup

PREFIX: Final = "gb_"
SCOPES: Final = ("check", "read", "write")
_SHOWN: Final = 11
_MAX_SECRET: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller, the organization of its key, and the key's id."""

    caller: Caller
    organization_id: str


def create(
    writing: Writing,
    *,
    user_id: str,
    name: str,
    scopes: tuple[str, ...] | None = None,
    expires_at: Instant | None = None,
) -> tuple[ApiKey, str]:
    """A key that acts as the user, and its secret, which is not kept. Raises NotFound(user_id), PermissionDenied."""
    gates.get_member(writing, user_id)
    if user_id != writing.caller.user_id:
        gates.require_capability(writing, "manage_api_keys")
    secret = PREFIX + writing.random(32).hex()
    key = ApiKey(
        id=writing.new_id(ids.API_KEY),
        digest=digest_of(secret),
        key_prefix=secret[:_SHOWN],
        name=valid_name("key_name", name),
        user_id=user_id,
        scopes=scopes,
        created_by=writing.caller.user_id,
        created_at=writing.at,
        expires_at=expires_at,
    )
    writing.book.add(key, "created")
    writing.book.claim(Lookup.API_KEY, key.digest, writing.organization_id)
    return key, secret


def authenticate(desk: Desk, secret: str, trace_id: str | None = None) -> Identity:
    """Who holds the secret.

    Raises AuthenticationFailed (INVALID_API_KEY, API_KEY_EXPIRED, API_KEY_DEACTIVATED, API_KEY_PAUSED).
    """
    digest = digest_of(secret[: _MAX_SECRET + 1])
    organization_id = desk.store.look_up(Lookup.API_KEY, digest)
    if organization_id is None or len(secret) > _MAX_SECRET:
        raise _invalid()
    with desk.store.snapshot(organization_id) as snapshot:
        key = next((key for key in snapshot.select(ApiKey, {"digest": digest})), None)
    if key is None or not compare_digest(key.digest, digest):
        raise _invalid()
    if key.expires_at is not None and key.expires_at <= desk.clock():
        raise AuthenticationFailed("The API key has expired", code="API_KEY_EXPIRED")
    if not key.is_active:
        raise AuthenticationFailed("The API key is deactivated", code="API_KEY_DEACTIVATED")
    if key.is_paused:
        raise AuthenticationFailed("The API key is paused", code="API_KEY_PAUSED")
    caller = Caller(user_id=key.user_id, api_key_id=key.id, scopes=key.scopes, trace_id=trace_id)
    return Identity(caller=caller, organization_id=organization_id)


def require_opens(desk: Desk, identity: Identity, organization_id: str) -> None:
    """Raises OrganizationAccessDenied unless the key opens the organization and its user is an active member.

    A key opens the organization that it belongs to and those that were created with it.
    """
    with desk.reading(organization_id, identity.caller) as reading:
        if organization_id != identity.organization_id:
            organization = reading.snapshot.find(Organization, organization_id)
            if organization is None or organization.creator_key_id != identity.caller.api_key_id:
                raise OrganizationAccessDenied(organization_id=organization_id)
        gates.require_membership(reading)


def digest_of(secret: str) -> str:
    """SHA-256 in hex: enough for 256 random bits, which no dictionary holds."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _invalid() -> AuthenticationFailed:
    return AuthenticationFailed("The API key is not valid", code="INVALID_API_KEY")
