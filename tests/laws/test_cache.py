"""Laws 1 and 6 of the cache: whatever it holds, however little it may hold, it answers as the definition does now.

Never an answer of before: not after a change through the same store, nor after one through another that shares the
database, as another process would.
"""

import gc
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grantbook.bootstrap import open_store
from grantbook.engine import decide, lists, long_lists, lookup
from grantbook.engine.facts_cache import FactCache
from grantbook.engine.held import NONE, name_of
from grantbook.engine.held_facts import News, Pair
from grantbook.engine.lists import EntitiesOf, Part, UsersOf, Wanted
from grantbook.engine.organization_facts import UNKNOWN_ENTITY, UNKNOWN_USER
from grantbook.engine.sight import reach_of
from grantbook.model import ids
from grantbook.model.errors import StoreUnavailable
from grantbook.model.facts import ENTITY_STATUSES, Entity, EntityRef, Fact, Member, Principal, revised
from grantbook.model.instants import Clock, Instant
from grantbook.model.resolution import OVERRIDE, Access
from grantbook.model.vocabulary import ACCESS_MODES, BUILT_IN
from grantbook.store.port import Store
from grantbook.store.present_port import Present
from grantbook.store.sqlite import open_sqlite
from tests.databases import empty_book
from tests.laws.books import settle
from tests.worlds import (
    AUTHOR,
    DAY,
    NOW,
    ORGANIZATION,
    PEOPLE,
    FakeClock,
    World,
    assigned,
    contains,
    department,
    deposit,
    entity,
    grant,
    joined,
    member,
    organization,
    role,
    subsets,
    user,
    withdraw,
    worlds,
)

SIZES = {"roomy": 1 << 30, "tiny": 4_000, "off": 0}
MOMENTS = (NOW - 1, NOW, NOW + 1, NOW + DAY)
FEWER = settings(max_examples=settings().max_examples // 2)
"""Each example asks for everything, several times over."""
sizes = pytest.mark.parametrize("max_bytes", SIZES.values(), ids=SIZES)


@sizes
@FEWER
@given(world=worlds(), data=st.data())
def test_the_cache_answers_as_the_definition(
    shared_store: Store, max_bytes: int, world: World, data: st.DataObject
) -> None:
    world = settle(shared_store, world)
    cache = FactCache(shared_store, BUILT_IN, max_bytes)
    for at in data.draw(st.permutations(MOMENTS)):
        require_agreement(cache, world, at, data.draw(st.sampled_from((1, 7, len(world.pairs)))))
    cache.close()


@sizes
@FEWER
@given(world=worlds(), data=st.data())
def test_no_change_leaves_an_answer_of_before(
    shared_store: Store, max_bytes: int, world: World, data: st.DataObject
) -> None:
    world = settle(shared_store, world)
    cache = FactCache(shared_store, BUILT_IN, max_bytes)
    require_changes_seen(cache, world, data, lambda: shared_store)
    cache.close()


@FEWER
@given(world=worlds(), data=st.data(), seed=st.integers())
def test_no_change_of_another_process_leaves_an_answer_of_before(
    two_stores: tuple[Store, Store], world: World, data: st.DataObject, seed: int
) -> None:
    world = settle(two_stores[0], world)
    cache = FactCache(two_stores[0], BUILT_IN, 1 << 30)
    choose = Random(seed)
    require_changes_seen(cache, world, data, lambda: choose.choice(two_stores))
    cache.close()


@sizes
@FEWER
@given(world=worlds(), data=st.data())
def test_what_was_loaded_ahead_is_of_now(
    shared_store: Store, max_bytes: int, world: World, data: st.DataObject
) -> None:
    """Whatever is asked or changes between the copy, its loading, the parts of that, and its taking over, by two at a
    time."""
    world = settle(shared_store, world)
    cache, ahead = FactCache(shared_store, BUILT_IN, max_bytes), FactCache(shared_store, BUILT_IN, 1 << 30)
    live: list[Fact] = list(world.facts)
    gone: list[Fact] = []

    def meanwhile() -> None:
        nonlocal live, gone
        happens = data.draw(st.sampled_from(("nothing", "a question", "a change")))
        if happens == "a question":
            require_agreement(cache, world.with_facts(live), NOW, 1)
        elif happens == "a change":
            going, coming = data.draw(subsets(live, 2)), data.draw(subsets(gone, 2)) if gone else []
            live = [fact for fact in live if fact not in going] + coming
            gone = [fact for fact in gone if fact not in coming] + going
            withdraw(shared_store, world.organization_id, going)
            deposit(shared_store, world.organization_id, coming)

    ahead.present = cast("Present", Interrupted(ahead.present, meanwhile))
    some = st.sampled_from((world.pairs, world.pairs[:3], world.pairs[-3:])) | st.sampled_from(world.pairs).map(one)
    for _ in range(3):
        meanwhile()
        wanted = [data.draw(some) for _ in range(2)]
        with cache:
            copies = [cache._facts_of(world.organization_id).copy_into(ahead, pairs) for pairs in wanted]
        meanwhile()
        news: list[News | None] = []
        for copy, pairs in zip(copies, wanted, strict=True):
            with ahead:
                news.append(copy.load_ahead(pairs))
            assert copy.revision == shared_store.head(world.organization_id).revision
            meanwhile()
        for copy, told in zip(copies, news, strict=True):
            with cache:
                cache._facts_of(world.organization_id).take_over(copy, told)
            meanwhile()
        at, size = data.draw(st.sampled_from(MOMENTS)), data.draw(st.sampled_from((1, len(world.pairs))))
        require_agreement(cache, world.with_facts(live), at, size)
    cache.close()
    ahead.close()


class Interrupted:
    """The present, where something happens before each glance at a pair but the first."""

    def __init__(self, present: Present, meanwhile: Callable[[], None]) -> None:
        self._present = present
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._present, name)

    def glance_at_groups(self, *asked: Any) -> Any:
        self._meanwhile()
        return self._present.glance_at_groups(*asked)

    def glance_at_outlines(self, *asked: Any) -> Any:
        self._meanwhile()
        return self._present.glance_at_outlines(*asked)

    def glance_at_grants(self, *asked: Any) -> Any:
        self._meanwhile()
        return self._present.glance_at_grants(*asked)


