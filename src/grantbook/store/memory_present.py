"""The present of the reference store, by the same snapshots that answer everything else."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Lock
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
    Principal,
    Role,
    RoleAssignment,
)
from grantbook.model.vocabulary import OPEN_MODES
from grantbook.store.port import Not, Snapshot, Where
from grantbook.store.present_port import (
    EdgeRow,
    GivenRow,
    Glance,
    GlanceAtGroups,
    GrantRow,
    Notice,
    Outline,
    Standing,
    Stream,
)

if TYPE_CHECKING:
    from grantbook.store.memory import MemoryStore


class MemoryPresent:
    """See `present_port.Present`."""

    is_local = True

    def __init__(self, store: "MemoryStore") -> None:
        self.lock = Lock()
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

    def tip(self, organization_id: str) -> tuple[int, str]:
        head = self._store.head(organization_id)
        return head.revision, head.hash

    def has_had(self, organization_id: str, revision: int, tip_hash: str) -> bool:  # noqa: ARG002 - it has one history
        return True

    def notices(self, organization_id: str, *, after: int, limit: int) -> list[Notice]:
        found = list(self._store.changes(organization_id, after=after))[:limit]
        return [Notice(*(getattr(change, name) for name in Notice._fields)) for change in found]

    def is_deleted(self, organization_id: str) -> bool:
        with self._snapshot(organization_id) as snapshot:
            organization = snapshot.find(Organization, organization_id)
        return organization is not None and organization.is_deleted

    def standing(self, organization_id: str, user_id: str) -> list[Standing]:
        return self.standings(organization_id, [user_id]).get(user_id, [])

    def standings(self, organization_id: str, user_ids: Collection[str]) -> dict[str, list[Standing]]:
        found: defaultdict[str, list[Standing]] = defaultdict(list)
        with self._snapshot(organization_id) as snapshot:
            for member in snapshot.select(Member, {"user_id": set(user_ids)}):
                found[member.user_id].append(Standing("member", member.state))
            for assigned in snapshot.select(RoleAssignment, {"user_id": set(user_ids)}):
                found[assigned.user_id].append(Standing("role", assigned.role_id))
            for joined in snapshot.select(DepartmentMember, {"user_id": set(user_ids)}):
                found[joined.user_id].append(Standing("department", joined.department_id))
        return found

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

    def outline(self, organization_id: str, entity: EntityRef) -> list[Outline]:
        return self.outlines(organization_id, [entity]).get(entity, [])

    def outlines(self, organization_id: str, entities: Collection[EntityRef]) -> dict[tuple[str, str], list[Outline]]:
        ids = {entity.id for entity in entities}
        found: defaultdict[tuple[str, str], list[Outline]] = defaultdict(list)
        with self._snapshot(organization_id) as snapshot:
            things = snapshot.select(Entity, {"id": ids})
            targets = snapshot.select(AccessTarget, {"entity_id": ids})
            edges = snapshot.select(Containment, {"member_id": ids})
        for thing in things:
            found[thing.ref].append(Outline("entity", thing.status, *thing.owner, thing.access_mode, thing.name))
        for listed in targets:
            found[listed.entity].append(Outline("target", None, *listed.target, None, None))
        for edge in edges:
            found[edge.member].append(Outline("container", None, *edge.container, None, None))
        return found

    def glance(self, organization_id: str, user_id: str, entity: EntityRef) -> Glance:
        with self.reading():
            standing, outline = self.standing(organization_id, user_id), self.outline(organization_id, entity)
            return Glance(self.tip(organization_id)[0], standing, outline)

    def glance_at_groups(
        self, organization_id: str, department_ids: Collection[str], role_ids: Collection[str]
    ) -> GlanceAtGroups:
        with self.reading():
            departments, roles = (
                self.departments(organization_id, department_ids),
                self.roles(organization_id, role_ids),
            )
            return GlanceAtGroups(self.tip(organization_id)[0], departments, roles)

    def glance_at_outlines(
        self, organization_id: str, entities: Collection[EntityRef]
    ) -> tuple[int, dict[tuple[str, str], list[Outline]]]:
        with self.reading():
            return self.tip(organization_id)[0], self.outlines(organization_id, entities)

    def glance_at_grants(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> tuple[int, list[list[GrantRow]]]:
        with self.reading():
            found = self.grants_to_each(organization_id, entities, grantee_ids)
            return self.tip(organization_id)[0], found

    def grants_to(self, organization_id: str, entity: EntityRef, grantee_ids: Collection[str]) -> list[GrantRow]:
        where = {"entity_type": entity.type, "entity_id": entity.id, "grantee_id": set(grantee_ids)}
        return self._grants(organization_id, where)

    def grants_to_each(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> list[list[GrantRow]]:
        return [self.grants_to(organization_id, entity, grantee_ids) for entity in entities]

    def grants_on(self, organization_id: str, entities: Sequence[EntityRef], *, limit: int) -> list[list[GrantRow]]:
        found = (self._grants(organization_id, {"entity_type": ref.type, "entity_id": ref.id}) for ref in entities)
        return [grants[:limit] for grants in found]

    def groups_on(self, organization_id: str, entity: EntityRef) -> list[tuple[str, str]]:
        where = {"entity_type": entity.type, "entity_id": entity.id, "grantee_type": Not("user")}
        return [row[:2] for row in self._grants(organization_id, where)]

    def next_ids(
        self, organization_id: str, stream: Stream, of: Collection[str], type_: str, *, after: str, limit: int
    ) -> list[str]:
        where: Where = {stream.of: set(of), **stream.fixed, **({stream.type: type_} if stream.type else {})}
        with self._snapshot(organization_id) as snapshot:
            found = {getattr(fact, stream.id) for fact in snapshot.select(stream.kind, where)}
        return sorted(id_ for id_ in found if id_ > after)[:limit]

    def given_to(self, organization_id: str, principal_ids: Collection[str], *, limit: int) -> list[GivenRow]:
        ids = set(principal_ids)
        with self._snapshot(organization_id) as snapshot:
            status = {entity.ref: entity.status for entity in snapshot.select(Entity)}
            grants = snapshot.select(Grant, {"grantee_id": ids})
            owned = snapshot.select(Entity, {"owner_id": ids})
            listed = snapshot.select(AccessTarget, {"target_id": ids})
        given = [
            *(_given("grant", each.grantee, each.entity, status.get(each.entity), each) for each in grants),
            *(_given("owned", each.owner, each.ref, each.status) for each in owned),
            *(_given("listed", each.target, each.entity, status.get(each.entity)) for each in listed),
        ]
        return given[:limit]

    def edges_from(self, organization_id: str, container_ids: Collection[str], *, limit: int) -> list[EdgeRow]:
        with self._snapshot(organization_id) as snapshot:
            status = {entity.ref: entity.status for entity in snapshot.select(Entity)}
            found = snapshot.select(Containment, {"container_id": set(container_ids)})
        return [EdgeRow(*edge.container, *edge.member, status.get(edge.member)) for edge in found][:limit]

    def active_entities(self, organization_id: str, *, only_open: bool, limit: int) -> list[tuple[str, str]]:
        with self._snapshot(organization_id) as snapshot:
            found = snapshot.select(Entity, {"status": "active"})
        wanted = (entity.ref for entity in found if entity.access_mode in OPEN_MODES or not only_open)
        return list(islice(wanted, limit))

    def departments_below(self, organization_id: str, department_ids: Collection[str]) -> list[tuple[str, str]]:
        with self._snapshot(organization_id) as snapshot:
            return [(root, below.id) for root in set(department_ids) for below in snapshot.departments_below([root])]

    def people_in(self, organization_id: str, department_ids: Collection[str], *, limit: int) -> list[tuple[str, str]]:
        with self._snapshot(organization_id) as snapshot:
            active = self._active(snapshot)
            found = snapshot.select(DepartmentMember, {"department_id": set(department_ids)})
        return [(joined.department_id, joined.user_id) for joined in found if joined.user_id in active][:limit]

    def people_with(self, organization_id: str, role_ids: Collection[str], *, limit: int) -> list[tuple[str, str]]:
        with self._snapshot(organization_id) as snapshot:
            active = self._active(snapshot)
            found = snapshot.select(RoleAssignment, {"role_id": set(role_ids)})
        return [(assigned.role_id, assigned.user_id) for assigned in found if assigned.user_id in active][:limit]

    def people(self, organization_id: str, *, only_active: bool, limit: int) -> list[tuple[str]]:
        with self._snapshot(organization_id) as snapshot:
            found = snapshot.select(Member)
        return [(member.user_id,) for member in found if member.is_active or not only_active][:limit]

    def active_among(self, organization_id: str, user_ids: Collection[str]) -> list[tuple[str]]:
        with self._snapshot(organization_id) as snapshot:
            active = self._active(snapshot)
        return [(user_id,) for user_id in user_ids if user_id in active]

    def capabilities(self, organization_id: str) -> list[tuple[str, str]]:
        with self._snapshot(organization_id) as snapshot:
            return [(role.id, json.dumps(role.capabilities)) for role in snapshot.select(Role)]

    def close(self) -> None:
        """Nothing to release."""

    def _grants(self, organization_id: str, where: Mapping[str, Any]) -> list[GrantRow]:
        with self._snapshot(organization_id) as snapshot:
            found = snapshot.select(Grant, where)
        return [GrantRow(*(getattr(grant, name) for name in GrantRow._fields)) for grant in found]

    @staticmethod
    def _active(snapshot: Snapshot) -> set[str]:
        return {member.user_id for member in snapshot.select(Member, {"state": "active"})}

    @contextmanager
    def _snapshot(self, organization_id: str) -> Iterator[Snapshot]:
        with self._store.snapshot(organization_id) as snapshot:
            yield snapshot


def _given(part: str, who: Principal, ref: EntityRef, status: str | None, grant: Grant | None = None) -> GivenRow:
    if grant is None:
        return GivenRow(part, *who, *ref, status, None, None, None, None)
    terms = grant.access_level, grant.id
    return GivenRow(part, *who, *ref, status, *terms, starts_at=grant.starts_at, expires_at=grant.expires_at)
