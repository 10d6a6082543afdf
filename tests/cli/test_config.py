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


def test_a_setting_that_cannot_be_is_named(shell: Shell) -> None:
    shell.environment.setenv("GRANTBOOK_PORT", "many")
    shown = shell("config", "show", "--json")
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert shown.error["code"] == "CONFIGURATION_ERROR"
    assert "GRANTBOOK_PORT" in shown.error["message"]
