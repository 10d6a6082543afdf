"""API keys in the shapes of the wire."""

from collections.abc import Sequence
from typing import Any

from grantbook.model.facts import ApiKey
from grantbook.model.instants import Instant, to_text
from grantbook.service.desk import Reading
from grantbook.service.keys import METADATA, USAGE_LIMIT

Json = dict[str, Any]


def api_keys(reading: Reading, found: Sequence[ApiKey]) -> list[Json]:
    """Keys in the order given, with when they were last used."""
    used = reading.last_uses([key.id for key in found])
    return [_known(reading, key, used.get(key.id)) for key in found]


def new_api_key(reading: Reading, key: ApiKey, secret: str) -> Json:
    """A key with its secret."""
    return {**_shared(reading, key), "key": secret}


def _known(reading: Reading, key: ApiKey, last_used_at: Instant | None) -> Json:
    return {**_shared(reading, key), "is_paused": key.is_paused, "last_used_at": _time(last_used_at)}


def _shared(reading: Reading, key: ApiKey) -> Json:
    return {
        "id": key.id,
        "organization_id": reading.organization_id,
        "key_name": key.name,
        "key_prefix": key.key_prefix,
        "is_active": key.is_active,
        "usage_limit_chf": key.attributes.get(USAGE_LIMIT),
        "scopes": None if key.scopes is None else list(key.scopes),
        "metadata": key.attributes.get(METADATA),
        "created_by": key.created_by,
        "created_at": to_text(key.created_at),
        "expires_at": _time(key.expires_at),
        "user_id": key.user_id,
    }


def _time(value: Instant | None) -> str | None:
    return None if value is None else to_text(value)
