"""The facts that access is derived from: flat frozen values, one class a kind.

`KEY` names the fields that identify a fact within its organization; `ABOUT` names the field that a change of it is
about and the one that it touches (grant: entity and grantee). A fact never changes; a store keeps its successive
versions. Facts are structs of msgspec, since a book makes millions of them and a dataclass costs eight times as much.
`Facts` is a set of them, indexed the way the definition asks.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, Self, TypeVar

import msgspec

from grantbook.model.errors import ValidationFailed
from grantbook.model.instants import Instant
from grantbook.model.vocabulary import ACCESS_MODES, GRANTEE_TYPES, OWNER_TYPES

K = TypeVar("K")
V = TypeVar("V")
F = TypeVar("F", bound="Fact")

MEMBER_STATES: Final = ("active", "pending_invitation", "deactivated")
ENTITY_STATUSES: Final = ("active", "archived")


class Principal(NamedTuple):
    """Whom a grant can name: ("user", "usr_..."), ("all", "*"), ..."""

    type: str
    id: str


class EntityRef(NamedTuple):
    """What a grant can be on: ("vector_store", "vs_...")."""

    type: str
    id: str


EVERYONE: Final = Principal("all", "*")


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every kind of fact."""

    KEY: ClassVar[tuple[str, ...]]
    ABOUT: ClassVar[tuple[str, str | None]]
    SUBJECT_TYPE: ClassVar[str]

    @property
    def subject_type(self) -> str:
        """What the history calls this kind of thing."""
        return self.SUBJECT_TYPE


class Organization(Fact, frozen=True, kw_only=True):
    """The tenant: one in its own book. The key that it was created with, if any, opens it too.

    A deleted one keeps its book, and gives nobody anything.
    """

    KEY: ClassVar[tuple[str, ...]] = ("id",)
    ABOUT: ClassVar[tuple[str, str | None]] = ("id", None)
    SUBJECT_TYPE: ClassVar[str] = "organization"
    id: str
    name: str
    attributes: Mapping[str, Any] = msgspec.field(default_factory=dict)
    creator_key_id: str | None = None
    created_by: str
    created_at: Instant
    updated_at: Instant
    deleted_at: Instant | None = None

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None


class Member(Fact, frozen=True, kw_only=True):
    """A person in the organization. Only `active` ones have access to what is bound to it.

    Of the token in the link of an invitation only a digest is kept.
    """

    KEY: ClassVar[tuple[str, ...]] = ("user_id",)
    ABOUT: ClassVar[tuple[str, str | None]] = ("user_id", None)
    SUBJECT_TYPE: ClassVar[str] = "user"
    user_id: str
    email: str
    full_name: str | None = None
    state: str
    invitation_digest: str | None = None
    invited_at: Instant | None = None
    deactivated_at: Instant | None = None
    created_at: Instant
    updated_at: Instant

    def __post_init__(self) -> None:
        if self.state not in MEMBER_STATES:
            raise ValidationFailed("account_state", f"account_state must be one of {', '.join(MEMBER_STATES)}")

    @property
    def is_active(self) -> bool:
        return self.state == "active"


class Department(Fact, frozen=True, kw_only=True):
    """A node of the department tree; a grant to it covers everything below it."""

    KEY: ClassVar[tuple[str, ...]] = ("id",)
    ABOUT: ClassVar[tuple[str, str | None]] = ("id", None)
    SUBJECT_TYPE: ClassVar[str] = "department"
    id: str
    name: str
    description: str | None = None
    parent_id: str | None = None
    created_by: str
    created_at: Instant


class DepartmentMember(Fact, frozen=True, kw_only=True):
    """A person is in a department."""

    KEY: ClassVar[tuple[str, ...]] = ("department_id", "user_id")
    ABOUT: ClassVar[tuple[str, str | None]] = ("department_id", "user_id")
    SUBJECT_TYPE: ClassVar[str] = "department_member"
    department_id: str
    user_id: str
    added_at: Instant


class Role(Fact, frozen=True, kw_only=True):
    """A named set of capabilities, and a principal that grants can name."""

    KEY: ClassVar[tuple[str, ...]] = ("id",)
    ABOUT: ClassVar[tuple[str, str | None]] = ("id", None)
    SUBJECT_TYPE: ClassVar[str] = "role"
    id: str
    name: str
    description: str | None = None
    capabilities: tuple[str, ...] = ()
    is_base: bool = False
    created_at: Instant


class RoleAssignment(Fact, frozen=True, kw_only=True):
    """A person has a role."""

    KEY: ClassVar[tuple[str, ...]] = ("role_id", "user_id")
    ABOUT: ClassVar[tuple[str, str | None]] = ("role_id", "user_id")
    SUBJECT_TYPE: ClassVar[str] = "role_assignment"
    role_id: str
    user_id: str
    assigned_at: Instant


