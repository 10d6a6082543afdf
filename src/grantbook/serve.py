"""Runs the server: uvicorn with as many processes as asked for, each with its own desk on the same database."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Final

import msgspec
import uvicorn
from fastapi import FastAPI

from grantbook.bootstrap import MEBIBYTE, load_vocabulary, open_desk
from grantbook.http.app import create_app
from grantbook.model.errors import StoreUnavailable
from grantbook.service.desk import Desk
from grantbook.service.key_uses import FLUSH_EVERY_S
from grantbook.settings import Settings

_HANDED_ON: Final = "GRANTBOOK_SERVE_SETTINGS"
_GRACE_S: Final = 30


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
    )


def application() -> FastAPI:
    """The application of one process, on the settings that `serve` handed on."""
    settings = msgspec.convert(msgspec.json.decode(os.environ[_HANDED_ON]), Settings)
    desk = open_desk(
        settings.database,
        vocabulary=load_vocabulary(settings.vocabulary_file),
        cache_bytes=settings.cache_mb * MEBIBYTE,
    )
    app = create_app(desk, public_url=settings.url, metrics=settings.metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        flushing = asyncio.create_task(_flush_now_and_then(desk))
        yield
        flushing.cancel()
        with suppress(StoreUnavailable):
            desk.key_uses.flush(desk.store)
        desk.close()

    app.router.lifespan_context = lifespan
    return app


async def _flush_now_and_then(desk: Desk) -> None:
    """Write when keys were used, outside of any request. What cannot be written now waits for the next round."""
    while True:
        await asyncio.sleep(FLUSH_EVERY_S)
        with suppress(StoreUnavailable):
            await asyncio.to_thread(desk.key_uses.flush, desk.store)
