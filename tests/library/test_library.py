"""The book inside an application: every method of it, on each kind of database."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

from grantbook import (
    Access,
    Check,
    Conflict,
    Decision,
    EntityRef,
    Grantbook,
    GrantbookError,
    NewGrant,
    NotFound,
    OrganizationAccessDenied,
    OrganizationBook,
    Permission,
    PermissionDenied,
    Principal,
    ValidationFailed,
)
from grantbook.model.errors import ConfigurationError
from grantbook.model.instants import from_datetime
from tests.http.inprocess import client_of
from tests.library.world import ASSISTANT, BOT, RULE, SLICE, STORE, TIME, Watch, may, opened


def test_every_method_is_called_here() -> None:
    source = "".join(each.read_text() for each in Path(__file__).parent.glob("test_*.py"))
    for each in (Grantbook, OrganizationBook):
        for name, _ in inspect.getmembers(each, callable):
            assert name.startswith("_") or re.search(rf"\.{name}\(", source), name


# Organizations


def test_organizations_are_made_and_found_again(book: Grantbook) -> None:
    acme = book.create_organization(
        "Acme", owner_email="ada@acme.example", owner_name="Ada", organization_id="org_acme"
    )
    other = book.create_organization("Other", owner_email="ada@acme.example")
    assert book.organization_ids() == sorted([acme.id, other.id])
    again = book.organization("org_acme")
    assert (again.id, again.organization.name, again.owner_id) == ("org_acme", "Acme", acme.owner_id)
    assert acme.get_member(acme.owner_id).member.full_name == "Ada"
    with pytest.raises(Conflict):
        book.create_organization("Again", owner_email="ada@acme.example", organization_id="org_acme")
    with pytest.raises(ValidationFailed, match="email"):
        book.create_organization("Again", owner_email="nobody")


def test_an_organization_is_not_opened_for_strangers(book: Grantbook, acme: OrganizationBook) -> None:
    other = book.create_organization("Other", owner_email="mallory@other.example", owner_id="usr_mallory")
    with pytest.raises(OrganizationAccessDenied):
        book.organization("org_gone")
    with pytest.raises(OrganizationAccessDenied):
        book.organization(acme.id, acting_as=other.owner_id)
    with pytest.raises(NotFound):
        other.check("usr_mallory", "read", *BOT)


def test_what_a_process_wrote_is_there_for_the_next(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/book.db"
    with Grantbook(database) as book:
        acme = book.create_organization("Acme", owner_email="ada@acme.example")
        acme.register_entity(*BOT, name="Bot", owner=("user", acme.owner_id))
    with Grantbook(database, cache_mb=0) as book:
        assert may(book.organization(acme.id), acme.owner_id, "admin")


# Decisions


def test_a_check_tells_the_level(book: Grantbook, acme: OrganizationBook) -> None:
    denied = acme.check("usr_bob", "read", *BOT)
    assert (denied.allowed, denied.access_level) == (False, None)
    acme.create_grant(*BOT, ("user", "usr_bob"), "write")
    for asked in (acme, *(book.organization(acme.id, acting_as=each) for each in ("usr_bob", "usr_ada"))):
        assert [may(asked, "usr_bob", level) for level in ("read", "write", "admin")] == [True, True, False]
        assert asked.check("usr_bob", "admin", *BOT).access_level == "write"
    with pytest.raises(PermissionDenied):
        book.organization(acme.id, acting_as="usr_bob").check("usr_eve", "read", *BOT)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (("usr_gone", "read", *BOT), NotFound, "usr_gone"),
        (("usr_bob", "read", ASSISTANT, "asst_gone"), NotFound, "asst_gone"),
        (("usr_bob", "reed", *BOT), ValidationFailed, "access_level"),
        (("usr_bob", "read", "asistant", "asst_bot"), ValidationFailed, "entity_type"),
        (("Bob", "read", *BOT), ValidationFailed, "user_id"),
    ],
)
def test_what_cannot_be_asked_is_told(
    acme: OrganizationBook, asked: tuple[str, str, str, str], error: type[GrantbookError], said: str
) -> None:
    question = Check(user_id=asked[0], access_level=asked[1], entity=EntityRef(*asked[2:]))
    (answer,) = acme.check_many([question])
    assert isinstance(answer, error)
    assert said in str(answer)
    for ask in (acme.check, acme.explain):
        with pytest.raises(error, match=said):
            ask(*asked)


def test_many_are_answered_in_order(book: Grantbook, acme: OrganizationBook) -> None:
    acme.create_grant(*BOT, ("user", "usr_bob"), "read")
    questions = [
        Check(user_id=user_id, access_level="read", entity=EntityRef(*BOT))
        for user_id in ("usr_bob", "usr_gone", "usr_eve", "usr_bob")
    ]
    for asked in (acme, book.organization(acme.id, acting_as="usr_ada")):
        answers = asked.check_many(questions)
        assert isinstance(answers[1], NotFound)
        assert [getattr(each, "allowed", None) for each in answers] == [True, None, False, True]


def test_an_explanation_has_the_paths_and_what_would_help(acme: OrganizationBook) -> None:
    department = acme.create_department("Support", department_id="dept_support")
    acme.update_memberships("usr_bob", role_ids=(), department_ids=[department.id])
    grant = acme.create_grant(*BOT, ("department", department.id), "read")
    found = acme.explain("usr_bob", "read", *BOT)
    assert [(each.type, each.source, each.grant_id) for each in found.paths] == [
        ("department", Principal("department", department.id), grant.id)
    ]
    denied = acme.explain("usr_bob", "admin", *BOT)
    assert (denied.allowed, denied.access_level) == (False, "read")
    assert denied.remedies
    with pytest.raises(TypeError, match=r"\.allowed"):
        bool(denied)


def test_time_windows_are_by_the_clock_of_the_book(acme: OrganizationBook, watch: Watch) -> None:
    begin, end = TIME + timedelta(hours=1), TIME + timedelta(hours=2)
    acme.create_grant(*BOT, ("user", "usr_bob"), "read", starts_at=begin, expires_at=end, reason="for an hour")
    for watch.now, expected in ((TIME, False), (begin, True), (end, False)):
        assert may(acme, "usr_bob") is expected


def test_the_past_is_answered_from_the_past(acme: OrganizationBook, watch: Watch) -> None:
    grant = acme.create_grant(*BOT, ("user", "usr_bob"), "read")
    then, watch.now = watch.now, TIME + timedelta(days=1)
    acme.revoke_grant(grant.id)
    assert not may(acme, "usr_bob")
    assert may(acme, "usr_bob", as_of=then)
    assert acme.explain("usr_bob", "read", *BOT, as_of=then).paths[0].grant_id == grant.id
    assert "usr_bob" in acme.users_of(*BOT, as_of=then)
    assert list(acme.entities_of("usr_bob", as_of=then, limit=5)) == [EntityRef(*BOT)]
    assert list(acme.entities_of("usr_bob")) == []


@pytest.mark.parametrize("moment", [datetime(2026, 5, 1), "2026-05-01T00:00:00Z", 0])
def test_times_are_datetimes_with_a_zone(acme: OrganizationBook, moment: Any) -> None:
    calls: dict[str, Callable[[], object]] = {
        "as_of": lambda: acme.check("usr_bob", "read", *BOT, as_of=moment),
        "starts_at": lambda: acme.create_grant(*BOT, ("user", "usr_bob"), "read", starts_at=moment),
        "expires_at": lambda: acme.create_api_key("usr_bob", "key", expires_at=moment),
    }
    for field, call in calls.items():
        with pytest.raises(ValidationFailed, match=field):
            call()
    assert acme.list_grants().total == 0


# Lists of what is reached


@pytest.fixture
def many(acme: OrganizationBook) -> list[EntityRef]:
    """What Bob reaches: seven stores, and the bot that everybody does."""
    acme.register_entity(*BOT, name="Bot", owner=("user", "usr_ada"), access_mode="organization")
    refs = [EntityRef(STORE, f"vs_{number}") for number in range(7)]
    for ref in refs:
        acme.register_entity(*ref, name=ref.id, owner=("user", "usr_ada"), access_mode="private")
        acme.create_grant(*ref, ("user", "usr_bob"), "read")
    return [EntityRef(*BOT), *refs]


@pytest.mark.parametrize("who", [None, "usr_bob", "usr_ada"])
def test_what_a_user_reaches_is_whole_or_in_parts(
    book: Grantbook, acme: OrganizationBook, many: list[EntityRef], who: str | None
) -> None:
    asked = opened(book, acme, who)
    whole = asked.entities_of("usr_bob")
    assert list(whole) == many
    assert {each.level for each in whole.values()} == {"read"}
    assert list(asked.entities_of("usr_bob", entity_type=STORE)) == many[1:]
    assert list(asked.entities_of("usr_bob", access_level="write")) == []
    assert list(asked.entities_of("usr_bob", after=many[2])) == many[3:]
    assert parts_of(lambda last: asked.entities_of("usr_bob", after=last, limit=3), 3) == list(whole.items())
    assert asked.entities_of("usr_bob", limit=100_000) == whole


@pytest.mark.parametrize("who", [None, "usr_ada"])
def test_who_reaches_an_entity_is_whole_or_in_parts(
    book: Grantbook, acme: OrganizationBook, many: list[EntityRef], who: str | None
) -> None:
    asked = opened(book, acme, who)
    whole = asked.users_of(*many[0])
    assert list(whole) == ["usr_ada", "usr_bob", "usr_eve"]
    assert list(asked.users_of(*many[0], access_level="admin")) == ["usr_ada"]
    assert parts_of(lambda last: asked.users_of(*many[0], after=last, limit=2), 2) == list(whole.items())
    with pytest.raises(PermissionDenied):
        book.organization(acme.id, acting_as="usr_eve").users_of(*many[1])


@pytest.mark.parametrize("limit", [None, 1])
def test_nothing_is_listed_of_what_is_not_there(acme: OrganizationBook, limit: int | None) -> None:
    with pytest.raises(NotFound, match="usr_gone"):
        acme.entities_of("usr_gone", limit=limit)
    with pytest.raises(NotFound, match="asst_gone"):
        acme.users_of(ASSISTANT, "asst_gone", limit=limit)


def parts_of(ask: Callable[[Any], Any], limit: int) -> list[Any]:
    found: list[Any] = []
    while True:
        part: dict[Any, Access] = ask(found[-1][0] if found else None)
        found += part.items()
        assert len(part) <= limit
        assert len(found) < 20
        if len(part) < limit:
            return found


def test_parts_are_the_same_after_the_server_showed_them(
    book: Grantbook, acme: OrganizationBook, many: list[EntityRef]
) -> None:
    """An application may serve the same book; what was made into text for that is not made again."""
    secret = acme.create_api_key("usr_ada", "key").secret
    expected = acme.entities_of("usr_bob", limit=5), acme.users_of(*BOT, limit=5)
    with client_of(book.desk) as client:
        client.headers["X-API-Key"] = secret
        for _ in range(2):
            entities = client.get(f"/v1/organizations/{acme.id}/access/entities?user_id=usr_bob&limit=4")
            users = client.get(f"/v1/organizations/{acme.id}/access/users?entity_type={BOT[0]}&entity_id={BOT[1]}")
            assert (len(entities.json()["items"]), len(users.json()["items"])) == (4, 3)
    assert (acme.entities_of("usr_bob", limit=5), acme.users_of(*BOT, limit=5)) == expected


@pytest.mark.parametrize("who", [None, "usr_ada"])
def test_no_list_has_such_a_part(book: Grantbook, acme: OrganizationBook, who: str | None) -> None:
    asked = opened(book, acme, who)
    paged: list[Callable[..., object]] = [
        asked.list_grants,
        asked.list_members,
        asked.list_api_keys,
        lambda **part: asked.list_entities(STORE, **part),
    ]
    for ask in paged:
        with pytest.raises(ValidationFailed, match="skip"):
            ask(skip=-1)
    for ask in (
        *paged,
        lambda **part: asked.entities_of("usr_bob", **part),
        lambda **part: asked.users_of(*BOT, **part),
    ):
        with pytest.raises(ValidationFailed, match="limit"):
            ask(limit=0)


@pytest.mark.parametrize(
    ("setting", "value"), [("cache_mb", -1), ("connections", 0), ("staleness_ms", -1), ("database", "grants.db")]
)
def test_a_setting_out_of_bounds_is_refused(setting: str, value: Any) -> None:
    given: dict[str, Any] = {"database": "memory:", setting: value}
    with pytest.raises(ConfigurationError, match=setting):
        Grantbook(**given)


def test_an_organization_is_renamed_and_ends(book: Grantbook, acme: OrganizationBook) -> None:
    bob = book.organization(acme.id, acting_as="usr_bob")
    with pytest.raises(PermissionDenied):
        bob.rename("Bob's")
    with pytest.raises(PermissionDenied):
        bob.delete()
    acme.rename("Acme & Sons")
    assert {each.organization.name for each in (acme, book.organization(acme.id))} == {"Acme & Sons"}
    assert may(acme, "usr_ada")
    acme.delete()
    assert not may(acme, "usr_ada")
    for ended in (bob.list_members, acme.list_members, acme.changes, lambda: book.organization(acme.id)):
        with pytest.raises(OrganizationAccessDenied):
            ended()


# Grants


def test_a_grant_is_made_changed_and_revoked(acme: OrganizationBook, watch: Watch) -> None:
    grant = acme.create_grant(*BOT, ("user", "usr_bob"), "read", reason="on call")
    assert acme.create_grant(*BOT, ("user", "usr_bob"), "read") == grant
    with pytest.raises(Conflict):
        acme.create_grant(*BOT, ("user", "usr_bob"), "write")
    assert acme.get_grant(grant.id) == grant
    assert acme.update_grant(grant.id, "write").access_level == "write"
    end = TIME + timedelta(hours=1)
    assert acme.update_grant(grant.id, expires_at=end).expires_at == from_datetime(end)
    assert may(acme, "usr_bob", "write")
    watch.now = end
    assert not may(acme, "usr_bob")
    assert acme.update_grant(grant.id, expires_at=None).expires_at is None
    assert may(acme, "usr_bob", "write")
    acme.revoke_grant(grant.id)
    assert not may(acme, "usr_bob")
    for gone in (acme.revoke_grant, acme.get_grant):
        with pytest.raises(NotFound, match=grant.id):
            gone(grant.id)


def test_many_grants_are_made_together_or_not_at_all(acme: OrganizationBook) -> None:
    good = [NewGrant(grantee=Principal("user", each), access_level="read") for each in ("usr_bob", "usr_eve")]
    bad = NewGrant(grantee=Principal("user", "usr_gone"), access_level="read")
    with pytest.raises(NotFound, match="usr_gone"):
        acme.create_grants(*BOT, [*good, bad])
    assert acme.list_grants().total == 0
    made = acme.create_grants(*BOT, good)
    assert [each.grantee_id for each in made] == ["usr_bob", "usr_eve"]
    assert acme.list_grants(grantee_type="user", grantee_id="usr_eve").items == made[1:]
    page = acme.list_grants(entity_type=ASSISTANT, entity_id="asst_bot", limit=1)
    assert (len(page.items), page.total, page.has_more) == (1, 2, True)
    rest = acme.list_grants(skip=1)
    assert (len(rest.items), rest.total, rest.has_more) == (1, 2, False)
    assert {each.id for each in page.items + rest.items} == {each.id for each in made}


def test_grants_that_are_made_together_have_windows_of_their_own(acme: OrganizationBook, watch: Watch) -> None:
    end = TIME + timedelta(hours=1)
    new = [
        NewGrant(grantee=("user", "usr_bob"), access_level="read", expires_at=end, reason="on call"),
        NewGrant(grantee=("user", "usr_eve"), access_level="read", starts_at=end),
    ]
    bob, eve = acme.create_grants(*BOT, new)
    assert (bob.expires_at, bob.reason, eve.starts_at) == (from_datetime(end), "on call", from_datetime(end))
    pair: Any = BOT  # a pair is as good as an EntityRef
    questions = [Check(user_id=each, entity=pair, access_level="read") for each in ("usr_bob", "usr_eve")]
    assert [each.allowed for each in acme.check_many(questions) if isinstance(each, Decision)] == [True, False]
    watch.now = end
    assert [each.allowed for each in acme.check_many(questions) if isinstance(each, Decision)] == [False, True]
    with pytest.raises(ValidationFailed, match="grantee must be a type and an id"):
        NewGrant(grantee="usr_bob", access_level="read")  # type: ignore[arg-type]
    with pytest.raises(ValidationFailed, match="expires_at must be a datetime"):
        NewGrant(grantee=("user", "usr_bob"), access_level="read", expires_at=5)  # type: ignore[arg-type]
    with pytest.raises(ValidationFailed, match=r"grants\.1\.access_level"):
        acme.create_grants(*BOT, [replace(new[0], expires_at=None), replace(new[1], access_level="all")])


def test_a_user_may_what_the_user_may(book: Grantbook, acme: OrganizationBook) -> None:
    bob = book.organization(acme.id, acting_as="usr_bob")
    with pytest.raises(PermissionDenied):
        bob.create_grant(*BOT, ("user", "usr_bob"), "admin")
    for history in (bob.changes, bob.verify):
        with pytest.raises(PermissionDenied):
            history()
    grant = acme.create_grant(*BOT, ("user", "usr_bob"), "admin")
    given = bob.create_grant(*BOT, ("user", "usr_eve"), "read")
    assert (grant.granted_by, given.granted_by) == ("system", "usr_bob")
    acme.set_member_state("usr_bob", "deactivated")
    with pytest.raises(GrantbookError):
        bob.revoke_grant(given.id)


@pytest.mark.parametrize("how", ["deactivated", "removed"])
def test_who_is_no_member_any_more_may_nothing(book: Grantbook, acme: OrganizationBook, how: str) -> None:
    """Also where the book was opened before."""
    eve = book.organization(acme.id, acting_as="usr_eve")
    assert eve.list_members().total == 3
    if how == "removed":
        acme.remove_member("usr_eve")
    else:
        acme.set_member_state("usr_eve", "deactivated")
    question = Check(user_id="usr_eve", access_level="read", entity=EntityRef(*BOT))
    calls: list[Callable[[], object]] = [
        lambda: eve.check("usr_eve", "read", *BOT),
        lambda: eve.check_many([question]),
        lambda: eve.explain("usr_eve", "read", *BOT, as_of=TIME),
        lambda: eve.entities_of("usr_eve", limit=1),
        lambda: eve.users_of(*BOT),
        eve.list_grants,
        eve.list_members,
        lambda: eve.get_member("usr_bob"),
        eve.list_departments,
        eve.list_roles,
        eve.list_api_keys,
        lambda: eve.list_entities(ASSISTANT),
        eve.changes,
        eve.verify,
        lambda: eve.create_api_key("usr_eve", "key"),
        lambda: eve.create_department("Mine"),
    ]
    for call in calls:
        with pytest.raises(OrganizationAccessDenied):
            call()


PAIR = "must be a type and an id"
WRONG: Final[dict[str, tuple[Callable[[OrganizationBook, Any], object], tuple[Any, ...], str]]] = {
    "grantee": (
        lambda acme, wrong: acme.create_grant(*BOT, wrong, "read"),
        ("usr_bob", ("usr_bob",), ("user", "usr_bob", "read"), ("user", 3), None),
        PAIR,
    ),
    "target": (lambda acme, wrong: acme.revoke_rule_permission("rule_kind", wrong), ("usr_bob", None), PAIR),
    "owner": (lambda acme, wrong: acme.register_entity(STORE, "vs_1", name="One", owner=wrong), ("usr_ada",), PAIR),
    "after": (lambda acme, wrong: acme.entities_of("usr_bob", after=wrong), ("usr_bob", ("user",)), PAIR),
    "containers": (
        lambda acme, wrong: acme.register_entity(
            STORE, "vs_1", name="One", owner=("user", "usr_ada"), containers=wrong
        ),
        (None, "kslice_x", ["kslice_x"], (SLICE, "kslice_x")),
        "must be several types with ids",
    ),
    "user_id": (lambda acme, wrong: acme.check(wrong, "read", *BOT), (None, 5, UUID(int=1)), "must be a text"),
    "entity_id": (lambda acme, wrong: acme.explain("usr_bob", "read", ASSISTANT, wrong), (None, 5), "must be a text"),
    "as_of": (
        lambda acme, wrong: acme.check("usr_bob", "read", *BOT, as_of=wrong),
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1), 5),
        "must be a datetime with a time zone",
    ),
    "limit": (lambda acme, wrong: acme.list_members(limit=wrong), ("10", 1.5, True, None), "must be a whole number"),
    "after_revision": (lambda acme, wrong: acme.changes(after_revision=wrong), (None, "x"), "must be a whole number"),
    "is_active": (
        lambda acme, wrong: acme.invite_member("x@acme.example", is_active=wrong),
        ("no", 0, None),
        "must be True or False",
    ),
    "role_ids": (
        lambda acme, wrong: acme.invite_member("x@acme.example", role_ids=wrong),
        ("role_x", None, [3]),
        "must be several texts",
    ),
    "capabilities": (
        lambda acme, wrong: acme.update_role("role_x", capabilities=wrong),
        ("manage_users", [None]),
        "must be several texts",
    ),
}


@pytest.mark.parametrize(("field", "odd"), [(field, odd) for field, (_, odds, _) in WRONG.items() for odd in odds])
def test_an_argument_of_another_type_is_named(acme: OrganizationBook, field: str, odd: Any) -> None:
    call, _, told = WRONG[field]
    revision = max(each.revision for each in acme.changes())
    with pytest.raises(ValidationFailed, match=f"{field} {told}") as caught:
        call(acme, odd)
    assert caught.value.details["field"] == field
    assert list(acme.changes(after_revision=revision)) == []


def test_what_is_of_the_type_in_another_way_is_taken(acme: OrganizationBook) -> None:
    class Level(StrEnum):
        READ = "read"

    acme.create_grant(*BOT, Principal("user", "usr_bob"), Level.READ)
    assert acme.check("usr_bob", Level.READ, *BOT).allowed
    assert acme.entities_of("usr_bob", after=None, limit=None)
    assert acme.invite_member("x@acme.example", role_ids=frozenset()).role_ids


@pytest.mark.parametrize("who", [None, "", 5])
def test_somebody_who_is_not_known_does_not_act_as_the_system(
    book: Grantbook, acme: OrganizationBook, who: Any
) -> None:
    with pytest.raises((ValidationFailed, OrganizationAccessDenied)):
        book.organization(acme.id, acting_as=who)


def test_names_are_one_line(acme: OrganizationBook) -> None:
    for odd in ("a\nb", "a\tb", "a\u009bb", "\u202eevil", "a\u2028b", "\u2066a"):
        with pytest.raises(ValidationFailed, match="name must be one line"):
            acme.create_role(odd)
    assert acme.create_role("Ünï \U0001f600 (1/2)").name == "Ünï \U0001f600 (1/2)"


def test_permissions_on_a_rule(acme: OrganizationBook) -> None:
    acme.register_entity(RULE, "rule_kind", name="Be kind", owner=("user", "usr_ada"))
    bob, eve = ("user", "usr_bob"), ("user", "usr_eve")
    acme.grant_rule_permission("rule_kind", bob, "view")
    assert acme.grant_rule_permission("rule_kind", bob, "use").access_level == "use"
    with pytest.raises(Conflict):
        acme.grant_rule_permission("rule_kind", bob, "view")
    replaced = acme.replace_rule_permissions("rule_kind", [Permission(target=Principal(*eve), access_level="modify")])
    assert acme.list_rule_permissions("rule_kind") == replaced
    assert [(each.grantee, each.access_level) for each in replaced] == [(Principal(*eve), "modify")]
    acme.revoke_rule_permission("rule_kind", eve)
    assert acme.list_rule_permissions("rule_kind") == []


# Entities


def test_entities_are_registered_archived_and_deleted(acme: OrganizationBook) -> None:
    acme.register_entity(SLICE, "kslice_team", name="Team", owner=("user", "usr_ada"), access_mode="private")
    made = acme.register_entity(
        STORE,
        "vs_notes",
        name="Notes",
        owner=("user", "usr_ada"),
        access_mode="department",
        access_target_ids=[acme.create_department("Support").id],
        containers=[(SLICE, "kslice_team")],
        attributes={"size": 3},
    )
    assert acme.get_entity(STORE, "vs_notes") == made
    acme.create_grant(SLICE, "kslice_team", ("user", "usr_bob"), "read")
    notes = (STORE, "vs_notes")
    assert may(acme, "usr_bob", "read", notes)
    assert acme.archive_entity(*notes).entity.status == "archived"
    assert not may(acme, "usr_bob", "read", notes)
    assert acme.unarchive_entity(*notes).entity.status == "active"
    assert may(acme, "usr_bob", "read", notes)
    acme.delete_entity(*notes)
    with pytest.raises(NotFound):
        acme.check("usr_bob", "read", *notes)


def test_a_composite_holds_slices(book: Grantbook, acme: OrganizationBook) -> None:
    ada = ("user", "usr_ada")
    for each in ("kslice_a", "kslice_b"):
        acme.register_entity(SLICE, each, name=each, owner=ada, access_mode="private")
    made = acme.create_composite("kslice_all", name="All", owner=ada, member_slice_ids=["kslice_a"])
    assert made.entity.attributes["form"] == "composite"
    acme.create_grant(SLICE, "kslice_all", ("user", "usr_bob"), "read")
    assert [may(acme, "usr_bob", "read", (SLICE, each)) for each in ("kslice_a", "kslice_b")] == [True, False]
    acme.set_composite_members("kslice_all", ["kslice_b"])
    assert [may(acme, "usr_bob", "read", (SLICE, each)) for each in ("kslice_a", "kslice_b")] == [False, True]
    with pytest.raises(ValidationFailed) as caught:
        acme.set_composite_members("kslice_all", ["kslice_all"])
    assert caught.value.details["field"] == "member_slice_ids"
    with pytest.raises(NotFound):
        acme.set_composite_members("kslice_a", ["kslice_b"])
    with pytest.raises(PermissionDenied):
        opened(book, acme, "usr_bob").set_composite_members("kslice_all", [])


def test_entities_are_listed_as_the_caller_sees_them(
    book: Grantbook, acme: OrganizationBook, many: list[EntityRef]
) -> None:
    acme.archive_entity(*many[1])
    page = acme.list_entities(STORE, limit=2)
    assert ([each.id for each in page.items], page.total, page.has_more) == (["vs_0", "vs_1"], 7, True)
    assert [each.id for each in acme.list_entities(STORE, search="VS_3").items] == ["vs_3"]
    bob, eve = (book.organization(acme.id, acting_as=each) for each in ("usr_bob", "usr_eve"))
    assert [each.id for each in bob.list_entities(STORE, skip=1).items] == [each.id for each in many[3:]]
    assert eve.list_entities(STORE).items == []
    assert [each.id for each in eve.list_entities(ASSISTANT).items] == ["asst_bot"]
    with pytest.raises(ValidationFailed, match="entity_type"):
        acme.list_entities("stores")


# History


def test_every_change_is_in_the_history(acme: OrganizationBook) -> None:
    revision = max(each.revision for each in acme.changes())
    grant = acme.create_grant(*BOT, ("user", "usr_bob"), "read", reason="on call")
    (change,) = acme.changes(after_revision=revision)
    assert (change.kind, change.key, change.actor_id, change.reason) == ("Grant", grant.id, "system", "on call")
    assert acme.verify() == len(list(acme.changes()))


def test_a_book_that_is_closed_refuses(tmp_path: Path) -> None:
    book = Grantbook(f"sqlite:///{tmp_path}/book.db")
    acme = book.create_organization("Acme", owner_email="ada@acme.example", owner_id="usr_ada")
    acme.register_entity(*BOT, name="Bot", owner=("user", "usr_ada"))
    assert may(acme, "usr_ada")
    book.close()
    for call in (book.organization_ids, acme.list_grants, lambda: may(acme, "usr_ada")):
        with pytest.raises(GrantbookError, match="closed"):
            call()