class Entity(Fact, frozen=True, kw_only=True):
    """Something that can be granted on. A deleted entity has no live version; an archived one gives no access."""

    KEY: ClassVar[tuple[str, ...]] = ("entity_type", "id")
    ABOUT: ClassVar[tuple[str, str | None]] = ("id", None)
    SUBJECT_TYPE: ClassVar[str] = "entity"
    entity_type: str
    id: str
    name: str
    owner_type: str
    owner_id: str
    access_mode: str
    status: str = "active"
    attributes: Mapping[str, Any] = msgspec.field(default_factory=dict)
    created_by: str
    created_at: Instant
    updated_at: Instant

    def __post_init__(self) -> None:
        if self.owner_type not in OWNER_TYPES:
            raise ValidationFailed("owner_type", f"owner_type must be one of {', '.join(OWNER_TYPES)}")
        if self.access_mode not in ACCESS_MODES:
            raise ValidationFailed("access_mode", f"access_mode must be one of {', '.join(ACCESS_MODES)}")
        if self.status not in ENTITY_STATUSES:
            raise ValidationFailed("status", f"status must be one of {', '.join(ENTITY_STATUSES)}")

    @property
    def subject_type(self) -> str:
        return self.entity_type

    @property
    def ref(self) -> EntityRef:
        return EntityRef(self.entity_type, self.id)

    @property
    def owner(self) -> Principal:
        return Principal(self.owner_type, self.owner_id)

    @property
    def is_active(self) -> bool:
        return self.status == "active"


class AccessTarget(Fact, frozen=True, kw_only=True):
    """A department or user that an entity in mode `department` or `private` lists."""

    KEY: ClassVar[tuple[str, ...]] = ("entity_type", "entity_id", "target_type", "target_id")
    ABOUT: ClassVar[tuple[str, str | None]] = ("entity_id", "target_id")
    SUBJECT_TYPE: ClassVar[str] = "access_target"
    entity_type: str
    entity_id: str
    target_type: str
    target_id: str

    @property
    def entity(self) -> EntityRef:
        return EntityRef(self.entity_type, self.entity_id)

    @property
    def target(self) -> Principal:
        return Principal(self.target_type, self.target_id)


class Containment(Fact, frozen=True, kw_only=True):
    """A container holds an entity: a grant on the container reaches it."""

    KEY: ClassVar[tuple[str, ...]] = ("container_type", "container_id", "member_type", "member_id")
    ABOUT: ClassVar[tuple[str, str | None]] = ("container_id", "member_id")
    SUBJECT_TYPE: ClassVar[str] = "containment"
    container_type: str
    container_id: str
    member_type: str
    member_id: str

    @property
    def container(self) -> EntityRef:
        return EntityRef(self.container_type, self.container_id)

    @property
    def member(self) -> EntityRef:
        return EntityRef(self.member_type, self.member_id)


class Grant(Fact, frozen=True, kw_only=True):
    """Who was given what, by whom, from when until when. The window is half-open: [starts_at, expires_at)."""

    KEY: ClassVar[tuple[str, ...]] = ("id",)
    ABOUT: ClassVar[tuple[str, str | None]] = ("entity_id", "grantee_id")
    SUBJECT_TYPE: ClassVar[str] = "grant"
    id: str
    entity_type: str
    entity_id: str
    grantee_type: str
    grantee_id: str
    access_level: str
    starts_at: Instant | None = None
    expires_at: Instant | None = None
    reason: str | None = None
    granted_by: str
    created_at: Instant
    updated_at: Instant

    def __post_init__(self) -> None:
        if self.grantee_type not in GRANTEE_TYPES:
            raise ValidationFailed("grantee_type", f"grantee_type must be one of {', '.join(GRANTEE_TYPES)}")
        if (self.grantee_type == EVERYONE.type) != (self.grantee_id == EVERYONE.id):
            raise ValidationFailed("grantee_id", "grantee_id must be '*' exactly when the grantee type is 'all'")
        if self.starts_at is not None and self.expires_at is not None and self.starts_at >= self.expires_at:
            raise ValidationFailed("expires_at", "expires_at must be later than starts_at")

    @property
    def subject_type(self) -> str:
        return "rule_grant" if self.entity_type == "rule" else "knowledge_grant"

    @property
    def entity(self) -> EntityRef:
        return EntityRef(self.entity_type, self.entity_id)

    @property
    def grantee(self) -> Principal:
        return Principal(self.grantee_type, self.grantee_id)

    def is_in_force(self, at: Instant) -> bool:
        """Whether `at` lies in [starts_at, expires_at)."""
        return (self.starts_at is None or self.starts_at <= at) and not self.is_expired(at)

    def is_expired(self, at: Instant) -> bool:
        return self.expires_at is not None and self.expires_at <= at


