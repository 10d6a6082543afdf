"""`grantbook init`."""

import pytest

from grantbook.bootstrap import open_desk
from grantbook.cli.errors import Exit
from grantbook.service import keys
from tests.cli.conftest import Shell

ACME = ("init", "--name", "Acme", "--email", "Ann@Acme.example", "--json")


def test_init_makes_an_organization_whose_owner_can_use_the_key(shell: Shell) -> None:
    made = shell.process(*ACME, "--full-name", "Ann Lee")
    assert (made.code, made.err) == (Exit.DONE, "")
    assert set(made.json) == {"organization_id", "user_id", "api_key"}
    desk = open_desk("sqlite:///book.db")
    identity = keys.authenticate(desk, made.json["api_key"])
    keys.require_opens(desk, identity, made.json["organization_id"])
    desk.close()
    assert identity.caller.user_id == made.json["user_id"]
    grantable = shell("grants", "list", "--as", made.json["user_id"], "--json")
    assert grantable.json["total"] == 0


def test_the_key_is_shown_once_and_kept_nowhere(shell: Shell) -> None:
    made = shell("init", "--name", "Acme", "--email", "ann@acme.example")
    (secret,) = [word for word in made.out.split() if word.startswith("gb_")]
    assert made.out.count(secret[:20]) == 1
    assert "only a digest of it is kept" in made.out
    kept = b"".join(path.read_bytes() for path in shell.directory.iterdir())
    assert secret.encode() not in kept
    assert secret[:20].encode() not in kept


def test_ids_can_be_given_and_a_second_organization_added(shell: Shell) -> None:
    first = shell(*ACME, "--organization-id", "org_acme", "--user-id", "usr_ann")
    second = shell(*ACME, "--organization-id", "org_other", "--user-id", "usr_ann")
    assert (first.json["organization_id"], first.json["user_id"]) == ("org_acme", "usr_ann")
    assert second.json["organization_id"] == "org_other"
    assert first.json["api_key"] != second.json["api_key"]


def test_the_same_organization_again_is_an_error_and_changes_nothing(shell: Shell) -> None:
    shell(*ACME, "--organization-id", "org_acme")
    before = shell("verify", "--json").json
    again = shell(*ACME, "--organization-id", "org_acme")
    assert (again.code, again.out) == (Exit.FAILED, "")
    assert again.error["code"] == "RESOURCE_CONFLICT"
    assert again.error["details"] == {"organization_id": "org_acme"}
    assert shell("verify", "--json").json == before


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--name", "Acme", "--email", "nobody"), "email"),
        (("--name", " ", "--email", "ann@acme.example"), "name"),
        (("--name", "Acme", "--email", "ann@acme.example", "--user-id", "ann"), "--user-id"),
        (("--name", "Acme", "--email", "ann@acme.example", "--organization-id", "usr_x"), "--organization-id"),
        (("--name", "Acme"), "--email"),
        (("--organization", "Acme", "--email", "ann@acme.example"), "No such option"),
    ],
)
def test_what_is_wrong_is_named(shell: Shell, arguments: tuple[str, ...], field: str) -> None:
    shown = shell("init", *arguments)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert field in shown.err


def test_a_database_that_ends_with_the_command_is_refused(shell: Shell) -> None:
    shown = shell(*ACME, "--database", "memory:")
    assert (shown.code, shown.error["code"]) == (Exit.FAILED, "CONFIGURATION_ERROR")
