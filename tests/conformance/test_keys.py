"""What is known beyond one organization, and answers kept under an idempotency key."""

import pytest

from grantbook.model.errors import Conflict
from grantbook.model.instants import SECOND
from grantbook.model.limits import IDEMPOTENCY_TTL_S
from grantbook.store.port import Lookup, Store, StoredResponse
from tests.worlds import AUTHOR, ORGANIZATION, FakeClock, contents, deposit, member, withdraw

ANSWER = StoredResponse(
    fingerprint="f1",
    status=201,
    headers=(("content-type", "application/json"), ("x", "é")),
    body=b'{"\xc3\xa9\x00": 1}',
)
OTHER = StoredResponse(fingerprint="f2", status=204, headers=(), body=b"")
TTL = IDEMPOTENCY_TTL_S * SECOND


def _claim(store: Store, organization_id: str, lookup: Lookup, key: str, value: str) -> str:
    with store.transaction(organization_id, AUTHOR) as book:
        return book.claim(lookup, {key: value})[key]


def test_a_claim_goes_to_the_first(store: Store) -> None:
    assert store.look_up(Lookup.ENTITY, "rule/rule_1") is None
    assert _claim(store, "org_a", Lookup.ENTITY, "rule/rule_1", "org_a") == "org_a"
    assert _claim(store, "org_b", Lookup.ENTITY, "rule/rule_1", "org_b") == "org_a"
    assert _claim(store, "org_a", Lookup.ENTITY, "rule/rule_1", "org_a") == "org_a"
    assert store.look_up(Lookup.ENTITY, "rule/rule_1") == "org_a"


def test_claims_of_different_kinds_and_spellings_stay_apart(store: Store) -> None:
    for value, (lookup, key) in enumerate([(Lookup.ENTITY, "k"), (Lookup.USER, "k"), (Lookup.USER, "K")]):
        _claim(store, "org_a", lookup, key, f"org_{value}")
    assert store.look_up(Lookup.ENTITY, "k") == "org_0"
    assert store.look_up(Lookup.USER, "k") == "org_1"
    assert store.look_up(Lookup.USER, "K") == "org_2"
    assert store.look_up(Lookup.API_KEY, "k") is None


def test_a_claim_alone_makes_no_revision(store: Store) -> None:
    _claim(store, ORGANIZATION, Lookup.USER, "usr_1", ORGANIZATION)
    assert store.head(ORGANIZATION).revision == 0
    assert store.organization_ids() == []


def test_a_claim_of_a_failed_transaction_is_free_again(store: Store) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    with pytest.raises(Conflict):
        _claim_and_fail(store)
    assert store.look_up(Lookup.USER, "usr_1") is None
    assert _claim(store, "org_b", Lookup.USER, "usr_1", "org_b") == "org_b"


def _claim_and_fail(store: Store) -> None:
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.claim(Lookup.USER, {"usr_1": ORGANIZATION})
        book.add(member("usr_1"), "added")


def test_users_are_known_where_they_are_or_were_members(store: Store) -> None:
    deposit(store, "org_b", [member("usr_1")])
    deposit(store, "org_a", [member("usr_1"), member("usr_2", "pending_invitation")])
    withdraw(store, "org_b", [member("usr_1")])
    assert store.organizations_of("usr_1") == ["org_a", "org_b"]
    assert store.organizations_of("usr_2") == ["org_a"]
    assert store.organizations_of("usr_3") == []
    assert store.known_users(["usr_1", "usr_2", "usr_3"]) == {"usr_1", "usr_2"}
    assert store.known_users([]) == set()
    assert store.known_users([f"usr_{number}" for number in range(3_000)]) == {"usr_1", "usr_2"}


def test_a_member_who_comes_back_is_known_once(store: Store) -> None:
    for _ in range(2):
        deposit(store, ORGANIZATION, [member("usr_1")])
        withdraw(store, ORGANIZATION, [member("usr_1")])
    assert store.organizations_of("usr_1") == [ORGANIZATION]


def test_organizations_are_listed_in_order(store: Store) -> None:
    assert store.organization_ids() == []
    for organization_id in ("org_c", "org_a", "org_B"):
        deposit(store, organization_id, [member("usr_1")])
    withdraw(store, "org_c", [member("usr_1")])
    assert store.organization_ids() == ["org_B", "org_a", "org_c"]


def _find(store: Store, key: str, organization_id: str = ORGANIZATION) -> StoredResponse | None:
    with store.transaction(organization_id, AUTHOR) as book:
        return book.find_response(key)


def _keep(store: Store, key: str, response: StoredResponse, organization_id: str = ORGANIZATION) -> None:
    with store.transaction(organization_id, AUTHOR) as book:
        book.keep_response(key, response)


@pytest.mark.parametrize("is_new", [False, True])
def test_a_kept_answer_comes_back_byte_for_byte(store: Store, is_new: bool) -> None:
    """Also where the organization has no revision yet, and keeping it makes none."""
    if not is_new:
        deposit(store, ORGANIZATION, [member("usr_1")])
    assert _find(store, "key-1") is None
    _keep(store, "key-1", ANSWER)
    assert _find(store, "key-1") == ANSWER
    assert _find(store, "KEY-1") is None
    assert store.head(ORGANIZATION).revision == (0 if is_new else 1)
    assert len(store.organization_ids()) == (0 if is_new else 1)


def test_an_answer_is_found_in_the_transaction_that_keeps_it(store: Store) -> None:
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.keep_response("key-1", ANSWER)
        assert book.find_response("key-1") == ANSWER


def test_answers_of_two_organizations_stay_apart(store: Store) -> None:
    _keep(store, "key-1", ANSWER, "org_a")
    assert _find(store, "key-1", "org_b") is None
    _keep(store, "key-1", OTHER, "org_b")
    assert _find(store, "key-1", "org_a") == ANSWER
    assert _find(store, "key-1", "org_b") == OTHER


def test_an_answer_is_kept_for_a_day_and_no_longer(store: Store, clock: FakeClock) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    _keep(store, "key-1", ANSWER)
    clock.advance(TTL - 1)
    assert _find(store, "key-1") == ANSWER
    clock.advance(1)
    assert _find(store, "key-1") is None
    _keep(store, "key-1", OTHER)
    assert _find(store, "key-1") == OTHER


def test_a_kept_answer_is_not_overwritten(store: Store) -> None:
    deposit(store, ORGANIZATION, [member("usr_1")])
    _keep(store, "key-1", ANSWER)
    before = contents(store, ORGANIZATION)
    with pytest.raises(Conflict):
        _add_and_keep(store)
    assert _find(store, "key-1") == ANSWER
    assert contents(store, ORGANIZATION) == before


def _add_and_keep(store: Store) -> None:
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.add(member("usr_2"), "added")
        book.keep_response("key-1", OTHER)
