"""What a user reaches, as conditions: a store can page and count by them without loading it all."""

from collections.abc import Collection

from grantbook.engine.loading import for_users_and_entities
from grantbook.model.facts import AccessTarget, Entity, EntityRef, Facts, Principal
from grantbook.model.instants import Instant
from grantbook.model.resolution import OVERRIDE, is_active, principals
from grantbook.model.vocabulary import OPEN_MODES, OWNER_TYPES, EntityType, Vocabulary
from grantbook.store.port import Snapshot, Where


def reach_of(snapshot: Snapshot, vocabulary: Vocabulary, user_id: str, at: Instant, entity_type: str) -> list[Where]:
    """Conditions that together hold for exactly what the user reaches of a type; an empty list is nothing at all.

    What grants lead to is named by its ids. What is open to the organization, or owned by the user, is left to the
    store, however much it is.
    """
    kind = vocabulary.entity_type(entity_type)
    facts = for_users_and_entities(snapshot, [user_id], [])
    led_to = _led_to(snapshot, vocabulary, facts, user_id, at, [kind], kind.levels)
    return _conditions(snapshot, facts, user_id, kind, 0, led_to)


def administered_by(
    snapshot: Snapshot, vocabulary: Vocabulary, user_id: str, at: Instant, entity_types: Collection[str]
) -> dict[str, set[str]]:
    """The ids of what the user has the top level on, by type. Types that call it the same are looked at together."""
    by_top: dict[str, list[EntityType]] = {}
    for name in entity_types:
        kind = vocabulary.entity_type(name)
        by_top.setdefault(kind.top_level, []).append(kind)
    facts = for_users_and_entities(snapshot, [user_id], [])
    found: dict[str, set[str]] = {}
    for top, kinds in by_top.items():
        led_to = _led_to(snapshot, vocabulary, facts, user_id, at, kinds, [top])
        for kind in kinds:
            where = _conditions(snapshot, facts, user_id, kind, kind.rank(top), led_to)
            ids = (each.get("id") or snapshot.tally(Entity, "id", each) for each in where)
            found[kind.name] = set().union(*ids)  # type: ignore[arg-type]
    return found


def _led_to(
    snapshot: Snapshot,
    vocabulary: Vocabulary,
    facts: Facts,
    user_id: str,
    at: Instant,
    kinds: Collection[EntityType],
    levels: Collection[str],
) -> set[EntityRef]:
    """What grants lead the user to, of the types; a grant on whatever contains one of them leads there, too."""
    holders: set[str] = set().union(*(_holders(vocabulary, kind.name) for kind in kinds))
    contents = {name: vocabulary.types[name].contains for name in holders}
    return snapshot.led_to(principals(facts, user_id), contents, levels, at)


def _conditions(
    snapshot: Snapshot, facts: Facts, user_id: str, kind: EntityType, lowest: int, led_to: Collection[EntityRef]
) -> list[Where]:
    """What the user reaches of a type at the rung `lowest` or above, of which grants give `led_to`."""
    is_member = is_active(facts, user_id)
    if facts.is_deleted or (kind.is_bound and not is_member):
        return []
    who = principals(facts, user_id)
    active: Where = {"entity_type": kind.name, "status": "active"}
    named = {ref.id for ref in led_to if ref.type == kind.name}
    if is_member and lowest == 0:
        named |= _listed(snapshot, who, kind.name)
    found: list[Where] = [{**active, "id": named}] if named else []
    if not is_member:
        return found
    if _overrides(facts, user_id):
        return [active]
    for owner_type in OWNER_TYPES:
        owners = {principal.id for principal in who if principal.type == owner_type}
        if owners and kind.rank(kind.owner_levels[owner_type]) >= lowest:
            found.append({**active, "owner_type": owner_type, "owner_id": owners})
    return [*found, {**active, "access_mode": OPEN_MODES}] if lowest == 0 else found


def _listed(snapshot: Snapshot, who: Collection[Principal], entity_type: str) -> set[str]:
    """Those whose access mode lists one of the principals; those that are open by now are reached anyway."""
    where: Where = {"target_id": {principal.id for principal in who}, "entity_type": entity_type}
    return {target.entity_id for target in snapshot.select(AccessTarget, where) if target.target in who}


def _overrides(facts: Facts, user_id: str) -> bool:
    roles = (facts.roles.get(role_id) for role_id in facts.roles_of.get(user_id, ()))
    return any(role is not None and OVERRIDE in role.capabilities for role in roles)


def _holders(vocabulary: Vocabulary, entity_type: str) -> set[str]:
    """The type, and each that may contain it at any depth: a grant on those can lead to it."""
    found, before = {entity_type}, 0
    while len(found) > before:
        before = len(found)
        found |= {name for name, kind in vocabulary.types.items() if kind.contains & found}
    return found
