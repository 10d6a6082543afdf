"""The audit log: a view of the changes, newest first. Nothing is written for it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from grantbook.model.errors import LimitExceeded
from grantbook.model.facts import Department, Entity, EntityRef, Fact, Member, Role
from grantbook.model.instants import Instant
from grantbook.model.limits import MAX_SEARCHED_NAMES, MAX_SEARCHED_TEXTS
from grantbook.service import gates
from grantbook.service.conditions import crossed
from grantbook.service.desk import Reading
from grantbook.service.listing import Page
from grantbook.service.values import valid_text
from grantbook.store.port import NAME_FIELDS, Change, Contains, Where

VIEW: Final = "view_audit_log"
EXPORT: Final = "export_audit_log"
Place = tuple[int, int]

_SLICE: Final = "knowledge_slice"
_NAMED: Final[tuple[tuple[type[Fact], tuple[str, ...]], ...]] = (
    (Member, ("full_name", "email")),
    (Department, ("name",)),
    (Role, ("name",)),
    (Entity, ("name",)),
)
_IDS: Final = ("subject_id", "target_id", "actor_id")
_TEXTS: Final = (*_IDS, "subject_type", "action", "reason")
_NAMES: Final = tuple(f"{when}.{field}" for when in ("after", "before") for field in NAME_FIELDS)
_WITH_NAMES: Final = frozenset({"Organization", "Member", "Department", "Role", "Entity", "ApiKey"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which entries. `since` and `until` are both included; a department's are those about it and those to it."""

    entity_type: str | None = None
    entity_id: str | None = None
    action_type: str | None = None
    actor_id: str | None = None
    target_id: str | None = None
    department_id: str | None = None
    since: Instant | None = None
    until: Instant | None = None
    search_term: str | None = None


def list_entries(
    reading: Reading, filters: Filters, *, skip: int, limit: int, before: Place | None = None
) -> Page[Change]:
    """For those with `view_audit_log`. Raises PermissionDenied(capability), ValidationFailed(search_term),
    LimitExceeded where the term is part of too many names."""
    gates.require_capability(reading, VIEW)
    return _page(reading, _where(reading, filters), filters, skip, limit, before)


def list_of_slice(
    reading: Reading, slice_id: str, filters: Filters, *, skip: int, limit: int, before: Place | None = None
) -> Page[Change]:
    """What happened to one slice, and who got what on it: for those with the top level on it, too.

    Not what happened to another one that had its id before.
    Raises NotFound(entity_type, entity_id), PermissionDenied(capability).
    """
    ref = EntityRef(_SLICE, slice_id)
    gates.get_entity(reading, ref)
    if not gates.has_level(reading, ref, reading.vocabulary.entity_type(_SLICE).top_level):
        gates.require_capability(reading, VIEW)
    gone = {"kind": Entity.__name__, "subject_id": slice_id, "subject_type": _SLICE, "action": "deleted"}
    ended = reading.snapshot.find_changes(gone, skip=0, limit=1)
    wanted = crossed(_about(ref), _where(reading, filters))
    return _page(reading, wanted, filters, skip, limit, before, after=ended[0].revision if ended else 0)


def chunk(reading: Reading, filters: Filters, *, before: Place | None, limit: int) -> list[Change]:
    """The part of an export that comes after the place, for those with `export_audit_log`. Raises as `list_entries`."""
    gates.require_capability(reading, EXPORT)
    where = _where(reading, filters)
    if not where:
        return []
    first, last = _revisions(reading, filters)
    return reading.snapshot.find_changes(*where, first=first, last=last, before=before, skip=0, limit=limit)


def count(reading: Reading, filters: Filters) -> int:
    """How many entries an export would have. Raises as `list_entries`, for those with `export_audit_log`."""
    gates.require_capability(reading, EXPORT)
    where = _where(reading, filters)
    first, last = _revisions(reading, filters)
    return reading.snapshot.count_changes(*where, first=first, last=last) if where else 0


def _page(
    reading: Reading,
    where: list[Where],
    filters: Filters,
    skip: int,
    limit: int,
    before: Place | None,
    after: int = 0,
) -> Page[Change]:
    """Of what came after that revision."""
    if not where:
        return Page([], 0, has_more=False)
    first, last = _revisions(reading, filters)
    first = max(first, after + 1)
    found = reading.snapshot.find_changes(*where, first=first, last=last, before=before, skip=skip, limit=limit + 1)
    total = reading.snapshot.count_changes(*where, first=first, last=last)
    return Page(found[:limit], total, has_more=len(found) > limit)


