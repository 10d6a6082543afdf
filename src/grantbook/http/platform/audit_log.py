"""The audit log: pages of it, all of it as CSV in a stream, and as PDF."""

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from grantbook.http.exchange import Answer, Exchanged
from grantbook.http.paging import Paging
from grantbook.http.platform import audit_log_pdf, audit_log_shapes
from grantbook.http.platform import audit_log_rendering as rendering
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.errors import LimitExceeded, ValidationFailed
from grantbook.model.instants import MAX_INSTANT, Instant, from_datetime, to_text
from grantbook.model.limits import MAX_ID_LENGTH, MAX_NAME_LENGTH, MAX_PAGE, MAX_PDF_ENTRIES, MAX_SKIP
from grantbook.service import audit, organizations
from grantbook.service.audit import Filters, Place
from grantbook.service.desk import Reading
from grantbook.service.listing import Page
from grantbook.store.port import Change

routes = router("Audit log")
LOG: Final = ORGANIZATION + "/audit-log"
CHUNK: Final = 1_000
DEFAULT_AUDIT_PAGE: Final = 50
_CSV, _PDF, _JSON = "text/csv; charset=utf-8", "application/pdf", "application/json"

Text = Annotated[str | None, Query(max_length=MAX_ID_LENGTH)]
From = Annotated[
    str | None, Query(max_length=64, description="A day, or a time: entries from then on. UTC, if unsaid.")
]
To = Annotated[
    str | None, Query(max_length=64, description="A day, which counts whole, or a time: entries up to then.")
]
Term = Annotated[
    str | None,
    Query(max_length=MAX_NAME_LENGTH, description="In ids, names, e-mail addresses, actions and reasons."),
]


class AuditPaging(Paging):
    """Pages of 50 entries, unless another limit is asked for."""

    def __init__(
        self,
        skip: Annotated[int, Query(ge=0, le=MAX_SKIP, description="Entries to leave out before the page.")] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries in the page.")] = DEFAULT_AUDIT_PAGE,
        cursor: Annotated[
            str | None, Query(max_length=400, description="`next_cursor` of the page before, instead of `skip`.")
        ] = None,
    ) -> None:
        super().__init__(skip, limit, cursor)


def filters_of(
    entity_type: Text = None,
    entity_id: Text = None,
    action_type: Text = None,
    actor_id: Text = None,
    target_id: Text = None,
    department_id: Text = None,
    from_date: From = None,
    to_date: To = None,
    search_term: Term = None,
) -> Filters:
    """The filters of a request."""
    return Filters(
        entity_type=entity_type,
        entity_id=entity_id,
        action_type=action_type,
        actor_id=actor_id,
        target_id=target_id,
        department_id=department_id,
        since=_moment("from_date", from_date),
        until=_moment("to_date", to_date, is_end=True),
        search_term=search_term,
    )


Filtered = Annotated[Filters, Depends(filters_of)]
AuditPaged = Annotated[AuditPaging, Depends(AuditPaging)]


@routes.get(LOG, **documented(audit_log_shapes.AuditLog))
def query_audit_log(organization_id: str, exchange: Exchanged, filters: Filtered, paging: AuditPaged) -> Response:
    """Who changed what, newest first. Needs `view_audit_log`."""
    with exchange.reading(organization_id) as reading:
        before = paging.after(tuple[int, int])
        found = audit.list_entries(reading, filters, skip=paging.skip, limit=paging.limit, before=before)
        return _page(reading, found, paging)


@routes.get(ORGANIZATION + "/knowledge/slices/{slice_id}/audit-log", **documented(audit_log_shapes.AuditLog))
def list_slice_audit_log(
    organization_id: str,
    slice_id: str,
    exchange: Exchanged,
    paging: AuditPaged,
    action_type: Text = None,
    from_date: From = None,
    to_date: To = None,
) -> Response:
    """What happened to a slice. Needs `view_audit_log`, or the top level on it."""
    filters = filters_of(action_type=action_type, from_date=from_date, to_date=to_date)
    with exchange.reading(organization_id) as reading:
        before = paging.after(tuple[int, int])
        found = audit.list_of_slice(reading, slice_id, filters, skip=paging.skip, limit=paging.limit, before=before)
        return _page(reading, found, paging)


def _file(content_type: str, schema: dict[str, str]) -> Any:
    """Documented as a file; in JSON, which the official SDK insists on, as a text."""
    content = {content_type: {"schema": schema}, _JSON: {"schema": {"type": "string"}}}
    return documented(None, also={200: {"content": content, "description": "The entries, newest first."}})


