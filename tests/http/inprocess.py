"""The application without a socket, for what needs a clock of its own or a broken database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from starlette.types import ASGIApp

from grantbook.bootstrap import open_desk
from grantbook.http.app import create_app
from grantbook.model.instants import Clock
from grantbook.service.desk import Desk


class InProcess(httpx.BaseTransport):
    """`httpx.ASGITransport` for a client that is not async."""

    def __init__(self, app: ASGIApp) -> None:
        self._inner = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        body = httpx.ByteStream(await response.aread())  # given as content, it would get a Content-Length
        return httpx.Response(response.status_code, headers=response.headers, stream=body)


def client_of(desk: Desk) -> httpx.Client:
    """A client of the application on this desk."""
    return httpx.Client(transport=InProcess(create_app(desk)), base_url="http://in-process")


@contextmanager
def desk_at(database: str, clock: Clock) -> Iterator[Desk]:
    """A desk with that clock; its store is closed after the block."""
    desk = open_desk(database, clock=clock)
    yield desk
    desk.close()
