"""Effective access by hand: one small organization, one question at a time.

    engineering (dept_top)          kslice_all  holds  kslice_team  holds  vs_notes
      platform (dept_mid)
        storage (dept_low)

usr_ada is in storage; usr_bob is in engineering; usr_eve is nowhere; usr_gone has left.
"""

from collections.abc import Callable
from itertools import pairwise

import pytest

from grantbook.model.errors import LimitExceeded, ValidationFailed
from grantbook.model.facts import EVERYONE, EntityRef, Fact, Facts, Grant, Principal
from grantbook.model.limits import MAX_CONTAINMENT_DEPTH, MAX_DEPARTMENT_DEPTH
from grantbook.model.resolution import OVERRIDE, Access, access, line_of, paths, principals, reach
from grantbook.model.vocabulary import BUILT_IN
from tests.worlds import (
    DAY,
    MILLISECOND,
    NOW,
    ORGANIZATION,
    assigned,
    contains,
    department,
    entity,
    grant,
    joined,
    member,
    role,
    target,
    user,
)

ALL, TEAM = EntityRef("knowledge_slice", "kslice_all"), EntityRef("knowledge_slice", "kslice_team")
NOTES, RULE = EntityRef("vector_store", "vs_notes"), EntityRef("rule", "rule_1")
MEMBERS = Principal("organization", ORGANIZATION)
BASE: list[Fact] = [
    *(member(f"usr_{name}") for name in ("ada", "bob", "eve")),
    department("dept_top"),
    department("dept_mid", "dept_top"),
    department("dept_low", "dept_mid"),
    joined("dept_low", "usr_ada"),
    joined("dept_top", "usr_bob"),
    role("role_editor"),
    assigned("role_editor", "usr_ada"),
    *(entity(ref) for ref in (ALL, TEAM, NOTES, RULE)),
    contains(ALL, TEAM),
    contains(TEAM, NOTES),
]


def _access(facts: list[Fact], user_id: str, ref: EntityRef = NOTES, at: int = NOW) -> Access:
    return access(Facts.of(ORGANIZATION, facts), BUILT_IN, user_id, ref, at)


def _without(*gone: Fact) -> list[Fact]:
    assert all(fact in BASE for fact in gone)
    return [fact for fact in BASE if fact not in gone]


@pytest.mark.parametrize("user_id", ["usr_ada", "usr_bob", "usr_eve", "usr_gone", "", "*"])
@pytest.mark.parametrize("ref", [ALL, NOTES, RULE, EntityRef("vector_store", "vs_unknown")])
def test_without_a_reason_there_is_no_access(user_id: str, ref: EntityRef) -> None:
    assert _access(BASE, user_id, ref) == Access(level=None, paths=())


@pytest.mark.parametrize(
    ("at", "allowed"),
    [
        (NOW - MILLISECOND, False),
        (NOW - 1, False),
        (NOW, True),
        (NOW + 1, True),
        (NOW + DAY - 1, True),
        (NOW + DAY, False),
        (NOW + DAY + 1, False),
        (NOW + DAY + MILLISECOND, False),
    ],
)
def test_a_grant_counts_from_its_start_until_just_before_its_end(at: int, allowed: bool) -> None:
    facts = [*BASE, grant(NOTES, user("usr_ada"), "read", starts_at=NOW, expires_at=NOW + DAY)]
    assert _access(facts, "usr_ada", at=at).level == ("read" if allowed else None)


@pytest.mark.parametrize(("starts_at", "expires_at"), [(NOW, NOW), (NOW, NOW - 1)])
def test_a_window_without_any_time_in_it_cannot_be_made(starts_at: int, expires_at: int) -> None:
    assert grant(NOTES, user("usr_ada"), "read", starts_at=NOW, expires_at=NOW + 1).is_in_force(NOW)
    with pytest.raises(ValidationFailed) as raised:
        grant(NOTES, user("usr_ada"), "read", starts_at=starts_at, expires_at=expires_at)
    assert raised.value.details["field"] == "expires_at"


def test_a_grant_is_expired_at_its_end_and_not_before() -> None:
    ends: Grant = grant(NOTES, user("usr_ada"), "read", expires_at=NOW)
    assert [ends.is_expired(at) for at in (NOW - 1, NOW, NOW + 1)] == [False, True, True]
    assert not grant(NOTES, user("usr_ada"), "read").is_expired(2**62)


