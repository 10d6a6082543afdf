"""A transaction happens whole or not at all, and makes one revision."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grantbook.model.errors import Conflict
from grantbook.model.facts import ApiKey, Department, EntityRef, Fact, Grant, Member, Principal, revised
from grantbook.model.instants import SECOND
from grantbook.store.port import Lookup, Store, StoredResponse, Transaction
from tests.worlds import (
    AUTHOR,
    DAY,
    FACTS_OF_EVERY_KIND,
    NOW,
    ORGANIZATION,
    FakeClock,
    api_key,
    contents,
    department,
    deposit,
    grant,
    member,
    nothing_happens,
    user,
    withdraw,
)

RESPONSE = StoredResponse(fingerprint="f", status=201, headers=(), body=b"{}")
STORE_1 = EntityRef("vector_store", "vs_1")


def test_a_transaction_makes_one_revision_however_many_facts_it_adds(store: Store) -> None:
    assert store.head(ORGANIZATION).revision == 0
    deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    assert store.head(ORGANIZATION).revision == 1
    deposit(store, ORGANIZATION, [member("usr_another")])
    assert store.head(ORGANIZATION).revision == 2


def test_a_transaction_says_which_revision_it_makes_and_whether_it_has_changes(store: Store) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        assert not book.has_changes
        book.add(member("usr_2"), "added")
        assert book.has_changes
        assert book.revision == 2
    assert store.head(ORGANIZATION).revision == book.revision == 2


def test_a_transaction_that_changes_nothing_makes_no_revision(store: Store) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    with nothing_happens(store, ORGANIZATION), store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(member("usr_1"), member("usr_1"), "updated")
        assert not book.has_changes
    assert book.revision == 1


def test_an_empty_transaction_does_not_make_an_organization(store: Store) -> None:
    with store.transaction(ORGANIZATION, AUTHOR):
        pass
    assert store.head(ORGANIZATION).revision == 0
    assert store.organization_ids() == []


@pytest.mark.parametrize("fails", [False, True])
def test_an_exception_undoes_everything(store: Store, fails: bool) -> None:
    """The very same writes stay when nothing goes wrong."""
    deposit(store, ORGANIZATION, [member("usr_1"), department("dept_1")])
    before = contents(store, ORGANIZATION)
    try:
        with store.transaction(ORGANIZATION, AUTHOR) as book:
            book.add(member("usr_2"), "added")
            book.replace(member("usr_1"), member("usr_1", "deactivated"), "deactivated")
            book.remove(department("dept_1"), "deleted")
            book.claim(Lookup.API_KEY, {"digest": ORGANIZATION})
            book.keep_response("key", RESPONSE)
            assert book.count(Member) == 2
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert fails
    assert (contents(store, ORGANIZATION) == before) == fails
    assert store.head(ORGANIZATION).revision == (1 if fails else 2)
    assert len(list(store.changes(ORGANIZATION))) == (2 if fails else 5)
    assert store.look_up(Lookup.API_KEY, "digest") == (None if fails else ORGANIZATION)
    assert store.organizations_of("usr_2") == ([] if fails else [ORGANIZATION])
    assert store.known_users(["usr_1", "usr_2"]) == ({"usr_1"} if fails else {"usr_1", "usr_2"})
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        assert book.find_response("key") == (None if fails else RESPONSE)


def test_a_failed_first_transaction_does_not_make_an_organization(store: Store) -> None:
    with pytest.raises(Conflict):
        deposit(store, ORGANIZATION, [member("usr_1"), member("usr_1")])
    assert store.head(ORGANIZATION).revision == 0
    assert store.organization_ids() == []


def test_reads_in_a_transaction_see_the_writes_before_them(store: Store) -> None:
    deposit(store, ORGANIZATION, [department("dept_1"), member("usr_1")])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.add(department("dept_2", "dept_1"), "created")
        assert {each.id for each in book.departments_above(["dept_2"])} == {"dept_1", "dept_2"}
        assert {each.id for each in book.departments_below(["dept_1"])} == {"dept_1", "dept_2"}
        book.replace(member("usr_1"), member("usr_1", "deactivated"), "deactivated")
        assert book.find(Member, "usr_1") == member("usr_1", "deactivated")
        assert book.count(Member, {"state": "active"}) == 0
        book.remove(department("dept_1"), "deleted")
        assert [each.id for each in book.page(Department, skip=0, limit=9)] == ["dept_2"]
        assert [each.id for each in book.select(Department)] == ["dept_2"]


@pytest.mark.parametrize("fact", FACTS_OF_EVERY_KIND, ids=lambda fact: type(fact).__name__)
def test_a_live_fact_cannot_be_added_again(store: Store, fact: Fact) -> None:
    deposit(store, ORGANIZATION, [fact])
    with nothing_happens(store, ORGANIZATION), pytest.raises(Conflict):
        deposit(store, ORGANIZATION, [member("usr_another"), fact])
    withdraw(store, ORGANIZATION, [fact])
    assert deposit(store, ORGANIZATION, [fact]) == 3


@pytest.mark.parametrize("fact", FACTS_OF_EVERY_KIND, ids=lambda fact: type(fact).__name__)
def test_a_fact_cannot_be_added_twice_in_one_transaction(store: Store, fact: Fact) -> None:
    with pytest.raises(Conflict):
        deposit(store, ORGANIZATION, [fact, fact])
    assert store.head(ORGANIZATION).revision == 0


def test_a_grantee_has_one_live_grant_on_an_entity(store: Store) -> None:
    first = grant(STORE_1, user("usr_1"), "read", id="agrant_1")
    second = grant(STORE_1, user("usr_1"), "admin", id="agrant_2")
    deposit(store, ORGANIZATION, [first])
    with nothing_happens(store, ORGANIZATION), pytest.raises(Conflict):
        deposit(store, ORGANIZATION, [second])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.remove(first, "revoked")
        book.add(second, "granted")
    assert contents(store, ORGANIZATION)["Grant"] == [second]


def test_grants_that_differ_in_any_part_of_their_key_live_side_by_side(store: Store) -> None:
    facts = [
        grant(ref, grantee, "read")
        for ref in (STORE_1, EntityRef("knowledge_slice", "vs_1"), EntityRef("vector_store", "vs_2"))
        for grantee in (user("usr_1"), user("usr_2"), Principal("role", "usr_1"))
    ]
    deposit(store, ORGANIZATION, facts)
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.count(Grant) == len(facts)


@pytest.mark.parametrize("made_here", [False, True])
def test_replacing_and_removing_works_on_old_facts_and_on_those_of_the_same_transaction(
    store: Store, made_here: bool
) -> None:
    old, new, newest = (department("dept_1", name=name) for name in ("old", "new", "newest"))
    gone = department("dept_2")
    if not made_here:
        deposit(store, ORGANIZATION, [old, gone])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        if made_here:
            book.add(old, "created")
            book.add(gone, "created")
        book.replace(old, new, "updated")
        book.replace(new, newest, "updated")
        book.remove(gone, "deleted")
        assert book.find(Department, "dept_1") == newest
    assert contents(store, ORGANIZATION)["Department"] == [newest]
    assert contents(store, ORGANIZATION, book.revision)["Department"] == [newest]
    assert contents(store, ORGANIZATION, book.revision - 1)["Department"] == ([] if made_here else [old, gone])


@pytest.mark.parametrize("was_there", [False, True])
def test_a_fact_can_be_removed_and_added_again_in_one_transaction(store: Store, was_there: bool) -> None:
    first, second = (department("dept_1", name=name) for name in ("first", "second"))
    if was_there:
        deposit(store, ORGANIZATION, [first])
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        if not was_there:
            book.add(first, "created")
        for _ in range(2):
            book.remove(first, "deleted")
            book.add(second, "created")
            book.remove(second, "deleted")
            book.add(first, "created")
        book.replace(first, second, "updated")
    assert contents(store, ORGANIZATION)["Department"] == [second]


@pytest.mark.parametrize(
    "write",
    [
        lambda book: book.remove(member("usr_2"), "removed"),
        lambda book: book.replace(member("usr_2"), member("usr_2", "deactivated"), "deactivated"),
        lambda book: [book.remove(member("usr_1"), "removed") for _ in range(2)],
        lambda book: [write(member("usr_2"), "changed") for write in (book.add, book.remove, book.remove)],
    ],
    ids=["remove", "replace", "remove twice", "remove what was made here twice"],
)
def test_what_is_not_live_cannot_be_changed(store: Store, write: Callable[[Transaction], object]) -> None:
    """A change that did not happen must not be in the record."""
    deposit(store, ORGANIZATION, [member("usr_1")])
    with (
        nothing_happens(store, ORGANIZATION),
        pytest.raises(Conflict),
        store.transaction(ORGANIZATION, AUTHOR) as book,
    ):
        write(book)


def test_every_revision_carries_the_time_of_its_transaction(store: Store, clock: FakeClock) -> None:
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        assert book.now == NOW
        book.add(member("usr_1"), "added")
        clock.advance(SECOND)
        book.add(member("usr_2"), "added")
        assert book.now == NOW
    assert {change.at for change in store.changes(ORGANIZATION)} == {NOW}


def test_times_never_go_backwards_in_an_organization_even_if_the_clock_does(store: Store, clock: FakeClock) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    clock.advance(-DAY)
    deposit(store, ORGANIZATION, [member("usr_2")])
    deposit(store, "org_younger", [member("usr_3")])
    clock.advance(2 * DAY)
    deposit(store, ORGANIZATION, [member("usr_4")])
    assert [change.at for change in store.changes(ORGANIZATION)] == [NOW, NOW, NOW + DAY]
    assert [change.at for change in store.changes("org_younger")] == [NOW - DAY]


def test_a_key_of_an_organization_that_was_left_can_be_kept_again(store: Store) -> None:
    key = api_key("ak_1")
    deposit(store, ORGANIZATION, [key])
    withdraw(store, ORGANIZATION, [key])
    deposit(store, ORGANIZATION, [revised(key, is_paused=True)])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.select(ApiKey, {"digest": key.digest}) == [revised(key, is_paused=True)]


Step = tuple[str, str, str]
STEPS = st.tuples(
    st.sampled_from(("add", "replace", "remove", "read")),
    st.sampled_from(("dept_1", "dept_2")),
    st.sampled_from("abc"),
)
_used: list[str] = []


@given(transactions=st.lists(st.lists(STEPS, max_size=8), max_size=5))
def test_any_sequence_of_writes_reads_like_a_dictionary(shared_store: Store, transactions: list[list[Step]]) -> None:
    """What is there now, at every revision before, and from within the transaction."""
    organization_id = f"org_{len(_used)}"
    _used.append(organization_id)
    expected: dict[str, Department] = {}
    eras: dict[int, list[Fact]] = {0: []}
    for steps in transactions:
        with shared_store.transaction(organization_id, AUTHOR) as book:
            for step in steps:
                _apply(book, expected, step)
        eras[book.revision] = [expected[key] for key in sorted(expected)]
    for revision, facts in eras.items():
        assert contents(shared_store, organization_id, revision)["Department"] == facts


def _apply(book: Transaction, expected: dict[str, Department], step: Step) -> None:
    verb, key, name = step
    present = expected.get(key)
    if verb == "read":
        assert book.find(Department, key) == present
    elif present is None:
        expected[key] = department(key, name=name)
        book.add(expected[key], "created")
    elif verb == "remove":
        book.remove(expected.pop(key), "deleted")
    else:
        expected[key] = department(key, name=name)
        book.replace(present, expected[key], "updated")
