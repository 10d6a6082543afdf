"""`grantbook keys`."""

from collections.abc import Iterator

import pytest

from grantbook.bootstrap import open_desk
from grantbook.cli.errors import Exit
from grantbook.model.errors import AuthenticationFailed
from grantbook.model.instants import to_text
from grantbook.service import keys
from grantbook.service.desk import Desk
from tests.cli.conftest import Shell

UNTIL = "2099-01-01T00:00:00Z"


@pytest.fixture
def desk(demo: Shell) -> Iterator[Desk]:
    """What a server has of the demo organization."""
    opened = open_desk(f"sqlite:///{demo.book}")
    yield opened
    opened.close()


def refusal(desk: Desk, secret: str) -> str:
    """Why a server would not let the holder of the secret in."""
    with pytest.raises(AuthenticationFailed) as refused:
        keys.authenticate(desk, secret)
    return refused.value.error_code


def test_a_new_key_opens_what_its_scopes_say_until_it_ends(demo: Shell, desk: Desk) -> None:
    made = demo(
        "keys", "create", "usr_dev", "report", "--scope", "write", "--scope", "read", "--expires-at", UNTIL, "--json"
    )
    assert (made.code, made.err) == (Exit.DONE, "")
    assert made.json["id"].startswith("ak_")
    identity = keys.authenticate(desk, made.json["key"])
    keys.require_opens(desk, identity, "org_demo")
    assert (identity.caller.user_id, identity.caller.scopes) == ("usr_dev", ("read", "write"))
    assert identity.expires_at is not None
    assert to_text(identity.expires_at) == UNTIL
    all_of_it = demo("keys", "create", "usr_dev", "all", "--json").json
    assert keys.authenticate(desk, all_of_it["key"]).caller.scopes is None


def test_a_lost_key_is_replaced(demo: Shell, desk: Desk) -> None:
    old = demo("keys", "create", "usr_dev", "report", "--scope", "read", "--json").json
    shown = demo("keys", "rotate", old["id"])
    assert (shown.code, shown.err) == (Exit.DONE, "")
    assert "only a digest of it is kept" in shown.out
    told = dict(line.split() for line in shown.out.splitlines()[:2])
    assert keys.authenticate(desk, told["key"]).caller.api_key_id == told["id"] != old["id"]
    assert refusal(desk, old["key"]) == "INVALID_API_KEY"
    again = demo("keys", "rotate", old["id"], "--json")
    assert (again.code, again.out, again.error["details"]) == (Exit.FAILED, "", {"key_id": old["id"]})
    assert demo("keys", "rotate", told["id"], "--json").json["scopes"] == ["read"]


def test_the_secret_is_shown_once_and_kept_nowhere(demo: Shell) -> None:
    made = demo("keys", "create", "usr_dev", "report")
    (secret,) = [word for word in made.out.split() if word.startswith("gb_")]
    assert made.out.count(secret[:20]) == 1
    shown = [demo("keys", "list", *flags).out for flags in ((), ("--json",))]
    kept = b"".join(path.read_bytes() for path in demo.directory.iterdir())
    for found in (*shown, kept.decode("latin-1")):
        assert "report" in found
        assert secret[:20] not in found
    assert all(keys.digest_of(secret) not in found for found in shown)


def test_pausing_is_undone_and_deleting_is_not(demo: Shell, desk: Desk) -> None:
    made = demo("keys", "create", "usr_dev", "report", "--json").json
    paused = demo("keys", "pause", made["id"])
    assert (paused.code, paused.out) == (Exit.DONE, f"paused: {made['id']}\n")
    assert refusal(desk, made["key"]) == "API_KEY_PAUSED"
    unpaused = demo("keys", "unpause", made["id"], "--json")
    assert (unpaused.code, unpaused.json["id"], unpaused.json["is_paused"]) == (Exit.DONE, made["id"], False)
    assert keys.authenticate(desk, made["key"]).caller.user_id == "usr_dev"
    for flags, shown in (((), f"deleted: {made['id']}\n"), (("--json",), f'{{\n  "id": "{made["id"]}"\n}}\n')):
        deleted = demo("keys", "delete", made["id"], *flags)
        assert (deleted.code, deleted.out) == (Exit.DONE, shown)
    assert refusal(desk, made["key"]) == "INVALID_API_KEY"
    assert demo("keys", "unpause", made["id"]).code == Exit.FAILED


