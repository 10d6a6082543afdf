"""A network that misbehaves on purpose: a TCP proxy between a server and PostgreSQL.

It tells the connection of the feed, which listens, from all others, and can cut, delay or hold back either kind; and
it can cut one connection exactly while a COMMIT is under way on it.

`said` counts what the server sends on either kind, before it is forwarded; `feeds` are the server's own ports of
the connections that listen, or did.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from threading import Event, Thread
from typing import Any, Final, Self

from sqlalchemy.engine import make_url

_LISTENS: Final = b"LISTEN grantbook"
_COMMITS: Final = b"COMMIT\x00"
_DOES_NOT_LISTEN: Final = b'UNLISTEN "other"'
_CHUNK: Final = 65_536
_PATIENCE_S: Final = 30


class Kind(Enum):
    """What a connection is for."""

    FEED = auto()
    QUERIES = auto()


class Cut(Enum):
    """When to cut the connection of the next COMMIT."""

    BEFORE_IT_ARRIVES = auto()
    BEFORE_ITS_ANSWER = auto()


@dataclass
class _Weather:
    """What happens to the bytes of one kind of connection, in both directions."""

    delay_s: float = 0.0
    flows: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class _Link:
    """One connection of the server with its other half."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    kind: Kind = Kind.QUERIES
    is_cut_at_answer: bool = False

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Forwards to the PostgreSQL of a URL; `url` is the same database through the proxy. For any thread."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._loop = asyncio.new_event_loop()
        self._links: set[_Link] = set()
        self._weather = {kind: _Weather() for kind in Kind}
        self._cuts_next: Cut | None = None
        self._and_refuses = False
        self.refuses = False
        self.keeps_sessions = True
        self.was_cut = Event()
        self.opened: Counter[Kind] = Counter()
        self.said: Counter[Kind] = Counter()
        self.feeds: set[int] = set()
        for weather in self._weather.values():
            weather.flows.set()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.url = self._target.set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    def delay(self, kind: Kind, seconds: float) -> None:
        """Everything on such connections takes so much longer, each way."""
        self._weather[kind].delay_s = seconds

    def stand_still(self, kind: Kind, *, stands: bool = True) -> None:
        """Take everything on such connections, and forward nothing until it stands still no more."""
        flows = self._weather[kind].flows
        self._call(flows.clear if stands else flows.set)

    def cut(self, *kinds: Kind) -> None:
        """End such connections; new ones are taken unless `refuses`."""

        def cut() -> None:
            for link in list(self._links):
                if link.kind in kinds:
                    link.cut()

        self._call(cut)

    def cut_next_commit(self, when: Cut, *, and_refuse: bool = False) -> None:
        """`was_cut` is set when it happened; from that moment on no connection is taken, where it shall refuse them."""
        self.was_cut.clear()
        self._and_refuses = and_refuse
        self._cuts_next = when

    def heal(self) -> None:
        """As a good network from now on."""
        self.refuses, self.keeps_sessions, self._cuts_next = False, True, None
        for kind in Kind:
            self.delay(kind, 0)
            self.stand_still(kind, stands=False)

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.feeds.discard(_port_of(writer))  # the system gives a port again
        if self.refuses:
            writer.transport.abort()
            return
        try:
            theirs, ours = await asyncio.open_connection(self._target.host, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link((writer, ours))
        self._links.add(link)
        there = asyncio.create_task(self._pump(link, reader, ours, self._look))
        back = asyncio.create_task(self._pump(link, theirs, writer, self._look_back))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            link.cut()
            there.cancel()
            back.cancel()
            self._links.discard(link)

    async def _pump(
        self,
        link: _Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        look: Callable[[_Link, bytes], bool],
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if not look(link, chunk):
                    return
                weather = self._weather[link.kind]
                if weather.delay_s:
                    await asyncio.sleep(weather.delay_s)
                await weather.flows.wait()
                writer.write(chunk if self.keeps_sessions else chunk.replace(_LISTENS, _DOES_NOT_LISTEN))
                await writer.drain()

    def _look(self, link: _Link, chunk: bytes) -> bool:
        """What the server sends; False cuts the connection here."""
        if _LISTENS in chunk:
            link.kind = Kind.FEED
            self.opened[Kind.FEED] += 1
            self.feeds.add(_port_of(link.writers[0]))
        self.said[link.kind] += 1
        if self._cuts_next is None or _COMMITS not in chunk:
            return True
        when, self._cuts_next = self._cuts_next, None
        link.is_cut_at_answer = when is Cut.BEFORE_ITS_ANSWER
        return link.is_cut_at_answer or self._cut_commit()

    def _look_back(self, link: _Link, _: bytes) -> bool:
        return not link.is_cut_at_answer or self._cut_commit()

    def _cut_commit(self) -> bool:
        self.refuses = self._and_refuses
        self.was_cut.set()
        return False

    async def _close(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.cut()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def _call(self, function: Callable[[], object]) -> None:
        """In the proxy's own thread; back when it is done."""

        async def call() -> None:
            function()

        self._run(call())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        running: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return running.result(_PATIENCE_S)


def _port_of(writer: asyncio.StreamWriter) -> int:
    """On the side of the server under test."""
    return int(writer.get_extra_info("peername")[1])
