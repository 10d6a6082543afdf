"""Bodies of requests and answers about knowledge slices, composites and vector stores."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from grantbook.http.requests import Body, Id, Name, Text, Word
from grantbook.model.limits import (
    MAX_ACCESS_TARGETS,
    MAX_CONTAINERS_PER_ENTITY,
    MAX_MEMBERS_PER_CONTAINER,
    MAX_NAME_LENGTH,
)

OwnId = Annotated[Id | None, Field(description="Ours: the id that your platform knows it by.")]
Targets = Annotated[
    list[Id] | None,
    Field(max_length=MAX_ACCESS_TARGETS, description="Departments and users, for mode `department` or `private`."),
]
NewTargets = Annotated[
    list[Id] | None,
    Field(
        max_length=MAX_ACCESS_TARGETS,
        description="Departments and users, for mode `department` or `private`; ignored with the other two.",
    ),
]
Members = Annotated[list[Id], Field(max_length=MAX_MEMBERS_PER_CONTAINER)]
StoreMode = Annotated[
    Word | None,
    Field(description="`inherit` copies mode and targets of the slice that the store comes into, once."),
]

Status = Annotated[Literal["active", "archived"] | None, Query(description="Any, if left out.")]
StoreStatus = Annotated[Literal["active", "inactive"], Query(description="Whether stores are in use.")]
SliceKind = Annotated[str | None, Query(min_length=1, max_length=64, description="`standard`, for example.")]
Search = Annotated[
    str | None, Query(max_length=MAX_NAME_LENGTH, description="A text in the name; A to Z count as small letters.")
]
Sort = Annotated[
    Literal["name", "created_at", "data_size"],
    Query(description="Grantbook knows no sizes, so by `data_size` is by `created_at`."),
]
Direction = Annotated[Literal["asc", "desc"], Query()]


class CreateSlice(Body):
    """A knowledge slice."""

    name: Name
    description: Text | None = None
    type: Word | None = None
    owner_type: Word
    owner_id: Id
    access_mode: Word | None = None
    access_target_ids: NewTargets = None
    id: OwnId = None


class UpdateSlice(Body):
    """What to change; what is left out stays. Targets that are left out end with their mode."""

    name: Name | None = None
    description: Text | None = None
    access_mode: Word | None = None
    access_target_ids: Targets = None


class CreateComposite(Body):
    """A slice of slices."""

    name: Name
    description: Text | None = None
    member_slice_ids: Members
    id: OwnId = None


class UpdateComposite(Body):
    """What to change; what is left out stays. `member_slice_ids` are all members from now on."""

    name: Name | None = None
    description: Text | None = None
    member_slice_ids: Members | None = None


class CreateStore(Body):
    """A vector store."""

    name: Name
    description: Text | None = None
    access_mode: StoreMode = None
    access_target_id: Id | None = None
    id: OwnId = None


class UpdateStore(Body):
    """What to change; what is left out stays. `slice_id` or `slice_ids` are all slices of the store from now on."""

    name: Name | None = None
    description: Text | None = None
    access_mode: StoreMode = None
    is_active: bool | None = Field(None, description="An inactive store is reached by nobody; its grants stay.")
    slice_id: Id | None = None
    slice_ids: list[Id] | None = Field(None, max_length=MAX_CONTAINERS_PER_ENTITY)


class SliceAnswer(BaseModel):
    """A slice or composite."""

    id: str
    name: str
    description: str | None
    type: str
    is_composite: bool
    owner_type: str
    owner_id: str
    access_mode: str
    access_target_ids: list[str]
    status: str
    member_slice_ids: list[str]
    store_count: int
    organization_id: str
    created_by: str | None
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None
    archived_by: str | None


class SliceList(BaseModel):
    """A page of slices."""

    items: list[SliceAnswer]
    total: int
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None


class SliceSummary(BaseModel):
    """What a picture needs of a slice."""

    id: str
    name: str
    type: str
    is_composite: bool
    status: str
    owner_type: str
    owner_id: str
    access_mode: str
    member_slice_ids: list[str]
    store_count: int


class SliceSummaries(BaseModel):
    """Slices, all of them if `limit` allows."""

    items: list[SliceSummary]
    total: int
    limit: int
    has_more: bool


class StoreAnswer(BaseModel):
    """A vector store."""

    id: str
    name: str
    description: str | None
    slice_id: str | None
    slice_ids: list[str]
    organization_id: str
    created_by: str
    is_active: bool
    access_mode: str
    connector_connection_id: str | None
    file_count: int
    data_size: int
    created_at: datetime
    updated_at: datetime
    connector_connection_ids: list[str]


class StoreList(BaseModel):
    """A page of vector stores."""

    items: list[StoreAnswer]
    total: int
    skip: int
    limit: int
    has_more: bool
    next_cursor: str | None = None
