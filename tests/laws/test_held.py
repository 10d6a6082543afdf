"""What the cache holds: no more than it may, longest what is asked for again, and all that a change does not touch."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

import pytest

from grantbook.engine.facts_cache import FactCache
from grantbook.engine.held import NONE
from grantbook.model.facts import EntityRef, Fact, Principal
from grantbook.model.vocabulary import BUILT_IN
from grantbook.store.port import Store
from tests.worlds import (
    NOW,
    ORGANIZATION,
    FakeClock,
    contains,
    department,
    deposit,
    entity,
    grant,
    joined,
    member,
    organization,
    user,
    withdraw,
)

SIZE: Final = 60
REFS: Final = tuple(EntityRef("vector_store", f"vs_{number}") for number in range(SIZE))
FOLDER: Final = EntityRef("knowledge_slice", "kslice_folder")
USERS: Final = tuple(f"usr_{number}" for number in range(SIZE))
TEAM: Final = Principal("department", "dept_team")
_CLOCK: Final = FakeClock()


@pytest.fixture
def filled(store: Store) -> Store:
    """Each user has a grant on the entity of the same number."""
    facts: list[Fact] = [organization(), department(TEAM.id), entity(FOLDER, owner=user("usr_nobody"), mode="private")]
    facts += [member(user_id, "active") for user_id in USERS]
    facts += [entity(ref, owner=user("usr_nobody"), mode="private") for ref in REFS]
    facts += [grant(ref, user(user_id), "read") for ref, user_id in zip(REFS, USERS, strict=True)]
    deposit(store, ORGANIZATION, facts)
    return store


@pytest.fixture
def cache(filled: Store) -> Iterator[FactCache]:
    with closing(FactCache(filled, BUILT_IN, 1 << 30)) as cache:
        yield cache


def rank(cache: FactCache, number: int, other: int | None = None) -> int:
    """What a user has on the entity of the same number, or of another."""
    ref = REFS[number if other is None else other]
    with cache:
        return cache.current(ORGANIZATION).rank(USERS[number], ref, lambda: NOW)


def test_it_holds_no_more_than_it_may_and_longest_what_is_asked_for_again(filled: Store) -> None:
    most, spent = 24_000, []
    with closing(FactCache(filled, BUILT_IN, most)) as cache:
        for number in [*range(SIZE)] * 3:
            assert (rank(cache, number), rank(cache, 0)) == (0, 0)
            spent.append(cache.spent_bytes)
            if number:
                before = cache.loads
                rank(cache, 0)
                assert cache.loads == before, "what is asked for all the time had to be loaded again"
        assert max(spent) <= most
        assert cache.rotations > 3
        rotations, before = cache.rotations, cache.loads
        assert rank(cache, 1) == 0
        assert cache.loads > before, "what nobody asked for meanwhile is still held"
        assert cache.rotations <= rotations + 1


def test_what_has_room_is_loaded_once(cache: FactCache) -> None:
    for number in range(SIZE):
        assert rank(cache, number) == 0
    before = cache.loads
    assert [rank(cache, number) for number in range(SIZE)] == [0] * SIZE
    assert (cache.loads, cache.rotations) == (before, 0)


@pytest.mark.parametrize(
    ("change", "now"),
    [
        (lambda store: withdraw(store, ORGANIZATION, [grant(REFS[0], user(USERS[0]), "read")]), NONE),
        (lambda store: deposit(store, ORGANIZATION, [grant(REFS[0], user(USERS[1]), "write")]), 0),
        (lambda store: deposit(store, ORGANIZATION, [joined(TEAM.id, USERS[0])]), 0),
        (lambda store: withdraw(store, ORGANIZATION, [member(USERS[0], "active")]), NONE),
        (lambda store: deposit(store, ORGANIZATION, [contains(FOLDER, REFS[0])]), 0),
    ],
    ids=["revoke", "grant to another", "join", "removal", "containment"],
)
def test_a_change_drops_no_more_than_it_touches(
    filled: Store, cache: FactCache, change: Callable[[Store], None], now: int
) -> None:
    """It is about the first user or the first entity: of all others nothing is loaded again."""
    before = {number: rank(cache, number) for number in range(SIZE)}
    assert set(before.values()) == {0}
    change(filled)
    loads = cache.loads
    assert [rank(cache, number) for number in range(1, SIZE)] == [0] * (SIZE - 1)
    assert cache.loads == loads
    assert rank(cache, 0) == now
