"""Bodies of requests and answers about assistants. Most of what an assistant is, Grantbook takes and does not keep."""

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from grantbook.http.requests import Body, Id, Name, Text, Word
from grantbook.model.limits import MAX_ACCESS_TARGETS, MAX_ID_LENGTH, MAX_NAME_LENGTH

Ignored = Annotated[Any, Field(description="Taken, and not kept: it decides nothing about access.")]
Targets = Annotated[list[Id] | None, Field(max_length=MAX_ACCESS_TARGETS)]

Search = Annotated[str | None, Query(max_length=MAX_NAME_LENGTH, description="A text in the name or description.")]
Mode = Annotated[Literal["public", "organization", "department", "private"] | None, Query()]
UsedStore = Annotated[
    str | None,
    Query(max_length=MAX_ID_LENGTH, description="Grantbook keeps no stores of assistants, so none is found by one."),
]
InChat = Annotated[bool | None, Query(description="Taken, and not looked at.")]
Sort = Annotated[Literal["name", "created_at", "updated_at"], Query()]
Direction = Annotated[Literal["asc", "desc"], Query()]
Detail = Annotated[
    Literal["summary", "standard", "full"] | None, Query(description="Every answer has the fields of all three.")
]
WithTools = Annotated[bool | None, Query(description="Grantbook keeps no tools.")]


class AssistantSettings(Body):
    """What can be said of an assistant, new or known. The first fields count, the others are taken as they come."""

    description: Text | None = None
    access_mode: Word | None = None
    access_departments: Targets = None
    access_users: Targets = None
    is_active: bool | None = Field(None, description="An inactive assistant is reached by nobody; its grants stay.")

    accept_delegations_from: Ignored = None
    advanced_settings_enabled: Ignored = None
    allowed_model_providers: Ignored = None
    allowed_models: Ignored = None
    api_enabled: Ignored = None
    avatar_id: Ignored = None
    context_strategy: Ignored = None
    context_window: Ignored = None
    default_model_key: Ignored = None
    delegate_to_blacklist: Ignored = None
    delegate_to_whitelist: Ignored = None
    editable_by_roles: Ignored = None
    editable_by_users: Ignored = None
    frequency_penalty: Ignored = None
    icon_data: Ignored = None
    icon_id: Ignored = None
    icon_type: Ignored = None
    image_operations: Ignored = None
    instructions: Ignored = None
    instructions_thread_id: Ignored = None
    is_default: Ignored = None
    knowledge_access_mode: Ignored = None
    logit_bias: Ignored = None
    max_completion_tokens: Ignored = None
    max_tool_calls: Ignored = None
    memory_enabled: Ignored = None
    moderation_enabled: Ignored = None
    output_mode: Ignored = None
    parallel_tool_calls: Ignored = None
    pinned: Ignored = None
    presence_penalty: Ignored = None
    preset_prompts: Ignored = None
    public_enabled: Ignored = None
    reasoning: Ignored = None
    response_format: Ignored = None
    rule_ids: Ignored = None
    safety_level: Ignored = None
    seed: Ignored = None
    service_tier: Ignored = None
    skill_ids: Ignored = None
    skin_template_id: Ignored = None
    slice_ids: Ignored = None
    stop_sequences: Ignored = None
    store_responses: Ignored = None
    streaming: Ignored = None
    system_message: Ignored = None
    temperature: Ignored = None
    text_config: Ignored = None
    tool_approval_mode: Ignored = None
    tool_configurations: Ignored = None
    top_logprobs: Ignored = None
    top_p: Ignored = None
    truncation: Ignored = None
    vector_store_ids: Ignored = None
    visible_in_chat_to_users: Ignored = None
    visible_to_roles: Ignored = None
    voice_profile_id: Ignored = None


class CreateAssistant(AssistantSettings):
    """An assistant; the caller becomes its owner."""

    name: Name
    organization_id: Id
    id: Id | None = Field(None, description="Ours: the id that your platform knows it by.")

    deep_search_config: Ignored = None
    json_schemas: Ignored = None
    metadata: Ignored = None
    prefer_deep_search: Ignored = None


class UpdateAssistant(AssistantSettings):
    """What to change; what is left out stays. Targets that are left out end with their mode."""

    name: Name | None = None

    assistant_metadata: Ignored = None


class AssistantAnswer(BaseModel):
    """An assistant. The last fields are constants, which the published API requires."""

    id: str
    organization_id: str
    name: str
    description: str | None
    access_mode: str
    access_departments: list[str]
    access_users: list[str]
    is_active: bool
    user_access_level: str | None = Field(description="Of the caller: `owner`, `edit` or `view`.")
    created_by: str
    created_at: int = Field(description="Seconds since 1970, as in the published API.")
    updated_at: int

    is_default: bool
    api_enabled: bool
    public_enabled: bool
    workflow_based: bool
    is_pinned: bool
    is_forced: bool
    temperature: float
    default_model_key: str
    context_strategy: str
    vector_store_ids: list[str]
    slice_ids: list[str]
    rule_ids: list[str]
    skill_ids: list[str]


class AssistantPagination(BaseModel):
    """Which part of the list this is."""

    total: int
    limit: int
    offset: int
    has_more: bool
    next_cursor: str | None = None


class AssistantFilters(BaseModel):
    """By what the list was filtered and sorted."""

    search: str | None
    access_mode: str | None
    include_inactive: bool
    sort_by: str
    sort_order: str


class UserContext(BaseModel):
    """Who asked; only the organization asked about counts."""

    user_id: str
    organization_count: int


class AssistantList(BaseModel):
    """A page of assistants."""

    assistants: list[AssistantAnswer]
    total: int
    organization_id: str
    pagination: AssistantPagination
    filters_applied: AssistantFilters
    user_context: UserContext
