"""The texts of the record: what a search of it looks through, however many changes there are.

Each is kept once. A search finds by it which ids to look for, and leaves the changes themselves alone until then.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from threading import Lock
from typing import Final

import msgspec

from grantbook.model.facts import FACT_KINDS
from grantbook.store.port import NAME_FIELDS, Change, ToldText

NAMED_KINDS: Final = frozenset(
    kind.__name__ for kind in FACT_KINDS if not set(NAME_FIELDS).isdisjoint(kind.__struct_fields__)
)


def texts_of(changes: Sequence[Change]) -> set[ToldText]:
    """Every text of the changes that can be searched for."""
    ids: set[str | None] = set()
    words: set[str] = set()
    reasons: set[tuple[str, str]] = set()
    names: set[tuple[str, str]] = set()
    for change in changes:
        subject_id = change.subject_id
        ids.update((subject_id, change.actor_id, change.target_id))
        words.update((change.action, change.subject_type))
        if change.reason is not None:
            reasons.add((change.reason, subject_id))
        if change.kind in NAMED_KINDS:
            names.update((name, subject_id) for name in _names(change.before, change.after))
    found = {ToldText("id", text, "") for text in ids if text is not None}
    found.update(ToldText("word", text, "") for text in words)
    found.update(ToldText("reason", *each) for each in reasons)
    found.update(ToldText("name", *each) for each in names)
    return found


def digest_of(told: ToldText) -> str:
    """What tells it from all others, however long it is."""
    return sha256("\0".join(told).encode(errors="surrogatepass")).hexdigest()[:32]


def _names(*facts: str | None) -> Iterable[str]:
    for text in facts:
        if text is not None:
            told = msgspec.json.decode(text)
            yield from (told[name] for name in NAME_FIELDS if told.get(name) is not None)


class KnownTexts:
    """Texts that the record of an organization is known to have, as of a head, which its hash tells from all others:
    what another process wrote after it, or a transaction that failed, is not mistaken for it."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._held = 0
        self._known: dict[str, tuple[str, set[ToldText]]] = {}
        self._lock = Lock()

    def known_at(self, organization_id: str, head_hash: str) -> set[ToldText]:
        """Those that the head with this hash is known to have."""
        at, texts = self._known.get(organization_id, ("", set()))
        return texts if at == head_hash else set()

    def keep(self, organization_id: str, head_hash: str, known: set[ToldText], fresh: set[ToldText]) -> None:
        """The next head, if it will be there, has what is known of the one before, and these."""
        with self._lock:  # writers of other organizations may be beside
            self._held += len(fresh)
            if self._held > self._most:
                self._known.clear()
                self._held = 0
            else:
                known.update(fresh)
                self._known[organization_id] = (head_hash, known)
