"""What a store promises to a cache of facts: the newest state of every organization, cheap to ask."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, NamedTuple, Protocol

from grantbook.model.facts import (
    AccessTarget,
    Containment,
    DepartmentMember,
    Entity,
    EntityRef,
    Fact,
    Grant,
    Member,
    RoleAssignment,
)
from grantbook.model.instants import Instant


class Notice(NamedTuple):
    """That a fact changed: as much of a `Change` as a cache of facts has to know."""

    kind: str
    subject_type: str
    subject_id: str
    target_id: str | None
    before: str | None
    after: str | None


class Standing(NamedTuple):
    """("member", state), ("role", role id), ("department", id of one joined), whether or not these are there."""

    part: str
    value: str


class Outline(NamedTuple):
    """("entity", status, owner, access mode, name), ("target", .., target, ..), ("container", .., container, ..)."""

    part: str
    status: str | None
    other_type: str
    other_id: str
    access_mode: str | None
    name: str | None


class Glance(NamedTuple):
    """A user's standing and an entity's outline, and the revision that both are of."""

    revision: int
    standing: Sequence[Standing]
    outline: Sequence[Outline]


class GrantRow(NamedTuple):
    """A live grant on an entity, as far as it decides."""

    grantee_type: str
    grantee_id: str
    access_level: str
    id: str
    starts_at: Instant | None
    expires_at: Instant | None


class GivenRow(NamedTuple):
    """What somebody is given: ("grant", .., its level, id and window), ("owned", ..), ("listed", ..) by an access mode,
    whatever the mode is. `status` is that of the entity, None where there is none."""

    part: str
    principal_type: str
    principal_id: str
    entity_type: str
    entity_id: str
    status: str | None
    access_level: str | None
    grant_id: str | None
    starts_at: Instant | None
    expires_at: Instant | None


class EdgeRow(NamedTuple):
    """What contains what, and the status of what is contained."""

    container_type: str
    container_id: str
    member_type: str
    member_id: str
    status: str | None


MAX_GLANCED: Final = 4
"""So many entities are asked about at a glance; whoever needs more begins a reading."""


class GlanceAtGroups(NamedTuple):
    """See `Present.glance_at_groups`."""

    revision: int
    departments: Sequence[tuple[str, str | None]]
    roles: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The values of the field `id`, in order, of the facts of a kind whose field `of` has one of the values asked for,
    whose field `type`, if there is one, has the type asked for, and which have what is `fixed`. An index has them in
    this order, so that the first ones cost as little as if there were no more."""

    kind: type[Fact]
    of: str
    type: str | None = None
    id: str
    fixed: Mapping[str, str] = field(default_factory=dict, hash=False)


GRANTED: Final = Stream(kind=Grant, of="grantee_id", type="entity_type", id="entity_id")
OWNED: Final = Stream(kind=Entity, of="owner_id", type="entity_type", id="id")
LISTED: Final = Stream(kind=AccessTarget, of="target_id", type="entity_type", id="entity_id")
SHOWN: Final = Stream(kind=Entity, of="access_mode", type="entity_type", id="id")
OF_TYPE: Final = Stream(kind=Entity, of="entity_type", id="id")
CONTAINED: Final = Stream(kind=Containment, of="container_id", type="member_type", id="member_id")
NAMED: Final = Stream(kind=Grant, of="entity_id", type="entity_type", id="grantee_id", fixed={"grantee_type": "user"})
JOINED: Final = Stream(kind=DepartmentMember, of="department_id", id="user_id")
ASSIGNED: Final = Stream(kind=RoleAssignment, of="role_id", id="user_id")
IN_STATE: Final = Stream(kind=Member, of="state", id="user_id")
STREAMS: Final = (GRANTED, OWNED, LISTED, SHOWN, OF_TYPE, CONTAINED, NAMED, JOINED, ASSIGNED, IN_STATE)


