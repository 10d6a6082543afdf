"""What facts name must be there: entities, principals, and the global keys that lead to the organization."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from grantbook.model.facts import EVERYONE, ApiKey, Entity, EntityRef, Fact, Grant, Member, Principal, key_of
from grantbook.service import transfer
from grantbook.service.desk import Reading
from grantbook.service.findings import Findings
from grantbook.service.gates import PRINCIPAL_KINDS
from grantbook.service.lines import missing_entities, missing_principals
from grantbook.service.moves import expected_claims
from grantbook.store.history import joined_key
from grantbook.store.port import Archive, Lookup

_MAX_KNOWN: Final = 100_000


class Referents:
    """Looks for them, and remembers some of what it found."""

    def __init__(self, reading: Reading, archive: Archive, findings: Findings) -> None:
        self._reading = reading
        self._archive = archive
        self._findings = findings
        self._entities: set[EntityRef] = set()
        self._principals: set[Principal] = set()

    def check(self, facts: Sequence[Fact]) -> None:
        """Facts of one kind: of each that names what is not there, the field and what it names."""
        if len(self._entities) + len(self._principals) > _MAX_KNOWN:
            self._entities.clear()
            self._principals.clear()
        entities: dict[EntityRef, list[tuple[Fact, str]]] = {}
        principals: dict[Principal, list[tuple[Fact, str]]] = {}
        for fact in facts:
            if type(fact) is Grant and fact.grantee in self._principals and fact.entity in self._entities:
                continue  # most facts are grants, and most name what was seen before
            for name, entity in transfer.entities_in(fact):
                if entity not in self._entities:
                    entities.setdefault(entity, []).append((fact, name))
            for name, principal in self._principals_in(fact):
                if principal not in self._principals:
                    principals.setdefault(principal, []).append((fact, name))
        no_entities = missing_entities(self._reading, entities)
        no_principals = self._missing(principals)
        self._entities |= entities.keys() - no_entities
        self._principals |= principals.keys() - no_principals
        for entity in (each for each in entities if each in no_entities):
            self._refuse(entity, entities[entity])
        for principal in (each for each in principals if each in no_principals):
            self._refuse(principal, principals[principal])
        self._check_claims(facts)

    def _principals_in(self, fact: Fact) -> Sequence[tuple[str, Principal]]:
        """As an import asks for them, and more: keys go with their users."""
        match fact:
            case Grant(grantee_type="user") if fact.entity_type not in self._reading.vocabulary.types:
                return ()  # perhaps of a type that is not bound, in a vocabulary that was not given
            case ApiKey():
                return (("user_id", Principal("user", fact.user_id)),)
        return transfer.principals_in(self._reading, fact)

    def _missing(self, principals: Collection[Principal]) -> set[Principal]:
        known = {each for each in principals if each.type in PRINCIPAL_KINDS or each == EVERYONE}
        return (set(principals) - known) | missing_principals(self._reading, known)

    def _refuse(self, ref: EntityRef | Principal, places: Iterable[tuple[Fact, str]]) -> None:
        for fact, name in places:
            self._add(fact, f"{name}: there is no {ref.type} {ref.id}")

    def _check_claims(self, facts: Sequence[Fact]) -> None:
        if not facts or not isinstance(facts[0], ApiKey | Entity | Member):
            return
        types = self._reading.vocabulary.types
        wanted: dict[Lookup, dict[str, tuple[Fact, str | None]]] = {}
        for fact in facts:
            if isinstance(fact, Entity) and (fact.entity_type not in types or types[fact.entity_type].is_bound):
                continue
            for lookup, key, value in expected_claims(self._reading.organization_id, fact):
                wanted.setdefault(lookup, {})[key] = fact, value
        for lookup, expected in wanted.items():
            held = self._archive.look_up(lookup, expected)
            for key, (fact, value) in expected.items():
                if key not in held or value not in {None, held[key]}:
                    self._add(fact, f"the look-up of its {lookup.value} does not lead here")
        users = {fact.user_id: fact for fact in facts if isinstance(fact, Member)}
        for user_id in users.keys() - (self._archive.known_users(users) if users else set()):
            self._add(users[user_id], "the user is not known to be of the organization")

    def _add(self, fact: Fact, message: str) -> None:
        self._findings.add(type(fact).__name__, joined_key(key_of(fact)), message)
