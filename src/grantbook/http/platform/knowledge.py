"""Knowledge slices, composites and vector stores, and entities of any type that a platform registers."""

from fastapi import Response

from grantbook.http import requests, responses
from grantbook.http.exchange import Answer, Exchanged
from grantbook.http.platform import rendering
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.facts import EntityRef, Principal
from grantbook.service import entities, gates
from grantbook.service.desk import Writing

routes = router("Entities")
KNOWLEDGE = ORGANIZATION + "/knowledge"
ENTITY = ORGANIZATION + "/entities/{entity_type}/{entity_id}"
_CREATORS = ("create_knowledge", "manage_knowledge_slices")


@routes.post(KNOWLEDGE + "/slices", **documented(responses.SliceAnswer, writes=True, status=201))
def create_slice(organization_id: str, body: requests.CreateSlice, exchange: Exchanged) -> Response:
    """A knowledge slice; private unless said otherwise. Needs `create_knowledge`."""

    def work(writing: Writing) -> Answer:
        draft = entities.Draft(
            ref=EntityRef("knowledge_slice", body.id or writing.new_id("kslice_")),
            name=body.name,
            owner=Principal(body.owner_type, body.owner_id),
            access_mode=body.access_mode,
            targets=body.access_target_ids or (),
            attributes={"description": body.description, "type": body.type},
        )
        return Answer(rendering.knowledge_slice(writing, entities.create(writing, draft, *_CREATORS)), 201)

    return exchange.write(organization_id, work)


@routes.get(KNOWLEDGE + "/slices/{slice_id}", **documented(responses.SliceAnswer))
def get_slice(organization_id: str, slice_id: str, exchange: Exchanged) -> Response:
    """A slice or composite, for those who reach it."""
    with exchange.reading(organization_id) as reading:
        found = entities.get(reading, EntityRef("knowledge_slice", slice_id))
        return Answer(rendering.knowledge_slice(reading, found)).response()


@routes.post(KNOWLEDGE + "/slices/{slice_id}/archive", **documented(responses.SliceAnswer, writes=True))
def archive_slice(organization_id: str, slice_id: str, exchange: Exchanged) -> Response:
    """Archive: all access ends, the grants stay for the day it comes back."""
    return _set_status(exchange, organization_id, slice_id, "archived")


@routes.post(KNOWLEDGE + "/slices/{slice_id}/unarchive", **documented(responses.SliceAnswer, writes=True))
def unarchive_slice(organization_id: str, slice_id: str, exchange: Exchanged) -> Response:
    """Bring an archived slice back, with its grants."""
    return _set_status(exchange, organization_id, slice_id, "active")


@routes.post(KNOWLEDGE + "/composites", **documented(responses.SliceAnswer, writes=True, status=201))
def create_composite(organization_id: str, body: requests.CreateComposite, exchange: Exchanged) -> Response:
    """A slice of slices that the caller owns: a grant on it reaches each member, so the caller must administer them."""

    def work(writing: Writing) -> Answer:
        draft = entities.Draft(
            ref=EntityRef("knowledge_slice", body.id or writing.new_id("kslice_")),
            name=body.name,
            owner=Principal("user", writing.caller.user_id),
            attributes={"description": body.description, "is_composite": True},
            members=[EntityRef("knowledge_slice", member) for member in body.member_slice_ids],
        )
        return Answer(rendering.knowledge_slice(writing, entities.create(writing, draft, *_CREATORS)), 201)

    return exchange.write(organization_id, work)


@routes.post(KNOWLEDGE + "/stores", **documented(responses.StoreAnswer, writes=True, status=201))
def create_store(organization_id: str, body: requests.CreateStore, exchange: Exchanged) -> Response:
    """A vector store that the caller owns; readable in the organization unless said otherwise."""
    return _create_store(exchange, organization_id, body, None)


@routes.post(KNOWLEDGE + "/slices/{slice_id}/stores", **documented(responses.StoreAnswer, writes=True, status=201))
def create_store_in_slice(
    organization_id: str, slice_id: str, body: requests.CreateStore, exchange: Exchanged
) -> Response:
    """A vector store inside a slice. Needs `add_new` on the slice."""
    return _create_store(exchange, organization_id, body, slice_id)


@routes.get(KNOWLEDGE + "/stores/{store_id}", **documented(responses.StoreAnswer))
def get_store(organization_id: str, store_id: str, exchange: Exchanged) -> Response:
    """A vector store, for those who reach it."""
    with exchange.reading(organization_id) as reading:
        found = entities.get(reading, EntityRef("vector_store", store_id))
        return Answer(rendering.vector_store(reading, found)).response()


@routes.put(
    ENTITY,
    **documented(
        responses.EntityAnswer,
        writes=True,
        also={201: {"model": responses.EntityAnswer, "description": "The entity is new."}},
    ),
)
def register_entity(
    organization_id: str, entity_type: str, entity_id: str, body: requests.RegisterEntity, exchange: Exchanged
) -> Response:
    """Register or update an entity that your platform keeps, under your own id. Needs `manage_access_control`."""

    def work(writing: Writing) -> Answer:
        draft = entities.Draft(
            ref=gates.entity_ref(writing, entity_type, entity_id),
            name=body.name,
            owner=Principal(body.owner_type, body.owner_id),
            access_mode=body.access_mode,
            targets=body.access_target_ids or (),
            containers=[EntityRef(each.entity_type, each.entity_id) for each in body.containers or ()],
        )
        made, is_new = entities.register(writing, draft)
        return Answer(rendering.entity(writing, made), 201 if is_new else 200)

    return exchange.write(organization_id, work)


@routes.get(ENTITY, **documented(responses.EntityAnswer))
def get_entity(organization_id: str, entity_type: str, entity_id: str, exchange: Exchanged) -> Response:
    """A registered entity, for those who reach it."""
    with exchange.reading(organization_id) as reading:
        found = entities.get(reading, gates.entity_ref(reading, entity_type, entity_id))
        return Answer(rendering.entity(reading, found)).response()


@routes.delete(ENTITY, **documented(None, writes=True, status=204))
def delete_entity(organization_id: str, entity_type: str, entity_id: str, exchange: Exchanged) -> Response:
    """Delete an entity with its grants; should its id come back, it starts with none."""

    def work(writing: Writing) -> Answer:
        entities.delete(writing, gates.entity_ref(writing, entity_type, entity_id))
        return Answer(None, 204)

    return exchange.write(organization_id, work)


def _set_status(exchange: Exchanged, organization_id: str, slice_id: str, status: str) -> Response:
    def work(writing: Writing) -> Answer:
        changed = entities.set_status(writing, EntityRef("knowledge_slice", slice_id), status)
        return Answer(rendering.knowledge_slice(writing, changed))

    return exchange.write(organization_id, work)


def _create_store(
    exchange: Exchanged, organization_id: str, body: requests.CreateStore, slice_id: str | None
) -> Response:
    def work(writing: Writing) -> Answer:
        draft = entities.Draft(
            ref=EntityRef("vector_store", body.id or writing.new_id("vs_")),
            name=body.name,
            owner=Principal("user", writing.caller.user_id),
            access_mode=body.access_mode,
            targets=() if body.access_target_id is None else (body.access_target_id,),
            attributes={"description": body.description},
            containers=() if slice_id is None else (EntityRef("knowledge_slice", slice_id),),
        )
        return Answer(rendering.vector_store(writing, entities.create(writing, draft, *_CREATORS)), 201)

    return exchange.write(organization_id, work)
