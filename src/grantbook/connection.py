"""One connection of a client: uvicorn's, with bounds, and a short way for questions that need no waiting."""

import asyncio
from typing import Any, Final, cast
from uuid import uuid4

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from grantbook.http import errors
from grantbook.http.middleware import QUESTION, Front, Question, Scope
from grantbook.model.errors import BrokenRequest, GrantbookError, HeadTooLarge
from grantbook.model.limits import MAX_HEAD_BYTES

GRACE_S: Final = 30
"""How long requests under way may take once the server stops."""
_MAX_WAITING: Final = 64 * 1024


class _AtOnce:
    """A transport that writes what is written in one round of the event loop at once: the head of an answer with its
    body, which is one packet and one wake-up of the client instead of two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MAX_WAITING:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts and not self._transport.is_closing():  # the client may have gone in the meantime
            self._transport.write(b"".join(parts))


class Connection(HttpToolsProtocol):
    """uvicorn's, over such a transport, and with bounds on what a client may send, and on how long it may take.

    A question that the application can answer at once (`Front`) is answered as soon as it is there, without a task and
    messages to it. For all else it is called, as uvicorn does.

    A head is answered with 431 once it is over `MAX_HEAD_BYTES`, and so is what is neither head nor content of a body
    (trailers). A connection is closed when a head is not whole in time, or a body goes on no more.
    """

    head_s = 20.0
    body_s = 60.0
    stopping_s = 5.0
    """As `body_s`, once the server stops."""
    grace_s = GRACE_S - 2.0
    """How long a body may come in after that: what is still open later is cancelled as if it had failed."""
    look_every_s = 5.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _AtOnce(transport, self.loop)))
        self._front = self.app if isinstance(self.app, Front) and not self.access_log else None
        self._question: Question | None = None  # begun, and neither answered nor given to the application yet
        self._parts: list[bytes] = []  # of its body
        self._may_answer = self._was_heard = True
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._head = b""  # of an answer, made of those
        self._in_head = True
        self._unread = 0  # bytes since the parser last had something for us
        self._since: float | None = self.loop.time()  # when the client last went on with what is not whole yet;
        # of what begins in the packet that ends a request, the keep-alive timeout takes care
        self._is_stopping = False
        self._looking = self.loop.call_later(self.look_every_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._may_answer = self._was_heard = True
        self._unread += len(data)
        if self._unread < MAX_HEAD_BYTES:
            self._parse(data)
        else:
            self._unread -= len(data)
            self._receive_in_parts(data)
        if self._since is None and (self._unread or not self._in_head):
            self._since = self.loop.time()

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False  # the rest in `_give_head`

    def on_headers_complete(self) -> None:
        if self._is_offer():
            return
        self._in_head, self._unread, self._since = False, 0, None
        if self._front is not None and self._may_answer and self._is_plain():
            self._question = self._front.begin(self.parser.get_method().decode(), self.url, self.headers)
        if self._question is None:
            self._give_head()

    def on_body(self, body: bytes) -> None:
        self._unread, self._since = 0, None
        if self._question is None:
            super().on_body(body)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._is_offer():
            return
        self._in_head, self._unread, self._since = True, 0, None
        if self._question is not None:
            answer = cast("Front", self._front).finish(self._question, b"".join(self._parts))
            if answer is not None:
                self._answer(self._question, answer)
                return
            self._give()
        super().on_message_complete()

    def _is_plain(self) -> bool:
        """Whether nothing before this request waits for an answer, or to be read, and nothing ends with its answer."""
        parser, cycle = self.parser, self.cycle
        return (
            (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
        )

    def _answer(self, question: Question, answer: bytes) -> None:
        self._question = None
        self._parts.clear()
        self._may_answer = False  # not what follows in the same packet: others have their turn
        given = self.server_state.default_headers
        if given is not self._default_headers:  # once a second, with the date
            headers = [*given, (b"content-type", b"application/json")]
            self._head = STATUS_LINE[200] + b"".join(b"%b: %b\r\n" % header for header in headers)
            self._default_headers = given
        own = b"content-length: %d\r\nx-request-id: %b\r\n\r\n" % (len(answer), question.trace_id.encode())
        self.transport.write(self._head + own + answer)
        self.server_state.total_requests += 1

    def _give(self) -> None:
        """The question to the application, as far as it is there, with what was found out about it."""
        question, self._question = self._question, None
        parts, self._parts = self._parts, []
        self._give_head()
        cast("Scope", self.scope)[QUESTION] = question
        for part in parts:
            super().on_body(part)

    def _give_head(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()
        if self.parser.should_upgrade():  # CONNECT: what follows is for nobody here
            self.cycle.keep_alive = False
        self.headers = []  # for trailers: whoever reads headers after the body would take one for a header

    def _is_offer(self) -> bool:
        """Whether the client offers another protocol for what follows, which nothing here takes up."""
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _parse(self, data: bytes) -> None:
        """As uvicorn does, but for such an offer: the parser ends the request with its head then, so another one goes
        on from the same head without the offer."""
        self._unset_keepalive_if_required()
        left = memoryview(data)
        try:
            while left:
                try:
                    self.parser.feed_data(left)
                    return
                except HttpParserUpgrade as end:
                    if not self._is_offer():
                        return
                    left = left[end.args[0] :]
                head = self._head_without_offer()
                self.parser = HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                self.parser.feed_data(head)
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("")

    def _head_without_offer(self) -> bytes:
        parser = self.parser
        first = b"%b %b HTTP/%b" % (parser.get_method(), self.url, parser.get_http_version().encode())
        kept = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([first, *kept, b"", b""])

    def _receive_in_parts(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            room = MAX_HEAD_BYTES - self._unread
            part, data = data[:room], data[room:]
            self._unread += len(part)
            self._parse(part)
            if self._unread >= MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(HeadTooLarge(limit_bytes=MAX_HEAD_BYTES))

    def shutdown(self) -> None:
        if self._question is not None:
            self._give()
        super().shutdown()
        self._is_stopping = True
        self.loop.call_later(self.grace_s, self._close_unless_read)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - said in our own words
        self._refuse(BrokenRequest())

    def _look(self) -> None:
        """Close, where the client is waited for and has not gone on for too long."""
        now = self.loop.time()
        is_ours = self.flow.read_paused or (self._in_head and self.cycle and not self.cycle.response_complete)
        if self._since is not None and is_ours:  # it waits for an answer, or for us to read on
            self._since = now
        patience = self.head_s if self._in_head else self.stopping_s if self._is_stopping else self.body_s
        is_quiet, self._was_heard = not self._was_heard, False
        if (is_quiet and self._is_kept()) or (self._since is not None and now - self._since > patience):
            self.transport.close()
        else:
            self._looking = self.loop.call_later(self.look_every_s, self._look)

    def _is_kept(self) -> bool:
        """Whether it is only kept alive, since an answer of ours: after others, uvicorn has a timer for that."""
        is_answered = self.cycle is None or self.cycle.response_complete
        return self._in_head and self._since is None and is_answered and self.timeout_keep_alive_task is None

    def _close_unless_read(self) -> None:
        if self.cycle is not None and self.cycle.more_body:
            self.transport.close()

    def _refuse(self, error: GrantbookError) -> None:
        """Answer what never becomes a request of the application, and close."""
        trace_id = str(uuid4())
        response = errors.response_of(error, trace_id, {"Connection": "close", "X-Request-ID": trace_id})
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[response.status_code] + lines + b"\r\n" + bytes(response.body))
        self.transport.close()
