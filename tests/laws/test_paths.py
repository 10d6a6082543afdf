"""Law 3: paths are sufficient (each alone gives its level) and complete (without those named, there is no access)."""

from collections.abc import Collection, Iterator
from itertools import pairwise

from hypothesis import given

from grantbook.model.facts import AccessTarget, Containment, Entity, EntityRef, Fact, Grant, Principal, Role, revised
from grantbook.model.resolution import OVERRIDE, Path
from grantbook.model.vocabulary import BUILT_IN, LISTED_MODES
from tests.worlds import World, user, worlds


@given(world=worlds())
def test_each_path_alone_gives_its_level(world: World) -> None:
    for (user_id, ref), found in world.answers().items():
        for path in found.paths:
            alone = world.with_facts(_only(world.facts, ref, path))
            assert alone.access(user_id, ref).level == path.access_level
            assert alone.access(user_id, ref).paths == (path,)


@given(world=worlds())
def test_without_the_reasons_named_there_is_no_access(world: World) -> None:
    for (user_id, ref), found in world.answers().items():
        without = world.with_facts(_without(world.facts, ref, found.paths))
        assert without.access(user_id, ref).paths == ()


@given(world=worlds())
def test_the_level_is_the_highest_among_the_paths_and_paths_come_highest_first(world: World) -> None:
    for (_, ref), found in world.answers().items():
        levels = [path.access_level for path in found.paths]
        assert found.level == (levels[0] if levels else None)
        assert levels == sorted(levels, key=BUILT_IN.entity_type(ref.type).rank, reverse=True)
        assert len(set(found.paths)) == len(found.paths)


def _only(facts: Collection[Fact], ref: EntityRef, path: Path) -> Iterator[Fact]:
    """The facts with no reason but the path: no other grant, owner, listing, visibility, override or container."""
    chain = {*pairwise((*path.through, ref))}
    for fact in facts:
        match fact:
            case Grant():
                kept: Fact | None = fact if fact.id == path.grant_id else None
            case Containment():
                kept = fact if (fact.container, fact.member) in chain else None
            case AccessTarget():
                kept = fact if path.type == "access_mode" and fact.target == path.source else None
            case Role():
                keeps_override = path.type == "capability" and path.source.id == fact.id
                kept = fact if keeps_override else revised(fact, capabilities=())
            case Entity():
                kept = fact if path.type == "owner" else revised(fact, owner_type="user", owner_id="usr_nobody")
                if path.type != "access_mode":
                    kept = revised(kept, access_mode="private")
            case _:
                kept = fact
        if kept is not None:
            yield kept


def _without(facts: Collection[Fact], ref: EntityRef, paths: Collection[Path]) -> Iterator[Fact]:
    """The facts without exactly what the paths name."""
    grant_ids = {path.grant_id for path in paths}
    named = {(path.type, path.source) for path in paths}
    shown = any(path.type == "access_mode" for path in paths)
    for fact in facts:
        match fact:
            case Grant() if fact.id in grant_ids:
                continue
            case AccessTarget() if fact.entity == ref and shown:
                continue  # also those that a public entity lists in vain: they would count once it is private
            case Role() if ("capability", Principal("role", fact.id)) in named:
                yield revised(fact, capabilities=tuple(key for key in fact.capabilities if key != OVERRIDE))
            case Entity() if fact.ref == ref:
                kept = fact
                if ("owner", fact.owner) in named:
                    kept = revised(kept, owner_type="user", owner_id=user("usr_nobody").id)
                if fact.access_mode not in LISTED_MODES and shown:
                    kept = revised(kept, access_mode="private")
                yield kept
            case _:
                yield fact
