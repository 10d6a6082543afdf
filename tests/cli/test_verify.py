"""`grantbook verify`."""

import sqlite3

from grantbook.cli.errors import Exit
from tests.cli.conftest import Shell

OTHER = ("init", "--name", "Other", "--email", "o@other.example", "--organization-id", "org_other")


def test_an_untouched_history_is_intact(demo: Shell) -> None:
    demo(*OTHER)
    shown = demo("verify", "--json")
    assert (shown.code, shown.err) == (Exit.DONE, "")
    assert [(each["organization_id"], each["is_intact"]) for each in shown.json["organizations"]] == [
        ("org_demo", True),
        ("org_other", True),
    ]
    assert demo("verify").out.splitlines()[2].startswith("org_other\tintact\t")


def test_a_touched_history_is_named_and_the_others_are_still_checked(demo: Shell) -> None:
    demo(*OTHER)
    with sqlite3.connect(demo.book) as connection:
        connection.execute("UPDATE changes SET actor_id = 'usr_eve' WHERE organization_id = 'org_demo' AND ordinal = 7")
    connection.close()
    shown = demo("verify", "--json")
    assert shown.code == Exit.FAILED
    assert [each["is_intact"] for each in shown.json["organizations"]] == [False, True]
    assert shown.error["code"] == "TAMPERED_HISTORY"
    assert shown.error["details"] == {"organization_id": "org_demo", "revision": 1, "ordinal": 7}
    assert "org_demo\tDAMAGED\t" in demo("verify").out.splitlines()


def test_a_fact_that_was_touched_is_told_with_what_is_wrong(demo: Shell) -> None:
    with sqlite3.connect(demo.book) as connection:
        (id_,) = connection.execute("SELECT min(id) FROM grants WHERE access_level = 'read'").fetchone()
        connection.execute("UPDATE grants SET access_level = 'admin' WHERE id = ?", (id_,))
    connection.close()
    message = "revision 1: the version differs from the history in access_level"
    shown = demo("verify", "--json")
    assert shown.code == Exit.FAILED
    (document,) = shown.json["organizations"]
    assert document["problems"] == [{"kind": "Grant", "key": id_, "message": message}]
    assert (document["is_intact"], document["has_more_problems"]) == (False, False)
    assert shown.error["code"] == "DAMAGED_BOOK"
    assert shown.error["details"] == {"organization_id": "org_demo", "kind": "Grant", "key": id_, "problems": 1}
    lines = demo("verify").out.splitlines()
    assert "org_demo\tDAMAGED\t" in lines
    assert f"org_demo\tGrant\t{id_}\t{message}" in lines


def test_one_organization_alone_is_verified(demo: Shell) -> None:
    demo(*OTHER)
    shown = demo("verify", "--json", "--organization", "org_other")
    assert [each["organization_id"] for each in shown.json["organizations"]] == ["org_other"]
    shown = demo("verify", "--json", "--organization", "org_none")
    assert (shown.code, shown.error["code"]) == (Exit.FAILED, "RESOURCE_NOT_FOUND")
