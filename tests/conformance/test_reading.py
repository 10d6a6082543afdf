"""Finding, selecting, paging and counting mean the same in every store."""

from collections.abc import Sequence

import pytest

from grantbook.model.facts import (
    FACT_KINDS,
    ApiKey,
    Containment,
    Department,
    Entity,
    EntityRef,
    Fact,
    Grant,
    Member,
    Organization,
    Role,
    key_of,
    revised,
)
from grantbook.store.port import Store, Where
from tests.worlds import (
    AUTHOR,
    FACTS_OF_EVERY_KIND,
    NOW,
    ORGANIZATION,
    api_key,
    contains,
    contents,
    department,
    deposit,
    entity,
    everything,
    grant,
    member,
    organization,
    role,
    user,
)

SLICE = EntityRef("knowledge_slice", "kslice_1")
VECTORS = EntityRef("vector_store", "vs_1")


def test_there_is_a_sample_of_every_kind_of_fact() -> None:
    assert {type(fact) for fact in FACTS_OF_EVERY_KIND} == set(FACT_KINDS)


@pytest.mark.parametrize("fact", FACTS_OF_EVERY_KIND, ids=lambda fact: type(fact).__name__)
def test_every_kind_of_fact_comes_back_as_it_was_written(store: Store, fact: Fact) -> None:
    deposit(store, ORGANIZATION, [fact])
    with store.snapshot(ORGANIZATION) as snapshot:
        found = snapshot.find(type(fact), *key_of(fact))
        assert found == fact
        assert type(found) is type(fact)
        assert snapshot.select(type(fact)) == [fact]


def test_a_fact_is_found_by_its_whole_key(store: Store) -> None:
    deposit(store, ORGANIZATION, [contains(SLICE, VECTORS), entity(SLICE)])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.find(Containment, *SLICE, *VECTORS) == contains(SLICE, VECTORS)
        assert snapshot.find(Containment, *VECTORS, *SLICE) is None
        assert snapshot.find(Entity, "knowledge_slice", "kslice_1") == entity(SLICE)
        assert snapshot.find(Entity, "vector_store", "kslice_1") is None


def test_an_unknown_organization_reads_as_empty_at_revision_0(store: Store) -> None:
    deposit(store, ORGANIZATION, FACTS_OF_EVERY_KIND)
    with store.snapshot("org_unknown") as snapshot:
        assert snapshot.organization_id == "org_unknown"
        assert snapshot.revision == 0
        assert not any(everything(snapshot).values())
        assert snapshot.count(Member) == 0
        assert snapshot.page(Member, skip=0, limit=10) == []
    assert list(store.changes("org_unknown")) == []
    assert store.revision_at("org_unknown", NOW) == 0


PEOPLE = [
    member("usr_1", created_at=1),
    member("usr_2", "deactivated", created_at=2, full_name="Ada"),
    member("usr_3", created_at=3, full_name="Ada"),
]
MANY = {f"usr_{number}" for number in range(2_500)}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], "123"),
        ([{}], "123"),
        ([{"state": "active"}], "13"),
        ([{"state": "active", "full_name": "Ada"}], "3"),
        ([{"state": "deactivated"}, {"user_id": "usr_3"}], "23"),
        ([{"state": "active"}, {"user_id": "usr_3"}], "13"),
        ([{"user_id": "usr_9"}, {}], "123"),
        ([{"full_name": None}], "1"),
        ([{"full_name": None, "state": "deactivated"}], ""),
        ([{"user_id": {"usr_1", "usr_3", "usr_9"}}], "13"),
        ([{"user_id": ["usr_2"]}], "2"),
        ([{"user_id": ("usr_2", "usr_2")}], "2"),
        ([{"user_id": {"usr_2": 1}.keys()}], "2"),
        ([{"user_id": frozenset()}], ""),
        ([{"user_id": set()}, {"user_id": "usr_1"}], "1"),
        ([{"user_id": MANY}], "123"),
        ([{"user_id": MANY - {"usr_2"}}, {"user_id": MANY, "state": "deactivated"}], "123"),
        ([{"created_at": 2}], "2"),
        ([{"state": "ACTIVE"}], ""),
        ([{"state": ""}], ""),
        ([{"full_name": "Ada", "user_id": {"usr_3"}, "created_at": 3}], "3"),
    ],
)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_conditions_select_count_and_page_alike(
    store: Store, where: Sequence[Where], expected: str, in_transaction: bool
) -> None:
    deposit(store, ORGANIZATION, PEOPLE)
    deposit(store, "org_other", [member(f"usr_{number}") for number in range(1, 4)])
    wanted = [f"usr_{digit}" for digit in expected]
    opened = store.transaction(ORGANIZATION, AUTHOR) if in_transaction else store.snapshot(ORGANIZATION)
    with opened as snapshot:
        assert sorted(found.user_id for found in snapshot.select(Member, *where)) == wanted
        assert snapshot.count(Member, *where) == len(wanted)
        assert [found.user_id for found in snapshot.page(Member, *where, skip=0, limit=100)] == wanted
    with store.snapshot(ORGANIZATION, revision=1) as past:
        assert sorted(found.user_id for found in past.select(Member, *where)) == wanted
        assert past.count(Member, *where) == len(wanted)


