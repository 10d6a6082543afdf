"""Invitations: a token of 256 random bits in a link, of which only a digest is kept. Sending it is not ours."""

from hashlib import sha256
from hmac import compare_digest
from typing import Final

from grantbook.model.errors import NotFound
from grantbook.model.facts import Member, revised
from grantbook.model.instants import SECOND, Instant
from grantbook.model.limits import INVITATION_TTL_S
from grantbook.service.desk import Desk, Writing
from grantbook.store.port import Lookup

PREFIX: Final = "gbi_"
_MAX_TOKEN: Final = 200


def new_token(writing: Writing, user_id: str) -> str:
    """The token for a member to be: it is kept nowhere, and leads to the member by its digest."""
    token = PREFIX + writing.random(32).hex()
    writing.book.claim(Lookup.INVITATION, {digest_of(token): f"{writing.organization_id}/{user_id}"})
    return token


def find_invited(desk: Desk, token: str) -> tuple[str, str]:
    """The organization and the user that the token was made for. Raises NotFound."""
    place = desk.store.look_up(Lookup.INVITATION, digest_of(token[: _MAX_TOKEN + 1]))
    if place is None or len(token) > _MAX_TOKEN:
        raise _unknown()
    organization_id, _, user_id = place.partition("/")
    return organization_id, user_id


def accept(writing: Writing, token: str) -> Member:
    """The caller, who holds the token, is an active member; saying it again changes nothing.

    Raises NotFound, the same for a token that is unknown, expired, or of a member who is not invited any more.
    """
    member = writing.membership
    if member is None or not _is_good(member, token, writing.at):
        raise _unknown()
    if member.is_active:
        return member
    accepted = revised(member, state="active", updated_at=writing.at)
    writing.book.replace(member, accepted, "accepted")
    return accepted


def digest_of(token: str) -> str:
    """SHA-256 in hex: enough for 256 random bits, which no dictionary holds."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _is_good(member: Member, token: str, at: Instant) -> bool:
    if member.invitation_digest is None or member.invited_at is None or member.state == "deactivated":
        return False
    is_fresh = at < member.invited_at + INVITATION_TTL_S * SECOND
    return is_fresh and compare_digest(member.invitation_digest, digest_of(token))


def _unknown() -> NotFound:
    return NotFound("The invitation is unknown, expired or withdrawn")
