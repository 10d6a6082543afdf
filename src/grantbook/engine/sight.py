"""What a user reaches, as conditions: a store can page and count by them without loading it all."""

from collections.abc import Collection

from grantbook.engine.loading import for_users_and_entities
from grantbook.model.facts import AccessTarget, Entity, Facts, Principal
from grantbook.model.instants import Instant
from grantbook.model.resolution import OVERRIDE, is_active, principals
from grantbook.model.vocabulary import OPEN_MODES, OWNER_TYPES, Vocabulary
from grantbook.store.port import Snapshot, Where


def reach_of(
    snapshot: Snapshot,
    vocabulary: Vocabulary,
    user_id: str,
    at: Instant,
    entity_type: str,
    *,
    access_level: str | None = None,
) -> list[Where]:
    """Conditions that together hold for exactly what the user reaches of a type, at least at the level; an empty list
    is nothing at all.

    What grants lead to is named by its ids. What is open to the organization, or owned by the user, is left to the
    store, however much it is.
    """
    kind = vocabulary.entity_type(entity_type)
    lowest = 0 if access_level is None else kind.rank(access_level)
    facts = for_users_and_entities(snapshot, [user_id], []).facts
    is_member = is_active(facts, user_id)
    if facts.is_deleted or (kind.is_bound and not is_member):
        return []
    who = principals(facts, user_id)
    active: Where = {"entity_type": entity_type, "status": "active"}
    led_to = snapshot.led_to(who, _holders(vocabulary, entity_type), kind.levels[lowest:], at)
    named = {ref.id for ref in led_to if ref.type == entity_type}
    if is_member and lowest == 0:
        named |= _listed(snapshot, who, entity_type)
    found: list[Where] = [{**active, "id": named}] if named else []
    if not is_member:
        return found
    if _overrides(facts, user_id):
        return [active]
    for owner_type in OWNER_TYPES:
        if kind.rank(kind.owner_levels[owner_type]) >= lowest:
            owners = {principal.id for principal in who if principal.type == owner_type}
            found.append({**active, "owner_type": owner_type, "owner_id": owners})
    return [*found, {**active, "access_mode": OPEN_MODES}] if lowest == 0 else found


def ids_of(
    snapshot: Snapshot, vocabulary: Vocabulary, user_id: str, at: Instant, entity_type: str, access_level: str
) -> set[str]:
    """The ids of what the user reaches of a type at that level or above."""
    found: set[str] = set()
    for where in reach_of(snapshot, vocabulary, user_id, at, entity_type, access_level=access_level):
        found |= set(where.get("id") or snapshot.tally(Entity, "id", where))  # type: ignore[arg-type]
    return found


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
