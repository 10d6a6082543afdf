"""Questions: answered alone as in a batch, about whom one may ask, from the state and the rights that count."""

from functools import partial

import pytest

from grantbook.model.errors import (
    GrantbookError,
    NotFound,
    OrganizationAccessDenied,
    PermissionDenied,
    RevisionNotReached,
    ValidationFailed,
)
from grantbook.model.facts import EVERYONE, EntityRef
from grantbook.service import decisions, entities, gates, grants, members, overview, rule_permissions
from grantbook.service.decisions import Check, Decision
from grantbook.service.desk import SYSTEM, Caller, token_of
from grantbook.service.grants import NewGrant
from grantbook.service.rule_permissions import Permission
from tests.service.office import ADMIN, BOT, LOW, NOTES, OTHER, OWNER, PLAIN, RULE, STRANGER, TEAM, TOP, Office
from tests.worlds import DAY, MILLISECOND, NOW, ORGANIZATION, deposit, member, user


def _check(user_id: str = PLAIN, ref: EntityRef = NOTES, level: str = "read") -> Check:
    return Check(user_id=user_id, entity=ref, access_level=level)


def _allowed(office: Office, question: Check, who: str | Caller = SYSTEM) -> bool:
    return office.ask(who, decisions.check, question).allowed


def test_a_decision_has_no_truth_value(office: Office) -> None:
    office.give(NOTES, user(PLAIN), "read")
    for level, allowed in [("read", True), ("write", False)]:
        decision = office.ask(SYSTEM, decisions.check, _check(level=level))
        assert decision.allowed is allowed
        with pytest.raises(TypeError, match=r"read \.allowed"):
            bool(decision)


@pytest.mark.parametrize("granted", ["read", "add_new", "overwrite", "write", "admin"])
def test_a_level_includes_those_below_it(office: Office, granted: str) -> None:
    office.give(NOTES, user(PLAIN), granted)
    ladder = ("read", "add_new", "overwrite", "write", "admin")
    answers = [office.ask(SYSTEM, decisions.check, _check(level=level)) for level in ladder]
    assert [answer.allowed for answer in answers] == [ladder.index(level) <= ladder.index(granted) for level in ladder]
    assert {answer.access_level for answer in answers} == {granted}
    assert {answer.revision for answer in answers} == {office.revision}


BAD: list[tuple[Check, type[GrantbookError]]] = [
    (_check("usr_9"), NotFound),
    (_check("nobody"), ValidationFailed),
    (_check(""), ValidationFailed),
    (_check(ref=EntityRef("vector_store", "vs_9")), NotFound),
    (_check(ref=EntityRef("assistant", NOTES.id)), NotFound),
    (_check(ref=EntityRef("vector_store", "")), ValidationFailed),
    (_check(ref=EntityRef("spaceship", "ship_1")), ValidationFailed),
    (_check(level="own"), ValidationFailed),
    (_check(level="modify"), ValidationFailed),
    (_check(ref=RULE, level="read"), ValidationFailed),
]


@pytest.mark.parametrize(("bad", "error"), BAD)
def test_a_question_about_nobody_or_nothing_is_an_error_and_never_an_answer(
    office: Office, bad: Check, error: type[GrantbookError]
) -> None:
    with pytest.raises(error):
        office.ask(SYSTEM, decisions.check, bad)
    with pytest.raises(error):
        office.ask(SYSTEM, decisions.explain, bad)


def test_one_bad_question_does_not_spoil_the_others(office: Office) -> None:
    office.give(NOTES, user(PLAIN), "read")
    good = [_check(), _check(OTHER), _check(level="write"), _check(OWNER, level="admin"), _check()]
    mixed = [good[0], *(bad for bad, _ in BAD), *good[1:]]
    answers = office.ask(SYSTEM, decisions.check_many, mixed)
    assert [type(answer) for answer in answers[1 : 1 + len(BAD)]] == [error for _, error in BAD]
    rest = [answers[0], *answers[1 + len(BAD) :]]
    assert rest == [office.ask(SYSTEM, decisions.check, question) for question in good]
    assert [isinstance(answer, Decision) and answer.allowed for answer in rest] == [True, False, False, True, True]


