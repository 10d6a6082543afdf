"""API keys: who holds one is its user, in its organization, as long as it lives."""

from typing import Any

import pytest

from grantbook.model.errors import (
    AuthenticationFailed,
    NotFound,
    OrganizationAccessDenied,
    PermissionDenied,
    ValidationFailed,
)
from grantbook.model.facts import ApiKey, revised
from grantbook.service import keys, members, organizations
from grantbook.service.admission import Admissions
from grantbook.service.desk import SYSTEM, Caller, Writing
from grantbook.service.keys import Identity, authenticate, digest_of, require_opens
from grantbook.store.port import Lookup
from tests.service.office import ADMIN, OTHER, OWNER, PLAIN, STRANGER, Office
from tests.worlds import AUTHOR, DAY, NOW, ORGANIZATION, contents, deposit, member, nothing_happens


def _key(office: Office, user_id: str = PLAIN, **values: Any) -> tuple[ApiKey, str]:
    return office.do(SYSTEM, keys.create, user_id=user_id, name="key", **values)


def _found(office: Office, organization_id: str, secret: str, name: str = "Second") -> None:
    """What a key's user founds with it."""
    caller = authenticate(office.desk, secret).caller
    with office.desk.writing(organization_id, caller) as writing:
        organizations.found(writing, name=name, owner_email="second@example.org", owner_id=caller.user_id)


def test_the_secret_of_a_key_tells_who_holds_it(office: Office) -> None:
    key, secret = _key(office, scopes=("check", "read"))
    identity = authenticate(office.desk, secret).traced("trace-1")
    assert identity.organization_id == ORGANIZATION
    caller = identity.caller
    assert (caller.user_id, caller.api_key_id, caller.scopes) == (PLAIN, key.id, ("check", "read"))
    assert (caller.trace_id, caller.is_system) == ("trace-1", False)
    require_opens(office.desk, identity, ORGANIZATION)


def test_the_secret_is_not_kept(office: Office) -> None:
    key, secret = _key(office)
    assert secret.startswith("gb_")
    assert len(secret) == 3 + 64
    assert secret.startswith(key.key_prefix)
    kept = repr([contents(office.store, ORGANIZATION), list(office.store.changes(ORGANIZATION))])
    assert secret not in kept
    assert secret[len(key.key_prefix) :] not in kept
    assert key.digest == digest_of(secret)


def test_two_keys_have_two_secrets(office: Office) -> None:
    made = [_key(office) for _ in range(3)]
    assert len({secret for _, secret in made}) == len({key.id for key, _ in made}) == 3
    assert [authenticate(office.desk, secret).caller.api_key_id for _, secret in made] == [key.id for key, _ in made]


def test_anything_but_the_secret_is_refused(office: Office) -> None:
    _, secret = _key(office)
    assert authenticate(office.desk, secret).caller.user_id == PLAIN
    near = [secret[:-1], secret + "0", secret.upper(), " " + secret, secret[3:], secret * 5, digest_of(secret)]
    for wrong in ["", "gb_", "\ud800", "é\x00" * 50, *near]:
        with pytest.raises(AuthenticationFailed) as raised:
            authenticate(office.desk, wrong)
        assert raised.value.error_code == "INVALID_API_KEY"
        assert raised.value.details == {}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"is_active": False}, "API_KEY_DEACTIVATED"),
        ({"is_paused": True}, "API_KEY_PAUSED"),
        ({"expires_at": NOW}, "API_KEY_EXPIRED"),
        ({"expires_at": NOW - 1}, "API_KEY_EXPIRED"),
        ({"expires_at": NOW + 1}, None),
        ({}, None),
    ],
)
def test_a_key_that_is_not_in_use_is_refused_and_says_why(
    office: Office, changed: dict[str, Any], code: str | None
) -> None:
    key, secret = _key(office)
    assert authenticate(office.desk, secret).caller.user_id == PLAIN
    with office.store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(key, revised(key, **changed), "updated")
    if code is None:
        assert authenticate(office.desk, secret).caller.user_id == PLAIN
        return
    with pytest.raises(AuthenticationFailed) as raised:
        authenticate(office.desk, secret)
    assert raised.value.error_code == code


def test_a_key_ends_at_its_very_moment(office: Office) -> None:
    _, secret = _key(office, expires_at=NOW + DAY)
    office.clock.advance(DAY - 1)
    authenticate(office.desk, secret)
    office.clock.advance(1)
    with pytest.raises(AuthenticationFailed) as raised:
        authenticate(office.desk, secret)
    assert raised.value.error_code == "API_KEY_EXPIRED"


def test_a_key_goes_with_its_user(office: Office) -> None:
    _, secret = _key(office)
    office.do(ADMIN, members.remove, PLAIN)
    with pytest.raises(AuthenticationFailed) as raised:
        authenticate(office.desk, secret)
    assert raised.value.error_code == "INVALID_API_KEY"
    office.invite(PLAIN)
    with pytest.raises(AuthenticationFailed):
        authenticate(office.desk, secret)


def test_a_key_of_somebody_who_is_deactivated_opens_nothing(office: Office) -> None:
    _, secret = _key(office)
    identity = authenticate(office.desk, secret)
    require_opens(office.desk, identity, ORGANIZATION)
    office.do(ADMIN, members.set_state, PLAIN, "deactivated")
    with pytest.raises(OrganizationAccessDenied):
        require_opens(office.desk, authenticate(office.desk, secret), ORGANIZATION)