class ApiKey(Fact, frozen=True, kw_only=True):
    """A key of one organization that acts as `user_id`. Only a digest of the secret is ever kept.

    `scopes` only narrow: None is everything the user may do, an empty tuple is nothing. A key that is rotated gets
    another id; `line_id` is that of the first key in its line, None for the first itself.
    """

    KEY: ClassVar[tuple[str, ...]] = ("id",)
    ABOUT: ClassVar[tuple[str, str | None]] = ("id", "user_id")
    SUBJECT_TYPE: ClassVar[str] = "api_key"
    id: str
    digest: str
    key_prefix: str
    name: str
    user_id: str
    scopes: tuple[str, ...] | None = None
    is_active: bool = True
    is_paused: bool = False
    line_id: str | None = None
    attributes: Mapping[str, Any] = msgspec.field(default_factory=dict)
    created_by: str
    created_at: Instant
    expires_at: Instant | None = None

    @property
    def line(self) -> str:
        """What all keys of a line of rotations have in common."""
        return self.line_id or self.id


FACT_KINDS: Final[tuple[type[Fact], ...]] = (
    Organization,
    Member,
    Department,
    DepartmentMember,
    Role,
    RoleAssignment,
    Entity,
    AccessTarget,
    Containment,
    Grant,
    ApiKey,
)


def revised(fact: F, **values: Any) -> F:
    """The fact with other values in these fields. Raises ValidationFailed as a new one would."""
    return msgspec.structs.replace(fact, **values)


def key_of(fact: Fact) -> tuple[str, ...]:
    """The values of the fact's `KEY` fields."""
    return tuple([getattr(fact, name) for name in fact.KEY])


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts of one organization, indexed for `resolution`. It may hold only those that a question needs."""

    organization_id: str
    members: Mapping[str, Member]
    departments: Mapping[str, Department]
    roles: Mapping[str, Role]
    departments_of: Mapping[str, tuple[str, ...]]
    roles_of: Mapping[str, tuple[str, ...]]
    entities: Mapping[EntityRef, Entity]
    containers_of: Mapping[EntityRef, tuple[EntityRef, ...]]
    targets_of: Mapping[EntityRef, tuple[Principal, ...]]
    grants_on: Mapping[EntityRef, tuple[Grant, ...]]
    is_deleted: bool = False

    @classmethod
    def of(cls, organization_id: str, facts: Iterable[Fact]) -> Self:
        """Index live facts of one organization, given in any order."""
        members: dict[str, Member] = {}
        departments: dict[str, Department] = {}
        roles: dict[str, Role] = {}
        entities: dict[EntityRef, Entity] = {}
        departments_of: defaultdict[str, list[str]] = defaultdict(list)
        roles_of: defaultdict[str, list[str]] = defaultdict(list)
        containers_of: defaultdict[EntityRef, list[EntityRef]] = defaultdict(list)
        targets_of: defaultdict[EntityRef, list[Principal]] = defaultdict(list)
        grants_on: defaultdict[EntityRef, list[Grant]] = defaultdict(list)
        is_deleted = False
        for fact in facts:
            match fact:
                case Grant():
                    grants_on[fact.entity].append(fact)
                case Entity():
                    entities[fact.ref] = fact
                case Containment():
                    containers_of[fact.member].append(fact.container)
                case AccessTarget():
                    targets_of[fact.entity].append(fact.target)
                case Member():
                    members[fact.user_id] = fact
                case DepartmentMember():
                    departments_of[fact.user_id].append(fact.department_id)
                case RoleAssignment():
                    roles_of[fact.user_id].append(fact.role_id)
                case Department():
                    departments[fact.id] = fact
                case Role():
                    roles[fact.id] = fact
                case Organization():
                    is_deleted = fact.is_deleted
                case ApiKey():
                    pass
        return cls(
            organization_id=organization_id,
            members=members,
            departments=departments,
            roles=roles,
            entities=entities,
            departments_of=_frozen(departments_of),
            roles_of=_frozen(roles_of),
            containers_of=_frozen(containers_of),
            targets_of=_frozen(targets_of),
            grants_on=_frozen(grants_on),
            is_deleted=is_deleted,
        )


def _frozen(lists: Mapping[K, list[V]]) -> dict[K, tuple[V, ...]]:
    return {key: tuple(values) for key, values in lists.items()}
