"""SIGKILL in the middle of writes: what was acknowledged is there, what was not is there whole or not at all."""

from grantbook.store.history import verify
from tests.faults.conftest import Start
from tests.faults.stream import Stream, writing
from tests.serving import Server, Tenant

ROUNDS = (25, 60, 40)
"""Kill after so many answers, one life of the server after the other."""


def test_what_was_acknowledged_survives_a_kill(start: Start) -> None:
    server = start()
    tenant = Tenant.found(server.desk)
    for answers in ROUNDS:
        with writing(server, tenant) as stream:
            stream.wait_for(answers)
            server.kill()
        assert stream.failures, "the kill came after the stream"
        assert [answer.text for answer in stream.answers.values() if answer.status_code != 201] == []
        server.start()
        everything_promised_is_there(stream)
        verify(server.desk.store, tenant.organization_id)
        what_was_not_answered_can_be_repeated(server, stream)
    verify(server.desk.store, tenant.organization_id)


def everything_promised_is_there(stream: Stream) -> None:
    tenant = stream.tenant
    live = {grant.id for grant in tenant.grants()}
    for attempt in stream.acknowledged():
        assert attempt.granted(tenant) == set(attempt.grantees)
        told = stream.answers[attempt.key].json()
        assert {grant["id"] for grant in (told if attempt.is_bulk else [told])} <= live
    for attempt in stream.unanswered():
        assert attempt.granted(tenant) in (set(), set(attempt.grantees))


def what_was_not_answered_can_be_repeated(server: Server, stream: Stream) -> None:
    """With the same idempotency key: done once, whether or not the first request got through before the kill."""
    tenant = stream.tenant
    with server.client(tenant.owner.secret) as client:
        for attempt in stream.unanswered():
            was_done = bool(attempt.granted(tenant))
            answer = attempt.send(client, tenant)
            assert answer.status_code == 201
            assert ("Idempotency-Replayed" in answer.headers) == was_done
            assert attempt.granted(tenant) == set(attempt.grantees)
        for attempt in stream.acknowledged()[-5:]:
            again = attempt.send(client, tenant)
            assert again.content == stream.answers[attempt.key].content


def test_killing_every_process_of_a_server_with_several_loses_nothing(start: Start) -> None:
    server = start(workers=2)
    tenant = Tenant.found(server.desk)
    with writing(server, tenant) as stream:
        stream.wait_for(40)
        server.kill()
    server.start()
    everything_promised_is_there(stream)
    verify(server.desk.store, tenant.organization_id)
    what_was_not_answered_can_be_repeated(server, stream)
