"""Walking up and down departments and containers: at any depth, each once, also through cycles."""

from itertools import pairwise

import pytest

from grantbook.model.facts import Containment, EntityRef, Principal, key_of
from grantbook.store.port import Store
from tests.worlds import NOW, ORGANIZATION, contains, department, deposit, entity, grant, user, withdraw

A, B, C, D = (EntityRef("knowledge_slice", f"kslice_{name}") for name in "abcd")
E = EntityRef("vector_store", "vs_e")


def _keys(edges: list[Containment]) -> list[tuple[str, ...]]:
    return sorted(key_of(edge) for edge in edges)


def _expected(*edges: tuple[EntityRef, EntityRef]) -> list[tuple[str, ...]]:
    return sorted(key_of(contains(*edge)) for edge in edges)


#   1      5      a department outside: 9, whose parent is not there
#  2 3     |
#  4       6
TREE = [
    department("dept_1"),
    department("dept_2", "dept_1"),
    department("dept_3", "dept_1"),
    department("dept_4", "dept_2"),
    department("dept_5"),
    department("dept_6", "dept_5"),
    department("dept_9", "dept_missing"),
]


@pytest.mark.parametrize(
    ("asked", "above", "below"),
    [
        ("4", "124", "4"),
        ("1", "1", "1234"),
        ("23", "123", "234"),
        ("46", "12456", "46"),
        ("14", "124", "1234"),
        ("9", "9", "9"),
        ("", "", ""),
        ("7", "", ""),
        ("74", "124", "4"),
    ],
)
def test_departments_are_found_above_and_below(store: Store, asked: str, above: str, below: str) -> None:
    deposit(store, ORGANIZATION, TREE)
    ids = [f"dept_{digit}" for digit in asked]
    for revision in (None, 1):
        with store.snapshot(ORGANIZATION, revision=revision) as snapshot:
            assert sorted(each.id for each in snapshot.departments_above(ids)) == [f"dept_{digit}" for digit in above]
            assert sorted(each.id for each in snapshot.departments_below(ids)) == [f"dept_{digit}" for digit in below]


def test_a_missing_parent_is_nobody(store: Store) -> None:
    deposit(store, ORGANIZATION, TREE)
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.departments_above(["dept_missing"]) == []
        assert snapshot.departments_below(["dept_missing"]) == []


def test_a_cycle_of_departments_ends(store: Store) -> None:
    ring = [department("dept_1", "dept_3"), department("dept_2", "dept_1"), department("dept_3", "dept_2")]
    deposit(store, ORGANIZATION, [*ring, department("dept_self", "dept_self")])
    with store.snapshot(ORGANIZATION) as snapshot:
        for ask in (snapshot.departments_above, snapshot.departments_below):
            assert sorted(each.id for each in ask(["dept_2"])) == ["dept_1", "dept_2", "dept_3"]
            assert [each.id for each in ask(["dept_self"])] == ["dept_self"]


def test_edges_are_found_upwards_and_downwards_at_any_depth_each_once(store: Store) -> None:
    """A diamond: a holds b and c, both hold d, d holds e; a also holds e itself."""
    edges = [(A, B), (A, C), (B, D), (C, D), (D, E), (A, E)]
    deposit(store, ORGANIZATION, [contains(*edge) for edge in edges])
    for revision in (None, 1):
        with store.snapshot(ORGANIZATION, revision=revision) as snapshot:
            assert _keys(snapshot.containers_of([E])) == _expected(*edges)
            assert _keys(snapshot.containers_of([B])) == _expected((A, B))
            assert _keys(snapshot.containers_of([D, B])) == _expected((A, B), (A, C), (B, D), (C, D))
            assert _keys(snapshot.containers_of([A])) == []
            assert _keys(snapshot.contents_of([A])) == _expected(*edges)
            assert _keys(snapshot.contents_of([B, C])) == _expected((B, D), (C, D), (D, E))
            assert _keys(snapshot.contents_of([E])) == []
            assert snapshot.containers_of([]) == snapshot.contents_of([]) == []


