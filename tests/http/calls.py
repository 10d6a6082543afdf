"""One good call for every operation of the API: what the walks over all routes start from.

A call succeeds for the owner of its scene. A walk changes one thing (the key, an id, a field) and looks at the error,
so that no error can come from something else. `test_openapi` fails when an operation has no call here.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import httpx

from grantbook.bootstrap import open_desk
from grantbook.http.app import create_app
from grantbook.service.desk import Desk
from tests.serving import Tenant

Json = dict[str, Any]
Place = tuple[str | int, ...]

OPENAPI: Final[Json] = create_app(open_desk("memory:")).openapi()
ASKED_BY_POST: Final = ("/access/check", "/access/check/batch", "/access/explain", "/users", "/users/ids")
IN_LINES: Final = tuple(
    f"POST /v1/organizations/{{organization_id}}/{each}/import" for each in ("entities", "access/grants")
)
"""What takes JSON Lines has walks of its own, in `test_imports`."""
UNGUARDED: Final = ("GET /healthz", "HEAD /healthz", "GET /readyz", "HEAD /readyz", "POST /v1/invitations/accept")


class Scene:
    """An organization with one of everything; `ids` has a good value for each path parameter."""

    def __init__(self, desk: Desk) -> None:
        self.tenant = tenant = Tenant.found(desk)
        self.role_id = tenant.role("create_knowledge")
        self.bob = tenant.user(self.role_id)
        self.eve = tenant.user()
        self.gone = tenant.user()
        tenant.remove(self.gone)
        self.department_id = tenant.department(None, self.bob)
        self.slice = tenant.entity()
        self.other_slice = tenant.entity()
        self.composite = tenant.entity(form="composite")
        self.store = tenant.entity("vector_store")
        self.assistant = tenant.entity("assistant")
        self.rule = tenant.entity("rule")
        (self.grant,) = tenant.grant(self.slice, "read", self.bob)
        tenant.permit(self.rule, "use", "user", self.bob)
        self.owner_id = tenant.owner.user_id
        self.key, _ = tenant.api_key(self.bob, scopes=())

    @cached_property
    def ids(self) -> dict[str, str]:
        return {
            "organization_id": self.tenant.organization_id,
            "grant_id": self.grant.id,
            "slice_id": self.slice.id,
            "store_id": self.store.id,
            "assistant_id": self.assistant.id,
            "rule_id": self.rule.id,
            "user_id": self.bob,
            "department_id": self.department_id,
            "role_id": self.role_id,
            "key_id": self.key.id,
            "entity_type": "assistant",
            "entity_id": self.assistant.id,
        }

    @cached_property
    def everything(self) -> list[str]:
        """Every id that a call may name, in the same order in each scene."""
        own = {name: value for name, value in self.ids.items() if name != "entity_type"}
        return [*own.values(), self.eve, self.owner_id, self.other_slice.id]

    def counterpart(self, other: "Scene", id_: str) -> str:
        """What the other organization has in the place of one of our ids."""
        return other.everything[self.everything.index(id_)]


@dataclass(frozen=True)
class Call:
    """How to call one operation well, and the status of its success."""

    operation: str
    status: int
    body: Callable[[Scene], Any] | None = None
    query: Callable[[Scene], Json] | None = None
    ids: Callable[[Scene], Json] | None = None

    @property
    def method(self) -> str:
        return self.operation.partition(" ")[0]

    @property
    def template(self) -> str:
        return self.operation.partition(" ")[2]

    @property
    def schema(self) -> Json:
        """The operation in the OpenAPI document."""
        found: Json = OPENAPI["paths"][self.template][self.method.lower()]
        return found

    @property
    def path_ids(self) -> list[str]:
        """Names of the ids in the path, apart from the organization's."""
        names = [each["name"] for each in self.schema.get("parameters", ()) if each["in"] == "path"]
        return [name for name in names if name not in {"organization_id", "entity_type"}]

    @property
    def changes(self) -> bool:
        """Whether it writes: some questions are asked by POST."""
        return self.method != "GET" and not (self.method == "POST" and self.template.endswith(ASKED_BY_POST))

    @property
    def belongs_to_organization(self) -> bool:
        return "{organization_id}" in self.template

    def request(self, scene: Scene) -> "Request":
        """The good request, as a value to change."""
        return Request(
            method=self.method,
            template=self.template,
            ids=scene.ids | (self.ids(scene) if self.ids else {}),
            query=self.query(scene) if self.query else {},
            body=self.body(scene) if self.body else None,
        )


