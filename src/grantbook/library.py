"""The book inside a Python application: the same use-cases as the server, in process and synchronous.

    from grantbook import Grantbook

    with Grantbook("sqlite:///grants.db") as book:
        acme = book.create_organization("Acme", owner_email="ada@acme.example")
        acme.register_entity("assistant", "asst_helpdesk", name="Help desk", owner=("user", acme.owner_id))
        bob = acme.invite_member("bob@acme.example", is_active=True)
        acme.create_grant("assistant", "asst_helpdesk", ("user", bob.member.user_id), "read")
        acme.check(bob.member.user_id, "read", "assistant", "asst_helpdesk").allowed

The application is trusted: it acts as the system, unless it asks for a book `acting_as` a user, who then has that
user's rights and no more. Each call is one transaction. Times are aware datetimes; an answer shows instants.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Any, Self

from msgspec import UNSET, UnsetType

from grantbook.bootstrap import load_vocabulary, open_desk, system_clock
from grantbook.engine import lists
from grantbook.engine.lists import Place
from grantbook.engine.organization_facts import TooMuchToLoad
from grantbook.model import ids
from grantbook.model.errors import GrantbookError, ValidationFailed
from grantbook.model.facts import ApiKey, Department, Entity, EntityRef, Grant, Organization, Principal, Role
from grantbook.model.ids import new_id
from grantbook.model.instants import Clock, Instant, from_datetime
from grantbook.model.limits import DEFAULT_CACHE_MB, DEFAULT_PAGE, MEBIBYTE
from grantbook.model.resolution import Access
from grantbook.service import (
    asking,
    decisions,
    departments,
    entities,
    entity_lists,
    gates,
    grants,
    keys,
    member_lists,
    members,
    organizations,
    roles,
    rule_permissions,
)
from grantbook.service.admission import SYSTEM_ASKER
from grantbook.service.decisions import Check, Decision
from grantbook.service.departments import DepartmentView
from grantbook.service.desk import SYSTEM, Caller, Desk, Reading, Writing, again_if_aborted
from grantbook.service.entities import EntityView
from grantbook.service.grants import NewGrant
from grantbook.service.listing import Page, require_part
from grantbook.service.members import MemberView
from grantbook.service.rule_permissions import Permission
from grantbook.service.values import one_of
from grantbook.store.history import verify
from grantbook.store.port import Change

Named = tuple[str, str]


class Grantbook:
    """A book of grants in a database: `sqlite:///path`, or `memory:` for a trial that nothing outlives.

    Facts that decide about access are kept in memory, in at most about `cache_mb` MiB; 0 keeps none, and the answers
    are the same. Safe to share between threads. Raises ConfigurationError for a database that cannot be used; and
    everything does in a process that was forked since, which opens a book of its own.
    """

    def __init__(
        self,
        database: str = "sqlite:///grantbook.db",
        *,
        vocabulary_file: str | None = None,
        cache_mb: int = DEFAULT_CACHE_MB,
        clock: Clock = system_clock,
    ) -> None:
        self.desk: Desk = open_desk(
            database, vocabulary=load_vocabulary(vocabulary_file), clock=clock, cache_bytes=cache_mb * MEBIBYTE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the database."""
        self.desk.close()

    @again_if_aborted
    def create_organization(
        self,
        name: str,
        *,
        owner_email: str,
        owner_name: str | None = None,
        owner_id: str | None = None,
        organization_id: str | None = None,
    ) -> "OrganizationBook":
        """A new organization with its owner and base roles. Raises ValidationFailed, Conflict(organization_id)."""
        chosen = organization_id or new_id(ids.ORGANIZATION, self.desk.random)
        with self.desk.writing(chosen, SYSTEM) as writing:
            organizations.found(writing, name=name, owner_email=owner_email, owner_name=owner_name, owner_id=owner_id)
        return self.organization(chosen)

    def organization(self, organization_id: str, *, acting_as: str | None = None) -> "OrganizationBook":
        """The book of one organization. Raises OrganizationAccessDenied where there is none, or for a non-member."""
        caller = SYSTEM if acting_as is None else Caller(user_id=acting_as)
        with self.desk.reading(organization_id, caller) as reading:
            organization = organizations.get_organization(reading)
            owner_id = organizations.owner_of(reading)
        return OrganizationBook(self.desk, caller, organization, owner_id or "")

    def organization_ids(self) -> list[str]:
        """Every organization in the database, in order."""
        return self.desk.store.organization_ids()


