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


class Chain:
    """The changes of an organization, followed from the first on."""

    def __init__(self, organization_id: str) -> None:
        self.organization_id = organization_id
        self._last: Change | None = None

    @property
    def head(self) -> Head:
        """What the changes so far lead to."""
        last = self._last
        return EMPTY if last is None else Head(revision=last.revision, at=last.at, hash=last.hash)

    def takes(self, change: Change) -> bool:
        """Whether the change has the hash that follows from it and the one before; the next is held against its own."""
        *fields, _ = msgspec.structs.astuple(change)
        previous = NO_HASH if self._last is None else self._last.hash
        self._last = change
        return _hash_of(previous, self.organization_id, fields) == change.hash

    def take(self, change: Change) -> None:
        """Raises TamperedHistory(organization_id, revision, ordinal) for a change that does not follow."""
        if not self.takes(change):
            raise self.broken_at(change.revision, change.ordinal)

    def require(self, head: Head) -> None:
        """Raises TamperedHistory(organization_id, revision, ordinal) where the changes so far lead elsewhere."""
        if self.head != head:
            raise self.broken_at(head.revision, 0)

    def broken_at(self, revision: int, ordinal: int) -> TamperedHistory:
        """The error that names the change."""
        return TamperedHistory(organization_id=self.organization_id, revision=revision, ordinal=ordinal)


def verify(store: Store, organization_id: str) -> int:
    """The number of changes, after checking each hash. Raises TamperedHistory(organization_id, revision, ordinal)."""
    with store.archive(organization_id) as archive:
        chain, count = Chain(organization_id), 0
        for change in archive.changes():
            chain.take(change)
            count += 1
        chain.require(archive.head)
    return count


def fact_in(kind: type[F], text: str) -> F:
    """The fact that a change tells of before or after it, without its secrets."""
    return msgspec.json.decode(text, type=kind)


def text_of(fact: Fact) -> str:
    """The fact as a change tells of it."""
    return _TOLD[type(fact)].text(fact)


def text_now(kind: str, text: str) -> str | None:
    """What a change tells of a fact, as it would be told today: fields that came later have their defaults. None where
    it is no fact of the kind."""
    told = _TOLD_BY_NAME.get(kind)
    return None if told is None else told.text_now(text)


def joined_key(key: tuple[str, ...]) -> str:
    """The key of a fact as a change tells it."""
    return "/".join(key)


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
        self._decoder = msgspec.json.Decoder(_without_secrets(kind))

    def about(self, fact: Fact) -> tuple[str, str, str, str, str | None]:
        """Kind, key, type and id of the subject, id of the target."""
        key = self._key(fact)
        subject_type, subject_id = self._subject(fact)
        target = None if self._target is None else self._target(fact)
        return self._kind, key if self._is_single else joined_key(key), subject_type, subject_id, target

    def text(self, fact: Fact) -> str:
        """The fact as JSON, without its secrets."""
        if not self._has_secrets:
            return _SORTED.encode(fact).decode()
        values: dict[str, Any] = msgspec.to_builtins(fact)
        for secret in SECRETS:
            values.pop(secret, None)
        return _SORTED.encode(values).decode()

    def text_now(self, text: str) -> str | None:
        """See the function of that name."""
        try:
            return _SORTED.encode(self._decoder.decode(text)).decode()
        except (msgspec.DecodeError, UnicodeError):
            return None


def _without_secrets(kind: type[Fact]) -> type[msgspec.Struct]:
    """What a change tells of a fact of the kind."""
    told: list[Any] = []
    for each in msgspec.structs.fields(kind):
        if each.name in SECRETS:
            continue
        if each.default_factory is not msgspec.NODEFAULT:
            told.append((each.name, each.type, msgspec.field(default_factory=each.default_factory)))
        elif each.default is not msgspec.NODEFAULT:
            told.append((each.name, each.type, each.default))
        else:
            told.append((each.name, each.type))
    return msgspec.defstruct(f"Told{kind.__name__}", told, kw_only=True)


_SORTED: Final = msgspec.json.Encoder(order="sorted")
_PLAIN: Final = msgspec.json.Encoder()
_TOLD: Final = {kind: _Told(kind) for kind in FACT_KINDS}
_TOLD_BY_NAME: Final = {kind.__name__: told for kind, told in _TOLD.items()}


def _hash_of(previous: str, organization_id: str, fields: Iterable[Any]) -> str:
    """Over the hash before it and all fields of a change but its own hash."""
    return sha256(_PLAIN.encode((previous, organization_id, *fields))).hexdigest()
