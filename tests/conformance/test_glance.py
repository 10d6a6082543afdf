"""What decides about one pair, in two questions that are no part of a reading."""

from grantbook.model.facts import EntityRef, Principal
from grantbook.store.port import Store
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
    people = member("usr_1"), member("usr_2"), department("dept_1"), role("role_1")
    things = entity(STORE, mode="department"), entity(SLICE), target(STORE, listed), contains(SLICE, STORE)
    gone = grant(STORE, user("usr_2"), "read")
    grants = grant(STORE, named, "write"), grant(STORE, listed, "read"), grant(SLICE, named, "admin"), gone
    standing = joined("dept_1", "usr_1"), assigned("role_1", "usr_1")
    deposit(store, ORGANIZATION, [organization(), *people, *standing, *things, *grants])
    revision = withdraw(store, ORGANIZATION, [gone])
    present, ids = store.present(), ["usr_1", "usr_2", "dept_1"]
    for user_id, ref in (("usr_1", STORE), ("usr_2", SLICE), ("usr_none", STORE), ("usr_1", EntityRef("rule", "r"))):
        found, (of, rows) = present.glance(ORGANIZATION, user_id, ref), present.glance_at_grants(ORGANIZATION, ref, ids)
        assert found.revision == of == revision
        with present.reading():
            assert sorted(found.standing) == sorted(present.standing(ORGANIZATION, user_id))
            assert {*map(tuple, found.outline)} == {*map(tuple, present.outline(ORGANIZATION, ref))}
            assert sorted(rows) == sorted(present.grants_to(ORGANIZATION, ref, ids))
    assert {row[3] for row in present.glance_at_grants(ORGANIZATION, STORE, ids)[1]} == {"usr_1", "dept_1"}
    assert present.glance("org_none", "usr_1", STORE).revision <= 0
    present.close()
