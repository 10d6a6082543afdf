"""Rules change with a version that counts, are copied without who reaches them, and are handed over without a loss."""

from collections.abc import Callable
from typing import Any

import pytest

from grantbook.model.errors import GrantWouldBeDemoted, LastOwner, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import EVERYONE, Entity, Principal
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import entities, members, roles, rule_access_rights, rule_permissions, rules
from grantbook.service.desk import SYSTEM
from grantbook.service.entities import Draft
from grantbook.service.entity_lists import Part
from grantbook.service.rule_permissions import Permission
from grantbook.service.rules import Filters, RuleFields
from tests.service.office import ADMIN, EDITOR, LOW, OTHER, OWNER, PLAIN, RULE, STRANGER, TOP, Office
from tests.worlds import NOW, ORGANIZATION, deposit, grant, nothing_happens, user

PEOPLE = (OWNER, ADMIN, PLAIN, OTHER)


def _allow(office: Office, who: str, *capabilities: str) -> None:
    office.do(OWNER, roles.create, name="Some", role_id="role_some", capabilities=capabilities)
    office.do(OWNER, members.assign_role, "role_some", who)


def _permit(office: Office, target: Principal, level: str) -> None:
    wanted = Permission(target=target, access_level=level)
    office.do(SYSTEM, rule_permissions.grant_permission, RULE.id, wanted)


def _update(office: Office, who: str = OWNER, **values: Any) -> Entity:
    return office.do(who, rules.update, RULE.id, RuleFields(**values)).entity


def _rights(office: Office, who: str = OWNER) -> dict[str, str]:
    return {right.user_id: right.access_level for right in office.ask(who, rule_access_rights.list_rights, RULE.id)}


def _give(office: Office, user_id: str, right: str, who: str = OWNER) -> None:
    office.do(who, rule_access_rights.give, RULE.id, user_id, right)


def _own(office: Office, owner: Principal) -> None:
    office.register(RULE, owner=owner)


def test_the_version_counts_the_updates_that_change_something(office: Office) -> None:
    assert rules.version_of(_update(office, content="One")) == 2
    sames: list[dict[str, Any]] = [
        {},
        {"content": "One"},
        {"name": f" {RULE.id} "},
        {"is_public": False, "is_active": True},
        {"scope": "organization"},
    ]
    for same in sames:
        with nothing_happens(office.store, ORGANIZATION):
            assert rules.version_of(_update(office, **same)) == 2
    others: list[dict[str, Any]] = [{"name": "New"}, {"is_public": True}, {"is_active": False}, {"category": "safety"}]
    for number, other in enumerate(others):
        before = office.revision
        assert rules.version_of(_update(office, **other)) == 3 + number
        (change,) = office.changes(before)
        assert (change.action, change.subject_type, change.subject_id) == ("updated", "rule", RULE.id)


@pytest.mark.parametrize(
    ("level", "capability", "may"),
    [
        (None, None, (False, False, False)),
        ("use", None, (False, False, False)),
        ("modify", None, (True, True, True)),
        (None, "manage_rules", (True, False, False)),
        (None, "manage_access_control", (True, True, True)),
        (None, "manage_assistants", (False, False, False)),
    ],
)
def test_who_changes_a_rule_shows_it_and_deletes_it(
    office: Office, level: str | None, capability: str | None, may: tuple[bool, ...]
) -> None:
    if level is not None:
        _permit(office, user(PLAIN), level)
    if capability is not None:
        _allow(office, PLAIN, capability)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: _update(office, PLAIN, content="New"),
        lambda: _update(office, PLAIN, is_public=True, content="Newer"),
        lambda: office.do(PLAIN, rules.delete, RULE.id),
    )
    for attempt, is_allowed in zip(attempts, may, strict=True):
        if is_allowed:
            attempt()
            continue
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            attempt()
        assert raised.value.details == {"rule_id": RULE.id}


def test_hiding_a_rule_does_not_open_one_that_was_open_in_another_way(office: Office) -> None:
    office.do(
        SYSTEM, entities.register, Draft(ref=RULE, name="x", owner=user(OWNER), access_mode="private", targets=[PLAIN])
    )
    assert _update(office, is_public=False).access_mode == "private"
    assert office.level(PLAIN, RULE) == "view"
    assert _update(office, is_public=True).access_mode == "public"
    assert _update(office, is_public=False).access_mode == "private"
    assert office.level(PLAIN, RULE) is None