def one(value: Pair) -> list[Pair]:
    return [value]


def test_both_glances_at_a_pair_are_of_one_revision(store: Store) -> None:
    """Nobody is given what their department was given once they had left it."""
    ref, left = EntityRef("vector_store", "vs_1"), joined("dept_1", "usr_1")
    things = entity(ref, owner=user("usr_nobody"), mode="private"), department("dept_1")
    deposit(store, ORGANIZATION, [organization(), *things, member("usr_1"), member("usr_2"), left])
    deposit(store, ORGANIZATION, [joined("dept_1", "usr_2")])

    def meanwhile() -> None:
        with store.transaction(ORGANIZATION, AUTHOR) as book:
            book.remove(left, "left")
            book.add(grant(ref, Principal("department", "dept_1"), "read"), "granted")

    cache, ahead = FactCache(store, BUILT_IN, 1 << 30), FactCache(store, BUILT_IN, 1 << 30)
    ahead.present = cast("Present", Interrupted(ahead.present, meanwhile))
    pairs = [("usr_1", ref)]
    with cache, ahead:
        with ahead.present.reading():
            pass  # a new connection would begin a new line
        facts = cache.current(ORGANIZATION)
        assert facts.knows("usr_2")  # so that the department is held
        copy = facts.copy_into(ahead, pairs)
        news = copy.load_ahead(pairs)
        assert news is not None
        assert facts.take_over(copy, news)
        assert facts.rank("usr_1", ref, stopped(NOW)) == NONE
        assert facts.rank("usr_2", ref, stopped(NOW)) == 0
    cache.close()
    ahead.close()


