"""Lists of members: searched, filtered and sorted in the store."""

from dataclasses import dataclass
from typing import Any, Final

from grantbook.model.errors import NotFound
from grantbook.model.facts import MEMBER_STATES, Member, RoleAssignment
from grantbook.service import gates
from grantbook.service.desk import Reading
from grantbook.service.listing import Page
from grantbook.service.members import MemberView, views
from grantbook.service.values import one_of, optional_text
from grantbook.store.port import OLDEST_FIRST, Among, Contains, Not, Order, Where

SORTS: Final = {
    "created_at": "created_at",
    "last_modified_at": "updated_at",
    "full_name": "full_name",
    "email": "email",
    "status": "state",
}
"""What members can be sorted by, in the words of the API, and the field that it is."""
_FEW: Final = 1_000
_CHANGES_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which members: whose name or address contains the text, who have the role, who are in the state.

    Without a `state`, those who are deactivated are left out unless asked for.
    """

    search: str | None = None
    role_id: str | None = None
    state: str | None = None
    with_deactivated: bool = False
    order: Order = OLDEST_FIRST


def list_members(reading: Reading, wanted: Wanted, *, skip: int, limit: int) -> Page[MemberView]:
    """Members in order. For every member.

    Raises ValidationFailed(sort_column), NotFound(role_id, status_id).
    """
    if wanted.order.field not in SORTS.values():
        one_of("sort_column", wanted.order.field, SORTS)
    optional_text("search_term", wanted.search)
    if wanted.role_id is not None:
        gates.get_role(reading, wanted.role_id)
    if wanted.state not in {None, *MEMBER_STATES}:
        raise NotFound("Status not found", status_id=wanted.state)
    where = _where(reading, wanted)
    found = reading.snapshot.page(Member, *where, skip=skip, limit=limit + 1, order=wanted.order)
    is_last_page = len(found) <= limit and (found or skip == 0)
    total = skip + len(found) if is_last_page else _count(reading, wanted, where)
    return Page(views(reading, found[:limit]), total, has_more=len(found) > limit)


def list_ids(reading: Reading, *, with_removed: bool = False) -> list[str]:
    """The ids of all members, in whatever state, in order; with those who were removed and not restored."""
    found = set(reading.snapshot.tally(Member, "user_id"))
    skip = 0
    while with_removed:
        removals = reading.snapshot.find_changes(
            {"subject_type": Member.SUBJECT_TYPE, "action": "removed"}, skip=skip, limit=_CHANGES_AT_ONCE
        )
        found.update(change.subject_id for change in removals)
        skip += len(removals)
        with_removed = len(removals) == _CHANGES_AT_ONCE
    return sorted(found)


def _where(reading: Reading, wanted: Wanted) -> list[Where]:
    shared: dict[str, Any] = {}
    if wanted.state is not None:
        shared["state"] = wanted.state
    elif not wanted.with_deactivated:
        shared["state"] = Not("deactivated")
    if wanted.role_id is not None:
        shared["user_id"] = _who_have(reading, wanted.role_id)
    if not wanted.search:
        return [shared]
    text = Contains(wanted.search)
    return [{**shared, "full_name": text}, {**shared, "email": text}]


def _who_have(reading: Reading, role_id: str) -> Any:
    """A rare role is found by its few members; of a frequent one, a page is found soon by looking at each member."""
    where = {"role_id": role_id}
    if reading.snapshot.count(RoleAssignment, where) > _FEW:
        return Among(RoleAssignment, "user_id", "role_id", role_id)
    return {assigned.user_id for assigned in reading.snapshot.select(RoleAssignment, where)}


def _count(reading: Reading, wanted: Wanted, where: list[Where]) -> int:
    """How many match. Most of a large organization share a role: then those left out are fewer to count."""
    if wanted.role_id is None or wanted.search or wanted.state not in {None, "active"}:
        return reading.snapshot.count(Member, *where)
    shown = set(MEMBER_STATES) if wanted.with_deactivated else {"active", "pending_invitation"}
    hidden = set(MEMBER_STATES) - ({wanted.state} if wanted.state else shown)
    all_of_role = reading.snapshot.count(RoleAssignment, {"role_id": wanted.role_id})
    return all_of_role - reading.snapshot.count(Member, {**where[0], "state": hidden})
