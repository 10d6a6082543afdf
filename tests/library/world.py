"""What the tests of the library share."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from grantbook import Grantbook, OrganizationBook
from grantbook.model.instants import Instant, from_datetime

ASSISTANT, RULE, STORE, SLICE = "assistant", "rule", "vector_store", "knowledge_slice"
BOT = (ASSISTANT, "asst_bot")
TIME: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Watch:
    """A clock that goes on by a microsecond whenever it is looked at, so that what is made later is later."""

    def __init__(self) -> None:
        self.now = TIME

    def __call__(self) -> Instant:
        self.now += timedelta(microseconds=1)
        return from_datetime(self.now)


def may(acme: OrganizationBook, user_id: str, level: str = "read", entity: tuple[str, str] = BOT, **when: Any) -> bool:
    return acme.check(user_id, level, *entity, **when).allowed


def opened(book: Grantbook, acme: OrganizationBook, who: str | None) -> OrganizationBook:
    """The organization as the system, or with the rights of a user."""
    return book.organization(acme.id) if who is None else book.organization(acme.id, acting_as=who)