def test_an_access_has_no_truth_value() -> None:
    for answer in (_access(BASE, "usr_ada"), _access([*BASE, grant(NOTES, user("usr_ada"), "read")], "usr_ada")):
        with pytest.raises(TypeError, match="no truth value"):
            bool(answer)


def test_a_grant_to_a_department_covers_those_below_it_and_not_those_above() -> None:
    for department_id, ada, bob in [
        ("dept_top", "read", "read"),
        ("dept_mid", "read", None),
        ("dept_low", "read", None),
    ]:
        facts = [*BASE, grant(NOTES, Principal("department", department_id), "read")]
        assert _access(facts, "usr_ada").level == ada
        assert _access(facts, "usr_bob").level == bob
        assert _access(facts, "usr_eve").level is None


def test_a_missing_department_ends_the_line() -> None:
    facts = [*_without(department("dept_mid", "dept_top")), grant(NOTES, Principal("department", "dept_top"), "read")]
    assert _access(facts, "usr_ada").level is None
    assert _access(facts, "usr_bob").level == "read"


def test_a_member_counts_as_every_principal_that_names_them() -> None:
    facts = Facts.of(ORGANIZATION, BASE)
    assert principals(facts, "usr_ada") == {
        user("usr_ada"),
        EVERYONE,
        MEMBERS,
        Principal("role", "role_editor"),
        *(Principal("department", f"dept_{place}") for place in ("top", "mid", "low")),
    }
    assert principals(facts, "usr_gone") == {user("usr_gone"), EVERYONE}


@pytest.mark.parametrize("state", ["active", "pending_invitation", "deactivated"])
def test_only_active_members_reach_what_is_bound_to_the_organization(state: str) -> None:
    """But a rule that is granted to the person, or to everyone, is not bound."""
    facts = [fact for fact in BASE if fact not in (member("usr_ada"), entity(NOTES), entity(RULE))]
    facts += [
        member("usr_ada", state),
        entity(NOTES, owner=user("usr_ada"), mode="organization"),
        entity(RULE, owner=user("usr_ada"), mode="public"),
    ]
    whom = [user("usr_ada"), MEMBERS, Principal("role", "role_editor"), Principal("department", "dept_top"), EVERYONE]
    facts += [grant(NOTES, grantee, "read") for grantee in whom[:-1]] + [
        grant(RULE, grantee, "use") for grantee in whom
    ]
    is_active = state == "active"
    assert _access(facts, "usr_ada").level == ("admin" if is_active else None)
    found = _access(facts, "usr_ada", RULE)
    assert found.level == ("modify" if is_active else "use")
    assert {path.type for path in found.paths} == (
        {"owner", "direct", "department", "role", "organization", "all", "access_mode"}
        if is_active
        else {"direct", "all"}
    )


def test_a_rule_may_be_granted_to_somebody_who_was_never_here() -> None:
    facts = [*BASE, grant(RULE, user("usr_stranger"), "use"), grant(NOTES, user("usr_stranger"), "admin")]
    assert _access(facts, "usr_stranger", RULE).level == "use"
    assert _access(facts, "usr_stranger", NOTES).level is None


def test_a_grant_to_another_organization_reaches_nobody_here() -> None:
    facts = [*BASE, grant(NOTES, Principal("organization", "org_other"), "admin")]
    assert _access(facts, "usr_ada").level is None


def test_a_grant_on_a_container_gives_its_level_on_all_inside_at_any_depth() -> None:
    facts = [*BASE, grant(ALL, user("usr_ada"), "write", id="agrant_1")]
    for ref, through in [(ALL, ()), (TEAM, (ALL,)), (NOTES, (ALL, TEAM))]:
        (path,) = _access(facts, "usr_ada", ref).paths
        assert (path.type, path.access_level, path.grant_id, path.through) == ("direct", "write", "agrant_1", through)


def test_a_grant_on_what_is_inside_gives_nothing_on_its_container() -> None:
    facts = [*BASE, grant(NOTES, user("usr_ada"), "admin")]
    assert _access(facts, "usr_ada", NOTES).level == "admin"
    assert _access(facts, "usr_ada", TEAM).level is None