def test_a_grant_that_was_loaded_ahead_ends_when_it_is_to_end(store: Store) -> None:
    ref = EntityRef("vector_store", "vs_1")
    facts = [organization(), entity(ref, owner=user("usr_nobody"), mode="private"), member("usr_1"), member("usr_2")]
    deposit(store, ORGANIZATION, [*facts, grant(ref, user("usr_1"), "read", expires_at=NOW + DAY)])
    cache, ahead = FactCache(store, BUILT_IN, 1 << 30), FactCache(store, BUILT_IN, 1 << 30)
    with cache, ahead:
        facts_now = cache.current(ORGANIZATION)
        copy = facts_now.copy_into(ahead, [("usr_1", ref)])
        for _ in range(3):  # meanwhile: both hold a part of the grants
            assert facts_now.rank("usr_2", ref, stopped(NOW)) == NONE
        assert facts_now.take_over(copy, copy.load_ahead([("usr_1", ref)]))
        for at, rank in ((NOW, 0), (NOW, 0), (NOW + DAY, NONE), (NOW, 0)):
            assert facts_now.rank("usr_1", ref, stopped(at)) == rank
    cache.close()
    ahead.close()


def test_a_grant_on_a_container_that_was_loaded_ahead_ends_when_it_is_to_end(store: Store) -> None:
    outer, inner, other = (
        EntityRef("knowledge_slice", "kslice_1"),
        *(EntityRef("vector_store", f"vs_{n}") for n in "12"),
    )
    people = [member(f"usr_{number}") for number in (1, 2, 3)]
    things = [entity(ref, owner=user("usr_nobody"), mode="private") for ref in (outer, inner, other)]
    granted = grant(outer, user("usr_1"), "read", expires_at=NOW + DAY)
    lies = contains(outer, inner), contains(outer, other)
    deposit(store, ORGANIZATION, [organization(), *people, *things, *lies, granted])
    cache, ahead = FactCache(store, BUILT_IN, 1 << 30), FactCache(store, BUILT_IN, 1 << 30)
    with cache, ahead:
        facts_now = cache.current(ORGANIZATION)
        copy = facts_now.copy_into(ahead, [("usr_1", other)])
        for _ in range(3):
            assert facts_now.rank("usr_2", inner, stopped(NOW)) == NONE
        news = copy.load_ahead([("usr_1", other)])
        copy.load_ahead([("usr_3", other)])  # the second time all that is granted
        assert facts_now.take_over(copy, news)
        for at, rank in ((NOW, 0), (NOW, 0), (NOW, 0), (NOW + DAY, NONE), (NOW, 0)):
            assert facts_now.rank("usr_1", inner, stopped(at)) == rank
    cache.close()
    ahead.close()


@pytest.fixture(scope="module")
def two_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """Two that know nothing of each other, on one database."""
    url = empty_book(tmp_path_factory.mktemp("book"))
    stores = open_store(url, FakeClock(), staleness_ms=0), open_store(url, FakeClock(), staleness_ms=0)
    yield stores
    for store in stores:
        store.close()


@sizes
@FEWER
@given(world=worlds(), data=st.data())
def test_lists_are_those_of_now(shared_store: Store, max_bytes: int, world: World, data: st.DataObject) -> None:
    """After any change, at any time, also between the moments at which grants begin and end, and at any page size."""
    world = settle(shared_store, world)
    cache = FactCache(shared_store, BUILT_IN, max_bytes)
    require_lists_seen(cache, world, data, lambda: shared_store)
    cache.close()


@FEWER
@given(world=worlds(), data=st.data(), seed=st.integers())
def test_lists_are_those_of_now_whichever_process_writes(
    two_stores: tuple[Store, Store], world: World, data: st.DataObject, seed: int
) -> None:
    world = settle(two_stores[0], world)
    cache = FactCache(two_stores[0], BUILT_IN, 1 << 30)
    choose = Random(seed)
    require_lists_seen(cache, world, data, lambda: choose.choice(two_stores))
    cache.close()


