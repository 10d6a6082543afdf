"""How a router is made: guarded, documented with its errors, and with both ways to send a key."""

from typing import Any, Final

from fastapi import APIRouter, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from grantbook.http.exchange import GuardedRoute
from grantbook.http.responses import ErrorEnvelope

ORGANIZATION: Final = "/v1/organizations/{organization_id}"
_REASONS: Final = {
    400: "The body is not JSON.",
    401: "No key, or one that is not valid, expired, paused or deactivated.",
    403: "Not an active member of the organization, or not allowed to do this.",
    404: "Unknown, deleted, or of another organization.",
    409: "It conflicts with what is there, or the idempotency key was used for another request.",
    413: "The body is too large.",
    422: "The request is well-formed but not valid; details name the field.",
    503: "The database is not available; try again.",
}
_READS: Final = (401, 403, 404, 422, 503)
_QUESTIONS: Final = (400, *_READS, 413)
_WRITES: Final = (*_QUESTIONS, 409)
_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="The API key.")
_BEARER = HTTPBearer(auto_error=False, description="The API key as a bearer token.")


def router(tag: str) -> APIRouter:
    """A router whose routes need a key."""
    return APIRouter(route_class=GuardedRoute, tags=[tag], dependencies=[Security(_KEY), Security(_BEARER)])


def documented(
    model: Any,
    *,
    asks: bool = False,
    writes: bool = False,
    status: int = 200,
    also: dict[int | str, Any] | None = None,
) -> Any:
    """Keyword arguments of a route: the shape of its answer, and every error that it can give.

    A route that `asks` has a body, but changes nothing.
    """
    errors: dict[int | str, dict[str, Any]] = {
        code: {"model": ErrorEnvelope, "description": _REASONS[code]}
        for code in (_WRITES if writes else _QUESTIONS if asks else _READS)
    }
    errors.update(also or {})
    return {"response_model": model, "status_code": status, "responses": errors}
