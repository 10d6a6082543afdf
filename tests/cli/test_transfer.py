"""`grantbook export` and `grantbook import`: a whole organization as JSON Lines."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

import pytest

from grantbook.bootstrap import open_store, system_clock
from grantbook.cli import lines, transfer
from grantbook.cli.errors import Exit
from grantbook.model.facts import FACT_KINDS, Entity, EntityRef, Member, Organization, Role, RoleAssignment
from grantbook.model.governance import BASE_ROLES, OWNER
from grantbook.store.history import verify
from grantbook.store.port import Store
from tests.cli.conftest import Shell
from tests.worlds import NOW, contents, entity, grant, user

DEMO: Final = "org_demo"
NEW: Final = ("--database", "sqlite:///new.db")
PATIENCE_S: Final = 60


@pytest.fixture
def exported(demo: Shell) -> list[dict[str, Any]]:
    """The demo organization as lines, in `demo.jsonl`."""
    assert demo("export", "demo.jsonl").code == Exit.DONE
    return read(demo, "demo.jsonl")


def read(shell: Shell, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shell.directory / name).read_text(encoding="utf-8").splitlines()]


def write(shell: Shell, name: str, found: list[Any]) -> None:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in found)
    (shell.directory / name).write_text(text, encoding="utf-8")


def book(shell: Shell, name: str) -> Store:
    return open_store(f"sqlite:///{shell.directory / name}", system_clock)


def test_what_is_exported_is_every_fact_that_lives(demo: Shell, exported: list[dict[str, Any]]) -> None:
    header, *facts = exported
    assert (header["kind"], header["version"], header["organization_id"]) == ("export", 1, DEMO)
    store = book(demo, "book.db")
    alive = {name: len(found) for name, found in contents(store, DEMO).items()}
    store.close()
    kinds = {kind.__name__: name for name, kind in _kinds().items()}
    assert header["counts"] == {kinds[name]: count for name, count in alive.items() if name != "ApiKey"}
    for name, count in header["counts"].items():
        assert sum(fact["kind"] == name for fact in facts) == count
    assert "digest" not in (demo.directory / "demo.jsonl").read_text()


def _kinds() -> dict[str, type]:
    return {name: kind for name, kind in lines._KINDS.items() if kind in FACT_KINDS}


def test_an_export_goes_to_stdout_too(demo: Shell, exported: list[dict[str, Any]]) -> None:
    shown = demo.process("export")
    assert (shown.code, shown.out) == (Exit.DONE, (demo.directory / "demo.jsonl").read_text())
    assert shown.err == f"{len(exported) - 1} facts of {DEMO} exported\n"


def test_an_import_gives_the_same_answers_and_the_same_export(demo: Shell, exported: list[dict[str, Any]]) -> None:
    done = demo("import", "demo.jsonl", *NEW)
    assert (done.code, done.err) == (Exit.DONE, "")
    assert done.out == f"{DEMO}: {len(exported) - 1} facts imported, 0 were there already\n"
    for question in (
        ("check", "usr_felix", "write", "vector_store", "vs_incidents"),
        ("why", "usr_jonas", "admin", "vector_store", "vs_crm"),
        ("who", "vector_store", "vs_crm"),
    ):
        before, after = demo(*question, "--json"), demo(*question, "--json", *NEW)
        before.json.pop("revision", None)
        assert after.code == before.code
        assert _without_revision(after.json) == _without_revision(before.json)
    demo("export", "again.jsonl", *NEW)
    assert read(demo, "again.jsonl") == exported
    assert demo("verify", *NEW).code == Exit.DONE


def _without_revision(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "revision"}


def test_importing_again_duplicates_nothing(demo: Shell, exported: list[dict[str, Any]]) -> None:
    count = len(exported) - 1
    demo("import", "demo.jsonl", *NEW)
    again = demo("import", "demo.jsonl", "--json", *NEW)
    assert again.json == {"organization_id": DEMO, "added": 0, "present": count}


def test_the_record_tells_of_the_import(demo: Shell, exported: list[dict[str, Any]]) -> None:
    demo("import", "demo.jsonl", *NEW)
    store = book(demo, "new.db")
    changes = list(store.changes(DEMO))
    store.close()
    assert {(change.actor_id, change.reason) for change in changes} == {("system", "import of demo.jsonl")}
    assert {change.action for change in changes if change.kind == "Grant"} == {"granted"}


PART: Final = {
    "kind": "entity", "entity_type": "vector_store", "id": "vs_late", "name": "Late", "owner_type": "user",
    "owner_id": "usr_ada", "access_mode": "private", "created_by": "usr_ada",
    "created_at": "2026-01-01T00:00:00+01:00", "updated_at": "2026-01-01T00:00:00.123456Z",
}  # fmt: skip


def test_a_part_of_an_organization_is_imported_into_the_only_one_that_is_there(demo: Shell) -> None:
    write(demo, "part.jsonl", ["\n", PART])
    done = demo("import", "part.jsonl")
    assert (done.code, done.out) == (Exit.DONE, f"{DEMO}: 1 facts imported, 0 were there already\n")
    demo("export", "demo.jsonl")
    (late,) = [fact for fact in read(demo, "demo.jsonl") if fact.get("id") == "vs_late"]
    assert (late["created_at"], late["updated_at"]) == ("2025-12-31T23:00:00Z", "2026-01-01T00:00:00.123456Z")


def test_of_several_organizations_a_part_is_for_the_one_that_is_chosen(demo: Shell) -> None:
    write(demo, "part.jsonl", [PART])
    demo("init", "--name", "Other", "--email", "o@other.example", "--organization-id", "org_other")
    before = demo("verify", "--json").json
    shown = demo("import", "part.jsonl")
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert f"2 organizations ({DEMO}, org_other): choose one with --organization ID" in shown.err
    assert demo("verify", "--json").json == before
    assert demo("import", "part.jsonl", "--organization", DEMO, "--json").json["organization_id"] == DEMO
    none = demo("import", "part.jsonl", *NEW)
    assert (none.code, "holds no organization yet" in none.err) == (Exit.USAGE, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fact: fact | {"access_level": "fly"}, "access_level must be one of"),
        (lambda fact: fact | {"created_at": "2026-01-01T00:00:00"}, "created_at must be a time"),
        (lambda fact: fact | {"created_at": 5}, "created_at must be a time"),
        (lambda fact: fact | {"more": 1}, "more is not a known field"),
        (lambda fact: fact | {"kind": "planet"}, "kind must be one of"),
        (lambda fact: fact | {"kind": ["grant"]}, "kind must be one of"),
        (lambda fact: fact | {"granted_by": 5}, "granted_by: Expected `str`, got `int`"),
        (
            lambda fact: {name: value for name, value in fact.items() if name != "id"},
            "id: Object missing required field",
        ),
        (lambda fact: fact | {"entity_id": "vs_none"}, "entity_id: there is no"),
        (lambda _: "{\n", "the line is not JSON"),
        (lambda _: "[]\n", "the line is not an object"),
    ],
)
def test_a_line_that_is_wrong_is_told_and_nothing_is_done(
    demo: Shell, exported: list[dict[str, Any]], change: Any, said: str
) -> None:
    write(demo, "demo.jsonl", [*exported[:-1], change(exported[-1])])
    shown = demo("import", "demo.jsonl", *NEW)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert shown.err.startswith(f"error: line {len(exported)}: ")
    assert said in shown.err
    store = book(demo, "new.db")
    assert store.organization_ids() == []
    store.close()


def test_an_error_in_json_mode_names_line_and_field(demo: Shell, exported: list[dict[str, Any]]) -> None:
    write(demo, "demo.jsonl", [*exported[:-1], exported[-1] | {"more": 1}])
    details = demo("import", "demo.jsonl", "--json", *NEW).error["details"]
    assert (details["line"], details["field"]) == (len(exported), "more")


def test_a_file_that_is_cut_off_is_told(demo: Shell, exported: list[dict[str, Any]]) -> None:
    write(demo, "demo.jsonl", exported[:-1])
    shown = demo("import", "demo.jsonl", *NEW)
    assert shown.code == Exit.USAGE
    assert "it is cut off. What it has is in: import the whole file" in shown.err
    assert shown.err.startswith(f"{len(exported) - 2} facts are in;")
    write(demo, "demo.jsonl", exported)
    done = demo("import", "demo.jsonl", "--json", *NEW)
    assert (done.json["added"], done.json["present"]) == (1, len(exported) - 2)


def test_an_export_that_cannot_be_written_names_the_file(demo: Shell) -> None:
    shown = demo("export", "none/out.jsonl")
    assert (shown.code, shown.err) == (Exit.FAILED, "error: none/out.jsonl: No such file or directory\n")


@pytest.mark.parametrize("wrong", [{"version": 2}, {"counts": 5}, {"counts": {"grant": "x"}}, {"organization_id": "x"}])
def test_a_header_that_this_release_does_not_know_is_refused(
    demo: Shell, exported: list[dict[str, Any]], wrong: dict[str, Any]
) -> None:
    write(demo, "demo.jsonl", [exported[0] | wrong, *exported[1:]])
    shown = demo("import", "demo.jsonl", *NEW)
    assert (shown.code, next(iter(wrong)) in shown.err) == (Exit.USAGE, True)


def test_an_organization_goes_only_where_it_belongs(demo: Shell, exported: list[dict[str, Any]]) -> None:
    shown = demo("import", "demo.jsonl", "--organization", "org_other", *NEW)
    assert (shown.code, "this import is into org_other" in shown.err) == (Exit.USAGE, True)


def test_what_is_not_there_is_told(shell: Shell) -> None:
    shown = shell("import", "none.jsonl")
    assert (shown.code, "there is no file none.jsonl" in shown.err) == (Exit.FAILED, True)
    assert not shell.book.exists()
    shown = shell("export", "none.jsonl")
    assert (shown.code, "there is no database" in shown.err) == (Exit.FAILED, True)
    assert not (shell.directory / "none.jsonl").exists()
    write(shell, "empty.jsonl", [])
    shown = shell("import", "empty.jsonl")
    assert (shown.code, "nothing in the file" in shown.err) == (Exit.USAGE, True)


def test_an_export_that_fails_leaves_the_earlier_file_alone(demo: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    write(demo, "demo.jsonl", [{"earlier": 1}])

    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lines, "line_of", fail)
    assert demo("export", "demo.jsonl").code == Exit.FAILED
    assert read(demo, "demo.jsonl") == [{"earlier": 1}]
    assert sorted(path.name for path in demo.directory.glob("demo.jsonl*")) == ["demo.jsonl"]


def big(shell: Shell, grants: int) -> int:
    """An organization with many grants in `big.jsonl`, without a header; how many facts it has."""
    roles = [Role(id=f"role_{n}", name=n, capabilities=c, is_base=True, created_at=NOW) for n, c in BASE_ROLES.items()]
    people = [f"usr_{number:04}" for number in range(100)]
    stores = [EntityRef("vector_store", f"vs_{number:04}") for number in range(grants // 100)]
    facts = [
        Organization(id="org_big", name="Big", created_by="usr_0000", created_at=NOW, updated_at=NOW),
        *roles,
        *(
            Member(user_id=each, email=f"{each}@big.test", state="active", created_at=NOW, updated_at=NOW)
            for each in people
        ),
        RoleAssignment(role_id=f"role_{OWNER}", user_id="usr_0000", assigned_at=NOW),
        *(entity(ref) for ref in stores),
        *(grant(ref, user(each), "read") for ref in stores for each in people),
    ]
    (shell.directory / "big.jsonl").write_bytes(b"".join(map(lines.line_of, facts)))
    return len(facts)


def test_an_import_that_was_killed_is_finished_by_running_it_again(shell: Shell) -> None:
    """SIGKILL between two parts, or in the middle of one: what was acknowledged is there, and nothing twice."""
    count = big(shell, 60_000)
    started = subprocess.Popen([sys.executable, "-m", "grantbook", "import", "big.jsonl", *NEW], start_new_session=True)
    until = monotonic() + PATIENCE_S
    while started.poll() is None and monotonic() < until and _revision(shell) < 1:
        sleep(0.01)
    os.killpg(started.pid, signal.SIGKILL)
    started.wait(PATIENCE_S)
    store = book(shell, "new.db")
    kept = sum(len(found) for found in contents(store, "org_big").values())
    store.close()
    assert kept % transfer.CHUNK == 0, "a part is there as a whole or not at all"
    assert 0 < kept < count
    done = shell("import", "big.jsonl", "--json", *NEW)
    assert done.json == {"organization_id": "org_big", "added": count - kept, "present": kept}
    store = book(shell, "new.db")
    assert sum(len(found) for found in contents(store, "org_big").values()) == count
    assert len(contents(store, "org_big")[Entity.__name__]) == 600
    assert verify(store, "org_big") == count
    store.close()


def _revision(shell: Shell) -> int:
    path: Path = shell.directory / "new.db"
    if not path.exists() or path.stat().st_size == 0:
        return 0
    store = book(shell, "new.db")
    try:
        return store.head("org_big").revision
    finally:
        store.close()