def test_a_batch_of_nothing_is_answered_by_nothing(office: Office) -> None:
    assert office.ask(SYSTEM, decisions.check_many, []) == []


@pytest.mark.parametrize(
    ("who", "others"),
    [
        (SYSTEM, True),
        (OWNER, True),
        (ADMIN, True),
        (Caller(user_id=PLAIN, scopes=("check",)), True),
        (PLAIN, False),
        (Caller(user_id=PLAIN, scopes=("read", "write")), False),
        (Caller(user_id=PLAIN, scopes=()), False),
    ],
)
def test_people_ask_about_themselves_and_only_some_about_others(
    office: Office, who: str | Caller, others: bool
) -> None:
    office.give(NOTES, LOW, "read")
    assert _allowed(office, _check(PLAIN), who)
    assert list(office.ask(who, decisions.entities_of, PLAIN))[:1] == [NOTES]
    if others:
        assert not _allowed(office, _check(OTHER), who)
        assert office.ask(who, decisions.entities_of, OTHER) == {}
        assert PLAIN in office.ask(who, decisions.users_of, NOTES)
        return
    for attempt in (
        lambda: office.ask(who, decisions.check, _check(OTHER)),
        lambda: office.ask(who, decisions.entities_of, OTHER),
        lambda: office.ask(who, decisions.users_of, NOTES),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


def test_who_administers_an_entity_may_ask_who_reaches_it(office: Office) -> None:
    office.give(NOTES, user(PLAIN), "admin")
    assert office.ask(PLAIN, decisions.users_of, NOTES)[PLAIN].level == "admin"
    with pytest.raises(PermissionDenied):
        office.ask(PLAIN, decisions.users_of, TEAM)


def test_a_user_of_another_organization_is_known_here_only_where_a_grant_names_them(office: Office) -> None:
    """Otherwise a check would tell who has an account on the platform."""
    deposit(office.store, "org_elsewhere", [member(STRANGER)])
    with pytest.raises(NotFound):
        office.ask(SYSTEM, decisions.check, _check(STRANGER, RULE, "view"))
    with pytest.raises(NotFound):
        office.ask(SYSTEM, decisions.entities_of, STRANGER)
    wanted = Permission(target=user(STRANGER), access_level="use")
    office.do(OWNER, rule_permissions.grant_permission, RULE.id, wanted)
    assert _allowed(office, _check(STRANGER, RULE, "view"))
    assert not _allowed(office, _check(STRANGER, NOTES))
    assert office.ask(SYSTEM, decisions.entities_of, STRANGER).keys() == {RULE}


def test_explaining_names_every_path_and_nothing_to_remedy_when_it_is_allowed(office: Office) -> None:
    direct, through = office.give(NOTES, user(PLAIN), "read"), office.give(NOTES, TOP, "write")
    decision = office.ask(SYSTEM, decisions.explain, _check())
    assert decision.allowed
    assert [path.grant_id for path in decision.paths] == [through.id, direct.id]
    assert decision.remedies == ()


def _remedies(office: Office, question: Check) -> list[str]:
    decision = office.ask(SYSTEM, decisions.explain, question)
    assert not decision.allowed
    return [remedy["action"] for remedy in decision.remedies]


def test_explaining_a_no_names_what_would_change_it_and_it_does(office: Office) -> None:
    assert _remedies(office, _check()) == ["create_grant"]
    grant = office.give(NOTES, user(PLAIN), "read")
    assert _remedies(office, _check(level="write")) == ["raise_grant"]
    office.do(SYSTEM, grants.update, grant.id, "write")
    assert _allowed(office, _check(level="write"))
    office.do(SYSTEM, members.set_state, PLAIN, "deactivated")
    assert _remedies(office, _check(level="write")) == ["reactivate_user"]
    office.do(SYSTEM, members.set_state, PLAIN, "active")
    assert _allowed(office, _check(level="write"))
    office.do(SYSTEM, entities.set_status, NOTES, "archived")
    assert _remedies(office, _check(level="write")) == ["unarchive_entity"]
    office.do(SYSTEM, entities.set_status, NOTES, "active")
    assert _allowed(office, _check(level="write"))


def test_a_grant_that_has_not_begun_can_begin_earlier(office: Office) -> None:
    new = grants.NewGrant(grantee=user(PLAIN), access_level="read", starts_at=NOW + DAY)
    office.do(OWNER, grants.create, NOTES, new)
    assert _remedies(office, _check()) == ["start_grant_earlier"]
    office.clock.advance(DAY)
    assert _allowed(office, _check())


def test_a_question_about_the_past_is_answered_from_the_past(office: Office) -> None:
    office.clock.advance(DAY)
    grant = office.give(NOTES, user(PLAIN), "read")
    office.clock.advance(DAY)
    office.do(OWNER, grants.revoke, grant.id)
    office.clock.advance(DAY)
    answers = []
    for at in (NOW, NOW + DAY - 1, NOW + DAY, NOW + 2 * DAY - 1, NOW + 2 * DAY, NOW + 3 * DAY):
        with office.desk.reading(ORGANIZATION, SYSTEM, as_of=at) as reading:
            answers.append(decisions.check(reading, _check()).allowed)
    assert answers == [False, False, True, True, False, False]


def test_a_question_about_the_past_is_asked_with_the_rights_of_the_present(office: Office) -> None:
    """Who was an admin then, and is not any more, sees nothing of it; who is one now sees it."""
    office.clock.advance(DAY)
    office.do(OWNER, members.unassign_role, office.base_role("Admin"), ADMIN)
    office.do(OWNER, members.assign_role, office.base_role("Admin"), PLAIN)
    office.clock.advance(DAY)
    with office.desk.reading(ORGANIZATION, Caller(user_id=PLAIN), as_of=NOW) as reading:
        assert decisions.check(reading, _check(OWNER, level="admin")).allowed
        assert not decisions.check(reading, _check(PLAIN)).allowed
        assert decisions.check(reading, _check(ADMIN)).allowed
    with (
        office.desk.reading(ORGANIZATION, Caller(user_id=ADMIN), as_of=NOW) as reading,
        pytest.raises(PermissionDenied),
    ):
        decisions.check(reading, _check(OWNER))


def test_levels_that_one_had_in_the_past_open_nothing_of_it_either(office: Office) -> None:
    """Not those of capabilities alone: usr_plain administered the entity then, usr_other does now."""
    then = office.give(NOTES, user(PLAIN), "admin")
    office.clock.advance(DAY)
    office.do(OWNER, grants.revoke, then.id)
    office.give(NOTES, user(OTHER), "admin")
    with office.desk.reading(ORGANIZATION, Caller(user_id=OTHER), as_of=NOW) as reading:
        found = decisions.users_of(reading, NOTES)
        assert found[PLAIN].level == "admin"
        assert OTHER not in found
    with (
        office.desk.reading(ORGANIZATION, Caller(user_id=PLAIN), as_of=NOW) as reading,
        pytest.raises(PermissionDenied),
    ):
        decisions.users_of(reading, NOTES)


@pytest.mark.parametrize("who", [STRANGER, PLAIN, "usr_invited"])
def test_only_active_members_come_in(office: Office, who: str) -> None:
    office.invite("usr_invited", active=False)
    office.do(OWNER, members.set_state, PLAIN, "deactivated")
    with pytest.raises(OrganizationAccessDenied):
        office.ask(who, gates.require_membership)
    office.ask(OTHER, gates.require_membership)
    with office.desk.reading("org_unknown", SYSTEM) as reading, pytest.raises(OrganizationAccessDenied):
        gates.require_membership(reading)


def test_a_read_may_ask_for_at_least_a_revision(office: Office) -> None:
    for ahead in (-1, 0):
        token = token_of(ORGANIZATION, office.revision + ahead)
        with office.desk.reading(ORGANIZATION, SYSTEM, at_least=token) as reading:
            assert reading.snapshot.revision == office.revision
    with (
        pytest.raises(RevisionNotReached) as raised,
        office.desk.reading(ORGANIZATION, SYSTEM, at_least=token_of(ORGANIZATION, office.revision + 1)),
    ):
        pass
    assert raised.value.details == {"revision": office.revision + 1}


@pytest.mark.parametrize(
    "token", ["", "7", "org_2.7", "org_1.", "org_1.-1", "org_1.x", "org_1.7.7", "org_1.\u0667", "org_1." + "9" * 19]
)
def test_a_token_of_something_else_is_refused(office: Office, token: str) -> None:
    with pytest.raises(ValidationFailed), office.desk.reading(ORGANIZATION, SYSTEM, at_least=token):
        pass


def test_the_overview_shows_admins_everything_and_others_what_they_reach(office: Office) -> None:
    office.register(NOTES, containers=[TEAM])
    to_team, to_bot = office.give(TEAM, user(PLAIN), "read"), office.give(BOT, user(PLAIN), "read")
    office.give(TEAM, user(OTHER), "write")
    of = partial(overview.overview, office.desk)
    all_of_it = office.ask(ADMIN, of)
    assert all_of_it.can_view_all
    assert [entity.ref for entity in (*all_of_it.slices, *all_of_it.stores)] == [TEAM, NOTES]
    assert len(list(all_of_it.grants)) == 2
    assert [(edge.container, edge.member) for edge in all_of_it.stores_inside] == [(TEAM, NOTES)]
    assert all_of_it.admin_user_ids == [ADMIN, OWNER]
    assert {ADMIN, OWNER, PLAIN} <= set(all_of_it.member_ids)
    mine = office.ask(PLAIN, of)
    assert not mine.can_view_all
    assert [entity.ref for entity in (*mine.slices, *mine.stores)] == [TEAM, NOTES]
    assert [grant.id for grant in mine.grants] == [to_team.id]
    assert to_bot.id not in {grant.id for grant in mine.grants}
    assert mine.member_ids == [PLAIN]
    assert office.ask(STRANGER, of).slices == []


@pytest.mark.parametrize("who", [ADMIN, PLAIN])
def test_the_overview_has_the_grants_that_are_in_force(office: Office, who: str) -> None:
    """To everybody alike, and to the very millisecond: nothing in it says when a grant begins or ends."""
    now = office.give(TEAM, user(PLAIN), "read", expires_at=NOW + DAY)
    later = NewGrant(grantee=user(PLAIN), access_level="read", starts_at=NOW + DAY)
    coming, _ = office.do(OWNER, grants.create, NOTES, later)

    def shown() -> list[str]:
        return [grant.id for grant in office.ask(who, partial(overview.overview, office.desk)).grants]

    assert shown() == [now.id]
    office.clock.advance(DAY - MILLISECOND)
    assert shown() == [now.id]
    office.clock.advance(MILLISECOND)
    assert shown() == [coming.id]


def test_the_overview_is_of_the_revision_that_it_began_at(office: Office) -> None:
    office.give(TEAM, user(PLAIN), "read")
    begun = office.ask(ADMIN, partial(overview.overview, office.desk))
    office.give(TEAM, user(OTHER), "write")
    assert [grant.grantee for grant in begun.grants] == [user(PLAIN)]


def test_everybody_known_here_counts_for_a_rule_for_everyone(office: Office) -> None:
    wanted = Permission(target=EVERYONE, access_level="view")
    office.do(OWNER, rule_permissions.grant_permission, RULE.id, wanted)
    office.do(OWNER, members.set_state, PLAIN, "deactivated")
    assert _allowed(office, _check(PLAIN, RULE, "view"))
    assert not _allowed(office, _check(PLAIN, RULE, "use"))
