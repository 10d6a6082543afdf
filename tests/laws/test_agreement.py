"""Law 1: check, batch check, the list of entities and the list of users agree with the definition, on every store.

Law 4: as of now equals now, and as of a revision never changes afterwards.
"""

from hypothesis import given
from hypothesis import strategies as st

from grantbook.engine import decide, lookup
from grantbook.model.facts import EntityRef, Fact, Member
from grantbook.model.resolution import Access
from grantbook.model.vocabulary import BUILT_IN
from grantbook.store.port import Store
from tests.laws.books import answers, settle
from tests.worlds import NOW, World, contents, deposit, subsets, withdraw, worlds

LEVELS = sorted({level for kind in BUILT_IN.types.values() for level in kind.levels})


@given(world=worlds())
def test_a_batch_of_checks_answers_as_the_definition(shared_store: Store, world: World) -> None:
    world = settle(shared_store, world)
    assert answers(shared_store, world) == world.answers()


@given(world=worlds(), data=st.data())
def test_a_single_check_answers_as_the_definition(shared_store: Store, world: World, data: st.DataObject) -> None:
    world = settle(shared_store, world)
    with shared_store.snapshot(world.organization_id) as snapshot:
        for user_id, ref in data.draw(subsets(world.pairs, 4)):
            assert decide.access(snapshot, BUILT_IN, user_id, ref, NOW) == world.access(user_id, ref)


@given(world=worlds())
def test_the_lists_of_entities_hold_what_the_definition_gives(shared_store: Store, world: World) -> None:
    world = settle(shared_store, world)
    expected = world.answers()
    with shared_store.snapshot(world.organization_id) as snapshot:
        for user_id in world.users:
            found = lookup.entities_of(snapshot, BUILT_IN, user_id, NOW)
            assert found == {
                ref: each for (asked, ref), each in expected.items() if asked == user_id and each.level is not None
            }
            assert list(found) == sorted(found)


@given(
    world=worlds(),
    entity_type=st.sampled_from((None, *BUILT_IN.types)),
    access_level=st.sampled_from((None, *LEVELS)),
)
def test_filters_only_leave_out_of_a_list_of_entities(
    shared_store: Store, world: World, entity_type: str | None, access_level: str | None
) -> None:
    world = settle(shared_store, world)
    with shared_store.snapshot(world.organization_id) as snapshot:
        for user_id in world.users:
            found = lookup.entities_of(
                snapshot, BUILT_IN, user_id, NOW, entity_type=entity_type, access_level=access_level
            )
            assert found == {
                ref: each
                for ref in world.entities
                for each in [world.access(user_id, ref)]
                if entity_type in {None, ref.type} and _is_at_least(ref, each, access_level)
            }


@given(world=worlds(), access_level=st.sampled_from((None, *LEVELS)))
def test_the_lists_of_users_hold_what_the_definition_gives(
    shared_store: Store, world: World, access_level: str | None
) -> None:
    """Strangers are listed where a grant names them; those whom only 'all' includes have no end."""
    world = settle(shared_store, world)
    named = {grant.grantee_id for grant in world.grants}
    members = {fact.user_id for fact in world.facts if isinstance(fact, Member)}
    with shared_store.snapshot(world.organization_id) as snapshot:
        for ref in world.entities:
            found = lookup.users_of(snapshot, BUILT_IN, ref, NOW, access_level=access_level)
            expected = {
                user_id: each
                for user_id in world.users
                for each in [world.access(user_id, ref)]
                if _is_at_least(ref, each, access_level)
            }
            wanted = {
                user_id
                for user_id, each in expected.items()
                if user_id in members or any(path.type == "direct" for path in each.paths)
            }
            assert all(expected[user_id] == each for user_id, each in found.items())
            assert wanted <= found.keys() <= members | named
            assert list(found) == sorted(found)


@given(world=worlds(), data=st.data())
def test_as_of_a_revision_never_changes_afterwards(shared_store: Store, world: World, data: st.DataObject) -> None:
    world = settle(shared_store, world)
    live: list[Fact] = list(world.facts)
    gone: list[Fact] = []
    seen = {}
    for _ in range(3):
        going = data.draw(subsets(live, 4))
        coming = data.draw(subsets(gone, 4)) if gone else []
        live = [fact for fact in live if fact not in going] + coming
        gone = [fact for fact in gone if fact not in coming] + going
        withdraw(shared_store, world.organization_id, going)
        revision = deposit(shared_store, world.organization_id, coming)
        now = (world.with_facts(live).answers(), contents(shared_store, world.organization_id))
        assert _as_of(shared_store, world, revision) == now
        seen[revision] = now
    assert {revision: _as_of(shared_store, world, revision) for revision in seen} == seen


def _as_of(store: Store, world: World, revision: int) -> tuple[object, object]:
    return answers(store, world, revision), contents(store, world.organization_id, revision)


def _is_at_least(ref: EntityRef, each: Access, level: str | None) -> bool:
    ladder = BUILT_IN.entity_type(ref.type).levels
    if each.level is None or level is None:
        return each.level is not None
    return level in ladder and ladder.index(each.level) >= ladder.index(level)
