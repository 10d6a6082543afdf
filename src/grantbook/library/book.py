"""The book of all organizations in a database."""

from types import TracebackType
from typing import NamedTuple, Self

from msgspec import UNSET, UnsetType

from grantbook.bootstrap import load_vocabulary, open_desk, system_clock
from grantbook.library.arguments import checked
from grantbook.library.organization import OrganizationBook
from grantbook.model import ids
from grantbook.model.ids import new_id
from grantbook.model.instants import Clock
from grantbook.model.limits import DEFAULT_CACHE_MB, DEFAULT_CONNECTIONS, DEFAULT_STALENESS_MS, MEBIBYTE
from grantbook.service import keys, organizations
from grantbook.service.desk import SYSTEM, Caller, Desk, again_if_aborted
from grantbook.settings import Settings


class KeyHolder(NamedTuple):
    """Whom a key speaks for, where, with which scopes: None is whatever the user may do."""

    organization_id: str
    user_id: str
    scopes: tuple[str, ...] | None
    key_id: str


@checked()
class Grantbook:
    """A book of grants in a database: `sqlite:///path`, `postgresql://user@host:5432/name`, or `memory:` for a trial
    that nothing outlives.

    Facts that decide about access are kept in memory, in at most about `cache_mb` MiB; 0 keeps none, and the answers
    are the same. PostgreSQL is asked on at most so many `connections`, and what is kept of it may lag `staleness_ms`
    behind what other processes wrote. Safe to share between threads. Raises ConfigurationError for a database that
    cannot be used; and everything does in a process that was forked since, which opens a book of its own.
    """

    def __init__(
        self,
        database: str = "sqlite:///grantbook.db",
        *,
        vocabulary_file: str | None = None,
        cache_mb: int = DEFAULT_CACHE_MB,
        connections: int = DEFAULT_CONNECTIONS,
        staleness_ms: int = DEFAULT_STALENESS_MS,
        clock: Clock = system_clock,
    ) -> None:
        given = Settings(
            database=database,
            vocabulary_file=vocabulary_file,
            cache_mb=cache_mb,
            connections=connections,
            staleness_ms=staleness_ms,
        )
        self.desk: Desk = open_desk(
            given.database,
            vocabulary=load_vocabulary(given.vocabulary_file),
            clock=clock,
            cache_bytes=given.cache_mb * MEBIBYTE,
            connections=given.connections,
            staleness_ms=given.staleness_ms,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the database."""
        self.desk.close()

    @again_if_aborted
    def create_organization(
        self,
        name: str,
        *,
        owner_email: str,
        owner_name: str | None = None,
        owner_id: str | None = None,
        organization_id: str | None = None,
    ) -> OrganizationBook:
        """A new organization with its owner and base roles. Raises ValidationFailed, Conflict(organization_id)."""
        chosen = organization_id or new_id(ids.ORGANIZATION, self.desk.random)
        with self.desk.writing(chosen, SYSTEM) as writing:
            organizations.found(writing, name=name, owner_email=owner_email, owner_name=owner_name, owner_id=owner_id)
        return self.organization(chosen)

    def organization(self, organization_id: str, *, acting_as: str | UnsetType = UNSET) -> OrganizationBook:
        """The book of one organization: as the system, which may do everything, or with the rights of a user.

        Raises OrganizationAccessDenied where there is none, or for a non-member; ValidationFailed(acting_as) for None:
        somebody who is not known must not get the rights of the system.
        """
        caller = SYSTEM if acting_as is UNSET else Caller(user_id=acting_as)
        with self.desk.reading(organization_id, caller) as reading:
            organization = organizations.get_organization(reading)
            owner_id = organizations.owner_of(reading)
        return OrganizationBook(self.desk, caller, organization, owner_id or "")

    def authenticate(self, secret: str) -> KeyHolder:
        """Whom an API key speaks for: what its scopes allow is up to the application. It is noted as the last use.

        Raises AuthenticationFailed (codes INVALID_API_KEY, API_KEY_EXPIRED, API_KEY_DEACTIVATED, API_KEY_PAUSED),
        OrganizationAccessDenied where its user is no active member any more.
        """
        identity = keys.authenticate(self.desk, secret)
        keys.require_opens(self.desk, identity, identity.organization_id)
        caller = identity.caller
        return KeyHolder(identity.organization_id, caller.user_id, caller.scopes, caller.api_key_id or "")

    def organization_ids(self) -> list[str]:
        """Every organization in the database, in order."""
        return self.desk.store.organization_ids()
