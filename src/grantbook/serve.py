"""Runs the server: uvicorn with as many processes as asked for, each with its own desk on the same database."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from multiprocessing import parent_process
from threading import Thread
from typing import Final

import msgspec
import uvicorn
from anyio import to_thread
from fastapi import FastAPI

from grantbook.bootstrap import load_vocabulary, open_desk, require_database, require_free
from grantbook.connection import GRACE_S, Connection
from grantbook.http.app import create_app
from grantbook.http.middleware import App
from grantbook.model.errors import ConfigurationError, StoreUnavailable
from grantbook.model.limits import MEBIBYTE
from grantbook.service.desk import Desk
from grantbook.service.key_uses import FLUSH_EVERY_S
from grantbook.settings import Settings

_HANDED_ON: Final = "GRANTBOOK_SERVE_SETTINGS"


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
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        ws="none",
        proxy_headers=False,  # nothing here asks where a request came from
        http=Connection,
    )


def application() -> App:
    """The application of one process, on the settings that `serve` handed on."""
    settings = msgspec.convert(msgspec.json.decode(os.environ[_HANDED_ON]), Settings)
    try:
        require_database(settings.database)  # it may be gone since: an empty one would know no key
        desk = _desk(settings)
    except ConfigurationError as error:
        sys.exit(f"grantbook: {error}")
    app = create_app(desk, public_url=settings.url, metrics=settings.metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not desk.facts.present.is_local:
            # A thread may need a second connection, to look something up within a reading.
            to_thread.current_default_thread_limiter().total_tokens = settings.connections // 2
        flushing = asyncio.create_task(_flush_now_and_then(desk))
        Thread(target=_stop_without_parent, daemon=True).start()
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


def _stop_without_parent() -> None:
    """Where the process that started the workers was killed, nobody would stop them, and they would keep the port."""
    if parent := parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


async def _flush_now_and_then(desk: Desk) -> None:
    """Write when keys were used, outside of any request. What cannot be written now waits for the next round."""
    while True:
        await asyncio.sleep(FLUSH_EVERY_S)
        with suppress(StoreUnavailable):
            await asyncio.to_thread(desk.key_uses.flush, desk.store)
