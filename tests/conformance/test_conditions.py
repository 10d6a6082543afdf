"""Conditions that need more than a value: another value, the values of another kind; and pages in any order."""

import pytest

from grantbook.model.facts import Member, RoleAssignment
from grantbook.store.port import Among, Contains, Not, Order, Store, Where
from tests.worlds import AUTHOR, ORGANIZATION, assigned, deposit, member, withdraw

PEOPLE = [
    member("usr_1", created_at=3, full_name="Zoe", email="z@example.org"),
    member("usr_2", "deactivated", created_at=2, full_name="Ada"),
    member("usr_3", "pending_invitation", created_at=1),
    member("usr_4", created_at=4, full_name="Ada"),
]
EDITORS = Among(RoleAssignment, "user_id", "role_id", "role_editor")


def _found(store: Store, *where: Where, revision: int | None = None) -> str:
    """The digits of those who match: selected, counted and tallied alike."""
    with store.snapshot(ORGANIZATION, revision=revision) as snapshot:
        found = sorted(each.user_id for each in snapshot.select(Member, *where))
        assert snapshot.count(Member, *where) == len(found)
        assert sorted(snapshot.tally(Member, "user_id", *where)) == found
    return "".join(user_id[-1] for user_id in found)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([{"state": Not("deactivated")}], "134"),
        ([{"state": Not("gone")}], "1234"),
        ([{"full_name": Not("Ada")}], "1"),
        ([{"full_name": Not("")}], "124"),
        ([{"state": Not("active"), "full_name": "Ada"}], "2"),
        ([{"state": Not("active")}, {"user_id": "usr_1"}], "123"),
    ],
)
def test_not_is_any_value_but_this_one(store: Store, where: list[Where], expected: str) -> None:
    deposit(store, ORGANIZATION, PEOPLE)
    assert _found(store, *where) == expected
    assert _found(store, *where, revision=1) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([{"user_id": EDITORS}], "14"),
        ([{"user_id": EDITORS, "full_name": "Ada"}], "4"),
        ([{"user_id": EDITORS, "full_name": Contains("zO")}, {"user_id": EDITORS, "email": Contains("nobody")}], "1"),
        ([{"user_id": EDITORS}, {"state": "deactivated"}], "124"),
        ([{"user_id": Among(RoleAssignment, "user_id", "role_id", "role_gone")}], ""),
    ],
)
def test_among_asks_another_kind(store: Store, where: list[Where], expected: str) -> None:
    deposit(store, ORGANIZATION, PEOPLE)
    deposit(store, ORGANIZATION, [assigned("role_editor", "usr_1"), assigned("role_editor", "usr_4")])
    deposit(store, ORGANIZATION, [assigned("role_other", "usr_2"), assigned("role_editor", "usr_gone")])
    deposit(store, "org_other", [assigned("role_editor", "usr_3")])
    assert _found(store, *where) == expected


def test_among_asks_about_the_same_revision(store: Store) -> None:
    deposit(store, ORGANIZATION, PEOPLE)
    given = assigned("role_editor", "usr_1")
    deposit(store, ORGANIZATION, [given])
    withdraw(store, ORGANIZATION, [given])
    deposit(store, ORGANIZATION, [assigned("role_editor", "usr_2")])
    assert [_found(store, {"user_id": EDITORS}, revision=revision) for revision in (1, 2, 3, 4)] == ["", "1", "", "2"]
    assert _found(store, {"user_id": EDITORS}) == "2"


def test_among_sees_what_the_transaction_wrote(store: Store) -> None:
    deposit(store, ORGANIZATION, PEOPLE)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.add(assigned("role_editor", "usr_3"), "assigned")
        assert [each.user_id for each in book.page(Member, {"user_id": EDITORS}, skip=0, limit=10)] == ["usr_3"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order(), "3214"),
        (Order(is_descending=True), "4123"),
        (Order("full_name"), "3241"),
        (Order("full_name", is_descending=True), "1423"),
        (Order("state"), "1423"),
        (Order("user_id", is_descending=True), "4321"),
    ],
    ids=str,
)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_pages_come_in_any_order_with_missing_values_first(
    store: Store, order: Order, expected: str, in_transaction: bool
) -> None:
    deposit(store, ORGANIZATION, PEOPLE)
    opened = store.transaction(ORGANIZATION, AUTHOR) if in_transaction else store.snapshot(ORGANIZATION)
    with opened as snapshot:
        for where in ([], [{"user_id": {"usr_1", "usr_2", "usr_3", "usr_4"}}], [{"state": Not("gone")}]):
            pages = [snapshot.page(Member, *where, skip=skip, limit=2, order=order) for skip in (0, 2, 4)]
            assert "".join(each.user_id[-1] for page in pages for each in page) == expected


def test_members_of_a_role_come_in_the_order_of_getting_it(store: Store) -> None:
    given = [assigned("role_editor", f"usr_{number}") for number in (3, 1, 2)]
    deposit(store, ORGANIZATION, [*given, assigned("role_other", "usr_0")])
    with store.snapshot(ORGANIZATION) as snapshot:
        found = snapshot.page(RoleAssignment, {"role_id": "role_editor"}, skip=1, limit=2, order=Order("assigned_at"))
    assert [each.user_id for each in found] == ["usr_2", "usr_3"]