def _revisions(reading: Reading, filters: Filters) -> tuple[int, int | None]:
    """The first and the last revision of the time asked for."""
    first = 1 if filters.since is None else reading.revision_at(filters.since - 1) + 1
    return first, None if filters.until is None else reading.revision_at(filters.until)


def _where(reading: Reading, filters: Filters) -> list[Where]:
    """The filters as alternatives; none at all means that nothing can match."""
    wanted = {
        "subject_type": filters.entity_type,
        "subject_id": filters.entity_id,
        "action": filters.action_type,
        "actor_id": filters.actor_id,
        "target_id": filters.target_id,
    }
    where: list[Where] = [{name: value for name, value in wanted.items() if value is not None}]
    if filters.department_id is not None:
        of_department: list[Where] = [
            {"subject_id": filters.department_id, "subject_type": {"department", "department_member"}},
            {"target_id": filters.department_id},
        ]
        where = crossed(where, of_department)
    if filters.search_term:
        where = crossed(where, _searched(reading, filters.search_term))
    return where


def _searched(reading: Reading, term: str) -> list[Where]:
    """In ids, actions, reasons, what changed things were and are called, and whoever and whatever is called so now.

    Where few texts of the record have the term, they tell which ids to look for. Otherwise, and where it is part of an
    action or a type, there is much to find, and going through the changes finds it soon.
    """
    wanted = Contains(valid_text("search_term", term))
    told = reading.snapshot.find_texts(wanted, limit=MAX_SEARCHED_TEXTS + 1)
    if len(told) > MAX_SEARCHED_TEXTS:
        return _looked_through(wanted, _called(reading, wanted, None))
    named = {each.about for each in told if each.field == "name"}
    if any(each.field == "word" for each in told):
        return _looked_through(wanted, _called(reading, wanted, named))
    for_reasons = {each.about for each in told if each.field == "reason"}
    ids = {each.text for each in told if each.field == "id"} | _called(reading, wanted, named)
    where: list[Where] = [{name: ids} for name in _IDS if ids]
    where += [{"kind": _WITH_NAMES, "subject_id": named, name: wanted} for name in _NAMES if named]
    return [*where, {"subject_id": for_reasons, "reason": wanted}] if for_reasons else where


def _looked_through(wanted: Contains, called: set[str]) -> list[Where]:
    where: list[Where] = [{name: wanted} for name in _TEXTS]
    where += [{"kind": _WITH_NAMES, name: wanted} for name in _NAMES]
    return [*where, *({name: called} for name in _IDS)] if called else where


def _called(reading: Reading, wanted: Contains, among: Collection[str] | None) -> set[str]:
    """The ids of whoever and whatever is called so now, of these ids. Raises LimitExceeded where they are too many."""
    called: set[str] = set()
    if among is not None and not among:
        return called
    for kind, fields in _NAMED:
        here: Where = {} if among is None else {kind.KEY[-1]: among}
        where: list[Where] = [{**here, field: wanted} for field in fields]
        found = reading.snapshot.page(kind, *where, skip=0, limit=MAX_SEARCHED_NAMES + 1)
        if len(found) > MAX_SEARCHED_NAMES:
            raise LimitExceeded(
                f"{wanted.text!r} is part of too many names: search for more of one",
                limit="names_with_search_term",
                maximum=MAX_SEARCHED_NAMES,
            )
        called |= {str(getattr(fact, kind.KEY[-1])) for fact in found}
    return called


def _about(ref: EntityRef) -> list[Where]:
    """Changes of an entity and of what hangs on it. Another type may use its id, so each kind says which it means."""
    here = {"subject_id": ref.id}
    return [
        {**here, "subject_type": ref.type},
        *(
            {**here, "subject_type": kind, f"{when}.entity_type": ref.type}
            for kind in ("knowledge_grant", "rule_grant", "access_target")
            for when in ("after", "before")
        ),
        *({**here, "subject_type": "containment", f"{when}.container_type": ref.type} for when in ("after", "before")),
        *(
            {"target_id": ref.id, "subject_type": "containment", f"{when}.member_type": ref.type}
            for when in ("after", "before")
        ),
    ]
