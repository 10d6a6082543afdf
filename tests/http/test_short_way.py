"""What a connection answers by itself is what the application would have answered, byte for byte, and no more of it."""

import asyncio
import re
from collections.abc import Iterator
from random import Random
from typing import Any, Final

import msgspec
import pytest
from uvicorn.server import ServerState

from grantbook.bootstrap import open_desk
from grantbook.connection import Connection
from grantbook.http.app import create_app
from grantbook.http.exchange import credential_of
from grantbook.http.hot import HotRoutes
from grantbook.http.metrics import Measured
from grantbook.http.middleware import QUESTION, Receive, Scope, Send
from grantbook.service.admission import Admissions
from tests.http.test_connections import Conversation, Impatient, Patient, response_in, saying, talk
from tests.http.test_hot import Both, unreachable

_VARIES: Final = re.compile(
    rb'(x-request-id: |"trace_id": ?"|"timestamp": ?")(?!mine)[^"\r]*', re.IGNORECASE
)  # what no two answers share
_LAST: Final = b"GET /healthz HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    desk = open_desk(f"sqlite:///{tmp_path_factory.mktemp('book')}/book.db")  # where it needs no thread to load facts
    yield Both(desk)
    desk.close()


class Alone(HotRoutes):
    """Answers what a connection may answer by itself, and says 599 where it is called."""

    def __init__(self, both: Both) -> None:
        admissions = Admissions(both.tenant.desk)
        super().__init__(both.tenant.desk, admissions, unreachable)
        admissions.admit(
            credential_of(both.tenant.owner.secret.encode(), b""), both.tenant.owner.secret, both.tenant.organization_id
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": 599, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def hidden(app: Any) -> Any:
    """The same application, which has to be called for everything."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return called


def request(both: Both, method: str, path: str, body: Any, *more: str, secret: str | None = None) -> bytes:
    content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"{method} {both.tenant.path}/access/{path} HTTP/1.1", "Host: here", *more]
    if secret != "":
        lines.append(f"X-API-Key: {secret or both.tenant.owner.secret}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def plain(both: Both) -> dict[str, bytes]:
    """Requests that a connection answers by itself."""
    ref = both.slice
    return {
        "check": request(both, "POST", "check", both.question),
        "check/batch": request(both, "POST", "check/batch", {"checks": [both.question] * 3}),
        "explain": request(both, "POST", "explain", both.question),
        "entities": request(both, "GET", f"entities?user_id={both.user}&limit=2", None),
        "users": request(both, "GET", f"users?entity_type={ref.type}&entity_id={ref.id}", None),
    }


def offering(sent: bytes) -> bytes:
    """The request with an offer of another protocol, as `curl --http2` and the client of Java's library make it."""
    connection = b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\nConnection: Upgrade, HTTP2-Settings"
    if b"\r\nConnection: " in sent:
        return sent.replace(b"Connection: ", connection + b", ", 1)
    return sent.replace(b"Host: here", b"Host: here\r\n" + connection, 1)


def odd(both: Both) -> dict[str, bytes]:
    """Requests that are plain but for one thing."""
    question, secret = both.question, both.tenant.owner.secret
    check = request(both, "POST", "check", question)
    url = f"{both.tenant.path}/access/check".encode()
    return {
        "own id": request(both, "POST", "check", question, "X-Request-ID: mine-1"),
        "strange id": request(both, "POST", "check", question, "X-Request-ID: \xe4 b"),
        "bearer": request(both, "POST", "check", question, f"Authorization: Bearer {secret}", secret=""),
        "no key": request(both, "POST", "check", question, secret=""),
        "wrong key": request(both, "POST", "check", question, secret="gb_wrong"),
        "two keys": request(both, "POST", "check", question, "X-API-Key: gb_wrong"),
        "unknown user": request(both, "POST", "check", {**question, "user_id": "usr_nobody"}),
        "wrong level": request(both, "POST", "check", {**question, "access_level": "nonsense"}),
        "no JSON": request(both, "POST", "check", b"{"),
        "no body": request(both, "POST", "check", b""),
        "the past": request(both, "POST", "check", {**question, "as_of": "2020-01-01T00:00:00Z"}),
        "full": request(both, "POST", "check", {**question, "consistency": "full"}),
        "later": request(both, "POST", "check", question, f"Grantbook-At-Least: {both.tenant.organization_id}:99999"),
        "other type": check.replace(b"application/json", b"text/plain"),
        "other case": check.replace(b"X-API-Key", b"x-ApI-kEy").replace(b"Content-", b"CONTENT-"),
        "kept alive": request(both, "POST", "check", question, "Connection: keep-alive"),
        "closed": request(both, "POST", "check", question, "Connection: close"),
        "old": check.replace(b"HTTP/1.1", b"HTTP/1.0"),
        "old, kept alive": request(both, "POST", "check", question, "Connection: keep-alive").replace(b"/1.1", b"/1.0"),
        "expecting": request(both, "POST", "check", question, "Expect: 100-continue"),
        "offering": offering(check),
        "connecting": b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n",
        "chunked": re.sub(
            rb"Content-Length.*", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-T: t\r\n\r\n", check, flags=re.S
        ),
        "both lengths": check.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length").partition(
            b"{"
        )[0],
        "another host": check.replace(b"POST /", b"POST http://there/"),
        "encoded": check.replace(b"/check", b"/%63heck"),
        "fragment": check.replace(b"/check", b"/check#there"),
        "query": check.replace(b"/check", b"/check?a=b"),
        "twice a slash": check.replace(url, b"/" + url),
        "below": check.replace(b"/check", b"/check/"),
        "got": request(both, "GET", "check", question),
        "only the head": request(both, "HEAD", f"entities?user_id={both.user}", None),
        "list with a body": request(both, "GET", f"entities?user_id={both.user}", b"{}"),
        "list with no body": request(both, "GET", f"entities?user_id={both.user}", b""),
        "list in chunks": request(both, "GET", f"entities?user_id={both.user}", None, "Transfer-Encoding: chunked")
        + b"1\r\nx\r\n0\r\n\r\n",
        "list with an odd query": request(both, "GET", f"entities?user_id={both.user}&limit=%31&nothing=", None),
        "list of a cursor": request(both, "GET", f"entities?user_id={both.user}&cursor=nonsense", None),
        "no organization": check.replace(both.tenant.organization_id.encode(), b"org_none"),
        "many": request(both, "POST", "check/batch", {"checks": [question] * 1_000}),
        "too many": request(both, "POST", "check/batch", {"checks": [question] * 1_001}),
    }


