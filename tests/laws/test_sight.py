"""The conditions by which lists are paged hold for exactly what the user reaches."""

import pytest
from hypothesis import given

from grantbook.engine import sight
from grantbook.model.facts import Entity
from grantbook.model.vocabulary import BUILT_IN
from grantbook.store.port import Store
from tests.laws.books import settle
from tests.worlds import NOW, World, worlds


@pytest.mark.parametrize("entity_type", BUILT_IN.types)
@given(world=worlds())
def test_a_page_by_conditions_holds_what_the_definition_gives(
    shared_store: Store, entity_type: str, world: World
) -> None:
    world = settle(shared_store, world)
    expected = world.answers()
    refs = [ref for ref in world.entities if ref.type == entity_type]
    with shared_store.snapshot(world.organization_id) as snapshot:
        for user_id in world.users:
            conditions = sight.reach_of(snapshot, BUILT_IN, user_id, NOW, entity_type)
            page = snapshot.page(Entity, *conditions, skip=0, limit=100) if conditions else []
            assert {entity.ref for entity in page} == {ref for ref in refs if expected[user_id, ref].level is not None}
            assert not conditions or snapshot.count(Entity, *conditions) == len(page)
