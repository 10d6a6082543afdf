"""The process: how it starts, how it ends, and what it says to scripts."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from grantbook import Grantbook
from grantbook.cli.errors import Exit, run
from grantbook.model.errors import ValidationFailed, all_errors
from tests.cli.conftest import Shell

LOADED = "import sys; from grantbook.cli import main; print(*sys.modules)"
WITHOUT_DRIVER = "import sys; sys.modules['psycopg'] = None; from grantbook.cli import main; main()"
LARGELY_BUFFERED = """
import io, sys
small = sys.stdout
sys.stdout = io.TextIOWrapper(io.BufferedWriter(small.buffer.raw, 1 << 20))
from grantbook.cli import main
main()
"""
UNWANTED = {"sqlalchemy", "alembic", "fastapi", "starlette", "pydantic", "uvicorn"}


def test_the_installed_command_and_the_module_are_the_same(shell: Shell) -> None:
    by_module = shell.process("--version")
    by_name = shell.process("--version", python=(str(Path(sys.executable).with_name("grantbook")),))
    assert by_module == by_name
    assert by_module.code == Exit.DONE
    assert by_module.out.startswith("grantbook 0.")


@pytest.mark.parametrize("command", [("migrate", "status"), ("verify",)])
def test_postgresql_without_its_driver_is_told(shell: Shell, command: tuple[str, ...]) -> None:
    url = "postgresql://grantbook@127.0.0.1:1/grantbook"
    told = shell.process(*command, "--database", url, python=("-c", WITHOUT_DRIVER))
    assert (told.code, told.err.count("\n")) == (Exit.FAILED, 1)
    assert "PostgreSQL needs psycopg" in told.err


def test_help_starts_without_the_database_and_the_server(shell: Shell) -> None:
    loaded = shell.process(python=("-c", LOADED))
    assert set(loaded.out.split()) & UNWANTED == set()


@pytest.mark.parametrize("group", [(), ("grants",), ("keys",), ("config",)])
def test_without_a_command_the_help_is_shown_as_a_usage_error(shell: Shell, group: tuple[str, ...]) -> None:
    shown = shell(*group)
    assert shown.code == Exit.USAGE
    assert shown.err.startswith("Usage: grantbook")


def test_every_command_has_help(shell: Shell) -> None:
    for command in (
        "init",
        "serve",
        "demo",
        "check",
        "why",
        "who",
        "what",
        "grants add",
        "keys create",
        "export",
        "import",
        "config show",
        "verify",
    ):
        shown = shell(*command.split(), "--help")
        assert (shown.code, shown.err) == (Exit.DONE, "")
        assert f"Usage: grantbook {command}" in shown.out


def test_a_denial_is_the_exit_code_of_the_process(demo: Shell) -> None:
    assert demo.process("check", "usr_jonas", "admin", "vector_store", "vs_crm").code == 1
    assert demo.process("check", "usr_gina", "admin", "vector_store", "vs_crm").code == 0


@pytest.mark.parametrize("flag", ["", "--json"])
def test_nobody_needs_to_listen(demo: Shell, flag: str) -> None:
    """An answer is in the exit code too, where there is no stdout at all."""
    command = f"exec '{sys.executable}' -m grantbook check usr_gina admin vector_store vs_crm {flag} >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("frobnicate",), "No such command 'frobnicate'"),
        (("check", "usr_ada"), "Missing argument 'LEVEL'"),
        (("check", "usr_ada", "read", "vector_store", "vs_crm", "--loud"), "No such option"),
        (("grants", "list", "--limit", "0"), "--limit"),
    ],
)
def test_wrong_usage_is_2_and_points_to_the_help(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    shown = shell(*arguments)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert said in shown.err
    assert "--help'" in shown.err


def test_errors_in_json_mode_are_one_document_on_stderr(shell: Shell) -> None:
    shown = shell.process("check", "usr_ada", "read", "vector_store", "no id", "--json")
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert shown.error["code"] == "USAGE_ERROR"
    assert shown.error["details"]["field"] == "entity_id"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_names_are_shown_in_any_encoding(shell: Shell, encoding: str) -> None:
    name = "Zo ☃ \N{GRINNING FACE}"
    with Grantbook("sqlite:///book.db") as book:
        acme = book.create_organization("Acme", owner_email="zoe@example.org", owner_name=name)
        acme.register_entity("assistant", "asst_1", name="Help", owner=("user", acme.owner_id))
    shell.environment.setenv("PYTHONIOENCODING", encoding)
    table, document = (shell.process("who", "assistant", "asst_1", *flags) for flags in ((), ("--json",)))
    assert (table.code, document.code, table.err, document.err) == (0, 0, "", "")
    assert "Zo" in table.out
    assert json.loads(document.out)["users"][0]["grant_paths"][0]["source_name"] == name


def test_every_error_of_the_model_is_one_sentence_and_never_a_denial(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in all_errors():
        is_usage = issubclass(kind, ValidationFailed)
        error = ValidationFailed("grantee_id", "grantee_id is odd") if is_usage else kind(grantee_id="usr_x")

        def fail(error: Exception = error) -> None:
            raise error

        code = run(click.Command("fail", callback=fail), [])
        shown = capsys.readouterr()
        assert code == (Exit.USAGE if is_usage else Exit.FAILED)
        assert shown.out == ""
        assert shown.err.startswith("error: ")
        assert shown.err.count("\n") == 1
        assert "grantee_id" in shown.err


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), OSError("a disk"), KeyboardInterrupt(), SystemExit(1)])
def test_nothing_but_a_denial_ends_with_1(capsys: pytest.CaptureFixture[str], failure: BaseException) -> None:
    def fail() -> None:
        raise failure

    assert run(click.Command("fail", callback=fail), []) == Exit.FAILED
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize(
    ("unbuffered", "python"),
    [("", ("-m", "grantbook")), ("1", ("-m", "grantbook")), ("", ("-c", LARGELY_BUFFERED))],
    ids=["buffered", "unbuffered", "largely buffered"],
)
@pytest.mark.parametrize("command", ["check", "why", "who", "who --json", "export", "export --history", "--version"])
def test_an_answer_that_cannot_be_written_is_a_failure(
    demo: Shell, command: str, unbuffered: str, python: tuple[str, ...]
) -> None:
    demo.environment.setenv("PYTHONUNBUFFERED", unbuffered)  # an empty one counts as none
    name, *flags = command.split()
    about = {"check": "usr_gina admin vector_store vs_crm", "who": "vector_store vs_crm"}
    about["why"] = about["check"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, *python, name, *about.get(name, "").split(), *flags],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == Exit.FAILED
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
