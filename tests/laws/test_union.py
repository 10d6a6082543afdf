"""Law 2: access is a union. Nothing gives none; more grants never give less; order and repetition do not matter."""

from hypothesis import given
from hypothesis import strategies as st

from grantbook.model.facts import Facts, Grant
from grantbook.model.resolution import access
from grantbook.model.vocabulary import BUILT_IN
from tests.laws.books import ranks
from tests.worlds import NOW, World, grants, subsets, worlds


@given(world=worlds(with_reasons=False))
def test_without_a_reason_nobody_reaches_anything(world: World) -> None:
    assert all(each.level is None and each.paths == () for each in world.answers().values())


@given(world=worlds(), more=grants())
def test_more_grants_never_lower_an_answer(world: World, more: list[Grant]) -> None:
    after = world.with_facts([*world.facts, *more])
    for before, now in zip(world.answers().values(), after.answers().values(), strict=True):
        assert set(before.paths) <= set(now.paths)
    assert all(old <= new for old, new in zip(ranks(world.answers()), ranks(after.answers()), strict=True))


@given(world=worlds(), data=st.data())
def test_fewer_grants_never_raise_an_answer(world: World, data: st.DataObject) -> None:
    revoked = data.draw(subsets(world.grants)) if world.grants else []
    after = world.with_facts(fact for fact in world.facts if fact not in revoked)
    for before, now in zip(world.answers().values(), after.answers().values(), strict=True):
        assert set(now.paths) <= set(before.paths)
    assert all(old >= new for old, new in zip(ranks(world.answers()), ranks(after.answers()), strict=True))


@given(world=worlds(), data=st.data())
def test_the_order_of_facts_does_not_matter(world: World, data: st.DataObject) -> None:
    shuffled = world.with_facts(data.draw(st.permutations(world.facts)))
    assert shuffled.answers() == world.answers()


@given(world=worlds(), data=st.data())
def test_the_repetition_of_facts_does_not_matter(world: World, data: st.DataObject) -> None:
    repeated = data.draw(st.lists(st.sampled_from(world.facts)))
    facts = Facts.of(world.organization_id, [*repeated, *world.facts])
    for (user_id, ref), once in world.answers().items():
        again = access(facts, BUILT_IN, user_id, ref, NOW)
        assert again.level == once.level
        assert tuple(dict.fromkeys(again.paths)) == once.paths
