"""The one place where errors become sentences and exit codes."""

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import click
from click.exceptions import NoArgsIsHelpError

from grantbook.cli.output import flush
from grantbook.model.errors import GrantbookError, InvalidLines, ValidationFailed


class Exit(IntEnum):
    """What the process says to scripts."""

    DONE = 0
    DENIED = 1
    USAGE = 2
    """What was given is not valid: a flag, an argument, a line of an import."""
    FAILED = 3
    """It could not be done: settings, files, the database, rights, what is there or is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An error as it is shown: one sentence, or one JSON document."""

    exit: Exit
    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


_CHECK_ID: Final = "check the id, and that --organization names the right organization"
FIXES: Final[Mapping[str, str]] = {
    "RESOURCE_NOT_FOUND": _CHECK_ID,
    "INSUFFICIENT_PERMISSIONS": "act as somebody who may, or leave out --as to act as the operator",
    "ORGANIZATION_ACCESS_DENIED": "--as must name an active member of the organization",
    "RESOURCE_CONFLICT": "choose another id, or keep what is there",
    "GRANT_ALREADY_EXISTS": "change it with 'grantbook grants update GRANT_ID', or revoke it first",
    "GRANT_WOULD_BE_DEMOTED": "revoke the grant first to give a lower level",
    "STORE_UNAVAILABLE": "check that the database is reachable, that its files can be written, and try again",
    "TRANSACTION_ABORTED": "try again",
    "OUTCOME_UNKNOWN": "look whether the change is there before you make it again",
    "ORGANIZATION_EXISTS": "restore it into another database",
    "TAMPERED_HISTORY": "compare the database with a backup from before that revision",
    "DAMAGED_BOOK": "compare the database with a backup; 'grantbook verify' lists all that is wrong",
}
FIELD_FIXES: Final[Mapping[str, str]] = {"entity_type": "types of your own are in the file that --vocabulary names"}


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """The exit code of the command with these arguments; what went wrong is on stderr.

    Nothing but a denial ever gives 1: not a bug, not a closed pipe.
    """
    try:
        code = command.main(list(arguments), prog_name="grantbook", standalone_mode=False)
        flush()
    except NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except (GrantbookError, click.ClickException, click.Abort, OSError) as error:
        report = report_of(error)
        _show(report, as_json="--json" in arguments)
        return report.exit
    except SystemExit as error:  # click, when the reader of a pipe is gone; uvicorn, when it cannot start
        return Exit.FAILED if error.code else Exit.DONE
    except Exception:
        traceback.print_exc()
        return Exit.FAILED
    return code if isinstance(code, int) else Exit.DONE


def report_of(error: BaseException) -> Report:
    """What to say about an error that is not a bug."""
    match error:
        case InvalidLines():
            first = f"line {error.details['line']}: {error.details['message']}"
            more = len(error.details["errors"]) - 1
            message = _advised(error, f"{first} (and {more} more such lines)" if more else first)
            return Report(exit=Exit.USAGE, code=error.error_code, message=message, details=error.details)
        case ValidationFailed():
            message = _advised(error, str(error.details["message"]))
            return Report(exit=Exit.USAGE, code=error.error_code, message=message, details=error.details)
        case GrantbookError():
            return Report(exit=Exit.FAILED, code=error.error_code, message=_sentence(error), details=error.details)
        case click.UsageError():
            return _usage(error)
        case click.ClickException():
            return Report(exit=Exit.FAILED, code="COMMAND_FAILED", message=error.format_message())
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return Report(exit=Exit.FAILED, code="OS_ERROR", message=f"{where}{error.strerror or error}")
        case _:
            return Report(exit=Exit.FAILED, code="INTERRUPTED", message="interrupted")


def _usage(error: click.UsageError) -> Report:
    message = error.format_message()
    if error.ctx is not None:
        message = f"{message.rstrip('.')}; see '{error.ctx.command_path} --help'"
    parameter = error.param if isinstance(error, click.BadParameter) else None
    details = {"field": parameter.name, "message": error.message} if parameter is not None else {}
    return Report(exit=Exit.USAGE, code="USAGE_ERROR", message=message, details=details)


def _advised(error: ValidationFailed, message: str) -> str:
    fix = FIELD_FIXES.get(error.details["field"])
    return message + (f": {fix}" if fix else "")


def _sentence(error: GrantbookError) -> str:
    named = ", ".join(f"{name} {value}" for name, value in error.details.items())
    fix = FIXES.get(error.error_code)
    return error.explanation + (f" ({named})" if named else "") + (f": {fix}" if fix else "")


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        document = {"code": report.code, "message": report.message, "details": dict(report.details)}
        click.echo(json.dumps({"error": document}, ensure_ascii=False, default=str), err=True)
    else:
        click.echo(f"error: {report.message}", file=sys.stderr)