class Present(Protocol):
    """The newest state of every organization, for a cache of facts: cheap to ask, and to ask whether it moved.

    Everything asked within one `reading` is of one state. Rows may be plain tuples. Whoever asks holds the `lock`.
    """

    lock: Lock
    is_local: bool
    """Whether it is always known what was written last, and asking takes microseconds. Otherwise the version lags
    behind the commits of other processes, and questions cross a network."""

    def version(self) -> int:
        """A number that is another one after every commit, of whatever process. Raises StoreUnavailable."""

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:
        """Whether the organization may have a newer revision than this one, held as of that version."""

    def line(self) -> int:
        """Within a reading, or after a glance: the number of the connection. What was read on another one may be of
        another history, such as that of a database that another has taken the place of."""

    def reading(self) -> AbstractContextManager[int]:
        """One state for every question within it, by the number that `version` has for that state; negative where
        a store cannot tell it. Raises StoreUnavailable."""

    def tip(self, organization_id: str) -> tuple[int, str]:
        """The newest revision and its hash; 0 for an unknown organization."""

    def has_had(self, organization_id: str, revision: int, tip_hash: str) -> bool:
        """Whether that revision had this hash: a file may be restored under the same line, and go on from there. A
        server has another line then."""

    def notices(self, organization_id: str, *, after: int, limit: int) -> list[Notice]:
        """The first changes of the revisions after `after`, oldest first."""

    def is_deleted(self, organization_id: str) -> bool:
        """Whether the organization was deleted."""

    def standing(self, organization_id: str, user_id: str) -> Sequence[Standing]:
        """Membership, roles and departments of the user, in no promised order."""

    def standings(self, organization_id: str, user_ids: Collection[str]) -> Mapping[str, Sequence[Standing]]:
        """The same of each of the users, who may be missing if there is nothing."""

    def departments(self, organization_id: str, ids: Collection[str]) -> Sequence[tuple[str, str | None]]:
        """Those of the departments that are there and all above them, each once, with the id of its parent."""

    def roles(self, organization_id: str, ids: Collection[str]) -> Sequence[tuple[str, str]]:
        """Those of the roles that are there, with their capabilities as JSON."""

    def named_by_grants(self, organization_id: str, user_ids: Collection[str]) -> set[str]:
        """Those of the users whom a live grant names."""

    def outline(self, organization_id: str, entity: EntityRef) -> Sequence[Outline]:
        """The entity, its access targets and what contains it directly, in no promised order."""

    def outlines(
        self, organization_id: str, entities: Collection[EntityRef]
    ) -> Mapping[tuple[str, str], Sequence[Outline]]:
        """The same of each of the entities, and maybe of others; there may be none where there is nothing."""

    def grants_to(self, organization_id: str, entity: EntityRef, grantee_ids: Collection[str]) -> Sequence[GrantRow]:
        """Live grants on the entity to grantees with these ids."""

    def grants_to_each(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> Sequence[Sequence[GrantRow]]:
        """The same for each of the entities, none of them twice, in their order."""

    def glance(self, organization_id: str, user_id: str, entity: EntityRef) -> Glance:
        """All of one state, in a question that is no part of a reading; a negative revision where it did not answer."""

    def glance_at_groups(
        self, organization_id: str, department_ids: Collection[str], role_ids: Collection[str]
    ) -> GlanceAtGroups:
        """In the same way the revision, and what `departments` and `roles` have."""

    def glance_at_outlines(
        self, organization_id: str, entities: Collection[EntityRef]
    ) -> tuple[int, Mapping[tuple[str, str], Sequence[Outline]]]:
        """In the same way the revision, and what `outlines` has."""

    def glance_at_grants(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> tuple[int, Sequence[Sequence[GrantRow]]]:
        """In the same way the revision, and what `grants_to` has for a few grantees on each of up to `MAX_GLANCED`
        entities, in their order."""

    def grants_on(
        self, organization_id: str, entities: Sequence[EntityRef], *, limit: int
    ) -> Sequence[Sequence[GrantRow]]:
        """Live grants on each of the entities, in their order: at most `limit`, in no promised order."""

    def groups_on(self, organization_id: str, entity: EntityRef) -> Sequence[tuple[str, str]]:
        """Types and ids of the grantees of the live grants on the entity that are no users."""

    def next_ids(
        self, organization_id: str, stream: Stream, of: Collection[str], type_: str, *, after: str, limit: int
    ) -> list[str]:
        """The first ids after this one of all that the stream has of these, in order, each once."""

    def given_to(self, organization_id: str, principal_ids: Collection[str], *, limit: int) -> Sequence[GivenRow]:
        """What principals with these ids are given, of whatever type they are: at most `limit`, in no promised order,
        as in all that follows."""

    def edges_from(self, organization_id: str, container_ids: Collection[str], *, limit: int) -> Sequence[EdgeRow]:
        """What the entities with these ids contain, each directly."""

    def active_entities(self, organization_id: str, *, only_open: bool, limit: int) -> Sequence[tuple[str, str]]:
        """Types and ids of active entities: of all, or of those that are open to every member."""

    def departments_below(self, organization_id: str, department_ids: Collection[str]) -> Sequence[tuple[str, str]]:
        """Each of these departments that is there, with itself and each one below it."""

    def people_in(
        self, organization_id: str, department_ids: Collection[str], *, limit: int
    ) -> Sequence[tuple[str, str]]:
        """Each of these departments with each active member who joined it."""

    def people_with(self, organization_id: str, role_ids: Collection[str], *, limit: int) -> Sequence[tuple[str, str]]:
        """Each of these roles with each active member to whom it is assigned."""

    def people(self, organization_id: str, *, only_active: bool, limit: int) -> Sequence[tuple[str]]:
        """Members."""

    def active_among(self, organization_id: str, user_ids: Collection[str]) -> Sequence[tuple[str]]:
        """Those of the users who are active members."""

    def capabilities(self, organization_id: str) -> Sequence[tuple[str, str]]:
        """Each role with its capabilities as JSON."""

    def close(self) -> None:
        """Release the connection."""
