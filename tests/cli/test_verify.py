"""`grantbook verify`."""

import sqlite3

from grantbook.cli.errors import Exit
from tests.cli.conftest import Shell

OTHER = ("init", "--organization", "Other", "--email", "o@other.example", "--organization-id", "org_other")


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
