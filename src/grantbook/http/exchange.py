"""One request between a caller and the book: who asks, which state to read, and writes that are safe to repeat.

A guarded route first finds out who calls (401), whether the key opens the organization that the path or the query
names (403) and whether its scopes allow the route (403); only then is the body looked at (422), then existence (404),
then rights (403).
"""

from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256, shake_256
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlencode

import msgspec
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from grantbook.http.errors import named
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
from grantbook.service import gates, keys
from grantbook.service.admission import Admissions, require_scope
from grantbook.service.desk import Caller, Desk, Reading, Writing, again_if_aborted, revision_of, token_of
from grantbook.service.entities import lookup_key
from grantbook.store.port import Lookup, StoredResponse, Writable

REVISION_HEADER: Final = "Grantbook-Revision"
AT_LEAST_HEADER: Final = "Grantbook-At-Least"
REPLAYED_HEADER: Final = "Idempotency-Replayed"
ORGANIZATION_ID: Final = "organization_id"
STRANGER: Final = "stranger"
_SEAL: Final = "sealed-with"
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(slots=True)
class Answer:
    """A status and a JSON value; `None` is an empty body.

    One that `holds_secret` is kept for a repeated request, but sealed: only the caller's own key opens it.
    """

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    holds_secret: bool = False

    def response(self) -> Response:
        content = b"" if self.body is None else msgspec.json.encode(self.body)
        return _response(self.status, content, self.headers)


Work: TypeAlias = Callable[[Writing], Answer]


def done(change: Callable[[Writing], object]) -> Work:
    """The work of a change after which there is nothing to tell."""

    def work(writing: Writing) -> Answer:
        change(writing)
        return Answer(None, 204)

    return work


class NotConfirmed(Exception):
    """A caller who was admitted some time ago would not be now, or not as the same."""


