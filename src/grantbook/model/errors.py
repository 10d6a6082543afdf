"""Errors are values: a code, two sentences and details. No HTTP and no SQL here.

`message` is safe to show to a person; `system_message` tells a developer what was wrong; `details` names the
fields and ids involved. Each edge translates the code once (`http/errors.py`, `cli/errors.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class GrantbookError(Exception):
    """Base of every error that Grantbook raises on purpose. `code` is stable; texts may improve."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    message: ClassVar[str] = "Something went wrong on our side."
    system_message: ClassVar[str] = "Internal error"

    def __init__(self, explanation: str | None = None, *, code: str | None = None, **details: Any) -> None:
        self.error_code = code or self.code
        self.explanation = explanation or self.system_message
        self.details: dict[str, Any] = details
        super().__init__(self.explanation)

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.details.items())
        return f"{self.explanation} ({told})" if told else self.explanation


class ValidationFailed(GrantbookError):
    """The request is well-formed but says something impossible. Details: field, message, errors."""

    code = "VALIDATION_ERROR"
    message = "The request contains invalid data."
    system_message = "Validation error"

    def __init__(
        self, field: str, message: str, *, code: str | None = None, errors: Sequence[Mapping[str, str]] | None = None
    ) -> None:
        super().__init__(None, code=code)
        problem = {"field": field, "message": message}
        self.details = {**problem, "errors": list(errors) if errors else [problem]}

    def __str__(self) -> str:
        return f"{self.explanation}: {self.details['message']}"

    def about(self, field: str) -> "ValidationFailed":
        """The same of a field that whoever sent it knows by this name."""
        before, message = str(self.details["field"]), str(self.details["message"])
        if message.startswith(before):
            message = field + message.removeprefix(before)
        return ValidationFailed(field, message, code=self.error_code)


class InvalidLines(ValidationFailed):
    """Lines of an import say something impossible. Details: line, field, message of the first, and errors, of each."""

    code = "INVALID_LINES"
    message = "The import contains invalid lines; nothing of it was kept."
    system_message = "Invalid lines"

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        first = problems[0]
        super().__init__(str(first["field"]), str(first["message"]))
        self.details = {**first, "errors": list(problems)}


class MalformedRequest(GrantbookError):
    """The body is not what it claims to be: broken JSON or broken UTF-8."""

    code = "INVALID_JSON"
    message = "The request body is not valid JSON."
    system_message = "Invalid JSON"


class BrokenRequest(GrantbookError):
    """What came is no HTTP request, or has a method that HTTP does not know."""

    code = "INVALID_HTTP"
    message = "This is not a valid HTTP request."
    system_message = "The request could not be read as HTTP"


class HeadTooLarge(GrantbookError):
    """Address and headers of the request are over the bound. Details: limit_bytes."""

    code = "HEAD_TOO_LARGE"
    message = "The address and headers of the request are too large."
    system_message = "Request head exceeds the limit"


class AuthenticationFailed(GrantbookError):
    """No usable credentials. Codes: AUTHENTICATION_REQUIRED, INVALID_API_KEY, API_KEY_EXPIRED,
    API_KEY_DEACTIVATED, API_KEY_PAUSED."""

    code = "AUTHENTICATION_REQUIRED"
    message = "Authentication failed: a valid API key is needed."
    system_message = "No API key was sent"


class PermissionDenied(GrantbookError):
    """The caller is known and may not do this. Details name what it was about."""

    code = "INSUFFICIENT_PERMISSIONS"
    message = "You do not have permission to perform this action."
    system_message = "Insufficient permissions for this operation"


class OrganizationAccessDenied(PermissionDenied):
    """The caller is not an active member, or the key belongs elsewhere; also for unknown organizations."""

    code = "ORGANIZATION_ACCESS_DENIED"
    message = "You do not have access to this organization."
    system_message = "Not an active member of the organization"


class LastOwner(PermissionDenied):
    """An organization or a rule must keep an owner."""

    code = "CANNOT_REMOVE_LAST_OWNER"
    message = "The last owner cannot be removed."
    system_message = "This change would leave no owner"


