"""What is written down of every change, and how tampering shows."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from grantbook.model.errors import TamperedHistory
from grantbook.model.facts import ApiKey, EntityRef, Fact, Member, revised
from grantbook.store import history
from grantbook.store.port import Author, Store
from grantbook.store.sqlite import open_sqlite
from tests.worlds import (
    AUTHOR,
    FACTS_OF_EVERY_KIND,
    NOW,
    ORGANIZATION,
    FakeClock,
    api_key,
    contains,
    deposit,
    grant,
    member,
    user,
    withdraw,
)

VECTORS = EntityRef("vector_store", "vs_1")


def test_changes_come_oldest_first_and_after_a_revision(store: Store) -> None:
    for number in range(4):
        deposit(store, ORGANIZATION, [member(f"usr_{number}"), member(f"usr_{number}b")])
    deposit(store, "org_other", [member("usr_9")])
    places = [(change.revision, change.ordinal, change.key) for change in store.changes(ORGANIZATION)]
    assert places == [
        (number + 1, ordinal, f"usr_{number}{letter}")
        for number in range(4)
        for ordinal, letter in enumerate(["", "b"])
    ]
    assert [change.revision for change in store.changes(ORGANIZATION, after=2)] == [3, 3, 4, 4]
    assert list(store.changes(ORGANIZATION, after=4)) == []


def test_a_long_record_comes_whole(store: Store) -> None:
    """More changes in one revision, and in many, than the store reads at a time."""
    deposit(store, ORGANIZATION, [member(f"usr_{number:05}") for number in range(2_345)])
    for number in range(10):
        deposit(store, ORGANIZATION, [member(f"usr_later_{number}")])
    keys = [change.key for change in store.changes(ORGANIZATION)]
    assert keys == [f"usr_{number:05}" for number in range(2_345)] + [f"usr_later_{number}" for number in range(10)]
    assert history.verify(store, ORGANIZATION) == 2_355


def test_a_change_tells_who_what_when_and_why(store: Store) -> None:
    author = Author(actor_id="usr_9", api_key_id="ak_9", trace_id="trace-9", reason="left the team")
    before = grant(VECTORS, user("usr_1"), "read", id="agrant_1")
    after = revised(before, access_level="admin")
    deposit(store, ORGANIZATION, [before], author)
    with store.transaction(ORGANIZATION, author) as book:
        book.replace(before, after, "updated")
        book.remove(after, "revoked")
    added, updated, revoked = store.changes(ORGANIZATION)
    for change in (added, updated, revoked):
        assert (change.actor_id, change.api_key_id, change.trace_id) == ("usr_9", "ak_9", "trace-9")
        assert (change.reason, change.at, change.kind) == ("left the team", NOW, "Grant")
        assert (change.key, change.subject_id, change.target_id) == ("agrant_1", "vs_1", "usr_1")
    assert [change.action for change in (added, updated, revoked)] == ["added", "updated", "revoked"]
    assert added.before is None
    assert revoked.after is None
    assert updated.before == added.after
    assert revoked.before == updated.after
    assert [json.loads(text or "")["access_level"] for text in (added.after, updated.after)] == ["read", "admin"]


def test_a_change_names_what_it_is_about_and_whom_it_touches(store: Store) -> None:
    deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    assert {
        change.kind: (change.key, change.subject_id, change.target_id) for change in store.changes(ORGANIZATION)
    } == {
        "Organization": (ORGANIZATION, ORGANIZATION, None),
        "Member": ("usr_1", "usr_1", None),
        "Department": ("dept_1", "dept_1", None),
        "DepartmentMember": ("dept_1/usr_1", "dept_1", "usr_1"),
        "Role": ("role_1", "role_1", None),
        "RoleAssignment": ("role_1/usr_1", "role_1", "usr_1"),
        "Entity": ("vector_store/vs_1", "vs_1", None),
        "AccessTarget": ("vector_store/vs_1/user/usr_1", "vs_1", "usr_1"),
        "Containment": ("knowledge_slice/kslice_1/vector_store/vs_1", "kslice_1", "vs_1"),
        "Grant": ("agrant_vector_store-vs_1-user-usr_1", "vs_1", "usr_1"),
        "ApiKey": ("ak_1", "ak_1", "usr_1"),
    }


@pytest.mark.parametrize("fact", FACTS_OF_EVERY_KIND, ids=lambda fact: type(fact).__name__)
def test_before_and_after_hold_every_field_but_secrets(store: Store, fact: Fact) -> None:
    deposit(store, ORGANIZATION, [fact])
    withdraw(store, ORGANIZATION, [fact])
    added, removed = store.changes(ORGANIZATION)
    written = json.loads(added.after or "")
    assert removed.before == added.after
    expected = {name: getattr(fact, name) for name in fact.__struct_fields__}
    assert expected.pop("digest", None) == (fact.digest if isinstance(fact, ApiKey) else None)
    assert expected.pop("invitation_digest", None) == (fact.invitation_digest if isinstance(fact, Member) else None)
    assert written == {name: list(value) if isinstance(value, tuple) else value for name, value in expected.items()}


def test_the_digest_of_a_key_is_never_written_down(store: Store) -> None:
    key = api_key("ak_1", digest="5ec7e7")
    deposit(store, ORGANIZATION, [key])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(key, revised(key, is_paused=True), "paused")
        book.remove(revised(key, is_paused=True), "removed")
    assert len(list(store.changes(ORGANIZATION))) == 3
    assert not any("5ec7e7" in repr(change) for change in store.changes(ORGANIZATION))


def test_an_untouched_record_verifies(store: Store) -> None:
    assert history.verify(store, ORGANIZATION) == 0
    deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    withdraw(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    deposit(store, "org_other", FACTS_OF_EVERY_KIND)
    assert history.verify(store, ORGANIZATION) == 2 * len(FACTS_OF_EVERY_KIND)
    assert history.verify(store, "org_other") == len(FACTS_OF_EVERY_KIND)


def test_the_same_changes_have_other_hashes_in_another_organization(store: Store) -> None:
    """So nobody can pass off one organization's record as another's."""
    for organization_id in ("org_a", "org_b"):
        deposit(store, organization_id, [contains(EntityRef("knowledge_slice", "kslice_1"), VECTORS)])
    (a,), (b,) = store.changes("org_a"), store.changes("org_b")
    assert a.after == b.after
    assert a.hash != b.hash


@pytest.fixture
def book(tmp_path: Path, clock: FakeClock) -> Iterator[tuple[Store, sqlite3.Connection]]:
    """A record of three revisions with two changes each, and the bare file."""
    store = open_sqlite(f"sqlite:///{tmp_path}/book.db", clock)
    for number in range(3):
        deposit(store, ORGANIZATION, [member(f"usr_{number}"), grant(VECTORS, user(f"usr_{number}"), "read")])
    connection = sqlite3.connect(tmp_path / "book.db", isolation_level=None)
    yield store, connection
    connection.close()
    store.close()


TAMPERINGS = {
    "another actor": "UPDATE changes SET actor_id = 'usr_x' WHERE revision = 2 AND ordinal = 1",
    "another time": "UPDATE changes SET at = at + 1 WHERE revision = 2 AND ordinal = 1",
    "another level": "UPDATE changes SET after = replace(after, 'read', 'admin') WHERE revision = 2 AND ordinal = 1",
    "a reason": "UPDATE changes SET reason = '' WHERE revision = 2 AND ordinal = 1",
    "another hash": f"UPDATE changes SET hash = '{'f' * 64}' WHERE revision = 2 AND ordinal = 1",
}


@pytest.mark.parametrize("statement", TAMPERINGS.values(), ids=TAMPERINGS)
def test_tampering_with_a_change_is_found_where_it_is(book: tuple[Store, sqlite3.Connection], statement: str) -> None:
    store, connection = book
    assert history.verify(store, ORGANIZATION) == 6
    assert connection.execute(statement).rowcount == 1
    with pytest.raises(TamperedHistory) as raised:
        history.verify(store, ORGANIZATION)
    assert raised.value.details == {"organization_id": ORGANIZATION, "revision": 2, "ordinal": 1}


@pytest.mark.parametrize("revision", [1, 2, 3])
def test_a_missing_change_is_found(book: tuple[Store, sqlite3.Connection], revision: int) -> None:
    store, connection = book
    assert connection.execute("DELETE FROM changes WHERE revision = ? AND ordinal = 1", [revision]).rowcount == 1
    with pytest.raises(TamperedHistory):
        history.verify(store, ORGANIZATION)


def test_changes_in_another_order_are_found(book: tuple[Store, sqlite3.Connection]) -> None:
    store, connection = book
    for statement in (
        "UPDATE changes SET ordinal = 9 WHERE revision = 2 AND ordinal = 0",
        "UPDATE changes SET ordinal = 0 WHERE revision = 2 AND ordinal = 1",
        "UPDATE changes SET ordinal = 1 WHERE revision = 2 AND ordinal = 9",
    ):
        assert connection.execute(statement).rowcount == 1
    with pytest.raises(TamperedHistory):
        history.verify(store, ORGANIZATION)
