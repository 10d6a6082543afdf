"""How long a revoke through one server goes unseen by another on the same PostgreSQL, if nobody sends its token."""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final

from tests import postgres
from tests.serving import Server, Tenant

from benchmarks.measuring import percentile
from benchmarks.report import Table
from grantbook.model.facts import EntityRef

_ROUNDS: Final = 300
_WRITERS: Final = 4
_OWN_LIMIT_S: Final = 30
_NOTE: Final = (
    "From the acknowledged revoke to the answer that denies. The other server is asked again and again, so no less "
    "than one question can be seen. Staleness 1 s."
)


def run(directory: str | None) -> list[Table]:
    """On a PostgreSQL of the tests' wheel, or the one that GRANTBOOK_TEST_POSTGRES_URL names."""
    table = Table(
        "Feed: the lag without a token, ms", ("load", "revokes", "p50", "p99", "longest", "one question"), _NOTE
    )
    postgres.begin_session()
    try:
        with ExitStack() as stack:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-", dir=directory)))
            url = postgres.make_database()
            stack.callback(postgres.drop_database, url)
            servers = [Server(place / name, database=url, staleness_ms="1000") for name in "ab"]
            for server in servers:
                stack.callback(server.close)
            table.add("none", *_lag(servers))
            with _writing(servers):
                table.add(f"{_WRITERS} clients write", *_lag(servers))
    finally:
        postgres.end_session()
    return [table]


def _lag(servers: list[Server]) -> tuple[float, ...]:
    tenant = Tenant.found(servers[0].desk)
    entity, user = tenant.entity(), tenant.user()
    grants, check = f"{tenant.path}/access/grants", f"{tenant.path}/access/check"
    question = {"user_id": user, **_place(entity), "access_level": "read"}
    lags: list[float] = []
    asked: list[float] = []
    with servers[0].client(tenant.owner.secret) as one, servers[1].client(tenant.owner.secret) as other:
        for _ in range(_ROUNDS):
            made = one.post(grants, json=_grant(entity, user))
            token = {"Grantbook-At-Least": made.headers["Grantbook-Revision"]}
            _require(other.post(check, json=question, headers=token).json()["allowed"] is True)
            _require(one.delete(f"{grants}/{made.json()['id']}").is_success)
            revoked = time.perf_counter()
            is_allowed = True
            while is_allowed:
                begin = time.perf_counter()
                _require(begin - revoked < _OWN_LIMIT_S)
                is_allowed = other.post(check, json=question).json()["allowed"]
                asked.append((time.perf_counter() - begin) * 1e3)
            lags.append((time.perf_counter() - revoked) * 1e3)
    return len(lags), percentile(lags, 50), percentile(lags, 99), max(lags), percentile(asked, 50)


@contextmanager
def _writing(servers: list[Server]) -> Iterator[None]:
    """Clients that write to an organization each, half of them through either server."""
    ends = Event()

    def write(number: int) -> None:
        server = servers[number % len(servers)]
        tenant = Tenant.found(server.desk)
        entity = tenant.entity()
        with server.client(tenant.owner.secret) as client:
            while not ends.is_set():
                made = client.post(f"{tenant.path}/access/grants", json=_grant(entity, tenant.owner.user_id)).json()
                _require(client.delete(f"{tenant.path}/access/grants/{made['id']}").is_success)

    with ThreadPoolExecutor(_WRITERS) as pool:
        running = [pool.submit(write, number) for number in range(_WRITERS)]
        try:
            yield
        finally:
            ends.set()
    for each in running:
        each.result()


def _place(entity: EntityRef) -> dict[str, str]:
    return {"entity_type": entity.type, "entity_id": entity.id}


def _grant(entity: EntityRef, user_id: str) -> dict[str, Any]:
    return {**_place(entity), "grantee_type": "user", "grantee_id": user_id, "access_level": "read"}


def _require(holds: bool) -> None:
    if not holds:
        raise RuntimeError("a server did not answer as it had to")