def test_a_list_of_few_for_many_reasons_is_held_whole(store: Store) -> None:
    refs = [EntityRef("vector_store", f"vs_{number}") for number in range(30)]
    departments = [f"dept_{number}" for number in range(8)]
    facts: list[Fact] = [organization(), member("usr_1", "active"), *(entity(ref) for ref in refs)]
    for id_ in departments:
        facts += [department(id_), joined(id_, "usr_1")]
        facts += [grant(ref, Principal("department", id_), "read") for ref in refs]
    deposit(store, ORGANIZATION, facts)
    with closing(FactCache(store, BUILT_IN, 1 << 30)) as cache, cache:
        lists_now = cache.current(ORGANIZATION).lists
        assert lists_now.get_whole(EntitiesOf("usr_1"), NOW, at_most=29) is None
        found = lists_now.get_whole(EntitiesOf("usr_1"), NOW, at_most=30)
        assert found is not None
        assert len(found) == 30


def test_an_entity_with_very_many_grants_is_never_held_whole(store: Store) -> None:
    world = crowd(1_200)
    deposit(store, world.organization_id, world.facts)
    cache = FactCache(store, BUILT_IN, 1 << 30)
    require_agreement(cache, world, NOW, 1)
    require_agreement(cache, world, NOW, len(world.pairs))
    withdraw(store, world.organization_id, world.grants[:600])
    require_agreement(cache, world.with_facts(fact for fact in world.facts if fact not in world.grants[:600]), NOW, 9)


def test_a_new_connection_does_not_take_what_is_held_for_what_is_new(tmp_path: Path) -> None:
    """Each connection counts the commits of others from the same number on: the second may be where the first was."""
    url = f"sqlite:///{tmp_path}/book.db"
    world = crowd(3)
    other = open_sqlite(url, FakeClock())
    deposit(other, world.organization_id, world.facts)
    store = open_sqlite(url, FakeClock())
    cache = FactCache(store, BUILT_IN, 1 << 30)
    require_agreement(cache, world, NOW, 1)
    cache.present._connection.driver_connection.close()  # type: ignore[attr-defined]
    withdraw(other, world.organization_id, world.grants)
    with pytest.raises(StoreUnavailable), cache:
        pass
    require_agreement(cache, world.with_facts(fact for fact in world.facts if fact not in world.grants), NOW, 1)
    cache.close()
    store.close()
    other.close()


def test_a_load_that_failed_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    world = crowd(3)
    store = open_sqlite(f"sqlite:///{tmp_path}/book.db", FakeClock())
    deposit(store, world.organization_id, world.facts)
    for table in ("grants", "members", "entities"):
        cache = FactCache(store, BUILT_IN, 1 << 30)
        with closing(sqlite3.connect(tmp_path / "book.db")) as connection:
            connection.execute(f"ALTER TABLE {table} RENAME TO lost")
            for pair in world.pairs:
                with pytest.raises(StoreUnavailable), cache:
                    cache.current(world.organization_id).rank(*pair, stopped(NOW))
            connection.execute(f"ALTER TABLE lost RENAME TO {table}")
        require_agreement(cache, world, NOW, 1)
        cache.close()
    store.close()