def test_a_copy_takes_what_a_rule_says_and_not_who_reaches_it(office: Office) -> None:
    _permit(office, EVERYONE, "modify")
    _update(office, content="Be kind", is_public=True)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(PLAIN, rules.duplicate, RULE.id, "rule_copy")
    _allow(office, PLAIN, "manage_rules")
    copy = office.do(PLAIN, rules.duplicate, RULE.id, "rule_copy").entity
    assert (copy.owner, copy.access_mode, rules.version_of(copy)) == (user(PLAIN), "private", 1)
    assert copy.attributes["content"] == "Be kind"
    assert (office.level(PLAIN, copy.ref), office.level(OTHER, copy.ref)) == ("modify", None)
    with pytest.raises(NotFound):
        office.do(PLAIN, rules.duplicate, "rule_gone", "rule_other")


def test_a_deleted_rule_that_comes_back_starts_anew(office: Office) -> None:
    _permit(office, user(PLAIN), "use")
    _update(office, content="Old")
    office.do(OWNER, rules.delete, RULE.id)
    assert office.grants() == []
    for use_case in (rules.get, rules.find, rule_permissions.list_permissions, rule_access_rights.list_rights):
        with pytest.raises(NotFound):
            office.ask(OWNER, use_case, RULE.id)
    made = office.do(ADMIN, rules.create, RuleFields(name="New", content="New"), RULE.id).entity
    assert (rules.version_of(made), office.level(PLAIN, RULE), office.level(OTHER, RULE)) == (1, None, None)


def test_rules_that_never_got_an_attribute_are_found_by_its_default(office: Office) -> None:
    for values in ({}, {"rule_type": "behavior"}, {"scope": "organization", "is_active": True}, {"is_public": False}):
        page = office.ask(OWNER, rules.list_rules, Part(), Filters(**values))
        assert [entity.ref for entity in page.items] == [RULE]
    for values in ({"rule_type": "context"}, {"scope": "user"}, {"is_active": False}, {"category": "safety"}):
        assert office.ask(OWNER, rules.list_rules, Part(), Filters(**values)).items == []


def test_public_rules_are_for_members(office: Office) -> None:
    _update(office, is_public=True)
    assert office.ask(PLAIN, rules.list_public_rules, Part(), Filters()).total == 1
    for who in (STRANGER, "usr_9"):
        with pytest.raises(PermissionDenied):
            office.ask(who, rules.list_public_rules, Part(), Filters())


# The older access rights


def test_the_older_words_read_and_write_the_same_grants(office: Office) -> None:
    for level, word in (("view", "view"), ("use", "edit"), ("modify", "edit")):
        wanted = [Permission(target=user(PLAIN), access_level=level)]
        office.do(OWNER, rule_permissions.replace_permissions, RULE.id, wanted)
        assert _rights(office) == {OWNER: "owner", PLAIN: word}
    _permit(office, EDITOR, "modify")
    _permit(office, EVERYONE, "view")
    _permit(office, user(OWNER), "view")
    assert _rights(office) == {OWNER: "owner", PLAIN: "edit"}
    office.do(OWNER, rule_access_rights.change, RULE.id, PLAIN, "view")
    assert office.level(PLAIN, RULE) == "view"
    office.do(OWNER, rule_access_rights.take, RULE.id, PLAIN)
    assert _rights(office) == {OWNER: "owner"}


def test_an_expired_right_is_none(office: Office) -> None:
    deposit(office.store, ORGANIZATION, [grant(RULE, user(PLAIN), "modify", id="grant_old", expires_at=NOW)])
    assert _rights(office) == {OWNER: "owner"}
    for attempt in (
        lambda: office.do(OWNER, rule_access_rights.take, RULE.id, PLAIN),
        lambda: office.do(OWNER, rule_access_rights.change, RULE.id, PLAIN, "view"),
        lambda: office.do(OWNER, rule_access_rights.change, RULE.id, PLAIN, "owner"),
    ):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
            attempt()
    _give(office, PLAIN, "view")
    assert office.level(PLAIN, RULE) == "view"


