"""The present of the reference store, by the same snapshots that answer everything else."""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from grantbook.model.facts import (
    AccessTarget,
    Containment,
    DepartmentMember,
    Entity,
    EntityRef,
    Grant,
    Member,
    Organization,
    Role,
    RoleAssignment,
)
from grantbook.store.port import GrantRow, Notice, OutlineRow, Snapshot, StandingRow

if TYPE_CHECKING:
    from grantbook.store.memory import MemoryStore


class MemoryPresent:
    """See `port.Present`."""

    is_local = True

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store

    def version(self) -> int:
        with self._store.lock:
            return self._store.commits

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:  # noqa: ARG002
        return True

    def line(self) -> int:
        return 0

    @contextmanager
    def reading(self) -> Iterator[int]:
        with self._store.lock:
            yield self._store.commits

    def revision(self, organization_id: str) -> int:
        return self._store.head(organization_id).revision

    def notices(self, organization_id: str, *, after: int, limit: int) -> list[Notice]:
        found = list(self._store.changes(organization_id, after=after))[:limit]
        return [Notice(*(getattr(change, name) for name in Notice._fields)) for change in found]

    def is_deleted(self, organization_id: str) -> bool:
        with self._snapshot(organization_id) as snapshot:
            organization = snapshot.find(Organization, organization_id)
        return organization is not None and organization.is_deleted

    def standings(self, organization_id: str, user_ids: Collection[str]) -> list[StandingRow]:
        rows: list[StandingRow] = []
        with self._snapshot(organization_id) as snapshot:
            for member in snapshot.select(Member, {"user_id": set(user_ids)}):
                rows.append(StandingRow(member.user_id, "member", member.state))
            for assigned in snapshot.select(RoleAssignment, {"user_id": set(user_ids)}):
                rows.append(StandingRow(assigned.user_id, "role", assigned.role_id))
            for joined in snapshot.select(DepartmentMember, {"user_id": set(user_ids)}):
                rows.append(StandingRow(joined.user_id, "department", joined.department_id))
        return rows

    def departments(self, organization_id: str, ids: Collection[str]) -> list[tuple[str, str | None]]:
        with self._snapshot(organization_id) as snapshot:
            return [(each.id, each.parent_id) for each in snapshot.departments_above(ids)]

    def roles(self, organization_id: str, ids: Collection[str]) -> list[tuple[str, str]]:
        with self._snapshot(organization_id) as snapshot:
            return [(each.id, json.dumps(each.capabilities)) for each in snapshot.select(Role, {"id": set(ids)})]

    def named_by_grants(self, organization_id: str, user_ids: Collection[str]) -> set[str]:
        with self._snapshot(organization_id) as snapshot:
            found = snapshot.select(Grant, {"grantee_type": "user", "grantee_id": set(user_ids)})
        return {grant.grantee_id for grant in found}

    def outlines(self, organization_id: str, entities: Collection[EntityRef]) -> list[OutlineRow]:
        ids = {entity.id for entity in entities}
        with self._snapshot(organization_id) as snapshot:
            things = snapshot.select(Entity, {"id": ids})
            targets = snapshot.select(AccessTarget, {"entity_id": ids})
            edges = snapshot.select(Containment, {"member_id": ids})
        return [
            *(
                OutlineRow("entity", *each.ref, each.status, each.owner_type, each.owner_id, each.access_mode)
                for each in things
            ),
            *(OutlineRow("target", *each.entity, None, *each.target, None) for each in targets),
            *(OutlineRow("container", *each.member, None, *each.container, None) for each in edges),
        ]

    def grants_to(self, organization_id: str, wanted: Mapping[EntityRef, Collection[str]]) -> list[GrantRow]:
        return [
            row
            for entity, grantee_ids in wanted.items()
            for row in self._grants(
                organization_id,
                {"entity_type": entity.type, "entity_id": entity.id, "grantee_id": set(grantee_ids)},
            )
        ]

    def grants_on(self, organization_id: str, entity: EntityRef, *, limit: int) -> list[GrantRow]:
        return self._grants(organization_id, {"entity_type": entity.type, "entity_id": entity.id})[:limit]

    def close(self) -> None:
        """Nothing to release."""

    def _grants(self, organization_id: str, where: Mapping[str, Any]) -> list[GrantRow]:
        with self._snapshot(organization_id) as snapshot:
            found = snapshot.select(Grant, where)
        return [GrantRow(*(getattr(grant, name) for name in GrantRow._fields)) for grant in found]

    @contextmanager
    def _snapshot(self, organization_id: str) -> Iterator[Snapshot]:
        with self._store.snapshot(organization_id) as snapshot:
            yield snapshot
