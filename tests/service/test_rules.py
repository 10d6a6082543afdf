"""Permissions of a rule: granting only raises, replacing is exact and atomic, the owner keeps the top level."""

import pytest

from grantbook.model.errors import GrantbookError, GrantWouldBeDemoted, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EVERYONE, Grant, Principal
from grantbook.model.instants import Instant
from grantbook.service import rule_permissions
from grantbook.service.desk import SYSTEM
from grantbook.service.rule_permissions import Permission
from tests.service.office import (
    ADMIN,
    EDITOR,
    LOW,
    MEMBERS,
    OTHER,
    OWNER,
    PLAIN,
    RULE,
    STRANGER,
    TOP,
    Office,
)
from tests.worlds import (
    DAY,
    MILLISECOND,
    NOW,
    ORGANIZATION,
    deposit,
    grant,
    member,
    nothing_happens,
    user,
    withdraw,
)


def _permission(target: Principal, level: str) -> Permission:
    return Permission(target=target, access_level=level)


def _give(office: Office, target: Principal, level: str, who: str = OWNER) -> Grant:
    return office.do(who, rule_permissions.grant_permission, RULE.id, _permission(target, level))


def _replace(office: Office, *wanted: tuple[Principal, str], who: str = OWNER) -> list[Grant]:
    return office.do(
        who, rule_permissions.replace_permissions, RULE.id, [_permission(target, level) for target, level in wanted]
    )


def _listed(office: Office, who: str = OWNER) -> list[tuple[Principal, str]]:
    found = office.ask(who, rule_permissions.list_permissions, RULE.id)
    return [(each.grantee, each.access_level) for each in found]


@pytest.mark.parametrize("target", [user(PLAIN), LOW, TOP, MEMBERS, EVERYONE])
def test_a_rule_is_granted_to_anybody_it_names(office: Office, target: Principal) -> None:
    assert office.level(PLAIN, RULE) is None
    given = _give(office, target, "use")
    assert (given.entity, given.grantee, given.granted_by) == (RULE, target, OWNER)
    assert office.level(PLAIN, RULE) == "use"
    assert office.level(OTHER, RULE) == ("use" if target in {MEMBERS, EVERYONE} else None)
    assert _listed(office) == [(target, "use")]


def test_granting_again_raises_the_level_and_keeps_the_id(office: Office) -> None:
    first = _give(office, user(PLAIN), "view")
    office.clock.advance(MILLISECOND)
    for level in ("use", "modify"):
        raised = _give(office, user(PLAIN), level, who=OWNER)
        assert (raised.id, raised.created_at) == (first.id, NOW)
        assert (raised.access_level, raised.updated_at) == (level, NOW + MILLISECOND)
    assert _listed(office) == [(user(PLAIN), "modify")]


def test_granting_the_same_level_again_changes_nothing(office: Office) -> None:
    first = _give(office, user(PLAIN), "use")
    office.clock.advance(MILLISECOND)
    with nothing_happens(office.store, ORGANIZATION):
        assert _give(office, user(PLAIN), "use") == first


def test_granting_never_lowers(office: Office) -> None:
    present = _give(office, user(PLAIN), "modify")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(GrantWouldBeDemoted) as raised:
        _give(office, user(PLAIN), "view")
    assert raised.value.details == {"grant_id": present.id, "access_level": "modify"}


def test_replacing_keeps_what_stays_and_revokes_the_rest_in_one_revision(office: Office) -> None:
    kept, lowered, gone = (_give(office, each, "use") for each in (user(PLAIN), LOW, EDITOR))
    office.clock.advance(MILLISECOND)
    before = office.revision
    result = _replace(office, (EVERYONE, "view"), (LOW, "view"), (user(PLAIN), "use"))
    assert [(each.grantee, each.access_level) for each in result] == [
        (EVERYONE, "view"),
        (LOW, "view"),
        (user(PLAIN), "use"),
    ]
    assert result[2] == kept
    assert office.revision == before + 1
    touched = {(change.action, change.target_id) for change in office.changes(before)}
    assert ("revoked", EDITOR.id) in touched
    assert ("granted", "*") in touched
    assert not any(target == PLAIN for _, target in touched)
    assert sorted(_listed(office)) == sorted([(user(PLAIN), "use"), (EVERYONE, "view"), (LOW, "view")])
    assert gone.id not in {each.id for each in office.grants()}
    assert lowered.grantee == LOW


def test_replacing_by_the_same_changes_nothing(office: Office) -> None:
    _replace(office, (EVERYONE, "view"), (LOW, "use"))
    office.clock.advance(MILLISECOND)
    with nothing_happens(office.store, ORGANIZATION):
        _replace(office, (LOW, "use"), (EVERYONE, "view"))


def test_replacing_by_nothing_removes_all_and_the_owner_keeps_the_top_level(office: Office) -> None:
    _replace(office, (user(OWNER), "view"), (EVERYONE, "use"), (user(PLAIN), "modify"))
    assert _replace(office) == []
    assert _listed(office) == []
    assert office.level(PLAIN, RULE) is None
    assert office.level(OWNER, RULE) == "modify"
    assert _give(office, user(PLAIN), "use").access_level == "use"


