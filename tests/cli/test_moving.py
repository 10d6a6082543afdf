"""`grantbook export --history`, and the import of what it wrote: organizations as they were."""

import json
import stat
from collections.abc import Iterator
from typing import Any, Final

import pytest

from grantbook.cli import history_lines
from grantbook.cli.errors import Exit
from tests import postgres
from tests.cli.conftest import Shell

DEMO: Final = "org_demo"
NEW: Final = ("--database", "sqlite:///new.db")
OTHER: Final = ("init", "--name", "Other", "--email", "o@other.example", "--organization-id", "org_other")


@pytest.fixture
def moved(demo: Shell) -> list[dict[str, Any]]:
    """Two organizations with their histories as lines, in `book.history`."""
    demo(*OTHER)
    demo("grants", "grant", "usr_felix", "admin", "vector_store", "vs_crm", "--organization", DEMO)
    shown = demo("export", "--history", "book.history")
    assert shown.code == Exit.DONE
    return read(demo)


def read(shell: Shell, name: str = "book.history") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shell.directory / name).read_text(encoding="utf-8").splitlines()]


def write(shell: Shell, found: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in found)
    (shell.directory / "book.history").write_text(text, encoding="utf-8")


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, str]]:
    """A fresh PostgreSQL database, as a command names it."""
    url = postgres.make_database()
    yield "--database", url
    postgres.drop_database(url)


def test_a_history_is_written_for_its_owner_alone_and_said_to_be_a_secret(
    demo: Shell, moved: list[dict[str, Any]]
) -> None:
    assert [line["organization_id"] for line in moved if line["kind"] == "history"] == [DEMO, "org_other"]
    path = demo.directory / "book.history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.with_name("book.history.part").write_text("of before")
    path.with_name("book.history.part").chmod(0o666)
    path.chmod(0o644)
    shown = demo("export", "--history", "book.history")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "keep it as a secret" in shown.err
    assert shown.out == ""
    assert path.read_bytes().startswith(history_lines.BEGINNING)


def test_a_history_goes_to_stdout_too(demo: Shell, moved: list[dict[str, Any]]) -> None:
    shown = demo.process("export", "--history", "--organization", "org_other")
    lines = [json.loads(line) for line in shown.out.splitlines()]
    begins = next(number for number, line in enumerate(moved) if line.get("organization_id") == "org_other")
    assert lines == moved[begins:]


def test_a_book_goes_to_postgresql_and_back_as_it_was(
    elsewhere: tuple[str, str], demo: Shell, moved: list[dict[str, Any]]
) -> None:
    """The other database is made first, as the shell has no variables of ours."""
    for there, file, back in ((elsewhere, "book.history", "second"), (NEW, "second", "third")):
        done = demo("import", file, *there)
        assert (done.code, done.err) == (Exit.DONE, "")
        assert done.out.splitlines()[1] == "org_other: restored with its history up to revision 1"
        assert demo("export", "--history", back, *there).code == Exit.DONE
        assert (demo.directory / back).read_bytes() == (demo.directory / "book.history").read_bytes()
        assert demo("verify", *there).code == Exit.DONE
        question = ("why", "usr_felix", "admin", "vector_store", "vs_crm", "--organization", DEMO, "--json")
        assert demo(*question, *there).json == demo(*question).json


def test_importing_again_changes_nothing_and_says_so(demo: Shell, moved: list[dict[str, Any]]) -> None:
    revision = moved[0]["head"]["revision"]
    documents = [demo("import", "book.history", "--json", *NEW).json["organizations"][0] for _ in range(2)]
    assert documents == [
        {"organization_id": DEMO, "revision": revision, "restored": restored} for restored in (True, False)
    ]
    assert demo("import", "book.history").out.splitlines()[0].startswith(f"{DEMO}: was there already")


def test_one_organization_of_a_file_is_restored(demo: Shell, moved: list[dict[str, Any]]) -> None:
    assert demo("import", "book.history", "--organization", "org_other", *NEW).code == Exit.DONE
    assert [each["organization_id"] for each in _verified(demo)] == ["org_other"]
    shown = demo("import", "book.history", "--organization", "org_none", *NEW)
    assert (shown.code, "the file has no organization org_none" in shown.err) == (Exit.USAGE, True)


def _verified(shell: Shell) -> Any:
    return shell("verify", "--json", *NEW).json["organizations"]


def test_where_it_is_with_another_history_nothing_happens(demo: Shell, moved: list[dict[str, Any]]) -> None:
    demo(*OTHER, *NEW)
    before = _verified(demo)
    shown = demo("import", "book.history", "--organization", "org_other", "--json", *NEW)
    assert (shown.code, shown.error["code"]) == (Exit.FAILED, "ORGANIZATION_EXISTS")
    assert shown.error["details"] == {"organization_id": "org_other", "revision": 1}
    assert _verified(demo) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:5], "line 5: the history has no end: it is cut off"),
        (lambda lines: [*lines[:5], *lines], "line 6: the history before has no end: it is cut off"),
        (lambda lines: [*lines[:5], {}, *lines[5:]], "line 6: this is no line of a history"),
        (lambda lines: [*lines[:5], {"kind": "planet"}, *lines[5:]], "line 6: this is no line of a history"),
        (lambda lines: [*lines[:5], lines[5] | {"more": 1}, *lines[6:]], "line 6: this is no line of a history"),
        (lambda lines: [lines[0] | {"version": 2}, *lines[1:]], "line 1: this release reads version 1"),
        (lambda lines: [*lines[:-1], {"kind": "end", "digest": "0"}], "are not those that were written"),
    ],
)
def test_a_file_that_is_not_whole_is_told_and_nothing_is_there(
    demo: Shell, moved: list[dict[str, Any]], change: Any, said: str
) -> None:
    first = moved[: next(number for number, line in enumerate(moved) if line["kind"] == "end") + 1]
    write(demo, change(first))
    shown = demo("import", "book.history", *NEW)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert said in shown.err
    assert _verified(demo) == []


def test_a_record_that_was_changed_is_refused(demo: Shell, moved: list[dict[str, Any]]) -> None:
    moved[3]["change"]["actor_id"] = "usr_eve"
    write(demo, moved)
    shown = demo("import", "book.history", "--json", *NEW)
    assert (shown.code, shown.error["code"]) == (Exit.FAILED, "TAMPERED_HISTORY")
    assert shown.error["details"] == {"organization_id": DEMO, "revision": 1, "ordinal": 2}
    assert _verified(demo) == []


def test_there_must_be_something_to_export(shell: Shell, demo: Shell) -> None:
    shown = demo("export", "--history", "none.history", "--organization", "org_none")
    assert (shown.code, "org_none" in shown.err) == (Exit.FAILED, True)
    assert not (shell.directory / "none.history").exists()
