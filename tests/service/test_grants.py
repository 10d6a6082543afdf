"""Grants: made once, all or none, by those who may share."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from grantbook.model.errors import GrantAlreadyExists, GrantbookError, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EntityRef, Principal, revised
from grantbook.service import grants, rule_permissions
from grantbook.service.desk import SYSTEM, Caller
from grantbook.service.grants import NewGrant
from tests.service.office import (
    ADMIN,
    BOT,
    EDITOR,
    LOW,
    MEMBERS,
    NOTES,
    OTHER,
    OWNER,
    PLAIN,
    RULE,
    STRANGER,
    TEAM,
    TOP,
    Office,
)
from tests.worlds import DAY, MILLISECOND, NOW, ORGANIZATION, nothing_happens, user

PERSON = user(PLAIN)


def _new(grantee: Principal = PERSON, level: str = "read", **values: int | str | None) -> NewGrant:
    return replace(NewGrant(grantee=grantee, access_level=level), **values)  # type: ignore[arg-type]


def test_a_grant_says_who_gave_what_to_whom_and_counts_at_once(office: Office) -> None:
    assert office.level(PLAIN, NOTES) is None
    grant, is_new = office.do(OWNER, grants.create, NOTES, _new(level="write", reason="for the project"))
    assert is_new
    assert (grant.entity, grant.grantee, grant.access_level) == (NOTES, user(PLAIN), "write")
    assert (grant.granted_by, grant.created_at, grant.reason) == (OWNER, NOW, "for the project")
    assert office.level(PLAIN, NOTES) == "write"
    assert office.level(OTHER, NOTES) is None


def test_the_same_grant_again_changes_nothing(office: Office) -> None:
    first, _ = office.do(OWNER, grants.create, NOTES, _new(expires_at=NOW + DAY))
    with nothing_happens(office.store, ORGANIZATION):
        again, is_new = office.do(ADMIN, grants.create, NOTES, _new(expires_at=NOW + DAY, reason="once more"))
    assert (again, is_new) == (first, False)


@pytest.mark.parametrize(
    "other",
    [_new(level="admin"), _new(expires_at=NOW + DAY), _new(starts_at=NOW), _new(level="write", starts_at=NOW + DAY)],
    ids=["level", "end", "start", "both"],
)
def test_another_level_or_window_for_the_same_grantee_is_a_conflict(office: Office, other: NewGrant) -> None:
    present, _ = office.do(OWNER, grants.create, NOTES, _new())
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(GrantAlreadyExists) as raised:
        office.do(OWNER, grants.create, NOTES, other)
    assert raised.value.details == {"grant_id": present.id, "access_level": "read"}
    assert office.do(OWNER, grants.create, TEAM, other)[1]


def test_an_expired_grant_makes_room_for_a_new_one(office: Office) -> None:
    """To the very millisecond: until its end it is in the way, from its end on it is closed."""
    old = office.give(NOTES, user(PLAIN), "read", expires_at=NOW + DAY)
    office.clock.advance(DAY - MILLISECOND)
    with pytest.raises(GrantAlreadyExists):
        office.do(OWNER, grants.create, NOTES, _new(level="admin"))
    office.clock.advance(MILLISECOND)
    assert office.level(PLAIN, NOTES) is None
    before = office.revision
    new, is_new = office.do(OWNER, grants.create, NOTES, _new(level="admin"))
    assert is_new
    assert new.id != old.id
    assert office.grants() == [new]
    assert [(change.action, change.key) for change in office.changes(before)] == [
        ("expired", old.id),
        ("granted", new.id),
    ]
    assert {change.revision for change in office.changes(before)} == {before + 1}


@pytest.mark.parametrize(
    ("new", "field"),
    [
        (_new(level="own"), "access_level"),
        (_new(level="modify"), "access_level"),
        (_new(level=""), "access_level"),
        (_new(Principal("group", "grp_1")), "grantee_type"),
        (_new(Principal("all", "*")), "grantee_type"),
        (_new(expires_at=NOW), "expires_at"),
        (_new(expires_at=NOW - 1), "expires_at"),
        (_new(starts_at=NOW + DAY, expires_at=NOW + DAY), "expires_at"),
        (_new(starts_at=NOW + DAY, expires_at=NOW + 1), "expires_at"),
        (_new(expires_at=2**60), "expires_at"),
        (_new(starts_at=-1), "starts_at"),
        (_new(reason="x" * 4_001), "reason"),
        (_new(reason="\x00"), "reason"),
    ],
)
def test_an_impossible_grant_is_refused(office: Office, new: NewGrant, field: str) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(OWNER, grants.create, NOTES, new)
    assert raised.value.details["field"] == field


@pytest.mark.parametrize(
    "grantee",
    [
        user(STRANGER),
        Principal("department", PLAIN),
        Principal("department", "dept_9"),
        Principal("role", "role_9"),
        Principal("organization", "org_2"),
        Principal("user", "*"),
    ],
)
def test_nobody_unknown_is_given_anything(office: Office, grantee: Principal) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound) as raised:
        office.do(OWNER, grants.create, NOTES, _new(grantee))
    assert raised.value.details == {"grantee_type": grantee.type, "grantee_id": grantee.id}


@pytest.mark.parametrize("grantee", [user(PLAIN), LOW, TOP, MEMBERS])
def test_everybody_whom_a_grantee_stands_for_gets_access(office: Office, grantee: Principal) -> None:
    office.do(OWNER, grants.create, NOTES, _new(grantee))
    assert office.level(PLAIN, NOTES) == "read"
    assert office.level(OTHER, NOTES) == ("read" if grantee == MEMBERS else None)


@pytest.mark.parametrize("ref", [EntityRef("vector_store", "vs_9"), EntityRef("assistant", NOTES.id)])
def test_nothing_unknown_is_granted_on(office: Office, ref: EntityRef) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound) as raised:
        office.do(OWNER, grants.create, ref, _new())
    assert raised.value.details == {"entity_type": ref.type, "entity_id": ref.id}


@pytest.mark.parametrize("ref", [RULE, EntityRef("spaceship", "ship_1"), EntityRef("", "")])
def test_rules_and_unknown_types_are_not_granted_on_here(office: Office, ref: EntityRef) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(OWNER, grants.create, ref, _new(level="use"))
    assert raised.value.details["field"] == "entity_type"


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (OWNER, True),
        (ADMIN, True),
        (SYSTEM, True),
        (PLAIN, False),
        (OTHER, False),
        (STRANGER, False),
        (Caller(user_id="system"), False),
        (Caller(user_id=PLAIN, scopes=("check", "read", "write")), False),
    ],
)
@pytest.mark.parametrize("grantee", [user(PLAIN), user(OTHER), MEMBERS])
def test_only_those_who_administer_an_entity_share_it(
    office: Office, who: str | Caller, may: bool, grantee: Principal
) -> None:
    """In particular nobody helps themselves."""
    if may:
        assert office.do(who, grants.create, NOTES, _new(grantee))[1]
        return
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
        office.do(who, grants.create, NOTES, _new(grantee))
    assert raised.value.details == {"entity_type": NOTES.type, "entity_id": NOTES.id}


@pytest.mark.parametrize("level", ["read", "add_new", "overwrite", "write", "admin"])
def test_a_level_below_the_top_does_not_share(office: Office, level: str) -> None:
    mine = office.give(NOTES, user(PLAIN), level)
    theirs = office.give(NOTES, user(OTHER), "read")
    attempts = (
        lambda: office.do(PLAIN, grants.create, NOTES, _new(TOP)),
        lambda: office.do(PLAIN, grants.update, mine.id, "admin"),
        lambda: office.do(PLAIN, grants.update, theirs.id, "write"),
        lambda: office.do(PLAIN, grants.revoke, theirs.id),
    )
    if level == "admin":
        for attempt in attempts:
            attempt()
        return
    for attempt in attempts:
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            attempt()


def test_administering_one_entity_gives_no_right_on_another(office: Office) -> None:
    office.give(TEAM, user(PLAIN), "admin")
    assert office.do(PLAIN, grants.create, TEAM, _new(EDITOR))[1]
    with pytest.raises(PermissionDenied):
        office.do(PLAIN, grants.create, NOTES, _new(EDITOR))


def test_a_right_that_has_expired_shares_no_more(office: Office) -> None:
    office.give(NOTES, user(PLAIN), "admin", expires_at=NOW + DAY)
    assert office.do(PLAIN, grants.create, NOTES, _new(EDITOR))[1]
    office.clock.advance(DAY)
    with pytest.raises(PermissionDenied):
        office.do(PLAIN, grants.create, NOTES, _new(LOW))


def test_a_bulk_comes_back_in_the_order_of_the_request_and_makes_one_revision(office: Office) -> None:
    present = office.give(NOTES, LOW, "read")
    before = office.revision
    made = office.do(OWNER, grants.create_bulk, NOTES, [_new(), _new(LOW), _new(EDITOR, "admin")])
    assert [grant.grantee for grant in made] == [user(PLAIN), LOW, EDITOR]
    assert made[1] == present
    assert office.revision == before + 1
    assert [change.key for change in office.changes(before)] == [made[0].id, made[2].id]


BAD: list[tuple[NewGrant, type[GrantbookError]]] = [
    (_new(user(STRANGER)), NotFound),
    (_new(user(ADMIN), "own"), ValidationFailed),
    (_new(user(ADMIN), expires_at=NOW), ValidationFailed),
    (_new(EDITOR), ValidationFailed),
    (_new(LOW, "admin"), GrantAlreadyExists),
]


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    ("bad", "error"), BAD, ids=["unknown grantee", "unknown level", "expired", "repeated", "another level"]
)
def test_a_bulk_with_one_bad_grant_makes_none(
    office: Office, bad: NewGrant, error: type[GrantbookError], position: int
) -> None:
    office.give(NOTES, LOW, "read")
    batch = [_new(), _new(EDITOR)]
    batch.insert(position, bad)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(error):
        office.do(OWNER, grants.create_bulk, NOTES, batch)
    batch.remove(bad)
    assert len(office.do(OWNER, grants.create_bulk, NOTES, batch)) == 2


def test_a_grantee_who_comes_twice_in_a_bulk_is_named(office: Office) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(OWNER, grants.create_bulk, NOTES, [_new(), _new(EDITOR), _new(level="admin")])
    assert raised.value.details["field"] == "grants.2"


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_bulk_has_1_to_1000_grants(office: Office, count: int) -> None:
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(OWNER, grants.create_bulk, NOTES, [_new(user(f"usr_{number}")) for number in range(count)])
    assert raised.value.details["field"] == "grants"


def test_an_update_keeps_all_but_the_level(office: Office) -> None:
    grant = office.give(NOTES, user(PLAIN), "read", expires_at=NOW + DAY)
    office.clock.advance(MILLISECOND)
    for level in ("admin", "add_new"):
        assert office.do(ADMIN, grants.update, grant.id, level) == revised(
            grant, access_level=level, updated_at=NOW + MILLISECOND
        )
        assert office.level(PLAIN, NOTES) == level


def test_an_update_to_the_level_that_is_there_changes_nothing(office: Office) -> None:
    grant = office.give(NOTES, user(PLAIN), "read")
    office.clock.advance(MILLISECOND)
    with nothing_happens(office.store, ORGANIZATION):
        assert office.do(OWNER, grants.update, grant.id, "read") == grant


def test_an_update_to_an_unknown_level_is_refused(office: Office) -> None:
    grant = office.give(NOTES, user(PLAIN), "read")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(OWNER, grants.update, grant.id, "modify")


def test_a_revoked_grant_gives_nothing_and_is_gone(office: Office) -> None:
    grant = office.give(NOTES, user(PLAIN), "read")
    assert office.level(PLAIN, NOTES) == "read"
    office.do(OWNER, grants.revoke, grant.id)
    assert office.level(PLAIN, NOTES) is None
    for attempt in (
        lambda: office.do(OWNER, grants.revoke, grant.id),
        lambda: office.do(OWNER, grants.update, grant.id, "admin"),
    ):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound) as raised:
            attempt()
        assert raised.value.details == {"grant_id": grant.id}


def test_revoking_a_department_grant_keeps_the_direct_one(office: Office) -> None:
    direct, through_department = office.give(NOTES, user(PLAIN), "read"), office.give(NOTES, TOP, "admin")
    assert office.level(PLAIN, NOTES) == "admin"
    office.do(OWNER, grants.revoke, through_department.id)
    assert office.level(PLAIN, NOTES) == "read"
    office.do(OWNER, grants.revoke, direct.id)
    assert office.level(PLAIN, NOTES) is None


def test_revoking_goes_into_the_record_with_who_and_why(office: Office) -> None:
    grant = office.give(NOTES, user(PLAIN), "read")
    caller = Caller(user_id=ADMIN, api_key_id="ak_1", trace_id="trace-1")
    with office.desk.writing(ORGANIZATION, caller, reason="the project is over") as writing:
        grants.revoke(writing, grant.id)
    (change,) = office.changes(office.revision - 1)
    assert (change.action, change.key, change.actor_id) == ("revoked", grant.id, ADMIN)
    assert (change.api_key_id, change.trace_id, change.reason) == ("ak_1", "trace-1", "the project is over")


def test_a_rule_grant_is_not_changed_as_an_access_grant(office: Office) -> None:
    wanted = rule_permissions.Permission(target=user(PLAIN), access_level="use")
    grant = office.do(OWNER, rule_permissions.grant_permission, RULE.id, wanted)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        office.do(OWNER, grants.revoke, grant.id)


def _visible(office: Office, who: str, **filters: str) -> list[str]:
    page = office.ask(who, grants.list_grants, **filters)  # type: ignore[arg-type]
    assert page.total == len(page.items)
    assert not page.has_more
    return [grant.id for grant in page.items]


def test_who_manages_access_sees_every_grant_and_others_what_concerns_them(office: Office) -> None:
    to_plain = office.give(NOTES, user(PLAIN), "read").id
    office.clock.advance(1)
    to_top = office.give(NOTES, TOP, "read").id
    office.clock.advance(1)
    to_all = office.give(BOT, MEMBERS, "read").id
    office.clock.advance(1)
    to_role = office.give(NOTES, EDITOR, "read").id
    office.clock.advance(1)
    everything = [to_plain, to_top, to_all, to_role]
    assert _visible(office, OWNER) == _visible(office, ADMIN) == everything
    assert _visible(office, PLAIN) == [to_plain, to_top, to_all]
    assert _visible(office, OTHER) == [to_all, to_role]
    assert _visible(office, STRANGER) == []
    shares = office.give(NOTES, user(OTHER), "admin").id
    assert _visible(office, OTHER) == [*everything, shares]


def test_one_grant_is_shown_to_whom_the_list_shows_it(office: Office) -> None:
    made = [
        office.give(NOTES, user(PLAIN), "read", expires_at=NOW + DAY),
        *(office.give(NOTES, grantee, "read") for grantee in (TOP, LOW, EDITOR)),
        office.give(TEAM, user(OTHER), "admin"),
        office.give(TEAM, user(PLAIN), "write"),
        office.give(BOT, MEMBERS, "read"),
    ]
    office.clock.advance(DAY)
    for who in (OWNER, ADMIN, PLAIN, OTHER, STRANGER):
        listed = _visible(office, who)
        for grant in made:
            if grant.id in listed:
                assert office.ask(who, grants.get, grant.id) == grant
            else:
                with pytest.raises(NotFound, match="Access grant not found") as raised:
                    office.ask(who, grants.get, grant.id)
                assert raised.value.details == {"grant_id": grant.id}


def test_what_is_no_live_access_grant_is_not_found(office: Office) -> None:
    revoked = office.give(NOTES, user(PLAIN), "read")
    office.do(OWNER, grants.revoke, revoked.id)
    wanted = rule_permissions.Permission(target=user(PLAIN), access_level="use")
    on_rule = office.do(OWNER, rule_permissions.grant_permission, RULE.id, wanted)
    for grant_id in (revoked.id, on_rule.id, "agrant_9"):
        with pytest.raises(NotFound) as raised:
            office.ask(OWNER, grants.get, grant_id)
        assert raised.value.details == {"grant_id": grant_id}


def test_filters_narrow_what_one_sees_and_never_widen_it(office: Office) -> None:
    to_plain = office.give(NOTES, user(PLAIN), "read").id
    to_team = office.give(TEAM, user(PLAIN), "read").id
    to_other = office.give(NOTES, user(OTHER), "read").id
    assert set(_visible(office, OWNER, entity_type="vector_store")) == {to_plain, to_other}
    assert set(_visible(office, PLAIN, entity_type="vector_store")) == {to_plain}
    assert _visible(office, PLAIN, entity_id=NOTES.id, grantee_type="user", grantee_id=PLAIN) == [to_plain]
    assert _visible(office, PLAIN, grantee_id=OTHER) == []
    assert _visible(office, PLAIN, grantee_id=PLAIN, entity_type="knowledge_slice") == [to_team]
    assert _visible(office, OWNER, grantee_type="role") == []


@pytest.mark.parametrize(
    "filters", [{"entity_type": "rule"}, {"entity_type": "x"}, {"grantee_type": "all"}, {"grantee_type": "x"}]
)
def test_a_filter_on_an_unknown_type_is_an_error_and_not_an_empty_list(office: Office, filters: dict[str, str]) -> None:
    with pytest.raises(ValidationFailed) as raised:
        _visible(office, OWNER, **filters)
    assert raised.value.details["field"] in filters


def test_pages_tell_how_many_there_are_and_whether_more_follow(office: Office) -> None:
    for grantee in (user(PLAIN), user(OTHER), LOW):
        office.give(NOTES, grantee, "read")
        office.clock.advance(1)
    for skip, limit, has_more in [(0, 2, True), (0, 3, False), (1, 2, False), (2, 9, False), (3, 1, False)]:
        for who in (OWNER, SYSTEM):
            page = office.ask(who, grants.list_grants, skip=skip, limit=limit)
            assert (len(page.items), page.total, page.has_more) == (min(limit, 3 - skip), 3, has_more)
    first = office.ask(OWNER, grants.list_of_entity, NOTES, limit=1)
    rest = office.ask(OWNER, grants.list_of_entity, NOTES, after=(first.items[0].created_at, first.items[0].id))
    assert [grant.grantee for grant in rest.items] == [user(OTHER), LOW]


def test_the_grants_of_an_entity_are_for_those_who_reach_it(office: Office) -> None:
    grant = office.give(NOTES, user(PLAIN), "read")
    assert [each.id for each in office.ask(PLAIN, grants.list_of_entity, NOTES).items] == [grant.id]
    assert office.ask(OTHER, grants.list_of_entity, BOT).items == []
    with pytest.raises(PermissionDenied):
        office.ask(OTHER, grants.list_of_entity, NOTES)
    with pytest.raises(NotFound):
        office.ask(OWNER, grants.list_of_entity, EntityRef("vector_store", "vs_9"))


def test_an_update_changes_the_window_and_leaves_what_is_not_given(office: Office) -> None:
    made, _ = office.do(OWNER, grants.create, NOTES, _new(starts_at=NOW + DAY, expires_at=NOW + 2 * DAY))
    assert office.level(PLAIN, NOTES) is None
    begun = office.do(OWNER, grants.update, made.id, starts_at=None)
    assert (begun.starts_at, begun.expires_at, begun.access_level) == (None, NOW + 2 * DAY, "read")
    assert office.level(PLAIN, NOTES) == "read"
    longer = office.do(OWNER, grants.update, made.id, "write", expires_at=None)
    assert (longer.id, longer.expires_at, office.level(PLAIN, NOTES)) == (made.id, None, "write")
    with nothing_happens(office.store, ORGANIZATION):
        assert office.do(OWNER, grants.update, made.id, "write", expires_at=None) == longer
        for start, end in ((None, NOW), (NOW + DAY, NOW + DAY), (-1, None)):
            with pytest.raises(ValidationFailed):
                office.do(OWNER, grants.update, made.id, starts_at=start, expires_at=end)
        with pytest.raises(PermissionDenied):
            office.do(PLAIN, grants.update, made.id, expires_at=NOW + DAY)


def test_a_time_that_is_no_instant_is_told_by_its_field(office: Office) -> None:
    with pytest.raises(ValidationFailed, match="starts_at must be an instant: whole microseconds since 1970"):
        office.do(OWNER, grants.create, NOTES, replace(_new(), starts_at=datetime.now(UTC)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("skip", "limit", "field"), [(-1, 20, "skip"), (0, 0, "limit"), (0, -1, "limit")])
def test_a_page_of_less_than_one_is_refused(office: Office, skip: int, limit: int, field: str) -> None:
    with pytest.raises(ValidationFailed, match=f"^Validation error: {field} must"):
        office.ask(OWNER, grants.list_grants, skip=skip, limit=limit)