BAD: list[tuple[Principal, str, type[GrantbookError]]] = [
    (user("usr_unheard_of"), "use", NotFound),
    (Principal("department", "dept_9"), "use", NotFound),
    (Principal("organization", "org_9"), "use", NotFound),
    (user(OTHER), "read", ValidationFailed),
    (Principal("group", "grp_1"), "use", ValidationFailed),
    (Principal("all", "usr_1"), "use", ValidationFailed),
    (Principal("user", "*"), "use", ValidationFailed),
    (user(PLAIN), "view", ValidationFailed),
]


@pytest.mark.parametrize(("target", "level", "error"), BAD)
def test_a_bad_replacement_changes_nothing(
    office: Office, target: Principal, level: str, error: type[GrantbookError]
) -> None:
    _give(office, EDITOR, "use")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(error):
        _replace(office, (user(PLAIN), "use"), (target, level))
    _replace(office, (user(PLAIN), "use"), (user(OTHER), "use"))


def test_an_expired_permission_is_not_listed_and_makes_room(office: Office) -> None:
    def old(expires_at: Instant) -> Grant:
        return grant(RULE, user(PLAIN), "modify", id="grant_old", expires_at=expires_at)

    deposit(office.store, ORGANIZATION, [old(NOW + DAY)])
    assert _listed(office) == [(user(PLAIN), "modify")]
    office.clock.advance(DAY)
    assert _listed(office) == []
    with pytest.raises(NotFound):
        office.do(OWNER, rule_permissions.revoke_permission, RULE.id, user(PLAIN))
    before = office.revision
    assert _give(office, user(PLAIN), "view").id != "grant_old"
    assert [change.action for change in office.changes(before)] == ["expired", "granted"]


def test_revoking_takes_away_and_an_unknown_target_is_not_found(office: Office) -> None:
    _give(office, user(PLAIN), "use")
    office.do(OWNER, rule_permissions.revoke_permission, RULE.id, user(PLAIN))
    assert office.level(PLAIN, RULE) is None
    for target in (user(PLAIN), user("usr_unheard_of"), EVERYONE):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound) as raised:
            office.do(OWNER, rule_permissions.revoke_permission, RULE.id, target)
        assert raised.value.details == {"target_type": target.type, "target_id": target.id}


@pytest.mark.parametrize("who", [PLAIN, OTHER, STRANGER])
@pytest.mark.parametrize("level", [None, "view", "use"])
def test_only_who_may_modify_a_rule_shares_it(office: Office, who: str, level: str | None) -> None:
    """Below that nobody promotes themselves either."""
    if level is not None:
        _give(office, EVERYONE, level)
    for attempt in (
        lambda: _give(office, user(PLAIN), "modify", who=who),
        lambda: _replace(office, who=who),
        lambda: _replace(office, (user(PLAIN), "modify"), who=who),
        lambda: office.do(who, rule_permissions.revoke_permission, RULE.id, EVERYONE),
    ):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            attempt()
        assert raised.value.details == {"rule_id": RULE.id}
    _give(office, EVERYONE, "modify")
    assert _give(office, user(PLAIN), "modify", who=who).granted_by == who


def test_listing_is_for_those_who_may_view_the_rule(office: Office) -> None:
    for who in (PLAIN, STRANGER):
        with pytest.raises(PermissionDenied):
            _listed(office, who)
    _give(office, EVERYONE, "view")
    for who in (PLAIN, STRANGER, OWNER):
        assert _listed(office, who) == [(EVERYONE, "view")]


@pytest.mark.parametrize("rule_id", ["rule_9", "", "vs_notes"])
def test_an_unknown_rule_is_not_found(office: Office, rule_id: str) -> None:
    for attempt in (
        lambda: office.ask(SYSTEM, rule_permissions.list_permissions, rule_id),
        lambda: office.do(SYSTEM, rule_permissions.replace_permissions, rule_id, []),
        lambda: office.do(SYSTEM, rule_permissions.grant_permission, rule_id, _permission(user(PLAIN), "use")),
        lambda: office.do(SYSTEM, rule_permissions.revoke_permission, rule_id, user(PLAIN)),
    ):
        with pytest.raises(NotFound) as raised:
            attempt()
        assert raised.value.details == {"rule_id": rule_id}


def test_a_rule_may_be_granted_to_a_user_of_another_organization(office: Office) -> None:
    """Also to one who has left there; not to an id that nobody ever had."""
    with pytest.raises(NotFound):
        _give(office, user(STRANGER), "use")
    deposit(office.store, "org_elsewhere", [member(STRANGER)])
    withdraw(office.store, "org_elsewhere", [member(STRANGER)])
    assert _give(office, user(STRANGER), "use").grantee == user(STRANGER)
    assert office.level(STRANGER, RULE) == "use"
    assert _listed(office, STRANGER) == [(user(STRANGER), "use")]


def test_an_admin_without_a_level_on_the_rule_overrides(office: Office) -> None:
    """By the capability of the base role Admin."""
    assert office.level(ADMIN, RULE) == "modify"
    assert _give(office, user(PLAIN), "use", who=ADMIN).granted_by == ADMIN
