"""What a user reaches, as conditions: a store can page and count by them without loading it all."""

from grantbook.engine import loading
from grantbook.model.instants import Instant
from grantbook.model.resolution import OVERRIDE, access_of, is_active, principals
from grantbook.model.vocabulary import OPEN_MODES, OWNER_TYPES, Vocabulary
from grantbook.store.port import Snapshot, Where


def reach_of(snapshot: Snapshot, vocabulary: Vocabulary, user_id: str, at: Instant, entity_type: str) -> list[Where]:
    """Conditions that together hold for exactly what the user reaches of a type; an empty list is nothing at all.

    What is open to the organization, or owned by the user, is left to the store, however much it is; what grants and
    targets lead to is decided here, by the definition.
    """
    loaded = loading.for_named(snapshot, user_id, _holders(vocabulary, entity_type))
    facts, who = loaded.facts, principals(loaded.facts, user_id)
    candidates = [ref for ref in loaded.entities if ref.type == entity_type]
    named = {ref.id for ref in candidates if access_of(facts, vocabulary, user_id, who, ref, at).level is not None}
    active: Where = {"entity_type": entity_type, "status": "active"}
    found: list[Where] = [{**active, "id": named}] if named else []
    if facts.is_deleted or not is_active(facts, user_id):
        return found
    roles = (facts.roles[role_id] for role_id in facts.roles_of.get(user_id, ()) if role_id in facts.roles)
    if any(OVERRIDE in role.capabilities for role in roles):
        return [active]
    for owner_type in OWNER_TYPES:
        owners = {principal.id for principal in who if principal.type == owner_type}
        found.append({**active, "owner_type": owner_type, "owner_id": owners})
    return [*found, {**active, "access_mode": OPEN_MODES}]


def _holders(vocabulary: Vocabulary, entity_type: str) -> set[str]:
    """The type, and each that may contain it at any depth: a grant on those can lead to it."""
    found, before = {entity_type}, 0
    while len(found) > before:
        before = len(found)
        found |= {name for name, kind in vocabulary.types.items() if kind.contains & found}
    return found