@dataclass
class Request:
    """A request in the making."""

    method: str
    template: str
    ids: dict[str, str]
    query: Json
    body: Any

    def send(self, client: httpx.Client, secret: str | None = None, **headers: str) -> httpx.Response:
        path = self.template.format(**self.ids)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret is not None:
            sent["X-API-Key"] = secret
        return client.request(self.method, path, params=self.query, json=self.body, headers=sent)

    def send_content(self, client: httpx.Client, secret: str, content: Any, **headers: str) -> httpx.Response:
        """With this content in place of the body."""
        path = self.template.format(**self.ids)
        sent = {"X-API-Key": secret, "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return client.request(self.method, path, params=self.query, content=content, headers=sent)

    def places_of(self, known: list[str]) -> Iterator[Place]:
        """Where in the query and the body one of the known ids stands."""
        yield from (("query", *place) for place, value in leaves(self.query) if value in known)
        yield from (("body", *place) for place, value in leaves(self.body) if value in known)

    def value_at(self, place: Place) -> Any:
        value = getattr(self, str(place[0]))
        for step in place[1:]:
            value = value[step]
        return value

    def with_value(self, place: Place, value: Any) -> "Request":
        """A copy in which another value stands at the place."""
        changed = deepcopy(self)
        holder = getattr(changed, str(place[0]))
        for step in place[1:-1]:
            holder = holder[step]
        holder[place[-1]] = value
        return changed


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value in the tree that holds no others, with its place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*place, name))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from leaves(inner, (*place, position))
    else:
        yield place, value


def unknown(id_: str) -> str:
    """A well-formed id of the same kind that nobody has."""
    return id_.partition("_")[0] + "_" + "0" * 32


def _grant(scene: Scene) -> Json:
    return {"grantee_type": "user", "grantee_id": scene.eve, "access_level": "read"}


def _slice(scene: Scene) -> Json:
    return {"entity_type": "knowledge_slice", "entity_id": scene.slice.id}


def _question(scene: Scene) -> Json:
    return {"user_id": scene.bob, **_slice(scene), "access_level": "read"}


def _permission(scene: Scene) -> Json:
    return {"target_type": "user", "target_id": scene.eve, "access_level": "view"}


