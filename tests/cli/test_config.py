"""`grantbook config show`, and which setting wins."""

import pytest

from grantbook.cli.config import masked
from grantbook.cli.errors import Exit
from tests.cli.conftest import Shell


def test_each_setting_has_a_value_and_a_source(shell: Shell) -> None:
    (shell.directory / "grantbook.toml").write_text('port = 9000\nhost = "0.0.0.0"\n')
    shell.environment.setenv("GRANTBOOK_PORT", "9001")
    shown = shell.process("config", "show", "--json")
    assert shown.code == Exit.DONE
    settings = {each["name"]: (each["value"], each["source"]) for each in shown.json["settings"]}
    assert settings["port"] == (9001, "GRANTBOOK_PORT")
    assert settings["host"] == ("0.0.0.0", "grantbook.toml")
    assert settings["workers"] == (1, "default")
    assert settings["organization"] == (None, "default")
    assert "port\t9001\tGRANTBOOK_PORT" in shell("config", "show").out.splitlines()


def test_the_flag_wins_over_the_environment_and_that_over_the_file(shell: Shell) -> None:
    for name in ("flag", "environment", "file"):
        made = shell(
            "init", "--name", name, "--email", "a@b.example", "--organization-id", f"org_{name}",
            "--database", f"sqlite:///{name}.db",
        )  # fmt: skip
        assert made.code == Exit.DONE
    (shell.directory / "grantbook.toml").write_text('database = "sqlite:///file.db"\n')

    def found(*arguments: str) -> str:
        return str(shell("verify", "--json", *arguments).json["organizations"][0]["organization_id"])

    shell.environment.delenv("GRANTBOOK_DATABASE")
    assert found() == "org_file"
    shell.environment.setenv("GRANTBOOK_DATABASE", "sqlite:///environment.db")
    assert found() == "org_environment"
    assert found("--database", "sqlite:///flag.db") == "org_flag"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:hidden@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:hid@den@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:hid/den@host/db", "postgresql://user:***@host/db"),
        ("postgresql://:hidden@host/db", "postgresql://:***@host/db"),
        ("postgresql://host/db?user=u&password=hidden&x=1", "postgresql://host/db?user=u&password=***&x=1"),
        ("postgresql://host/db?sslpassword=hidden", "postgresql://host/db?sslpassword=***"),
        ("postgresql://user@host:5432/db", "postgresql://user@host:5432/db"),
        ("sqlite:///dir/file.db", "sqlite:///dir/file.db"),
    ],
)
def test_secrets_in_a_database_url_are_masked(shell: Shell, url: str, shown: str) -> None:
    assert masked(url) == shown
    shell.environment.setenv("GRANTBOOK_DATABASE", url)
    assert f"database\t{shown}\tGRANTBOOK_DATABASE" in shell("config", "show").out.splitlines()


def test_secrets_are_masked_where_a_database_url_is_no_text(shell: Shell) -> None:
    shell.environment.delenv("GRANTBOOK_DATABASE")
    (shell.directory / "grantbook.toml").write_text('database = ["postgresql://user:hidden@host/db"]\n')
    shown = shell("config", "show")
    assert (shown.code, shown.err) == (Exit.FAILED, "error: database must be a text\n")
    assert "hidden" not in shown.out


def test_a_setting_that_cannot_be_is_named(shell: Shell) -> None:
    shell.environment.setenv("GRANTBOOK_PORT", "many")
    shown = shell("verify", "--json")
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert shown.error["code"] == "CONFIGURATION_ERROR"
    assert "GRANTBOOK_PORT" in shown.error["message"]


def test_settings_that_cannot_be_are_shown_with_what_is_wrong(shell: Shell) -> None:
    (shell.directory / "grantbook.toml").write_text('port = 99999999\nlog_level = "loud"\nhost = "::1"\n')
    shell.environment.setenv("GRANTBOOK_WORKERS", "many")
    table, document = (shell("config", "show", *flags) for flags in ((), ("--json",)))
    assert (table.code, document.code) == (Exit.FAILED, Exit.FAILED)
    for row in ("port\t99999999\tgrantbook.toml", "workers\tmany\tGRANTBOOK_WORKERS", "host\t::1\tgrantbook.toml"):
        assert row in table.out.splitlines()
    said = "GRANTBOOK_WORKERS must be a whole number, not 'many'; log_level must be debug, info, warning or error"
    assert table.err == f"error: port must be 0 to 65535; {said}\n"
    assert document.error["code"] == "CONFIGURATION_ERROR"
    problems = {each["name"]: each["problem"] for each in document.json["settings"]}
    assert problems["port"] == "port must be 0 to 65535"
    assert {name for name, problem in problems.items() if problem} == {"port", "workers", "log_level"}
    refused = shell("serve")
    assert (refused.code, refused.err) == (Exit.FAILED, "error: port must be 0 to 65535\n")
