"""Around every request: a trace id, and a bound on the body. Plain ASGI, so that nothing gets past it."""

import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from grantbook.model.limits import MAX_BODY_BYTES, MAX_TRACE_ID_LENGTH

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Question(Protocol):
    """A request that may be answered without calling the application, by its head."""

    @property
    def method(self) -> str: ...

    @property
    def route(self) -> str:
        """The template of its path."""

    @property
    def trace_id(self) -> str: ...

    begun: float
    """By the clock of whoever measures."""


@runtime_checkable
class Front(Protocol):
    """An application that answers some requests without being called, all with status 200 and JSON."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    def begin(self, method: str, target: bytes, headers: Headers) -> Any | None:
        """The request as a `Question`, which `finish` takes; None where the application is to be called."""

    def finish(self, question: Any, body: bytes) -> bytes | None:
        """The answer, once the body is whole; None where the application is to be called."""


SANE_TRACE_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,%d}" % MAX_TRACE_ID_LENGTH)
_TRACE: Final = "grantbook.trace_id"
ROUTE: Final = "grantbook.route"
"""Where in a scope the template of the route is, for requests that never get to the router."""
QUESTION: Final = "grantbook.question"
"""Where in a scope the question is that a connection has begun and has no answer to, for whoever takes it out."""
_DRAIN_BYTES: Final = 64 * 1024 * 1024
_MAX_DIGITS: Final = 20


def trace_id_of(scope: Scope) -> str:
    """The id of the request: the caller's X-Request-ID where it sent a sane one, else a new UUID."""
    found: str = scope.get(_TRACE) or str(uuid.uuid4())
    return found


class TraceId:
    """Gives each request its id and echoes it in `X-Request-ID`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        trace_id = sent.decode() if SANE_TRACE_ID.fullmatch(sent) else str(uuid.uuid4())
        scope[_TRACE] = trace_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", trace_id.encode())]
            await send(message)

        await self._app(scope, receive, send_with_id)


class BodyLimit:
    """Answers a body over the bound with `refuse`, before anything has read it whole; and one that takes much memory
    with what `refusal_of` its head gives, if anything: whoever is not known does not get to fill the memory.

    What was announced or sent beyond the bound is read and dropped (up to 64 MiB), so that a client that is still
    sending gets to see the answer.
    """

    def __init__(
        self,
        app: App,
        maximum_of: Callable[[Scope], int],
        refuse: Callable[[Scope], App],
        refusal_of: Callable[[Scope], Awaitable[App | None]],
    ) -> None:
        self._app = app
        self._maximum_of = maximum_of
        self._refuse = refuse
        self._refusal_of = refusal_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if announced is None and not any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        chunks: list[bytes] = []
        size, more, maximum, is_known = 0, True, self._maximum_of(scope), False
        refusal: App | None = None
        if announced is not None and announced.isdigit() and _is_over(announced, maximum):
            refusal = self._refuse(scope)
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            more = message.get("more_body", False)
            chunk = message.get("body", b"")
            size += len(chunk)
            if refusal is None and size > maximum:
                refusal = self._refuse(scope)
            if refusal is None and not is_known and size > MAX_BODY_BYTES:
                is_known, refusal = True, await self._refusal_of(scope)
            if refusal is not None:
                chunks.clear()
                if size > _DRAIN_BYTES:
                    break
            else:
                chunks.append(chunk)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, replay(b"".join(chunks), receive), send)


def _is_over(digits: bytes, maximum: int) -> bool:
    """Whether the number is larger, however long it is."""
    return len(digits) > _MAX_DIGITS or int(digits) > maximum


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body again, which was read already."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
