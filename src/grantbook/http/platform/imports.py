"""Imports: up to 10,000 entities or grants a call as JSON Lines, all or none, with the problems of each line."""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from grantbook.http.errors import translate_validation
from grantbook.http.exchange import Answer, Exchanged
from grantbook.http.platform import imports_shapes as shapes
from grantbook.http.platform.access import new_grant
from grantbook.http.requests import Body
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.errors import LimitExceeded, ValidationFailed
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.limits import MAX_IMPORT_LINES
from grantbook.service import imports
from grantbook.service.desk import Writing
from grantbook.service.entities import Draft
from grantbook.service.imports import EntityLine, GrantLine, Imported
from grantbook.service.lines import Problems

routes = router("Imports")
MEDIA_TYPE: Final = "application/x-ndjson"
_ACCEPTED: Final = frozenset({MEDIA_TYPE, "application/ndjson", "application/jsonl"})

B = TypeVar("B", bound=Body)


async def lines_of(request: Request) -> list[bytes]:
    """The lines of the body. Raises ValidationFailed(body), LimitExceeded(limit, maximum)."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in _ACCEPTED:
        raise ValidationFailed("body", f"the body must be JSON Lines, sent with Content-Type: {MEDIA_TYPE}")
    lines = (await request.body()).rstrip().split(b"\n")
    if len(lines) > MAX_IMPORT_LINES:
        raise LimitExceeded(limit="import_lines", maximum=MAX_IMPORT_LINES)
    if lines == [b""]:
        raise ValidationFailed("body", "the body must have at least one line")
    return lines


Lines = Annotated[list[bytes], Depends(lines_of)]


def _in_lines(line: type[Body]) -> dict[str, Any]:
    """The body in the documentation: what each line is."""
    schema = {"type": "string", "description": f"Lines of JSON: {line.__doc__} Fields: {', '.join(line.model_fields)}."}
    return {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": schema}}}}


@routes.post(
    ORGANIZATION + "/entities/import",
    openapi_extra=_in_lines(shapes.EntityLine),
    **documented(shapes.Imported, writes=True),
)
def import_entities(organization_id: str, exchange: Exchanged, lines: Lines) -> Response:
    """Register or update up to 10,000 entities, all or none. Lines may name each other as containers.

    Needs `manage_access_control`.
    """
    found = _read(lines, shapes.EntityLine, _entity_line)
    return exchange.write(organization_id, _work(imports.import_entities, found))


@routes.post(
    ORGANIZATION + "/access/grants/import",
    openapi_extra=_in_lines(shapes.GrantLine),
    **documented(shapes.Imported, writes=True),
)
def import_grants(organization_id: str, exchange: Exchanged, lines: Lines) -> Response:
    """Create up to 10,000 grants, all or none; one that is there already with the same level and window is no error.

    Needs `manage_access_control`.
    """
    found = _read(lines, shapes.GrantLine, _grant_line)
    return exchange.write(organization_id, _work(imports.import_grants, found))


T = TypeVar("T")


def _work(use_case: Callable[[Writing, list[T]], Imported], lines: list[T]) -> Callable[[Writing], Answer]:
    def work(writing: Writing) -> Answer:
        done = use_case(writing, lines)
        counts = {"created": done.created, "updated": done.updated, "unchanged": done.unchanged}
        return Answer({"imported": len(lines), **counts})

    return work


def _read(lines: list[bytes], shape: type[B], convert: Callable[[int, B], T]) -> list[T]:
    """Each line in its shape. Raises InvalidLines(line, field, message, errors)."""
    problems = Problems()
    found: list[T] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(convert(number, shape.model_validate_json(line)))
        except ValidationError as error:
            for problem in _problems(error):
                problems.add(number, problem["field"], problem["message"])
    problems.raise_any()
    return found


def _problems(error: ValidationError) -> list[dict[str, str]]:
    """As of any other body: the field by its path, and what is wrong with it."""
    if any(each["type"] == "json_invalid" for each in error.errors()):
        return [{"field": "line", "message": "the line is not a JSON object"}]
    located = [{**each, "loc": ("body", *each["loc"])} for each in error.errors(include_url=False)]
    found: list[dict[str, str]] = translate_validation(RequestValidationError(located), MEDIA_TYPE).details["errors"]
    return found


def _entity_line(number: int, body: shapes.EntityLine) -> EntityLine:
    draft = Draft(
        ref=EntityRef(body.entity_type, body.entity_id),
        name=body.name,
        owner=Principal(body.owner_type, body.owner_id),
        access_mode=body.access_mode,
        targets=body.access_target_ids or (),
        containers=[EntityRef(each.entity_type, each.entity_id) for each in body.containers or ()],
    )
    return EntityLine(number, draft)


def _grant_line(number: int, body: shapes.GrantLine) -> GrantLine:
    return GrantLine(number, EntityRef(body.entity_type, body.entity_id), new_grant(body))
