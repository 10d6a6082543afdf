"""SIGTERM: what is under way is finished and answered, then the server is gone."""

import json
import socket
import struct
from time import monotonic, sleep

from grantbook.store.history import verify
from tests.faults.conftest import Start
from tests.faults.stream import writing
from tests.serving import HOST, Server, Tenant

STOPPED = {0, -15}


def test_a_request_under_way_is_finished(start: Start) -> None:
    """Its body is half sent when the signal comes: the rest is still read, done and answered."""
    server = start()
    tenant = Tenant.found(server.desk)
    entity, user = tenant.entity(), tenant.user()
    grant = {"grantee_type": "user", "grantee_id": user, "access_level": "read"}
    body = json.dumps({"entity_type": entity.type, "entity_id": entity.id, **grant}).encode()
    head = (
        f"POST {tenant.path}/access/grants HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {tenant.owner.secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((HOST, server.port), timeout=30) as connection:
        connection.sendall(head.encode() + body[:10])
        assert server_has_read(server)
        server.ask_to_stop()
        wait_until_closed(server)
        connection.sendall(body[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert server.process.wait(30) in STOPPED
    assert [grant.grantee_id for grant in tenant.grants()] == [user]


def test_clients_that_go_before_the_answer_leave_nothing_in_the_log(start: Start) -> None:
    server = start()
    before = server.log.read_text()
    request = f"GET /healthz HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    for position in range(500):
        with socket.create_connection((HOST, server.port), timeout=30) as connection:
            connection.sendall(request * (1 + position % 4))
            if position % 3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset
    assert server_has_read(server)
    assert server.log.read_text() == before


def server_has_read(server: Server) -> bool:
    """Another request that is answered: the one before it was read by the same loop."""
    with server.client() as client:
        return all(client.get("/healthz").status_code == 200 for _ in range(3))


def wait_until_closed(server: Server) -> None:
    until = monotonic() + 30
    while server.listens():
        assert monotonic() < until
        sleep(0.01)


def test_writes_during_a_stop_are_done_and_answered_or_not_done(start: Start) -> None:
    server = start()
    tenant = Tenant.found(server.desk)
    with writing(server, tenant) as stream:
        stream.wait_for(40)
        server.ask_to_stop()
        assert server.process.wait(30) in STOPPED
    assert [answer.text for answer in stream.answers.values() if answer.status_code != 201] == []
    for attempt in stream.acknowledged():
        assert attempt.granted(tenant) == set(attempt.grantees)
    for attempt in stream.unanswered():
        assert attempt.granted(tenant) == set(), "done, and nobody was told"
    verify(server.desk.store, tenant.organization_id)
    assert "Traceback" not in server.log.read_text()


def test_a_stopped_server_starts_again_on_the_same_book(start: Start) -> None:
    server = start()
    tenant = Tenant.found(server.desk)
    for _ in range(2):
        with server.client(tenant.owner.secret) as client:
            assert client.get(tenant.path).status_code == 200
        assert server.stop() in STOPPED
        server.start()
