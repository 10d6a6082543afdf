"""When keys were last used, without a write for each request: noted in memory, and written by a flush now and then."""

from collections.abc import Collection
from threading import Lock
from typing import Final

from grantbook.model.instants import Instant
from grantbook.store.port import Store

FLUSH_EVERY_S: Final = 60


class KeyUses:
    """What this process noted since its last flush. Safe to share between threads."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str], Instant] = {}
        self._lock = Lock()

    def note(self, organization_id: str, key_id: str, at: Instant) -> None:
        """The key was used: a later use replaces an earlier one."""
        with self._lock:
            self._noted[organization_id, key_id] = at

    def of(self, organization_id: str, key_ids: Collection[str]) -> dict[str, Instant]:
        """Last uses of these keys that are not written yet."""
        with self._lock:
            return {id_: self._noted[organization_id, id_] for id_ in key_ids if (organization_id, id_) in self._noted}

    def flush(self, store: Store) -> None:
        """Write what was noted. Where the store fails, it stays for the next flush. Raises StoreUnavailable."""
        with self._lock:
            noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            store.note_key_uses(noted)
        except BaseException:
            with self._lock:
                self._noted = {**noted, **self._noted}
            raise
