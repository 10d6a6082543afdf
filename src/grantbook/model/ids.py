"""Identifiers: a lower-case prefix, an underscore, then 1 to 64 characters.

Ids made here are the prefix and 32 lower-case hex digits (128 random bits); callers that register their
own objects may choose shorter ones. Ids are compared byte for byte, on every store.

Source: OpenFGA CVE-2026-55170, identifiers compared without case.
"""

import re
from collections.abc import Callable
from typing import Final

RandomBytes = Callable[[int], bytes]

_ID: Final = re.compile(r"[a-z]+_[A-Za-z0-9_-]{1,64}")

ORGANIZATION: Final = "org_"
USER: Final = "usr_"
ORGANIZATION_USER: Final = "orgusr_"
DEPARTMENT: Final = "dept_"
ROLE: Final = "role_"
ACCESS_GRANT: Final = "agrant_"
RULE_GRANT: Final = "grant_"
ACCESS_RIGHT: Final = "racc_"
API_KEY: Final = "ak_"


def is_id(value: str, prefix: str = "") -> bool:
    """Whether `value` is a well-formed id that begins with `prefix`."""
    return value.startswith(prefix) and len(value) > len(prefix) and _ID.fullmatch(value) is not None


def new_id(prefix: str, random: RandomBytes) -> str:
    """A fresh id: `prefix` and 32 hex digits taken from `random(16)`."""
    return prefix + random(16).hex()
