"""When keys were last used: the latest that anybody saw, beside the history."""

from grantbook.store.port import Store
from tests.worlds import ORGANIZATION, nothing_happens


def test_the_latest_use_is_kept_whoever_writes_it_last(store: Store) -> None:
    """Several processes flush what each of them saw."""
    store.note_key_uses({(ORGANIZATION, "ak_1"): 5, (ORGANIZATION, "ak_2"): 7})
    store.note_key_uses({(ORGANIZATION, "ak_1"): 4, (ORGANIZATION, "ak_2"): 8})
    assert store.key_uses(ORGANIZATION, ["ak_1", "ak_2", "ak_3"]) == {"ak_1": 5, "ak_2": 8}
    assert store.key_uses(ORGANIZATION, ["ak_2"]) == {"ak_2": 8}
    assert store.key_uses(ORGANIZATION, []) == {}


def test_uses_of_two_organizations_stay_apart(store: Store) -> None:
    store.note_key_uses({("org_a", "ak_1"): 5, ("org_b", "ak_1"): 9})
    assert store.key_uses("org_a", ["ak_1"]) == {"ak_1": 5}
    assert store.key_uses("org_b", ["ak_1"]) == {"ak_1": 9}
    assert store.key_uses("org_c", ["ak_1"]) == {}


def test_uses_make_no_history(store: Store) -> None:
    with nothing_happens(store, ORGANIZATION):
        store.note_key_uses({(ORGANIZATION, "ak_1"): 5})
        store.note_key_uses({})
    assert store.organization_ids() == []


def test_many_keys_are_asked_for_at_once(store: Store) -> None:
    many = {(ORGANIZATION, f"ak_{number}"): number for number in range(3_000)}
    store.note_key_uses(many)
    assert store.key_uses(ORGANIZATION, [f"ak_{number}" for number in range(4_000)]) == {
        key_id: at for (_, key_id), at in many.items()
    }
