"""Two processes on one file: no write is lost or refused for the other's sake, and a revoke counts in both."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from grantbook.store.history import verify
from tests.faults.conftest import Start
from tests.faults.stream import writing
from tests.serving import Server, Tenant


@pytest.fixture
def server(start: Start) -> Server:
    return start(workers=2)


def cpu_of_workers(server: Server) -> dict[int, float]:
    """Seconds of work of each process that serves."""
    children = psutil.Process(server.process.pid).children()
    return {child.pid: sum(child.cpu_times()[:2]) for child in children if "spawn_main" in " ".join(child.cmdline())}


def test_writes_of_two_processes_take_turns(server: Server) -> None:
    tenant = Tenant.found(server.desk)
    before = cpu_of_workers(server)
    with writing(server, tenant, clients=8) as stream:
        stream.wait_for(400)
    assert stream.failures == []
    assert {answer.status_code for answer in stream.answers.values()} == {201}
    for attempt in stream.acknowledged():
        assert attempt.granted(tenant) == set(attempt.grantees)
    revisions = [answer.headers["Grantbook-Revision"] for answer in stream.answers.values()]
    assert len(set(revisions)) == len(revisions)
    verify(server.desk.store, tenant.organization_id)
    after = cpu_of_workers(server)
    assert len(after) == 2
    assert all(after[pid] > before[pid] for pid in after), "one process did all the work"
    assert "database is locked" not in server.log.read_text()


def test_no_process_goes_on_when_the_one_that_started_them_is_killed(server: Server) -> None:
    workers = [psutil.Process(pid) for pid in cpu_of_workers(server)]
    server.process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert (len(gone), alive) == (2, [])
    assert not server.listens()
    assert "Traceback" not in server.log.read_text()


def test_one_idempotency_key_is_used_once_by_both(server: Server) -> None:
    tenant = Tenant.found(server.desk)
    body = {"email": "kim@example.org", "send_invitation": False}

    def invite(_: int) -> httpx.Response:
        with server.client(tenant.owner.secret) as client:
            return client.post(f"{tenant.path}/users/invite/v2", json=body, headers={"Idempotency-Key": "once"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(invite, range(24)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}


def test_a_revoke_counts_in_every_process_once_it_is_acknowledged(server: Server) -> None:
    tenant = Tenant.found(server.desk)
    entity, user = tenant.entity(), tenant.user()
    ref = {"entity_type": entity.type, "entity_id": entity.id}
    grant = {**ref, "grantee_type": "user", "grantee_id": user, "access_level": "read"}
    question = {**ref, "user_id": user, "access_level": "read"}

    def is_allowed(_: int) -> bool:
        with server.client(tenant.owner.secret) as client:  # a new connection: either process may answer
            allowed: bool = client.post(f"{tenant.path}/access/check", json=question).json()["allowed"]
            return allowed

    with server.client(tenant.owner.secret) as client, ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            made = client.post(f"{tenant.path}/access/grants", json=grant).json()
            assert set(pool.map(is_allowed, range(8))) == {True}
            client.delete(f"{tenant.path}/access/grants/{made['id']}")
            assert set(pool.map(is_allowed, range(8))) == {False}


def test_a_key_is_dead_in_every_process_once_its_end_is_acknowledged(server: Server) -> None:
    tenant = Tenant.found(server.desk)
    entity, user = tenant.entity(), tenant.user()
    question = {"entity_type": entity.type, "entity_id": entity.id, "user_id": user, "access_level": "read"}

    def status(secret: str) -> int:
        with server.client(secret) as client:  # a new connection: either process may answer
            return client.post(f"{tenant.path}/access/check", json=question).status_code

    with server.client(tenant.owner.secret) as client, ThreadPoolExecutor(4) as pool:
        for ending in ("pause", "deactivate", "rotate"):
            made = client.post(f"{tenant.path}/api-keys", json={"key_name": "short-lived", "scopes": ["check"]}).json()
            secret = made["key"]
            assert set(pool.map(status, [secret] * 8)) == {200}
            ended = client.post(f"{tenant.path}/api-keys/{made['id']}/{ending}")
            assert ended.is_success, ended.text
            assert set(pool.map(status, [secret] * 8)) == {401}