def test_giving_never_lowers_and_the_owner_is_never_lost(office: Office) -> None:
    _give(office, PLAIN, "edit")
    for user_id, right, error in (
        (PLAIN, "view", GrantWouldBeDemoted),
        (OWNER, "edit", GrantWouldBeDemoted),
        (OWNER, "view", GrantWouldBeDemoted),
        ("usr_9", "view", NotFound),
        ("usr_9", "owner", NotFound),
        ("x", "view", ValidationFailed),
        (PLAIN, "modify", ValidationFailed),
    ):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(error):
            _give(office, user_id, right)
    for attempt in (
        lambda: office.do(OWNER, rule_access_rights.change, RULE.id, OWNER, "edit"),
        lambda: office.do(PLAIN, rule_access_rights.take, RULE.id, OWNER),
    ):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(LastOwner):
            attempt()
    with nothing_happens(office.store, ORGANIZATION):
        _give(office, OWNER, "owner")
        _give(office, PLAIN, "edit")


@pytest.mark.parametrize(
    "owner", [user(OWNER), Principal("department", TOP.id), Principal("organization", ORGANIZATION)]
)
@pytest.mark.parametrize("before", [None, "view", "modify"])
def test_handing_a_rule_over_takes_nothing_from_anybody(office: Office, owner: Principal, before: str | None) -> None:
    _own(office, owner)
    if before is not None:
        _permit(office, owner, before)
    _permit(office, user(OTHER), "view")
    rank = BUILT_IN.entity_type("rule").rank

    def ranks() -> list[int]:
        return [-1 if (level := office.level(who, RULE)) is None else rank(level) for who in PEOPLE]

    had = ranks()
    revision = office.revision
    _give(office, OTHER, "owner", ADMIN)
    assert office.revision == revision + 1
    assert all(now >= then for then, now in zip(had, ranks(), strict=True))
    assert _rights(office, OTHER)[OTHER] == "owner"
    assert office.level(OTHER, RULE) == "modify"


def test_only_an_owner_at_the_top_hands_a_rule_over(office: Office) -> None:
    """Neither one who may modify it, nor a member of a department that owns it at a lower level."""
    _permit(office, user(PLAIN), "modify")
    for user_id in (PLAIN, OTHER):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied) as raised:
            _give(office, user_id, "owner", PLAIN)
        assert raised.value.details == {"rule_id": RULE.id}
    _own(office, Principal("department", LOW.id))
    assert office.level(PLAIN, RULE) == "modify"
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        _give(office, PLAIN, "owner", PLAIN)
    office.do(SYSTEM, rule_permissions.replace_permissions, RULE.id, [])
    assert office.level(PLAIN, RULE) == "use"
    for right in ("owner", "edit"):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            _give(office, PLAIN, right, PLAIN)


@pytest.mark.parametrize("state", ["pending_invitation", "deactivated"])
def test_only_an_active_member_becomes_the_owner(office: Office, state: str) -> None:
    office.invite("usr_new", active=False)
    if state == "deactivated":
        office.do(OWNER, members.set_state, "usr_new", "active")
        office.do(OWNER, members.set_state, "usr_new", state)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        _give(office, "usr_new", "owner")
    assert raised.value.details["field"] == "user_id"
    _give(office, "usr_new", "edit")


def test_rights_are_told_to_who_may_view_and_changed_by_who_may_modify(office: Office) -> None:
    for level in (None, "view", "use"):
        if level is not None:
            _permit(office, user(PLAIN), level)
            assert PLAIN in _rights(office, PLAIN)
        else:
            with pytest.raises(PermissionDenied):
                _rights(office, PLAIN)
        for attempt in (
            lambda: _give(office, PLAIN, "edit", PLAIN),
            lambda: office.do(PLAIN, rule_access_rights.change, RULE.id, PLAIN, "edit"),
            lambda: office.do(PLAIN, rule_access_rights.take, RULE.id, PLAIN),
        ):
            with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
                attempt()
    _permit(office, user(PLAIN), "modify")
    _give(office, OTHER, "view", PLAIN)
    assert _rights(office, OTHER) == {OWNER: "owner", PLAIN: "edit", OTHER: "view"}