@pytest.mark.parametrize("archived", [ALL, TEAM, NOTES, None])
def test_an_archived_container_gives_nothing(archived: EntityRef | None) -> None:
    """Neither its own grants, nor those of containers around it."""
    facts = _without(*(entity(ref) for ref in (ALL, TEAM, NOTES)))
    facts += [entity(ref, status="archived" if ref == archived else "active") for ref in (ALL, TEAM, NOTES)]
    facts += [grant(ALL, user("usr_ada"), "read"), grant(TEAM, user("usr_bob"), "read")]
    assert _access(facts, "usr_ada").level == ("read" if archived is None else None)
    assert _access(facts, "usr_bob").level == ("read" if archived in {None, ALL} else None)


def test_a_deleted_container_gives_nothing() -> None:
    given = grant(ALL, user("usr_ada"), "read")
    assert _access([*BASE, given], "usr_ada").level == "read"
    assert _access([*_without(entity(TEAM)), given], "usr_ada").level is None


def test_owning_a_container_or_seeing_it_gives_nothing_on_what_is_inside() -> None:
    facts = [*_without(entity(TEAM)), entity(TEAM, owner=user("usr_ada"), mode="public")]
    assert _access(facts, "usr_ada", TEAM).level == "admin"
    assert _access(facts, "usr_ada", NOTES).level is None


@pytest.mark.parametrize(
    ("owner", "ada", "bob", "eve"),
    [
        (user("usr_ada"), "admin", None, None),
        (Principal("department", "dept_top"), "write", "write", None),
        (Principal("department", "dept_low"), "write", None, None),
        (MEMBERS, "read", "read", "read"),
        (Principal("organization", "org_other"), None, None, None),
    ],
)
def test_ownership_gives_what_the_type_says(owner: Principal, ada: str, bob: str, eve: str) -> None:
    facts = [*_without(entity(NOTES)), entity(NOTES, owner=owner)]
    assert [_access(facts, f"usr_{name}").level for name in ("ada", "bob", "eve", "gone")] == [ada, bob, eve, None]


@pytest.mark.parametrize(
    ("mode", "listed", "ada", "bob", "eve"),
    [
        ("public", [], "read", "read", "read"),
        ("organization", [], "read", "read", "read"),
        ("private", [], None, None, None),
        ("private", [user("usr_eve")], None, None, "read"),
        ("department", [], None, None, None),
        ("department", [Principal("department", "dept_top")], "read", "read", None),
        ("department", [Principal("department", "dept_low"), user("usr_bob")], "read", "read", None),
        ("private", [user("usr_gone")], None, None, None),
    ],
)
def test_the_access_mode_gives_the_lowest_level(
    mode: str, listed: list[Principal], ada: str, bob: str, eve: str
) -> None:
    facts = [*_without(entity(NOTES)), entity(NOTES, mode=mode), *(target(NOTES, whom) for whom in listed)]
    assert [_access(facts, f"usr_{name}").level for name in ("ada", "bob", "eve", "gone")] == [ada, bob, eve, None]


def test_a_role_that_overrides_gives_the_top_level_on_everything() -> None:
    override = role("role_editor", "manage_users", OVERRIDE)
    facts = [*_without(role("role_editor")), override]
    for ref, level in [(NOTES, "admin"), (RULE, "modify")]:
        assert _access(facts, "usr_ada", ref).level == level
        assert _access(facts, "usr_bob", ref).level is None
    assert _access([*BASE, role("role_other", OVERRIDE)], "usr_ada").level is None


def test_the_highest_level_wins_and_paths_come_highest_first_then_by_type_source_and_chain() -> None:
    facts = [
        *_without(entity(NOTES)),
        entity(NOTES, owner=Principal("department", "dept_mid"), mode="organization"),
        grant(NOTES, user("usr_ada"), "read", id="agrant_5"),
        grant(NOTES, Principal("role", "role_editor"), "write", id="agrant_4"),
        grant(NOTES, Principal("department", "dept_top"), "write", id="agrant_3"),
        grant(TEAM, Principal("department", "dept_low"), "write", id="agrant_2"),
        grant(ALL, Principal("department", "dept_low"), "write", id="agrant_1"),
        grant(ALL, MEMBERS, "overwrite", id="agrant_0"),
    ]
    found = _access(facts, "usr_ada")
    assert found.level == "write"
    assert [(path.access_level, path.type, path.source.id, path.grant_id) for path in found.paths] == [
        ("write", "department", "dept_low", "agrant_1"),
        ("write", "department", "dept_low", "agrant_2"),
        ("write", "department", "dept_top", "agrant_3"),
        ("write", "role", "role_editor", "agrant_4"),
        ("write", "owner", "dept_mid", None),
        ("overwrite", "organization", ORGANIZATION, "agrant_0"),
        ("read", "direct", "usr_ada", "agrant_5"),
        ("read", "access_mode", ORGANIZATION, None),
    ]
    assert found.paths == paths(Facts.of(ORGANIZATION, facts), BUILT_IN, "usr_ada", NOTES, NOW)


