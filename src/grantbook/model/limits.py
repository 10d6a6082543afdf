"""Every bound of the system, in one place.

Crossing a bound is always an error that names it (`LimitExceeded`, or a validation error at the edge),
never a silent truncation and never an access decision.
"""

from typing import Final

MAX_BODY_BYTES: Final = 4 * 1024 * 1024  # MAX_BATCH_CHECKS with ids as made here take 1.7 MB
MAX_BULK_GRANTS: Final = 1_000
MAX_BATCH_CHECKS: Final = 10_000
MAX_PAGE: Final = 100
DEFAULT_PAGE: Final = 20
MAX_SKIP: Final = 2**31 - 1
MAX_MEMBERS_PAGE: Final = 500
MAX_UNPAGED: Final = 10_000
MAX_SUMMARY: Final = 5_000

MAX_NAME_LENGTH: Final = 200
MAX_TEXT_LENGTH: Final = 4_000
MAX_RULE_CONTENT_LENGTH: Final = 200_000
MAX_EMAIL_LENGTH: Final = 254
MAX_ID_LENGTH: Final = 128
MAX_SEARCHED_NAMES: Final = 1_000
MAX_PDF_ENTRIES: Final = 5_000
MAX_METADATA_LENGTH: Final = 8_000
MAX_METADATA_DEPTH: Final = 8
MAX_USAGE_LIMIT_CHF: Final = 1_000_000_000

MAX_CONTAINMENT_DEPTH: Final = 32
MAX_DEPARTMENT_DEPTH: Final = 32
MAX_CONTAINERS_PER_ENTITY: Final = 100
MAX_MEMBERS_PER_CONTAINER: Final = 1_000
MAX_ACCESS_TARGETS: Final = 1_000
MAX_RULE_GRANTS: Final = 1_000
MAX_ROLES_PER_MEMBER: Final = 100
MAX_DEPARTMENTS_PER_MEMBER: Final = 100
MAX_DOMAINS: Final = 100
MAX_SHOWN_RESOURCES: Final = 100
INVITATION_TTL_S: Final = 14 * 24 * 3600

MAX_TRACE_ID_LENGTH: Final = 128
MAX_IDEMPOTENCY_KEY_LENGTH: Final = 255
IDEMPOTENCY_TTL_S: Final = 24 * 3600
MAX_IDEMPOTENT_RESPONSE_BYTES: Final = 4 * 1024 * 1024