def test_nothing_is_held_for_a_key_that_may_not_ask(office: Office) -> None:
    """Else those who do would wait for it, and what they ask about would make room for it."""
    admissions, (key, ended), (_, lives) = Admissions(office.desk), _key(office), _key(office)
    office.do(SYSTEM, keys.delete, key.id)
    with pytest.raises(AuthenticationFailed):
        admissions.admit("ended", ended, ORGANIZATION)
    for organization_id in ("org_2", "org_unknown"):
        with pytest.raises(OrganizationAccessDenied):
            admissions.admit("lives", lives, organization_id)
    assert office.desk.facts.held_organizations == 0
    admissions.admit("lives", lives, ORGANIZATION)
    assert office.desk.facts.held_organizations == 1


@pytest.mark.parametrize("organization_id", ["org_2", "org_unknown", "", ORGANIZATION + " "])
def test_a_key_does_not_open_another_organization(office: Office, organization_id: str) -> None:
    """Not even one of which its user is a member, nor one that its user founded with another key."""
    _, secret = _key(office)
    _, other_secret = _key(office)
    _found(office, "org_2", other_secret)
    identity = authenticate(office.desk, secret)
    with pytest.raises(OrganizationAccessDenied) as raised:
        require_opens(office.desk, identity, organization_id)
    assert raised.value.details == {"organization_id": organization_id}


def test_a_key_opens_what_was_founded_with_it_while_its_user_is_a_member_there(office: Office) -> None:
    _, secret = _key(office)
    _found(office, "org_2", secret)
    identity = authenticate(office.desk, secret)
    require_opens(office.desk, identity, "org_2")
    with office.desk.writing("org_2", SYSTEM) as writing:
        members.invite(writing, email="new@example.org", user_id="usr_new", is_active=True)
        (owner_role,) = members.view(writing, PLAIN).role_ids
        members.assign_role(writing, owner_role, "usr_new")
        members.set_state(writing, PLAIN, "deactivated")
    with pytest.raises(OrganizationAccessDenied):
        require_opens(office.desk, identity, "org_2")
    require_opens(office.desk, identity, ORGANIZATION)


def test_an_organization_founded_without_a_key_is_opened_by_none_from_elsewhere(office: Office) -> None:
    """No key is not the same as the same key: both would be None."""
    _, secret = _key(office)
    with office.desk.writing("org_2", SYSTEM) as writing:
        organizations.found(writing, name="Second", owner_email="a@b.org", owner_id=PLAIN)
    with pytest.raises(OrganizationAccessDenied):
        require_opens(office.desk, authenticate(office.desk, secret), "org_2")
    keyless = Identity(caller=Caller(user_id=PLAIN), organization_id=ORGANIZATION)
    with pytest.raises(OrganizationAccessDenied):
        require_opens(office.desk, keyless, "org_2")


def test_nobody_speaks_for_anothers_user_by_making_them_a_member(office: Office) -> None:
    """The application lets a second organization take in usr_plain, which makes a key for them: their home stays where
    it was, and the key opens only the second one. See `service.members.identify`."""
    with office.desk.writing("org_2", SYSTEM) as writing:
        organizations.found(writing, name="Second", owner_email="a@b.org", owner_id="usr_second")
    with office.desk.writing("org_2", SYSTEM) as writing:
        members.invite(writing, email="plain@example.org", user_id=PLAIN, is_active=True)
    with office.desk.writing("org_2", Caller(user_id="usr_second")) as writing:
        _, secret = keys.create(writing, user_id=PLAIN, name="key")
    identity = authenticate(office.desk, secret)
    assert (identity.caller.user_id, identity.organization_id) == (PLAIN, "org_2")
    require_opens(office.desk, identity, "org_2")
    with pytest.raises(OrganizationAccessDenied):
        require_opens(office.desk, identity, ORGANIZATION)
    assert office.store.look_up(Lookup.USER, PLAIN) == ORGANIZATION


def test_people_make_keys_for_themselves_and_only_some_for_others(office: Office) -> None:
    for who in (PLAIN, OWNER, ADMIN):
        key, _ = office.do(who, keys.create, user_id=PLAIN, name="key")
        assert (key.user_id, key.created_by) == (PLAIN, who)
    for who, user_id in ((PLAIN, OTHER), (PLAIN, OWNER), (STRANGER, PLAIN)):
        with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
            office.do(who, keys.create, user_id=user_id, name="key")


def test_there_are_no_keys_for_people_from_elsewhere_and_none_without_a_name(office: Office) -> None:
    deposit(office.store, "org_elsewhere", [member(STRANGER)])
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(NotFound):
        _key(office, STRANGER)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(OWNER, keys.create, user_id=OWNER, name="  ")


def test_nothing_is_left_of_a_key_that_could_not_be_made(office: Office) -> None:
    secrets: list[str] = []
    with pytest.raises(ZeroDivisionError):
        office.do(SYSTEM, _make_key_and_fail, secrets)
    (secret,) = secrets
    with pytest.raises(AuthenticationFailed):
        authenticate(office.desk, secret)
    assert office.store.look_up(Lookup.API_KEY, digest_of(secret)) is None


def _make_key_and_fail(writing: Writing, secrets: list[str]) -> None:
    secrets.append(keys.create(writing, user_id=PLAIN, name="key")[1])
    raise ZeroDivisionError
