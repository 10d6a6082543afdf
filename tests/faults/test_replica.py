"""A server with a replica reads there what may lag, and nothing that is older than it promises."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from grantbook.model.facts import EntityRef
from tests import postgres
from tests.faults.house import until
from tests.postgres import PostgresServer
from tests.serving import Server, Tenant

_STALENESS_S = 1


class House:
    """A server on a primary and its replica, and the owner of an organization in it."""

    def __init__(self, server: Server, replica: PostgresServer) -> None:
        self.server = server
        self.tenant = Tenant.found(server.desk)
        self.client = server.client(self.tenant.owner.secret)
        self._replica = replica

    def granted(self, token: str | None = None) -> int:
        """How many grants the list holds."""
        headers = {"Grantbook-At-Least": token} if token else {}
        answer = self.client.get(f"{self.tenant.path}/access/grants", headers=headers)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["total"])

    def grant(self) -> tuple[EntityRef, str]:
        """Over HTTP, by the server itself: what, and to whom."""
        entity, user = self.tenant.entity(), self.tenant.user()
        body = {"entity_type": entity.type, "entity_id": entity.id, "access_level": "read"}
        body |= {"grantee_type": "user", "grantee_id": user}
        answer = self.client.post(f"{self.tenant.path}/access/grants", json=body)
        assert answer.status_code == 201, answer.text
        return entity, user

    def reads_replica(self) -> bool:
        """Whether a list is read there."""
        before = self._replica.log.count("FROM grants")
        self.granted()
        return self._replica.log.count("FROM grants") > before

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """For the block the server stands still, and what it would have heard of it never hears of."""
        os.killpg(self.server.process.pid, signal.SIGSTOP)
        try:
            self._end_feed()
            yield
            sleep(_STALENESS_S)
        finally:
            os.killpg(self.server.process.pid, signal.SIGCONT)

    def _end_feed(self) -> None:
        with postgres.administration(self.server.database) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query ~ 'pg_current_wal_lsn' AND pid <> pg_backend_pid()"
            ).fetchall()
        assert ended == [(True,)]

    def follow(self) -> None:
        """Wait until lists are read there."""
        until(self.reads_replica, "no list is read from the replica")


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with postgres.own_pair() as made:
        yield made


@pytest.fixture
def house(pair: tuple[PostgresServer, PostgresServer], tmp_path: Path) -> Iterator[House]:
    primary, replica = pair
    database = postgres.make_database(primary.url)
    copy = postgres.same_on(replica, database)
    server = Server(tmp_path, database=database, replica=copy, staleness_ms=str(1_000 * _STALENESS_S))
    try:
        made = House(server, replica)
        yield made
        made.client.close()
    finally:
        server.close()


def test_lists_are_read_from_a_replica_that_follows_and_decisions_are_not(
    house: House, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    house.follow()
    entity, user = house.grant()
    question = {"user_id": user, "entity_type": entity.type, "entity_id": entity.id, "access_level": "read"}
    before = pair[1].log.count("FROM heads")  # which every reading begins with
    assert before
    for consistency in ({}, {"consistency": "full"}):
        for call in ("check", "explain"):
            answer = house.client.post(f"{house.tenant.path}/access/{call}", json=question | consistency)
            assert answer.json()["allowed"] is True
    assert pair[1].log.count("FROM heads") == before


def test_what_was_written_is_in_the_list_at_once_however_far_behind_the_replica_is(
    house: House, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    house.follow()
    with pair[1].standing_still():
        for count in range(1, 11):
            house.grant()
            assert house.granted() == count
        house.tenant.grant(house.tenant.entity(), "read", house.tenant.user())  # by another process
        assert house.granted(f"{house.tenant.organization_id}.{house.tenant.revision}") == 11
        sleep(_STALENESS_S)
        assert house.granted() == 11
        assert not house.reads_replica()
    house.follow()
    with pair[1].standing_still():
        with house.deaf():
            house.tenant.grant(house.tenant.entity(), "read", house.tenant.user())
        for _ in range(20):
            assert house.granted() == 12
            sleep(_STALENESS_S / 20)
    house.follow()
    assert house.granted() == 12


def test_a_replica_that_is_gone_is_no_error_and_is_read_again_when_it_is_back(
    house: House, pair: tuple[PostgresServer, PostgresServer]
) -> None:
    house.grant()
    house.follow()
    pair[1].stop()
    try:
        assert [house.granted() for _ in range(5)] == [1] * 5
    finally:
        pair[1].start()
    house.follow()
    assert house.granted() == 1
