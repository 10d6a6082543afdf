"""What decides about one pair, in a few questions that are no part of a reading."""

import pytest

from grantbook.model.facts import EntityRef, Principal
from grantbook.store.port import Store
from grantbook.store.present_port import MAX_GLANCED, GrantRow
from tests.worlds import (
    ORGANIZATION,
    assigned,
    contains,
    department,
    deposit,
    entity,
    grant,
    joined,
    member,
    organization,
    role,
    target,
    user,
    withdraw,
)

STORE, SLICE = EntityRef("vector_store", "vs_1"), EntityRef("knowledge_slice", "kslice_1")


def test_a_glance_is_what_a_reading_finds_at_the_newest_revision(store: Store) -> None:
    named, listed = user("usr_1"), Principal("department", "dept_1")
    within = department("dept_1"), department("dept_2", "dept_1"), role("role_1")
    people = member("usr_1"), member("usr_2"), *within
    things = entity(STORE, mode="department"), entity(SLICE), target(STORE, listed), contains(SLICE, STORE)
    gone = grant(STORE, user("usr_2"), "read")
    grants = grant(STORE, named, "write"), grant(STORE, listed, "read"), grant(SLICE, named, "admin"), gone
    standing = joined("dept_1", "usr_1"), assigned("role_1", "usr_1")
    deposit(store, ORGANIZATION, [organization(), *people, *standing, *things, *grants])
    revision = withdraw(store, ORGANIZATION, [gone])
    present, ids = store.present(), ["usr_1", "usr_2", "dept_1"]
    for user_id, ref in (("usr_1", STORE), ("usr_2", SLICE), ("usr_none", STORE), ("usr_1", EntityRef("rule", "r"))):
        found = present.glance(ORGANIZATION, user_id, ref)
        (at, outlines), (of, rows) = (
            present.glance_at_outlines(ORGANIZATION, [ref, SLICE]),
            present.glance_at_grants(ORGANIZATION, [ref, SLICE], ids),
        )
        groups = present.glance_at_groups(ORGANIZATION, ["dept_2", "dept_none"], ["role_1", "role_none"])
        assert found.revision == at == of == groups.revision == revision
        with present.reading():
            assert sorted(found.standing) == sorted(present.standing(ORGANIZATION, user_id))
            assert {*map(tuple, found.outline)} == {*map(tuple, present.outline(ORGANIZATION, ref))}
            assert sorted(groups.departments) == sorted(present.departments(ORGANIZATION, ["dept_2", "dept_none"]))
            assert sorted(groups.roles) == sorted(present.roles(ORGANIZATION, ["role_1", "role_none"]))
            told = present.outlines(ORGANIZATION, [ref, SLICE])
            for each in (ref, SLICE):
                assert {*map(tuple, outlines.get(each, ()))} == {*map(tuple, told.get(each, ()))}
            rows_of_each = present.grants_to_each(ORGANIZATION, [ref, SLICE], ids)
            for each, *found_on in zip((ref, SLICE), rows, rows_of_each, strict=True):
                for found_rows in found_on:
                    assert {*map(tuple, found_rows)} == {*map(tuple, present.grants_to(ORGANIZATION, each, ids))}
    (on_store,) = present.glance_at_grants(ORGANIZATION, [STORE], ids)[1]
    assert {row.grantee_id for row in map(GrantRow._make, on_store)} == {"usr_1", "dept_1"}
    several = [STORE, SLICE, EntityRef("vector_store", "vs_2"), EntityRef("vector_store", "vs_3")][:MAX_GLANCED]
    assert [len(rows) for rows in present.glance_at_grants(ORGANIZATION, several, ids)[1]] == [2, 1, 0, 0]
    assert present.glance("org_none", "usr_1", STORE).revision <= 0
    present.close()


def test_grants_on_many_entities_are_those_on_each(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several statements where they are very many, also of entities of one id and several types."""
    refs = [EntityRef(type_, f"thing_{number}") for number in range(4) for type_ in ("vector_store", "assistant")]
    grants = [grant(ref, user(f"usr_{number % 3}"), "read") for number, ref in enumerate(refs)]
    deposit(store, ORGANIZATION, [organization(), *grants, grant(refs[0], user("usr_9"), "read")])
    present, ids = store.present(), ["usr_0", "usr_1"]
    for most in (1, 5, 100):
        monkeypatch.setattr("grantbook.store.present._MOST_LOOKED_UP", most)
        with present.reading():
            found = present.grants_to_each(ORGANIZATION, refs, ids)
            assert present.grants_to_each(ORGANIZATION, [], ids) == []
        told = [[row[3] for row in rows] for rows in found]
        assert told == [[each.id] if each.grantee_id in ids else [] for each in grants]
    present.close()
