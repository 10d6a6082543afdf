"""When PostgreSQL is killed, full, crowded or slow: 503 in the envelope, the truth about each write, and recovery.

The database is killed for real, with every guarantee of its own switched on; a proxy cuts the network where a kill
would hit too seldom.
"""

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep
from typing import Any, Final

import httpx
import psutil
import psycopg
import pytest

from grantbook import Grantbook
from grantbook.model.errors import TransactionAborted
from grantbook.model.facts import Department
from grantbook.service.desk import SYSTEM
from grantbook.store.history import verify
from tests import postgres
from tests.faults.house import (
    CONNECTIONS,
    PATIENCE_S,
    House,
    Request,
    grant_on,
    in_parallel,
    is_full,
    until,
)
from tests.faults.proxy import Cut, Kind, Proxy
from tests.faults.stream import writing
from tests.http.calls import CALLS, Scene
from tests.http.envelope import error_of
from tests.serving import Server, Tenant

MAX_CONNECTIONS: Final = 40
_DURABLE: Final = {"fsync": "on", "full_page_writes": "on", "max_connections": str(MAX_CONNECTIONS)}
SLOW: Final = [("check", 5), ("list", 30), ("write", 30)] if postgres.IS_MEANT else [("check", 5)]
"""What to ask, and how many seconds a statement of it may take."""
_TO_BE_STUCK_S: Final = 0.3
_MORE_THREADS: Final = 1
"""The one that writes down when keys were used, which begins after a minute and stays."""
_MORE_FILES: Final = 2
"""Open for a moment: what a thread waits with for a socket, and a client's connection that is about to end."""
_ABORTS: Final = """
CREATE SEQUENCE tries;
CREATE FUNCTION abort_() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('tries') < 20 THEN
        RAISE EXCEPTION 'for the sake of another' USING ERRCODE = 'deadlock_detected';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER aborts BEFORE INSERT ON departments FOR EACH ROW EXECUTE FUNCTION abort_();
"""
_NO_LARGER_THAN: Final = 16 * 1024 * 1024
"""A file of the write-ahead log, which is made whole before it is written."""


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.PostgresServer]:
    made = postgres.own_server(**_DURABLE)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared(database: postgres.PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        url = postgres.make_database(database.url)
        proxy = stack.enter_context(Proxy(url))
        directory = Path(tmp_path_factory.mktemp("house"))
        server = Server(directory, database=url, through=proxy.url, staleness_ms="500", connections=str(CONNECTIONS))
        stack.callback(server.close)
        house = House(database, url, proxy, server, Tenant.found(server.desk))
        for _ in range(CONNECTIONS):
            tenant = Tenant.found(server.desk)
            house.crowd.append((tenant, grant_on(tenant.entity(), tenant.user())))
        with house.client() as client:  # they are known from now on
            assert all(Request(tenant, "access/grants", grant).is_answered(client) for tenant, grant in house.crowd)
        until(lambda: is_full(house), "the server has not as many connections as it may have")
        house.most_threads, house.most_files = house.threads() + _MORE_THREADS, house.files() + _MORE_FILES
        yield house


@pytest.fixture
def house(shared: House) -> Iterator[House]:
    """After the test the server is as it was: nothing leaked, and nothing had to be started again but the database."""
    process = shared.server.process.pid
    try:
        yield shared
    finally:
        shared.proxy.heal()
        if not psutil.pid_exists(shared.database.process_id):
            shared.database.start()
    assert shared.server.process.poll() is None
    assert shared.server.process.pid == process
    until(lambda: is_full(shared), "connections leaked")
    until(lambda: shared.threads() <= shared.most_threads, "threads leaked")
    until(lambda: shared.files() <= shared.most_files, "files leaked")
    assert "Traceback" not in shared.server.log.read_text()


def test_a_server_does_not_start_without_its_database(tmp_path: Path) -> None:
    url = f"postgresql://grantbook@127.0.0.1:{postgres.free_port()}/grants"
    command = [sys.executable, "-m", "grantbook", "serve", "--database", url, "--port", str(postgres.free_port())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode not in {0, -signal.SIGKILL}
    assert "cannot use the database" in done.stderr
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_every_route_answers_503_while_the_database_is_down_and_the_first_request_after_it_succeeds(
    house: House, how: str
) -> None:
    scene = Scene(house.server.desk)
    secret = scene.tenant.owner.secret
    question = CALLS["POST /v1/organizations/{organization_id}/access/check"]
    with house.client(secret) as client:
        client.headers["X-API-Key"] = secret
        assert question.request(scene).send(client).status_code == 200
        assert set(in_parallel(client, CONNECTIONS)) == {200}
        if how == "killed":
            house.kill_database()
        else:
            house.database.stop("fast")
        went_down = monotonic()
        until(lambda: client.get("/readyz").status_code == 503)
        assert client.get("/healthz").status_code == 200
        warm = question.request(scene).send(client)
        assert warm.status_code in {200, 503}
        sleep(max(0.0, went_down + 0.5 - monotonic()))  # the staleness: from here on memory may not answer
        for call in CALLS.values():
            if call.operation != "GET /healthz":
                error_of(call.request(scene).send(client), 503, "STORE_UNAVAILABLE")
        for path in ("entities/import", "access/grants/import"):
            lines = {"Content-Type": "application/x-ndjson"}
            answer = client.post(f"{scene.tenant.path}/{path}", content=b"{}\n", headers=lines)
            error_of(answer, 503, "STORE_UNAVAILABLE")
        house.database.start()
        assert question.request(scene).send(client).status_code == 200
        assert set(in_parallel(client, CONNECTIONS)) == {200}
        assert client.get(f"{scene.tenant.path}/departments").status_code == 200


def test_what_was_acknowledged_survives_the_death_of_the_database(house: House) -> None:
    tenant = house.tenant
    with writing(house.server, tenant) as stream:
        stream.wait_for(30)
        house.kill_database()
        until(lambda: any(each.status_code == 503 for each in stream.answers.values()))
    house.database.start()
    assert stream.failures == []
    told = Counter(answer.status_code for answer in stream.answers.values())
    assert told[201] >= 20
    assert set(told) == {201, 503}
    codes = Counter(each.json()["error"]["code"] for each in stream.answers.values() if each.status_code == 503)
    assert set(codes) <= {"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"}
    with house.client() as client:
        for attempt in stream.attempts:
            answer, done = stream.answers[attempt.key], attempt.granted(tenant)
            if answer.is_success:
                assert done == set(attempt.grantees)
            elif answer.json()["error"]["code"] == "STORE_UNAVAILABLE":
                assert not done
            again = attempt.send(client, tenant)
            assert again.status_code == 201
            assert ("Idempotency-Replayed" in again.headers) == bool(done)
            assert attempt.granted(tenant) == set(attempt.grantees)
    verify(house.server.desk.store, tenant.organization_id)


@pytest.mark.parametrize("and_refuse", [False, True], ids=["and it can be asked", "and it cannot be asked"])
@pytest.mark.parametrize("when", Cut)
def test_a_connection_that_breaks_during_a_commit_is_told_as_it_ended(
    house: House, when: Cut, *, and_refuse: bool
) -> None:
    tenant = house.tenant
    entity, user = tenant.entity(), tenant.user()
    path = f"{tenant.path}/access/grants"
    key = {"Idempotency-Key": token_hex(8)}
    with house.client() as client:
        assert client.get(path).status_code == 200
        house.proxy.cut_next_commit(when, and_refuse=and_refuse)
        if and_refuse:
            house.proxy.cut(Kind.QUERIES)  # the pool has one for the write, and none to ask
        answer = client.post(path, json=grant_on(entity, user), headers=key)
        assert house.proxy.was_cut.wait(PATIENCE_S)
        house.proxy.heal()
        if and_refuse:
            error_of(answer, 503, "OUTCOME_UNKNOWN")
        elif when is Cut.BEFORE_IT_ARRIVES:
            error_of(answer, 503, "STORE_UNAVAILABLE")
            assert tenant.grants(entity_id=entity.id) == []
        else:
            assert answer.status_code == 201
        again = client.post(path, json=grant_on(entity, user), headers=key)
        assert again.status_code == 201
        assert ("Idempotency-Replayed" in again.headers) == (when is Cut.BEFORE_ITS_ANSWER)
    assert [grant.grantee_id for grant in tenant.grants(entity_id=entity.id)] == [user]
    verify(house.server.desk.store, tenant.organization_id)


def test_whenever_the_network_is_cut_each_write_is_told_as_it_ended(house: House) -> None:
    tenant, rolls = house.tenant, random.Random(5)
    with writing(house.server, tenant) as stream:
        for count in range(10, 120, 10):
            stream.wait_for(count)
            sleep(rolls.uniform(0, 0.02))  # somewhere within a transaction
            house.proxy.cut(Kind.QUERIES)
            stream.wait_for_those(stream.unanswered())  # else the next one cuts the question how this one ended
    assert stream.failures == []
    for attempt in stream.attempts:
        answer, done = stream.answers[attempt.key], attempt.granted(tenant)
        if answer.is_success:
            assert done == set(attempt.grantees)
        else:
            error_of(answer, 503, "STORE_UNAVAILABLE")  # the database is there, and was asked
            assert not done
    verify(house.server.desk.store, tenant.organization_id)


def test_a_full_disk_refuses_writes_and_nothing_else(house: House) -> None:
    """No file may grow beyond a bound: to PostgreSQL as good as a disk that is full."""
    tenant = house.tenant
    entity, user = tenant.entity(), tenant.user()
    path, departments = f"{tenant.path}/access/grants", f"{tenant.path}/departments"
    with postgres.administration(house.url) as connection:
        connection.execute(
            "INSERT INTO changes SELECT 'org_filler', n, 0, 0, 'a', NULL, NULL, NULL, 'a', 'Grant', 'k', 'a', 'a', "
            "NULL, repeat(md5(n::text), 20), NULL, 'h' FROM generate_series(1, 30000) n"
        )
    with house.client() as client:

        def is_refused(names: list[str], answers: list[httpx.Response]) -> bool:
            names.append(token_hex(8))
            answers.append(client.post(departments, json={"name": names[-1]}))
            return not answers[-1].is_success

        house.database.bound_files(_NO_LARGER_THAN)
        try:
            names: list[str] = []
            answers: list[httpx.Response] = []
            until(lambda: is_refused(names, answers))
            error_of(answers[-1], 503, "STORE_UNAVAILABLE")
            with tenant.desk.reading(tenant.organization_id, SYSTEM) as reading:
                assert not reading.snapshot.select(Department, {"name": names[-1]})
            assert client.get(departments).status_code == 200
            assert {answer.status_code for answer in answers[:-1]} <= {201}
        finally:
            house.database.bound_files(None)
        assert client.post(path, json=grant_on(entity, user)).status_code == 201
    verify(house.server.desk.store, tenant.organization_id)


def test_too_many_connections_are_503_until_there_are_fewer(house: House) -> None:
    path = f"{house.tenant.path}/departments"
    house.proxy.cut(Kind.QUERIES, Kind.FEED)
    with house.client() as client, ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            for _ in range(MAX_CONNECTIONS):
                stack.enter_context(psycopg.connect(house.database.url))
        error_of(client.get(path), 503, "STORE_UNAVAILABLE")
        assert set(in_parallel(client, 2 * CONNECTIONS, path)) == {503}
        stack.close()
        until(lambda: client.get(path).status_code == 200)
        assert set(in_parallel(client, 2 * CONNECTIONS, path)) == {200}


def test_a_writer_that_waits_too_long_for_its_turn_is_503_and_others_go_on(house: House) -> None:
    slow, other = house.tenant, Tenant.found(house.server.desk)
    entities = slow.entity(), other.entity()
    users = slow.user(), other.user()
    hold = "SELECT 1 FROM heads WHERE organization_id = %s FOR UPDATE"
    with house.client() as client, house.client(other.owner.secret) as others, ThreadPoolExecutor(1) as pool:
        with psycopg.connect(house.url) as holder:
            holder.execute(hold, (slow.organization_id,))
            begin = monotonic()
            waiting = pool.submit(client.post, f"{slow.path}/access/grants", json=grant_on(entities[0], users[0]))
            made = others.post(f"{other.path}/access/grants", json=grant_on(entities[1], users[1]))
            assert made.status_code == 201
            assert not waiting.done()
            with house.client() as reader:
                assert reader.get(f"{slow.path}/access/grants").status_code == 200
            error_of(waiting.result(), 503, "STORE_UNAVAILABLE")
            assert 9 < monotonic() - begin < 25
        assert client.post(f"{slow.path}/access/grants", json=grant_on(entities[0], users[0])).status_code == 201


@contextmanager
def slow_reads(house: House) -> Iterator[None]:
    """Whoever reads grants during the block takes longer than anybody may, without waiting for a lock."""
    is_slow = f"(SELECT pg_sleep({2 * PATIENCE_S}) IS NOT NULL)"
    with postgres.administration(house.url) as connection:
        connection.execute(
            f"ALTER TABLE grants RENAME TO kept; CREATE VIEW grants AS SELECT * FROM kept WHERE {is_slow}".encode()
        )
        try:
            yield
        finally:
            connection.execute("DROP VIEW grants; ALTER TABLE kept RENAME TO grants")


@pytest.mark.parametrize(("request_", "most_s"), SLOW)
def test_a_statement_that_takes_too_long_is_ended_and_503(house: House, request_: str, most_s: int) -> None:
    """By the database itself: a server that only stopped listening would leave it at work."""
    tenant = house.tenant
    grant = grant_on(tenant.entity(), tenant.user())
    question = {**grant, "user_id": grant["grantee_id"], "consistency": "full"}
    del question["grantee_type"], question["grantee_id"]
    ask = {
        "check": ("POST", "check", question),
        "list": ("GET", "grants", None),
        "write": ("POST", "grants", grant),
    }[request_]
    with house.client() as client:
        client.timeout = httpx.Timeout(2 * most_s)  # so that it is not the client who gives up

        def send() -> httpx.Response:
            return client.request(ask[0], f"{tenant.path}/access/{ask[1]}", json=ask[2])

        with slow_reads(house):
            begin = monotonic()
            answer = send()
            assert monotonic() - begin < 2 * most_s
            with postgres.administration(house.url) as connection:
                asleep = "SELECT query FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                assert connection.execute(asleep).fetchall() == []
        error_of(answer, 503, "STORE_UNAVAILABLE")
        assert "Retry-After" in answer.headers
        assert send().is_success


def test_a_network_that_stands_still_is_503_in_the_end(house: House) -> None:
    """It takes what is sent, and forwards nothing: no error comes from below."""
    question = {**grant_on(house.tenant.entity(), house.tenant.owner.user_id)}
    question = {"user_id": question.pop("grantee_id"), **question}
    question.pop("grantee_type")
    path = f"{house.tenant.path}/access/check"
    with house.client() as client:
        assert client.post(path, json=question).status_code == 200
        until(lambda: house.proxy.opened[Kind.FEED] > 0)
        before = house.proxy.opened[Kind.FEED]
        house.proxy.cut(Kind.FEED)  # what it hears from then on counts for half a minute, longer than this takes
        until(lambda: house.proxy.opened[Kind.FEED] > before)
        sleep(_TO_BE_STUCK_S)
        assert client.post(path, json=question).status_code == 200
        house.proxy.stand_still(Kind.QUERIES)
        begin = monotonic()
        with ThreadPoolExecutor(5) as pool:

            def ask(asked: dict[str, str]) -> Future[httpx.Response]:
                return pool.submit(client.post, path, json=asked)

            stuck = ask({**question, "entity_id": "vs_not-held", "consistency": "full"})
            until(lambda: monotonic() - begin > _TO_BE_STUCK_S)
            held = [ask(question) for _ in range(4)]
            first = wait([stuck, *held], return_when=FIRST_COMPLETED).done
            assert stuck not in first  # who asks what is held does not wait for those who load
            assert {answer.result().status_code for answer in first} == {200}
            error_of(stuck.result(), 503, "STORE_UNAVAILABLE")
        assert monotonic() - begin < 30
        house.proxy.heal()
        house.proxy.cut(Kind.QUERIES)
        assert client.post(path, json=question).status_code == 200


def test_a_feed_that_stands_still_is_given_up_for_another_one(house: House) -> None:
    """By the server itself: of a connection that the other side ended, nothing is left that could leak."""
    until(lambda: house.proxy.opened[Kind.FEED] > 0)
    before = house.proxy.opened[Kind.FEED]
    house.proxy.stand_still(Kind.FEED)
    until(lambda: house.proxy.opened[Kind.FEED] >= before + 2)
    house.proxy.heal()
    with house.client() as client:
        assert client.get(f"{house.tenant.path}/departments").status_code == 200


def test_two_that_claim_the_same_names_in_another_order_both_get_an_answer(house: House) -> None:
    """The database ends one of two transactions that wait for each other; its work is done again."""
    tenant = house.tenant
    rules = [f"rule_{tenant.tag}-{token_hex(4)}-{letter}" for letter in "ab"]
    lines = "\n".join(
        json.dumps(
            {
                "entity_type": "rule",
                "entity_id": rule,
                "name": "Be kind",
                "owner_type": "user",
                "owner_id": tenant.owner.user_id,
            }
        )
        for rule in rules
    )
    claim = "INSERT INTO lookups (kind, key, value) VALUES ('entity', %s, 'org_other') ON CONFLICT DO NOTHING"
    with house.client() as client, psycopg.connect(house.url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET deadlock_timeout = '60s'")  # it is the server's that is ended
        other.execute(claim, (f"rule/{rules[1]}",))
        before = deadlocks(house)
        sent = pool.submit(
            client.post,
            f"{tenant.path}/entities/import",
            content=lines,
            headers={"Content-Type": "application/x-ndjson"},
        )
        until(lambda: sent.done() or waits_for(other, house))
        assert not sent.done(), sent.result().text
        other.execute(claim, (f"rule/{rules[0]}",))  # waits for the server, which waits for this one
        other.rollback()
        answer = sent.result()
        assert answer.status_code == 200, answer.text
        until(lambda: deadlocks(house) == before + 1)
        for rule in rules:
            assert client.get(f"{tenant.path}/entities/rule/{rule}").status_code == 200


def test_the_library_does_again_what_the_database_ended_for_another(house: House) -> None:
    tag = token_hex(4)
    user_id, organization_id = f"usr_{tag}", f"org_{tag}"
    with (
        Grantbook(house.url) as book,
        psycopg.connect(house.url) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        other.execute("SET deadlock_timeout = '60s'")
        other.execute("INSERT INTO lookups (kind, key, value) VALUES ('user', %s, 'org_other')", (user_id,))
        before = deadlocks(house)
        made = pool.submit(
            book.create_organization,
            "Made again",
            owner_email="owner@example.org",
            owner_id=user_id,
            organization_id=organization_id,
        )
        until(lambda: made.done() or waits_for(other, house))
        assert not made.done(), made.result()
        other.execute(
            "INSERT INTO heads (organization_id, revision, at, hash) VALUES (%s, 0, 0, '')", (organization_id,)
        )
        other.rollback()
        assert made.result().owner_id == user_id
        until(lambda: deadlocks(house) == before + 1)
        assert book.organization(organization_id).verify() > 0


def test_what_the_database_aborts_for_ever_is_tried_three_times(house: House) -> None:
    """Each try is counted outside of its transaction, and one day there would be an end."""
    path = f"{house.tenant.path}/departments"
    with house.client() as client, postgres.administration(house.url) as connection, Grantbook(house.url) as book:
        connection.execute(_ABORTS)
        try:
            error_of(client.post(path, json={"name": "Aborted"}), 503, "TRANSACTION_ABORTED")
            assert connection.execute("SELECT last_value FROM tries").fetchone() == (3,)
            with pytest.raises(TransactionAborted):
                book.organization(house.tenant.organization_id).create_department("Aborted")
            assert connection.execute("SELECT last_value FROM tries").fetchone() == (6,)
        finally:
            connection.execute("DROP TRIGGER aborts ON departments; DROP FUNCTION abort_; DROP SEQUENCE tries")
        assert client.post(path, json={"name": "Aborted"}).status_code == 201


def deadlocks(house: House) -> int:
    with postgres.administration(house.url) as connection:
        row = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").fetchone()
    return 0 if row is None else int(row[0])


def waits_for(holder: psycopg.Connection[Any], house: House) -> bool:
    """Whether anybody waits for a lock that it has."""
    with postgres.administration(house.url) as connection:
        query = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
        return connection.execute(query, (holder.info.backend_pid,)).fetchone() is not None


def test_two_servers_write_to_one_organization_without_a_gap(house: House, tmp_path: Path) -> None:
    tenant = Tenant.found(house.server.desk)
    second = Server(tmp_path / "second", database=house.url)
    try:
        before = tenant.revision
        with writing(house.server, tenant, clients=2) as one, writing(second, tenant, clients=2) as other:
            one.wait_for(40)
            other.wait_for(40)
    finally:
        second.close()
    answers = [*one.answers.values(), *other.answers.values()]
    assert {answer.status_code for answer in answers} == {201}
    told = sorted(int(answer.headers["Grantbook-Revision"].rpartition(".")[2]) for answer in answers)
    assert len(set(told)) == len(told)
    made = [change.revision for change in house.server.desk.store.changes(tenant.organization_id)]
    assert sorted(set(made)) == list(range(1, tenant.revision + 1))
    assert set(told) <= set(range(before + 1, tenant.revision + 1))
    verify(house.server.desk.store, tenant.organization_id)
