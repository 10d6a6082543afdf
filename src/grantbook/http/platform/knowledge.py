"""Knowledge slices, composites and vector stores."""

from hashlib import sha256
from typing import Annotated, Any

from fastapi import Header, Query, Response

from grantbook.http.exchange import Answer, Exchanged, done
from grantbook.http.paging import Paged, Paging
from grantbook.http.platform import knowledge_rendering as rendering
from grantbook.http.platform import knowledge_shapes as shapes
from grantbook.http.platform.entity_pages import order_of, page_of, part_of
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.errors import ValidationFailed
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.limits import MAX_SUMMARY
from grantbook.model.vocabulary import OPEN_MODES
from grantbook.service import knowledge
from grantbook.service.desk import Reading, Writing
from grantbook.service.entities import Draft, Edit
from grantbook.service.entity_lists import Page
from grantbook.service.knowledge import COMPOSITE, FORM, SLICE, STORE
from grantbook.service.values import called

routes = router("Knowledge")
KNOWLEDGE = ORGANIZATION + "/knowledge"
SLICES = KNOWLEDGE + "/slices"
COMPOSITES = KNOWLEDGE + "/composites"
STORES = KNOWLEDGE + "/stores"
_UNCHANGED: dict[int | str, Any] = {304: {"description": "Nothing changed since the answer with that `ETag`."}}