class NotFound(GrantbookError):
    """Unknown, deleted, or in another organization: all three answer alike. Details name the id."""

    code = "RESOURCE_NOT_FOUND"
    message = "The requested resource was not found."
    system_message = "Resource not found"


class RouteNotFound(NotFound):
    """There is no such address."""

    code = "ROUTE_NOT_FOUND"
    message = "There is nothing at this address."
    system_message = "Unknown route"


class MethodNotAllowed(GrantbookError):
    """The address exists, but not with this method. Details: method."""

    code = "METHOD_NOT_ALLOWED"
    message = "This method is not allowed here."
    system_message = "Method not allowed"


class Conflict(GrantbookError):
    """What is there already stands in the way. Nothing was changed."""

    code = "RESOURCE_CONFLICT"
    message = "This conflicts with what already exists."
    system_message = "Conflict"


class GrantAlreadyExists(Conflict):
    """A live grant with another level or window exists. Details: grant_id, access_level."""

    code = "GRANT_ALREADY_EXISTS"
    message = "This grantee already has a grant on this entity."
    system_message = "A grant with another access level or window exists; update or revoke it first"


class GrantWouldBeDemoted(Conflict):
    """Granting never lowers. Details: grant_id, access_level."""

    code = "GRANT_WOULD_BE_DEMOTED"
    message = "This target already has a higher access level."
    system_message = "Granting never lowers a level; replace the permissions to lower it"


class IdempotencyKeyReused(Conflict):
    """The key was used within a day for another request. Details: idempotency_key."""

    code = "IDEMPOTENCY_KEY_REUSED"
    message = "This idempotency key was already used for another request."
    system_message = "Idempotency key reused with a different request"


class PayloadTooLarge(GrantbookError):
    """The body is over the bound. Details: limit_bytes."""

    code = "PAYLOAD_TOO_LARGE"
    message = "The request body is too large."
    system_message = "Request body exceeds the limit"


class LimitExceeded(GrantbookError):
    """A bound of `model/limits.py` was crossed. Details: limit, maximum."""

    code = "LIMIT_EXCEEDED"
    message = "A limit was exceeded."
    system_message = "Limit exceeded"


class RevisionNotReached(GrantbookError):
    """The read asked for a revision that this server has not seen yet. Details: revision."""

    code = "REVISION_NOT_REACHED"
    message = "This server has not caught up yet. Please try again."
    system_message = "The requested revision is not available yet"


class StoreUnavailable(GrantbookError):
    """The database did not answer. Nothing was written."""

    code = "STORE_UNAVAILABLE"
    message = "The service is temporarily unavailable. Please try again."
    system_message = "The database is unavailable"


class TransactionAborted(StoreUnavailable):
    """The database ended the transaction for the sake of another. Nothing was written."""

    code = "TRANSACTION_ABORTED"
    message = "This was in the way of another change. Please try again."
    system_message = "The database ended the transaction for the sake of another"


class OutcomeUnknown(StoreUnavailable):
    """The connection broke in the middle of a commit, and the database cannot be asked how it ended."""

    code = "OUTCOME_UNKNOWN"
    message = "It is not known whether the change was made. Please send it again with the same Idempotency-Key."
    system_message = "The connection to the database was lost during the commit"


class TamperedHistory(GrantbookError):
    """The hash chain of the changes does not hold. Details: organization_id, revision, ordinal."""

    code = "TAMPERED_HISTORY"
    message = "The history of this organization is damaged."
    system_message = "A change does not match its hash"


class DamagedBook(GrantbookError):
    """What is kept does not agree with itself. Details: organization_id, kind and key of the first, and problems, how
    many there are, where all were looked for."""

    code = "DAMAGED_BOOK"
    message = "The book of this organization is damaged."
    system_message = "What is kept does not agree with the history"


class ConfigurationError(GrantbookError):
    """A setting, a file or a database is not usable as it is. The explanation says what to do."""

    code = "CONFIGURATION_ERROR"
    message = "The configuration is not usable."
    system_message = "Configuration error"


def all_errors() -> list[type[GrantbookError]]:
    """Every class of the tree, the base first, for tests and documentation."""
    found: list[type[GrantbookError]] = [GrantbookError]
    for error in found:
        found.extend(error.__subclasses__())
    return found
