"""Law 5: grant, then revoke, and everything is as before.

Law 7: a batch that fails changes nothing. Law 8: nothing of one organization is changed through another.
"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grantbook.model.errors import GrantbookError
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import departments, entities, grants, members, roles, rule_permissions
from grantbook.service.desk import SYSTEM, Desk, Writing
from grantbook.service.grants import NewGrant
from grantbook.service.rule_permissions import Permission
from grantbook.store.port import Store
from tests.laws.books import answers, caches_of_every_size, desk_of, held_answers, settle
from tests.worlds import DEPARTMENTS, ENTITIES, GRANTEES, ROLES, USERS, World, nothing_happens, worlds

LADDER = BUILT_IN.entity_type("vector_store").levels
RULE = EntityRef("rule", "rule_0")
BOUND = tuple(ref for ref in ENTITIES if ref.type != "rule")


@given(
    world=worlds(), ref=st.sampled_from(BOUND), grantee=st.sampled_from(GRANTEES), access_level=st.sampled_from(LADDER)
)
def test_to_grant_and_then_to_revoke_restores_every_answer(
    shared_store: Store, world: World, ref: EntityRef, grantee: Principal, access_level: str
) -> None:
    world = settle(shared_store, world)
    desk = desk_of(shared_store)
    before = answers(shared_store, world)
    with caches_of_every_size(shared_store) as caches:
        held_before = [held_answers(cache, world) for cache in caches]
        try:
            with desk.writing(world.organization_id, SYSTEM) as writing:
                grant, is_new = grants.create(writing, ref, NewGrant(grantee=grantee, access_level=access_level))
        except GrantbookError:
            is_new = False
        if is_new:
            for cache in caches:
                held_answers(cache, world)
            with desk.writing(world.organization_id, SYSTEM) as writing:
                grants.revoke(writing, grant.id)
        assert [held_answers(cache, world) for cache in caches] == held_before
    assert answers(shared_store, world) == before
    assert all(found.items() <= before.items() for found in held_before)


BAD: tuple[NewGrant, ...] = (
    NewGrant(grantee=Principal("user", "usr_unheard_of"), access_level="read"),
    NewGrant(grantee=Principal("user", "usr_added"), access_level="own"),
    NewGrant(grantee=Principal("all", "*"), access_level="read"),
    NewGrant(grantee=Principal("user", "usr_0"), access_level="read", expires_at=1),
    NewGrant(grantee=Principal("user", "usr_0"), access_level="read", starts_at=2**50, expires_at=2**50),
)


@given(
    world=worlds(),
    good=st.lists(st.sampled_from([each for each in GRANTEES if each.type != "all"]), unique=True, max_size=4),
    bad=st.sampled_from(BAD),
    position=st.integers(0, 4),
    ref=st.sampled_from(BOUND),
)
def test_a_batch_with_one_bad_grant_changes_nothing(
    shared_store: Store, world: World, good: list[Principal], bad: NewGrant, position: int, ref: EntityRef
) -> None:
    world = settle(shared_store, world)
    batch = [NewGrant(grantee=each, access_level="admin") for each in good]
    batch.insert(position, bad)
    with (
        nothing_happens(shared_store, world.organization_id),
        pytest.raises(GrantbookError),
        desk_of(shared_store).writing(world.organization_id, SYSTEM) as writing,
    ):
        grants.create_bulk(writing, ref, batch)


def _steps() -> st.SearchStrategy[Callable[[Writing], object]]:
    """Any one use-case that changes something, on anything that either organization may have."""
    refs, bound = st.sampled_from(ENTITIES), st.sampled_from(BOUND)
    grantees = st.sampled_from(GRANTEES)
    return st.one_of(
        st.builds(
            lambda ref, who, level: lambda w: grants.create(w, ref, NewGrant(grantee=who, access_level=level)),
            bound,
            grantees,
            st.sampled_from(LADDER),
        ),
        st.builds(lambda ref: lambda w: _revoke_all(w, ref), refs),
        st.builds(lambda ref: lambda w: entities.delete(w, ref), refs),
        st.builds(lambda ref, status: lambda w: entities.set_status(w, ref, status), refs, st.just("archived")),
        st.builds(lambda id_: lambda w: members.remove(w, id_), st.sampled_from(USERS)),
        st.builds(lambda id_: lambda w: members.set_state(w, id_, "deactivated"), st.sampled_from(USERS)),
        st.builds(lambda id_: lambda w: departments.delete(w, id_), st.sampled_from(DEPARTMENTS)),
        st.builds(lambda id_: lambda w: roles.delete(w, id_), st.sampled_from(ROLES)),
        st.builds(
            lambda who: (
                lambda w: rule_permissions.replace_permissions(w, RULE.id, [Permission(target=who, access_level="use")])
            ),
            grantees,
        ),
    )


def _revoke_all(writing: Writing, ref: EntityRef) -> None:
    for grant in grants.list_of_entity(writing, ref, skip=0, limit=100).items:
        grants.revoke(writing, grant.id)


@given(world=worlds(), steps=st.lists(_steps(), min_size=3, max_size=6))
def test_whatever_one_organization_does_its_twin_stays_as_it_was(
    shared_store: Store, world: World, steps: list[Callable[[Writing], object]]
) -> None:
    twin, busy = settle(shared_store, world), settle(shared_store, world)
    before = answers(shared_store, twin)
    with nothing_happens(shared_store, twin.organization_id):
        for step in steps:
            _try(desk_of(shared_store), busy.organization_id, step)
    assert answers(shared_store, twin) == before == twin.answers()


def _try(desk: Desk, organization_id: str, step: Callable[[Writing], object]) -> None:
    try:
        with desk.writing(organization_id, SYSTEM) as writing:
            step(writing)
    except GrantbookError:
        pass  # what the world does not have cannot be changed; what happened before stays
