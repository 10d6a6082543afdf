"""Which database, which organization, on whose behalf: the same for every command."""

import json
import sqlite3

import pytest

from grantbook.cli.errors import Exit
from tests.cli.conftest import Shell

CHECK = ("check", "usr_ada", "read", "vector_store", "vs_crm")
OTHER = ("init", "--name", "Other", "--email", "o@other.example", "--organization-id", "org_other")


def test_the_only_organization_need_not_be_named(demo: Shell) -> None:
    assert demo(*CHECK).code == Exit.DONE


def test_of_several_organizations_one_must_be_named(demo: Shell) -> None:
    demo(*OTHER)
    shown = demo(*CHECK)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert "2 organizations (org_demo, org_other)" in shown.err
    assert "--organization ID or GRANTBOOK_ORGANIZATION" in shown.err
    assert demo(*CHECK, "--organization", "org_demo").code == Exit.DONE
    demo.environment.setenv("GRANTBOOK_ORGANIZATION", "org_demo")
    assert demo(*CHECK).code == Exit.DONE
    other = demo(*CHECK, "--organization", "org_other", "--json")
    assert (other.code, other.error["code"]) == (Exit.FAILED, "RESOURCE_NOT_FOUND")


def test_an_empty_database_says_how_to_begin(shell: Shell) -> None:
    shell("init", "--name", "Acme", "--email", "no address")
    shown = shell(*CHECK)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert "grantbook init" in shown.err


@pytest.mark.parametrize(
    "command",
    [
        CHECK,
        ("verify",),
        ("grants", "list"),
        ("what", "usr_ada"),
        ("serve",),
        ("migrate", "status"),
        ("migrate", "plan"),
    ],
)
def test_a_mistyped_path_is_an_error_and_makes_no_file(shell: Shell, command: tuple[str, ...]) -> None:
    shown = shell(*command, "--database", "sqlite:///bok.db")
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "there is no database bok.db" in shown.err
    assert list(shell.directory.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "memory:", "mysql://root:hidden@host/db", "nonsense"]
)
def test_other_databases_are_refused_without_showing_passwords(shell: Shell, url: str) -> None:
    shown = shell(*CHECK, "--database", url)
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "sqlite:///" in shown.err
    assert "hidden" not in shown.err


@pytest.mark.parametrize("url", ["", "grants.db"])
def test_a_database_without_a_url_is_told_how_one_looks(shell: Shell, url: str) -> None:
    shown = shell("init", "--name", "Acme", "--email", "ann@acme.example", "--database", url)
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert f"sqlite:///{url or 'path'}" in shown.err


MAKERS = [
    ("init", "--name", "Acme", "--email", "ann@acme.example"),
    ("demo",),
    ("import", "some.jsonl"),
    ("migrate", "up"),
    ("serve",),
]


@pytest.mark.parametrize("command", MAKERS)
def test_no_command_makes_a_directory(shell: Shell, command: tuple[str, ...]) -> None:
    (shell.directory / "some.jsonl").write_text("{}")
    shown = shell(*command, "--database", "sqlite:///none/book.db")
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "none" in shown.err
    assert [path.name for path in shell.directory.iterdir()] == ["some.jsonl"]


@pytest.mark.parametrize("command", [*MAKERS, CHECK])
def test_the_file_of_another_application_is_left_alone(shell: Shell, command: tuple[str, ...]) -> None:
    (shell.directory / "some.jsonl").write_text("{}")
    connection = sqlite3.connect(shell.book)
    connection.execute("CREATE TABLE customers (id)")
    connection.close()
    before = shell.book.read_bytes()
    shown = shell(*command)
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "book.db holds the tables of another application" in shown.err
    assert shell.book.read_bytes() == before


def test_a_url_with_more_than_a_file_is_refused(demo: Shell) -> None:
    shown = demo(*CHECK, "--database", "sqlite:///book.db?mode=ro")
    assert (shown.code, "'sqlite:///book.db?mode=ro' must be sqlite:///" in shown.err) == (Exit.FAILED, True)


