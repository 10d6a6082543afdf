"""Counts stay right through every change, and pages of several alternatives hold each fact once, in order."""

from collections import Counter
from itertools import product
from typing import Final

import pytest

from grantbook.model.facts import Entity, EntityRef, Grant, Member, RoleAssignment, revised
from grantbook.store.port import Among, Contains, Not, Order, Store, Where
from tests.worlds import AUTHOR, NOW, ORGANIZATION, assigned, deposit, entity, grant, member, user, withdraw

A, B, C = (EntityRef("vector_store", f"vs_{name}") for name in "abc")
SLICE: Final = EntityRef("knowledge_slice", "kslice_a")
PEOPLE: Final = [user(f"usr_{number}") for number in range(4)]
OF_GRANTS: Final[list[list[Where]]] = [
    [],
    [{"access_level": "read"}],
    [{"entity_type": {"vector_store"}, "grantee_id": {"usr_1", "usr_2"}}],
    [{"entity_id": A.id, "grantee_type": "user"}, {"grantee_id": {"usr_1"}}],
    [{"entity_type": "vector_store", "grantee_id": {"usr_0"}}, {"entity_type": "vector_store", "entity_id": {B.id}}],
]
OF_MEMBERS: Final[list[list[Where]]] = [
    [],
    [{"state": Not("deactivated")}],
    [{"email": Contains("USR_1")}, {"full_name": Contains("one")}],
    [{"user_id": Among(RoleAssignment, "user_id", "role_id", "role_1")}],
    [{"invitation_digest": "abc"}],
]
OF_ENTITIES: Final[list[list[Where]]] = [
    [{"attributes.kind": "x"}],
    [{"entity_type": "vector_store", "status": "active"}],
]


def _check(store: Store) -> None:
    with store.snapshot(ORGANIZATION) as snapshot:
        asked = (Grant, "access_level", OF_GRANTS), (Member, "state", OF_MEMBERS), (Entity, "entity_type", OF_ENTITIES)
        for kind, field, questions in asked:
            for where in questions:
                found = snapshot.select(kind, *where)
                assert snapshot.count(kind, *where) == len(found), where
                assert snapshot.tally(kind, field, *where) == Counter(getattr(fact, field) for fact in found), where


def test_a_count_stays_right_through_every_change(store: Store) -> None:
    grants = [grant(ref, who, "read") for ref, who in product((A, B, SLICE), PEOPLE)]
    people = [member(who.id, email=f"{who.id}@example.org") for who in PEOPLE]
    _check(store)
    deposit(store, ORGANIZATION, [*grants, *people, entity(A, attributes={"kind": "x"}), entity(B)])
    _check(store)
    deposit(store, ORGANIZATION, [assigned("role_1", "usr_1"), grant(C, PEOPLE[1], "write")])
    _check(store)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(grants[0], revised(grants[0], access_level="write"), "updated")
        book.replace(people[1], revised(people[1], state="deactivated", invitation_digest="abc"), "updated")
        book.replace(people[2], revised(people[2], full_name="Number One"), "updated")
    _check(store)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        once = revised(grants[1], access_level="write")
        book.replace(grants[1], once, "updated")
        book.remove(once, "revoked")
    _check(store)
    withdraw(store, ORGANIZATION, [grants[5], assigned("role_1", "usr_1")])
    _check(store)


def test_a_count_stays_right_through_very_many_changes(store: Store) -> None:
    deposit(store, ORGANIZATION, [grant(A, PEOPLE[0], "read")])
    _check(store)
    deposit(store, ORGANIZATION, [grant(B, user(f"usr_many{number}"), "read") for number in range(1_200)])
    _check(store)
    for number in range(3):
        deposit(store, ORGANIZATION, [grant(C, user(f"usr_{number}"), "read")])
        _check(store)


def test_changes_of_a_past_time_are_counted_as_those_until_now(store: Store) -> None:
    for number in range(5):
        deposit(store, ORGANIZATION, [grant(A, user(f"usr_{number}"), "read"), member(f"usr_{number}")])
    for _ in range(2):
        with store.snapshot(ORGANIZATION) as snapshot:
            for first, last in product((1, 2, 4), (None, 1, 3, 5, 9)):
                where: Where = {"kind": "Grant"}
                found = snapshot.find_changes(where, first=first, last=last, skip=0, limit=100)
                assert snapshot.count_changes(where, first=first, last=last) == len(found)
        deposit(store, ORGANIZATION, [grant(B, user("usr_0"), "read")])
        withdraw(store, ORGANIZATION, [grant(B, user("usr_0"), "read")])


@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("where", OF_GRANTS[3:])
def test_pages_of_alternatives_that_overlap_hold_each_fact_once(
    store: Store, where: list[Where], is_descending: bool
) -> None:
    pairs = enumerate(product((A, B, C), PEOPLE))
    grants = [grant(ref, who, "read", created_at=NOW + number // 2) for number, (ref, who) in pairs]
    deposit(store, ORGANIZATION, grants[::-1])
    order = Order(is_descending=is_descending)
    with store.snapshot(ORGANIZATION) as snapshot:
        wanted = sorted(
            snapshot.select(Grant, *where), key=lambda each: (each.created_at, each.id), reverse=is_descending
        )
        assert snapshot.page(Grant, *where, skip=0, limit=100, order=order) == wanted
        assert snapshot.page(Grant, *where, skip=2, limit=3, order=order) == wanted[2:5]
        after = (wanted[2].created_at, wanted[2].id)
        assert snapshot.page(Grant, *where, skip=1, limit=2, after=after, order=order) == wanted[4:6]
        assert snapshot.tally(Grant, "entity_id", *where) == {
            id_: len([each for each in wanted if each.entity_id == id_]) for id_ in {each.entity_id for each in wanted}
        }
