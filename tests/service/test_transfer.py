"""A whole organization, out of one book and into another: the same facts, the same answers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from grantbook.cli import lines
from grantbook.engine import decide
from grantbook.model.errors import InvalidLines, ValidationFailed
from grantbook.model.facts import (
    Containment,
    Department,
    Entity,
    EntityRef,
    Fact,
    Grant,
    Member,
    Organization,
    Principal,
    Role,
    key_of,
    revised,
)
from grantbook.model.vocabulary import BUILT_IN
from grantbook.service import (
    departments,
    entities,
    grants,
    keys,
    members,
    organizations,
    roles,
    rule_permissions,
    transfer,
)
from grantbook.service.desk import SYSTEM, Desk, Writing
from grantbook.service.grants import NewGrant
from grantbook.service.rule_permissions import Permission
from grantbook.service.transfer import Known, Line
from grantbook.store.history import verify
from grantbook.store.memory import MemoryStore
from grantbook.store.port import Store
from grantbook.store.sqlite import open_sqlite
from tests.service.office import Office
from tests.worlds import (
    DAY,
    NOW,
    ORGANIZATION,
    FakeClock,
    assigned,
    contains,
    contents,
    department,
    entity,
    grant,
    joined,
    member,
    nothing_happens,
    role,
    target,
    user,
)

SLICES, STORES, ASSISTANTS, RULES = 15, 25, 5, 5
QUESTIONS = 10_000


def build(desk: Desk, random: Random) -> None:
    """An organization of some size, with everything that decides about access, made by the use-cases."""
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        organizations.found(writing, name="Acme", owner_email="ada@acme.test", owner_id="usr_0", attributes={"a": "é"})
        people = ["usr_0", *_directory(writing, random)]
        things = _things(writing, random, people)
        whom = [
            *(Principal("user", each) for each in people),
            *(Principal("department", f"dept_{number}") for number in range(12)),
            *(Principal("role", f"role_{number}") for number in range(4)),
            Principal("organization", ORGANIZATION),
        ]
        for ref in things[:-RULES]:
            for grantee in random.sample(whom, 8):
                window = random.choice(
                    [(None, None)] * 4 + [(NOW + DAY, None), (None, NOW + DAY), (NOW, NOW + 2 * DAY)]
                )
                level = random.choice(BUILT_IN.types[ref.type].levels)
                new = NewGrant(grantee=grantee, access_level=level, starts_at=window[0], expires_at=window[1])
                grants.create(writing, ref, replace(new, reason=random.choice([None, "because é"])))
        for ref in things[-RULES:]:
            for grantee in random.sample([*whom, Principal("all", "*")], 4):
                wanted = Permission(target=grantee, access_level=random.choice(("view", "use", "modify")))
                rule_permissions.grant_permission(writing, ref.id, wanted)
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        for each in random.sample(people[1:], 3):
            members.set_state(writing, each, "deactivated")
        for ref in random.sample(things, 4):
            entities.set_status(writing, ref, "archived")
        for found in random.sample(writing.snapshot.select(Grant, {"entity_type": "vector_store"}), 20):
            grants.revoke(writing, found.id)
        members.remove(writing, next(each for each in people[1:] if each.endswith("7")))
        entities.delete(writing, things[3])
        keys.create(writing, user_id="usr_0", name="stays behind")


def _directory(writing: Writing, random: Random) -> list[str]:
    for number in range(12):
        parent = random.choice([None, *range(number)][: number + 1])
        departments.create(
            writing,
            name=f"D{number}",
            department_id=f"dept_{number}",
            parent_id=None if parent is None else f"dept_{parent}",
        )
    for number in range(4):
        capabilities = ["override_all_permissions"] if number == 3 else []
        roles.create(writing, name=f"R{number}", role_id=f"role_{number}", capabilities=capabilities)
    people = [f"usr_{number}" for number in range(1, 40)]
    for each in people:
        members.invite(
            writing,
            email=f"{each}@acme.test",
            user_id=each,
            is_active=random.random() < 0.9,
            role_ids=[f"role_{random.choice([0, 1, 2, 0, 1, 2, 3])}"] if random.random() < 0.5 else [],
            department_ids=[f"dept_{number}" for number in random.sample(range(12), random.randrange(3))],
        )
    return people


def _things(writing: Writing, random: Random, people: list[str]) -> list[EntityRef]:
    slices = [EntityRef("knowledge_slice", f"kslice_{number}") for number in range(SLICES)]
    stores = [EntityRef("vector_store", f"vs_{number}") for number in range(STORES)]
    others = [EntityRef("assistant", f"asst_{number}") for number in range(ASSISTANTS)]
    things = [*slices, *stores, *others, *(EntityRef("rule", f"rule_{number}") for number in range(RULES))]
    for position, ref in enumerate(things):
        mode = random.choice(("private", "private", "private", "organization", "department", "public"))
        outer = slices[: position if ref in slices else len(slices)] if ref in slices or ref in stores else []
        draft = entities.Draft(
            ref=ref,
            name=f"Thing {ref.id}",
            owner=Principal("user", random.choice(people))
            if random.random() < 0.8
            else Principal("department", "dept_1"),
            access_mode=mode,
            targets=random.sample([*people, "dept_1", "dept_2"], 3) if mode in {"private", "department"} else [],
            containers=random.sample(outer, min(len(outer), random.choice((0, 1, 1, 2)))),
            attributes={"description": "x", "version": 3},
        )
        entities.register(writing, draft)
    return things


def carry(source: Desk, target_desk: Desk, part: int = 50) -> None:
    """Out and in, through the text."""
    with source.reading(ORGANIZATION, SYSTEM) as reading:
        texts = [lines.line_of(fact) for fact in transfer.iterate(reading)]
        assert sum(transfer.counts(reading).values()) == len(texts)
    known = Known()
    read = [Line(number, _fact(text)) for number, text in enumerate(texts, 1)]
    for first in range(0, len(read), part):
        with target_desk.writing(ORGANIZATION, SYSTEM) as writing:
            assert transfer.add(writing, read[first : first + part], known) == len(read[first : first + part])


def _fact(text: bytes) -> Fact:
    found = lines.read(text)
    assert isinstance(found, Fact)
    return found


def portable(store: Store) -> dict[str, list[Fact]]:
    """Every fact of the organization as far as it is carried."""
    found = {name: [transfer.portable(fact) for fact in facts] for name, facts in contents(store, ORGANIZATION).items()}
    return {**found, "ApiKey": []}


@pytest.fixture(params=["memory to sqlite", "sqlite to memory"])
def books(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[tuple[Desk, Desk]]:
    """An organization in one kind of store, and an empty book in another."""
    stores: list[Store] = [MemoryStore(clock), open_sqlite(f"sqlite:///{tmp_path}/book.db", clock)]
    if request.param == "sqlite to memory":
        stores.reverse()
    source, destination = (Desk(store, BUILT_IN, clock, Random(7).randbytes) for store in stores)
    build(source, Random(11))
    yield source, destination
    for store in stores:
        store.close()


def test_what_is_carried_is_the_same_and_answers_the_same(books: tuple[Desk, Desk], clock: FakeClock) -> None:
    """Ten thousand questions, at several times, through the same engine on both sides."""
    source, destination = books
    clock.advance(DAY // 2)
    carry(source, destination)
    assert portable(destination.store) == portable(source.store)
    random = Random(5)
    with source.store.snapshot(ORGANIZATION) as before, destination.store.snapshot(ORGANIZATION) as after:
        people = [f"usr_{number}" for number in range(42)]
        refs = [each.ref for each in before.select(Entity)] + [EntityRef("vector_store", "vs_none")]
        allowed = 0
        for at in (NOW - 1, NOW + DAY // 2, NOW + DAY, NOW + 3 * DAY):
            pairs = [(random.choice(people), random.choice(refs)) for _ in range(QUESTIONS // 4)]
            answers = decide.access_many(before, BUILT_IN, pairs, at)
            assert decide.access_many(after, BUILT_IN, pairs, at) == answers
            allowed += sum(answer.level is not None for answer in answers.values())
    assert 0.1 < allowed / QUESTIONS < 0.9, "the questions must be worth asking"
    verify(destination.store, ORGANIZATION)


def test_what_comes_out_again_is_the_same_text(books: tuple[Desk, Desk]) -> None:
    source, destination = books
    carry(source, destination)
    texts = []
    for desk in books:
        with desk.reading(ORGANIZATION, SYSTEM) as reading:
            texts.append([lines.line_of(fact) for fact in transfer.iterate(reading)])
    assert texts[0] == texts[1]


def test_secrets_stay_behind(books: tuple[Desk, Desk]) -> None:
    source, _ = books
    with source.reading(ORGANIZATION, SYSTEM) as reading:
        text = b"".join(lines.line_of(fact) for fact in transfer.iterate(reading)).decode()
    assert "digest" not in text
    assert "stays behind" not in text


def test_carrying_again_changes_nothing(books: tuple[Desk, Desk]) -> None:
    source, destination = books
    carry(source, destination)
    with nothing_happens(destination.store, ORGANIZATION):
        with source.reading(ORGANIZATION, SYSTEM) as reading:
            facts = [Line(number, fact) for number, fact in enumerate(transfer.iterate(reading), 1)]
        with destination.writing(ORGANIZATION, SYSTEM) as writing:
            assert transfer.add(writing, facts, Known()) == 0


def test_users_and_rules_are_known_beyond_the_organization_as_before(books: tuple[Desk, Desk]) -> None:
    source, destination = books
    carry(source, destination)
    for desk in books:
        assert desk.store.organizations_of("usr_1") == [ORGANIZATION]
        assert desk.store.known_users(["usr_1", "usr_none"]) == {"usr_1"}
    taken = [Line(1, _organization("org_2")), Line(2, entity(EntityRef("rule", "rule_1")))]
    with pytest.raises(InvalidLines) as raised, destination.writing("org_2", SYSTEM) as writing:
        transfer.add(writing, taken, Known())
    assert (raised.value.details["line"], raised.value.details["field"]) == (2, "id")


def _organization(id_: str = ORGANIZATION, **values: Any) -> Organization:
    return Organization(id=id_, name="Acme", created_by="usr_1", created_at=NOW, updated_at=NOW, **values)


STORE, SLICE, RULE = EntityRef("vector_store", "vs_new"), EntityRef("knowledge_slice", "kslice_new"), "rule_new"


def refused(office: Office, *facts: Fact) -> list[tuple[int, str]]:
    """The lines and fields that are refused, after nothing has happened."""
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(InvalidLines) as raised:
        office.do(SYSTEM, transfer.add, [Line(number, fact) for number, fact in enumerate(facts, 1)], Known())
    assert raised.value.details["errors"][0].items() <= raised.value.details.items()
    return [(problem["line"], problem["field"]) for problem in raised.value.details["errors"]]


def test_every_line_that_is_not_valid_is_told(office: Office) -> None:
    wrong: list[Fact] = [
        _organization("org_other"),
        department("dept_ok"),
        department("dept_bad", name=" padded "),
        member("usr_bad", email="Ada@Example.org"),
        role("role_bad", "fly"),
        entity(EntityRef("vector_store", "kslice_1")),
        entity(EntityRef("planet", "vs_1")),
        contains(STORE, SLICE),
        grant(STORE, user("usr_plain"), "view"),
        grant(STORE, Principal("all", "*"), "read"),
        grant(STORE, user("usr_plain"), "read", created_at=-1),
    ]
    assert refused(office, *wrong) == [
        (1, "id"),
        (3, "name"),
        (4, "email"),
        (5, "capabilities"),
        (6, "id"),
        (7, "entity_type"),
        (8, "member_type"),
        (9, "access_level"),
        (10, "grantee_type"),
        (11, "created_at"),
    ]


@pytest.mark.parametrize(
    ("fact", "fields"),
    [
        (department("dept_new", "dept_none"), ["parent_id"]),
        (joined("dept_none", "usr_none"), ["department_id", "user_id"]),
        (assigned("role_none", "usr_plain"), ["role_id"]),
        (entity(STORE, owner=Principal("department", "dept_none")), ["owner_id"]),
        (entity(STORE, owner=Principal("organization", "org_other")), ["owner_id"]),
        (target(STORE, user("usr_none")), ["entity_id", "target_id"]),
        (contains(SLICE, STORE), ["container_id", "member_id"]),
        (grant(STORE, user("usr_none"), "read"), ["entity_id", "grantee_id"]),
        (grant(EntityRef("rule", "rule_1"), Principal("role", "role_none"), "use"), ["grantee_id"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_is_carried_that_refers_to_nothing(office: Office, fact: Fact, fields: list[str]) -> None:
    assert refused(office, fact) == [(1, field) for field in fields]


def test_a_rule_is_carried_with_grants_to_users_from_elsewhere(office: Office) -> None:
    fact = grant(EntityRef("rule", "rule_1"), user("usr_elsewhere"), "use")
    assert office.do(SYSTEM, transfer.add, [Line(1, fact)], Known()) == 1


def test_what_is_there_with_another_content_is_refused(office: Office) -> None:
    present = office.give(EntityRef("vector_store", "vs_notes"), user("usr_plain"), "read")
    other_id = revised(present, id="agrant_other")
    assert refused(office, revised(present, access_level="write")) == [(1, "access_level")]
    assert refused(office, other_id) == [(1, "entity_id")]
    assert refused(
        office, revised(other_id, grantee_id="usr_other"), revised(other_id, grantee_id="usr_other", id="a_2")
    )
    with office.store.snapshot(ORGANIZATION) as snapshot:
        (someone,) = snapshot.select(Member, {"user_id": "usr_plain"})
        (owner_role,) = snapshot.select(Role, {"name": "Owner"})
    assert refused(office, revised(someone, user_id="usr_double")) == [(1, "email")]
    assert refused(office, revised(owner_role, id="role_double")) == [(1, "name")]


def test_nothing_goes_round_in_a_circle(office: Office) -> None:
    assert refused(office, department("dept_a", "dept_b"), department("dept_b", "dept_a")) == [
        (1, "parent_id"),
        (2, "parent_id"),
    ]
    one, two = EntityRef("knowledge_slice", "kslice_1"), EntityRef("knowledge_slice", "kslice_2")
    assert refused(office, entity(one), entity(two), contains(one, two), contains(two, one)) == [(3, "containers")]
    deep = [department(f"dept_deep{each}", f"dept_deep{each - 1}" if each else None) for each in range(33)]
    assert refused(office, *deep) == [(33, "parent_id")]


def test_lines_of_a_part_may_come_in_any_order(office: Office) -> None:
    facts = [
        grant(STORE, Principal("department", "dept_low2"), "read"),
        contains(SLICE, STORE),
        department("dept_low2", "dept_top2"),
        entity(STORE),
        entity(SLICE),
        department("dept_top2"),
    ]
    assert office.do(SYSTEM, transfer.add, [Line(number, fact) for number, fact in enumerate(facts)], Known()) == 6
    (found,) = [each for each in office.grants() if each.entity == STORE]
    assert found == facts[0]


def test_an_import_sees_what_others_did_in_between(office: Office) -> None:
    """What it has seen counts only as long as nobody else writes."""
    known, first = Known(), grant(EntityRef("vector_store", "vs_notes"), user("usr_plain"), "read")
    office.do(SYSTEM, transfer.add, [Line(1, first)], known)
    office.do(SYSTEM, members.remove, "usr_other")
    office.do(SYSTEM, entities.delete, EntityRef("vector_store", "vs_notes"))
    with pytest.raises(InvalidLines):
        office.do(SYSTEM, transfer.add, [Line(2, revised(first, id="agrant_2", grantee_id="usr_other"))], known)


def test_an_organization_begins_with_its_own_line(store: Store, clock: FakeClock) -> None:
    desk = Desk(store, BUILT_IN, clock, Random(1).randbytes)
    with pytest.raises(InvalidLines) as raised, desk.writing(ORGANIZATION, SYSTEM) as writing:
        transfer.add(writing, [Line(1, department("dept_1"))], Known())
    assert raised.value.details["field"] == "kind"
    assert store.organization_ids() == []
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        assert transfer.add(writing, [Line(1, department("dept_1")), Line(2, _organization())], Known()) == 2
    with desk.reading(ORGANIZATION, SYSTEM) as reading, pytest.raises(ValidationFailed):
        transfer.require_complete(reading)


def test_a_key_of_the_old_book_opens_nothing_in_the_new_one(store: Store, clock: FakeClock) -> None:
    desk = Desk(store, BUILT_IN, clock, Random(1).randbytes)
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        transfer.add(writing, [Line(1, _organization(creator_key_id="ak_1"))], Known())
        found = writing.snapshot.find(Organization, ORGANIZATION)
    assert found is not None
    assert found.creator_key_id is None


def test_facts_are_told_in_an_order_that_can_be_read(books: tuple[Desk, Desk]) -> None:
    with books[0].reading(ORGANIZATION, SYSTEM) as reading:
        facts = list(transfer.iterate(reading))
    assert [type(fact) for fact in facts] == sorted((type(fact) for fact in facts), key=transfer.KINDS.index)
    seen: set[str | None] = {None}
    for fact in facts:
        if isinstance(fact, Department):
            assert fact.parent_id in seen
            seen.add(fact.id)
    assert len({(type(fact), key_of(fact)) for fact in facts}) == len(facts)
    assert any(isinstance(fact, Containment) for fact in facts)