@routes.get(LOG + "/export", response_class=Response, **_file("text/csv", {"type": "string"}))
def export_audit_log(organization_id: str, exchange: Exchanged, filters: Filtered, request: Request) -> Response:
    """All entries as CSV, however many, newest first. Needs `export_audit_log`."""
    with exchange.reading(organization_id) as reading:
        start = (reading.snapshot.revision + 1, 0)  # what comes later is not in this export
        first = audit.chunk(reading, filters, before=start, limit=CHUNK)
        head = rendering.csv_headings() + rendering.csv_lines(rendering.entries(reading, first))

    def rest() -> Iterator[str]:
        place, is_last = _place(first), len(first) < CHUNK
        while not is_last and place is not None:
            with exchange.reading(organization_id) as later:
                found = audit.chunk(later, filters, before=place, limit=CHUNK)
                lines = rendering.csv_lines(rendering.entries(later, found))
            yield lines  # not within the reading: whoever takes them may be slow
            place, is_last = _place(found), len(found) < CHUNK

    if _wants_json(request):
        return StreamingResponse(_as_json(head, rest()), media_type=_JSON)
    return StreamingResponse(_after(head, rest()), media_type=_CSV, headers=_named("audit-log.csv"))


@routes.get(
    LOG + "/export/pdf", response_class=Response, **_file("application/pdf", {"type": "string", "format": "binary"})
)
def export_audit_log_pdf(organization_id: str, exchange: Exchanged, filters: Filtered, request: Request) -> Response:
    """Up to 5,000 entries as PDF, newest first; for more, narrow the filters or take the CSV. Needs
    `export_audit_log`."""
    with exchange.reading(organization_id) as reading:
        total = audit.count(reading, filters)
        if total > MAX_PDF_ENTRIES:
            raise LimitExceeded(
                f"A PDF holds {MAX_PDF_ENTRIES} entries: narrow the filters, or export as CSV",
                limit="pdf_entries",
                maximum=MAX_PDF_ENTRIES,
                total=total,
            )
        found = audit.chunk(reading, filters, before=None, limit=MAX_PDF_ENTRIES)
        name = organizations.get_organization(reading).name
        about = [f"{name} ({organization_id})", f"{total} entries, newest first, as of {to_text(reading.at)}"]
        entries = rendering.entries(reading, found)
    content = audit_log_pdf.render("Audit log", about, entries)
    if _wants_json(request):
        return Answer(b64encode(content).decode()).response()
    return Response(content, media_type=_PDF, headers=_named("audit-log.pdf"))


def _page(reading: Reading, found: Page[Change], paging: Paging) -> Response:
    items = rendering.entries(reading, found.items)
    return Answer(paging.page(items, total=found.total, last=_place(found.items), has_more=found.has_more)).response()


def _place(changes: list[Any]) -> Place | None:
    return (changes[-1].revision, changes[-1].ordinal) if changes else None


def _wants_json(request: Request) -> bool:
    """Whether the answer is to be one JSON text: where that is accepted and no file is, and for the official SDK,
    which takes every answer for JSON."""
    accepted = request.headers.get("accept", "*/*")
    if accepted == "*/*":
        return "x-fern-language" in request.headers
    return _JSON in accepted and _PDF not in accepted and "text/csv" not in accepted


def _after(head: str, rest: Iterator[str]) -> Iterator[str]:
    yield head
    yield from rest


def _as_json(head: str, rest: Iterator[str]) -> Iterator[str]:
    yield '"'
    for part in _after(head, rest):
        yield json.dumps(part)[1:-1]
    yield '"'


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _moment(field: str, text: str | None, *, is_end: bool = False) -> Instant | None:
    """The instant that a text names: a day's first, or at the end its last; a time without a zone is UTC."""
    if text is None:
        return None
    try:
        if len(text) == len("2026-04-15"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return from_datetime(day) + (timedelta(days=1) // timedelta(microseconds=1) - 1 if is_end else 0)
        moment = datetime.fromisoformat(text)
        return min(from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC)), MAX_INSTANT)
    except (ValueError, OverflowError) as error:
        wanted = "a day such as 2026-04-15, or a time such as 2026-04-15T10:00:00Z"
        raise ValidationFailed(field, f"{field} must be {wanted}") from error
