"""Lists from both sides: what a user reaches, and who reaches an entity."""

from grantbook.engine import loading
from grantbook.engine.decide import Views
from grantbook.model.facts import EntityRef
from grantbook.model.instants import Instant
from grantbook.model.resolution import Access, access_of, principals
from grantbook.model.vocabulary import Vocabulary
from grantbook.store.port import Snapshot


def entities_of(
    snapshot: Snapshot,
    vocabulary: Vocabulary,
    user_id: str,
    at: Instant,
    *,
    entity_type: str | None = None,
    access_level: str | None = None,
) -> dict[EntityRef, Access]:
    """Every entity that the user reaches, at least at the level, ordered by type and id.

    An `access_level` without an `entity_type` counts for the types that have it.
    """
    facts = loading.within(vocabulary, loading.for_user(snapshot, user_id, entity_type))
    who = principals(facts, user_id)
    candidates = sorted(ref for ref in facts.entities if entity_type in (None, ref.type))
    found = ((ref, access_of(facts, vocabulary, user_id, who, ref, at)) for ref in candidates)
    return {ref: each for ref, each in found if reaches(vocabulary, ref, each, access_level)}


def users_of(
    snapshot: Snapshot, vocabulary: Vocabulary, entity: EntityRef, at: Instant, *, access_level: str | None = None
) -> dict[str, Access]:
    """Every user who reaches the entity, at least at the level, ordered by id.

    People outside the organization are listed where a grant names them; those whom only `all` includes cannot be.
    """
    facts = loading.within(vocabulary, loading.for_entity(snapshot, entity))
    granted = {grant.grantee for grants in facts.grants_on.values() for grant in grants}
    named = {grantee.id for grantee in granted if grantee.type == "user"}
    views = Views(facts)
    found: dict[str, Access] = {}
    for user_id in sorted(facts.members.keys() | named):
        view, who = views.of(user_id, [entity])
        each = access_of(view, vocabulary, user_id, who, entity, at)
        if reaches(vocabulary, entity, each, access_level):
            found[user_id] = each
    return found


def reaches(vocabulary: Vocabulary, entity: EntityRef, access: Access, access_level: str | None) -> bool:
    """Whether the access is at least at the level; None asks for any."""
    if access.level is None:
        return False
    if access_level is None:
        return True
    kind = vocabulary.entity_type(entity.type)
    return access_level in kind.levels and kind.rank(access.level) >= kind.rank(access_level)
