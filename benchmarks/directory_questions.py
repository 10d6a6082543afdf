"""What is asked of the directory: every list of the platform surface, its first page, one far in, and a search."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks.directory_world import ANNEX, ASSISTANT, BIG, COMMON_ROLE, OTHER, RULE, SLICE, STORE, TOP, Directory
from benchmarks.servers import Request
from benchmarks.world import ORGANIZATION_ID

PAGE_MS: Final = 20
TREE_MS: Final = 150
REPARENT_MS: Final = 200
_O: Final = f"/v1/organizations/{ORGANIZATION_ID}"
_LOG: Final = f"{_O}/audit-log"
_MANY: Final = 50
_MOVES: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Requests to send in turn, each a little different where it can be; `for_members` says whom they are for."""

    name: str
    requests: list[Request]
    target_ms: float | None = PAGE_MS
    for_members: bool = True
    for_admins: bool = True


def lists(world: Directory) -> Iterator[Asked]:
    """Every list that has pages."""
    yield from _members(world)
    yield from _departments()
    yield from _roles(world)
    yield from _entities(world)
    yield from _grants(world)
    yield from _log(world)
    keys = f"{_O}/api-keys"
    yield _get("API keys", keys)
    yield _get("API keys, far in", keys, page=40, for_members=False)
    yield _get("organizations", "/v1/organizations")


def wholes(world: Directory) -> Iterator[Asked]:
    """What has no pages in the published API, and answers about one user or one entity. Without a bound of its own,
    but for the tree and for moving half of it."""
    users, slices = world.users[1 : _MANY + 1], world.kept[SLICE][1 : _MANY + 1]
    active = [user for number, user in enumerate(world.users[: 2 * _MANY]) if number % 50 < 48 and number]
    yield _get("department tree", f"{_O}/departments/tree", target_ms=TREE_MS)
    yield _get("departments, all at once", f"{_O}/departments", target_ms=TREE_MS)
    resolved = "resolved access of a typical user"
    yield _each(resolved, active, lambda id_: f"{_O}/users/{id_}/resolved-access", for_members=False)
    yield _own("resolved access, one's own", f"{_O}/users/{world.users[0]}/resolved-access")
    entities = f"{_O}/access/entities?user_id"
    yield _each("access/entities, a page", active, lambda id_: f"{entities}={id_}", for_members=False)
    of_one_type = "access/entities of one type, a page"
    yield _each(of_one_type, active, lambda id_: f"{entities}={id_}&entity_type={SLICE}", for_members=False)
    users_of = f"{_O}/access/users?"
    yield _each("access/users, a page", slices, lambda id_: users_of + _named(SLICE, id_), for_members=False)
    with_access = f"{_O}/access/users-with-access?"
    yield _each("users with access", slices, lambda id_: with_access + _named(SLICE, id_), for_members=False)
    yield _get("slices, summary", f"{_O}/knowledge/slices/summary", target_ms=None)
    yield _get("access overview", f"{_O}/access/overview", target_ms=None)
    yield _own("my access", f"{_O}/my-access")
    capabilities = "effective permissions"
    yield _each(capabilities, users, lambda id_: f"{_O}/users/{id_}/effective-permissions", for_members=False)
    yield _post("ids of all members", f"{_O}/users/ids", {}, target_ms=None)


def moves() -> Asked:
    """A department with half of all below it, from one place to another and back."""
    path = f"{_O}/departments/{BIG}/reparent"
    bodies = [json.dumps({"new_parent_id": to}) for to in (ANNEX, TOP)]
    made = [Request("POST", path, body) for body in bodies] * _MOVES
    return Asked(name="reparent of half the tree", requests=made, target_ms=REPARENT_MS, for_members=False)


def _members(world: Directory) -> Iterator[Asked]:
    users, far = f"{_O}/users", len(world.users) * 3 // 4
    yield _post("members", users, {})
    yield _post("members, far in", users, {"skip": far})
    yield _post("members, search for one", users, {"search_term": "person77"})
    yield _post("members, search for many", users, {"search_term": "Person"})
    yield _post("members, of a role", users, {"role_id": world.roles[0]})
    yield _post("members, of the common role", users, {"role_id": COMMON_ROLE})
    yield _post("members, deactivated", users, {"status_id": "deactivated"})
    for column in ("full_name", "status", "last_modified_at"):
        yield _post(f"members, by {column}", users, {"sort_column": column, "sort_direction": "desc"})
        yield _post(f"members, by {column}, far in", users, {"sort_column": column, "skip": far})
    yield _each("one member", world.users[:_MANY], lambda id_: f"{users}/{id_}")


def _departments() -> Iterator[Asked]:
    departments = f"{_O}/departments"
    yield _get("departments, a page", departments, limit=20)
    yield _get("departments, far in", departments, limit=20, skip=1_500)
    yield _get("one department", f"{departments}/{OTHER}")
    yield _get("members of a department", f"{departments}/{BIG}_0007/members")


def _roles(world: Directory) -> Iterator[Asked]:
    roles, far = f"{_O}/roles", len(world.users) * 3 // 4
    yield _get("roles", roles)
    yield _get("one role", f"{roles}/{COMMON_ROLE}")
    yield _get("members of the common role", f"{roles}/{COMMON_ROLE}/members")
    yield _get("members of the common role, far in", f"{roles}/{COMMON_ROLE}/members", skip=far)


