"""Who asks, found once for a key and an organization, and good until anything about rights or keys changes there.

A question about access is asked thousands of times a second with the same few keys: each would cost more to admit than
to answer. What is held is a digest of the secret, and who it stands for.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from grantbook.engine.facts_cache import FactCache
from grantbook.engine.held import FOREVER
from grantbook.model.errors import PermissionDenied
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.model.instants import SECOND, Instant
from grantbook.service import keys
from grantbook.service.desk import SYSTEM_ID, Desk
from grantbook.store.port import Lookup

_MAX_HELD: Final = 10_000


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks in one organization."""

    user_id: str
    asks_about_anybody: bool


@dataclass(slots=True)
class _Admitted:
    """An asker, and what it is good for: a key of its home, and the epochs of home and organization."""

    asker: Asker
    home: str
    epochs: tuple[int, int]
    key_id: str
    expires_at: Instant
    used_at: Instant


SYSTEM_ASKER: Final = Asker(SYSTEM_ID, asks_about_anybody=True)


class Admissions:
    """Those admitted lately. For one thread at a time: whoever holds the cache of facts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._held: dict[tuple[Hashable, str], _Admitted] = {}

    def find(self, facts: FactCache, credential: Hashable, organization_id: str) -> Asker | None:
        """Whom `admit` admitted with the same credential, if nothing about it can have changed since."""
        held = self._held.get((credential, organization_id))
        if held is None:
            return None
        now = self._desk.clock()
        if (
            facts.current(organization_id).epoch != held.epochs[1]
            or (held.home != organization_id and facts.current(held.home).epoch != held.epochs[0])
            or now >= held.expires_at
        ):
            del self._held[credential, organization_id]
            return None
        if not held.used_at <= now < held.used_at + SECOND:
            self._desk.key_uses.note(held.home, held.key_id, now)
            held.used_at = now
        return held.asker

    def admit(self, credential: Hashable, secret: str, organization_id: str, scope: str) -> Asker:
        """Who holds the secret, where it opens the organization. Not while holding the cache.

        Raises as `keys.authenticate` and `keys.require_opens`, then PermissionDenied(scope).
        """
        desk = self._desk
        home = desk.store.look_up(Lookup.API_KEY, keys.digest_of(secret)) or organization_id
        before = self._epochs(home, organization_id)
        identity = keys.authenticate(desk, secret)
        keys.require_opens(desk, identity, organization_id)
        caller = identity.caller
        if caller.scopes is not None and scope not in caller.scopes:
            raise PermissionDenied(f"The API key lacks the scope '{scope}'", scope=scope)
        with desk.reading(organization_id, caller) as reading:
            manages = MANAGE_ACCESS in reading.capabilities
        asker = Asker(caller.user_id, asks_about_anybody=manages or "check" in (caller.scopes or ()))
        with desk.facts:
            if self._epochs_held(home, organization_id) == before:
                if len(self._held) >= _MAX_HELD:
                    self._held.clear()
                expires_at = FOREVER if identity.expires_at is None else identity.expires_at
                admitted = _Admitted(asker, home, before, caller.api_key_id or "", expires_at, desk.clock())
                self._held[credential, organization_id] = admitted
        return asker

    def _epochs(self, home: str, organization_id: str) -> tuple[int, int]:
        with self._desk.facts:
            return self._epochs_held(home, organization_id)

    def _epochs_held(self, home: str, organization_id: str) -> tuple[int, int]:
        facts = self._desk.facts
        return facts.current(home).epoch, facts.current(organization_id).epoch
