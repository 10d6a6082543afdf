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

STORE = EntityRef("vector_store", "vs_1")
SLICE, COMPOSITE, GONE = (EntityRef("knowledge_slice", f"kslice_{number}") for number in (1, 2, 3))
ALL = [STORE, SLICE, COMPOSITE, GONE]


def test_a_glance_is_what_a_reading_finds_at_the_newest_revision(store: Store) -> None:
    named, listed = user("usr_1"), Principal("department", "dept_1")
    people = member("usr_1"), member("usr_2"), department("dept_1"), role("role_1")
    things = entity(STORE, mode="department"), entity(SLICE), target(STORE, listed)
    line = contains(SLICE, STORE), contains(COMPOSITE, SLICE), contains(GONE, SLICE), entity(COMPOSITE)
    over = grant(STORE, user("usr_2"), "read")
    grants = grant(STORE, named, "write"), grant(STORE, listed, "read"), grant(SLICE, named, "admin"), over
    standing = joined("dept_1", "usr_1"), assigned("role_1", "usr_1")
    deposit(store, ORGANIZATION, [organization(), *people, *standing, *things, *line, *grants])
    revision = withdraw(store, ORGANIZATION, [over])
    present, ids = store.present(), ["usr_1", "usr_2", "dept_1"]
    for user_id, ref in (("usr_1", STORE), ("usr_2", SLICE), ("usr_none", COMPOSITE), ("usr_1", GONE)):
        refs = ALL[ALL.index(ref) :]
        found, (of, rows) = (
            present.glance(ORGANIZATION, user_id, ref),
            present.glance_at_grants(ORGANIZATION, refs, ids),
        )
        assert found.revision == of == revision
        with present.reading():
            assert sorted(found.standing) == sorted(present.standing(ORGANIZATION, user_id))
            for each in refs:
                outline = {*map(tuple, present.outline(ORGANIZATION, each))}
                assert {*map(tuple, found.outlines.get(each, ()))} == outline
            read = [row for each in refs for row in present.grants_to(ORGANIZATION, each, ids)]
            assert {*map(tuple, rows)} == {*map(tuple, read)}
        assert found.outlines.keys() <= {*refs}
    assert {row[3] for row in present.glance_at_grants(ORGANIZATION, [STORE], ids)[1]} == {"usr_1", "dept_1"}
    assert present.glance("org_none", "usr_1", STORE).revision <= 0
    present.close()


def test_a_glance_at_what_goes_round_in_a_circle_ends(store: Store) -> None:
    deposit(
        store, ORGANIZATION, [entity(SLICE), entity(COMPOSITE), contains(SLICE, COMPOSITE), contains(COMPOSITE, SLICE)]
    )
    present = store.present()
    assert present.glance(ORGANIZATION, "usr_1", SLICE).outlines.keys() == {SLICE, COMPOSITE}
    present.close()