def test_a_file_that_is_no_database_is_an_error(shell: Shell) -> None:
    shell.book.write_text("not a database, only some text that is long enough to be read as a header" * 20)
    shown = shell(*CHECK)
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "cannot use the database file book.db: file is not a database" in shown.err


def test_a_damaged_database_is_no_denial(demo: Shell) -> None:
    with sqlite3.connect(demo.book) as connection:
        connection.execute("DROP TABLE grants")
    connection.close()
    shown = demo(*CHECK, "--json")
    assert (shown.code, shown.error["code"]) == (Exit.FAILED, "STORE_UNAVAILABLE")


@pytest.mark.parametrize("organization", ["org_none", "no id", "org_\udcff"])
def test_an_unknown_organization_is_an_error(demo: Shell, organization: str) -> None:
    assert demo(*CHECK, "--organization", organization).code in {Exit.USAGE, Exit.FAILED}
    if "\udcff" not in organization:
        demo.environment.setenv("GRANTBOOK_ORGANIZATION", organization)
        shown = demo(*CHECK)
        assert shown.code in {Exit.USAGE, Exit.FAILED}
        assert "organization" in shown.err


NOTEBOOK = {
    "kind": "entity", "entity_type": "notebook", "id": "nb_plans", "name": "Plans", "owner_type": "user",
    "owner_id": "usr_gina", "access_mode": "private", "created_by": "usr_gina",
    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip


def test_types_of_ones_own_are_in_the_file_that_a_flag_names(demo: Shell) -> None:
    (demo.directory / "types.toml").write_text('[entity_types.notebook]\nlevels = ["view", "edit"]\n')
    (demo.directory / "notebook.jsonl").write_text(json.dumps(NOTEBOOK))
    plans = ("notebook", "nb_plans")
    for command in (
        ("import", "notebook.jsonl"),
        ("check", "usr_gina", "edit", *plans),
        ("grants", "add", *plans, "user", "usr_dev", "view"),
        ("why", "usr_dev", "view", *plans),
        ("who", *plans),
        ("what", "usr_dev", "--type", "notebook"),
    ):
        without = demo(*command)
        assert (without.code, without.out) == (Exit.USAGE, "")
        assert "entity_type must be one of assistant" in without.err
        assert without.err.endswith("types of your own are in the file that --vocabulary names\n")
        assert demo(*command, "--vocabulary", "types.toml").code == Exit.DONE
    none = demo("check", "usr_gina", "edit", *plans, "--vocabulary", "none.toml")
    assert (none.code, "cannot read the vocabulary file none.toml" in none.err) == (Exit.FAILED, True)


def test_as_acts_with_the_rights_of_that_user(demo: Shell) -> None:
    own = demo("check", "usr_gina", "read", "vector_store", "vs_crm", "--as", "usr_gina")
    assert own.code == Exit.DONE
    others = demo(*CHECK, "--as", "usr_gina", "--json")
    assert (others.code, others.error["code"]) == (Exit.FAILED, "INSUFFICIENT_PERMISSIONS")
    granted = demo("grants", "add", "vector_store", "vs_crm", "user", "usr_dev", "read", "--as", "usr_gina", "--json")
    assert granted.json["granted_by"] == "usr_gina"
    refused = demo("grants", "add", "vector_store", "vs_runbooks", "user", "usr_dev", "read", "--as", "usr_gina")
    assert (refused.code, refused.out) == (Exit.FAILED, "")
    assert demo("grants", "revoke", granted.json["id"], "--as", "usr_dev").code == Exit.FAILED
    visible = demo("grants", "list", "--as", "usr_jonas", "--json").json
    assert {item["grantee_id"] for item in visible["items"]} == {"org_demo", "usr_jonas"}


@pytest.mark.parametrize("user", ["usr_leo", "usr_hugo", "usr_stranger"])
def test_as_takes_active_members_only(demo: Shell, user: str) -> None:
    shown = demo("what", user, "--as", user, "--json")
    assert (shown.code, shown.error["code"]) == (Exit.FAILED, "ORGANIZATION_ACCESS_DENIED")