def test_truth_values_can_be_selected(store: Store) -> None:
    deposit(store, ORGANIZATION, [role("role_1"), role("role_2", is_base=True)])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert [found.id for found in snapshot.select(Role, {"is_base": True})] == ["role_2"]
        assert [found.id for found in snapshot.select(Role, {"is_base": False})] == ["role_1"]


def test_pages_come_in_order_of_creation_then_id(store: Store) -> None:
    at_once = [grant(VECTORS, user(f"usr_{n}"), "read", id=f"agrant_{n}") for n in (3, 1, 2)]
    later = grant(VECTORS, user("usr_0"), "read", id="agrant_0", created_at=NOW + 1)
    earlier = grant(VECTORS, user("usr_9"), "read", id="agrant_9", created_at=NOW - 1)
    deposit(store, ORGANIZATION, [later, *at_once, earlier])
    expected = ["agrant_9", "agrant_1", "agrant_2", "agrant_3", "agrant_0"]
    with store.snapshot(ORGANIZATION) as snapshot:
        for limit in range(1, 7):
            pages = [snapshot.page(Grant, skip=skip, limit=limit) for skip in range(0, 8, limit)]
            assert [found.id for page in pages for found in page] == expected
        assert snapshot.page(Grant, skip=5, limit=3) == []
        assert snapshot.page(Grant, skip=2**31 - 1, limit=1) == []


