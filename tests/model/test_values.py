"""Ids, points in time, and facts that cannot be built wrong."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from grantbook.model import ids
from grantbook.model.errors import ValidationFailed
from grantbook.model.facts import FACT_KINDS, EntityRef, Fact, Principal, key_of
from grantbook.model.governance import BASE_ROLES, CAPABILITIES, valid_capabilities
from grantbook.model.ids import is_id, new_id
from grantbook.model.instants import MAX_INSTANT, SECOND, from_datetime, to_datetime, to_text
from tests.worlds import FACTS_OF_EVERY_KIND, NOW, entity, grant, member

NOTES = EntityRef("vector_store", "vs_notes")


@pytest.mark.parametrize(
    "value", ["usr_1", "usr_a-b_C", "orgusr_" + "0" * 64, "a_b", "usr__", "usr_-", "kslice_" + "Z" * 64]
)
def test_a_prefix_an_underscore_and_1_to_64_characters_are_an_id(value: str) -> None:
    assert is_id(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "usr",
        "usr_",
        "_1",
        "USR_1",
        "usr1_a",
        "usr_" + "0" * 65,
        "usr_a b",
        "usr_a\n",
        "usr_a/b",
        "usr_a.b",
        "usr_é",
        "usr_\uff11",
        " usr_1",
        "usr-1",
        "*",
        "usr_*",
        "usr_a\x00",
    ],
)
def test_anything_else_is_not_an_id(value: str) -> None:
    assert not is_id(value)


def test_a_prefix_has_to_be_the_one_that_was_asked_for() -> None:
    assert is_id("usr_1", "usr_")
    assert not is_id("orgusr_1", "usr_")
    assert not is_id("usr_", "usr_")
    assert not is_id("Usr_1", "usr_")


@pytest.mark.parametrize(
    "prefix", [ids.USER, ids.ORGANIZATION, ids.ORGANIZATION_USER, ids.DEPARTMENT, ids.ROLE, ids.API_KEY, "kslice_"]
)
def test_new_ids_are_ids_of_128_random_bits(prefix: str) -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    assert new_id(prefix, random) == prefix + "000102030405060708090a0b0c0d0e0f"
    assert is_id(new_id(prefix, random), prefix)
    assert asked == [16, 16]


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (NOW, "2026-01-01T00:00:00Z"),
        (NOW + 1_000, "2026-01-01T00:00:00.001Z"),
        (NOW + 120_000, "2026-01-01T00:00:00.120Z"),
        (NOW + 1, "2026-01-01T00:00:00.000001Z"),
        (NOW - 1, "2025-12-31T23:59:59.999999Z"),
        (-1_000, "1969-12-31T23:59:59.999Z"),
        (MAX_INSTANT, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_instants_are_written_as_utc_with_only_the_digits_they_need(instant: int, text: str) -> None:
    assert to_text(instant) == text
    assert from_datetime(datetime.fromisoformat(text)) == instant
    assert to_datetime(instant).tzinfo is UTC


def test_a_time_of_another_zone_is_the_same_instant() -> None:
    zone = timezone(timedelta(hours=5, minutes=45))
    assert from_datetime(datetime(2026, 1, 1, 5, 45, tzinfo=zone)) == NOW
    assert from_datetime(datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)) == NOW + 1
    assert from_datetime(datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)) == NOW + SECOND


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        from_datetime(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: member("usr_1", "ACTIVE"), "account_state"),
        (lambda: member("usr_1", ""), "account_state"),
        (lambda: entity(NOTES, owner=Principal("role", "role_1")), "owner_type"),
        (lambda: entity(NOTES, mode="secret"), "access_mode"),
        (lambda: entity(NOTES, status="deleted"), "status"),
        (lambda: grant(NOTES, Principal("group", "grp_1"), "read"), "grantee_type"),
        (lambda: grant(NOTES, Principal("all", "usr_1"), "read"), "grantee_id"),
        (lambda: grant(NOTES, Principal("user", "*"), "read"), "grantee_id"),
        (lambda: grant(NOTES, Principal("user", "usr_1"), "read", starts_at=1, expires_at=1), "expires_at"),
    ],
)
def test_a_fact_cannot_be_built_wrong(build: Callable[[], Fact], field: str) -> None:
    with pytest.raises(ValidationFailed) as raised:
        build()
    assert raised.value.details["field"] == field
    assert raised.value.details["errors"] == [{"field": field, "message": raised.value.details["message"]}]


@pytest.mark.parametrize("fact", FACTS_OF_EVERY_KIND, ids=lambda fact: type(fact).__name__)
def test_a_fact_never_changes(fact: Fact) -> None:
    for name in fact.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(fact, name, None)


@pytest.mark.parametrize("kind", FACT_KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_says_by_which_of_its_fields_it_is_known(kind: type[Fact]) -> None:
    names = set(kind.__struct_fields__)
    subject, touched = kind.ABOUT
    assert set(kind.KEY) <= names
    assert {subject, touched} - {None} <= names
    (sample,) = (fact for fact in FACTS_OF_EVERY_KIND if type(fact) is kind)
    assert key_of(sample) == tuple(getattr(sample, name) for name in kind.KEY)


def test_capabilities_come_once_each_and_in_the_order_of_the_catalogue() -> None:
    assert valid_capabilities(reversed([*CAPABILITIES, *CAPABILITIES])) == tuple(CAPABILITIES)
    assert valid_capabilities([]) == ()


def test_an_unknown_capability_is_refused_by_name() -> None:
    with pytest.raises(ValidationFailed) as raised:
        valid_capabilities(["manage_users", "fly"])
    assert raised.value.error_code == "INVALID_CAPABILITY"
    assert "'fly'" in raised.value.details["message"]


def test_base_roles_shrink_from_owner_to_member() -> None:
    owner, admin, plain = (set(BASE_ROLES[name]) for name in ("Owner", "Admin", "Member"))
    assert owner == set(CAPABILITIES)
    assert owner - admin == {"manage_billing", "create_organizations", "delete_organization"}
    assert plain == set()
