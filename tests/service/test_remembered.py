"""What one writer looked up serves the next, and never longer than it is so."""

from collections.abc import Iterator
from contextlib import suppress
from random import Random
from threading import Thread
from typing import Any

import pytest

from grantbook.model.errors import NotFound, PermissionDenied
from grantbook.model.facts import Entity, Grant, Member, RoleAssignment, revised
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import entities, grants, members, names
from grantbook.service.desk import SYSTEM, Desk, Writing
from grantbook.service.grants import NewGrant
from grantbook.service.remembered import Remembered
from tests.service.office import ADMIN, EDITOR, NOTES, OTHER, PLAIN, TEAM, Office
from tests.worlds import ORGANIZATION, user


def give(office: Office, who: str, to: str) -> Grant:
    new = NewGrant(grantee=user(to), access_level="read")
    return office.do(who, grants.create, NOTES, new)[0]


def test_the_next_writer_finds_what_the_last_one_looked_up(office: Office) -> None:
    give(office, ADMIN, PLAIN)
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        known = office.desk.remembered.at(ORGANIZATION, writing.book.tip.hash)
        assert (Entity, *NOTES) in known
        assert (Member, ADMIN) in known


@pytest.mark.parametrize("by_another_process", [False, True])
def test_a_right_that_was_taken_away_is_not_used(office: Office, by_another_process: bool) -> None:
    give(office, ADMIN, PLAIN)
    other = Desk(office.store, BUILT_IN, office.clock, Random(2).randbytes) if by_another_process else office.desk
    with other.writing(ORGANIZATION, SYSTEM) as writing:
        members.unassign_role(writing, office.base_role("Admin"), ADMIN)
    with pytest.raises(PermissionDenied):
        give(office, ADMIN, OTHER)


def test_within_one_transaction_what_was_changed_is_seen(office: Office) -> None:
    give(office, ADMIN, PLAIN)

    def rename(writing: Writing) -> None:
        member = writing.find(Member, PLAIN)
        assert member is not None
        writing.book.replace(member, revised(member, full_name="Renamed"), "updated")
        assert names.of_principals(writing, [user(PLAIN)])[user(PLAIN)].name == "Renamed"
        raise InterruptedError

    with pytest.raises(InterruptedError):
        office.do(SYSTEM, rename)
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        member = writing.find(Member, PLAIN)
        assert member is not None
        assert member.full_name is None


def test_what_was_not_there_is_found_once_it_is(office: Office) -> None:
    with pytest.raises(NotFound):
        give(office, ADMIN, "usr_new")
    office.invite("usr_new")
    assert give(office, ADMIN, "usr_new").grantee_id == "usr_new"


def test_an_entity_that_went_is_gone(office: Office) -> None:
    give(office, ADMIN, PLAIN)
    office.do(SYSTEM, entities.delete, NOTES)
    with pytest.raises(NotFound):
        give(office, ADMIN, OTHER)


def test_grants_themselves_are_never_remembered(office: Office) -> None:
    made = give(office, ADMIN, PLAIN)
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        assert writing.find(Grant, made.id) == made
        grants.revoke(writing, made.id)
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        assert writing.find(Grant, made.id) is None


def test_a_state_that_never_came_about_is_never_met(office: Office) -> None:
    """Nobody begins at what a transaction would have left that failed at its very end."""
    with suppress(InterruptedError), office.store.together() as block:
        with office.desk.writing(ORGANIZATION, SYSTEM, within=block) as writing:
            assert writing.assigned_to(OTHER)[0].role_id == EDITOR.id
            grants.create(writing, TEAM, NewGrant(grantee=user(PLAIN), access_level="read"))
        raise InterruptedError
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        (held,) = writing.snapshot.select(RoleAssignment, {"user_id": OTHER})
        writing.book.remove(held, "unassigned")
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        assert writing.assigned_to(OTHER) == []


def test_it_is_bounded() -> None:
    remembered = Remembered()
    for number in range(100):
        remembered.keep(f"org_{number}", "state", {"question": number})
    assert remembered.at("org_0", "state") == {}
    assert remembered.at("org_99", "state") == {"question": 99}
    remembered.keep("org_99", "state", dict.fromkeys(range(2_000)))
    assert remembered.at("org_99", "state") == {}


class _Interrupted(dict[str, Any]):
    """Whoever iterates over it is overtaken by another, if nothing keeps that one waiting."""

    def __init__(self, values: dict[str, Any], other: Thread) -> None:
        super().__init__(values)
        self._other = other

    def __iter__(self) -> Iterator[str]:
        found = super().__iter__()
        if self._other.ident is None:
            self._other.start()
            self._other.join(timeout=0.2)
        return found


def test_writers_of_other_organizations_may_leave_theirs_at_the_same_moment() -> None:
    remembered = Remembered()
    for number in range(40):
        remembered.keep(f"org_{number}", "state", {})
    other = Thread(target=remembered.keep, args=("org_other", "state", {"question": 1}))
    remembered._held = _Interrupted(remembered._held, other)
    remembered.keep("org_new", "state", {"question": 2})
    other.join()
    assert remembered.at("org_new", "state") == {"question": 2}
    assert remembered.at("org_other", "state") == {"question": 1}
