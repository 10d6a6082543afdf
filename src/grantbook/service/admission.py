"""Who asks, found once for a key and an organization, and good until anything about rights or keys changes there.

A question about access is asked thousands of times a second with the same few keys: each would cost more to admit than
to answer. What is held is a digest of the secret, and who it stands for.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from grantbook.engine.organization_facts import TooMuchToLoad
from grantbook.model.errors import PermissionDenied
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.model.instants import SECOND, Instant
from grantbook.service import keys
from grantbook.service.desk import SYSTEM_ID, Desk

_MAX_HELD: Final = 10_000


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks in one organization."""

    user_id: str
    asks_about_anybody: bool

    def may_ask_about(self, user_id: str) -> bool:
        """Whether about that user's access, as `gates.may_ask_about`."""
        return self.asks_about_anybody or user_id == self.user_id


@dataclass(slots=True)
class Admission:
    """A key's identity in one organization, whom it asks as, and the epochs of its home and the organization."""

    identity: keys.Identity
    asker: Asker
    epochs: tuple[int, int]
    used_at: Instant


SYSTEM_ASKER: Final = Asker(SYSTEM_ID, asks_about_anybody=True)


class Admissions:
    """Those admitted lately, by what they sent. For one thread at a time: whoever holds the cache of facts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._held: dict[tuple[Hashable, str], Admission] = {}

    def find(self, credential: Hashable, organization_id: str, *, at_least: int = 0) -> Admission | None:
        """The one that `admit` gave for the same credential, if nothing about it can have changed since.

        Who asks for a revision of the organization is looked at as of that one too.
        """
        held = self._held.get((credential, organization_id))
        if held is None:
            return None
        facts, now, identity = self._desk.facts, self._desk.clock(), held.identity
        home = identity.organization_id
        if (
            facts.current(organization_id, at_least=at_least).epoch != held.epochs[1]
            or (home != organization_id and facts.current(home).epoch != held.epochs[0])
            or (identity.expires_at is not None and identity.expires_at <= now)
        ):
            self.forget(credential, organization_id)
            return None
        self._note_use(held, now)
        return held

    def latest(self, credential: Hashable, organization_id: str) -> Admission | None:
        """The one that `admit` gave last, whatever has changed since: for whoever confirms it before relying on it.

        From any thread, as `forget`.
        """
        held = self._held.get((credential, organization_id))
        if held is not None:
            self._note_use(held, self._desk.clock())
        return held

    def forget(self, credential: Hashable, organization_id: str) -> None:
        """What was held of it, which is not so any more."""
        self._held.pop((credential, organization_id), None)

    def _note_use(self, held: Admission, now: Instant) -> None:
        if not held.used_at <= now < held.used_at + SECOND:
            identity = held.identity
            self._desk.key_uses.note(identity.organization_id, identity.caller.api_key_id or "", now)
            held.used_at = now

    def may_hold(self, credential: Hashable, organization_id: str) -> bool:
        """Whether `find` may find one; without holding the cache."""
        return (credential, organization_id) in self._held

    def recall(self, credential: Hashable, organization_id: str, *, at_least: int = 0) -> Admission | None:
        """As `find`, for whoever does not hold the cache and cannot wait; None also where that would take waiting."""
        facts = self._desk.facts
        if not facts.enter(waits=False, loads=False):
            return None
        try:
            return self.find(credential, organization_id, at_least=at_least)
        except TooMuchToLoad:
            return None
        finally:
            facts.leave()

    def recall_patiently(self, credential: Hashable, organization_id: str, *, at_least: int) -> Admission | None:
        """As `recall`, for whoever can wait."""
        if not self.may_hold(credential, organization_id):
            return None
        with self._desk.facts.asked(organization_id, (), is_full=False, at_least=at_least):
            return self.find(credential, organization_id, at_least=at_least)

    def admit(self, credential: Hashable, secret: str, organization_id: str) -> Admission:
        """Who holds the secret, where it opens the organization. Not while holding the cache.

        Raises as `keys.authenticate` and `keys.require_opens`.
        """
        desk = self._desk
        home = keys.home_of(desk, secret)
        identity = keys.authenticate_at(desk, secret, home)  # nothing is held for a key that has ended
        if organization_id != home:  # or for an organization that it does not open
            keys.require_opens(desk, identity, organization_id)
        before = self._epochs(home, organization_id)
        identity = keys.authenticate_at(desk, secret, home)  # again: from here on a change would be noticed
        caller = identity.caller
        if organization_id != home:
            keys.require_at_home(desk, identity, organization_id)
        with desk.reading(organization_id, caller) as reading:
            keys.require_opened(reading, identity)
            manages = MANAGE_ACCESS in reading.capabilities
        asker = Asker(caller.user_id, asks_about_anybody=manages or "check" in (caller.scopes or ()))
        admission = Admission(identity, asker, before, desk.clock())
        with desk.facts:
            if self._epochs_held(home, organization_id) == before:
                if len(self._held) >= _MAX_HELD:
                    self._held.clear()
                self._held[credential, organization_id] = admission
        return admission

    def _epochs(self, home: str, organization_id: str) -> tuple[int, int]:
        with self._desk.facts:
            return self._epochs_held(home, organization_id)

    def _epochs_held(self, home: str, organization_id: str) -> tuple[int, int]:
        facts = self._desk.facts
        return facts.current(home).epoch, facts.current(organization_id).epoch


def require_scope(identity: keys.Identity, scope: str) -> None:
    """Raises PermissionDenied(scope) where the key lacks it."""
    scopes = identity.caller.scopes
    if scopes is not None and scope not in scopes:
        raise PermissionDenied(f"The API key lacks the scope '{scope}'", scope=scope)
