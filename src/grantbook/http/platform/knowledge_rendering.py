"""Slices, composites and stores in the shapes of the wire. What Grantbook does not keep is an honest constant."""

from grantbook.http.platform.rendering import Json
from grantbook.model.instants import to_text
from grantbook.service.attributes import instant_in, text_in
from grantbook.service.desk import Reading
from grantbook.service.knowledge import STANDARD, SliceView, StoreView, is_composite


def knowledge_slice(reading: Reading, found: SliceView) -> Json:
    """A slice, or a composite with its members."""
    entity = found.entity
    archived_at = instant_in(entity.attributes, "archived_at")
    return {
        **slice_summary(found),
        "description": text_in(entity.attributes, "description") or None,
        "access_target_ids": list(found.target_ids),
        "organization_id": reading.organization_id,
        "created_by": entity.created_by,
        "created_at": to_text(entity.created_at),
        "updated_at": to_text(entity.updated_at),
        "archived_at": None if archived_at is None else to_text(archived_at),
        "archived_by": text_in(entity.attributes, "archived_by"),
    }


def slice_summary(found: SliceView) -> Json:
    """What a picture needs of a slice."""
    entity = found.entity
    return {
        "id": entity.id,
        "name": entity.name,
        "type": text_in(entity.attributes, "type") or STANDARD,
        "is_composite": is_composite(entity),
        "status": entity.status,
        "owner_type": entity.owner_type,
        "owner_id": entity.owner_id,
        "access_mode": entity.access_mode,
        "member_slice_ids": list(found.member_ids),
        "store_count": found.store_count,
    }


def vector_store(reading: Reading, found: StoreView) -> Json:
    """A vector store with the slices that hold it."""
    entity = found.entity
    return {
        "id": entity.id,
        "name": entity.name,
        "description": text_in(entity.attributes, "description") or None,
        "slice_id": found.slice_ids[0] if found.slice_ids else None,
        "slice_ids": list(found.slice_ids),
        "organization_id": reading.organization_id,
        "created_by": entity.created_by,
        "is_active": entity.is_active,
        "access_mode": entity.access_mode,
        "connector_connection_id": None,
        "file_count": 0,
        "data_size": 0,
        "created_at": to_text(entity.created_at),
        "updated_at": to_text(entity.updated_at),
        "connector_connection_ids": [],
    }
