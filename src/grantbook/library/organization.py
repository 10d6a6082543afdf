"""The book of one organization, inside a Python application."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import UNSET, UnsetType, structs

from grantbook.engine import lists
from grantbook.engine.lists import Place
from grantbook.engine.organization_facts import TooMuchToLoad
from grantbook.library.arguments import Named, checked, instant_of, require_question
from grantbook.library.directory import Directory
from grantbook.model.errors import GrantbookError
from grantbook.model.facts import Entity, EntityRef, Grant, Principal
from grantbook.model.limits import DEFAULT_PAGE
from grantbook.model.resolution import Access
from grantbook.service import (
    asking,
    decisions,
    entities,
    entity_lists,
    gates,
    grants,
    knowledge,
    organizations,
    rule_permissions,
)
from grantbook.service.admission import SYSTEM_ASKER
from grantbook.service.decisions import Check, Decision
from grantbook.service.desk import again_if_aborted
from grantbook.service.entities import EntityView
from grantbook.service.listing import Page, require_part
from grantbook.service.rule_permissions import Permission
from grantbook.service.values import called
from grantbook.store.history import verify
from grantbook.store.port import Change


@checked()
@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    """What to give to whom, of several grants on one entity."""

    grantee: Named
    access_level: str
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    reason: str | None = None

    def draft(self) -> grants.NewGrant:
        """The same with times as the book keeps them."""
        return grants.NewGrant(
            grantee=Principal(*self.grantee),
            access_level=self.access_level,
            starts_at=instant_of(self.starts_at),
            expires_at=instant_of(self.expires_at),
            reason=self.reason,
        )


@checked(but=("check",))  # which is asked most, and checks by itself
class OrganizationBook(Directory):
    """One organization, for one caller, who is looked at for each call: OrganizationAccessDenied for who is no active
    member any more. Errors are those of `grantbook.model.errors`; their `details` name the field or the ids."""

    # The organization

    @again_if_aborted
    def rename(self, name: str) -> None:
        """Another name for the organization."""
        with self._writing() as writing:
            self.organization = organizations.update(writing, name=name, attributes={}).organization

    @again_if_aborted
    def delete(self) -> None:
        """The organization ends for everybody, from now on; its book stays."""
        with self._writing() as writing:
            organizations.delete(writing)

    # Decisions

    def check(
        self, user_id: str, access_level: str, entity_type: str, entity_id: str, *, as_of: datetime | None = None
    ) -> Decision:
        """May this user do this? Read `.allowed`. Raises NotFound for an unknown user or entity."""
        if as_of is not None or not type(user_id) is type(access_level) is type(entity_type) is type(entity_id) is str:
            asked = {"user_id": user_id, "access_level": access_level, "entity_type": entity_type}
            require_question(as_of, **asked, entity_id=entity_id)
        if as_of is None and self._caller.is_system:
            desk, facts, ref = self._desk, self._desk.facts, (entity_type, entity_id)
            facts.enter(loads=False)
            try:
                return asking.check(desk, facts.current(self.organization.id), SYSTEM_ASKER, user_id, access_level, ref)
            except TooMuchToLoad:
                pass
            finally:
                facts.leave()
            with facts.asked(self.id, [(user_id, ref)], is_full=False):
                return asking.check(desk, facts.current(self.id), SYSTEM_ASKER, user_id, access_level, ref)
        question = Check(user_id=user_id, entity=EntityRef(entity_type, entity_id), access_level=access_level)
        with self._reading(as_of) as reading:
            return decisions.check(reading, question)

    def check_many(self, questions: Sequence[Check]) -> list[Decision | GrantbookError]:
        """Each decision in order, or the error of its question, all from one state of the book."""
        questions = [
            each if type(each.entity) is EntityRef else structs.replace(each, entity=EntityRef(*each.entity))
            for each in questions
        ]
        if self._caller.is_system:
            desk, facts = self._desk, self._desk.facts
            pairs = [(each.user_id, each.entity) for each in questions if each.entity.type in desk.vocabulary.types]
            with facts.asked(self.id, pairs, is_full=False):
                return asking.check_many(desk, facts.current(self.id), SYSTEM_ASKER, questions)
        with self._reading() as reading:
            return decisions.check_many(reading, questions)

    def explain(
        self, user_id: str, access_level: str, entity_type: str, entity_id: str, *, as_of: datetime | None = None
    ) -> Decision:
        """The decision with every path, and for a denial its remedies."""
        question = Check(user_id=user_id, entity=EntityRef(entity_type, entity_id), access_level=access_level)
        with self._reading(as_of) as reading:
            return decisions.explain(reading, question)

    def entities_of(
        self,
        user_id: str,
        *,
        entity_type: str | None = None,
        access_level: str | None = None,
        as_of: datetime | None = None,
        after: Named | None = None,
        limit: int | None = None,
    ) -> Mapping[EntityRef, Access]:
        """What the user reaches, ordered by type and id: all of it, or what comes `after` one, or at most `limit`."""
        require_part(0, limit)
        place = None if after is None else EntityRef(*after)
        if as_of is None and self._caller.is_system:
            question = asking.entities_of(
                self._desk, SYSTEM_ASKER, user_id, entity_type=entity_type, access_level=access_level
            )
            return self._listed(question, place, limit)
        with self._reading(as_of) as reading:
            found = decisions.entities_of(reading, user_id, entity_type=entity_type, access_level=access_level)
            return _part(found, place, limit)

    def users_of(
        self,
        entity_type: str,
        entity_id: str,
        *,
        access_level: str | None = None,
        as_of: datetime | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Mapping[str, Access]:
        """Who reaches the entity, ordered by id: all of them, or who come `after` one, or at most `limit`."""
        require_part(0, limit)
        ref = EntityRef(entity_type, entity_id)
        if as_of is None and self._caller.is_system:
            question = asking.users_of(self._desk, SYSTEM_ASKER, ref, access_level=access_level)
            return self._listed(question, after, limit)
        with self._reading(as_of) as reading:
            return _part(decisions.users_of(reading, ref, access_level=access_level), after, limit)

    # Grants

    @again_if_aborted
    def create_grant(
        self,
        entity_type: str,
        entity_id: str,
        grantee: Named,
        access_level: str,
        *,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        reason: str | None = None,
    ) -> Grant:
        """The grant, made or already there. Raises GrantAlreadyExists when the level or window differs."""
        new = NewGrant(
            grantee=grantee, access_level=access_level, starts_at=starts_at, expires_at=expires_at, reason=reason
        )
        with self._writing(reason) as writing:
            return grants.create(writing, EntityRef(entity_type, entity_id), new.draft())[0]

    @again_if_aborted
    def create_grants(self, entity_type: str, entity_id: str, new: Sequence[NewGrant]) -> list[Grant]:
        """Up to 1,000 grants on one entity, all or none, in order."""
        with self._writing() as writing:
            return grants.create_bulk(writing, EntityRef(entity_type, entity_id), [each.draft() for each in new])

    @again_if_aborted
    def update_grant(
        self,
        grant_id: str,
        access_level: str | None = None,
        *,
        starts_at: datetime | UnsetType | None = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
    ) -> Grant:
        """Another level or window for a grant: what is not given stays, and None is from now on, or until revoked."""
        with self._writing() as writing:
            return grants.update(
                writing,
                grant_id,
                access_level,
                starts_at=UNSET if starts_at is UNSET else instant_of(starts_at),
                expires_at=UNSET if expires_at is UNSET else instant_of(expires_at),
            )

    @again_if_aborted
    def revoke_grant(self, grant_id: str) -> None:
        """End a grant; its history stays."""
        with self._writing() as writing:
            grants.revoke(writing, grant_id)

    def get_grant(self, grant_id: str) -> Grant:
        """A grant that `list_grants` shows."""
        with self._reading() as reading:
            return grants.get(reading, grant_id)

    def list_grants(
        self,
        *,
        entity_type: str | None = None,
        entity_id: str | None = None,
        grantee_type: str | None = None,
        grantee_id: str | None = None,
        skip: int = 0,
        limit: int = DEFAULT_PAGE,
    ) -> Page[Grant]:
        """A page of the grants that the caller may see, oldest first."""
        with self._reading() as reading:
            return grants.list_grants(
                reading,
                entity_type=entity_type,
                entity_id=entity_id,
                grantee_type=grantee_type,
                grantee_id=grantee_id,
                skip=skip,
                limit=limit,
            )

    # Rule permissions

    def list_rule_permissions(self, rule_id: str) -> list[Grant]:
        """Grants on a rule, oldest first."""
        with self._reading() as reading:
            return rule_permissions.list_permissions(reading, rule_id)

    @again_if_aborted
    def replace_rule_permissions(self, rule_id: str, wanted: Sequence[Permission]) -> list[Grant]:
        """Exactly these from now on, atomically."""
        permissions = [replace(each, target=Principal(*each.target)) for each in wanted]
        with self._writing() as writing:
            return rule_permissions.replace_permissions(writing, rule_id, permissions)

    @again_if_aborted
    def grant_rule_permission(self, rule_id: str, target: Named, access_level: str) -> Grant:
        """Give a level or raise it. Raises GrantWouldBeDemoted for a lower one."""
        wanted = Permission(target=Principal(*target), access_level=access_level)
        with self._writing() as writing:
            return rule_permissions.grant_permission(writing, rule_id, wanted)

    @again_if_aborted
    def revoke_rule_permission(self, rule_id: str, target: Named) -> None:
        """Take a target's grant away."""
        with self._writing() as writing:
            rule_permissions.revoke_permission(writing, rule_id, Principal(*target))

    # Entities

    @again_if_aborted
    def register_entity(
        self,
        entity_type: str,
        entity_id: str,
        *,
        name: str,
        owner: Named,
        access_mode: str | None = None,
        access_target_ids: Sequence[str] = (),
        containers: Sequence[Named] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> EntityView:
        """The entity as the application that keeps it says it is, made or updated: in exactly these containers, listed
        for exactly these targets. An access mode that is not named stays, and so do attributes."""
        with self._writing() as writing:
            draft = entities.Draft(
                ref=gates.entity_ref(writing, entity_type, entity_id),
                name=name,
                owner=Principal(*owner),
                access_mode=access_mode,
                targets=access_target_ids,
                attributes=attributes,
                containers=[EntityRef(*container) for container in containers],
            )
            return entities.register(writing, draft)[0]

    @again_if_aborted
    def create_composite(
        self,
        slice_id: str,
        *,
        name: str,
        owner: Named,
        member_slice_ids: Collection[str],
        description: str | None = None,
        access_mode: str | None = None,
    ) -> EntityView:
        """A slice of slices: what is granted on it reaches each of them, and whatever they hold."""
        with self._writing() as writing:
            draft = entities.Draft(
                ref=gates.entity_ref(writing, knowledge.SLICE, slice_id),
                name=name,
                owner=Principal(*owner),
                access_mode=access_mode,
                attributes={"description": description, knowledge.FORM: knowledge.COMPOSITE},
                members=[EntityRef(knowledge.SLICE, member) for member in member_slice_ids],
            )
            with called(member_ids="member_slice_ids", containers="member_slice_ids"):
                return entities.create(writing, draft, *knowledge.CREATORS)

    @again_if_aborted
    def set_composite_members(self, slice_id: str, member_slice_ids: Collection[str]) -> None:
        """Exactly these slices are in the composite from now on."""
        with self._writing() as writing, called(containers="member_slice_ids"):
            knowledge.update_composite(writing, slice_id, entities.Edit(), list(member_slice_ids))

    def get_entity(self, entity_type: str, entity_id: str) -> EntityView:
        """An entity that the caller reaches."""
        with self._reading() as reading:
            return entities.get(reading, EntityRef(entity_type, entity_id))

    def list_entities(
        self, entity_type: str, *, search: str | None = None, skip: int = 0, limit: int = DEFAULT_PAGE
    ) -> Page[Entity]:
        """A page of the entities of a type that the caller sees, archived ones too, oldest first: those whose name
        contains the text."""
        require_part(skip, limit)
        self._desk.vocabulary.entity_type(entity_type)
        with self._reading() as reading:
            part = entity_lists.Part(skip=skip, limit=limit)
            return entity_lists.list_entities(reading, entity_type, part, *entity_lists.searched(search, "name"))

    @again_if_aborted
    def archive_entity(self, entity_type: str, entity_id: str) -> EntityView:
        """All access ends; the grants stay for the day it comes back."""
        with self._writing() as writing:
            return entities.set_status(writing, EntityRef(entity_type, entity_id), "archived")

    @again_if_aborted
    def unarchive_entity(self, entity_type: str, entity_id: str) -> EntityView:
        """Bring an archived entity back."""
        with self._writing() as writing:
            return entities.set_status(writing, EntityRef(entity_type, entity_id), "active")

    @again_if_aborted
    def delete_entity(self, entity_type: str, entity_id: str) -> None:
        """The entity goes, with its grants."""
        with self._writing() as writing:
            entities.delete(writing, EntityRef(entity_type, entity_id))

    # History

    def changes(self, *, after_revision: int = 0) -> Iterator[Change]:
        """Every change after a revision, oldest first. For the system, or with `view_audit_log`."""
        self._require_history()
        return self._desk.store.changes(self.id, after=after_revision)

    def verify(self) -> int:
        """The number of changes, after checking the hash chain. For whom `changes` is. Raises TamperedHistory."""
        self._require_history()
        return verify(self._desk.store, self.id)

    def _require_history(self) -> None:
        with self._reading() as reading:
            gates.require_capability(reading, "view_audit_log")

    def _listed(self, question: asking.ListQuestion, after: Any, limit: int | None) -> Mapping[Any, Access]:
        if limit is None or limit > asking.MAX_PART:
            return _part(asking.get_list(self._desk, self.id, question), after, limit)
        return asking.get_part(self._desk, self.id, question, lists.Part(after, 0, limit))


def _part(found: Mapping[Place, Access], after: Place | None, limit: int | None) -> Mapping[Place, Access]:
    """So many that come after the place, of a list in order."""
    if after is None and limit is None:
        return found
    following = (item for item in found.items() if after is None or item[0] > after)
    return dict(islice(following, limit))
