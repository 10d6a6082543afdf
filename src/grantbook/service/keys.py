"""API keys: a prefix and 256 random bits, of which only a digest is kept.

A key acts as its user. Nobody gets more through a key than they have: not by its scopes, which only narrow, and not by
its user. So whoever makes a key, or makes one better, needs all that it opens; making one worse needs less.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final, TypedDict

from grantbook.model import ids
from grantbook.model.errors import (
    AuthenticationFailed,
    NotFound,
    OrganizationAccessDenied,
    PermissionDenied,
    ValidationFailed,
)
from grantbook.model.facts import ApiKey, Organization, Role, RoleAssignment, revised
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.model.instants import Instant
from grantbook.service import gates
from grantbook.service.desk import Caller, Desk, Reading, Writing
from grantbook.service.listing import Page
from grantbook.service.values import one_of, optional_instant, valid_metadata, valid_name
from grantbook.store.port import Lookup, Where

PREFIX: Final = "gb_"
SCOPES: Final = ("check", "read", "write")
MANAGE_KEYS: Final = "manage_api_keys"
USAGE_LIMIT: Final = "usage_limit_chf"
METADATA: Final = "metadata"
_SHOWN: Final = 11
_MAX_SECRET: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A caller, the organization of its key, and when the key expires."""

    caller: Caller
    organization_id: str
    expires_at: Instant | None = None

    def traced(self, trace_id: str) -> "Identity":
        """The same in one request."""
        return replace(self, caller=replace(self.caller, trace_id=trace_id))


class KeyChanges(TypedDict, total=False):
    """What to change about a key; what is not named stays."""

    name: str
    scopes: Sequence[str] | None
    expires_at: Instant | None
    usage_limit_chf: float | None


@dataclass(frozen=True, slots=True)
class _Switch:
    """A field of a key that is on or off, the action that the record tells, and whether the key opens more by it."""

    field: str
    value: bool
    action: str
    opens: bool


SWITCHES: Final[Mapping[str, _Switch]] = {
    "activate": _Switch("is_active", value=True, action="activated", opens=True),
    "deactivate": _Switch("is_active", value=False, action="deactivated", opens=False),
    "pause": _Switch("is_paused", value=True, action="paused", opens=False),
    "unpause": _Switch("is_paused", value=False, action="unpaused", opens=True),
}


