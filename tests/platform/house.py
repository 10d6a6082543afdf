"""An organization to grant in: the set-up that most tests of the SDK share."""

from typing import Final

from aitronos import Aitronos
from aitronos.types import AccessGrantResponse

from grantbook.model.facts import EntityRef
from tests.platform.refusals import ONCE
from tests.serving import Tenant

SLICE: Final = "knowledge_slice"
STORE: Final = "vector_store"
ASSISTANT: Final = "assistant"


class House:
    """A slice, a store and an assistant of the owner, a user to give access to, and a plain member who may nothing."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.id = tenant.organization_id
        self.slice = tenant.entity(SLICE)
        self.store = tenant.entity(STORE)
        self.assistant = tenant.entity(ASSISTANT)
        self.user = tenant.user()
        self.clerk = tenant.person()

    def create(
        self, sdk: Aitronos, entity: EntityRef, level: str = "read", *, to: str | None = None, kind: str = "user"
    ) -> AccessGrantResponse:
        grant: AccessGrantResponse = sdk.access_control.create_grant(
            self.id,
            entity_type=entity.type,
            entity_id=entity.id,
            grantee_type=kind,
            grantee_id=to or self.user,
            access_level=level,
            request_options=ONCE,
        )
        return grant
