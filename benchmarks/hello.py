"""The yardstick: the least that an ASGI application on uvicorn can do. Every rate is shown next to this one's."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

_START: Final[dict[str, Any]] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"17")],
}
_BODY: Final[dict[str, Any]] = {"type": "http.response.body", "body": b'{"hello":"world"}'}


async def app(scope: dict[str, Any], _: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Answers every request with the same 17 bytes and never reads a body."""
    if scope["type"] == "http":
        await send(_START)
        await send(_BODY)
