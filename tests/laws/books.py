"""What the laws share: a fresh organization for each world, answers from a store, a desk to change it."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from random import Random

from grantbook.engine import decide
from grantbook.engine.facts_cache import FactCache
from grantbook.engine.held import NONE
from grantbook.model.facts import EntityRef
from grantbook.model.resolution import Access
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service.desk import Desk
from grantbook.store.port import Store
from tests.worlds import NOW, FakeClock, World, deposit

_NUMBERS = count(1)
_RANDOM = Random(7)


def settle(store: Store, world: World) -> World:
    """The world in an organization that the store did not have before."""
    moved = world.moved_to(f"org_{next(_NUMBERS)}")
    deposit(store, moved.organization_id, moved.facts)
    return moved


def answers(store: Store, world: World, revision: int | None = None) -> dict[tuple[str, EntityRef], Access]:
    """What the engine answers to everything that can be asked about the world."""
    with store.snapshot(world.organization_id, revision=revision) as snapshot:
        return decide.access_many(snapshot, BUILT_IN, world.pairs, NOW)


@contextmanager
def caches_of_every_size(store: Store) -> Iterator[list[FactCache]]:
    """One that holds everything, one that evicts all the time, one that is off."""
    with ExitStack() as opened:
        yield [opened.enter_context(closing(FactCache(store, BUILT_IN, size))) for size in (1 << 30, 4_000, 0)]


def held_answers(cache: FactCache, world: World) -> dict[tuple[str, EntityRef], Access]:
    """What the cache answers to the same; nothing about users and entities that are not known."""
    with cache:
        held = cache.current(world.organization_id)
        known = [pair for pair, rank in zip(world.pairs, held.ranks(world.pairs, NOW), strict=True) if rank >= NONE]
        return {(user_id, ref): held.access(user_id, ref, NOW) for user_id, ref in known}


def desk_of(store: Store) -> Desk:
    return Desk(store, BUILT_IN, FakeClock(), _RANDOM.randbytes)


def ranks(found: dict[tuple[str, EntityRef], Access]) -> Iterator[int]:
    """Each answer as a number, in the order of the questions: -1 for no access."""
    for (_, ref), each in found.items():
        yield -1 if each.level is None else BUILT_IN.entity_type(ref.type).rank(each.level)
