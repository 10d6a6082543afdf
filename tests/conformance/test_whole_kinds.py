"""Facts by several fields at once, and all facts of a kind in parts."""

import pytest

from grantbook.model.facts import Containment, EntityRef, Fact, Grant, Principal, RoleAssignment, key_of
from grantbook.store.port import Store
from tests.worlds import (
    AUTHOR,
    FACTS_OF_EVERY_KIND,
    ORGANIZATION,
    assigned,
    contains,
    deposit,
    grant,
    member,
    user,
    withdraw,
)

STORE, SLICE = EntityRef("vector_store", "vs_1"), EntityRef("knowledge_slice", "kslice_1")
PLACE = ("entity_type", "entity_id", "grantee_type", "grantee_id")


def test_combinations_are_found_together_and_not_crosswise(store: Store) -> None:
    facts = [grant(ref, who, "read") for ref in (STORE, SLICE) for who in (user("usr_1"), user("usr_2"))]
    deposit(store, ORGANIZATION, facts)
    deposit(store, "org_other", [grant(STORE, user("usr_3"), "read")])
    wanted = [(*STORE, *user("usr_1")), (*SLICE, *user("usr_2")), (*STORE, *user("usr_3")), (*STORE, "role", "usr_1")]
    with store.snapshot(ORGANIZATION) as snapshot:
        found = snapshot.find_all(Grant, PLACE, wanted)
        assert sorted(found, key=key_of) == sorted([facts[0], facts[3]], key=key_of)
        assert snapshot.find_all(Grant, PLACE, [*wanted, *wanted]) == found
        assert snapshot.find_all(Grant, PLACE, []) == []
        assert snapshot.find_all(Grant, ("id",), [(facts[1].id,), ("agrant_none",)]) == [facts[1]]


def test_combinations_of_odd_texts_are_found(store: Store) -> None:
    odd = [assigned('role_"\\', "usr_'é\u2028"), assigned("role_[1,2]", "usr_%")]
    deposit(store, ORGANIZATION, odd)
    with store.snapshot(ORGANIZATION) as snapshot:
        for fact in odd:
            assert snapshot.find_all(RoleAssignment, RoleAssignment.KEY, [key_of(fact)]) == [fact]


def test_many_combinations_are_found_at_once(store: Store) -> None:
    facts = [assigned(f"role_{number}", f"usr_{number % 7}") for number in range(2_500)]
    deposit(store, ORGANIZATION, facts)
    keys = [key_of(fact) for fact in facts]
    with store.snapshot(ORGANIZATION) as snapshot:
        assert len(snapshot.find_all(RoleAssignment, RoleAssignment.KEY, keys)) == 2_500


def test_combinations_are_found_while_writing_and_in_the_past(store: Store) -> None:
    edge = contains(SLICE, STORE)
    deposit(store, ORGANIZATION, [edge])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        fresh = grant(STORE, Principal("role", "role_1"), "read")
        book.add(fresh, "granted")
        assert book.find_all(Grant, PLACE, [(*STORE, "role", "role_1")]) == [fresh]
        book.remove(edge, "removed")
        assert book.find_all(Containment, Containment.KEY, [key_of(edge)]) == []
    with store.snapshot(ORGANIZATION, revision=1) as past:
        assert past.find_all(Containment, Containment.KEY, [key_of(edge)]) == [edge]
        assert past.find_all(Grant, PLACE, [(*STORE, "role", "role_1")]) == []


@pytest.mark.parametrize("number", [0, 1, 999, 1_000, 1_001, 2_500])
def test_all_of_a_kind_come_in_order_of_their_keys(store: Store, number: int) -> None:
    facts = [assigned(f"role_{each % 3}", f"usr_{each:05}") for each in range(number)]
    deposit(store, ORGANIZATION, [member("usr_1"), *reversed(facts)])
    deposit(store, "org_other", [assigned("role_0", "usr_other")])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert list(snapshot.iterate(RoleAssignment)) == sorted(facts, key=key_of)


@pytest.mark.parametrize("fact", FACTS_OF_EVERY_KIND, ids=lambda fact: type(fact).__name__)
def test_every_kind_is_iterated_now_and_in_the_past(store: Store, fact: Fact) -> None:
    deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    with store.snapshot(ORGANIZATION) as snapshot:
        assert list(snapshot.iterate(type(fact))) == [fact]
    withdraw(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    with store.snapshot(ORGANIZATION) as snapshot, store.snapshot(ORGANIZATION, revision=1) as past:
        assert list(snapshot.iterate(type(fact))) == []
        assert list(past.iterate(type(fact))) == [fact]


def test_a_kind_is_gone_through_from_a_key_on(store: Store) -> None:
    facts = [assigned(f"role_{number % 3}", f"usr_{number}") for number in range(10)]
    deposit(store, ORGANIZATION, facts)
    withdraw(store, ORGANIZATION, facts[:2])
    ordered = sorted(facts, key=key_of)
    for revision, there in ((None, [fact for fact in ordered if fact not in facts[:2]]), (1, ordered)):
        with store.snapshot(ORGANIZATION, revision=revision) as snapshot:
            for place in (("role_1", ""), key_of(ordered[4]), ("role_9", "")):
                found = list(snapshot.iterate(RoleAssignment, after=place))
                assert found == [fact for fact in there if key_of(fact) > place]
