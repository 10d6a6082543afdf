"""Whole organizations with their history: everything that is kept, out of one store and into another as it was."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest

from grantbook.model.errors import Conflict
from grantbook.model.facts import FACT_KINDS, Fact, Grant, Member, Organization, revised
from grantbook.store.history import EMPTY, Chain
from grantbook.store.memory import MemoryStore
from grantbook.store.port import Archive, Change, Lookup, Restoration, Store, StoredResponse, Version
from grantbook.store.statements import STREAM_ROWS
from tests.worlds import (
    AUTHOR,
    MILLISECOND,
    NOW,
    ORGANIZATION,
    FakeClock,
    contents,
    deposit,
    member,
    nothing_happens,
    organization,
    withdraw,
)
from tests.worlds import FACTS_OF_EVERY_KIND as EVERYTHING

ANSWER = StoredResponse(fingerprint="f1", status=201, headers=(("x", "é"),), body=b'{"\x00": "\xff"}')
ELSEWHERE = "org_elsewhere"


def live(store: Store, clock: FakeClock) -> None:
    """Five revisions: everything comes, changes, goes and comes back; keys, answers and look-ups beside it."""
    deposit(store, ORGANIZATION, EVERYTHING)
    clock.advance(MILLISECOND)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.claim(Lookup.API_KEY, {"digest-of-ak_1": ORGANIZATION})
        book.claim(Lookup.USER, {"usr_1": ELSEWHERE})
        book.keep_response("key-1", ANSWER)
        given = next(fact for fact in EVERYTHING if isinstance(fact, Grant))
        book.replace(given, revised(given, access_level="admin"), "updated")
    withdraw(
        store, ORGANIZATION, [revised(given, access_level="admin"), *(each for each in EVERYTHING if each != given)]
    )
    deposit(store, ORGANIZATION, EVERYTHING[::2])
    deposit(store, ELSEWHERE, [member("usr_1"), member("usr_2")])
    store.note_key_uses({(ORGANIZATION, "ak_1"): NOW, (ORGANIZATION, "ak_gone"): 5, (ELSEWHERE, "ak_1"): 7})
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.add(member("usr_3"), "added")
        book.add(member("usr_4"), "added")
        book.remove(member("usr_4"), "removed")


def versions(archive: Archive) -> dict[type[Fact], list[Version]]:
    return {kind: list(archive.versions(kind)) for kind in FACT_KINDS}


def test_an_archive_of_nothing_is_empty(store: Store) -> None:
    with store.archive(ORGANIZATION) as archive:
        assert (archive.head, archive.count(), archive.snapshot.revision) == (EMPTY, 0, 0)
        streams = (archive.revisions(), archive.changes(), archive.key_uses(), archive.responses())
        assert [list(stream) for stream in streams] == [[], [], [], []]
        assert not any(versions(archive).values())
        assert archive.look_up(Lookup.USER, ["usr_1"]) == {}
        assert archive.known_users(["usr_1"]) == set()


def test_an_archive_tells_every_version_from_when_until_when(store: Store, clock: FakeClock) -> None:
    live(store, clock)
    with store.archive(ORGANIZATION) as archive:
        found = versions(archive)
        assert archive.count() == sum(map(len, found.values())) + len(list(archive.changes()))
    for revision in range(6):
        then = {kind.__name__: [each.fact for each in found[kind] if _is_in(each, revision)] for kind in FACT_KINDS}
        assert then == contents(store, ORGANIZATION, revision)
    for each in found.values():
        assert each == sorted(each, key=lambda version: (version.key, version.since))
    (given,) = {version.key for version in found[Grant]}
    assert [(version.since, version.until) for version in found[Grant] if version.key == given] == [(1, 2), (2, 3)]


def _is_in(version: Version, revision: int) -> bool:
    return version.since <= revision and (version.until is None or version.until > revision)


def test_an_archive_tells_the_record_and_what_is_kept_beside_it(store: Store, clock: FakeClock) -> None:
    live(store, clock)
    with store.archive(ORGANIZATION) as archive:
        assert list(archive.changes()) == list(store.changes(ORGANIZATION))
        assert list(archive.revisions()) == [(1, NOW), *((number, NOW + MILLISECOND) for number in range(2, 6))]
        assert archive.head == store.head(ORGANIZATION)
        assert archive.look_up(Lookup.USER, ["usr_1", "usr_2"]) == {"usr_1": ELSEWHERE}
        assert archive.look_up(Lookup.API_KEY, ["digest-of-ak_1", "USR_1"]) == {"digest-of-ak_1": ORGANIZATION}
        assert archive.known_users(["usr_1", "usr_2", "usr_3"]) == {"usr_1", "usr_3"}
        assert list(archive.key_uses()) == [("ak_1", NOW), ("ak_gone", 5)]
        assert list(archive.responses()) == [("key-1", NOW + MILLISECOND, ANSWER)]


def test_an_archive_does_not_move_while_others_write(store: Store, request: pytest.FixtureRequest) -> None:
    """More than comes in one part, and everything of it gone before it is read."""
    many = [member(f"usr_{number:05}") for number in range(STREAM_ROWS + 10)]
    deposit(store, ORGANIZATION, many)
    with store.archive(ORGANIZATION) as archive:
        stream, record = archive.versions(Member), archive.changes()
        begun = list(islice(stream, 5)), list(islice(record, 5))
        withdraw(store, ORGANIZATION, many)
        deposit(store, ORGANIZATION, [member("usr_new")])
        found = [*begun[0], *stream]
        assert [(version.fact, version.since, version.until) for version in found] == [(each, 1, None) for each in many]
        assert len([*begun[1], *record]) == len(many)
        assert [revision for revision, _ in archive.revisions()] == [1]
        joined_later = archive.known_users(["usr_00001", "usr_new"]) - {"usr_00001"}
        assert joined_later <= ({"usr_new"} if request.node.callspec.params["store"] == "citus" else set())
        assert archive.head.revision == 1
        assert archive.snapshot.count(Member) == len(many)
    assert store.head(ORGANIZATION).revision == 3


@pytest.fixture
def original(clock: FakeClock) -> Iterator[Archive]:
    """An organization that lived in another store."""
    source = MemoryStore(clock)
    live(source, clock)
    with source.archive(ORGANIZATION) as archive:
        yield archive


def bring(archive: Archive, restoration: Restoration) -> None:
    changes = list(archive.changes())
    restoration.add_changes(changes[:3])  # a part may end in the middle of a revision
    restoration.add_changes(changes[3:])
    for found in versions(archive).values():
        if found:
            restoration.add_versions(found)
    assert restoration.claim(Lookup.USER, {"usr_1": ELSEWHERE}) == {"usr_1": ELSEWHERE}
    restoration.add_key_uses(dict(archive.key_uses()))
    for response in archive.responses():
        restoration.add_response(*response)


def test_what_is_restored_is_as_it_was(store: Store, original: Archive) -> None:
    with store.restoring(ORGANIZATION) as restoration:
        bring(original, restoration)
    with store.archive(ORGANIZATION) as archive:
        assert archive.head == original.head
        assert versions(archive) == versions(original)
        assert list(archive.changes()) == list(original.changes())
        assert list(archive.revisions()) == list(original.revisions())
        assert list(archive.key_uses()) == list(original.key_uses())
        assert list(archive.responses()) == list(original.responses())
        assert archive.known_users(["usr_1", "usr_2", "usr_3"]) == {"usr_1", "usr_3"}
    assert store.organizations_of("usr_1") == [ORGANIZATION]
    assert store.look_up(Lookup.USER, "usr_1") == ELSEWHERE
    assert store.organization_ids() == [ORGANIZATION]
    assert store.revision_at(ORGANIZATION, NOW) == 1


def test_life_goes_on_after_a_restoration(store: Store, original: Archive) -> None:
    present, there = store.present(), 0
    before = present.version()
    with present.reading():
        assert present.tip(ORGANIZATION)[0] == 0
    with store.restoring(ORGANIZATION) as restoration:
        bring(original, restoration)
    version = present.version()
    assert version != before
    assert present.has_moved(ORGANIZATION, version=before, revision=there)
    with present.reading():
        assert present.tip(ORGANIZATION)[0] == 5
    assert withdraw(store, ORGANIZATION, [member("usr_3")]) == 6
    chain = Chain(ORGANIZATION)
    for change in store.changes(ORGANIZATION):
        chain.take(change)
    assert chain.head == store.head(ORGANIZATION)
    present.close()


def test_where_the_organization_has_a_revision_nothing_is_restored(store: Store, original: Archive) -> None:
    deposit(store, ORGANIZATION, [organization()])
    with nothing_happens(store, ORGANIZATION), pytest.raises(Conflict):
        _restore(store, original)


def _restore(store: Store, original: Archive) -> None:
    with store.restoring(ORGANIZATION) as restoration:
        bring(original, restoration)


def test_a_restoration_that_fails_leaves_nothing(store: Store, original: Archive) -> None:
    with pytest.raises(KeyError):
        _fail(store, original)
    assert (store.head(ORGANIZATION), store.organization_ids()) == (EMPTY, [])
    assert store.look_up(Lookup.USER, "usr_1") is None
    assert store.organizations_of("usr_1") == []
    assert store.key_uses(ORGANIZATION, ["ak_1"]) == {}
    _restore(store, original)
    assert store.head(ORGANIZATION) == original.head


def _fail(store: Store, original: Archive) -> None:
    with store.restoring(ORGANIZATION) as restoration:
        bring(original, restoration)
        raise KeyError


@pytest.mark.parametrize("again", [(1, 2), (1, None), (5, None)], ids=str)
def test_no_version_is_restored_twice_and_one_fact_lives_once(
    store: Store, original: Archive, again: tuple[int, int | None]
) -> None:
    found = Version(("usr_9",), member("usr_9"), 1, None)
    with pytest.raises(Conflict):
        _add_twice(store, list(original.changes()), found, found._replace(since=again[0], until=again[1]))
    assert store.organization_ids() == []


def _add_twice(store: Store, changes: list[Change], first: Version, second: Version) -> None:
    with store.restoring(ORGANIZATION) as restoration:
        restoration.add_changes(changes)
        restoration.add_versions([first])
        restoration.add_versions([second])


def test_a_global_key_that_others_hold_stays_theirs(store: Store, original: Archive) -> None:
    with store.transaction(ELSEWHERE, AUTHOR) as book:
        book.claim(Lookup.ENTITY, {"rule/rule_1": ELSEWHERE})
    with store.restoring(ORGANIZATION) as restoration:
        restoration.add_changes(list(original.changes()))
        wanted = {"rule/rule_1": ORGANIZATION, "rule/rule_2": ORGANIZATION}
        assert restoration.claim(Lookup.ENTITY, wanted) == {**wanted, "rule/rule_1": ELSEWHERE}
    assert store.look_up(Lookup.ENTITY, "rule/rule_2") == ORGANIZATION


def test_an_answer_that_is_kept_already_stays(store: Store, original: Archive) -> None:
    other = replace(ANSWER, status=204)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.keep_response("key-1", other)
    _restore(store, original)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        assert book.find_response("key-1") == other


def test_everything_is_restored_of_every_kind(original: Archive) -> None:
    """So that the comparisons above cannot hold for lack of something to compare."""
    assert all(versions(original).values())
    assert {type(fact) for fact in EVERYTHING} == {*FACT_KINDS}
    assert any(version.until is not None for version in versions(original)[Organization])
