"""How a change is written down, the same in every store: JSON texts without secrets, and the hash chain."""

from hashlib import sha256
from typing import Any, Final

import msgspec

from grantbook.model.errors import TamperedHistory
from grantbook.model.facts import FACT_KINDS, Fact, key_of
from grantbook.store.port import Author, Change, F, Head, Store

NO_HASH: Final = "0" * 64
EMPTY: Final = Head(revision=0, at=0, hash=NO_HASH)
_SECRETS: Final = ("digest", "invitation_digest")
_WITH_SECRETS: Final = tuple(kind for kind in FACT_KINDS if any(name in _SECRETS for name in kind.__struct_fields__))


class Recorder:
    """Makes the changes of one revision, each hashed together with the one before it."""

    def __init__(self, organization_id: str, head: Head, now: int, author: Author) -> None:
        self.organization_id = organization_id
        self.revision = head.revision + 1
        self.now = now
        self._author = author
        self._hash = head.hash
        self._ordinal = 0

    @property
    def head(self) -> Head:
        return Head(revision=self.revision, at=self.now, hash=self._hash)

    def record(self, action: str, before: Fact | None, after: Fact | None) -> Change:
        """The next change of this revision."""
        fact = after or before
        if fact is None:
            raise ValueError("a change needs a fact before or after it")
        subject, target = fact.ABOUT
        unhashed = Change(
            revision=self.revision,
            ordinal=self._ordinal,
            at=self.now,
            actor_id=self._author.actor_id,
            api_key_id=self._author.api_key_id,
            trace_id=self._author.trace_id,
            reason=self._author.reason,
            action=action,
            kind=type(fact).__name__,
            key="/".join(key_of(fact)),
            subject_type=fact.subject_type,
            subject_id=getattr(fact, subject),
            target_id=getattr(fact, target) if target else None,
            before=_text(before),
            after=_text(after),
            hash="",
        )
        self._hash = _hash_of(self._hash, self.organization_id, unhashed)
        self._ordinal += 1
        msgspec.structs.force_setattr(unhashed, "hash", self._hash)  # nobody has seen it yet
        return unhashed


def verify(store: Store, organization_id: str) -> int:
    """The number of changes, after checking each hash. Raises TamperedHistory(organization_id, revision, ordinal)."""
    head = store.head(organization_id)  # read first: changes made while we look are not ours to judge
    previous, count = NO_HASH, 0
    for change in store.changes(organization_id):
        if change.revision > head.revision:
            break
        if _hash_of(previous, organization_id, change) != change.hash:
            raise TamperedHistory(organization_id=organization_id, revision=change.revision, ordinal=change.ordinal)
        previous = change.hash
        count += 1
    if previous != head.hash:
        raise TamperedHistory(organization_id=organization_id, revision=head.revision, ordinal=0)
    return count


def fact_in(kind: type[F], text: str) -> F:
    """The fact that a change tells of before or after it, without its secrets."""
    return msgspec.json.decode(text, type=kind)


def _text(fact: Fact | None) -> str | None:
    if fact is None:
        return None
    if not isinstance(fact, _WITH_SECRETS):
        return msgspec.json.encode(fact, order="sorted").decode()
    values: dict[str, Any] = msgspec.to_builtins(fact)
    for secret in _SECRETS:
        values.pop(secret, None)
    return msgspec.json.encode(values, order="sorted").decode()


def _hash_of(previous: str, organization_id: str, change: Change) -> str:
    *fields, _ = msgspec.structs.astuple(change)
    return sha256(msgspec.json.encode([previous, organization_id, *fields])).hexdigest()
