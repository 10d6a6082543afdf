"""The application: routes, errors and middleware around one desk."""

import json
import re
from functools import partial
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp

from grantbook.http import decisions, errors, responses
from grantbook.http.exchange import secret_of
from grantbook.http.hot import HotRoutes
from grantbook.http.hot_writes import WriteRoutes
from grantbook.http.middleware import BodyLimit, Front, Receive, Scope, Send, TraceId, trace_id_of
from grantbook.http.platform import (
    access,
    api_keys,
    assistants,
    audit_log,
    departments,
    entities,
    imports,
    knowledge,
    members,
    organizations,
    roles,
    rule_permissions,
    rules,
)
from grantbook.model.errors import GrantbookError, PayloadTooLarge
from grantbook.model.limits import MAX_BATCH_BODY_BYTES, MAX_BODY_BYTES, MAX_IMPORT_BODY_BYTES
from grantbook.service import keys
from grantbook.service.admission import Admissions
from grantbook.service.desk import Desk

_IMPORT = re.compile(r"/v1/organizations/[^/]+/(entities|access/grants)/import")
_BATCH = re.compile(r"/v1/organizations/[^/]+/access/check/batch")
_SILENT: dict[str, Any] = {"description": "The database does not answer."}
_DESCRIPTION = """
Who may do what on which entity, why, and since when.

Send an API key as `X-API-Key`, or as `Authorization: Bearer`. Every error has the same envelope, and a `trace_id` that
is also in the `X-Request-ID` header. Writes take an `Idempotency-Key` (remembered for a day) and answer with a
`Grantbook-Revision`; reads take it back as `Grantbook-At-Least` to see at least that revision.
"""


class Application(FastAPI):
    """Decisions are answered in front of everything else."""

    front: Front | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.front or super().__call__)(scope, receive, send)


def create_app(desk: Desk, *, public_url: str = "http://localhost", metrics: bool = False) -> Application:
    """The server's ASGI application. The caller keeps the desk and closes its store.

    `public_url` is where people reach it: what links in answers begin with. With `metrics`, `GET /metrics` answers
    whoever asks.
    """
    app = Application(
        title="Grantbook",
        version=version("grantbook"),
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.desk = desk
    app.state.public_url = public_url
    app.state.admissions = Admissions(desk)
    errors.install(app)
    for routes in (api_keys.routes, audit_log.routes, imports.routes):
        app.include_router(routes)
    for routes in (access.routes, decisions.routes, rules.routes, rule_permissions.routes):
        app.include_router(routes)
    for routes in (knowledge.routes, assistants.routes, entities.routes):
        app.include_router(routes)
    for routes in (organizations.routes, members.routes, members.open_routes, departments.routes, roles.routes):
        app.include_router(routes)
    _add_health(app)
    app.add_middleware(BodyLimit, maximum_of=_max_body_bytes, refuse=_too_large, refusal_of=partial(_unknown, desk))
    app.add_middleware(TraceId)
    writes = WriteRoutes(app.state, super(Application, app).__call__)
    app.front = HotRoutes(desk, app.state.admissions, writes)
    if metrics:
        from grantbook.http.metrics import Measured  # late: the start does not wait for what is off

        app.front = Measured(app.front, desk.facts)
    return app


def _add_health(app: FastAPI) -> None:
    """With HEAD too, of which the server sends the head alone: that is how load balancers ask."""

    @app.head("/healthz", response_class=Response, tags=["Health"])
    @app.get("/healthz", response_model=responses.Health, tags=["Health"])
    async def healthz() -> Response:
        """The process answers."""
        return _json({"status": "ok"})

    @app.head("/readyz", response_class=Response, tags=["Health"], responses={503: _SILENT})
    @app.get(
        "/readyz",
        response_model=responses.Health,
        tags=["Health"],
        responses={503: {**_SILENT, "model": responses.ErrorEnvelope}},
    )
    def readyz(request: Request) -> Response:
        """The database answers too."""
        request.app.state.desk.store.require_ready()
        return _json({"status": "ok"})


def _max_body_bytes(scope: Scope) -> int:
    """Imports and batches of questions may be long, and nothing else."""
    if scope["method"] == "POST":
        if _IMPORT.fullmatch(scope["path"]):
            return MAX_IMPORT_BODY_BYTES
        if _BATCH.fullmatch(scope["path"]):
            return MAX_BATCH_BODY_BYTES
    return MAX_BODY_BYTES


def _too_large(scope: Scope) -> ASGIApp:
    return errors.response_of(PayloadTooLarge(limit_bytes=_max_body_bytes(scope)), trace_id_of(scope))


async def _unknown(desk: Desk, scope: Scope) -> ASGIApp | None:
    """What whoever has no key gets to hear before more of a body is taken in than everybody may send."""
    headers = Headers(scope=scope)
    try:
        secret = secret_of(headers.get("x-api-key", ""), headers.get("authorization", ""))
        await run_in_threadpool(keys.authenticate, desk, secret)
    except GrantbookError as error:
        return errors.response_of(error, trace_id_of(scope))
    return None


def _json(value: Any) -> Response:
    return Response(json.dumps(value), media_type="application/json")
