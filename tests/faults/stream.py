"""Clients that write without a pause, and remember what was promised to them."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from threading import Condition, Event
from typing import Any, Final

import httpx

from grantbook.model.facts import EntityRef
from tests.serving import Server, Tenant

BULK: Final = 20
_PATIENCE_S: Final = 60


@dataclass(frozen=True)
class Attempt:
    """One request of the stream: a single grant or a bulk, on an entity of its own."""

    key: str
    entity: EntityRef
    grantees: tuple[str, ...]
    is_bulk: bool

    @property
    def body(self) -> dict[str, Any]:
        entries = [{"grantee_type": "user", "grantee_id": id_, "access_level": "read"} for id_ in self.grantees]
        entity = {"entity_type": self.entity.type, "entity_id": self.entity.id}
        return {**entity, "grants": entries} if self.is_bulk else {**entity, **entries[0]}

    def send(self, client: httpx.Client, tenant: Tenant) -> httpx.Response:
        address = f"{tenant.path}/access/grants" + ("/bulk" if self.is_bulk else "")
        return client.post(address, json=self.body, headers={"Idempotency-Key": self.key})

    def granted(self, tenant: Tenant) -> set[str]:
        """Ids of the grantees that the book has a grant for."""
        return {
            grant.grantee_id for grant in tenant.grants(entity_id=self.entity.id) if grant.grantee_id in self.grantees
        }


@dataclass
class Stream:
    """What several clients sent, and what was answered."""

    tenant: Tenant
    attempts: list[Attempt] = field(default_factory=list)
    answers: dict[str, httpx.Response] = field(default_factory=dict)
    failures: list[httpx.TransportError] = field(default_factory=list)
    _broke: bool = False
    _stopping: Event = field(default_factory=Event)
    _answered: Condition = field(default_factory=Condition)

    def acknowledged(self) -> list[Attempt]:
        """Those that were answered with success."""
        return [each for each in self.attempts if each.key in self.answers and self.answers[each.key].is_success]

    def unanswered(self) -> list[Attempt]:
        return [each for each in self.attempts if each.key not in self.answers]

    def wait_for(self, count: int) -> None:
        """Until so many requests have been answered."""
        with self._answered:
            assert self._answered.wait_for(lambda: self._broke or len(self.answers) >= count, _PATIENCE_S)
            assert not self._broke, f"a client broke off: {self.failures}"

    def wait_for_those(self, attempts: list[Attempt]) -> None:
        """Until they have been answered."""
        with self._answered:
            assert self._answered.wait_for(
                lambda: self._broke or all(each.key in self.answers for each in attempts), _PATIENCE_S
            )
            assert not self._broke, f"a client broke off: {self.failures}"

    def run(self, server: Server, users: tuple[str, ...], entities: list[EntityRef]) -> None:
        """Write until the stream ends, the server is gone or all is written."""
        try:
            self._write(server, users, entities)
        except BaseException:
            self._break_off()
            raise

    def _break_off(self) -> None:
        with self._answered:
            self._broke = True
            self._answered.notify_all()

    def _write(self, server: Server, users: tuple[str, ...], entities: list[EntityRef]) -> None:
        with server.client(self.tenant.owner.secret) as client:
            for attempt in _attempts(users, entities):
                if self._stopping.is_set():
                    return
                self.attempts.append(attempt)
                try:
                    answer = attempt.send(client, self.tenant)
                except httpx.TransportError as error:
                    self.failures.append(error)
                    self._break_off()
                    return
                with self._answered:
                    self.answers[attempt.key] = answer
                    self._answered.notify_all()

    def stop(self) -> None:
        self._stopping.set()


@contextmanager
def writing(server: Server, tenant: Tenant, clients: int = 4) -> Iterator[Stream]:
    """Several clients write during the block; after it they have stopped."""
    stream = Stream(tenant)
    users = tuple(tenant.user() for _ in range(BULK))
    with ThreadPoolExecutor(clients) as pool:
        running: list[Future[None]] = []
        for _ in range(clients):
            entities = [tenant.entity() for _ in range(12)]
            running.append(pool.submit(stream.run, server, users, entities))
        try:
            yield stream
        finally:
            stream.stop()
    for each in running:
        each.result()


def _attempts(users: tuple[str, ...], entities: list[EntityRef]) -> Iterator[Attempt]:
    """Bulks to everybody on every other entity, and single grants, one user after the other, on the rest."""
    for bulk_on, single_on in zip(entities[::2], entities[1::2], strict=True):
        yield Attempt(token_hex(16), bulk_on, users, is_bulk=True)
        for user in users:
            yield Attempt(token_hex(16), single_on, (user,), is_bulk=False)