def test_list_tells_the_state_of_each_and_that_there_is_more(demo: Shell) -> None:
    made = [demo("keys", "create", "usr_dev", name, "--json").json for name in ("one", "two")]
    demo("keys", "pause", made[0]["id"])
    demo("keys", "create", "usr_gina", "three", "--scope", "check", "--expires-at", UNTIL)
    heading, *lines = demo("keys", "list").out.splitlines()
    assert heading == "id\tuser_id\tkey_name\tkey_prefix\tscopes\tstate\texpires_at\tlast_used_at"
    assert [line.split("\t")[1:] for line in lines[1:]] == [
        ["usr_dev", "one", made[0]["key_prefix"], "all", "paused", "", ""],
        ["usr_dev", "two", made[1]["key_prefix"], "all", "active", "", ""],
        ["usr_gina", "three", lines[3].split("\t")[3], "check", "active", UNTIL, ""],
    ]
    part = demo("keys", "list", "--skip", "1", "--limit", "2")
    assert (part.out.splitlines()[1:], part.err) == (lines[1:3], "2 of 4 keys shown; the next ones: --skip 3\n")
    page = demo("keys", "list", "--skip", "1", "--limit", "2", "--json").json
    assert [key["id"] for key in page["keys"]] == [key["id"] for key in made]
    assert (page["total"], page["skip"], page["limit"], page["has_more"]) == (4, 1, 2, True)


def test_as_a_user_one_has_ones_own_keys(demo: Shell) -> None:
    other = demo("keys", "create", "usr_gina", "hers", "--json").json
    own = demo("keys", "create", "usr_dev", "mine", "--as", "usr_dev", "--json")
    assert (own.code, own.json["created_by"]) == (Exit.DONE, "usr_dev")
    assert [key["key_name"] for key in demo("keys", "list", "--as", "usr_dev", "--json").json["keys"]] == ["mine"]
    assert demo("keys", "rotate", own.json["id"], "--as", "usr_dev").code == Exit.DONE
    for command in (
        ("rotate", other["id"]),
        ("pause", other["id"]),
        ("delete", other["id"]),
        ("create", "usr_gina", "x"),
    ):
        refused = demo("keys", *command, "--as", "usr_dev", "--json")
        assert (refused.code, refused.out) == (Exit.FAILED, "")
        assert refused.error["code"] == "INSUFFICIENT_PERMISSIONS"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("create", "usr_nobody", "x"), Exit.FAILED, "user_id usr_nobody"),
        (("create", "dev", "x"), Exit.USAGE, "USER_ID"),
        (("create", "usr_dev", " "), Exit.USAGE, "key_name"),
        (("create", "usr_dev", "x", "--scope", "fly"), Exit.USAGE, "--scope"),
        (("create", "usr_dev", "x", "--expires-at", "2020-01-01T00:00:00Z"), Exit.USAGE, "expires_at"),
        (("create", "usr_dev", "x", "--expires-at", "2099-01-01T00:00:00"), Exit.USAGE, "--expires-at"),
        (("rotate", "ak_none"), Exit.FAILED, "key_id ak_none"),
        (("pause", "ak_none"), Exit.FAILED, "key_id ak_none"),
        (("delete", "ak_none"), Exit.FAILED, "key_id ak_none"),
    ],
)
def test_what_cannot_be_is_named_and_changes_nothing(
    demo: Shell, arguments: tuple[str, ...], code: Exit, named: str
) -> None:
    before = demo("verify", "--json").json
    shown = demo("keys", *arguments)
    assert (shown.code, shown.out) == (code, "")
    assert named in shown.err
    assert demo("verify", "--json").json == before
