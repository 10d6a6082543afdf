"""Access grants of an organization: list, create, bulk, update, revoke; resolved access from both sides."""

from typing import Any, Final

from fastapi import Response
from fastapi.responses import StreamingResponse

from grantbook.http import requests, responses
from grantbook.http.exchange import Answer, Exchanged, Work, done
from grantbook.http.paging import Paged, Paging
from grantbook.http.platform import rendering
from grantbook.http.platform.resolved import resolved_access
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.errors import ValidationFailed
from grantbook.model.facts import EntityRef, Grant, Principal
from grantbook.model.instants import from_datetime
from grantbook.service import asking, decisions, gates, grants, overview
from grantbook.service.desk import Reading, Writing
from grantbook.service.listing import Page

routes = router("Access grants")
_STREAMED: Final = 5_000


def new_grant(body: requests.BulkGrantEntry) -> grants.NewGrant:
    """The body as the use-case takes it."""
    return grants.NewGrant(
        grantee=Principal(body.grantee_type, body.grantee_id),
        access_level=body.access_level,
        starts_at=None if body.starts_at is None else from_datetime(body.starts_at),
        expires_at=None if body.expires_at is None else from_datetime(body.expires_at),
        reason=body.reason,
    )


def creating(entity: EntityRef, new: grants.NewGrant) -> Work:
    """The work of a new grant, and its answer."""

    def work(writing: Writing) -> Answer:
        grant, is_new = grants.create(writing, entity, new)
        return Answer(rendering.grants(writing, [grant])[0], 201 if is_new else 200)

    return work


def revoking(grant_id: str) -> Work:
    """The work of ending a grant, and its answer."""
    return done(lambda writing: grants.revoke(writing, grant_id))


@routes.get(ORGANIZATION + "/access/grants", **documented(responses.AccessGrantList))
def list_grants(
    organization_id: str,
    exchange: Exchanged,
    paging: Paged,
    entity_type: str | None = None,
    entity_id: str | None = None,
    grantee_type: str | None = None,
    grantee_id: str | None = None,
) -> Response:
    """Access grants that the caller may see, oldest first."""
    with exchange.reading(organization_id) as reading:
        found = grants.list_grants(
            reading,
            entity_type=entity_type,
            entity_id=entity_id,
            grantee_type=grantee_type,
            grantee_id=grantee_id,
            skip=paging.skip,
            limit=paging.limit,
            after=paging.after(tuple[int, str]),
        )
        return _page(reading, found, paging)


@routes.post(
    ORGANIZATION + "/access/grants",
    **documented(
        responses.AccessGrant,
        writes=True,
        status=201,
        also={200: {"model": responses.AccessGrant, "description": "The same grant was there already."}},
    ),
)
def create_grant(organization_id: str, body: requests.CreateGrant, exchange: Exchanged) -> Response:
    """Give a grantee a level on an entity. The same grant again is not an error; another level is a conflict."""

    work = creating(EntityRef(body.entity_type, body.entity_id), new_grant(body))
    return exchange.write(organization_id, work, reason=body.reason)


@routes.post(ORGANIZATION + "/access/grants/bulk", **documented(list[responses.AccessGrant], writes=True, status=201))
def bulk_create_grants(organization_id: str, body: requests.BulkCreateGrants, exchange: Exchanged) -> Response:
    """Up to 1,000 grants on one entity, all or none, answered in request order."""

    def work(writing: Writing) -> Answer:
        entity = EntityRef(body.entity_type, body.entity_id)
        made = grants.create_bulk(writing, entity, [new_grant(entry) for entry in body.grants])
        return Answer(rendering.grants(writing, made), 201)

    return exchange.write(organization_id, work)


