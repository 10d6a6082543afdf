"""API keys through their whole life: made, narrowed, paused, rotated, ended."""

from datetime import datetime
from typing import Annotated

from fastapi import Query, Response

from grantbook.http.exchange import Answer, Exchanged
from grantbook.http.platform import api_keys_rendering as rendering
from grantbook.http.platform import api_keys_shapes as shapes
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.instants import Instant, from_datetime
from grantbook.model.limits import DEFAULT_PAGE, MAX_PAGE, MAX_SKIP
from grantbook.service import keys
from grantbook.service.desk import Writing
from grantbook.service.keys import KeyChanges

routes = router("API keys")
KEYS = ORGANIZATION + "/api-keys"
KEY = KEYS + "/{key_id}"

PageNumber = Annotated[int, Query(ge=1, le=MAX_SKIP // MAX_PAGE, description="Which page, from 1 on.")]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Keys in a page.")]
Skip = Annotated[int, Query(ge=0, le=MAX_SKIP, description="Keys to leave out; instead of `page`.")]
Take = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Keys to show; instead of `page_size`.")]


@routes.get(KEYS, **documented(shapes.ApiKeyList))
def list_api_keys(
    organization_id: str,
    exchange: Exchanged,
    page: PageNumber = 1,
    page_size: PageSize = DEFAULT_PAGE,
    skip: Skip | None = None,
    take: Take | None = None,
) -> Response:
    """One's own keys, or with `manage_api_keys` all of them, oldest first."""
    size = take or page_size
    first = (page - 1) * size if skip is None else skip
    with exchange.reading(organization_id) as reading:
        found = keys.list_keys(reading, skip=first, limit=size)
        shown = rendering.api_keys(reading, found.items)
        number = page if skip is None else first // size + 1
        return Answer({"keys": shown, "total": found.total, "page": number, "page_size": size}).response()


@routes.post(KEYS, **documented(shapes.NewApiKey, writes=True, status=201))
def create_api_key(organization_id: str, body: shapes.CreateApiKey, exchange: Exchanged) -> Response:
    """A key, and its secret, which is shown this once. Nobody gives a key more than they have themselves."""

    def work(writing: Writing) -> Answer:
        key, secret = keys.create(
            writing,
            user_id=body.user_id or writing.caller.user_id,
            name=body.key_name,
            scopes=body.scopes,
            expires_at=_instant(body.expires_at),
            usage_limit_chf=body.usage_limit_chf,
            metadata=body.metadata,
        )
        return Answer(rendering.new_api_key(writing, key, secret), 201, holds_secret=True)

    return exchange.write(organization_id, work)


@routes.get(KEY, **documented(shapes.ApiKeyAnswer))
def get_api_key(organization_id: str, key_id: str, exchange: Exchanged) -> Response:
    """A key of one's own, or with `manage_api_keys` any."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.api_keys(reading, [keys.get(reading, key_id)])[0]).response()


@routes.patch(KEY, **documented(shapes.ApiKeyAnswer, writes=True))
def update_api_key(organization_id: str, key_id: str, body: shapes.UpdateApiKey, exchange: Exchanged) -> Response:
    """Another name, other scopes, another end."""
    changes: KeyChanges = {}
    if body.key_name is not None:
        changes["name"] = body.key_name
    if "scopes" in body.model_fields_set:
        changes["scopes"] = body.scopes
    if "expires_at" in body.model_fields_set:
        changes["expires_at"] = _instant(body.expires_at)
    if "usage_limit_chf" in body.model_fields_set:
        changes["usage_limit_chf"] = body.usage_limit_chf

    def work(writing: Writing) -> Answer:
        return Answer(rendering.api_keys(writing, [keys.update(writing, key_id, changes)])[0])

    return exchange.write(organization_id, work)


@routes.delete(KEY, **documented(shapes.ApiKeyAction, writes=True))
def delete_api_key(organization_id: str, key_id: str, exchange: Exchanged) -> Response:
    """End a key; its history stays. Doing it again is no error."""

    def work(writing: Writing) -> Answer:
        keys.delete(writing, key_id)
        return Answer({"success": True, "message": "API key deleted", "key": None})

    return exchange.write(organization_id, work)


@routes.post(KEY + "/activate", **documented(shapes.ApiKeyAction, writes=True))
def activate_api_key(organization_id: str, key_id: str, exchange: Exchanged) -> Response:
    """Let a deactivated key open again what it opened."""
    return _switch(exchange, organization_id, key_id, "activate")


@routes.post(KEY + "/deactivate", **documented(shapes.ApiKeyAction, writes=True))
def deactivate_api_key(organization_id: str, key_id: str, exchange: Exchanged) -> Response:
    """Turn a key off: from now on it answers 401 `API_KEY_DEACTIVATED`."""
    return _switch(exchange, organization_id, key_id, "deactivate")


@routes.post(KEY + "/pause", **documented(shapes.ApiKeyAction, writes=True))
def pause_api_key(organization_id: str, key_id: str, exchange: Exchanged) -> Response:
    """Turn a key off for a while: from now on it answers 401 `API_KEY_PAUSED`."""
    return _switch(exchange, organization_id, key_id, "pause")


@routes.post(KEY + "/unpause", **documented(shapes.ApiKeyAction, writes=True))
def unpause_api_key(organization_id: str, key_id: str, exchange: Exchanged) -> Response:
    """End a pause."""
    return _switch(exchange, organization_id, key_id, "unpause")


@routes.post(KEY + "/rotate", **documented(shapes.ApiKeyRotation, writes=True))
def rotate_api_key(organization_id: str, key_id: str, exchange: Exchanged) -> Response:
    """A new key in the place of this one, which opens nothing from the same moment on."""

    def work(writing: Writing) -> Answer:
        new, secret = keys.rotate(writing, key_id)
        answer = {
            "success": True,
            "message": "API key rotated",
            "old_key_id": key_id,
            "new_key": rendering.new_api_key(writing, new, secret),
        }
        return Answer(answer, holds_secret=True)

    return exchange.write(organization_id, work)


def _switch(exchange: Exchanged, organization_id: str, key_id: str, how: str) -> Response:
    def work(writing: Writing) -> Answer:
        key = keys.switch(writing, key_id, how)
        message = f"API key {keys.SWITCHES[how].action}"
        return Answer({"success": True, "message": message, "key": rendering.api_keys(writing, [key])[0]})

    return exchange.write(organization_id, work)


def _instant(value: datetime | None) -> Instant | None:
    return None if value is None else from_datetime(value)