_ENDING: Final = frozenset({"closed", "old", "old, kept alive", "connecting", "both lengths"})
"""After these the connection answers no more."""


def in_packets(sent: bytes, random: Random) -> Conversation:
    """Say that in packets of any size, and read until the server closes."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        left = sent
        while left:
            size = random.choice((1, 20, 300, 10_000, len(left)))
            writer.write(left[:size])
            left = left[size:]
            await asyncio.sleep(0)
        return await reader.read()

    return conversation


def answers(app: Any, conversation: Conversation) -> bytes:
    """All that comes back, without what no two answers share."""
    found: bytes = talk(conversation, app=app)
    return _VARIES.sub(rb"\1", found)


@pytest.mark.parametrize("name", ["check", "check/batch", "explain", "entities", "users"])
def test_a_plain_question_is_answered_without_the_application(both: Both, name: str) -> None:
    asked, state = plain(both)[name], ServerState()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[bytes]:
        found = []
        for cut in (0, 1, 100, len(asked) - 1):
            for part in (asked[:cut], asked[cut:]):
                writer.write(part)
                await asyncio.sleep(0.01)
            found.append(await answer_of(reader))
        return found

    answers(create_app(both.tenant.desk), saying(asked + _LAST))  # and now its facts are held
    found = talk(conversation, app=Alone(both), state=state)
    assert [response_in(each).status_code for each in found] == [200] * 4
    assert state.total_requests == 4


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return head + await reader.readexactly(int(length[1]))


def test_whatever_is_asked_is_answered_as_the_application_answers(both: Both) -> None:
    """Each alone, then any of them behind each other, in packets of any size."""
    app, random = create_app(both.tenant.desk), Random(4)
    front, behind = app.front, hidden(app.front)
    known = {**plain(both), **odd(both)}
    statuses = set()
    for name, sent in known.items():  # what is still sent to a connection that ends can cost the answer
        conversation = saying(sent) if name in _ENDING else in_packets(sent + _LAST, random)
        told = answers(front, conversation)
        assert told == answers(behind, conversation), name
        statuses.add(int(told.split()[1]))
    assert statuses >= {200, 400, 401, 403, 404, 405, 422}
    going_on = sorted(known.keys() - _ENDING)
    for _ in range(30):
        names = [*random.choices([*plain(both), *going_on], k=3), random.choice([*going_on, "closed", "old"])]
        sent = b"".join(known[name] for name in names) + (b"" if names[-1] in _ENDING else _LAST)
        conversation = in_packets(sent, random)
        assert answers(front, conversation) == answers(behind, conversation), names


def test_of_one_packet_only_the_first_question_takes_the_short_way(both: Both) -> None:
    """Others have their turn in between, and answers keep the order of the questions."""
    first = second = plain(both)["check"]
    found = talk(saying(first + second + first.replace(b"Host: here", b"Connection: close")), app=Alone(both))
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200", b"599", b"599"]


def test_a_question_that_stops_half_way_is_closed(both: Both) -> None:
    assert talk(saying(plain(both)["check"][:-1]), Impatient, Alone(both)) == b""


def test_a_connection_is_not_kept_for_ever_after_its_answer(both: Both) -> None:
    assert talk(saying(plain(both)["check"]), Impatient, Alone(both)).startswith(b"HTTP/1.1 200")


def test_a_question_is_answered_though_the_server_stops_before_it_is_whole(both: Both) -> None:
    asked, state = plain(both)["check"], ServerState()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(asked[:-1])
        await asyncio.sleep(0.05)
        for connection in list(state.connections):
            connection.shutdown()
        writer.write(asked[-1:])
        return await reader.read()

    answer = response_in(talk(conversation, Patient, create_app(both.tenant.desk).front, state))
    assert answer.json()["allowed"]
    assert answer.headers["Connection"] == "close"


def test_who_does_not_read_the_answers_is_answered_no_more(both: Both) -> None:
    asked, state = request(both, "POST", "check/batch", {"checks": [both.question] * 1_000}), ServerState()

    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        while not state.connections:
            await asyncio.sleep(0)
        (connection,) = state.connections
        assert isinstance(connection, Connection)
        sent = 0
        while not connection.flow.write_paused:
            writer.write(asked)
            sent += 1
            while state.total_requests < sent and not connection.flow.write_paused:
                await asyncio.sleep(0)
        answered = state.total_requests
        writer.write(asked)
        await asyncio.sleep(0.1)
        return state.total_requests - answered

    assert talk(conversation, app=Alone(both), state=state) == 0


def test_what_fails_is_left_to_the_application(both: Both, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Alone):
        def _at_once(self, _: Any) -> bytes | None:
            raise ZeroDivisionError

    sent = plain(both)["check"].replace(b"Host: here", b"Connection: close")
    assert talk(saying(plain(both)["check"] + sent), app=Broken(both)).count(b"HTTP/1.1 599") == 2
    assert "a decision failed" in caplog.text


def test_questions_on_the_short_way_are_measured(both: Both) -> None:
    measured = Measured(Alone(both), both.tenant.desk.facts)
    scrape = b"GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"
    (told,) = re.findall(rb"request_seconds_count(.*)", talk(saying(plain(both)["check"], scrape), app=measured))
    assert told == (b'{method="POST",route="/v1/organizations/{organization_id}/access/check",status="200"} 1.0')


def test_nothing_is_kept_of_a_question_that_the_application_answered(both: Both) -> None:
    state, kept = ServerState(), []

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(odd(both)["wrong key"])
        await answer_of(reader)
        for connection in state.connections:
            assert isinstance(connection, Connection)
            kept.append(QUESTION in connection.scope)

    talk(conversation, app=create_app(both.tenant.desk).front, state=state)
    assert kept == [False]


def test_a_request_that_offers_another_protocol_is_answered_in_this_one(both: Both) -> None:
    """As it is without the offer, though the parser ends it with its head; and what is in its body is no request."""
    app, random = create_app(both.tenant.desk).front, Random(5)
    known = {**plain(both), **odd(both)}
    known["a request"] = request(both, "POST", "check", plain(both)["check"])
    going_on = sorted(known.keys() - _ENDING - {"offering"})
    for last in [*going_on, *sorted(_ENDING)]:
        asked = [known[name] for name in [*random.choices(going_on, k=2), last]] + [_LAST] * (last not in _ENDING)
        sent = b"".join(map(offering, asked))
        told = answers(app, saying(sent) if last in _ENDING else in_packets(sent, random))
        assert told == answers(app, saying(b"".join(asked))), last


def test_what_follows_a_connect_is_no_request(both: Both) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(odd(both)["connecting"])
        await asyncio.sleep(0.05)
        writer.write(plain(both)["check"])
        return await reader.read()

    found: bytes = talk(conversation, app=create_app(both.tenant.desk).front)
    assert found.count(b"HTTP/1.1") == 1
    assert response_in(found).headers["Connection"] == "close"