def test_pages_stay_where_they_are_when_something_else_changes(store: Store) -> None:
    facts = [grant(VECTORS, user(f"usr_{n}"), "read", id=f"agrant_{n}", created_at=NOW + n) for n in range(6)]
    deposit(store, ORGANIZATION, facts)
    with store.transaction(ORGANIZATION, AUTHOR) as book:
        book.replace(facts[1], revised(facts[1], access_level="write"), "updated")
    deposit(store, ORGANIZATION, [grant(VECTORS, user("usr_9"), "read", id="agrant_9", created_at=NOW + 9)])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert [found.id for found in snapshot.page(Grant, skip=2, limit=2)] == ["agrant_2", "agrant_3"]


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        (Member, [member(f"usr_{n}") for n in range(3)]),
        (Department, [department(f"dept_{n}") for n in range(3)]),
        (Role, [role(f"role_{n}") for n in range(3)]),
        (Entity, [entity(EntityRef("rule", f"rule_{n}")) for n in range(3)]),
        (Grant, [grant(VECTORS, user(f"usr_{n}"), "read") for n in range(3)]),
        (ApiKey, [api_key(f"ak_{n}") for n in range(3)]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_kind_that_is_listed_can_be_paged(store: Store, kind: type[Fact], facts: list[Fact]) -> None:
    deposit(store, ORGANIZATION, reversed(facts))
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.page(kind, skip=1, limit=9) == facts[1:]


def test_ids_are_compared_byte_for_byte(store: Store) -> None:
    """Source: OpenFGA CVE-2026-55170, identifiers compared without case."""
    alike = ["usr_abc", "usr_ABC", "usr_abc ", "usr_\u00e4", "usr_a\u0308", "usr_%", "usr__"]
    deposit(store, ORGANIZATION, [member(user_id) for user_id in alike])
    with store.snapshot(ORGANIZATION) as snapshot:
        for user_id in alike:
            assert snapshot.find(Member, user_id) == member(user_id)
            assert snapshot.select(Member, {"user_id": {user_id}}) == [member(user_id)]
        assert snapshot.find(Member, "usr_Abc") is None
        found = [each.user_id for each in snapshot.page(Member, skip=0, limit=9)]
        assert found == sorted(alike)
    assert store.known_users([*alike, "USR_ABC"]) == set(alike)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "O'Brien; DROP TABLE members--",
        'quote " and \\',
        "line\nbreak\ttab",
        "日本語 العربية 😀 e\u0301",
        "%_*?[]",
    ],
)
def test_any_text_comes_back_as_it_was_written(store: Store, text: str) -> None:
    deposit(store, ORGANIZATION, [member("usr_1", full_name=text), member("usr_2")])
    with store.snapshot(ORGANIZATION) as snapshot:
        assert snapshot.select(Member, {"full_name": text}) == [member("usr_1", full_name=text)]
        assert snapshot.select(Member, {"full_name": {text, "x"}}) == [member("usr_1", full_name=text)]
    assert [change.kind for change in store.changes(ORGANIZATION)] == ["Member", "Member"]


def test_attributes_come_back_as_they_were_written(store: Store) -> None:
    attributes = {
        "z": None,
        "a": [1, -2.5, 10**30, True, {"nested": {"deep": []}}],
        "ключ": "значение 😀",
        "": "empty key",
        "text": 'a "quoted" \\ \n text',
    }
    fact = entity(SLICE, attributes=attributes)
    deposit(store, ORGANIZATION, [fact, organization(attributes=attributes)])
    with store.snapshot(ORGANIZATION) as snapshot:
        found = snapshot.find(Entity, *SLICE)
        known = snapshot.find(Organization, ORGANIZATION)
    assert found is not None
    assert known is not None
    assert found.attributes == known.attributes == attributes
    assert list(found.attributes) == list(attributes)


def test_no_scopes_and_all_scopes_stay_apart(store: Store) -> None:
    keys = [api_key("ak_all", scopes=None), api_key("ak_none", scopes=()), api_key("ak_some", scopes=("read", "write"))]
    deposit(store, ORGANIZATION, keys)
    with store.snapshot(ORGANIZATION) as snapshot:
        assert [each.scopes for each in snapshot.page(ApiKey, skip=0, limit=3)] == [None, (), ("read", "write")]


def test_facts_of_one_organization_are_not_visible_from_another(store: Store) -> None:
    """Both organizations use the same ids."""
    deposit(store, "org_a", FACTS_OF_EVERY_KIND)
    deposit(store, "org_b", [member("usr_1", "deactivated"), contains(SLICE, VECTORS)])
    deposit(store, "org_b", [department("dept_b")])
    assert contents(store, "org_b")["Member"] == [member("usr_1", "deactivated")]
    assert contents(store, "org_a")["Member"] != contents(store, "org_b")["Member"]
    assert contents(store, "org_b")["Grant"] == []
    with store.snapshot("org_b") as snapshot:
        assert snapshot.revision == 2
        assert [found.id for found in snapshot.departments_below(["dept_1", "dept_b"])] == ["dept_b"]
        assert snapshot.containers_of([VECTORS]) == [contains(SLICE, VECTORS)]
    assert store.head("org_a").revision == 1
    with store.transaction("org_b", AUTHOR) as book:
        for fact in [*book.select(Member), *book.select(Containment), *book.select(Department)]:
            book.remove(fact, "removed")
    assert contents(store, "org_a") == contents(store, "org_a", 1)
    assert {change.revision for change in store.changes("org_a")} == {1}
