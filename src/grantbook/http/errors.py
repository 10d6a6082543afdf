"""The one place where an error becomes a response: the status of each code, and the envelope that all share."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from grantbook.http.middleware import trace_id_of
from grantbook.model.errors import (
    AuthenticationFailed,
    GrantbookError,
    MalformedRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    RouteNotFound,
    ValidationFailed,
)

STATUS: Final[Mapping[str, int]] = {
    "VALIDATION_ERROR": 422,
    "INVALID_LINES": 422,
    "INVALID_CAPABILITY": 422,
    "DEPARTMENT_CYCLE": 422,
    "DEPARTMENT_HAS_CHILDREN": 422,
    "INVALID_JSON": 400,
    "INVALID_HTTP": 400,
    "AUTHENTICATION_REQUIRED": 401,
    "INVALID_API_KEY": 401,
    "API_KEY_EXPIRED": 401,
    "API_KEY_DEACTIVATED": 401,
    "API_KEY_PAUSED": 401,
    "INSUFFICIENT_PERMISSIONS": 403,
    "ORGANIZATION_ACCESS_DENIED": 403,
    "CANNOT_REMOVE_LAST_OWNER": 403,
    "RESOURCE_NOT_FOUND": 404,
    "ROUTE_NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "RESOURCE_CONFLICT": 409,
    "GRANT_ALREADY_EXISTS": 409,
    "GRANT_WOULD_BE_DEMOTED": 409,
    "IDEMPOTENCY_KEY_REUSED": 409,
    "MEMBER_ALREADY_EXISTS": 409,
    "ROLE_ALREADY_EXISTS": 409,
    "DEPARTMENT_OWNS_ENTITIES": 409,
    "ORGANIZATION_EXISTS": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "HEAD_TOO_LARGE": 431,
    "LIMIT_EXCEEDED": 422,
    "REVISION_NOT_REACHED": 503,
    "STORE_UNAVAILABLE": 503,
    "TRANSACTION_ABORTED": 503,
    "OUTCOME_UNKNOWN": 503,
    "TAMPERED_HISTORY": 500,
    "DAMAGED_BOOK": 500,
    "CONFIGURATION_ERROR": 500,
    "INTERNAL_ERROR": 500,
}
_CHALLENGE: Final = 'Bearer realm="grantbook"'
_RETRY_AFTER_S: Final = 1
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_MAX_PROBLEMS: Final = 100
_MAX_FIELD: Final = 200


def status_of(error: GrantbookError) -> int:
    """The HTTP status of the error's code."""
    return STATUS[error.error_code]


def body_of(error: GrantbookError, trace_id: str) -> dict[str, Any]:
    """What every error tells, as the published API shows it. A 5xx tells no more than its code."""
    status = status_of(error)
    kind = "authorization_error" if status == 403 else "client_error" if status < 500 else "server_error"
    return {
        "code": error.error_code,
        "message": error.message,
        "system_message": error.explanation if status < 500 else error.system_message,
        "type": kind,
        "status": status,
        "details": error.details,
        "trace_id": trace_id,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def response_of(error: GrantbookError, trace_id: str, headers: Mapping[str, str] | None = None) -> Response:
    """The error as a response, with the headers that its status asks for."""
    status = status_of(error)
    extra = dict(headers or {})
    if status == 401:
        extra["WWW-Authenticate"] = _CHALLENGE
    if status == 503:
        extra["Retry-After"] = str(_RETRY_AFTER_S)
    body = msgspec.json.encode({"success": False, "error": body_of(error, trace_id)})
    return Response(body, status_code=status, media_type="application/json", headers=extra)


def install(app: FastAPI) -> None:
    """Answer every failure of the application with the envelope."""

    @app.exception_handler(GrantbookError)
    async def _known(request: Request, error: GrantbookError) -> Response:
        return response_of(error, trace_id_of(request.scope))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        content_type = request.headers.get("content-type", "")
        return response_of(translate_validation(error, content_type), trace_id_of(request.scope))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allowed = _allowed(request)
            refused = MethodNotAllowed(f"This address takes {allowed}, not {request.method}", method=request.method)
            return response_of(refused, trace_id_of(request.scope), {"Allow": allowed})
        return response_of(_translate_http(request, error), trace_id_of(request.scope), error.headers)

    @app.exception_handler(Exception)
    async def _unknown(request: Request, _: Exception) -> Response:
        trace_id = trace_id_of(request.scope)  # this answer goes out past the middleware that adds the header
        return response_of(GrantbookError(), trace_id, {"X-Request-ID": trace_id})


def translate_validation(error: RequestValidationError, content_type: str) -> GrantbookError:
    """Pydantic's findings as ours: the field by its path, and what is wrong with it."""
    problems: list[dict[str, str]] = []
    for each in error.errors()[:_MAX_PROBLEMS]:
        if each["type"] == "json_invalid":
            what = each.get("ctx", {}).get("error", "unreadable")
            return MalformedRequest(f"Invalid JSON at character {each['loc'][-1]}: {what}")
        where = each["loc"]
        is_of_list = len(where) > 1 and isinstance(where[1], int)  # a body that is a list, of which fields have no name
        place = ".".join(str(part) for part in (where if is_of_list else where[1:] or where))
        field = named(place)
        problems.append({"field": field, "message": _sentence(field, each, content_type)})
    first = problems[0]
    return ValidationFailed(first["field"], first["message"], errors=problems)


def named(field: str) -> str:
    """The name of a field, or a parameter, that may be any text of the caller's."""
    return field[:_MAX_FIELD].encode("utf-8", "replace").decode()


def _sentence(field: str, problem: Mapping[str, Any], content_type: str) -> str:
    if field == "body":
        if problem["type"] == "missing":
            return "a JSON body is required"
        if not content_type.startswith("application/json"):
            return "the body must be JSON, sent with Content-Type: application/json"
    if problem["type"] == "missing":
        return f"{field} is required"
    if problem["type"] == "extra_forbidden":
        return f"{field} is not a known field"
    text = str(problem["msg"])
    return f"{field}: {text[:1].lower()}{text[1:]}"


def _allowed(request: Request) -> str:
    """Every method that the address takes: one address may have several routes, and each knows only its own."""
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.routes)
    )


def _translate_http(request: Request, error: HTTPException) -> GrantbookError:
    if error.status_code == 404:
        return RouteNotFound(path=request.url.path)
    if error.status_code == 401:
        return AuthenticationFailed()
    if error.status_code == 413:
        return PayloadTooLarge()
    return MalformedRequest(_unreadable(error.__cause__))


def _unreadable(cause: BaseException | None) -> str:
    """What kept the framework from reading the body."""
    if isinstance(cause, RecursionError):
        return "The JSON of the body is nested too deeply"
    if isinstance(cause, ValueError) and not isinstance(cause, UnicodeError):
        return "A number in the JSON of the body has too many digits"
    return "The body could not be read as JSON in UTF-8"
