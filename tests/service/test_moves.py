"""A whole organization with its history, out of one book and into another: the same answers about every time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Event
from time import sleep
from typing import Any, Final

import msgspec
import pytest

from grantbook.model.errors import Conflict, GrantbookError, TamperedHistory, ValidationFailed
from grantbook.model.facts import ApiKey, EntityRef, Grant
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import audit, decisions, grants, invitations, keys, members, moves, organizations, verification
from grantbook.service.admission import SYSTEM_ASKER
from grantbook.service.asking import check as check_cached
from grantbook.service.audit import Filters
from grantbook.service.decisions import Check
from grantbook.service.desk import SYSTEM, Desk, revision_of, token_of
from grantbook.service.grants import NewGrant
from grantbook.service.keys import authenticate
from grantbook.service.moves import Claim, Piece
from grantbook.store.port import Change, Head, Lookup, Store, StoredResponse, Version
from tests.conftest import STORES
from tests.service.test_transfer import build
from tests.worlds import DAY, NOW, ORGANIZATION, FakeClock, contents, nothing_happens, user

PAIRS: Final = ("sqlite to postgres", "postgres to sqlite", "sqlite to sqlite", "memory to sqlite", "sqlite to memory")
ANSWER: Final = StoredResponse(fingerprint="f", status=201, headers=(("x", "y"),), body=b"{}")


@pytest.fixture(params=PAIRS)
def books(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[tuple[Desk, Desk]]:
    """Where the organization lives, and where it goes."""
    kinds = request.param.split(" to ")
    places = [tmp_path / str(number) for number in range(len(kinds))]
    for place in places:
        place.mkdir()
    stores = [STORES[kind](place, clock) for kind, place in zip(kinds, places, strict=True)]
    source, target = (Desk(store, BUILT_IN, clock, Random(5).randbytes) for store in stores)
    yield source, target
    source.close()
    target.close()


@pytest.fixture
def desk(store: Store, clock: FakeClock) -> Desk:
    return Desk(store, BUILT_IN, clock, Random(6).randbytes)


def carry(source: Desk, target: Desk) -> bool:
    with source.store.archive(ORGANIZATION) as archive:
        return moves.restore(target.store, ORGANIZATION, archive.head, moves.pieces(archive))


def pieces(desk: Desk) -> list[Piece]:
    with desk.store.archive(ORGANIZATION) as archive:
        return list(moves.pieces(archive))


def live(desk: Desk, clock: FakeClock) -> dict[str, str]:
    """Some weeks of an organization; what people hold of it, by name."""
    build(desk, Random(4))
    held: dict[str, str] = {}
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        for name in ("works", "was rotated", "was deleted"):
            key, held[name] = keys.create(writing, user_id="usr_0", name=name)
            if name == "was rotated":
                _, held["came for it"] = keys.rotate(writing, key.id)
            if name == "was deleted":
                keys.delete(writing, key.id)
        invited = members.invite(writing, email="late@acme.test", user_id="usr_late", is_active=False)
        held["invitation"] = invited.invitation_token or ""
        writing.book.keep_response("key-1", ANSWER)
    for day in range(5):
        clock.advance(DAY)
        with desk.writing(ORGANIZATION, SYSTEM) as writing:
            for found in writing.snapshot.page(Grant, skip=9 * day, limit=9):
                grants.revoke(writing, found.id)
            members.invite(writing, email=f"new{day}@acme.test", user_id=f"usr_new{day}", is_active=True)
            new = NewGrant(grantee=user(f"usr_new{day}"), access_level="admin")
            grants.create(writing, EntityRef("vector_store", f"vs_{10 + day}"), new)
    authenticate(desk, held["works"])
    desk.key_uses.flush(desk.store)
    return held


def test_every_question_about_every_time_has_the_same_answer(books: tuple[Desk, Desk], clock: FakeClock) -> None:
    source, target = books
    live(source, clock)
    assert carry(source, target)
    head = source.store.head(ORGANIZATION)
    assert target.store.head(ORGANIZATION) == head
    for revision in range(head.revision + 1):
        assert contents(target.store, ORGANIZATION, revision) == contents(source.store, ORGANIZATION, revision)
    random = Random(3)
    for day in range(7):
        at = NOW - DAY + day * DAY
        assert target.store.revision_at(ORGANIZATION, at) == source.store.revision_at(ORGANIZATION, at)
        questions = [_question(random) for _ in range(40)]
        assert _answers(target, questions, at) == _answers(source, questions, at)
    for filters in (Filters(), Filters(actor_id="system"), Filters(search_term="usr_1"), Filters(search_term="new3")):
        assert _entries(target, filters) == _entries(source, filters) != []
    assert pieces(target) == pieces(source)
    for each in books:
        assert verification.verify(each, ORGANIZATION).problems == []


def _question(random: Random) -> Check:
    entity = EntityRef(*random.choice((("vector_store", f"vs_{random.randrange(25)}"), ("rule", "rule_1"))))
    levels = BUILT_IN.entity_type(entity.type).levels
    user_id = random.choice((f"usr_{random.randrange(40)}", f"usr_new{random.randrange(5)}"))
    return Check(user_id=user_id, entity=entity, access_level=random.choice(levels))


def _answers(desk: Desk, questions: list[Check], at: int) -> list[str]:
    with desk.reading(ORGANIZATION, SYSTEM, as_of=at) as reading:
        return [_told(decisions.explain, reading, each) for each in questions]


def _told(ask: Callable[..., Any], *arguments: Any) -> str:
    try:
        return repr(ask(*arguments))
    except GrantbookError as error:
        return repr((error.error_code, error.details))


def _entries(desk: Desk, filters: Filters) -> list[Change]:
    with desk.reading(ORGANIZATION, SYSTEM) as reading:
        return audit.list_entries(reading, filters, skip=0, limit=1_000).items


def test_keys_invitations_answers_and_tokens_go_on_working(books: tuple[Desk, Desk], clock: FakeClock) -> None:
    source, target = books
    held = live(source, clock)
    revision = source.store.head(ORGANIZATION).revision
    carry(source, target)
    for name in ("works", "was rotated", "came for it", "was deleted"):
        assert _told(authenticate, target, held[name]) == _told(authenticate, source, held[name])
    assert authenticate(target, held["works"]).caller.user_id == "usr_0"
    assert invitations.find_invited(target, held["invitation"]) == (ORGANIZATION, "usr_late")
    token = token_of(ORGANIZATION, revision)
    assert revision_of(ORGANIZATION, token) == revision
    with target.reading(ORGANIZATION, SYSTEM, at_least=token) as reading:
        ids = [key.id for key in reading.snapshot.select(ApiKey)]
        assert reading.last_uses(ids).values()
        assert target.store.key_uses(ORGANIZATION, ids) == source.store.key_uses(ORGANIZATION, ids) != {}
    with target.writing(ORGANIZATION, SYSTEM) as writing:
        assert writing.book.find_response("key-1") == source_answer(source)
        members.remove(writing, "usr_late")
    assert target.store.head(ORGANIZATION).revision == revision + 1
    assert verification.verify(target, ORGANIZATION).problems == []


def source_answer(source: Desk) -> StoredResponse | None:
    with source.writing(ORGANIZATION, SYSTEM) as writing:
        return writing.book.find_response("key-1")


def test_a_process_that_said_no_sees_what_was_restored(desk: Desk, clock: FakeClock) -> None:
    """A cache that holds that there is no such organization."""
    source = Desk(STORES["memory"](Path(), clock), BUILT_IN, clock, Random(5).randbytes)
    live(source, clock)
    question = "usr_new0", "admin", EntityRef("vector_store", "vs_10")
    with desk.facts as facts, pytest.raises(GrantbookError):
        check_cached(desk, facts.current(ORGANIZATION), SYSTEM_ASKER, *question)
    carry(source, desk)
    with desk.facts as facts:
        assert check_cached(desk, facts.current(ORGANIZATION), SYSTEM_ASKER, *question).allowed


def test_carrying_again_changes_nothing_even_after_life_went_on(books: tuple[Desk, Desk], clock: FakeClock) -> None:
    source, target = books
    live(source, clock)
    assert carry(source, target)
    with nothing_happens(target.store, ORGANIZATION):
        assert not carry(source, target)
    with target.writing(ORGANIZATION, SYSTEM) as writing:
        members.set_state(writing, "usr_1", "deactivated")
    with nothing_happens(target.store, ORGANIZATION):
        assert not carry(source, target)


@pytest.mark.parametrize("is_older", [False, True])
def test_another_history_or_less_of_it_is_refused(desk: Desk, clock: FakeClock, is_older: bool) -> None:
    source = Desk(STORES["memory"](Path(), clock), BUILT_IN, clock, Random(5).randbytes)
    found_in(source)
    if is_older:
        carry(source, desk)
        with source.writing(ORGANIZATION, SYSTEM) as writing:
            organizations.update(writing, name="Later", attributes={})
    else:
        found_in(desk, name="Other")
    with nothing_happens(desk.store, ORGANIZATION), pytest.raises(Conflict) as raised:
        carry(source, desk)
    assert raised.value.error_code == "ORGANIZATION_EXISTS"
    assert raised.value.details == {"organization_id": ORGANIZATION, "revision": 1}


def test_whoever_comes_second_finds_it_brought_in(desk: Desk, found: list[Piece]) -> None:
    """Also where the other one was not done yet when this one looked."""
    is_begun, may_end = Event(), Event()

    def slowly() -> Iterator[Piece]:
        is_begun.set()
        assert may_end.wait(20)
        yield from found

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(moves.restore, desk.store, ORGANIZATION, _head(found), slowly())
        assert is_begun.wait(20)
        second = pool.submit(moves.restore, desk.store, ORGANIZATION, _head(found), iter(found))
        sleep(0.2)  # for the second to look: where it has not yet, there is nothing to find out
        may_end.set()
        assert (first.result(), second.result()) == (True, False)


def found_in(desk: Desk, name: str = "Acme") -> None:
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        organizations.found(writing, name=name, owner_email="ada@acme.test", owner_id="usr_0")
        members.invite(writing, email="bob@acme.test", user_id="usr_1", is_active=True)


@pytest.fixture
def found(clock: FakeClock) -> list[Piece]:
    """The pieces of a small organization."""
    source = Desk(STORES["memory"](Path(), clock), BUILT_IN, clock, Random(5).randbytes)
    found_in(source)
    return pieces(source)


def restore(desk: Desk, found: list[Piece], organization_id: str = ORGANIZATION) -> None:
    moves.restore(desk.store, organization_id, _head(found), found)


def _head(found: list[Piece]) -> Head:
    last = [piece for piece in found if isinstance(piece, Change)][-1]
    return Head(revision=last.revision, at=last.at, hash=last.hash)


def _changed(found: list[Piece], change: Callable[[Any], Piece | None], kind: type) -> list[Piece]:
    position = next(position for position, piece in enumerate(found) if isinstance(piece, kind))
    changed = change(found[position])
    return [*found[:position], *([] if changed is None else [changed]), *found[position + 1 :]]


@pytest.mark.parametrize(
    ("change", "kind", "error"),
    [
        (lambda change: msgspec.structs.replace(change, reason="why not"), Change, TamperedHistory),
        (lambda _: None, Change, TamperedHistory),
        (lambda version: version._replace(since=0), Version, ValidationFailed),
        (lambda version: version._replace(since=2), Version, ValidationFailed),
        (lambda version: version._replace(until=1), Version, ValidationFailed),
        (lambda version: version._replace(until=3), Version, ValidationFailed),
        (lambda _: Claim(Lookup.API_KEY, "digest", "org_other"), Claim, ValidationFailed),
        (lambda claim: claim._replace(value="nonsense"), Claim, ValidationFailed),
    ],
)
def test_what_is_not_whole_is_refused_as_a_whole(
    desk: Desk, found: list[Piece], change: Callable[[Any], Piece | None], kind: type, error: type[GrantbookError]
) -> None:
    with pytest.raises(error):
        restore(desk, _changed(found, change, kind))
    assert desk.store.organization_ids() == []
    restore(desk, found)
    assert verification.verify(desk, ORGANIZATION).problems == []


def test_a_history_that_leads_elsewhere_is_refused(desk: Desk, found: list[Piece]) -> None:
    for head in (replace(_head(found), at=5), replace(_head(found), hash="0" * 64), replace(_head(found), revision=2)):
        with pytest.raises(TamperedHistory):
            moves.restore(desk.store, ORGANIZATION, head, found)
    assert desk.store.organization_ids() == []


@pytest.mark.parametrize("organization_id", ["org_other", "nonsense", "org_"])
def test_a_history_belongs_to_one_organization(desk: Desk, found: list[Piece], organization_id: str) -> None:
    with pytest.raises((TamperedHistory, ValidationFailed)):
        restore(desk, found, organization_id)
    assert desk.store.organization_ids() == []


def test_a_rule_whose_id_another_organization_has_is_refused(desk: Desk, found: list[Piece]) -> None:
    with desk.writing("org_other", SYSTEM) as writing:
        writing.book.claim(Lookup.ENTITY, {"rule/rule_1": "org_other"})
    with pytest.raises(Conflict) as raised:
        restore(desk, [*found, Claim(Lookup.ENTITY, "rule/rule_1", ORGANIZATION)])
    assert raised.value.details == {"organization_id": ORGANIZATION, "key": "rule/rule_1"}
    assert desk.store.organization_ids() == []


def test_a_user_keeps_the_home_that_the_new_book_knows(desk: Desk, found: list[Piece]) -> None:
    """And where it knows none, the one that the old book knew, whichever organization is carried first."""
    with desk.writing("org_other", SYSTEM) as writing:
        writing.book.claim(Lookup.USER, {"usr_1": "org_other"})
    restore(desk, _changed(found, lambda claim: claim._replace(value="org_third"), Claim))
    assert desk.store.look_up(Lookup.USER, "usr_0") == "org_third"
    assert desk.store.look_up(Lookup.USER, "usr_1") == "org_other"


def test_a_broken_history_is_not_carried(desk: Desk) -> None:
    found_in(desk)
    with desk.store.archive(ORGANIZATION) as archive:
        archive.head = replace(archive.head, hash="0" * 64)
        with pytest.raises(TamperedHistory):
            list(moves.pieces(archive))
