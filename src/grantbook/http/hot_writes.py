"""Single grants in front of the application: made and revoked, those that wait at the same time with one sync.

As in `hot`, only what is asked in the plain form by a known caller is answered here, and all else goes on to the same
routes in `platform.access`. What is done, and by which rights, is written there and in the use-cases, once.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

import msgspec
from fastapi import Response

from grantbook.http import errors
from grantbook.http.exchange import (
    Exchange,
    NotConfirmed,
    Work,
    credential_of,
    fingerprint_of,
    is_idempotency_key,
    secret_of,
)
from grantbook.http.hot import ClientGone, Id, NotPlain, Word, announced_length, new_trace_id, read_body
from grantbook.http.middleware import ROUTE, App, Receive, Scope, Send, replay
from grantbook.http.platform import access
from grantbook.http.routing import ORGANIZATION
from grantbook.model.errors import GrantbookError, TransactionAborted
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.ids import is_id
from grantbook.model.limits import MAX_BODY_BYTES, MAX_TEXT_LENGTH
from grantbook.service.admission import Admission, Admissions
from grantbook.service.grants import NewGrant
from grantbook.store.port import Store, Writable

Job: TypeAlias = Callable[[Writable], Response]
_ROUTE: Final = re.compile(r"/v1/organizations/([^/]+)/access/grants(?:/([^/]+))?")
_CREATE: Final = f"{ORGANIZATION}/access/grants"
_REVOKE: Final = f"{ORGANIZATION}/access/grants/{{grant_id}}"
_SCOPE: Final = "write"
_MAX_TOGETHER: Final = 64
_MAX_BESIDE: Final = 8
"""So many organizations are written to at a time, each on a connection."""
_log = logging.getLogger(__name__)


class _NewGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`requests.CreateGrant`, without times."""

    entity_type: Word
    entity_id: Id
    grantee_type: Word
    grantee_id: Id
    access_level: Word
    starts_at: None = None
    expires_at: None = None
    reason: Annotated[str, msgspec.Meta(max_length=MAX_TEXT_LENGTH)] | None = None


_NEW: Final = msgspec.json.Decoder(_NewGrant)