def _entities(world: Directory) -> Iterator[Asked]:
    kinds: dict[str, tuple[str, str | None, dict[str, Any]]] = {
        "slices": (f"{_O}/knowledge/slices", SLICE, {}),
        "composites": (f"{_O}/knowledge/composites", None, {}),
        "stores": (f"{_O}/knowledge/stores", STORE, {}),
        "rules": (f"{_O}/rules", RULE, {}),
        "assistants": ("/v1/assistants", ASSISTANT, {"organization_id": ORGANIZATION_ID}),
    }
    for name, (path, type_, query) in kinds.items():
        yield _get(name, path, **query)
        if type_ is None:
            continue
        skip = "offset" if type_ == ASSISTANT else "skip"
        yield _get(f"{name}, far in", path, **{**query, skip: len(world.kept[type_]) * 3 // 4})
        yield _get(f"{name}, search for few", path, **query, search="123")
        yield _get(f"{name}, search for many", path, **query, search="Entity")
    yield _get("stores, by name", f"{_O}/knowledge/stores", sort="name")
    plain = world.kept[SLICE][-1]
    yield _get("stores of a slice", f"{_O}/knowledge/slices/{plain}/stores", for_members=False)
    entities = f"{_O}/entities/{STORE}"
    yield _each("one entity", world.kept[STORE][:_MANY], lambda id_: f"{entities}/{id_}", for_members=False)


def _grants(world: Directory) -> Iterator[Asked]:
    grants = f"{_O}/access/grants"
    far = len(world.grants) * 3 // 4
    yield _get("grants", grants)
    yield _get("grants, far in", grants, skip=far, for_members=False)
    yield _get("grants, far in", grants, skip=600, for_admins=False)
    yield _get("grants, on a type", grants, entity_type=STORE)
    yield _get("grants, on a type, far in", grants, entity_type=STORE, skip=far // 2, for_members=False)
    yield _get("grants, to users", grants, grantee_type="user")
    yield _get("grants, to departments", grants, grantee_type="department")
    stores, users = world.kept[STORE][:_MANY], world.users[:_MANY]
    yield _each("grants, on an entity", stores, lambda id_: f"{grants}?{_named(STORE, id_)}")
    yield _each("grants, to a user", users, lambda id_: f"{grants}?grantee_type=user&grantee_id={id_}")
    slices = f"{_O}/knowledge/slices"
    yield _each("grants on a slice", world.kept[SLICE][:_MANY], lambda id_: f"{slices}/{id_}/grants", for_members=False)
    assistants = world.kept[ASSISTANT][:_MANY]
    yield _each("grants on an assistant", assistants, lambda id_: f"{_O}/assistants/{id_}/grants")
    rules = world.kept[RULE][:_MANY]
    yield _each("rule permissions", rules, lambda id_: f"/v1/rules/{id_}/permissions", for_members=False)
    yield _each("rule access rights", rules, lambda id_: f"/v1/rules/{id_}/access", for_members=False)


def _log(world: Directory) -> Iterator[Asked]:
    slice_id, user = world.kept[SLICE][0], world.users[5]
    filters: dict[str, dict[str, Any]] = {
        "audit log": {},
        "audit log, far in": {"skip": len(world.grants)},
        "audit log, of a type": {"entity_type": "knowledge_grant"},
        "audit log, of an entity": {"entity_type": SLICE, "entity_id": slice_id},
        "audit log, of an action": {"action_type": "granted"},
        "audit log, by a person": {"actor_id": world.users[0]},
        "audit log, to a person": {"target_id": user},
        "audit log, of a department": {"department_id": f"{BIG}_0007"},
        "audit log, of a time": {"from_date": "2026-01-01", "to_date": "2099-01-01"},
        "audit log, search for an id": {"search_term": user},
        "audit log, search for a name": {"search_term": "person777"},
    }
    for name, query in filters.items():
        yield _get(name, _LOG, **query, for_members=False)
    yield _get("audit log of a slice", f"{_O}/knowledge/slices/{slice_id}/audit-log", for_members=False)


def _named(type_: str, id_: str) -> str:
    return urlencode({"entity_type": type_, "entity_id": id_})


def _get(
    name: str,
    path: str,
    *,
    target_ms: float | None = PAGE_MS,
    for_members: bool = True,
    for_admins: bool = True,
    **query: Any,
) -> Asked:
    request = Request("GET", f"{path}?{urlencode(query)}" if query else path)
    return Asked(name=name, requests=[request], target_ms=target_ms, for_members=for_members, for_admins=for_admins)


def _each(name: str, ids: list[str], path: Callable[[str], str], *, for_members: bool = True) -> Asked:
    return Asked(name=name, requests=[Request("GET", path(id_)) for id_ in ids], for_members=for_members)


def _own(name: str, path: str) -> Asked:
    return Asked(name=name, requests=[Request("GET", path)], target_ms=None, for_admins=False)


def _post(name: str, path: str, body: dict[str, Any], *, target_ms: float | None = PAGE_MS) -> Asked:
    return Asked(name=name, requests=[Request("POST", path, json.dumps(body))], target_ms=target_ms)
