"""The registry of assistants. Its addresses do not name the organization: the query does, or the key finds it."""

from typing import Annotated, Any

from fastapi import Query, Response

from grantbook.http.exchange import Answer, Exchange, Exchanged, done
from grantbook.http.paging import Paging
from grantbook.http.platform import assistants_rendering as rendering
from grantbook.http.platform import assistants_shapes as shapes
from grantbook.http.platform.entity_pages import order_of, page_of, part_of
from grantbook.http.routing import documented, router
from grantbook.model.errors import ValidationFailed
from grantbook.model.limits import DEFAULT_PAGE, MAX_ID_LENGTH, MAX_PAGE, MAX_SKIP
from grantbook.service import assistants, keys
from grantbook.service.assistants import Settings
from grantbook.service.desk import Writing
from grantbook.service.entity_lists import NOTHING

routes = router("Assistants")
ASSISTANTS = "/v1/assistants"
ASSISTANT = ASSISTANTS + "/{assistant_id}"

InOrganization = Annotated[str, Query(min_length=1, max_length=MAX_ID_LENGTH, description="Where they are.")]


@routes.get(ASSISTANTS, **documented(shapes.AssistantList))
def list_assistants(
    organization_id: InOrganization,
    exchange: Exchanged,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    offset: Annotated[int, Query(ge=0, le=MAX_SKIP)] = 0,
    cursor: Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before.")] = None,
    search: shapes.Search = None,
    access_mode: shapes.Mode = None,
    vector_store_id: shapes.UsedStore = None,
    visible_in_chat: shapes.InChat = None,  # noqa: ARG001
    for_chat: shapes.InChat = None,  # noqa: ARG001
    include_inactive: bool = False,
    sort_by: shapes.Sort = "created_at",
    sort_order: shapes.Direction = "asc",
    fields: shapes.Detail = None,  # noqa: ARG001
) -> Response:
    """Assistants that the caller sees."""
    paging = Paging(skip=offset, limit=limit, cursor=cursor)
    with exchange.reading(organization_id) as reading:
        part = part_of(paging, order_of(sort_by, sort_order))
        found = assistants.list_assistants(
            reading, part, search=search, access_mode=access_mode, with_inactive=include_inactive
        )
        if vector_store_id is not None:
            found = NOTHING
        items = [rendering.assistant(reading, each) for each in assistants.views(reading, found.items)]
        page: dict[str, Any] = page_of(paging, found, items)
    listed = page.pop("items")
    page["offset"] = page.pop("skip")
    body = {
        "assistants": listed,
        "total": page["total"],
        "organization_id": organization_id,
        "pagination": page,
        "filters_applied": {
            "search": search,
            "access_mode": access_mode,
            "include_inactive": include_inactive,
            "sort_by": sort_by,
            "sort_order": sort_order,
        },
        "user_context": {"user_id": exchange.caller.user_id, "organization_count": 1},
    }
    return Answer(body).response()


@routes.post(ASSISTANTS, **documented(shapes.AssistantAnswer, writes=True, status=201))
def create_assistant(
    body: shapes.CreateAssistant, exchange: Exchanged, organization_id: InOrganization | None = None
) -> Response:
    """An assistant that the caller owns; private unless said otherwise. Needs `manage_assistants`.

    The official SDK names the organization in the query too; releases before 0.8.178 in the body alone.
    """
    if organization_id is None:
        keys.require_opens(exchange.desk, exchange.identity, body.organization_id)
    elif body.organization_id != organization_id:
        raise ValidationFailed("organization_id", "organization_id must be the same in the query and in the body")

    def work(writing: Writing) -> Answer:
        made = assistants.create(writing, _settings(body), body.id or writing.new_id("asst_"))
        return Answer(rendering.assistant(writing, made), 201)

    return exchange.write(body.organization_id, work)


@routes.get(ASSISTANT, **documented(shapes.AssistantAnswer))
def get_assistant(
    assistant_id: str,
    exchange: Exchanged,
    include_connected_tools: shapes.WithTools = None,  # noqa: ARG001
    include_available_tools: shapes.WithTools = None,  # noqa: ARG001
) -> Response:
    """An assistant, for those who see it: first looked for in the organization of the key."""
    with exchange.reading(_organization_of(exchange, assistant_id)) as reading:
        return Answer(rendering.assistant(reading, assistants.get(reading, assistant_id))).response()


@routes.put(ASSISTANT, **documented(shapes.AssistantAnswer, writes=True))
def update_assistant(assistant_id: str, body: shapes.UpdateAssistant, exchange: Exchanged) -> Response:
    """Change an assistant: needs `manage_assistants` or the top level; who reaches it, the top level."""

    def work(writing: Writing) -> Answer:
        changed = assistants.update(writing, assistant_id, _settings(body))
        return Answer(rendering.assistant(writing, changed))

    return exchange.write(_organization_of(exchange, assistant_id), work)


@routes.delete(ASSISTANT, **documented(None, writes=True, status=204))
def delete_assistant(assistant_id: str, exchange: Exchanged) -> Response:
    """Delete an assistant with its grants. Needs the top level on it, or `manage_access_control`."""
    return exchange.write(
        _organization_of(exchange, assistant_id), done(lambda writing: assistants.delete(writing, assistant_id))
    )


def _settings(body: shapes.CreateAssistant | shapes.UpdateAssistant) -> Settings:
    return Settings(
        name=body.name,
        description=body.cleared("description"),
        is_active=body.is_active,
        access_mode=body.access_mode,
        department_ids=body.access_departments,
        user_ids=body.access_users,
    )


def _organization_of(exchange: Exchange, assistant_id: str) -> str:
    return assistants.organization_of(exchange.desk, exchange.identity, assistant_id)
