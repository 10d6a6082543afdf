"""Runs the server: uvicorn with as many processes as asked for, each with its own desk on the same database."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, Final, cast
from uuid import uuid4

import msgspec
import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from grantbook.bootstrap import load_vocabulary, open_desk, require_database, require_free
from grantbook.http import errors
from grantbook.http.app import create_app
from grantbook.http.middleware import App
from grantbook.model.errors import BrokenRequest, GrantbookError, HeadTooLarge, StoreUnavailable
from grantbook.model.limits import MAX_HEAD_BYTES, MEBIBYTE
from grantbook.service.desk import Desk
from grantbook.service.key_uses import FLUSH_EVERY_S
from grantbook.settings import Settings

_HANDED_ON: Final = "GRANTBOOK_SERVE_SETTINGS"
_GRACE_S: Final = 30
_MAX_WAITING: Final = 64 * 1024


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished, for at most 30 seconds.

    The database is opened and the address tried once before anything listens, so that a wrong setting is an error here.
    Raises ConfigurationError.
    """
    require_database(settings.database)
    require_free(settings.host, settings.port)
    _desk(settings).close()
    os.environ[_HANDED_ON] = msgspec.json.encode(asdict(settings)).decode()
    uvicorn.run(
        "grantbook.serve:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level=settings.log_level,
        access_log=settings.log_level == "debug",
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
        ws="none",
        proxy_headers=False,  # nothing here asks where a request came from
        http=Protocol,
    )


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


class Protocol(HttpToolsProtocol):
    """uvicorn's, over such a transport, and with bounds on what a client may send, and on how long it may take.

    A head is answered with 431 once it is over `MAX_HEAD_BYTES`, and so is what is neither head nor content of a body
    (trailers). A connection is closed when a head is not whole in time, or a body goes on no more.
    """

    head_s = 20.0
    body_s = 60.0
    stopping_s = 5.0
    """As `body_s`, once the server stops."""
    grace_s = _GRACE_S - 2.0
    """How long a body may come in after that: what is still open later is cancelled as if it had failed."""
    look_every_s = 5.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _AtOnce(transport, self.loop)))
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
        self._unread += len(data)
        if self._unread < MAX_HEAD_BYTES:
            super().data_received(data)
        else:
            self._unread -= len(data)
            self._receive_in_parts(data)
        if self._since is None and (self._unread or not self._in_head):
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        self._in_head, self._unread, self._since = False, 0, None
        super().on_headers_complete()
        self.headers = []  # for trailers: whoever reads headers after the body would take one for a header

    def on_body(self, body: bytes) -> None:
        self._unread, self._since = 0, None
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._unread, self._since = True, 0, None
        super().on_message_complete()

    def _receive_in_parts(self, data: bytes) -> None:
        while data and not self.transport.is_closing():
            room = MAX_HEAD_BYTES - self._unread
            part, data = data[:room], data[room:]
            self._unread += len(part)
            super().data_received(part)
            if self._unread >= MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(HeadTooLarge(limit_bytes=MAX_HEAD_BYTES))

    def shutdown(self) -> None:
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
        if self._since is not None and now - self._since > patience:
            self.transport.close()
        else:
            self._looking = self.loop.call_later(self.look_every_s, self._look)

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


def application() -> App:
    """The application of one process, on the settings that `serve` handed on."""
    settings = msgspec.convert(msgspec.json.decode(os.environ[_HANDED_ON]), Settings)
    desk = _desk(settings)
    app = create_app(desk, public_url=settings.url, metrics=settings.metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not desk.facts.present.is_local:
            # A thread may need a second connection, to look something up within a reading.
            to_thread.current_default_thread_limiter().total_tokens = settings.connections // 2
        flushing = asyncio.create_task(_flush_now_and_then(desk))
        yield
        flushing.cancel()
        with suppress(StoreUnavailable):
            desk.key_uses.flush(desk.store)
        desk.close()

    app.router.lifespan_context = lifespan
    gc.freeze()  # what is there by now stays: the collector need not go through it for each generation of requests
    return app.front or app


def _desk(settings: Settings) -> Desk:
    return open_desk(
        settings.database,
        vocabulary=load_vocabulary(settings.vocabulary_file),
        cache_bytes=settings.cache_mb * MEBIBYTE,
        connections=settings.connections,
        staleness_ms=settings.staleness_ms,
        replica=settings.replica,
    )


async def _flush_now_and_then(desk: Desk) -> None:
    """Write when keys were used, outside of any request. What cannot be written now waits for the next round."""
    while True:
        await asyncio.sleep(FLUSH_EVERY_S)
        with suppress(StoreUnavailable):
            await asyncio.to_thread(desk.key_uses.flush, desk.store)