def test_of_several_ways_through_containers_the_shortest_is_named() -> None:
    facts = [*BASE, contains(ALL, NOTES), grant(ALL, user("usr_ada"), "read")]
    (path,) = _access(facts, "usr_ada").paths
    assert path.through == (ALL,)


def test_an_unknown_type_is_an_error_and_not_a_no() -> None:
    with pytest.raises(ValidationFailed) as raised:
        _access(BASE, "usr_ada", EntityRef("spaceship", "ship_1"))
    assert raised.value.details["field"] == "entity_type"


def test_a_grant_at_a_level_that_there_is_not_gives_nothing() -> None:
    facts = [*BASE, *(grant(NOTES, user("usr_ada"), level, id=f"agrant_{level}") for level in ("owner", "read"))]
    assert [path.grant_id for path in _access(facts, "usr_ada").paths] == ["agrant_read"]
    assert _access(facts[:-1], "usr_ada").level is None


RINGS: dict[str, tuple[list[Fact], Callable[[list[Fact]], object]]] = {
    "containers": ([contains(NOTES, ALL)], lambda facts: set(reach(Facts.of(ORGANIZATION, facts), NOTES))),
    "itself": ([contains(NOTES, NOTES)], lambda facts: set(reach(Facts.of(ORGANIZATION, facts), NOTES))),
}


@pytest.mark.parametrize(("ring", "ask"), RINGS.values(), ids=RINGS)
def test_a_cycle_of_containers_does_not_hang(ring: list[Fact], ask: Callable[[list[Fact]], object]) -> None:
    facts = [*BASE, *ring, grant(ALL, user("usr_ada"), "read")]
    assert ask(facts) == {ALL, TEAM, NOTES}
    assert _access(facts, "usr_ada").level == "read"


def test_a_cycle_of_departments_does_not_hang() -> None:
    facts = [*_without(department("dept_top")), department("dept_top", "dept_low")]
    assert sorted(line_of(Facts.of(ORGANIZATION, facts), "dept_mid")) == ["dept_low", "dept_mid", "dept_top"]
    given = grant(NOTES, Principal("department", "dept_low"), "read")
    assert _access([*facts, given], "usr_bob").level == "read"


@pytest.mark.parametrize("depth", [MAX_CONTAINMENT_DEPTH, MAX_CONTAINMENT_DEPTH + 1])
def test_too_deep_a_nest_is_an_error_and_not_a_no(depth: int) -> None:
    nest = [EntityRef("knowledge_slice", f"kslice_{number}") for number in range(depth)] + [NOTES]
    facts = [member("usr_ada"), *(entity(ref) for ref in nest), grant(nest[0], user("usr_ada"), "read")]
    facts += [contains(outer, inner) for outer, inner in pairwise(nest)]
    if depth <= MAX_CONTAINMENT_DEPTH:
        assert _access(facts, "usr_ada").level == "read"
        return
    with pytest.raises(LimitExceeded) as raised:
        _access(facts, "usr_ada")
    assert raised.value.details == {"limit": "containment_depth", "maximum": MAX_CONTAINMENT_DEPTH}


@pytest.mark.parametrize("depth", [MAX_DEPARTMENT_DEPTH, MAX_DEPARTMENT_DEPTH + 1])
def test_too_deep_a_department_is_an_error_and_not_a_no(depth: int) -> None:
    line = [department("dept_0"), *(department(f"dept_{n}", f"dept_{n - 1}") for n in range(1, depth))]
    facts = [member("usr_ada"), entity(NOTES), *line, joined(f"dept_{depth - 1}", "usr_ada")]
    facts.append(grant(NOTES, Principal("department", "dept_0"), "read"))
    if depth <= MAX_DEPARTMENT_DEPTH:
        assert _access(facts, "usr_ada").level == "read"
        return
    with pytest.raises(LimitExceeded) as raised:
        _access(facts, "usr_ada")
    assert raised.value.details == {"limit": "department_depth", "maximum": MAX_DEPARTMENT_DEPTH}
