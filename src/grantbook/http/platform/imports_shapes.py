"""Lines of imports, and what came of them."""

from pydantic import BaseModel, Field

from grantbook.http.requests import CreateGrant, Id, RegisterEntity, Word


class EntityLine(RegisterEntity):
    """An entity that your platform keeps, as it is now: what is left out is cleared, but for the access mode."""

    entity_type: Word = Field(examples=["assistant"])
    entity_id: Id = Field(examples=["asst_helpdesk"])


class GrantLine(CreateGrant):
    """A grant on an entity, as for one alone."""


class Imported(BaseModel):
    """How many lines there were, and what came of them."""

    imported: int
    created: int
    updated: int
    unchanged: int
