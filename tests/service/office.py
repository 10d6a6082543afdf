"""A small organization to act in, as any of its people."""

from collections.abc import Callable
from random import Random
from typing import Concatenate, Final, ParamSpec, TypeVar

from grantbook.model.facts import Department, Entity, EntityRef, Grant, Principal, Role
from grantbook.model.instants import Instant
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import decisions, departments, entities, grants, members, organizations, roles
from grantbook.service.decisions import Check
from grantbook.service.desk import SYSTEM, Caller, Desk, Reading, Writing
from grantbook.service.grants import NewGrant
from grantbook.store.port import Change, Store
from tests.worlds import ORGANIZATION, FakeClock, user

P = ParamSpec("P")
R = TypeVar("R")

OWNER, ADMIN, PLAIN, OTHER, STRANGER = "usr_owner", "usr_admin", "usr_plain", "usr_other", "usr_stranger"
NOTES, TEAM = EntityRef("vector_store", "vs_notes"), EntityRef("knowledge_slice", "kslice_team")
BOT, RULE = EntityRef("assistant", "asst_bot"), EntityRef("rule", "rule_1")
TOP, LOW = Principal("department", "dept_top"), Principal("department", "dept_low")
EDITOR = Principal("role", "role_editor")
MEMBERS = Principal("organization", ORGANIZATION)


class Office:
    """People: an owner, an admin, two plain members. usr_plain is in dept_low, below dept_top; usr_other has the role
    role_editor, without capabilities. All entities belong to the owner and are private."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store: Final = store
        self.clock: Final = clock
        self.desk: Final = Desk(store, BUILT_IN, clock, Random(1).randbytes)
        self.do(SYSTEM, organizations.found, name="Office", owner_email="owner@example.org", owner_id=OWNER)
        self.do(SYSTEM, departments.create, name="Top", department_id=TOP.id)
        self.do(SYSTEM, departments.create, name="Low", parent_id=TOP.id, department_id=LOW.id)
        self.do(SYSTEM, roles.create, name="Editor", role_id=EDITOR.id)
        self.invite(ADMIN, roles=[self.base_role("Admin")])
        self.invite(PLAIN, departments=[LOW.id])
        self.invite(OTHER, roles=[EDITOR.id])
        for ref in (NOTES, TEAM, BOT, RULE):
            self.register(ref)

    def do(
        self,
        who: str | Caller,
        use_case: Callable[Concatenate[Writing, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Change something as a person, in one transaction."""
        with self.desk.writing(ORGANIZATION, _caller(who)) as writing:
            return use_case(writing, *args, **kwargs)

    def ask(
        self,
        who: str | Caller,
        use_case: Callable[Concatenate[Reading, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Ask something as a person."""
        with self.desk.reading(ORGANIZATION, _caller(who)) as reading:
            return use_case(reading, *args, **kwargs)

    def invite(
        self, user_id: str, *, roles: list[str] | None = None, departments: list[str] | None = None, active: bool = True
    ) -> None:
        self.do(
            SYSTEM,
            members.invite,
            email=f"{user_id}@example.org",
            user_id=user_id,
            role_ids=roles or [],
            department_ids=departments or [],
            is_active=active,
        )

    def register(
        self, ref: EntityRef, *, owner: Principal | None = None, containers: list[EntityRef] | None = None
    ) -> None:
        draft = entities.Draft(
            ref=ref, name=ref.id, owner=owner or user(OWNER), access_mode="private", containers=containers or []
        )
        self.do(SYSTEM, entities.register, draft)

    def give(self, ref: EntityRef, grantee: Principal, level: str, expires_at: Instant | None = None) -> Grant:
        return self.do(
            SYSTEM, grants.create, ref, NewGrant(grantee=grantee, access_level=level, expires_at=expires_at)
        )[0]

    def level(self, user_id: str, ref: EntityRef) -> str | None:
        lowest = BUILT_IN.entity_type(ref.type).lowest_level
        question = Check(user_id=user_id, entity=ref, access_level=lowest)
        return self.ask(SYSTEM, decisions.check, question).access_level

    def base_role(self, name: str) -> str:
        with self.store.snapshot(ORGANIZATION) as snapshot:
            (role,) = snapshot.select(Role, {"name": name, "is_base": True})
        return role.id

    def grants(self) -> list[Grant]:
        with self.store.snapshot(ORGANIZATION) as snapshot:
            return snapshot.page(Grant, skip=0, limit=100)

    def entity(self, ref: EntityRef) -> Entity | None:
        with self.store.snapshot(ORGANIZATION) as snapshot:
            return snapshot.find(Entity, *ref)

    def department(self, department_id: str) -> Department | None:
        with self.store.snapshot(ORGANIZATION) as snapshot:
            return snapshot.find(Department, department_id)

    @property
    def revision(self) -> int:
        return self.store.head(ORGANIZATION).revision

    def changes(self, after: int) -> list[Change]:
        return list(self.store.changes(ORGANIZATION, after=after))


def _caller(who: str | Caller) -> Caller:
    return Caller(user_id=who) if isinstance(who, str) else who
