"""Grantbook: who may do what on which entity, why, and since when.

`Grantbook` is the book inside a Python application; `grantbook serve` is the server.
"""

from importlib.metadata import version

from grantbook.library import Grantbook, OrganizationBook
from grantbook.model.errors import (
    Conflict,
    GrantbookError,
    NotFound,
    OrganizationAccessDenied,
    PermissionDenied,
    ValidationFailed,
)
from grantbook.model.facts import EntityRef, Grant, Principal
from grantbook.model.resolution import Access, Path
from grantbook.service.decisions import Check, Decision
from grantbook.service.grants import NewGrant
from grantbook.service.rule_permissions import Permission

__version__ = version("grantbook")
__all__ = [
    "Access",
    "Check",
    "Conflict",
    "Decision",
    "EntityRef",
    "Grant",
    "Grantbook",
    "GrantbookError",
    "NewGrant",
    "NotFound",
    "OrganizationAccessDenied",
    "OrganizationBook",
    "Path",
    "Permission",
    "PermissionDenied",
    "Principal",
    "ValidationFailed",
]