class WriteRoutes:
    """Does what it can, and hands the rest to the application."""

    def __init__(self, state: Any, app: App) -> None:
        self._state = state
        self._admissions: Admissions = state.admissions
        self._app = app
        shares = state.desk.facts.present.is_local
        self._writer = Writer(state.desk.store, threads=1 if shares else _MAX_BESIDE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = _ROUTE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        body: bytes | None = None
        headers = dict(scope["headers"])
        try:
            _require_plain(scope, headers, route)
            if scope["method"] == "POST":
                body = await read_body(receive)
            work, reason = _work(body, route[2])
            admission = self._admission(headers, route[1])
        except ClientGone:
            return
        except NotPlain:  # the application finds out more, or says what is wrong
            await self._app(scope, receive if body is None else replay(body, receive), send)
            return
        scope[ROUTE] = _CREATE if route[2] is None else _REVOKE
        trace_id = new_trace_id(headers)
        try:
            exchange = self._exchange(scope, headers, admission, route[1], body, trace_id)
            response = await self._writer.do(route[1], partial(exchange.write_within, route[1], work, reason=reason))
        except (NotConfirmed, TransactionAborted) as error:  # nothing was done
            if isinstance(error, NotConfirmed):
                self._admissions.forget(credential_of(*_sent(headers)), route[1])
            await self._app(scope, receive if body is None else replay(body, receive), send)
            return
        except GrantbookError as error:
            response = errors.response_of(error, trace_id)
        except Exception:
            _log.exception("a write failed")
            response = errors.response_of(GrantbookError(), trace_id)
        response.headers["X-Request-ID"] = trace_id
        await response(scope, receive, send)

    def _admission(self, headers: dict[bytes, bytes], organization_id: str) -> Admission:
        """As it was found some time ago: the write confirms it."""
        admission = self._admissions.latest(credential_of(*_sent(headers)), organization_id)
        if admission is None:
            raise NotPlain
        scopes = admission.identity.caller.scopes
        if scopes is not None and _SCOPE not in scopes:
            raise NotPlain
        return admission

    def _exchange(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        admission: Admission,
        organization_id: str,
        body: bytes | None,
        trace_id: str,
    ) -> Exchange:
        key = headers.get(b"idempotency-key")
        return Exchange(
            self._state,
            admission.identity.traced(trace_id),
            admitted_to=organization_id,
            secret=secret_of(*(each.decode("latin-1") for each in _sent(headers))),
            idempotency_key=None if key is None else key.decode("latin-1"),
            fingerprint="" if key is None else fingerprint_of(scope["method"], scope["path"], "", body or b""),
        )


class _Waiting(NamedTuple):
    organization_id: str
    job: Job
    answer: "asyncio.Future[Response]"


class Writer:
    """Writes for many requests: what waits when a thread comes back is its next transaction of the database.

    While it waits for the disk, more come in: so the more there is to write, the fewer syncs each of them takes.
    Where there is one thread, whatever waits goes together; where there are several, what is of one organization does,
    since others would wait for it.
    """

    def __init__(self, store: Store, *, threads: int) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(threads, "grantbook-writer")
        self._is_one = threads == 1
        self._lock = Lock()
        self._waiting: dict[str, deque[_Waiting]] = {}
        """Of each organization, or of all; there as long as somebody writes or will write for it."""

    async def do(self, organization_id: str, job: Job) -> Response:
        """What the job returns or raises, once its revision is durable. Raises StoreUnavailable where it is not."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Response] = loop.create_future()
        line = "" if self._is_one else organization_id
        with self._lock:
            starts = line not in self._waiting
            self._waiting.setdefault(line, deque()).append(_Waiting(organization_id, job, answer))
        if starts:
            loop.call_soon(self._threads.submit, self._work, line)  # behind what came in the same round
        return await answer

    def _work(self, line: str) -> None:
        """One transaction; then it is another's turn, if others wait for a thread."""
        batch = self._next(line)
        if not batch:
            return
        found = self._written(batch)
        for loop in {each.answer.get_loop() for each in batch}:
            mine = [(each.answer, told) for each, told in found if each.answer.get_loop() is loop]
            with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(_tell, mine)
        try:
            self._threads.submit(self._work, line)
        except RuntimeError:  # the process ends, and takes no new work
            self._work(line)

    def _next(self, line: str) -> list[_Waiting]:
        with self._lock:
            waiting = self._waiting[line]
            batch = [waiting.popleft() for _ in range(min(len(waiting), _MAX_TOGETHER))]
            if not batch:
                del self._waiting[line]
        return batch

    def _written(self, batch: list[_Waiting]) -> list[tuple[_Waiting, Response | Exception]]:
        if len(batch) == 1:
            return [(batch[0], _outcome(batch[0].job, self._store))]
        try:
            with self._store.together() as book:
                return [(each, _outcome(each.job, book)) for each in batch]
        except Exception as error:
            return [(each, error) for each in batch]


def _outcome(job: Job, book: Writable) -> Response | Exception:
    try:
        return job(book)
    except Exception as error:
        return error


def _tell(found: list[tuple["asyncio.Future[Response]", Response | Exception]]) -> None:
    for answer, told in found:
        if answer.done():  # who asked has gone
            continue
        if isinstance(told, Exception):
            answer.set_exception(told)
        else:
            answer.set_result(told)


def _require_plain(scope: Scope, headers: dict[bytes, bytes], route: re.Match[str]) -> None:
    """Raises NotPlain for a head out of the ordinary."""
    if scope["method"] != ("POST" if route[2] is None else "DELETE") or scope["query_string"]:
        raise NotPlain
    if len(headers) != len(scope["headers"]) or b"transfer-encoding" in headers:
        raise NotPlain
    key = headers.get(b"idempotency-key")
    if key is not None and not is_idempotency_key(key.decode("latin-1")):
        raise NotPlain
    length = announced_length(headers, MAX_BODY_BYTES) if b"content-length" in headers else 0
    if length is None:
        raise NotPlain
    if route[2] is None and headers.get(b"content-type") != b"application/json":
        raise NotPlain
    if route[2] is not None and (length or not is_id(route[2])):
        raise NotPlain


def _work(body: bytes | None, grant_id: str | None) -> tuple[Work, str | None]:
    """What to do, and the reason for the record. Raises NotPlain for a body out of the ordinary."""
    if grant_id is not None:
        return access.revoking(grant_id), None
    try:
        asked = _NEW.decode(body or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise NotPlain from None
    new = NewGrant(
        grantee=Principal(asked.grantee_type, asked.grantee_id), access_level=asked.access_level, reason=asked.reason
    )
    return access.creating(EntityRef(asked.entity_type, asked.entity_id), new), asked.reason


def _sent(headers: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    return headers.get(b"x-api-key", b""), headers.get(b"authorization", b"")