def test_what_is_of_a_type_that_the_vocabulary_lost_gives_nothing_and_is_in_nobodys_way(store: Store) -> None:
    """It is kept, for the day that the type comes back."""
    box, notes, helper = EntityRef("box", "box_1"), EntityRef("vector_store", "vs_1"), EntityRef("assistant", "asst_1")
    facts: list[Fact] = [
        organization(),
        member("usr_1", "active"),
        role("role_all", OVERRIDE),
        assigned("role_all", "usr_2"),
    ]
    facts += [member("usr_2", "active"), *(entity(ref, owner=user("usr_3")) for ref in (box, notes, helper))]
    facts += [contains(box, notes), grant(box, user("usr_1"), "peep"), grant(helper, user("usr_1"), "read")]
    deposit(store, ORGANIZATION, facts)
    cache = FactCache(store, BUILT_IN, 1 << 30)
    questions: list[tuple[Wanted, set[Any]]] = [
        (EntitiesOf("usr_1"), {helper}),
        (EntitiesOf("usr_1", "assistant"), {helper}),
        (EntitiesOf("usr_2"), {notes, helper}),
        (UsersOf(notes), {"usr_2"}),
    ]
    for wanted, expected in questions:
        with cache:
            found = cache.current(ORGANIZATION).lists.get_whole(wanted, NOW)
        assert found is not None
        assert set(found) == expected
    with cache:
        assert cache.current(ORGANIZATION).rank("usr_1", notes, stopped(NOW)) == NONE
    with store.snapshot(ORGANIZATION) as snapshot:
        assert set(lookup.entities_of(snapshot, BUILT_IN, "usr_1", NOW)) == {helper}
        assert set(lookup.entities_of(snapshot, BUILT_IN, "usr_2", NOW)) == {notes, helper}
        assert set(lookup.users_of(snapshot, BUILT_IN, notes, NOW)) == {"usr_2"}
        assert decide.access(snapshot, BUILT_IN, "usr_1", notes, NOW).level is None
    cache.close()


def test_what_a_type_may_not_contain_any_more_is_in_it_in_vain(store: Store) -> None:
    """Its levels may be others by now."""
    folder, inner, note = EntityRef("folder", "f_1"), EntityRef("folder", "f_2"), EntityRef("note", "n_1")
    facts: list[Fact] = [organization(), member("usr_1", "active"), contains(folder, inner), contains(inner, note)]
    facts += [entity(ref, owner=user("usr_2"), mode="private") for ref in (folder, inner, note)]
    facts += [grant(folder, user("usr_1"), "edit"), grant(inner, user("usr_1"), "view")]
    deposit(store, ORGANIZATION, facts)
    levels = ["view", "comment", "edit"]
    for of_folders, of_notes, found in (
        ({"levels": levels, "contains": ["folder", "note"]}, levels, {folder: "edit", inner: "edit", note: "edit"}),
        ({"levels": levels, "contains": ["folder"]}, ["read", "write"], {folder: "edit", inner: "edit"}),
        ({"levels": levels}, ["read", "write"], {folder: "edit", inner: "view"}),
        ({"levels": levels}, ["edit", "view"], {folder: "edit", inner: "view"}),
    ):
        vocabulary = BUILT_IN.extended({"entity_types": {"folder": of_folders, "note": {"levels": of_notes}}})
        cache = FactCache(store, vocabulary, 1 << 30)
        with cache:
            current = cache.current(ORGANIZATION)
            told = {ref: current.access("usr_1", ref, NOW).level for ref in (folder, inner, note)}
            assert {ref for ref in told if current.rank("usr_1", ref, stopped(NOW)) > NONE} == found.keys()
            (listed, users) = (current.lists.get_whole(wanted, NOW) for wanted in (EntitiesOf("usr_1"), UsersOf(note)))
        with store.snapshot(ORGANIZATION) as snapshot:
            defined = {ref: decide.access(snapshot, vocabulary, "usr_1", ref, NOW).level for ref in told}
            looked_up = lookup.entities_of(snapshot, vocabulary, "usr_1", NOW)
            seen = reach_of(snapshot, vocabulary, "usr_1", NOW, "note")
            assert {each.ref for each in snapshot.select(Entity, *seen)} == {note} & found.keys()
        assert told == defined == {folder: None, inner: None, note: None} | found
        assert set(listed or ()) == set(looked_up) == found.keys()
        assert ("usr_1" in (users or ())) == (note in found)
        cache.close()


