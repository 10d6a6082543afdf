"""Whether a book agrees with itself: every way to change it behind the book's back is found and named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from grantbook.model.errors import DamagedBook, TamperedHistory
from grantbook.model.facts import ApiKey, EntityRef, Fact, Grant, Principal, key_of
from grantbook.service import findings, keys, members, moves, verification
from grantbook.service.desk import SYSTEM
from grantbook.service.findings import Findings
from grantbook.store.history import joined_key
from grantbook.store.port import Store
from grantbook.store.sql import SqlStore
from tests import postgres
from tests.conftest import STORES
from tests.service.office import NOTES, OTHER, OWNER, PLAIN, RULE, TEAM, Office
from tests.worlds import (
    ORGANIZATION,
    FakeClock,
    api_key,
    assigned,
    contains,
    department,
    deposit,
    entity,
    grant,
    joined,
    target,
    user,
)

HERE: Final = f"organization_id = '{ORGANIZATION}'"
GIVEN: Final = f"{HERE} AND entity_id = '{NOTES.id}' AND grantee_id = '{PLAIN}'"
INNER: Final = EntityRef("vector_store", "vs_inner")


def verify(office: Office) -> Findings:
    return verification.verify(office.desk, ORGANIZATION)


def lived(store: Store, clock: FakeClock) -> Office:
    """With something of everything; a grant that was given, revoked and given again, which `given` finds."""
    office = Office(store, clock)
    office.do(SYSTEM, keys.create, user_id=PLAIN, name="key")
    office.do(SYSTEM, members.invite, email="late@example.org", user_id="usr_late", is_active=False)
    office.register(INNER, containers=[TEAM])
    first = office.give(NOTES, user(PLAIN), "read")
    with office.desk.writing(ORGANIZATION, SYSTEM) as writing:
        writing.book.remove(first, "revoked")
    clock.advance(1_000)
    office.give(NOTES, user(PLAIN), "write")
    office.give(NOTES, Principal("department", "dept_top"), "read")
    office.do(SYSTEM, members.set_state, OTHER, "deactivated")
    return office


@pytest.fixture(params=["postgres"] if postgres.IS_MEANT else ["sqlite", "postgres"])
def tampered(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Office]:
    """The stores into which others can reach."""
    store = STORES[request.param](tmp_path, clock)
    yield lived(store, clock)
    store.close()


def tamper(office: Office, *statements: str) -> None:
    assert isinstance(office.store, SqlStore)
    with office.store._dialect.writing_engine.connect() as connection:
        for statement in statements:
            assert connection.exec_driver_sql(statement).rowcount == 1, statement
        connection.commit()


def given(office: Office, *, is_live: bool = True) -> tuple[str, int]:
    """The id of the grant, and the revision that made it."""
    with office.store.archive(ORGANIZATION) as archive:
        (found,) = [
            version
            for version in archive.versions(Grant)
            if isinstance(version.fact, Grant)
            and (version.fact.entity, version.fact.grantee) == (NOTES, user(PLAIN))
            and (version.until is None) is is_live
        ]
    return found.key[0], found.since


def told(found: Findings) -> list[tuple[str, str, str]]:
    return [(kind, key, message) for kind, key, message in found.problems]


def test_a_book_of_use_cases_agrees_with_itself(store: Store, clock: FakeClock) -> None:
    office = lived(store, clock)
    seen: list[int] = []
    found = verification.verify(office.desk, ORGANIZATION, seen.append)
    assert (told(found), found.is_intact, found.has_more) == ([], True, False)
    assert found.revision == office.revision
    assert found.changes == len(office.changes(0))
    with store.archive(ORGANIZATION) as archive:
        assert found.changes + found.versions == archive.count()
    assert found.versions <= sum(seen) <= archive.count()
    found.raise_any()


LIVE: Final = f"{GIVEN} AND until_revision IS NULL"
ENDED: Final = f"{GIVEN} AND until_revision IS NOT NULL"
UNREADABLE: Final = f"UPDATE grants SET starts_at = 9, expires_at = 5 WHERE {LIVE}"
BOT_NONE: Final = EntityRef("assistant", "asst_none")


@pytest.mark.parametrize(
    ("statement", "is_live", "message"),
    [
        (
            f"UPDATE grants SET access_level = 'admin' WHERE {LIVE}",
            True,
            "revision {since}: the version differs from the history in access_level",
        ),
        (f"DELETE FROM grants WHERE {LIVE}", True, "revision {since}: the version that it made is not there"),
        (
            f"UPDATE grants SET access_level = 'admin', expires_at = 5 WHERE {ENDED}",
            False,
            "revision {since}: the version differs from the history in access_level, expires_at",
        ),
        (
            f"UPDATE grants SET until_revision = {{head}} WHERE {LIVE}",
            True,
            "revision {head}: a version ends of which the history does not tell",
        ),
        (
            f"UPDATE grants SET starts_at = 9, expires_at = 5 WHERE {LIVE}",
            True,
            "the version since {since} cannot be read",
        ),
        (f"UPDATE grants SET until_revision = 1 WHERE {ENDED}", False, "the version since {since} ends with 1"),
    ],
)
def test_a_version_that_was_changed_is_named(tampered: Office, statement: str, is_live: bool, message: str) -> None:
    id_, since = given(tampered, is_live=is_live)
    named = {"since": since, "head": tampered.revision}
    tamper(tampered, statement.format(**named))
    found = verify(tampered)
    assert ("Grant", id_, message.format(**named)) in told(found)
    assert {(problem.kind, problem.key) for problem in found.problems} == {("Grant", id_)}
    with pytest.raises(DamagedBook) as raised:
        found.raise_any()
    details = {"organization_id": ORGANIZATION, "kind": "Grant", "key": id_, "problems": len(found.problems)}
    assert raised.value.details == details


def test_a_fact_that_was_put_in_or_goes_on_after_its_end_is_named(tampered: Office) -> None:
    tamper(
        tampered,
        f"INSERT INTO role_assignments SELECT organization_id, role_id, '{PLAIN}', assigned_at, since_revision, "
        f"until_revision FROM role_assignments WHERE {HERE} AND user_id = '{OWNER}'",
        f"DELETE FROM grants WHERE {LIVE}",
        f"UPDATE grants SET until_revision = NULL WHERE {ENDED}",
    )
    owner = tampered.base_role("Owner")
    ended = given(tampered)[0]
    found = set(told(verify(tampered)))
    message = "revision 1: a version begins of which the history does not tell"
    assert ("RoleAssignment", f"{owner}/{PLAIN}", message) in found
    revoked = next(change.revision for change in tampered.changes(0) if change.action == "revoked")
    assert ("Grant", ended, f"revision {revoked}: it ended a version, which goes on") in found
    assert len(found) == 3


@pytest.mark.parametrize(
    ("statement", "kind", "key", "message"),
    [
        (
            "UPDATE revisions SET at = at + 1 WHERE {here} AND revision = 2",
            "Revision",
            "2",
            "it has another time than its changes",
        ),
        ("DELETE FROM revisions WHERE {here} AND revision = 2", "Revision", "2", "it is not among the revisions"),
        (
            f"INSERT INTO revisions VALUES ('{ORGANIZATION}', 999, 5)",
            "Revision",
            "999",
            "the history does not tell of it",
        ),
        (
            "DELETE FROM lookups WHERE kind = 'api_key'",
            "ApiKey",
            "{key}",
            "the look-up of its api_key does not lead here",
        ),
        (
            "UPDATE lookups SET value = 'org_other' WHERE kind = 'entity'",
            "Entity",
            f"rule/{RULE.id}",
            "the look-up of its entity does not lead here",
        ),
        (
            "UPDATE lookups SET value = 'org_1/usr_other' WHERE kind = 'invitation'",
            "Member",
            "usr_late",
            "the look-up of its invitation does not lead here",
        ),
        (
            f"DELETE FROM lookups WHERE kind = 'user' AND key = '{PLAIN}'",
            "Member",
            PLAIN,
            "the look-up of its user does not lead here",
        ),
        (
            f"DELETE FROM user_organizations WHERE user_id = '{PLAIN}'",
            "Member",
            PLAIN,
            "the user is not known to be of the organization",
        ),
    ],
)
def test_what_stands_beside_the_facts_is_looked_at(
    tampered: Office, statement: str, kind: str, key: str, message: str
) -> None:
    with tampered.store.snapshot(ORGANIZATION) as snapshot:
        key = key.format(key=snapshot.select(ApiKey)[0].id)
    tamper(tampered, statement.format(here=HERE))
    assert told(verify(tampered)) == [(kind, key, message)]


@pytest.mark.parametrize("column", ["reason", "hash", "before"])
def test_a_change_that_was_touched_is_named(tampered: Office, column: str) -> None:
    tamper(tampered, f"UPDATE changes SET {column} = 'eve' WHERE {HERE} AND revision = 3 AND ordinal = 0")
    found = verify(tampered)
    assert told(found)[0] == ("Change", "3/0", "it does not have the hash that follows from what is there")
    with pytest.raises(TamperedHistory) as raised:
        found.raise_any()
    assert raised.value.details == {"organization_id": ORGANIZATION, "revision": 3, "ordinal": 0}


def test_a_history_that_lost_its_end_or_a_revision_is_named(tampered: Office) -> None:
    head = tampered.revision
    tamper(tampered, f"DELETE FROM changes WHERE {HERE} AND revision = {head}")
    found = told(verify(tampered))
    assert ("Head", str(head), "the history leads to another one") in found
    assert ("Revision", str(head), "the history does not tell of it") in found
    tamper(tampered, f"DELETE FROM changes WHERE {HERE} AND revision = {head - 1}")
    tamper(tampered, f"DELETE FROM changes WHERE {HERE} AND revision = 2")
    assert ("Revision", "2", "the history goes on with 3") in told(verify(tampered))


def test_a_version_that_cannot_be_read_is_not_carried(tampered: Office) -> None:
    tamper(tampered, UNREADABLE)
    with tampered.store.archive(ORGANIZATION) as archive, pytest.raises(DamagedBook):
        list(moves.pieces(archive))


@pytest.mark.parametrize(
    ("fact", "missing"),
    [
        (department("dept_new", "dept_none"), ["parent_id: there is no department dept_none"]),
        (joined("dept_none", PLAIN), ["department_id: there is no department dept_none"]),
        (joined("dept_low", "usr_none"), ["user_id: there is no user usr_none"]),
        (assigned("role_none", PLAIN), ["role_id: there is no role role_none"]),
        (target(NOTES, user("usr_none")), ["target_id: there is no user usr_none"]),
        (target(NOTES, Principal("planet", "x_1")), ["target_id: there is no planet x_1"]),
        (contains(TEAM, EntityRef("vector_store", "vs_none")), ["member_id: there is no vector_store vs_none"]),
        (contains(EntityRef("rule", NOTES.id), NOTES), [f"container_id: there is no rule {NOTES.id}"]),
        (grant(NOTES, user("usr_none"), "read"), ["grantee_id: there is no user usr_none"]),
        (
            grant(EntityRef("assistant", "asst_none"), user(PLAIN), "read"),
            ["entity_id: there is no assistant asst_none"],
        ),
        (grant(RULE, Principal("organization", "org_2"), "use"), ["grantee_id: there is no organization org_2"]),
        (
            entity(EntityRef("assistant", "asst_new"), owner=Principal("department", "dept_none")),
            ["owner_id: there is no department dept_none"],
        ),
        (
            api_key("ak_new", user_id="usr_none"),
            ["user_id: there is no user usr_none", "the look-up of its api_key does not lead here"],
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_names_something_that_is_not_there_is_named(
    store: Store, clock: FakeClock, fact: Fact, missing: list[str]
) -> None:
    office = Office(store, clock)
    deposit(store, ORGANIZATION, [fact])
    name, key = type(fact).__name__, joined_key(key_of(fact))
    assert told(verify(office)) == [(name, key, message) for message in missing]


def test_what_may_name_others_does(store: Store, clock: FakeClock) -> None:
    """Owners may be gone, and a rule may be granted to anybody; of a type that is not known nobody can say."""
    office = Office(store, clock)
    planet = EntityRef("planet", "planet_1")
    harmless = [
        entity(EntityRef("assistant", "asst_new"), owner=user("usr_none")),
        grant(RULE, user("usr_none"), "use"),
        grant(RULE, Principal("all", "*"), "use"),
        grant(NOTES, Principal("organization", ORGANIZATION), "read"),
        entity(planet),
        grant(planet, user("usr_none"), "read"),
    ]
    deposit(store, ORGANIZATION, harmless)
    assert told(verify(office)) == []


def test_many_problems_are_cut_off_and_said_so(store: Store, clock: FakeClock) -> None:
    office = Office(store, clock)
    deposit(store, ORGANIZATION, [joined("dept_low", f"usr_none{number:04}") for number in range(1_100)])
    found = verify(office)
    assert (len(found.problems), found.has_more) == (findings.MAX_PROBLEMS, True)


def test_others_write_while_a_book_is_looked_at(store: Store, clock: FakeClock) -> None:
    """After each part of it; what they write is not looked at, and not taken for damage."""
    office = lived(store, clock)
    before = office.revision

    def write(_: int) -> None:
        office.do(SYSTEM, members.invite, email=f"m{office.revision}@example.org", user_id=None, is_active=True)

    found = verification.verify(office.desk, ORGANIZATION, write)
    assert (told(found), found.revision) == ([], before)
    assert office.revision > before + 5
    assert told(verify(office)) == []