@routes.get(ORGANIZATION + "/access/grants/{grant_id}", **documented(responses.AccessGrant))
def get_grant(organization_id: str, grant_id: str, exchange: Exchanged) -> Response:
    """An access grant, for those to whom the list of grants shows it. To others it is unknown."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.grants(reading, [grants.get(reading, grant_id)])[0]).response()


@routes.patch(ORGANIZATION + "/access/grants/{grant_id}", **documented(responses.AccessGrant, writes=True))
def update_grant(organization_id: str, grant_id: str, body: requests.UpdateGrant, exchange: Exchanged) -> Response:
    """Change the level of a grant, or its window."""

    def work(writing: Writing) -> Answer:
        if not body.model_fields_set - {"access_level"} and body.access_level is None:
            raise ValidationFailed("access_level", "access_level, starts_at or expires_at is required")
        window = {field: body.moment(field) for field in ("starts_at", "expires_at")}
        grant = grants.update(writing, grant_id, body.access_level, **window)
        return Answer(rendering.grants(writing, [grant])[0])

    return exchange.write(organization_id, work)


@routes.delete(ORGANIZATION + "/access/grants/{grant_id}", **documented(None, writes=True, status=204))
def revoke_grant(organization_id: str, grant_id: str, exchange: Exchanged) -> Response:
    """End a grant. Its history stays."""

    return exchange.write(organization_id, revoking(grant_id))


@routes.get(ORGANIZATION + "/knowledge/slices/{slice_id}/grants", **documented(responses.AccessGrantList))
def list_slice_grants(organization_id: str, slice_id: str, exchange: Exchanged, paging: Paged) -> Response:
    """Grants on a knowledge slice."""
    return _grants_on(exchange, organization_id, EntityRef("knowledge_slice", slice_id), paging)


@routes.get(ORGANIZATION + "/vector-stores/{store_id}/grants", **documented(responses.AccessGrantList))
def list_store_grants(organization_id: str, store_id: str, exchange: Exchanged, paging: Paged) -> Response:
    """Grants on a vector store."""
    return _grants_on(exchange, organization_id, EntityRef("vector_store", store_id), paging)


@routes.get(ORGANIZATION + "/assistants/{assistant_id}/grants", **documented(responses.AccessGrantList))
def list_assistant_grants(organization_id: str, assistant_id: str, exchange: Exchanged, paging: Paged) -> Response:
    """Grants on an assistant."""
    return _grants_on(exchange, organization_id, EntityRef("assistant", assistant_id), paging)


@routes.get(ORGANIZATION + "/users/{user_id}/resolved-access", **documented(responses.ResolvedAccess))
def get_resolved_access(
    organization_id: str, user_id: str, exchange: Exchanged, entity_type: str | None = None
) -> Response:
    """Everything that a user reaches, with every path. For oneself, or with `manage_access_control`.

    A long answer is sent while it is made.
    """
    with exchange.reading(organization_id) as reading:
        decisions.require_may_list(reading, user_id, entity_type, None)
    found = asking.resolve(exchange.desk, organization_id, user_id, entity_type=entity_type)
    with exchange.reading(organization_id) as reading:
        parts = resolved_access(reading, user_id, found)
    if len(found) > _STREAMED:
        return StreamingResponse(parts, media_type="application/json")
    return Response(b"".join(parts), media_type="application/json")


@routes.get(ORGANIZATION + "/access/users-with-access", **documented(responses.UsersWithAccess))
@routes.get(ORGANIZATION + "/knowledge/users-with-access", **documented(responses.UsersWithAccess))
def get_users_with_access(organization_id: str, exchange: Exchanged, entity_type: str, entity_id: str) -> Response:
    """Everybody who reaches an entity, owners and overriding roles included."""
    with exchange.reading(organization_id) as reading:
        ref = gates.entity_ref(reading, entity_type, entity_id)
        decisions.require_may_list_users(reading, ref, None)
    found = asking.resolve_users(exchange.desk, organization_id, ref)
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.users_with_access(reading, ref, dict(found))).response()


@routes.get(ORGANIZATION + "/access/overview", **documented(responses.AccessOverview))
def get_access_overview(organization_id: str, exchange: Exchanged) -> Response:
    """Slices, stores and their grants in force at a glance: everything for admins, for others what they reach.

    All of it, however much that is, as of one revision: it is sent while it is read.
    """
    with exchange.reading(organization_id) as reading:
        found = overview.overview(exchange.desk, reading)
    text = rendering.overview(found)
    if found.can_view_all:
        return StreamingResponse(text, media_type="application/json")
    return Response(b"".join(text), media_type="application/json")


def _grants_on(exchange: Any, organization_id: str, entity: EntityRef, paging: Paging) -> Response:
    with exchange.reading(organization_id) as reading:
        after = paging.after(tuple[int, str])
        found = grants.list_of_entity(reading, entity, skip=paging.skip, limit=paging.limit, after=after)
        return _page(reading, found, paging)


def _page(reading: Reading, found: Page[Grant], paging: Paging) -> Response:
    items = rendering.grants(reading, found.items)
    last = (found.items[-1].created_at, found.items[-1].id) if found.items else None
    return Answer(paging.page(items, total=found.total, last=last, has_more=found.has_more)).response()
