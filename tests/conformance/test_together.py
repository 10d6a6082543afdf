"""Transactions that become durable together are each a revision of its own, and fail each alone."""

from contextlib import suppress
from threading import Event, Thread

import pytest

from grantbook.model.errors import Conflict
from grantbook.model.facts import EntityRef, Grant, Member
from grantbook.store import history
from grantbook.store.history import NO_HASH
from grantbook.store.port import Lookup, Store, StoredResponse, Writable
from tests.worlds import AUTHOR, ORGANIZATION, contents, department, deposit, grant, member, nothing_happens, user

ELSEWHERE = "org_elsewhere"


def test_each_makes_a_revision_and_sees_those_before_it(store: Store) -> None:
    revisions = []
    with store.together() as block:
        for number in range(3):
            with block.transaction(ORGANIZATION, AUTHOR) as book:
                assert book.count(Member) == number
                book.add(member(f"usr_{number}"), "added")
            revisions.append(book.revision)
        with block.transaction(ELSEWHERE, AUTHOR) as book:
            book.add(member("usr_0"), "added")
    assert revisions == [1, 2, 3]
    assert (store.head(ORGANIZATION).revision, store.head(ELSEWHERE).revision) == (3, 1)
    assert history.verify(store, ORGANIZATION) == 3
    with store.snapshot(ORGANIZATION, revision=2) as snapshot:
        assert {fact.user_id for fact in snapshot.select(Member)} == {"usr_0", "usr_1"}


def _add_twice(block: Writable) -> None:
    with block.transaction(ORGANIZATION, AUTHOR) as book:
        book.add(member("usr_2"), "added")
        book.claim(Lookup.USER, {"usr_2": ORGANIZATION})
        book.keep_response("one", StoredResponse(fingerprint="f", status=201, headers=(), body=b"{}"))
        book.add(member("usr_1"), "added")


def test_one_that_fails_undoes_itself_alone(store: Store) -> None:
    with store.together() as block:
        with block.transaction(ORGANIZATION, AUTHOR) as book:
            book.add(member("usr_1"), "added")
        with pytest.raises(Conflict):
            _add_twice(block)
        with suppress(InterruptedError), block.transaction(ORGANIZATION, AUTHOR) as book:
            book.remove(member("usr_1"), "removed")
            assert book.count(Member) == 0
            raise InterruptedError
        with block.transaction(ORGANIZATION, AUTHOR) as book:
            assert book.find_response("one") is None
            book.add(member("usr_3"), "added")
    assert contents(store, ORGANIZATION)["Member"] == [member("usr_1"), member("usr_3")]
    assert store.look_up(Lookup.USER, "usr_2") is None
    assert history.verify(store, ORGANIZATION) == 2


def test_an_error_in_the_block_undoes_them_all(store: Store) -> None:
    deposit(store, ORGANIZATION, [department("dept_1")])
    with nothing_happens(store, ORGANIZATION), suppress(InterruptedError), store.together() as block:
        with block.transaction(ORGANIZATION, AUTHOR) as book:
            book.add(member("usr_1"), "added")
        with block.transaction(ELSEWHERE, AUTHOR) as book:
            book.add(member("usr_1"), "added")
        raise InterruptedError
    assert ELSEWHERE not in store.organization_ids()
    assert store.known_users(["usr_1"]) == set()
    assert history.verify(store, ORGANIZATION) == 1


def test_nobody_sees_any_of_them_before_the_end(store: Store) -> None:
    """A reader may wait, but then finds all of them."""
    written, seen = Event(), []

    def look() -> None:
        written.wait(60)
        with store.snapshot(ORGANIZATION) as snapshot:
            seen.append(snapshot.count(Member))

    reader = Thread(target=look)
    reader.start()
    with store.together() as block:
        for number in range(2):
            with block.transaction(ORGANIZATION, AUTHOR) as book:
                book.add(member(f"usr_{number}"), "added")
        written.set()
        reader.join(0.2)
    reader.join(60)
    assert seen in ([0], [2])


def test_the_hash_of_the_tip_tells_states_apart(store: Store) -> None:
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        assert (book.tip.revision, book.tip.hash, set(book.changed_kinds)) == (0, NO_HASH, set())
        book.add(member("usr_1"), "added")
        first = book.tip
    assert first == store.head(ORGANIZATION)
    with suppress(InterruptedError), store.transaction(ORGANIZATION, AUTHOR) as book:
        assert book.tip == first
        book.add(grant(EntityRef("vector_store", "vs_1"), user("usr_1"), "read"), "granted")
        book.remove(member("usr_1"), "removed")
        assert set(book.changed_kinds) == {Member, Grant}
        undone = book.tip
        raise InterruptedError
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        assert book.tip == first
        book.add(member("usr_2"), "added")
        assert undone.revision == book.tip.revision
        assert undone.hash != book.tip.hash
