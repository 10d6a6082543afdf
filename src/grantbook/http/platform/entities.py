"""Entities of any type, that a platform keeps and registers under its own ids."""

from fastapi import Response

from grantbook.http import requests, responses
from grantbook.http.exchange import Answer, Exchanged, done
from grantbook.http.paging import Paged
from grantbook.http.platform import rendering
from grantbook.http.platform.entity_pages import page_of, part_of
from grantbook.http.platform.knowledge_shapes import Search, Status
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.facts import EntityRef, Principal
from grantbook.service import entities, entity_lists, gates
from grantbook.service.desk import Writing

routes = router("Entities")
ENTITIES = ORGANIZATION + "/entities/{entity_type}"
ENTITY = ENTITIES + "/{entity_id}"


@routes.get(ENTITIES, **documented(responses.EntityList))
def list_entities_of_type(
    organization_id: str,
    entity_type: str,
    exchange: Exchanged,
    paging: Paged,
    status: Status = None,
    search: Search = None,
) -> Response:
    """Entities of a type that the caller sees, archived ones too, oldest first."""
    with exchange.reading(organization_id) as reading:
        found = entity_lists.list_of_type(reading, entity_type, part_of(paging), status=status, search=search)
        items = [rendering.entity(reading, each) for each in entities.views(reading, found.items)]
        return Answer(page_of(paging, found, items)).response()


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
    """Register or update an entity that your platform keeps, under your own id.

    Needs `manage_access_control`; one that is known, the top level.
    """

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


@routes.post(ENTITY + "/archive", **documented(responses.EntityAnswer, writes=True))
def archive_entity(organization_id: str, entity_type: str, entity_id: str, exchange: Exchanged) -> Response:
    """Archive: all access ends, the grants stay for the day it comes back."""
    return _set_status(exchange, organization_id, entity_type, entity_id, "archived")


@routes.post(ENTITY + "/unarchive", **documented(responses.EntityAnswer, writes=True))
def unarchive_entity(organization_id: str, entity_type: str, entity_id: str, exchange: Exchanged) -> Response:
    """Bring an archived entity back, with its grants."""
    return _set_status(exchange, organization_id, entity_type, entity_id, "active")


@routes.delete(ENTITY, **documented(None, writes=True, status=204))
def delete_entity(organization_id: str, entity_type: str, entity_id: str, exchange: Exchanged) -> Response:
    """Delete an entity with its grants; should its id come back, it starts with none."""
    return exchange.write(
        organization_id,
        done(lambda writing: entities.delete(writing, gates.entity_ref(writing, entity_type, entity_id))),
    )


def _set_status(exchange: Exchanged, organization_id: str, entity_type: str, entity_id: str, status: str) -> Response:
    def work(writing: Writing) -> Answer:
        ref = gates.entity_ref(writing, entity_type, entity_id)
        return Answer(rendering.entity(writing, entities.set_status(writing, ref, status)))

    return exchange.write(organization_id, work)