def test_a_held_grant_takes_no_more_memory_than_is_said_and_reckoned(tmp_path: Path) -> None:
    """At most 200 bytes, the entities that have the grants included; and the bound is kept by what is reckoned."""
    refs = [EntityRef("vector_store", f"vs_{number}") for number in range(250)]
    users = [f"usr_{number}" for number in range(500)]
    facts: list[Fact] = [organization(), *(member(user_id, "active") for user_id in users)]
    facts += [entity(ref, owner=user("usr_nobody"), mode="private") for ref in refs]
    names = [ids.ACCESS_GRANT + sha256(str(number).encode()).hexdigest()[:32] for number in range(10_000)]
    whom = [(refs[number % 250], users[(number // 250 + number) % 500]) for number in range(10_000)]
    facts += [grant(ref, user(user_id), "read", id=id_) for id_, (ref, user_id) in zip(names, whom, strict=True)]
    store = open_sqlite(f"sqlite:///{tmp_path}/book.db", FakeClock())
    deposit(store, ORGANIZATION, facts)
    cache = FactCache(store, BUILT_IN, 1 << 30)
    with cache:
        cache.current(ORGANIZATION).ranks([(user_id, refs[0]) for user_id in users], NOW)  # people are not what is told
        before = cache.spent_bytes
        gc.collect()
        tracemalloc.start()
        for asker in users[:2]:  # the second time they are held whole
            cache.current(ORGANIZATION).ranks([(asker, ref) for ref in refs], NOW)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken <= 200 * len(whom)
        assert taken <= cache.spent_bytes - before
    cache.close()
    store.close()


def crowd(size: int) -> World:
    """One entity that each of very many people is granted."""
    ref = EntityRef("vector_store", "vs_crowd")
    users = [f"usr_{number}" for number in range(size)]
    facts: list[Fact] = [organization(), entity(ref, owner=user("usr_nobody"), mode="private")]
    facts += [member(user_id, "active") for user_id in (*users, "usr_none")]
    facts += [grant(ref, user(user_id), "read") for user_id in users]
    return World(facts=tuple(facts), users=(*users[::100], "usr_none"), entities=(ref,))


def require_changes_seen(cache: FactCache, world: World, data: st.DataObject, writer: Callable[[], Store]) -> None:
    live: list[Fact] = list(world.facts)
    gone: list[Fact] = []
    require_agreement(cache, world, NOW, len(world.pairs))
    for _ in range(4):
        going = data.draw(subsets(live, 3))
        coming = data.draw(subsets(gone, 3)) if gone else []
        live = [fact for fact in live if fact not in going] + coming
        gone = [fact for fact in gone if fact not in coming] + going
        store = writer()
        withdraw(store, world.organization_id, going)
        deposit(store, world.organization_id, coming)
        require_agreement(cache, world.with_facts(live), NOW, data.draw(st.sampled_from((1, len(world.pairs)))))


def stopped(at: Instant) -> Clock:
    """A clock that stands still."""
    return lambda: at


def require_agreement(cache: FactCache, world: World, at: Instant, batch: int) -> None:
    """Every pair, so many at a time and by itself: the rung, and for those that are known the paths."""
    accesses = world.answers(at)
    expected = expected_ranks(world, accesses)
    for first in range(0, len(world.pairs), batch):
        pairs = world.pairs[first : first + batch]
        with cache:
            found = cache.current(world.organization_id).ranks(pairs, at)
        assert found == [expected[pair] for pair in pairs]
    with cache:
        held = cache.current(world.organization_id)
        for _ in range(3):  # it is kept when it is asked for again
            assert [held.rank(*pair, stopped(at)) for pair in world.pairs] == [*expected.values()]
        for (user_id, ref), rank in zip(world.pairs, held.ranks(world.pairs, at), strict=True):
            if rank >= NONE:
                assert held.access(user_id, ref, at) == accesses[user_id, ref]


def require_lists_seen(cache: FactCache, world: World, data: st.DataObject, writer: Callable[[], Store]) -> None:
    live: list[Fact] = list(world.facts)
    gone: list[Fact] = []
    for _ in range(3):
        store = writer()
        entity_type = data.draw(st.sampled_from((None, None, *BUILT_IN.types)))
        limit = data.draw(st.sampled_from((1, 2, 100)))
        too_long = data.draw(st.sampled_from((0, 0, 2, 5_000)))
        for at in data.draw(subsets(MOMENTS, 2, at_least=1)):
            level = data.draw(st.sampled_from((None, None, "read", "write", "admin", "use")))
            few = data.draw(st.sampled_from((1, 2, 20)))
            with mock.patch.object(lists, "_MAX_MADE", too_long), mock.patch.object(long_lists, "_FEW", few):
                require_lists(cache, store, world, at, entity_type, level, limit)
        going = data.draw(subsets(live, 3))
        coming = data.draw(subsets(gone, 3)) if gone else []
        live = [fact for fact in live if fact not in going] + coming
        gone = [fact for fact in gone if fact not in coming] + going
        withdraw(store, world.organization_id, going)
        deposit(store, world.organization_id, coming)
        known = [fact for fact in live if isinstance(fact, Entity)]
        if known:
            old = data.draw(st.sampled_from(known))
            owner = data.draw(st.sampled_from((old.owner, *PEOPLE)))
            new = revised(
                old,
                name="Another name",
                status=data.draw(st.sampled_from(ENTITY_STATUSES)),
                access_mode=data.draw(st.sampled_from(ACCESS_MODES)),
                owner_type=owner.type,
                owner_id=owner.id,
            )
            live[live.index(old)] = new
            with store.transaction(world.organization_id, AUTHOR) as book:
                book.replace(old, new, "updated")


def require_lists(
    cache: FactCache,
    store: Store,
    world: World,
    at: Instant,
    entity_type: str | None,
    level: str | None,
    limit: int,
) -> None:
    """Of every user and every entity that is known, as the definition makes them of facts that are loaded anew."""
    with store.snapshot(world.organization_id) as snapshot:
        expected: dict[Wanted, dict[Any, Access]] = {
            EntitiesOf(user_id, entity_type, level): lookup.entities_of(
                snapshot, BUILT_IN, user_id, at, entity_type=entity_type, access_level=level
            )
            for user_id in world.users
        }
        for ref in world.entities:
            if snapshot.find(Entity, *ref) and level in (None, *BUILT_IN.entity_type(ref.type).levels):
                found = lookup.users_of(snapshot, BUILT_IN, ref, at, access_level=level)
                expected[UsersOf(ref, level)] = found
    for wanted, whole in expected.items():
        assert dict(pages(cache, world, wanted, at, limit)) == whole
        with cache:
            facts = cache.current(world.organization_id)
            told = facts.lists.get_whole(wanted, at)
            assert told is not None
            assert [*told] == [*whole]
            assert told == whole
            assert {path.source for each in whole.values() for path in each.paths} <= told.sources


def pages(cache: FactCache, world: World, wanted: Wanted, at: Instant, limit: int) -> Iterator[tuple[Any, Access]]:
    """What all pages hold, one after the other."""
    after, total, count = None, None, 0
    while True:
        with cache:
            page = cache.current(world.organization_id).lists.get_page(wanted, at, Part(after, 0, limit))
        assert page.total == total or None in {page.total, total}  # nobody counts a long one for a page
        yield from page.accesses.items()
        total, count = page.total, count + len(page.places)
        if not page.has_more:
            assert total in {count, None}
            return
        after = page.places[-1]


def expected_ranks(world: World, accesses: Mapping[tuple[str, EntityRef], Access]) -> dict[Pair, int]:
    """Of every pair, in the order of the world's."""
    named = {name_of(grant.grantee_type, grant.grantee_id) for grant in world.grants}
    members = {fact.user_id for fact in world.facts if isinstance(fact, Member)}
    entities = {fact.ref for fact in world.facts if isinstance(fact, Entity)}

    def expected_rank(user_id: str, ref: EntityRef) -> int:
        if user_id not in members and name_of("user", user_id) not in named:
            return UNKNOWN_USER
        if ref not in entities:
            return UNKNOWN_ENTITY
        level = accesses[user_id, ref].level
        return NONE if level is None else BUILT_IN.entity_type(ref.type).rank(level)

    return {pair: expected_rank(*pair) for pair in world.pairs}