class OrganizationBook:
    """One organization, for one caller, who is looked at for each call: OrganizationAccessDenied for who is no active
    member any more. Errors are those of `grantbook.model.errors`; their `details` name the field or the ids."""

    def __init__(self, desk: Desk, caller: Caller, organization: Organization, owner_id: str) -> None:
        self._desk = desk
        self._caller = caller
        self.organization = organization
        self.owner_id = owner_id

    @property
    def id(self) -> str:
        return self.organization.id

    # Decisions

    def check(
        self, user_id: str, access_level: str, entity_type: str, entity_id: str, *, as_of: datetime | None = None
    ) -> Decision:
        """May this user do this? Read `.allowed`. Raises NotFound for an unknown user or entity."""
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
            grantee=Principal(*grantee),
            access_level=access_level,
            starts_at=_instant("starts_at", starts_at),
            expires_at=_instant("expires_at", expires_at),
            reason=reason,
        )
        with self._writing(reason) as writing:
            return grants.create(writing, EntityRef(entity_type, entity_id), new)[0]

    @again_if_aborted
    def create_grants(self, entity_type: str, entity_id: str, new: Sequence[NewGrant]) -> list[Grant]:
        """Up to 1,000 grants on one entity, all or none, in order. Their times are instants, see `NewGrant`."""
        with self._writing() as writing:
            return grants.create_bulk(writing, EntityRef(entity_type, entity_id), new)

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
                starts_at=UNSET if starts_at is UNSET else _instant("starts_at", starts_at),
                expires_at=UNSET if expires_at is UNSET else _instant("expires_at", expires_at),
            )

    @again_if_aborted
    def revoke_grant(self, grant_id: str) -> None:
        """End a grant; its history stays."""
        with self._writing() as writing:
            grants.revoke(writing, grant_id)

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
        with self._writing() as writing:
            return rule_permissions.replace_permissions(writing, rule_id, wanted)

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

    # The directory

    @again_if_aborted
    def invite_member(
        self,
        email: str,
        *,
        full_name: str | None = None,
        user_id: str | None = None,
        role_ids: Collection[str] = (),
        department_ids: Collection[str] = (),
        is_active: bool = False,
    ) -> MemberView:
        """A new member: pending, without access, or active at once."""
        with self._writing() as writing:
            return members.invite(
                writing,
                email=email,
                full_name=full_name,
                role_ids=role_ids,
                department_ids=department_ids,
                is_active=is_active,
                user_id=user_id,
            )

    def get_member(self, user_id: str) -> MemberView:
        """A member with roles and departments."""
        with self._reading() as reading:
            return members.view(reading, user_id)

    def list_members(
        self,
        *,
        search: str | None = None,
        role_id: str | None = None,
        state: str | None = None,
        skip: int = 0,
        limit: int = DEFAULT_PAGE,
    ) -> Page[MemberView]:
        """A page of the members, oldest first: whose name or address contains the text, who have the role, who are in
        the state. Without a state those who are deactivated are there too."""
        require_part(skip, limit)
        wanted = member_lists.Wanted(search=search, role_id=role_id, state=state, with_deactivated=True)
        with self._reading() as reading:
            return member_lists.list_members(reading, wanted, skip=skip, limit=limit)

    @again_if_aborted
    def update_memberships(
        self, user_id: str, *, role_ids: Collection[str], department_ids: Collection[str]
    ) -> MemberView:
        """Exactly these roles and departments from now on."""
        with self._writing() as writing:
            return members.update_memberships(writing, user_id, role_ids=role_ids, department_ids=department_ids)

    @again_if_aborted
    def set_member_state(self, user_id: str, state: str) -> MemberView:
        """`active` or `deactivated`. Raises ValidationFailed(state)."""
        one_of("state", state, ("active", "deactivated"))
        with self._writing() as writing:
            return members.set_state(writing, user_id, state)

    @again_if_aborted
    def remove_member(self, user_id: str) -> None:
        """The member goes, with memberships, keys and the grants that name them."""
        with self._writing() as writing:
            members.remove(writing, user_id)

    @again_if_aborted
    def create_department(
        self,
        name: str,
        *,
        parent_id: str | None = None,
        description: str | None = None,
        department_id: str | None = None,
    ) -> Department:
        """A department, at the top or below another."""
        with self._writing() as writing:
            return departments.create(
                writing, name=name, description=description, parent_id=parent_id, department_id=department_id
            )

    def list_departments(self) -> list[DepartmentView]:
        """Every department, oldest first, with the names from the root down to it. Raises LimitExceeded."""
        with self._reading() as reading:
            return departments.list_departments(reading)

    @again_if_aborted
    def delete_department(self, department_id: str) -> None:
        """The department goes, with its memberships and the grants that name it."""
        with self._writing() as writing:
            departments.delete(writing, department_id)

    @again_if_aborted
    def create_role(
        self,
        name: str,
        *,
        capabilities: Collection[str] = (),
        description: str | None = None,
        role_id: str | None = None,
    ) -> Role:
        """A custom role."""
        with self._writing() as writing:
            return roles.create(writing, name=name, description=description, capabilities=capabilities, role_id=role_id)

    def list_roles(self) -> list[Role]:
        """Every role, oldest first, the base roles too. Raises LimitExceeded."""
        with self._reading() as reading:
            return [role for role, _ in roles.list_roles(reading)]

    @again_if_aborted
    def delete_role(self, role_id: str) -> None:
        """The role goes, with its assignments and the grants that name it."""
        with self._writing() as writing:
            roles.delete(writing, role_id)

    @again_if_aborted
    def create_api_key(
        self, user_id: str, name: str, *, scopes: Sequence[str] | None = None, expires_at: datetime | None = None
    ) -> str:
        """The secret of a new key that acts as the user; only its digest is kept."""
        with self._writing() as writing:
            chosen = None if scopes is None else tuple(scopes)
            return keys.create(
                writing, user_id=user_id, name=name, scopes=chosen, expires_at=_instant("expires_at", expires_at)
            )[1]

    def list_api_keys(self, *, skip: int = 0, limit: int = DEFAULT_PAGE) -> Page[ApiKey]:
        """A page of the keys, oldest first: the caller's own, or with `manage_api_keys` all of them."""
        require_part(skip, limit)
        with self._reading() as reading:
            return keys.list_keys(reading, skip=skip, limit=limit)

    @again_if_aborted
    def delete_api_key(self, key_id: str) -> None:
        """The key ends at once; its history stays."""
        with self._writing() as writing:
            keys.delete(writing, key_id)

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

    @contextmanager
    def _reading(self, as_of: datetime | None = None) -> Iterator[Reading]:
        """Raises OrganizationAccessDenied for a caller who is no member any more."""
        with self._desk.reading(self.id, self._caller, as_of=_instant("as_of", as_of)) as reading:
            gates.require_membership(reading)
            yield reading

    @contextmanager
    def _writing(self, reason: str | None = None) -> Iterator[Writing]:
        """Raises as `_reading`."""
        with self._desk.writing(self.id, self._caller, reason=reason) as writing:
            gates.require_membership(writing)
            yield writing


def _part(found: Mapping[Place, Access], after: Place | None, limit: int | None) -> Mapping[Place, Access]:
    """So many that come after the place, of a list in order."""
    if after is None and limit is None:
        return found
    following = (item for item in found.items() if after is None or item[0] > after)
    return dict(islice(following, limit))


def _instant(field: str, value: datetime | None) -> Instant | None:
    """Raises ValidationFailed(field) for what is no time, or has no zone: it would be a guess."""
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValidationFailed(field, f"{field} must be a datetime with a time zone, such as datetime.now(UTC)")
    return from_datetime(value)
