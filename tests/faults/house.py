"""A server behind a proxy on a PostgreSQL that may be killed, and whether anything of it leaked."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from secrets import token_hex
from time import monotonic, sleep
from typing import Any, Final

import httpx
import psutil
import psycopg

from grantbook.engine.facts_cache import MAX_APART
from grantbook.model.facts import EntityRef
from tests import postgres
from tests.faults.proxy import Kind, Proxy
from tests.serving import Server, Tenant

CONNECTIONS: Final = 10
"""Of the server; half as many threads."""
PATIENCE_S: Final = 60
_WRITERS: Final = 8
"""Threads that do nothing but single grants, each for another organization."""
_PRESENTS: Final = 1 + MAX_APART
"""Connections beside those, to load what is held in memory."""


@dataclass
class House:
    """PostgreSQL, a server behind a proxy, and an organization."""

    database: postgres.PostgresServer
    url: str
    proxy: Proxy
    server: Server
    tenant: Tenant
    crowd: list[tuple[Tenant, dict[str, Any]]] = field(default_factory=list)
    """Other organizations, as many as it has connections for, with a grant on something of theirs."""
    most_threads: int = 0
    most_files: int = 0

    @contextmanager
    def client(self, secret: str | None = None) -> Iterator[httpx.Client]:
        with self.server.client(secret or self.tenant.owner.secret) as client:
            yield client

    def kill_database(self) -> None:
        """SIGKILL for the postmaster and every process of it, as when the machine stops."""
        postmaster = psutil.Process(self.database.process_id)
        everyone = [*postmaster.children(recursive=True), postmaster]
        postmaster.suspend()  # it makes no more of them meanwhile
        for each in everyone:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(everyone, PATIENCE_S)

    def connections(self) -> Counter[Kind]:
        """Those that the server has not closed, also where the other side did long ago: only its own sockets tell."""
        sockets = psutil.Process(self.server.process.pid).net_connections("tcp")
        ports = [each.laddr.port for each in sockets if each.raddr and each.raddr.port == self.proxy.port]
        return Counter(Kind.FEED if port in self.proxy.feeds else Kind.QUERIES for port in ports)

    def threads(self) -> int:
        return psutil.Process(self.server.process.pid).num_threads()

    def files(self) -> int:
        return psutil.Process(self.server.process.pid).num_fds()

    def has_waiting(self, count: int) -> bool:
        """Whether so many connections wait for a lock."""
        with postgres.administration(self.url) as connection:
            query = "SELECT count(*) >= %s FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
            return connection.execute(query, (count, connection.info.dbname)).fetchone() == (True,)


def is_full(house: House) -> bool:
    """Whether the server has every connection that it may have, and no more: it is given a reason to open each.

    With fewer, one that leaked could pass for one of those.
    """
    crowd_in(house)
    return house.connections() == {Kind.FEED: 1, Kind.QUERIES: CONNECTIONS + _PRESENTS}


def crowd_in(house: House) -> None:
    """As many writers, and then as many who have facts loaded, as there are connections for, all at the same time."""
    single, bulk, asked = [], [], []
    for tenant, grant in house.crowd:
        place = {name: grant[name] for name in ("entity_type", "entity_id")}
        entry = {name: grant[name] for name in grant if name not in place}
        question = {"user_id": tenant.owner.user_id, **place, "entity_id": f"vs_{token_hex(8)}"}
        single.append(Request(tenant, "access/grants", grant))
        bulk.append(Request(tenant, "access/grants/bulk", {**place, "grants": [entry]}))
        asked.append(Request(tenant, "access/check", {**question, "access_level": "read", "consistency": "full"}))
    hold_up(house, "SELECT 1 FROM heads FOR UPDATE", (single, _WRITERS), (bulk[: CONNECTIONS // 2], CONNECTIONS))
    hold_up(house, "LOCK TABLE entities, grants", (asked[: CONNECTIONS // 2], MAX_APART))


@dataclass(frozen=True)
class Request:
    """Of an owner."""

    tenant: Tenant
    path: str
    body: dict[str, Any]

    def is_answered(self, client: httpx.Client) -> bool:
        """Send it; whether the database was there for it."""
        headers = {"X-API-Key": self.tenant.owner.secret}
        return client.post(f"{self.tenant.path}/{self.path}", json=self.body, headers=headers).status_code != 503


def hold_up(house: House, lock: str, *steps: tuple[list[Request], int]) -> None:
    """Hold a lock, and send requests step by step, until after each so many wait for it at once."""
    most = sum(len(requests) for requests, _ in steps)
    with house.client() as client, ThreadPoolExecutor(most) as pool, psycopg.connect(house.url) as holder:
        holder.execute(lock.encode())
        sent: list[Future[None]] = []
        for requests, count in steps:
            for each in requests:
                sent.append(pool.submit(until, partial(each.is_answered, client)))
            until(partial(house.has_waiting, count), "the server has fewer connections than it may have")
        holder.rollback()
        for answered in sent:
            answered.result()


def until(holds: Callable[[], bool], why: str = "it never came") -> None:
    end = monotonic() + PATIENCE_S
    while not holds():
        assert monotonic() < end, why
        sleep(0.02)


def in_parallel(client: httpx.Client, count: int, path: str = "/readyz") -> Counter[int]:
    """The statuses of so many requests at once."""
    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(lambda _: client.get(path).status_code, range(count)))


def grant_on(entity: EntityRef, user_id: str) -> dict[str, Any]:
    place = {"entity_type": entity.type, "entity_id": entity.id}
    return {**place, "grantee_type": "user", "grantee_id": user_id, "access_level": "read"}
