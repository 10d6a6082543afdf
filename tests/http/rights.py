"""Who may do what: one line for each operation of the API.

A line says which scope a key needs, who may do it without a capability, and which capabilities are enough for everybody
else. `a+b` takes both. An operation that is not here fails `test_rights`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from grantbook.model.governance import BASE_ROLES, CAPABILITIES
from tests.http.calls import CALLS, A, O, R, Request, Scene

MEMBER: Final = "member"
"""Any active member, whom nothing is shared with."""
SUBJECT: Final = "subject"
"""The member whom the call is about; `read` on the slice, `use` on the rule, with a role to make knowledge."""
STRANGER: Final = "stranger"
"""The owner of another organization, where the answer tells nothing of ours."""
FORMER: Final = "former"
"""A deactivated member, where the answer is the same for the whole world, or empty."""

ACCESS: Final = "manage_access_control"
OVERRIDE: Final = "override_all_permissions"
KNOWLEDGE: Final = "manage_knowledge_slices"
USERS: Final = "manage_users"
DEPARTMENTS: Final = "manage_departments"


@dataclass(frozen=True)
class Right:
    """Who may call an operation. `names` are those who need no capability; `any_of` are enough, each alone."""

    scope: str
    names: frozenset[str]
    any_of: tuple[str, ...]

    @property
    def enough(self) -> list[frozenset[str]]:
        """Sets of capabilities that are enough, and none too many."""
        return [frozenset(each.split("+")) for each in self.any_of]

    @property
    def is_open_to_admins(self) -> bool:
        """Whether the base role Admin is enough."""
        return MEMBER in self.names or any(each <= set(BASE_ROLES["Admin"]) for each in self.enough)

    @property
    def too_little(self) -> list[frozenset[str]]:
        """The largest sets of capabilities that are not enough: nothing for what every member may do."""
        if MEMBER in self.names:
            return []
        return [frozenset(CAPABILITIES) - set(missing) for missing in {*product(*self.enough)}]


def _right(scope: str, *who: str) -> Right:
    names = {MEMBER, SUBJECT, STRANGER, FORMER} & set(who)
    if MEMBER in names:
        names.add(SUBJECT)
    return Right(scope, frozenset(names), tuple(each for each in who if each not in names))


def read(*who: str) -> Right:
    """With the scope `read`."""
    return _right("read", *who)


def write(*who: str) -> Right:
    """With the scope `write`."""
    return _right("write", *who)


def check(*who: str) -> Right:
    """With the scope `check`."""
    return _right("check", *who)


_SHARE: Final = (ACCESS, OVERRIDE)
_SEE_KNOWLEDGE: Final = (ACCESS, OVERRIDE, KNOWLEDGE)
_MAKE_KNOWLEDGE: Final = (SUBJECT, KNOWLEDGE, "create_knowledge")
_ASSISTANTS: Final = (ACCESS, OVERRIDE, "manage_assistants")
_RULES: Final = (ACCESS, OVERRIDE, "manage_rules")
_KEEP_ROLES: Final = ("manage_roles", "assign_roles", USERS)
_KEYS: Final = (SUBJECT, "manage_api_keys+create_knowledge")  # the subject's key carries what the subject may do

RIGHTS: Final = {
    # grants
    f"GET {O}/access/grants": read(MEMBER),
    f"POST {O}/access/grants": write(*_SHARE),
    f"POST {O}/access/grants/bulk": write(*_SHARE),
    f"GET {O}/access/grants/{{grant_id}}": read(SUBJECT, *_SHARE),
    f"PATCH {O}/access/grants/{{grant_id}}": write(*_SHARE),
    f"DELETE {O}/access/grants/{{grant_id}}": write(*_SHARE),
    f"GET {O}/knowledge/slices/{{slice_id}}/grants": read(SUBJECT, *_SHARE),
    f"GET {O}/vector-stores/{{store_id}}/grants": read(*_SHARE),
    f"GET {O}/assistants/{{assistant_id}}/grants": read(MEMBER),
    f"GET {O}/users/{{user_id}}/resolved-access": read(SUBJECT, ACCESS),
    f"GET {O}/access/users-with-access": read(*_SHARE),
    f"GET {O}/knowledge/users-with-access": read(*_SHARE),
    f"GET {O}/access/overview": read(MEMBER),
    # questions
    f"POST {O}/access/check": check(SUBJECT, ACCESS),
    f"POST {O}/access/check/batch": check(MEMBER),  # each question is refused for itself
    f"POST {O}/access/explain": check(SUBJECT, ACCESS),
    f"GET {O}/access/entities": check(SUBJECT, ACCESS),
    f"GET {O}/access/users": check(*_SHARE),
    # rules
    f"GET {R}": read(SUBJECT, OVERRIDE),
    f"PUT {R}": write(OVERRIDE),
    f"PATCH {R}/grant": write(OVERRIDE),
    f"PATCH {R}/revoke": write(OVERRIDE),
    f"GET {A}": read(SUBJECT, OVERRIDE),
    f"POST {A}": write(OVERRIDE),
    f"PUT {A}/{{user_id}}": write(OVERRIDE),
    f"DELETE {A}/{{user_id}}": write(OVERRIDE),
    "GET /v1/rules/platform": read(MEMBER, STRANGER, FORMER),
    "GET /v1/rules/public": read(MEMBER, STRANGER),
    "GET /v1/rules/{rule_id}": read(SUBJECT, *_RULES),
    f"GET {O}/rules": read(MEMBER),
    f"POST {O}/rules": write("manage_rules"),
    f"GET {O}/rules/{{rule_id}}": read(SUBJECT, *_RULES),
    f"PUT {O}/rules/{{rule_id}}": write(*_SHARE),
    f"DELETE {O}/rules/{{rule_id}}": write(*_SHARE),
    f"POST {O}/rules/{{rule_id}}/duplicate": write("manage_rules"),
    # assistants
    "GET /v1/assistants": read(MEMBER),
    "POST /v1/assistants": write("manage_assistants"),
    "GET /v1/assistants/{assistant_id}": read(*_ASSISTANTS),
    "PUT /v1/assistants/{assistant_id}": write(*_SHARE),
    "DELETE /v1/assistants/{assistant_id}": write(*_SHARE),
    # knowledge
    f"GET {O}/knowledge/slices": read(MEMBER),
    f"GET {O}/knowledge/slices/summary": read(MEMBER),
    f"POST {O}/knowledge/slices": write(*_MAKE_KNOWLEDGE),
    f"GET {O}/knowledge/slices/{{slice_id}}": read(SUBJECT, *_SEE_KNOWLEDGE),
    f"PATCH {O}/knowledge/slices/{{slice_id}}": write(*_SHARE),
    f"GET {O}/knowledge/slices/{{slice_id}}/stores": read(SUBJECT, *_SEE_KNOWLEDGE),
    f"GET {O}/knowledge/slices/{{slice_id}}/audit-log": read(OVERRIDE, "view_audit_log"),
    f"POST {O}/knowledge/slices/{{slice_id}}/archive": write(*_SEE_KNOWLEDGE),
    f"POST {O}/knowledge/slices/{{slice_id}}/unarchive": write(*_SEE_KNOWLEDGE),
    f"POST {O}/knowledge/slices/{{slice_id}}/stores": write(  # grants on the slice will reach what comes into it
        f"{KNOWLEDGE}+{ACCESS}", f"{KNOWLEDGE}+{OVERRIDE}", f"create_knowledge+{ACCESS}", f"create_knowledge+{OVERRIDE}"
    ),
    f"GET {O}/knowledge/composites": read(MEMBER),
    f"POST {O}/knowledge/composites": write(
        f"{KNOWLEDGE}+{ACCESS}", f"{KNOWLEDGE}+{OVERRIDE}", f"create_knowledge+{ACCESS}", f"create_knowledge+{OVERRIDE}"
    ),
    f"PATCH {O}/knowledge/composites/{{slice_id}}": write(*_SHARE),
    f"GET {O}/knowledge/stores": read(MEMBER),
    f"POST {O}/knowledge/stores": write(*_MAKE_KNOWLEDGE),
    f"GET {O}/knowledge/stores/{{store_id}}": read(*_SEE_KNOWLEDGE),
    f"PATCH {O}/knowledge/stores/{{store_id}}": write(*_SHARE),
    f"DELETE {O}/knowledge/stores/{{store_id}}": write(*_SHARE),
    # entities of any type
    f"PUT {O}/entities/{{entity_type}}/{{entity_id}}": write(ACCESS),
    f"GET {O}/entities/{{entity_type}}/{{entity_id}}": read(*_ASSISTANTS),
    f"DELETE {O}/entities/{{entity_type}}/{{entity_id}}": write(*_SHARE),
    f"GET {O}/entities/{{entity_type}}": read(MEMBER),
    f"POST {O}/entities/{{entity_type}}/{{entity_id}}/archive": write(*_ASSISTANTS),
    f"POST {O}/entities/{{entity_type}}/{{entity_id}}/unarchive": write(*_ASSISTANTS),
    f"POST {O}/entities/import": write(ACCESS),
    f"POST {O}/access/grants/import": write(ACCESS),
    # the organization
    "GET /v1/organizations": read(MEMBER, STRANGER, FORMER),
    "POST /v1/organizations": write(STRANGER, "create_organizations"),
    f"GET {O}": read(MEMBER),
    f"PATCH {O}": write(USERS),
    f"DELETE {O}": write("delete_organization"),
    f"GET {O}/permission-preset": read(MEMBER),
    f"PATCH {O}/permission-preset": write("manage_roles+create_knowledge"),
    f"GET {O}/statuses": read(MEMBER),
    # members
    f"POST {O}/users/invite/v2": write(
        f"{USERS}+assign_roles+create_knowledge", f"invite_users+assign_roles+create_knowledge+{DEPARTMENTS}"
    ),
    f"PATCH {O}/users/{{user_id}}/memberships": write(USERS, DEPARTMENTS),
    f"DELETE {O}/users/{{user_id}}": write(f"{USERS}+create_knowledge", "remove_users+create_knowledge"),
    f"POST {O}/users/{{user_id}}/deactivate": write(f"{USERS}+create_knowledge", "deactivate_users+create_knowledge"),
    f"POST {O}/users/{{user_id}}/reactivate": write(f"{USERS}+create_knowledge"),
    f"POST {O}/users": read(MEMBER),
    f"POST {O}/users/ids": read(MEMBER),
    f"GET {O}/users/{{user_id}}": read(MEMBER),
    f"PUT {O}/users/{{user_id}}": write(SUBJECT, f"{USERS}+create_knowledge"),  # another name; the role is the same
    f"DELETE {O}/users/{{user_id}}/delete": write(f"{USERS}+create_knowledge", "remove_users+create_knowledge"),
    f"POST {O}/users/{{user_id}}/restore": write(USERS),
    f"GET {O}/users/{{user_id}}/ui-access": read(SUBJECT, *_KEEP_ROLES),
    f"GET {O}/users/{{user_id}}/effective-permissions": read(SUBJECT, *_KEEP_ROLES),
    f"GET {O}/my-access": read(MEMBER),
    # departments
    f"GET {O}/departments": read(MEMBER),
    f"GET {O}/departments/tree": read(MEMBER),
    f"GET {O}/departments/{{department_id}}": read(MEMBER),
    f"POST {O}/departments": write(DEPARTMENTS, "create_subdepartments"),
    f"PATCH {O}/departments/{{department_id}}": write(DEPARTMENTS),
    f"DELETE {O}/departments/{{department_id}}": write(DEPARTMENTS),
    f"POST {O}/departments/{{department_id}}/reparent": write(DEPARTMENTS, "reparent_departments"),
    f"GET {O}/departments/{{department_id}}/members": read(MEMBER),
    f"POST {O}/departments/{{department_id}}/members": write(DEPARTMENTS, USERS),
    f"DELETE {O}/departments/{{department_id}}/members/{{user_id}}": write(DEPARTMENTS, USERS),
    # roles
    "GET /v1/capabilities": read(MEMBER, STRANGER, FORMER),
    f"GET {O}/roles": read(MEMBER),
    f"GET {O}/roles/templates": read(MEMBER),
    f"GET {O}/roles/{{role_id}}": read(MEMBER),
    f"POST {O}/roles": write("manage_roles+create_knowledge"),
    f"PATCH {O}/roles/{{role_id}}": write("manage_roles+create_knowledge"),
    f"DELETE {O}/roles/{{role_id}}": write("manage_roles+create_knowledge"),
    f"GET {O}/roles/{{role_id}}/members": read(MEMBER),
    f"POST {O}/roles/{{role_id}}/members": write("assign_roles+create_knowledge"),
    f"DELETE {O}/roles/{{role_id}}/members/{{user_id}}": write("assign_roles+create_knowledge"),
    # keys
    f"GET {O}/api-keys": read(MEMBER),
    f"POST {O}/api-keys": write(MEMBER),
    f"GET {O}/api-keys/{{key_id}}": read(SUBJECT, "manage_api_keys"),
    f"PATCH {O}/api-keys/{{key_id}}": write(*_KEYS),
    f"DELETE {O}/api-keys/{{key_id}}": write(SUBJECT, "manage_api_keys"),
    f"POST {O}/api-keys/{{key_id}}/activate": write(*_KEYS),
    f"POST {O}/api-keys/{{key_id}}/unpause": write(*_KEYS),
    f"POST {O}/api-keys/{{key_id}}/deactivate": write(SUBJECT, "manage_api_keys"),
    f"POST {O}/api-keys/{{key_id}}/pause": write(SUBJECT, "manage_api_keys"),
    f"POST {O}/api-keys/{{key_id}}/rotate": write(  # who has the secret reaches what its user reaches
        SUBJECT, f"manage_api_keys+create_knowledge+{ACCESS}"
    ),
    # the record
    f"GET {O}/audit-log": read("view_audit_log"),
    f"GET {O}/audit-log/export": read("export_audit_log"),
    f"GET {O}/audit-log/export/pdf": read("export_audit_log"),
}

LINES: Final[dict[str, Callable[[Scene], Any]]] = {
    f"POST {O}/entities/import": lambda s: {
        "entity_type": "assistant",
        "entity_id": s.assistant.id,
        "name": "Clerk",
        "owner_type": "user",
        "owner_id": s.eve,
    },
    f"POST {O}/access/grants/import": lambda s: {
        "entity_type": "knowledge_slice",
        "entity_id": s.slice.id,
        "grantee_type": "user",
        "grantee_id": s.eve,
        "access_level": "read",
    },
}
"""A good line for each operation that takes lines of JSON."""


def changes(operation: str) -> bool:
    """Whether it writes."""
    return operation in LINES or CALLS[operation].changes


def request(operation: str, scene: Scene, user_id: str) -> Request:
    """The good call, made by this user: what is to be one's own is the caller's."""
    made = CALLS[operation].request(scene)
    body: Any = made.body
    if isinstance(body, dict) and body.get("owner_id") == scene.owner_id:
        body["owner_id"] = user_id
    if operation == f"PATCH {O}/knowledge/stores/{{store_id}}":
        del body["slice_ids"]
        body["access_mode"] = "organization"
    return made