@routes.get(SLICES + "/summary", **documented(shapes.SliceSummaries, also=_UNCHANGED))
def list_slices_summary(
    organization_id: str,
    exchange: Exchanged,
    limit: Annotated[int, Query(ge=1, le=MAX_SUMMARY)] = 1_000,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """All slices that the caller sees, in short, oldest first. Send the `ETag` back as `If-None-Match`."""
    with exchange.reading(organization_id) as reading:
        page, found = knowledge.summary(reading, limit)
        items = [rendering.slice_summary(each) for each in found]
        body = {"items": items, "total": page.total, "limit": limit, "has_more": page.has_more}
        response = Answer(body).response()
    tag = f'"{sha256(response.body).hexdigest()[:32]}"'
    if if_none_match is not None and tag in if_none_match:
        response = Response(status_code=304)
    response.headers["ETag"] = tag
    return response


@routes.get(SLICES, **documented(shapes.SliceList))
def list_slices(
    organization_id: str,
    exchange: Exchanged,
    paging: Paged,
    status: shapes.Status = None,
    type: shapes.SliceKind = None,
    search: shapes.Search = None,
) -> Response:
    """Slices and composites that the caller sees, oldest first."""
    with exchange.reading(organization_id) as reading:
        found = knowledge.list_slices(reading, part_of(paging), status=status, type_=type, search=search)
        return _slices(reading, paging, found)


@routes.post(SLICES, **documented(shapes.SliceAnswer, writes=True, status=201))
def create_slice(organization_id: str, body: shapes.CreateSlice, exchange: Exchanged) -> Response:
    """A knowledge slice; private unless said otherwise. Needs `create_knowledge` or `manage_knowledge_slices`."""

    def work(writing: Writing) -> Answer:
        draft = Draft(
            ref=EntityRef(SLICE, body.id or writing.new_id("kslice_")),
            name=body.name,
            owner=Principal(body.owner_type, body.owner_id),
            access_mode=body.access_mode,
            targets=_targets(body),
            attributes={"description": body.description, "type": body.type},
        )
        return Answer(rendering.knowledge_slice(writing, knowledge.create_slice(writing, draft)), 201)

    return exchange.write(organization_id, work)


@routes.get(SLICES + "/{slice_id}", **documented(shapes.SliceAnswer))
def get_slice(organization_id: str, slice_id: str, exchange: Exchanged) -> Response:
    """A slice or composite, for those who see it."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.knowledge_slice(reading, knowledge.get_slice(reading, slice_id))).response()


@routes.patch(SLICES + "/{slice_id}", **documented(shapes.SliceAnswer, writes=True))
def update_slice(organization_id: str, slice_id: str, body: shapes.UpdateSlice, exchange: Exchanged) -> Response:
    """Change a slice or composite: needs `manage_knowledge_slices` or the top level; who reaches it, the top level."""

    def work(writing: Writing) -> Answer:
        change = Edit(
            name=body.name,
            attributes=_described(body),
            access_mode=body.access_mode,
            targets=body.access_target_ids,
        )
        return Answer(rendering.knowledge_slice(writing, knowledge.update_slice(writing, slice_id, change)))

    return exchange.write(organization_id, work)


@routes.post(SLICES + "/{slice_id}/archive", **documented(shapes.SliceAnswer, writes=True))
def archive_slice(organization_id: str, slice_id: str, exchange: Exchanged) -> Response:
    """Archive: all access ends, the grants stay for the day it comes back."""
    return _set_status(exchange, organization_id, slice_id, "archived")


@routes.post(SLICES + "/{slice_id}/unarchive", **documented(shapes.SliceAnswer, writes=True))
def unarchive_slice(organization_id: str, slice_id: str, exchange: Exchanged) -> Response:
    """Bring an archived slice back, with its grants."""
    return _set_status(exchange, organization_id, slice_id, "active")


@routes.get(COMPOSITES, **documented(shapes.SliceList))
def list_composites(organization_id: str, exchange: Exchanged, paging: Paged) -> Response:
    """Composites that the caller sees, oldest first."""
    with exchange.reading(organization_id) as reading:
        return _slices(reading, paging, knowledge.list_slices(reading, part_of(paging), form=COMPOSITE))


@routes.post(COMPOSITES, **documented(shapes.SliceAnswer, writes=True, status=201))
def create_composite(organization_id: str, body: shapes.CreateComposite, exchange: Exchanged) -> Response:
    """A slice of slices that the caller owns: a grant on it reaches each member, so the caller must administer them."""

    def work(writing: Writing) -> Answer:
        draft = Draft(
            ref=EntityRef(SLICE, body.id or writing.new_id("kslice_")),
            name=body.name,
            owner=Principal("user", writing.caller.user_id),
            attributes={"description": body.description, FORM: COMPOSITE},
            members=[EntityRef(SLICE, member) for member in body.member_slice_ids],
        )
        with called(member_ids="member_slice_ids", containers="member_slice_ids"):
            made = knowledge.create_slice(writing, draft)
        return Answer(rendering.knowledge_slice(writing, made), 201)

    return exchange.write(organization_id, work)


@routes.patch(COMPOSITES + "/{slice_id}", **documented(shapes.SliceAnswer, writes=True))
def update_composite(
    organization_id: str, slice_id: str, body: shapes.UpdateComposite, exchange: Exchanged
) -> Response:
    """Change a composite; other members take the top level on it, and on each that is new."""

    def work(writing: Writing) -> Answer:
        change = Edit(name=body.name, attributes=_described(body))
        with called(containers="member_slice_ids"):
            changed = knowledge.update_composite(writing, slice_id, change, body.member_slice_ids)
        return Answer(rendering.knowledge_slice(writing, changed))

    return exchange.write(organization_id, work)


@routes.get(SLICES + "/{slice_id}/stores", **documented(shapes.StoreList))
def list_stores_by_slice(organization_id: str, slice_id: str, exchange: Exchanged, paging: Paged) -> Response:
    """Stores in a slice that the caller sees, active or not, oldest first."""
    with exchange.reading(organization_id) as reading:
        return _stores(reading, paging, knowledge.list_stores_of_slice(reading, slice_id, part_of(paging)))


@routes.post(SLICES + "/{slice_id}/stores", **documented(shapes.StoreAnswer, writes=True, status=201))
def create_store_in_slice(
    organization_id: str, slice_id: str, body: shapes.CreateStore, exchange: Exchanged
) -> Response:
    """A vector store inside a slice. Needs `add_new` on the slice."""
    return _create_store(exchange, organization_id, body, slice_id)


@routes.get(STORES, **documented(shapes.StoreList))
def list_stores(
    organization_id: str,
    exchange: Exchanged,
    paging: Paged,
    search: shapes.Search = None,
    sort: shapes.Sort = "created_at",
    order: shapes.Direction = "asc",
    slice_id: Annotated[str | None, Query(max_length=128)] = None,
    status: shapes.StoreStatus = "active",
) -> Response:
    """Vector stores that the caller sees."""
    with exchange.reading(organization_id) as reading:
        part = part_of(paging, order_of("name" if sort == "name" else "created_at", order))
        kept = "active" if status == "active" else "archived"
        found = knowledge.list_stores(reading, part, slice_id=slice_id, status=kept, search=search)
        return _stores(reading, paging, found)


@routes.post(STORES, **documented(shapes.StoreAnswer, writes=True, status=201))
def create_store(organization_id: str, body: shapes.CreateStore, exchange: Exchanged) -> Response:
    """A vector store that the caller owns; readable in the organization unless said otherwise."""
    return _create_store(exchange, organization_id, body, None)


@routes.get(STORES + "/{store_id}", **documented(shapes.StoreAnswer))
def get_store(organization_id: str, store_id: str, exchange: Exchanged) -> Response:
    """A vector store, for those who see it."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.vector_store(reading, knowledge.get_store(reading, store_id))).response()


@routes.patch(STORES + "/{store_id}", **documented(shapes.StoreAnswer, writes=True))
def update_store(organization_id: str, store_id: str, body: shapes.UpdateStore, exchange: Exchanged) -> Response:
    """Change a store, or move it between slices, which takes the top level on it and `add_new` on each new slice."""

    def work(writing: Writing) -> Answer:
        change = Edit(
            name=body.name,
            attributes=_described(body),
            is_active=body.is_active,
            access_mode=body.access_mode,
        )
        changed = knowledge.update_store(writing, store_id, change, _slice_ids(body))
        return Answer(rendering.vector_store(writing, changed))

    return exchange.write(organization_id, work)


@routes.delete(STORES + "/{store_id}", **documented(None, writes=True, status=204))
def delete_store(organization_id: str, store_id: str, exchange: Exchanged) -> Response:
    """Delete a store with its grants. Needs the top level on it, or `manage_access_control`."""
    return exchange.write(organization_id, done(lambda writing: knowledge.delete_store(writing, store_id)))


def _set_status(exchange: Exchanged, organization_id: str, slice_id: str, status: str) -> Response:
    def work(writing: Writing) -> Answer:
        return Answer(rendering.knowledge_slice(writing, knowledge.set_status(writing, slice_id, status)))

    return exchange.write(organization_id, work)


def _create_store(
    exchange: Exchanged, organization_id: str, body: shapes.CreateStore, slice_id: str | None
) -> Response:
    def work(writing: Writing) -> Answer:
        draft = Draft(
            ref=EntityRef(STORE, body.id or writing.new_id("vs_")),
            name=body.name,
            owner=Principal("user", writing.caller.user_id),
            access_mode=body.access_mode,
            targets=() if body.access_target_id is None else (body.access_target_id,),
            attributes={"description": body.description},
        )
        with called(access_target_ids="access_target_id"):
            made = knowledge.create_store(writing, draft, slice_id)
        return Answer(rendering.vector_store(writing, made), 201)

    return exchange.write(organization_id, work)


def _targets(body: shapes.CreateSlice) -> list[str]:
    """The published API ignores them for a mode that lists nobody."""
    return [] if body.access_mode in OPEN_MODES else body.access_target_ids or []


def _described(body: shapes.UpdateSlice | shapes.UpdateComposite | shapes.UpdateStore) -> dict[str, str]:
    description = body.cleared("description")
    return {} if description is None else {"description": description}


def _slice_ids(body: shapes.UpdateStore) -> list[str] | None:
    if body.slice_id is None:
        return body.slice_ids
    if body.slice_ids is not None and body.slice_id not in body.slice_ids:
        raise ValidationFailed("slice_id", "slice_id must be among slice_ids, where both are given")
    return [body.slice_id] if body.slice_ids is None else body.slice_ids


def _slices(reading: Reading, paging: Paging, found: Page) -> Response:
    items = [rendering.knowledge_slice(reading, each) for each in knowledge.slice_views(reading, found.items)]
    return Answer(page_of(paging, found, items)).response()


def _stores(reading: Reading, paging: Paging, found: Page) -> Response:
    items = [rendering.vector_store(reading, each) for each in knowledge.store_views(reading, found.items)]
    return Answer(page_of(paging, found, items)).response()
