"""Decisions: check, batch, explain, and lists from both sides."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response

from grantbook.http import errors, requests, responses
from grantbook.http.exchange import Answer, Exchanged
from grantbook.http.paging import Paged
from grantbook.http.platform import rendering
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.errors import GrantbookError
from grantbook.model.facts import EntityRef
from grantbook.model.instants import Instant, from_datetime
from grantbook.service import decisions, gates
from grantbook.service.decisions import Check
from grantbook.service.desk import Reading, token_of

routes = router("Decisions")
AsOf = Annotated[requests.Time | None, Query(description="The list as it was at this time.")]
_SCOPE: Any = {"openapi_extra": {"x-scope": "check"}}


@routes.post(ORGANIZATION + "/access/check", **documented(responses.CheckAnswer, asks=True), **_SCOPE)
def check_access(organization_id: str, body: requests.CheckAccess, exchange: Exchanged) -> Response:
    """May this user do this on this entity? A denial is 200 with `allowed: false`."""
    with _reading(exchange, organization_id, body) as reading:
        return Answer(rendering.decision(reading, decisions.check(reading, _question(body)))).response()


@routes.post(ORGANIZATION + "/access/check/batch", **documented(responses.BatchAnswer, asks=True), **_SCOPE)
def check_access_batch(organization_id: str, body: requests.CheckBatch, exchange: Exchanged) -> Response:
    """Up to 10,000 questions at one revision, answered in order; a bad one is an error of its own."""
    with _reading(exchange, organization_id, body) as reading:
        found = decisions.check_many(reading, [_question(each) for each in body.checks])
        revision = token_of(organization_id, reading.snapshot.revision)
        results = [_item(each, exchange.trace_id) for each in found]
        return Answer({"results": results, "revision": revision}).response()


@routes.post(ORGANIZATION + "/access/explain", **documented(responses.ExplainAnswer, asks=True), **_SCOPE)
def explain_access(organization_id: str, body: requests.CheckAccess, exchange: Exchanged) -> Response:
    """The answer with every path to it, and for a denial what would change it."""
    question = _question(body)
    with _reading(exchange, organization_id, body) as reading:
        answer = decisions.explain(reading, question)
        return Answer(rendering.explanation(reading, question.entity, answer)).response()


@routes.get(ORGANIZATION + "/access/entities", **documented(responses.ReachedEntities), **_SCOPE)
def list_entities(
    organization_id: str,
    exchange: Exchanged,
    paging: Paged,
    user_id: str,
    entity_type: str | None = None,
    access_level: str | None = None,
    as_of: AsOf = None,
) -> Response:
    """Entities that the user reaches, ordered by type and id."""
    with exchange.reading(organization_id, as_of=_moment(as_of)) as reading:
        found = decisions.entities_of(reading, user_id, entity_type=entity_type, access_level=access_level)
        part, has_more = paging.part(list(found))
        shown = list(found.items())[part]
        items = rendering.reached_entities(reading, dict(shown))
        last = shown[-1][0] if shown else None
        page = paging.page(items, total=len(found), last=last, has_more=has_more)
        return Answer({**page, "complete": True}).response()


@routes.get(ORGANIZATION + "/access/users", **documented(responses.ReachingUsers), **_SCOPE)
def list_users(
    organization_id: str,
    exchange: Exchanged,
    paging: Paged,
    entity_type: str,
    entity_id: str,
    access_level: str | None = None,
    as_of: AsOf = None,
) -> Response:
    """Users who reach the entity, ordered by id."""
    with exchange.reading(organization_id, as_of=_moment(as_of)) as reading:
        ref = gates.entity_ref(reading, entity_type, entity_id)
        found = decisions.users_of(reading, ref, access_level=access_level)
        part, has_more = paging.part([("user", each) for each in found])
        shown = dict(list(found.items())[part])
        items = rendering.users_with_access(reading, ref, shown)["users"]
        last = ("user", items[-1]["user_id"]) if items else None
        page = paging.page(items, total=len(found), last=last, has_more=has_more)
        return Answer({**page, "complete": True}).response()


def _reading(
    exchange: Exchanged, organization_id: str, body: requests.CheckAccess | requests.CheckBatch
) -> AbstractContextManager[Reading]:
    return exchange.reading(
        organization_id,
        as_of=_moment(body.as_of),
        at_least=body.consistency.at_least if isinstance(body.consistency, requests.AtLeast) else None,
    )


def _moment(as_of: datetime | None) -> Instant | None:
    return None if as_of is None else from_datetime(as_of)


def _question(body: requests.CheckItem) -> Check:
    return Check(
        user_id=body.user_id,
        entity=EntityRef(body.entity_type, body.entity_id),
        access_level=body.access_level,
    )


def _item(answer: decisions.Decision | GrantbookError, trace_id: str) -> dict[str, Any]:
    if isinstance(answer, GrantbookError):
        error = errors.body_of(answer, trace_id)
        return {"allowed": False, "access_level": None, "error": error}
    return {"allowed": answer.allowed, "access_level": answer.access_level}
