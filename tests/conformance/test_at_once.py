"""Several threads at one book."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import TypeVar

from grantbook.model.facts import Department, DepartmentMember, Member
from grantbook.store import history
from grantbook.store.port import Lookup, Store
from tests.worlds import AUTHOR, ORGANIZATION, contents, department, deposit, joined, member

T = TypeVar("T")
ROUNDS = 40


def _together(*work: Callable[[], T]) -> list[T]:
    """Each piece of work in a thread of its own; the first error is raised here."""
    with ThreadPoolExecutor(len(work)) as threads:
        return [each.result(timeout=60) for each in [threads.submit(piece) for piece in work]]


def test_two_writers_of_one_organization_take_turns(store: Store) -> None:
    """Each reads before it writes: no update is lost, and every revision is one of theirs."""
    deposit(store, ORGANIZATION, [department("dept_1", description="0")])

    def count_up() -> list[int]:
        made = []
        for _ in range(ROUNDS):
            with store.transaction(ORGANIZATION, AUTHOR) as book:
                old = book.find(Department, "dept_1")
                assert old is not None
                new = department("dept_1", description=str(int(old.description or "") + 1))
                book.replace(old, new, "updated")
            made.append(book.revision)
        return made

    revisions = [revision for made in _together(count_up, count_up) for revision in made]
    assert sorted(revisions) == list(range(2, 2 + 2 * ROUNDS))
    assert contents(store, ORGANIZATION)["Department"] == [department("dept_1", description=str(2 * ROUNDS))]
    assert history.verify(store, ORGANIZATION) == 1 + 2 * ROUNDS


def test_writers_of_different_organizations_do_not_mix(store: Store) -> None:
    def fill(organization_id: str) -> Callable[[], None]:
        def work() -> None:
            for number in range(ROUNDS):
                deposit(store, organization_id, [member(f"usr_{number}"), joined("dept_1", f"usr_{number}")])

        return work

    _together(fill("org_a"), fill("org_b"), fill("org_c"))
    for organization_id in ("org_a", "org_b", "org_c"):
        assert store.head(organization_id).revision == ROUNDS
        assert history.verify(store, organization_id) == 2 * ROUNDS
    assert store.organizations_of("usr_0") == ["org_a", "org_b", "org_c"]


def test_a_reader_sees_all_of_a_revision_or_none_of_it(store: Store) -> None:
    """Every revision adds a person and a membership, so a snapshot has as many of each as its revision says."""
    done = Event()

    def write() -> int:
        for number in range(ROUNDS):
            deposit(store, ORGANIZATION, [member(f"usr_{number}"), joined("dept_1", f"usr_{number}")])
        done.set()
        return 0

    def read() -> int:
        looks = 0
        while not done.is_set() or not looks:
            with store.snapshot(ORGANIZATION) as snapshot:
                people, memberships = snapshot.count(Member), snapshot.count(DepartmentMember)
                assert people == memberships == len(snapshot.select(Member)) == snapshot.revision
            looks += 1
        return looks

    _, *looks = _together(write, read, read)
    assert all(looks)


def test_only_one_of_many_gets_a_claim(store: Store) -> None:
    def claim(value: str) -> Callable[[], str]:
        def work() -> str:
            with store.transaction(value, AUTHOR) as book:
                return book.claim(Lookup.ENTITY, {"rule/rule_1": value})["rule/rule_1"]

        return work

    holders = _together(*(claim(f"org_{number}") for number in range(8)))
    assert set(holders) == {store.look_up(Lookup.ENTITY, "rule/rule_1")}


def test_what_another_thread_has_not_committed_is_not_seen(store: Store) -> None:
    """Neither in look-ups; the reader may wait for the writer, but then finds that nothing happened."""
    written, seen = Event(), []

    def look() -> None:
        written.wait(60)
        seen.append(
            (store.look_up(Lookup.USER, "usr_1"), store.organizations_of("usr_1"), store.known_users(["usr_1"]))
        )

    reader = Thread(target=look)
    reader.start()
    try:
        with store.transaction(ORGANIZATION, AUTHOR) as book:
            book.claim(Lookup.USER, {"usr_1": ORGANIZATION})
            book.add(member("usr_1"), "added")
            assert book.count(Member) == 1
            written.set()
            reader.join(0.2)
            raise InterruptedError
    except InterruptedError:
        reader.join(60)
    assert seen == [(None, [], set())]


def test_the_record_verifies_while_a_writer_is_at_work(store: Store) -> None:
    done = Event()

    def write() -> bool:
        for number in range(5 * ROUNDS):
            deposit(store, ORGANIZATION, [member(f"usr_{number}")])
        done.set()
        return True

    def verify() -> bool:
        found = [0]
        while not done.is_set():
            found.append(history.verify(store, ORGANIZATION))
        return found == sorted(found)

    assert _together(write, verify) == [True, True]
    assert history.verify(store, ORGANIZATION) == 5 * ROUNDS