def create(
    writing: Writing,
    *,
    user_id: str,
    name: str,
    scopes: Sequence[str] | None = None,
    expires_at: Instant | None = None,
    usage_limit_chf: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> tuple[ApiKey, str]:
    """A key that acts as the user, and its secret, which is not kept.

    Raises ValidationFailed(key_name, scopes, expires_at, metadata), NotFound(user_id),
    PermissionDenied(capability or scope).
    """
    secret = _new_secret(writing)
    key = ApiKey(
        id=writing.new_id(ids.API_KEY),
        digest=digest_of(secret),
        key_prefix=secret[:_SHOWN],
        name=valid_name("key_name", name),
        user_id=user_id,
        scopes=_valid_scopes(scopes),
        attributes=_attributes(usage_limit_chf, valid_metadata(METADATA, metadata)),
        created_by=writing.caller.user_id,
        created_at=writing.at,
        expires_at=_valid_expiry(writing, expires_at),
    )
    gates.get_member(writing, user_id)
    _require_may_give(writing, key)
    _require_may_hold(writing, key)
    _add(writing, key)
    return key, secret


def list_keys(reading: Reading, *, skip: int, limit: int) -> Page[ApiKey]:
    """One's own keys in order (created_at, id), or with `manage_api_keys` all of them."""
    where: Where = {} if MANAGE_KEYS in reading.capabilities else {"user_id": reading.caller.user_id}
    found = reading.snapshot.page(ApiKey, where, skip=skip, limit=limit + 1)
    return Page(found[:limit], reading.snapshot.count(ApiKey, where), has_more=len(found) > limit)


def get(reading: Reading, key_id: str) -> ApiKey:
    """A key of one's own, or with `manage_api_keys` any. Raises NotFound(key_id), PermissionDenied(capability)."""
    key = reading.snapshot.find(ApiKey, key_id)
    if key is None:
        raise NotFound("API key not found", key_id=key_id)
    _require_may_see(reading, key.user_id)
    return key


def update(writing: Writing, key_id: str, changes: KeyChanges) -> ApiKey:
    """Another name, other scopes, another end. Raises as `create`, and NotFound(key_id)."""
    given: dict[str, Any] = {}
    if "name" in changes:
        given["name"] = valid_name("key_name", changes["name"])
    if "scopes" in changes:
        given["scopes"] = _valid_scopes(changes["scopes"])
    if "expires_at" in changes:
        given["expires_at"] = _valid_expiry(writing, changes["expires_at"])
    key = get(writing, key_id)
    if "usage_limit_chf" in changes:
        given["attributes"] = _attributes(changes["usage_limit_chf"], key.attributes.get(METADATA))
    changed = revised(key, **given)
    _require_may_give(writing, changed)
    writing.book.replace(key, changed, "updated")
    return changed


def switch(writing: Writing, key_id: str, how: str) -> ApiKey:
    """`activate`, `deactivate`, `pause` or `unpause`; doing it again changes nothing. What somebody else ended takes
    `manage_api_keys` to open again.

    Raises NotFound(key_id), PermissionDenied(capability or scope).
    """
    wanted = SWITCHES[how]
    key = get(writing, key_id)
    given: dict[str, Any] = {wanted.field: wanted.value}
    changed = revised(key, **given)
    if wanted.opens:
        _require_may_give(writing, key)
        if changed != key:
            _require_own_end(writing, key, wanted)
    writing.book.replace(key, changed, wanted.action)
    return changed


def rotate(writing: Writing, key_id: str) -> tuple[ApiKey, str]:
    """A new key in the place of this one, which is dead from the same moment on, and the new secret.

    It opens the organizations that were created with the old one where that key, or the operator, rotates it: another
    key opens no such organization, and gets no secret that does.
    Raises NotFound(key_id), PermissionDenied(capability or scope).
    """
    caller, old = writing.caller, get(writing, key_id)
    _require_may_give(writing, old)
    _require_may_hold(writing, old)
    secret = _new_secret(writing)
    new = revised(
        old,
        id=writing.new_id(ids.API_KEY),
        digest=digest_of(secret),
        key_prefix=secret[:_SHOWN],
        line_id=old.line if caller.is_system or caller.key_line_id == old.line else None,
        created_by=caller.user_id,
        created_at=writing.at,
    )
    writing.book.remove(old, "rotated")
    _add(writing, new)
    return new, secret


def delete(writing: Writing, key_id: str) -> None:
    """The key ends; its history stays. One that ended before is no error.

    Raises NotFound(key_id), PermissionDenied(capability).
    """
    key = writing.snapshot.find(ApiKey, key_id)
    if key is not None:
        _require_may_see(writing, key.user_id)
        writing.book.remove(key, "deleted")
        return
    ended = writing.snapshot.find_changes({"subject_id": key_id, "kind": ApiKey.__name__}, skip=0, limit=1)
    if not ended:
        raise NotFound("API key not found", key_id=key_id)
    _require_may_see(writing, ended[0].target_id)


def authenticate(desk: Desk, secret: str) -> Identity:
    """Who holds the secret.

    Raises AuthenticationFailed (INVALID_API_KEY, API_KEY_EXPIRED, API_KEY_DEACTIVATED, API_KEY_PAUSED),
    OrganizationAccessDenied(organization_id) where the organization of the key was deleted.
    """
    return authenticate_at(desk, secret, home_of(desk, secret))


def home_of(desk: Desk, secret: str) -> str:
    """The organization of the key, whether the key has ended or not. Raises AuthenticationFailed(INVALID_API_KEY)."""
    organization_id = desk.store.look_up(Lookup.API_KEY, digest_of(secret[: _MAX_SECRET + 1]))
    if organization_id is None or len(secret) > _MAX_SECRET:
        raise _invalid()
    return organization_id


def authenticate_at(desk: Desk, secret: str, organization_id: str) -> Identity:
    """As `authenticate`, of a key whose home is known."""
    digest = digest_of(secret)
    with desk.store.snapshot(organization_id) as snapshot:
        key = next((key for key in snapshot.select(ApiKey, {"digest": digest})), None)
        organization = snapshot.find(Organization, organization_id)
    if key is None or not compare_digest(key.digest, digest):
        raise _invalid()
    now = desk.clock()
    _require_live(key, now)
    if organization is not None and organization.is_deleted:
        raise OrganizationAccessDenied(organization_id=organization_id)
    desk.key_uses.note(organization_id, key.id, now)
    caller = Caller(
        user_id=key.user_id,
        api_key_id=key.id,
        key_line_id=key.line,
        key_expires_at=key.expires_at,
        scopes=key.scopes,
    )
    return Identity(caller=caller, organization_id=organization_id, expires_at=key.expires_at)


def confirm(reading: Reading, identity: Identity) -> None:
    """That the key is still as it was when its holder was admitted; within the reading of its organization.

    Raises as `authenticate`, and PermissionDenied where its scopes or its end are others now.
    """
    key = reading.find(ApiKey, identity.caller.api_key_id or "")
    if key is None:
        raise _invalid()
    _require_live(key, reading.at)
    if (key.scopes, key.expires_at) != (identity.caller.scopes, identity.caller.key_expires_at):
        raise PermissionDenied("The scopes or the end of the API key were changed just now: please try again")
    if reading.is_deleted:
        raise OrganizationAccessDenied(organization_id=reading.organization_id)


def _require_live(key: ApiKey, at: Instant) -> None:
    if key.expires_at is not None and key.expires_at <= at:
        raise AuthenticationFailed("The API key has expired", code="API_KEY_EXPIRED")
    if not key.is_active:
        raise AuthenticationFailed("The API key is deactivated", code="API_KEY_DEACTIVATED")
    if key.is_paused:
        raise AuthenticationFailed("The API key is paused", code="API_KEY_PAUSED")


def require_opens(desk: Desk, identity: Identity, organization_id: str) -> None:
    """Raises OrganizationAccessDenied unless the key opens the organization and its user is an active member, there
    and at home."""
    with desk.reading(organization_id, identity.caller) as reading:
        require_opened(reading, identity)
    if organization_id != identity.organization_id:
        require_at_home(desk, identity, organization_id)


def require_at_home(desk: Desk, identity: Identity, organization_id: str) -> None:
    """Raises OrganizationAccessDenied of the organization that is asked for, unless the user of the key is an active
    member where the key belongs."""
    with desk.reading(identity.organization_id, identity.caller) as reading:
        if reading.membership is None or not reading.membership.is_active:
            raise OrganizationAccessDenied(organization_id=organization_id)


def require_opened(reading: Reading, identity: Identity) -> None:
    """As `require_opens`, within a reading of the caller, but for the home.

    A key opens the organization that it belongs to and those that were created with it.
    """
    if reading.organization_id != identity.organization_id:
        organization = reading.find(Organization, reading.organization_id)
        creator = None if organization is None else organization.creator_key_id
        if creator is None or creator != identity.caller.key_line_id:
            raise OrganizationAccessDenied(organization_id=reading.organization_id)
    gates.require_membership(reading)


def opened(desk: Desk, identity: Identity) -> Iterator[str]:
    """Those of the caller's organizations that the key opens, its own first."""
    home = identity.organization_id
    for organization_id in dict.fromkeys((home, *desk.store.organizations_of(identity.caller.user_id))):
        try:
            with desk.reading(organization_id, identity.caller) as reading:
                require_opened(reading, identity)
        except OrganizationAccessDenied:
            if organization_id == home:  # where nobody is who is no active member there
                return
            continue
        yield organization_id


def digest_of(secret: str) -> str:
    """SHA-256 in hex: enough for 256 random bits, which no dictionary holds."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _new_secret(writing: Writing) -> str:
    return PREFIX + writing.random(32).hex()


def _add(writing: Writing, key: ApiKey) -> None:
    writing.book.add(key, "created")
    writing.book.claim(Lookup.API_KEY, {key.digest: writing.organization_id})


def _valid_scopes(scopes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The scopes, each once, in the order of `SCOPES`; None stays None."""
    if scopes is None:
        return None
    for position, scope in enumerate(scopes):
        one_of(f"scopes.{position}", scope, SCOPES)
    return tuple(scope for scope in SCOPES if scope in scopes)


def _valid_expiry(writing: Writing, expires_at: Instant | None) -> Instant | None:
    if expires_at is not None and expires_at <= writing.at:
        raise ValidationFailed("expires_at", "expires_at must be in the future")
    return optional_instant("expires_at", expires_at)


def _attributes(usage_limit_chf: float | None, metadata: Any) -> dict[str, Any]:
    given = {USAGE_LIMIT: usage_limit_chf, METADATA: metadata}
    return {name: value for name, value in given.items() if value is not None}


def _require_may_see(reading: Reading, user_id: str | None) -> None:
    if user_id != reading.caller.user_id:
        gates.require_capability(reading, MANAGE_KEYS)


def _require_may_give(writing: Writing, key: ApiKey) -> None:
    """Raises PermissionDenied for a key that opens what the caller does not: by its user, or by its scopes.

    The scope `check` is about anybody, so it takes the right to ask about anybody.
    """
    if key.user_id != writing.caller.user_id:
        gates.require_capability(writing, MANAGE_KEYS)
        if lacking := sorted(_capabilities_of(writing, key.user_id) - writing.capabilities):
            raise PermissionDenied(user_id=key.user_id, capability=lacking[0])
    held = writing.caller.scopes
    wanted = SCOPES if key.scopes is None else key.scopes
    if held is not None and (beyond := [scope for scope in wanted if scope not in held]):
        raise PermissionDenied(f"The API key lacks the scope '{beyond[0]}'", scope=beyond[0])
    ends_at = writing.caller.key_expires_at
    if ends_at is not None and (key.expires_at is None or key.expires_at > ends_at):
        raise PermissionDenied("The API key ends before that: a key gives no more time than it has", field="expires_at")
    if "check" in (key.scopes or ()) and MANAGE_ACCESS not in writing.capabilities and "check" not in (held or ()):
        raise PermissionDenied("The scope 'check' asks about anybody", scope="check", capability=MANAGE_ACCESS)


def _require_own_end(writing: Writing, key: ApiKey, wanted: _Switch) -> None:
    """Raises PermissionDenied(capability) where somebody else ended the key, or the one in whose place it is, and the
    caller does not manage keys."""
    (action,) = (each.action for each in SWITCHES.values() if each.field == wanted.field and not each.opens)
    about = {"kind": ApiKey.__name__, "subject_id": key.id, "action": action}
    ended = writing.snapshot.find_changes(about, skip=0, limit=1)
    if not ended or ended[0].actor_id != writing.caller.user_id:
        gates.require_capability(writing, MANAGE_KEYS)


def _require_may_hold(writing: Writing, key: ApiKey) -> None:
    """Whoever gets the secret reaches what its user reaches: for another user, that takes the right to share it."""
    if key.user_id != writing.caller.user_id:
        gates.require_capability(writing, MANAGE_ACCESS)


def _capabilities_of(reading: Reading, user_id: str) -> set[str]:
    """What the member's roles carry, in whatever state the member is."""
    assigned = reading.snapshot.select(RoleAssignment, {"user_id": user_id})
    roles = reading.snapshot.select(Role, {"id": {fact.role_id for fact in assigned}}) if assigned else []
    return {capability for role in roles for capability in role.capabilities}


def _invalid() -> AuthenticationFailed:
    return AuthenticationFailed("The API key is not valid", code="INVALID_API_KEY")