class Exchange:
    """What a handler works with."""

    def __init__(
        self,
        state: Any,
        identity: keys.Identity,
        *,
        admitted_to: str | None,
        secret: str,
        idempotency_key: str | None = None,
        fingerprint: str = "",
        at_least: str | None = None,
        is_get: bool = False,
    ) -> None:
        """`state` is the application's; the caller is known to open `admitted_to`."""
        self.desk: Desk = state.desk
        self._public_url: str = state.public_url
        self.identity = identity
        self._admitted_to = admitted_to
        self._secret = secret
        self._idempotency_key = idempotency_key
        self._fingerprint = fingerprint
        self._at_least = at_least
        self._is_get = is_get

    @property
    def home(self) -> str:
        """The organization of the caller's key."""
        return self.identity.organization_id

    @property
    def caller(self) -> Caller:
        return self.identity.caller

    @property
    def trace_id(self) -> str:
        return self.caller.trace_id or ""

    def link(self, path: str, **query: str) -> str:
        """An address for people, under the public URL of the settings: never made of what the request says."""
        return f"{self._public_url}{path}?{urlencode(query)}"

    @contextmanager
    def reading(
        self, organization_id: str, *, as_of: Instant | None = None, at_least: str | None = None
    ) -> Iterator[Reading]:
        """A reading, at least as new as the caller's `Grantbook-At-Least`."""
        token = at_least or self._at_least
        caller = self._caller_in(organization_id)
        with self.desk.reading(
            organization_id, caller, as_of=as_of, at_least=token, is_full=not self._is_get
        ) as reading:
            yield reading

    @again_if_aborted
    def write(
        self,
        organization_id: str,
        work: Work,
        *,
        reason: str | None = None,
        is_founding: bool = False,
    ) -> Response:
        """Do the work and answer, in one transaction with the memory of the answer.

        A repeated `Idempotency-Key` gets the first answer. Where the database ends the transaction for the sake of
        another, the work is done again, a few times. Raises IdempotencyKeyReused(idempotency_key).
        """
        caller = self.caller if is_founding else self._caller_in(organization_id)
        with self.desk.writing(organization_id, caller, reason=reason) as writing:
            self._confirm(writing)
            return self._answered(writing, work)

    def write_within(self, organization_id: str, work: Work, book: Writable, *, reason: str | None = None) -> Response:
        """As `write`, in a block of `Store.together`, by a caller who was admitted to the organization at some time.

        Raises NotConfirmed where that caller would be refused now.
        """
        with self.desk.writing(organization_id, self.caller, reason=reason, within=book) as writing:
            try:
                self._confirm(writing)
            except (AuthenticationFailed, PermissionDenied) as error:
                raise NotConfirmed from error
            return self._answered(writing, work)

    def _answered(self, writing: Writing, work: Work) -> Response:
        if self._idempotency_key is not None:
            stored = writing.book.find_response(self._stored_key)
            if stored is not None:
                return self._replay(stored)
        answer = work(writing)
        response = answer.response()
        response.headers[REVISION_HEADER] = token_after(writing)
        if self._idempotency_key is not None and len(response.body) <= MAX_IDEMPOTENT_RESPONSE_BYTES:
            nonce = writing.random(16) if answer.holds_secret else b""
            writing.book.keep_response(self._stored_key, self._stored(response, nonce))
        return response

    def _confirm(self, writing: Writing) -> None:
        """What was found out before the write had its turn, which it may have waited for. Raises as the guard."""
        if writing.organization_id == self._admitted_to:
            gates.require_membership(writing)
        if writing.organization_id == self.home:
            keys.confirm(writing, self.identity)
            return
        with self.desk.reading(self.home, self.caller) as reading:
            keys.confirm(reading, self.identity)
            if writing.caller.user_id != STRANGER:
                gates.require_membership(reading)

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
        """The caller, as the key may speak there: of other organizations, only for users at home in the key's.

        A member who is not active any more, or not yet, has no say anywhere, whatever is granted to them by name.
        """
        if organization_id == self._admitted_to or self._opens(organization_id):
            return self.caller
        is_at_home = self.desk.store.look_up(Lookup.USER, self.caller.user_id) == self.home
        if organization_id != self.home and is_at_home and self._opens(self.home):
            return self.caller
        return replace(self.caller, user_id=STRANGER)

    def _opens(self, organization_id: str) -> bool:
        try:
            keys.require_opens(self.desk, self.identity, organization_id)
        except PermissionDenied:
            return False
        return True

    @property
    def _stored_key(self) -> str:
        return f"{self.caller.api_key_id}/{self._idempotency_key}"

    def _replay(self, stored: StoredResponse) -> Response:
        if stored.fingerprint != self._fingerprint:
            raise IdempotencyKeyReused(idempotency_key=self._idempotency_key)
        headers = dict(stored.headers)
        body = self._sealed(stored.body, bytes.fromhex(headers.pop(_SEAL, "")))
        return _response(stored.status, body, {**headers, REPLAYED_HEADER: "true"})

    def _stored(self, response: Response, nonce: bytes) -> StoredResponse:
        seal = ((_SEAL, nonce.hex()),) if nonce else ()
        return StoredResponse(
            fingerprint=self._fingerprint,
            status=response.status_code,
            headers=((REVISION_HEADER, response.headers[REVISION_HEADER]), *seal),
            body=self._sealed(bytes(response.body), nonce),
        )

    def _sealed(self, body: bytes, nonce: bytes) -> bytes:
        """The body under a pad that only the caller's secret can make again, or back; as it is without a nonce."""
        if not nonce:
            return body
        pad = shake_256(nonce + self._secret.encode("utf-8", "surrogatepass")).digest(len(body))
        return bytes(each ^ hidden for each, hidden in zip(body, pad, strict=True))


async def _exchange(request: Request) -> Exchange:  # async, since a plain function would cost a hop to a thread
    return Exchange(
        request.app.state,
        request.state.identity,
        admitted_to=request.state.admitted_to,
        secret=_secret(request),
        idempotency_key=request.state.idempotency_key,
        fingerprint=request.state.fingerprint,
        at_least=request.headers.get(AT_LEAST_HEADER),
        is_get=request.method == "GET",
    )


Exchanged = Annotated[Exchange, Depends(_exchange)]


def token_after(writing: Writing) -> str:
    """The consistency token of the state that the writing leaves behind."""
    revision = writing.book.revision if writing.book.has_changes else writing.book.revision - 1
    return token_of(writing.organization_id, revision)


