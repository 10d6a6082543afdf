"""What a connection may send before it is a request, and how long it may take: over real sockets, in this process."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import httpx
import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from grantbook.connection import Connection
from grantbook.http.middleware import BodyLimit, Front, Receive, Scope, Send
from grantbook.model.limits import MAX_HEAD_BYTES
from tests.http.envelope import error_of

PATIENCE_S: Final = 20
HEAD: Final = b"GET /healthz HTTP/1.1\r\nHost: here\r\n"
POST: Final = b"POST /healthz HTTP/1.1\r\nHost: here\r\n"
CHUNKED: Final = POST + b"Transfer-Encoding: chunked\r\n\r\n"
Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, Any]]


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The headers of the request once its body is there, as JSON."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    body = json.dumps({name.decode(): value.decode() for name, value in scope["headers"]}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _refused(_: Scope) -> Any:
    raise AssertionError("no body here is too large")


async def _nobody(_: Scope) -> None:
    return None


class Impatient(Connection):
    head_s = 0.2
    body_s = 0.2
    look_every_s = 0.05


class Patient(Connection):
    head_s = body_s = PATIENCE_S * 2
    stopping_s = 0.2
    grace_s = 0.5
    look_every_s = 0.05


def talk(
    conversation: Conversation,
    protocol: type[Connection] = Connection,
    app: Any = _echo,
    state: ServerState | None = None,
    kept_s: int = 5,
) -> Any:
    """What the conversation with a server of that protocol gives, which keeps connections so many seconds."""
    state = state or ServerState()

    async def served() -> Any:
        app_ = app if isinstance(app, Front) else BodyLimit(app, lambda _: 1_000_000, _refused, _nobody)
        config = Config(
            app_,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=kept_s,
        )
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await conversation(reader, writer)
        finally:
            writer.close()
            server.close()

    return asyncio.run(served())


def saying(*parts: bytes) -> Conversation:
    """Say that, and read until the server closes."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
        return await reader.read()

    return conversation


def response_in(answer: bytes) -> httpx.Response:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx.Response(int(status.split()[1]), headers=headers, content=body)


def filled(begun: bytes, filling: bytes = b"a") -> bytes:
    """Just as much as is read of a head: what is left unread when a connection closes can cost the answer."""
    return (begun + filling * MAX_HEAD_BYTES)[:MAX_HEAD_BYTES]


@pytest.mark.parametrize(
    "sent",
    [
        filled(HEAD + b"X-Long: "),
        filled(HEAD, b"X-Short: a\r\n"),
        filled(b"GET /"),
        filled(b"", b"\r\n"),
    ],
    ids=["header", "headers", "url", "empty lines"],
)
def test_a_head_over_the_bound_is_refused_and_the_connection_closed(sent: bytes) -> None:
    answer = response_in(talk(saying(sent)))
    assert error_of(answer, 431, "HEAD_TOO_LARGE")["details"] == {"limit_bytes": MAX_HEAD_BYTES}
    assert answer.headers["Connection"] == "close"


def test_a_trailer_is_bounded_like_a_head() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(filled(b"0\r\nX-Trailer: "))
        return await reader.read()

    error_of(response_in(talk(conversation)), 431, "HEAD_TOO_LARGE")


def test_a_head_below_the_bound_is_read() -> None:
    long = b"a" * (MAX_HEAD_BYTES - 200)
    answer = response_in(talk(saying(HEAD, b"Connection: close\r\nX-Long: " + long, b"\r\n\r\n")))
    assert answer.json()["x-long"] == long.decode()


def test_a_body_is_not_bound_like_a_head() -> None:
    body = b"a" * 500_000
    length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    assert response_in(talk(saying(POST + length, body))).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"HELLO\r\n\r\n",
        b"FROB /healthz HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno header\r\n\r\n",
        POST + b"Content-Length: many\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_request_gets_the_envelope(sent: bytes) -> None:
    answer = response_in(talk(saying(sent)))
    error_of(answer, 400, "INVALID_HTTP")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GE",
        HEAD,
        POST + b"Content-Length: 10\r\n\r\nhalf",
        CHUNKED + b"5\r\nhal",
        CHUNKED + b"0\r\nX-Trailer: ",
    ],
    ids=["nothing", "method", "headers", "body", "chunk", "trailer"],
)
def test_what_stops_half_way_is_closed(sent: bytes) -> None:
    assert talk(saying(sent), Impatient) == b""


@pytest.mark.parametrize("rest", [HEAD, b"\r\n"])
def test_the_second_request_of_a_connection_is_waited_for_no_longer(rest: bytes) -> None:
    answer = talk(saying(HEAD + b"\r\n", rest), Impatient, kept_s=1)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_client_that_waits_for_its_answer_is_not_sent_away() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(Impatient.head_s * 3)
        await _echo(scope, receive, send)

    both = talk(saying(HEAD + b"\r\n" + HEAD + b"Connection: close\r\n", b"\r\n"), Impatient, slow)
    assert both.count(b"HTTP/1.1 200") == 2


def test_a_trailer_is_no_header() -> None:
    sent = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-API-Key: mine\r\n\r\n"
    assert "x-api-key" not in response_in(talk(saying(sent))).json()


@pytest.mark.parametrize("drips", [False, True])
def test_a_body_that_is_not_whole_does_not_hold_up_the_end(drips: bool, caplog: pytest.LogCaptureFixture) -> None:
    state = ServerState()

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(POST + b"Content-Length: 100000\r\n\r\n")
        while not state.tasks:
            await asyncio.sleep(0.01)
        for connection in state.connections:
            connection.shutdown()
        while drips and not reader.at_eof() and state.connections:
            writer.write(b"a")
            await asyncio.sleep(0.01)
        rest = b""
        with suppress(ConnectionResetError):  # as the server closes while a byte is under way
            rest = await reader.read()
        while state.tasks:
            await asyncio.sleep(0.01)
        return rest

    assert talk(conversation, Patient, state=state) == b""
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]
