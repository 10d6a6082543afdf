"""A real server: its own processes, a database, a socket. And short ways to fill an organization on it.

The tests write the organizations, people and keys through the same use-cases as the server, on the same file.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, Self

import httpx

from grantbook.bootstrap import open_desk
from grantbook.model.facts import ApiKey, EntityRef, Grant, Principal, revised
from grantbook.model.governance import ADMIN
from grantbook.model.instants import Instant
from grantbook.service import departments, entities, grants, keys, members, organizations, roles, rule_permissions
from grantbook.service.desk import SYSTEM, Desk
from grantbook.service.rule_permissions import Permission
from tests import postgres
from tests.statements import CrossesOrganizations

HOST: Final = "127.0.0.1"
_PATIENCE_S: Final = 30


def environment() -> dict[str, str]:
    """Of a server under test: without the developer's settings, and its statements are looked at."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GRANTBOOK_")}
    here = Path(__file__).parent
    path = [str(here / "inspected"), str(here.parent), *filter(None, [own.get("PYTHONPATH")])]
    return own | {"PYTHONPATH": os.pathsep.join(path)}


class Server:
    """Server processes on one database, by default a new one. `desk` is the tests' own way to the same book.

    The processes may reach it `through` another address.
    """

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 1,
        database: str | None = None,
        through: str | None = None,
        **options: str,
    ) -> None:
        self._made: str | None = None
        if database is None and postgres.IS_MEANT:
            database = self._made = postgres.make_database()
        self.database = database or f"sqlite:///{directory / 'book.db'}"
        self._options = {"staleness_ms": "0"} | options if postgres.IS_MEANT else options  # the tests' desk writes too
        directory.mkdir(exist_ok=True)
        self.desk = open_desk(self.database)
        self.log = directory / "server.log"
        self._served = through or self.database
        self._directory = directory
        self._workers = workers
        self.start()

    def start(self) -> None:
        """Start, also again after a stop or a kill, and wait until the database answers over HTTP."""
        for _ in range(3):  # somebody else may take the free port before the server does
            self.port = postgres.free_port()
            self.url = f"http://{HOST}:{self.port}"
            options = {"--database": self._served, "--port": str(self.port), "--workers": str(self._workers)}
            options |= {f"--{name.replace('_', '-')}": value for name, value in self._options.items()}
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "grantbook", "serve", *(word for pair in options.items() for word in pair)],
                    cwd=self._directory,  # where no settings file of the developer's is
                    env=environment(),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            if self._is_ready():
                return
        raise AssertionError(f"the server did not start:\n{self.log.read_text()}")

    def ask_to_stop(self) -> None:
        """SIGTERM, as an init system sends it."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """SIGTERM, and the exit status once the process is gone. A server that hangs is an error."""
        if self.process.poll() is None:
            self.ask_to_stop()
        try:
            return self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not stop:\n{self.log.read_text()}") from None

    def kill(self) -> None:
        """SIGKILL for every process of the server: nothing is flushed, closed or said."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_PATIENCE_S)

    def client(self, secret: str | None = None, **options: Any) -> httpx.Client:
        """A client that sends the key; the caller closes it."""
        headers = {} if secret is None else {"X-API-Key": secret}
        return httpx.Client(base_url=self.url, headers=headers, timeout=_PATIENCE_S, verify=False, **options)

    def listens(self) -> bool:
        """Whether somebody accepts connections on the port."""
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    def close(self) -> None:
        self.stop()
        self.desk.close()
        if self._made is not None:
            postgres.drop_database(self._made)
        assert CrossesOrganizations.__name__ not in self.log.read_text(errors="replace")

    def _is_ready(self) -> bool:
        until = monotonic() + _PATIENCE_S
        with self.client() as client:
            while monotonic() < until and self.process.poll() is None:
                if self.listens() and client.get("/readyz").status_code == 200:
                    return True
                sleep(0.02)
        if self.process.poll() is None:
            self.kill()
        return False


@contextmanager
def serving(directory: Path, *, workers: int = 1) -> Iterator[Server]:
    """A server for the block; stopped with SIGTERM after it."""
    server = Server(directory, workers=workers)
    try:
        yield server
    finally:
        server.close()


@dataclass(frozen=True)
class Person:
    """A member, and the secret of a key that speaks for them."""

    user_id: str
    secret: str


