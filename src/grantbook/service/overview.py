"""Knowledge and its grants at a glance. The published answer has no pages, so all of it is told, a part at a time:
nothing holds more of the organization than one part, however large it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from typing import Final

from grantbook.engine import lookup
from grantbook.model.facts import Containment, Entity, EntityRef, Grant, Member, Role, RoleAssignment, key_of
from grantbook.model.governance import ADMIN, MANAGE_ACCESS, OWNER
from grantbook.service.desk import Desk, Reading
from grantbook.service.knowledge import SLICE, STORE
from grantbook.store.port import F, Where

_PART: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Slices, stores, their grants in force and containment, each in order of its key, to be gone through once.

    For those who `can_view_all` everything, read of one revision as it is gone through; for others what they reach.
    """

    can_view_all: bool
    slices: Iterable[Entity]
    stores: Iterable[Entity]
    grants: Iterable[Grant]
    stores_inside: Iterable[Containment]
    slices_inside: Iterable[Containment]
    composite_ids: frozenset[str]
    admin_user_ids: list[str]
    member_ids: Iterable[str]


def overview(desk: Desk, reading: Reading) -> Overview:
    """For any member."""
    return _of_all(desk, reading) if MANAGE_ACCESS in reading.capabilities else _of_reached(reading)


def _of_all(desk: Desk, reading: Reading) -> Overview:
    organization_id, revision, at = reading.organization_id, reading.snapshot.revision, reading.at
    every = partial(_every, desk, organization_id, revision)
    return Overview(
        can_view_all=True,
        slices=_entities(every(Entity, (SLICE, "")), SLICE),
        stores=_entities(every(Entity, (STORE, "")), STORE),
        grants=(grant for grant in every(Grant) if grant.entity_type in {SLICE, STORE} and grant.is_in_force(at)),
        stores_inside=_inside(every(Containment, (SLICE, "", "", "")), STORE),
        slices_inside=_inside(every(Containment, (SLICE, "", "", "")), SLICE),
        composite_ids=frozenset(
            reading.snapshot.tally(Containment, "container_id", {"container_type": SLICE, "member_type": SLICE})
        ),
        admin_user_ids=_admins(reading),
        member_ids=(member.user_id for member in every(Member) if member.is_active),
    )


def _every(desk: Desk, organization_id: str, revision: int, kind: type[F], after: tuple[str, ...] = ()) -> Iterator[F]:
    """Every fact of a kind at the revision, those after a key; each part is read by itself, so nothing is kept open."""
    while True:
        with desk.store.snapshot(organization_id, revision=revision) as snapshot:
            part = list(islice(snapshot.iterate(kind, after=after), _PART))
        yield from part
        if len(part) < _PART:
            return
        after = key_of(part[-1])


def _entities(entities: Iterable[Entity], entity_type: str) -> Iterator[Entity]:
    return takewhile(lambda entity: entity.entity_type == entity_type, entities)


def _inside(edges: Iterable[Containment], member_type: str) -> Iterator[Containment]:
    of_slices = takewhile(lambda edge: edge.container_type == SLICE, edges)
    return (edge for edge in of_slices if edge.member_type == member_type)


def _of_reached(reading: Reading) -> Overview:
    user_id = reading.caller.user_id
    reached = lookup.entities_of(reading.snapshot, reading.vocabulary, user_id, reading.at)
    refs = {ref for ref in reached if ref.type in {SLICE, STORE}}
    entities = {entity.ref: entity for entity in _select(reading, Entity, "id", {ref.id for ref in refs})}
    grant_ids = {path.grant_id for ref in refs for path in reached[ref].paths if path.grant_id}
    edges = _edges(reading, refs)
    return Overview(
        can_view_all=False,
        slices=[entities[ref] for ref in sorted(refs) if ref.type == SLICE],
        stores=[entities[ref] for ref in sorted(refs) if ref.type == STORE],
        grants=sorted(_select(reading, Grant, "id", grant_ids), key=key_of),
        stores_inside=[edge for edge in edges if edge.member_type == STORE],
        slices_inside=[edge for edge in edges if edge.member_type == SLICE],
        composite_ids=frozenset(edge.container_id for edge in edges if edge.member_type == SLICE),
        admin_user_ids=[],
        member_ids=[user_id],
    )


def _edges(reading: Reading, refs: set[EntityRef]) -> list[Containment]:
    ids = {ref.id for ref in refs}
    where: Where = {"container_type": SLICE, "container_id": ids, "member_id": ids}
    found = reading.snapshot.select(Containment, where) if ids else []
    return sorted((edge for edge in found if {edge.container, edge.member} <= refs), key=key_of)


def _select(reading: Reading, kind: type[F], name: str, values: set[str]) -> list[F]:
    return reading.snapshot.select(kind, {name: values}) if values else []


def _admins(reading: Reading) -> list[str]:
    base = {role.id for role in reading.snapshot.select(Role, {"name": {OWNER, ADMIN}}) if role.is_base}
    return sorted({fact.user_id for fact in reading.snapshot.select(RoleAssignment, {"role_id": base})})
