"""Access of given users to given entities, by the definition over loaded facts."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace

from grantbook.engine import loading
from grantbook.model.facts import EntityRef, Facts, Grant, Principal
from grantbook.model.instants import Instant
from grantbook.model.resolution import Access, access_of, principals, reach
from grantbook.model.vocabulary import Vocabulary
from grantbook.store.port import Snapshot


def access(snapshot: Snapshot, vocabulary: Vocabulary, user_id: str, entity: EntityRef, at: Instant) -> Access:
    """One user, one entity."""
    return access_many(snapshot, vocabulary, [(user_id, entity)], at)[user_id, entity]


def access_many(
    snapshot: Snapshot, vocabulary: Vocabulary, pairs: Collection[tuple[str, EntityRef]], at: Instant
) -> dict[tuple[str, EntityRef], Access]:
    """Each pair's access, with as many queries as for one pair."""
    users, wanted = {user for user, _ in pairs}, {entity for _, entity in pairs}
    facts = loading.within(vocabulary, loading.for_users_and_entities(snapshot, users, wanted))
    entities_of: defaultdict[str, list[EntityRef]] = defaultdict(list)
    for user_id, entity in set(pairs):
        entities_of[user_id].append(entity)
    views = Views(facts)
    return {
        (user_id, entity): access_of(view, vocabulary, user_id, who, entity, at)
        for user_id, entities in entities_of.items()
        for view, who in [views.of(user_id, entities)]
        for entity in entities
    }


class Views:
    """The same facts as each user sees them: without the grants that name somebody else.

    The definition looks at every grant on an entity; over many users of one entity that is the product of both.
    Leaving out grants to others changes no answer, since only grants to the user's own principals count.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._grants: dict[EntityRef, dict[Principal, list[Grant]]] = {}
        for entity, grants in facts.grants_on.items():
            to = self._grants[entity] = {}
            for grant in grants:
                to.setdefault(grant.grantee, []).append(grant)
        self._holders: dict[EntityRef, tuple[EntityRef, ...]] = {}

    def of(self, user_id: str, entities: Iterable[EntityRef]) -> tuple[Facts, frozenset[Principal]]:
        """The facts with this user's grants on the entities and what contains them, and the user's principals."""
        who = principals(self._facts, user_id)
        grants_on: dict[EntityRef, tuple[Grant, ...]] = {}
        for entity in entities:
            for holder in self._holders_of(entity):
                to = self._grants.get(holder)
                if to and holder not in grants_on:
                    grants_on[holder] = tuple(grant for principal in who & to.keys() for grant in to[principal])
        return replace(self._facts, grants_on=grants_on), who

    def _holders_of(self, entity: EntityRef) -> tuple[EntityRef, ...]:
        found = self._holders.get(entity)
        if found is None:
            found = self._holders[entity] = tuple(reach(self._facts, entity))
        return found
