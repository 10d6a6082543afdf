"""How a change is written down, the same in every store: JSON texts without secrets, and the hash chain."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final

import msgspec

from grantbook.model.errors import TamperedHistory
from grantbook.model.facts import FACT_KINDS, Fact
from grantbook.store.port import Author, Change, F, Head, Store

NO_HASH: Final = "0" * 64
EMPTY: Final = Head(revision=0, at=0, hash=NO_HASH)
SECRETS: Final = ("digest", "invitation_digest")


class Recorder:
    """Makes the changes of one revision, each hashed together with the one before it."""

    def __init__(self, organization_id: str, head: Head, now: int, author: Author) -> None:
        self.organization_id = organization_id
        self.revision = head.revision + 1
        self.now = now
        self._author = (author.actor_id, author.api_key_id, author.trace_id, author.reason)
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
        told = _TOLD[type(fact)]
        fields = (
            self.revision,
            self._ordinal,
            self.now,
            *self._author,
            action,
            *told.about(fact),
            None if before is None else told.text(before),
            None if after is None else told.text(after),
        )
        self._hash = _hash_of(self._hash, self.organization_id, fields)
        self._ordinal += 1
        return Change(*fields, self._hash)


def verify(store: Store, organization_id: str) -> int:
    """The number of changes, after checking each hash. Raises TamperedHistory(organization_id, revision, ordinal)."""
    head = store.head(organization_id)  # read first: changes made while we look are not ours to judge
    previous, count = NO_HASH, 0
    for change in store.changes(organization_id):
        if change.revision > head.revision:
            break
        *fields, _ = msgspec.structs.astuple(change)
        if _hash_of(previous, organization_id, fields) != change.hash:
            raise TamperedHistory(organization_id=organization_id, revision=change.revision, ordinal=change.ordinal)
        previous = change.hash
        count += 1
    if previous != head.hash:
        raise TamperedHistory(organization_id=organization_id, revision=head.revision, ordinal=0)
    return count


def fact_in(kind: type[F], text: str) -> F:
    """The fact that a change tells of before or after it, without its secrets."""
    return msgspec.json.decode(text, type=kind)


class _Told:
    """How the facts of one kind are told."""

    def __init__(self, kind: type[Fact]) -> None:
        subject, target = kind.ABOUT
        self._kind = kind.__name__
        self._key: Callable[[Fact], Any] = attrgetter(*kind.KEY)
        self._is_single = len(kind.KEY) == 1
        self._subject = attrgetter("subject_type", subject)
        self._target = attrgetter(target) if target else None
        self._has_secrets = any(name in SECRETS for name in kind.__struct_fields__)

    def about(self, fact: Fact) -> tuple[str, str, str, str, str | None]:
        """Kind, key, type and id of the subject, id of the target."""
        key = self._key(fact)
        subject_type, subject_id = self._subject(fact)
        target = None if self._target is None else self._target(fact)
        return self._kind, key if self._is_single else "/".join(key), subject_type, subject_id, target

    def text(self, fact: Fact) -> str:
        """The fact as JSON, without its secrets."""
        if not self._has_secrets:
            return _SORTED.encode(fact).decode()
        values: dict[str, Any] = msgspec.to_builtins(fact)
        for secret in SECRETS:
            values.pop(secret, None)
        return _SORTED.encode(values).decode()


_SORTED: Final = msgspec.json.Encoder(order="sorted")
_PLAIN: Final = msgspec.json.Encoder()
_TOLD: Final = {kind: _Told(kind) for kind in FACT_KINDS}


def _hash_of(previous: str, organization_id: str, fields: Iterable[Any]) -> str:
    """Over the hash before it and all fields of a change but its own hash."""
    return sha256(_PLAIN.encode((previous, organization_id, *fields))).hexdigest()
