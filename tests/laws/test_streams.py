"""Ids in order, from which pages of long lists are put together."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grantbook.engine import lists, lookup
from grantbook.engine.facts_cache import FactCache
from grantbook.engine.lists import Part, UsersOf
from grantbook.model.facts import EVERYONE, EntityRef, Principal
from grantbook.model.vocabulary import BUILT_IN
from grantbook.store.port import Store
from grantbook.store.present_port import STREAMS
from tests.laws.books import settle
from tests.worlds import (
    NOW,
    ORGANIZATION,
    World,
    department,
    deposit,
    entity,
    grant,
    joined,
    member,
    organization,
    user,
    worlds,
)


@given(world=worlds(), data=st.data())
def test_a_stream_has_the_ids_of_what_is_asked_for_in_order(
    shared_store: Store, world: World, data: st.DataObject
) -> None:
    world = settle(shared_store, world)
    with (
        closing(shared_store.present()) as present,
        shared_store.snapshot(world.organization_id) as snapshot,
        present.reading(),
    ):
        for stream in STREAMS:
            facts = snapshot.select(stream.kind)
            of = {
                *data.draw(st.lists(st.sampled_from([getattr(fact, stream.of) for fact in facts] or ["none"]))),
                "none",
            }
            type_ = data.draw(st.sampled_from([getattr(fact, stream.type or stream.of) for fact in facts] or ["none"]))
            matching = {
                getattr(fact, stream.id)
                for fact in facts
                if getattr(fact, stream.of) in of
                and (stream.type is None or getattr(fact, stream.type) == type_)
                and all(getattr(fact, name) == value for name, value in stream.fixed.items())
            }
            after, limit = data.draw(st.sampled_from(["", *matching])), data.draw(st.integers(1, 4))
            found = present.next_ids(world.organization_id, stream, of, type_, after=after, limit=limit)
            assert found == sorted(id_ for id_ in matching if id_ > after)[:limit], stream


def test_a_long_list_of_whom_everyone_stands_for_has_no_stranger_that_is_known_for_something_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, other, stranger = EntityRef("rule", "rule_1"), EntityRef("rule", "rule_2"), user("usr_stranger")
    facts = [organization(), member("usr_1"), entity(rule), entity(other), department("dept_1")]
    given_ = [grant(rule, EVERYONE, "view"), grant(rule, Principal("department", "dept_1"), "use")]
    deposit(store, ORGANIZATION, [*facts, *given_, grant(other, stranger, "view"), joined("dept_1", stranger.id)])
    monkeypatch.setattr(lists, "_MAX_MADE", 0)
    cache = FactCache(store, BUILT_IN, 1 << 30)
    for wanted, users in ((UsersOf(rule), ["usr_1"]), (UsersOf(other), [stranger.id])):
        with cache:
            page = cache.current(ORGANIZATION).lists.get_page(wanted, NOW, Part(None, 0, 10))
        assert (page.total, page.places) == (None, users)
        with store.snapshot(ORGANIZATION) as snapshot:
            assert [*lookup.users_of(snapshot, BUILT_IN, wanted.entity, NOW)] == users
    cache.close()
