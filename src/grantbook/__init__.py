"""Grantbook: who may do what on which entity, why, and since when.

`Grantbook` is the book inside a Python application; `grantbook serve` is the server.
"""

from importlib.metadata import version

from grantbook.library import Grantbook, KeyHolder, NewGrant, NewKey, OrganizationBook
from grantbook.model.errors import (
    AuthenticationFailed,
    ConfigurationError,
    Conflict,
    GrantAlreadyExists,
    GrantbookError,
    LimitExceeded,
    NotFound,
    OrganizationAccessDenied,
    PermissionDenied,
    StoreUnavailable,
    ValidationFailed,
)
from grantbook.model.facts import EntityRef, Grant, Principal
from grantbook.model.instants import to_datetime
from grantbook.model.resolution import Access, Path
from grantbook.service.decisions import Check, Decision
from grantbook.service.listing import Page
from grantbook.service.rule_permissions import Permission
from grantbook.store.port import Change

__version__ = version("grantbook")
__all__ = [
    "Access",
    "AuthenticationFailed",
    "Change",
    "Check",
    "ConfigurationError",
    "Conflict",
    "Decision",
    "EntityRef",
    "Grant",
    "GrantAlreadyExists",
    "Grantbook",
    "GrantbookError",
    "KeyHolder",
    "LimitExceeded",
    "NewGrant",
    "NewKey",
    "NotFound",
    "OrganizationAccessDenied",
    "OrganizationBook",
    "Page",
    "Path",
    "Permission",
    "PermissionDenied",
    "Principal",
    "StoreUnavailable",
    "ValidationFailed",
    "to_datetime",
]
