"""What every error looks like."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx

FIELDS: Final = {"code", "message", "system_message", "type", "status", "details", "trace_id", "timestamp"}
_LEAKS: Final = ("Traceback", "sqlite", "SELECT", "INSERT", "site-packages", "gb_", "pydantic")
_DRIFT: Final = timedelta(minutes=5)


def error_of(response: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The error in the envelope, after a look at everything that all errors share."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert set(body) == {"success", "error"}
    assert body["success"] is False
    error: dict[str, Any] = body["error"]
    assert set(error) == FIELDS
    assert error["status"] == status
    assert error["type"] == _type_of(status)
    assert code in (None, error["code"]), error
    assert all(isinstance(error[name], str) and error[name] for name in ("code", "message", "system_message"))
    assert isinstance(error["details"], dict)
    assert error["trace_id"] == response.headers["X-Request-ID"]
    _is_recent(error["timestamp"])
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert ("Retry-After" in response.headers) == (status == 503)
    assert not [leak for leak in _LEAKS if leak in response.text]
    if status == 422 and error["code"] != "LIMIT_EXCEEDED":
        problems = error["details"]["errors"]
        assert problems[0] == {name: error["details"][name] for name in ("field", "message")}
        assert all(set(problem) == {"field", "message"} for problem in problems)
    return error


def _type_of(status: int) -> str:
    if status == 403:
        return "authorization_error"
    return "client_error" if status < 500 else "server_error"


def _is_recent(timestamp: str) -> None:
    assert timestamp.endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(timestamp)) < _DRIFT
