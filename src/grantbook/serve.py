"""Runs the server: uvicorn with as many processes as asked for, each with its own desk on the same database."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any, Final, cast

import msgspec
import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from grantbook.bootstrap import load_vocabulary, open_desk
from grantbook.http.app import create_app
from grantbook.http.middleware import App
from grantbook.model.errors import StoreUnavailable
from grantbook.model.limits import MEBIBYTE
from grantbook.service.desk import Desk
from grantbook.service.key_uses import FLUSH_EVERY_S
from grantbook.settings import Settings

_HANDED_ON: Final = "GRANTBOOK_SERVE_SETTINGS"
_GRACE_S: Final = 30
_MAX_WAITING: Final = 64 * 1024


def serve(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished, for at most 30 seconds.

    The database is opened once before anything listens, so that a wrong setting is an error here.
    Raises ConfigurationError.
    """
    open_desk(settings.database, vocabulary=load_vocabulary(settings.vocabulary_file)).close()
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
        proxy_headers=False,  # nothing here asks where a request came from
        http=_Protocol,
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


class _Protocol(HttpToolsProtocol):
    """uvicorn's, over such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast("asyncio.Transport", _AtOnce(transport, self.loop)))


def application() -> App:
    """The application of one process, on the settings that `serve` handed on."""
    settings = msgspec.convert(msgspec.json.decode(os.environ[_HANDED_ON]), Settings)
    desk = open_desk(
        settings.database,
        vocabulary=load_vocabulary(settings.vocabulary_file),
        cache_bytes=settings.cache_mb * MEBIBYTE,
        connections=settings.connections,
        staleness_ms=settings.staleness_ms,
        replica=settings.replica,
    )
    app = create_app(desk, public_url=settings.url, metrics=settings.metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if (
            not desk.facts.present.is_local
        ):  # a thread may need a second connection, to look something up within a reading
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


async def _flush_now_and_then(desk: Desk) -> None:
    """Write when keys were used, outside of any request. What cannot be written now waits for the next round."""
    while True:
        await asyncio.sleep(FLUSH_EVERY_S)
        with suppress(StoreUnavailable):
            await asyncio.to_thread(desk.key_uses.flush, desk.store)