class GuardedRoute(APIRoute):
    """A route for callers with a key. `openapi_extra={"x-scope": ...}` names a scope other than read or write."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        scope = (self.openapi_extra or {}).get("x-scope")
        is_in_query = any(field.name == ORGANIZATION_ID for field in self.dependant.query_params)
        known = _parameters_of(self.dependant)

        async def guarded(request: Request) -> Response:
            organization_id = (request.query_params if is_in_query else request.path_params).get(ORGANIZATION_ID)
            if not _recall(request, organization_id):
                await run_in_threadpool(_identify, request, organization_id)
            _admit(request, scope)
            _require_known(request, known)
            request.state.fingerprint, request.state.idempotency_key = "", None
            if request.method in _UNSAFE and "idempotency-key" in request.headers:
                request.state.idempotency_key = _idempotency_key(request)
                request.state.fingerprint = await _fingerprint(request)
            return await handle(request)

        return guarded


def _recall(request: Request, organization_id: str | None) -> bool:
    """Whether the caller is known from an earlier request: no thread, no look into the book."""
    if organization_id is None:
        return False
    admissions: Admissions = request.app.state.admissions
    admission = admissions.recall(_credential(request), organization_id, at_least=_at_least(request, organization_id))
    if admission is not None:
        _set_identity(request, admission.identity, organization_id)
    return admission is not None


def _at_least(request: Request, organization_id: str) -> int:
    """The revision that is asked for; 0 where the header is not one of ours, which whoever reads says."""
    token = request.headers.get(AT_LEAST_HEADER)
    with suppress(ValidationFailed):
        return 0 if token is None else revision_of(organization_id, token)
    return 0


def _identify(request: Request, organization_id: str | None) -> None:
    if organization_id is None:
        identity = keys.authenticate(request.app.state.desk, _secret(request))
    else:
        admissions: Admissions = request.app.state.admissions
        credential, secret = _credential(request), _secret(request)
        at_least = _at_least(request, organization_id)
        known = admissions.recall_patiently(credential, organization_id, at_least=at_least)
        identity = (known or admissions.admit(credential, secret, organization_id)).identity
    _set_identity(request, identity, organization_id)


def _set_identity(request: Request, identity: keys.Identity, organization_id: str | None) -> None:
    request.state.identity = identity.traced(trace_id_of(request.scope))
    request.state.admitted_to = organization_id


def _admit(request: Request, scope: str | None) -> None:
    require_scope(request.state.identity, scope or ("read" if request.method == "GET" else "write"))
    for name, value in request.path_params.items():
        is_made = name == "entity_id" and request.method == "PUT"  # an id of their own, which is told what is wrong
        if name != "entity_type" and not is_made and not is_id(value):
            raise NotFound("No such id", **{name: value})


def _require_known(request: Request, known: Collection[str]) -> None:
    """Raises ValidationFailed for a parameter that is not known: ignored, it would have widened the answer."""
    for name in request.query_params:
        if name not in known:
            field = named(name)
            these = f"these are {', '.join(sorted(known))}" if known else "there is none here"
            raise ValidationFailed(field, f"{field} is not a known parameter: {these}")


def _parameters_of(dependant: Any) -> set[str]:
    """What a route and all that it depends on take from the query."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_parameters_of, dependant.dependencies))


def _credential(request: Request) -> tuple[bytes, bytes]:
    given = (request.headers.get(name, "").encode("latin-1") for name in ("x-api-key", "authorization"))
    return credential_of(*given)


def credential_of(api_key: bytes, authorization: bytes) -> tuple[bytes, bytes]:
    """What the caller sent to be known by: the scheme, empty for `X-API-Key`, and a digest of the key."""
    if api_key:
        return b"", sha256(api_key).digest()
    scheme, _, token = authorization.partition(b" ")
    return scheme.lower(), sha256(token.strip()).digest()


def _secret(request: Request) -> str:
    return secret_of(request.headers.get("x-api-key", ""), request.headers.get("authorization", ""))


def secret_of(api_key: str, authorization: str) -> str:
    """The key from `X-API-Key`, else from `Authorization: Bearer`. Raises AuthenticationFailed where there is none."""
    if api_key:
        return api_key
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    raise AuthenticationFailed("Send an API key in X-API-Key, or as Authorization: Bearer KEY")


def _idempotency_key(request: Request) -> str:
    key = request.headers["idempotency-key"]
    if not is_idempotency_key(key):
        raise ValidationFailed(
            "Idempotency-Key", f"Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY_LENGTH} printable characters"
        )
    return key


def is_idempotency_key(key: str) -> bool:
    """Whether it can be one."""
    return 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_LENGTH and key.isprintable()


async def _fingerprint(request: Request) -> str:
    return fingerprint_of(request.method, request.url.path, request.url.query, await request.body())


def fingerprint_of(method: str, path: str, query: str, body: bytes) -> str:
    """What tells a repeated request from another one under the same key."""
    return sha256(f"{method} {path}?{query}\n".encode() + body).hexdigest()


def _response(status: int, content: bytes, headers: dict[str, str]) -> Response:
    media_type = "application/json" if content else None
    return Response(content, status_code=status, media_type=media_type, headers=headers)