@dataclass(frozen=True)
class Tenant:
    """An organization and its owner. `tag` is in every id made here, so that no two tenants share one."""

    desk: Desk
    organization_id: str
    owner: Person
    tag: str
    _made: list[str] = field(default_factory=list)

    @classmethod
    def found(cls, desk: Desk, organization_id: str | None = None, owner_id: str | None = None) -> Self:
        """A new organization."""
        tag = secrets.token_hex(6)
        id_ = organization_id or f"org_{tag}"
        with desk.writing(id_, SYSTEM) as writing:
            owner = organizations.found(
                writing,
                name=f"Acme {tag}",
                owner_email=f"ada@{tag}.test",
                owner_name="Ada",
                owner_id=owner_id or f"usr_{tag}-ada",
            )
            _, secret = keys.create(writing, user_id=owner.user_id, name="initial")
        return cls(desk=desk, organization_id=id_, owner=Person(owner.user_id, secret), tag=tag)

    @property
    def path(self) -> str:
        """The beginning of the organization's addresses."""
        return f"/v1/organizations/{self.organization_id}"

    @property
    def revision(self) -> int:
        return self.desk.store.head(self.organization_id).revision

    def new_id(self, prefix: str) -> str:
        """An id that nobody has yet."""
        self._made.append(prefix)
        return f"{prefix}{self.tag}-{len(self._made)}"

    def user(self, *role_ids: str, user_id: str | None = None, is_active: bool = True) -> str:
        """A new member, by default an active one without capabilities."""
        id_ = user_id or self.new_id("usr_")
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            members.invite(writing, email=f"{id_}@{self.tag}.test", role_ids=role_ids, is_active=is_active, user_id=id_)
        return id_

    def person(self, *role_ids: str, user_id: str | None = None) -> Person:
        """A new active member with a key."""
        id_ = self.user(*role_ids, user_id=user_id)
        return Person(id_, self.key(id_))

    def set_state(self, user_id: str, state: str) -> None:
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            members.set_state(writing, user_id, state)

    def remove(self, user_id: str) -> None:
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            members.remove(writing, user_id)

    def key(
        self, user_id: str, *, scopes: tuple[str, ...] | None = None, expires_at: Instant | None = None, **changed: Any
    ) -> str:
        """The secret of a new key; `changed` fields are set on it afterwards."""
        key, secret = self.api_key(user_id, scopes=scopes, expires_at=expires_at)
        if changed:
            self.change_key(key, **changed)
        return secret

    def api_key(
        self, user_id: str, *, scopes: tuple[str, ...] | None = None, expires_at: Instant | None = None
    ) -> tuple[ApiKey, str]:
        """A new key and its secret."""
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            return keys.create(writing, user_id=user_id, name="test", scopes=scopes, expires_at=expires_at)

    def change_key(self, key: ApiKey, **changed: Any) -> None:
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            writing.book.replace(key, revised(key, **changed), "updated")

    def department(self, parent_id: str | None = None, *user_ids: str) -> str:
        id_ = self.new_id("dept_")
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            departments.create(writing, name=id_, parent_id=parent_id, department_id=id_)
            for user_id in user_ids:
                members.join_department(writing, id_, user_id)
        return id_

    def role(self, *capabilities: str, to: str | None = None) -> str:
        """A custom role, perhaps assigned to somebody."""
        id_ = self.new_id("role_")
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            roles.create(writing, name=id_, capabilities=capabilities, role_id=id_)
            if to is not None:
                members.assign_role(writing, id_, to)
        return id_

    def base_role(self, name: str = ADMIN) -> str:
        with self.desk.reading(self.organization_id, SYSTEM) as reading:
            return next(role.id for role, _ in roles.list_roles(reading) if role.is_base and role.name == name)

    def entity(
        self,
        entity_type: str = "knowledge_slice",
        *,
        entity_id: str | None = None,
        owner_id: str | None = None,
        mode: str | None = None,
        containers: tuple[EntityRef, ...] = (),
        **attributes: Any,
    ) -> EntityRef:
        """A new entity; by default it is private and belongs to the organization's owner."""
        prefix = self.desk.vocabulary.entity_type(entity_type).id_prefix
        ref = EntityRef(entity_type, entity_id or self.new_id(prefix))
        draft = entities.Draft(
            ref=ref,
            name=f"The {ref.id}",
            owner=Principal("user", owner_id or self.owner.user_id),
            access_mode=mode or "private",
            attributes=attributes,
            containers=containers,
        )
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            entities.create(writing, draft, "manage_access_control")
        return ref

    def grant(self, ref: EntityRef, level: str, *to: str, grantee_type: str = "user", **window: Any) -> list[Grant]:
        """Grants on an entity, all in one revision."""
        new = [grants.NewGrant(grantee=Principal(grantee_type, id_), access_level=level, **window) for id_ in to]
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            return grants.create_bulk(writing, ref, new)

    def permit(self, rule: EntityRef, level: str, target_type: str, target_id: str) -> None:
        """A grant on a rule."""
        wanted = Permission(target=Principal(target_type, target_id), access_level=level)
        with self.desk.writing(self.organization_id, SYSTEM) as writing:
            rule_permissions.grant_permission(writing, rule.id, wanted)

    def grants(self, **where: str) -> list[Grant]:
        """Live grants, as the book has them."""
        with self.desk.reading(self.organization_id, SYSTEM) as reading:
            return reading.snapshot.select(Grant, where)
