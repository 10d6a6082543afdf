"""One request between a caller and the book: who asks, which state to read, and writes that are safe to repeat.

A guarded route first finds out who calls (401), whether the key opens the organization in the path (403) and whether
its scopes allow the route (403); only then is the body looked at (422), then existence (404), then rights (403).
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from grantbook.http.middleware import trace_id_of
from grantbook.model.errors import (
    AuthenticationFailed,
    IdempotencyKeyReused,
    NotFound,
    PermissionDenied,
    ValidationFailed,
)
from grantbook.model.facts import EntityRef
from grantbook.model.ids import is_id
from grantbook.model.instants import Instant
from grantbook.model.limits import MAX_IDEMPOTENCY_KEY_LENGTH, MAX_IDEMPOTENT_RESPONSE_BYTES
from grantbook.service import keys
from grantbook.service.desk import Caller, Desk, Reading, Writing, token_of
from grantbook.service.entities import lookup_key
from grantbook.store.port import Lookup, StoredResponse

REVISION_HEADER: Final = "Grantbook-Revision"
AT_LEAST_HEADER: Final = "Grantbook-At-Least"
REPLAYED_HEADER: Final = "Idempotency-Replayed"
STRANGER: Final = "stranger"
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class Answer:
    """A status and a JSON value; `None` is an empty body."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        content = b"" if self.body is None else msgspec.json.encode(self.body)
        return _response(self.status, content, self.headers)


class Exchange:
    """What a handler works with."""

    def __init__(self, request: Request) -> None:
        self.desk: Desk = request.app.state.desk
        self.trace_id = trace_id_of(request.scope)
        self._identity: keys.Identity = request.state.identity
        self._fingerprint: str = request.state.fingerprint
        self._at_least = request.headers.get(AT_LEAST_HEADER)
        self._idempotency_key: str | None = request.state.idempotency_key

    @property
    def home(self) -> str:
        """The organization of the caller's key."""
        return self._identity.organization_id

    @property
    def caller(self) -> Caller:
        return self._identity.caller

    @contextmanager
    def reading(
        self, organization_id: str, *, as_of: Instant | None = None, at_least: str | None = None
    ) -> Iterator[Reading]:
        """A reading, at least as new as the caller's `Grantbook-At-Least`."""
        token = at_least or self._at_least
        caller = self._caller_in(organization_id)
        with self.desk.reading(organization_id, caller, as_of=as_of, at_least=token) as reading:
            yield reading

    def write(
        self,
        organization_id: str,
        work: Callable[[Writing], Answer],
        *,
        reason: str | None = None,
        is_founding: bool = False,
    ) -> Response:
        """Do the work and answer, in one transaction with the memory of the answer.

        A repeated `Idempotency-Key` gets the first answer. Raises IdempotencyKeyReused(idempotency_key).
        """
        caller = self.caller if is_founding else self._caller_in(organization_id)
        with self.desk.writing(organization_id, caller, reason=reason) as writing:
            if self._idempotency_key is not None:
                stored = writing.book.find_response(self._stored_key)
                if stored is not None:
                    return self._replay(stored)
            before = writing.book.revision
            answer = work(writing)
            response = answer.response()
            revision = before if writing.book.has_changes else before - 1
            response.headers[REVISION_HEADER] = token_of(organization_id, revision)
            if self._idempotency_key is not None and len(response.body) <= MAX_IDEMPOTENT_RESPONSE_BYTES:
                writing.book.keep_response(self._stored_key, self._stored(response))
        return response

    def derived_id(self, prefix: str, otherwise: str) -> str:
        """An id that a repeated request finds again: from the idempotency key where there is one."""
        if self._idempotency_key is None:
            return otherwise
        return prefix + sha256(self._stored_key.encode()).hexdigest()[:32]

    def organization_of_rule(self, rule_id: str) -> str:
        """Where a rule lives. Raises NotFound(rule_id)."""
        organization_id = self.desk.store.look_up(Lookup.ENTITY, lookup_key(EntityRef("rule", rule_id)))
        if organization_id is None:
            raise NotFound("Rule not found", rule_id=rule_id)
        return organization_id

    def _caller_in(self, organization_id: str) -> Caller:
        """The caller, as the key may speak there: of other organizations, only for users at home in the key's."""
        if organization_id == self.home or self._opens_elsewhere(organization_id):
            return self.caller
        if self.desk.store.look_up(Lookup.USER, self.caller.user_id) == self.home:
            return self.caller
        return replace(self.caller, user_id=STRANGER)

    def _opens_elsewhere(self, organization_id: str) -> bool:
        try:
            keys.require_opens(self.desk, self._identity, organization_id)
        except PermissionDenied:
            return False
        return True

    @property
    def _stored_key(self) -> str:
        return f"{self.caller.api_key_id}/{self._idempotency_key}"

    def _replay(self, stored: StoredResponse) -> Response:
        if stored.fingerprint != self._fingerprint:
            raise IdempotencyKeyReused(idempotency_key=self._idempotency_key)
        return _response(stored.status, stored.body, {**dict(stored.headers), REPLAYED_HEADER: "true"})

    def _stored(self, response: Response) -> StoredResponse:
        return StoredResponse(
            fingerprint=self._fingerprint,
            status=response.status_code,
            headers=((REVISION_HEADER, response.headers[REVISION_HEADER]),),
            body=bytes(response.body),
        )


Exchanged = Annotated[Exchange, Depends(Exchange)]


class GuardedRoute(APIRoute):
    """A route for callers with a key. `openapi_extra={"x-scope": ...}` names a scope other than read or write."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        scope = (self.openapi_extra or {}).get("x-scope")

        async def guarded(request: Request) -> Response:
            await run_in_threadpool(_admit, request, scope)
            request.state.fingerprint, request.state.idempotency_key = "", None
            if request.method in _UNSAFE and "idempotency-key" in request.headers:
                request.state.idempotency_key = _idempotency_key(request)
                request.state.fingerprint = await _fingerprint(request)
            return await handle(request)

        return guarded


def _admit(request: Request, scope: str | None) -> None:
    desk: Desk = request.app.state.desk
    identity = keys.authenticate(desk, _secret(request), trace_id_of(request.scope))
    request.state.identity = identity
    organization_id = request.path_params.get("organization_id")
    if organization_id is not None:
        keys.require_opens(desk, identity, organization_id)
    wanted = scope or ("read" if request.method == "GET" else "write")
    if identity.caller.scopes is not None and wanted not in identity.caller.scopes:
        raise PermissionDenied(f"The API key lacks the scope '{wanted}'", scope=wanted)
    for name, value in request.path_params.items():
        if name != "entity_type" and not is_id(value):
            raise NotFound("No such id", **{name: value})


def _secret(request: Request) -> str:
    """The key from `X-API-Key`, else from `Authorization: Bearer`."""
    if key := request.headers.get("x-api-key"):
        return key
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    raise AuthenticationFailed("Send an API key in X-API-Key, or as Authorization: Bearer KEY")


def _idempotency_key(request: Request) -> str:
    key = request.headers["idempotency-key"]
    if not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH or not key.isprintable():
        raise ValidationFailed(
            "Idempotency-Key", f"Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} characters"
        )
    return key


async def _fingerprint(request: Request) -> str:
    line = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return sha256(line + await request.body()).hexdigest()


def _response(status: int, content: bytes, headers: dict[str, str]) -> Response:
    media_type = "application/json" if content else None
    return Response(content, status_code=status, media_type=media_type, headers=headers)