O: Final = "/v1/organizations/{organization_id}"  # noqa: E741  # as in the contract
R: Final = "/v1/rules/{rule_id}/permissions"
A: Final = "/v1/rules/{rule_id}/access"
_CALLS: Final = (
    Call(f"GET {O}/access/grants", 200, query=lambda s: {**_slice(s), "grantee_type": "user", "grantee_id": s.bob}),
    Call(f"POST {O}/access/grants", 201, lambda s: {**_slice(s), **_grant(s)}),
    Call(f"POST {O}/access/grants/bulk", 201, lambda s: {**_slice(s), "grants": [_grant(s)]}),
    Call(f"GET {O}/access/grants/{{grant_id}}", 200),
    Call(f"PATCH {O}/access/grants/{{grant_id}}", 200, lambda _: {"access_level": "write"}),
    Call(f"DELETE {O}/access/grants/{{grant_id}}", 204),
    Call(f"GET {O}/knowledge/slices/{{slice_id}}/grants", 200),
    Call(f"GET {O}/vector-stores/{{store_id}}/grants", 200),
    Call(f"GET {O}/assistants/{{assistant_id}}/grants", 200),
    Call(f"GET {O}/users/{{user_id}}/resolved-access", 200, query=lambda _: {"entity_type": "knowledge_slice"}),
    Call(f"GET {O}/access/users-with-access", 200, query=_slice),
    Call(f"GET {O}/knowledge/users-with-access", 200, query=_slice),
    Call(f"GET {O}/access/overview", 200),
    Call(f"POST {O}/access/check", 200, _question),
    Call(f"POST {O}/access/check/batch", 200, lambda s: {"checks": [_question(s)]}),
    Call(f"POST {O}/access/explain", 200, _question),
    Call(f"GET {O}/access/entities", 200, query=lambda s: {"user_id": s.bob, "entity_type": "knowledge_slice"}),
    Call(f"GET {O}/access/users", 200, query=lambda s: {**_slice(s), "access_level": "read"}),
    Call(f"GET {R}", 200),
    Call(f"PUT {R}", 200, lambda s: [_permission(s)]),
    Call(f"PATCH {R}/grant", 200, _permission),
    Call(f"PATCH {R}/revoke", 200, lambda s: {"target_type": "user", "target_id": s.bob}),
    Call(f"GET {A}", 200),
    Call(f"POST {A}", 201, lambda s: {"user_id": s.eve, "access_level": "view"}),
    Call(f"PUT {A}/{{user_id}}", 200, lambda s: {"user_id": s.bob, "access_level": "edit"}),
    Call(f"DELETE {A}/{{user_id}}", 204),
    Call("GET /v1/rules/platform", 200),
    Call("GET /v1/rules/public", 200),
    Call("GET /v1/rules/{rule_id}", 200),
    Call(f"GET {O}/rules", 200, query=lambda _: {"search": "the", "rule_type": "behavior", "is_active": "true"}),
    Call(f"POST {O}/rules", 201, lambda _: {"name": "Be kind", "content": "Always."}),
    Call(f"GET {O}/rules/{{rule_id}}", 200),
    Call(f"PUT {O}/rules/{{rule_id}}", 200, lambda _: {"content": "Often.", "is_public": True}),
    Call(f"DELETE {O}/rules/{{rule_id}}", 204),
    Call(f"POST {O}/rules/{{rule_id}}/duplicate", 201),
    Call("GET /v1/assistants", 200, query=lambda s: {"organization_id": s.tenant.organization_id, "sort_by": "name"}),
    Call(
        "POST /v1/assistants",
        201,
        lambda s: {"name": "Clerk", "organization_id": s.tenant.organization_id, "access_users": [s.eve]},
        query=lambda s: {"organization_id": s.tenant.organization_id},
    ),
    Call("GET /v1/assistants/{assistant_id}", 200),
    Call("PUT /v1/assistants/{assistant_id}", 200, lambda s: {"name": "Clerk", "access_users": [s.eve]}),
    Call("DELETE /v1/assistants/{assistant_id}", 204),
    Call(f"GET {O}/knowledge/slices", 200, query=lambda _: {"search": "the", "status": "active"}),
    Call(f"GET {O}/knowledge/slices/summary", 200),
    Call(
        f"POST {O}/knowledge/slices",
        201,
        lambda s: {
            "name": "Handbook",
            "owner_type": "user",
            "owner_id": s.owner_id,
            "access_mode": "private",
            "access_target_ids": [s.eve],
        },
    ),
    Call(f"GET {O}/knowledge/slices/{{slice_id}}", 200),
    Call(f"PATCH {O}/knowledge/slices/{{slice_id}}", 200, lambda s: {"name": "Law", "access_target_ids": [s.eve]}),
    Call(f"GET {O}/knowledge/slices/{{slice_id}}/stores", 200),
    Call(f"GET {O}/knowledge/composites", 200),
    Call(
        f"PATCH {O}/knowledge/composites/{{slice_id}}",
        200,
        lambda s: {"member_slice_ids": [s.slice.id, s.other_slice.id]},
        ids=lambda s: {"slice_id": s.composite.id},
    ),
    Call(f"GET {O}/knowledge/stores", 200, query=lambda _: {"sort": "name", "order": "desc"}),
    Call(f"PATCH {O}/knowledge/stores/{{store_id}}", 200, lambda s: {"slice_ids": [s.slice.id], "name": "Files"}),
    Call(f"DELETE {O}/knowledge/stores/{{store_id}}", 204),
    Call(f"POST {O}/knowledge/slices/{{slice_id}}/archive", 200),
    Call(f"POST {O}/knowledge/slices/{{slice_id}}/unarchive", 200),
    Call(
        f"POST {O}/knowledge/composites",
        201,
        lambda s: {"name": "All", "member_slice_ids": [s.slice.id, s.other_slice.id]},
    ),
    Call(f"POST {O}/knowledge/stores", 201, lambda _: {"name": "Files"}),
    Call(f"POST {O}/knowledge/slices/{{slice_id}}/stores", 201, lambda _: {"name": "Files", "description": "All."}),
    Call(f"GET {O}/knowledge/stores/{{store_id}}", 200),
    Call(
        f"PUT {O}/entities/{{entity_type}}/{{entity_id}}",
        200,
        lambda s: {"name": "Clerk", "owner_type": "user", "owner_id": s.eve, "access_target_ids": [s.bob]},
    ),
    Call(f"GET {O}/entities/{{entity_type}}/{{entity_id}}", 200),
    Call(f"DELETE {O}/entities/{{entity_type}}/{{entity_id}}", 204),
    Call(f"GET {O}/entities/{{entity_type}}", 200, query=lambda _: {"search": "the", "status": "active"}),
    Call(f"POST {O}/entities/{{entity_type}}/{{entity_id}}/archive", 200),
    Call(f"POST {O}/entities/{{entity_type}}/{{entity_id}}/unarchive", 200),
    Call("POST /v1/organizations", 201, lambda _: {"name": "Branch", "type": "company"}),
    Call("GET /v1/organizations", 200),
    Call(f"GET {O}", 200),
    Call(f"PATCH {O}", 200, lambda _: {"name": "Acme and Sons", "website": "https://acme.example"}),
    Call(f"DELETE {O}", 204),
    Call(f"GET {O}/permission-preset", 200),
    Call(f"PATCH {O}/permission-preset", 200, lambda _: {"preset": "balanced"}),
    Call(f"GET {O}/statuses", 200),
    Call(
        f"POST {O}/users/invite/v2",
        201,
        lambda s: {"email": "kim@example.org", "role_ids": [s.role_id], "department_ids": [s.department_id]},
    ),
    Call(
        f"PATCH {O}/users/{{user_id}}/memberships",
        200,
        lambda s: {"role_ids": [s.role_id], "department_ids": []},
    ),
    Call(f"DELETE {O}/users/{{user_id}}", 204),
    Call(
        f"POST {O}/users/{{user_id}}/deactivate",
        200,
        lambda s: {"transfer_resources_to_department_id": s.department_id},
    ),
    Call(f"POST {O}/users/{{user_id}}/reactivate", 200),
    Call(f"POST {O}/users", 200, lambda s: {"role_id": s.role_id, "search_term": "test"}),
    Call(f"POST {O}/users/ids", 200),
    Call(f"GET {O}/users/{{user_id}}", 200),
    Call(f"PUT {O}/users/{{user_id}}", 200, lambda s: {"role_id": s.role_id, "first_name": "Bob"}),
    Call(f"DELETE {O}/users/{{user_id}}/delete", 204),
    Call(f"POST {O}/users/{{user_id}}/restore", 204, ids=lambda s: {"user_id": s.gone}),
    Call(f"GET {O}/users/{{user_id}}/ui-access", 200),
    Call(f"GET {O}/users/{{user_id}}/effective-permissions", 200),
    Call(f"GET {O}/my-access", 200),
    Call(f"GET {O}/departments", 200),
    Call(f"GET {O}/departments/tree", 200, query=lambda s: {"scope": s.department_id}),
    Call(f"GET {O}/departments/{{department_id}}", 200),
    Call(f"PATCH {O}/departments/{{department_id}}", 200, lambda _: {"name": "Law and Order"}),
    Call(f"POST {O}/departments/{{department_id}}/reparent", 200, lambda _: {"new_parent_id": None}),
    Call(f"GET {O}/departments/{{department_id}}/members", 200),
    Call(f"POST {O}/departments", 201, lambda s: {"name": "Law", "parent_id": s.department_id}),
    Call(f"DELETE {O}/departments/{{department_id}}", 204),
    Call(f"POST {O}/departments/{{department_id}}/members", 201, lambda s: {"user_id": s.eve}),
    Call(f"DELETE {O}/departments/{{department_id}}/members/{{user_id}}", 204),
    Call(f"POST {O}/roles", 201, lambda _: {"name": "Clerk", "capabilities": ["create_knowledge"]}),
    Call("GET /v1/capabilities", 200),
    Call(f"GET {O}/roles", 200),
    Call(f"GET {O}/roles/templates", 200),
    Call(f"GET {O}/roles/{{role_id}}", 200),
    Call(f"PATCH {O}/roles/{{role_id}}", 200, lambda _: {"name": "Writer", "capabilities": []}),
    Call(f"GET {O}/roles/{{role_id}}/members", 200),
    Call(f"DELETE {O}/roles/{{role_id}}", 204),
    Call(f"POST {O}/roles/{{role_id}}/members", 201, lambda s: {"user_id": s.eve}),
    Call(f"DELETE {O}/roles/{{role_id}}/members/{{user_id}}", 204),
    Call(f"GET {O}/api-keys", 200),
    Call(f"POST {O}/api-keys", 201, lambda _: {"key_name": "Reports", "scopes": []}),
    Call(f"GET {O}/api-keys/{{key_id}}", 200),
    Call(f"PATCH {O}/api-keys/{{key_id}}", 200, lambda _: {"key_name": "Renamed"}),
    Call(f"DELETE {O}/api-keys/{{key_id}}", 200),
    *(
        Call(f"POST {O}/api-keys/{{key_id}}/{how}", 200)
        for how in ("activate", "deactivate", "pause", "unpause", "rotate")
    ),
    Call(f"GET {O}/audit-log", 200),
    Call(f"GET {O}/audit-log/export", 200),
    Call(f"GET {O}/audit-log/export/pdf", 200),
    Call(f"GET {O}/knowledge/slices/{{slice_id}}/audit-log", 200),
)
CALLS: Final = {call.operation: call for call in _CALLS}
WITH_BODY: Final = {name: call for name, call in CALLS.items() if call.body is not None}
OF_ORGANIZATION: Final = {name: call for name, call in CALLS.items() if call.belongs_to_organization}


def documented_operations() -> list[str]:
    """Every operation of the OpenAPI document."""
    return [f"{method.upper()} {path}" for path, methods in OPENAPI["paths"].items() for method in methods]