def test_a_cycle_of_containers_ends(store: Store) -> None:
    ring = [(A, B), (B, C), (C, A)]
    deposit(store, ORGANIZATION, [contains(*edge) for edge in [*ring, (C, E), (D, D)]])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert _keys(snapshot.containers_of([B])) == _expected(*ring)
        assert _keys(snapshot.containers_of([E])) == _expected(*ring, (C, E))
        assert _keys(snapshot.contents_of([A])) == _expected(*ring, (C, E))
        assert _keys(snapshot.containers_of([D])) == _keys(snapshot.contents_of([D])) == _expected((D, D))


def test_two_types_with_the_same_id_are_not_mixed_up(store: Store) -> None:
    """An id says nothing about the type: b as a slice is in a, b as a store is in d."""
    same = EntityRef("vector_store", B.id)
    deposit(store, ORGANIZATION, [contains(A, B), contains(D, same), contains(B, E), contains(C, D)])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert _keys(snapshot.containers_of([B])) == _expected((A, B))
        assert _keys(snapshot.containers_of([same])) == _expected((D, same), (C, D))
        assert _keys(snapshot.containers_of([E])) == _expected((B, E), (A, B))
        assert _keys(snapshot.contents_of([D])) == _expected((D, same))
        assert _keys(snapshot.contents_of([A, C])) == _expected((A, B), (B, E), (C, D), (D, same))


def test_a_deep_nest_is_walked_to_its_end(store: Store) -> None:
    nest = [EntityRef("knowledge_slice", f"kslice_{n}") for n in range(200)]
    tree = [department("dept_0"), *(department(f"dept_{n}", f"dept_{n - 1}") for n in range(1, 200))]
    deposit(store, ORGANIZATION, [*tree, *(contains(*edge) for edge in pairwise(nest))])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert len(snapshot.containers_of([nest[-1]])) == len(snapshot.contents_of([nest[0]])) == 199
        assert len(snapshot.departments_above(["dept_199"])) == len(snapshot.departments_below(["dept_0"])) == 200


def test_grants_lead_to_what_is_active_through_what_is_active(store: Store) -> None:
    role = Principal("role", "role_1")
    deposit(
        store,
        ORGANIZATION,
        [
            *(entity(ref) for ref in (A, B, C, E)),
            entity(D, status="archived"),
            *(contains(*pair) for pair in ((A, B), (B, A), (B, E), (D, C))),
            grant(A, user("usr_1"), "read"),
            grant(D, user("usr_1"), "read"),
            grant(C, role, "write", expires_at=NOW + 10),
            grant(E, Principal("department", "usr_2"), "read"),
        ],
    )
    slices = {"knowledge_slice": {"knowledge_slice"}}
    types, levels = {"knowledge_slice": {"knowledge_slice", "vector_store"}, "vector_store": ()}, {"read", "write"}
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.led_to([user("usr_1")], types, levels, NOW) == {A, B, E}
        assert snapshot.led_to([user("usr_1")], slices, levels, NOW) == {A, B}
        assert snapshot.led_to([user("usr_1")], {**slices, "vector_store": ()}, levels, NOW) == {A, B}
        assert snapshot.led_to([user("usr_1"), role], types, {"write"}, NOW) == {C}
        assert snapshot.led_to([role], types, levels, NOW + 10) == set()
        assert snapshot.led_to([user("usr_2")], types, levels, NOW) == set()
        assert snapshot.led_to([], types, levels, NOW) == set()
    withdraw(store, ORGANIZATION, [contains(B, E)])
    for revision, found in ((None, {A, B}), (1, {A, B, E})):
        with store.snapshot(ORGANIZATION, revision=revision) as snapshot:
            assert snapshot.led_to([user("usr_1")], types, levels, NOW) == found
