"""The examples of the documentation do what they say: run against the demo organization on a real server."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import pytest
from msgspec.structs import fields

from grantbook import Grantbook, OrganizationBook
from grantbook.cli.lines import _KINDS
from grantbook.http.errors import STATUS
from grantbook.service.transfer import LEFT_BEHIND
from tests.serving import Server, serving

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATING: Final = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
LIBRARY: Final = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
VOCABULARY: Final = (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8")
SERVED_AT: Final = "http://127.0.0.1:8420"


class Demo(NamedTuple):
    """The demo organization, and a key to it."""

    server: Server
    key: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with serving(tmp_path_factory.mktemp("demo")) as server:
        made = _grantbook("demo", "--database", server.database, "--json")
        yield Demo(server, json.loads(made)["api_key"])


def _grantbook(*arguments: str) -> str:
    command = [sys.executable, "-m", "grantbook", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def _blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _curl(command: str, demo: Demo) -> Any:
    """Send what the curl command would send, to the server of the test."""
    url = f"{demo.server.url}/v1/organizations/org_demo"
    command = command.replace("$URL", url).replace("$GRANTBOOK_API_KEY", demo.key).replace("\\\n", " ")
    words = shlex.split(command)
    assert words.pop(0) == "curl"
    address, body, headers = "", None, {}
    while words:
        match words.pop(0):
            case "-s":
                pass
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name] = value
            case "-d":
                body = words.pop(0)
            case word:
                address = word
    answer = httpx.request("GET" if body is None else "POST", address, headers=headers, content=body)
    assert answer.is_success, answer.text
    return answer.json()


def test_the_first_five_requests_answer_as_the_readme_says(demo: Demo) -> None:
    commands = [block for block in _blocks("bash") if block.startswith("curl")]
    assert len(commands) == 5
    check, explain, grant, users, entities = (_curl(command, demo) for command in commands)
    (told,) = map(json.loads, _blocks("json"))
    assert check == {**told, "revision": check["revision"]}  # which the other examples raise
    (path,) = explain["grant_paths"]
    assert (path["type"], path["source_name"], path["slice_id"]) == ("department", "Engineering", "kslice_runbooks")
    assert (grant["grantee_name"], grant["reason"]) == ("Gina Rossi", "Customer visit")
    assert _curl(commands[2], demo)["id"] == grant["id"]
    assert {"usr_chloe", "usr_dev", "usr_gina"} <= {user["user_id"] for user in users["users"]}
    assert "kslice_runbooks" in {entry["slice_id"] for entry in entities["slice_access"]}


def test_the_picture_of_the_readme_is_what_the_server_says(demo: Demo) -> None:
    command = """curl -s "$URL/access/users-with-access?entity_type=vector_store&entity_id=vs_incidents" """
    users = {user["user_id"]: user for user in _curl(command + '-H "X-API-Key: $GRANTBOOK_API_KEY"', demo)["users"]}
    assert [path["type"] for path in users["usr_dev"]["grant_paths"]] == ["department"]
    assert users["usr_dev"]["access_level"] == "add_new"
    assert [path["type"] for path in users["usr_chloe"]["grant_paths"]] == ["owner", "role", "department"]
    assert users["usr_chloe"]["access_level"] == "admin"
    through_composite = users["usr_chloe"]["grant_paths"][1]
    assert (through_composite["composite_id"], through_composite["slice_id"]) == (
        "kslice_onboarding",
        "kslice_runbooks",
    )


@pytest.mark.parametrize("example", _blocks("python"))
def test_a_python_example_of_the_readme_runs(example: str, demo: Demo, tmp_path: Path) -> None:
    environment = {**os.environ, "GRANTBOOK_API_KEY": demo.key}
    script = example.replace(SERVED_AT, demo.server.url)
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


def test_the_application_of_the_library_runs(tmp_path: Path) -> None:
    (example,) = _blocks("python", LIBRARY)
    ran = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout.splitlines()
    assert told[:2] == ["True", "['department'] create_grant"]
    assert told[5:7] == ["False", "True"]
    assert "moved Department" in told[-1]


def test_the_library_has_what_its_page_tells() -> None:
    told = set(re.findall(r"`(\w+)`", LIBRARY.partition("## What there is")[2].partition("## To know")[0]))
    methods = {
        name
        for of in (Grantbook, OrganizationBook)
        for name, method in vars_of(of).items()
        if callable(method) and not name.startswith("_")
    }
    assert told == methods


def vars_of(of: type) -> dict[str, Any]:
    """What a class has, and those above it."""
    return {name: value for each in reversed(of.__mro__) for name, value in vars(each).items()}


def test_the_example_of_types_of_ones_own_runs(tmp_path: Path) -> None:
    (types,), (example,) = _blocks("toml", VOCABULARY), _blocks("python", VOCABULARY)
    (tmp_path / "types.toml").write_text(types)
    command = [sys.executable, "-c", example]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ran.stdout, ran.stderr) == ("True\n", "")


def test_the_lines_of_an_import_have_the_fields_that_are_told() -> None:
    table = OPERATING.partition("| kind | needs |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines()[2:]]
    told = {kind.strip(" `"): [re.findall(r"`(\w+)`", cell) for cell in cells] for kind, *cells in rows}
    known = {
        name: [
            [field.name for field in fields(kind) if field.required],
            [each.name for each in fields(kind) if not each.required and each.name not in LEFT_BEHIND.get(kind, ())],
        ]
        for name, kind in _KINDS.items()
    }
    assert told == known
    assert list(told) == list(known)


def test_the_example_of_lines_by_hand_is_imported(tmp_path: Path) -> None:
    (lines,) = _blocks("jsonl", OPERATING)
    (tmp_path / "lines.jsonl").write_text(lines)
    book = ("--database", f"sqlite:///{tmp_path / 'book.db'}")
    _grantbook("init", "--name", "Acme", "--email", "ada@acme.example", "--user-id", "usr_ada", *book)
    done = _grantbook("import", str(tmp_path / "lines.jsonl"), *book)
    assert done.endswith(f": {lines.count(chr(10))} facts imported, 0 were there already\n")
    assert _grantbook("check", "usr_bob", "read", "vector_store", "vs_cases", *book).startswith("allowed: ")
    _grantbook("verify", *book)


def test_the_commands_of_the_readme_are_there() -> None:
    lines = [line.removeprefix("$ grantbook ") for block in _blocks("console") for line in block.splitlines()]
    commands = {line.split()[0] for line in lines if not line.startswith("$ make")}
    assert commands
    known = _grantbook("--help")
    assert all(re.search(rf"^  {command} ", known, re.MULTILINE) for command in commands)


def test_the_commands_of_the_readme_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRANTBOOK_")}
    lines = [line for block in _blocks("console") for line in block.splitlines() if line.startswith("$ grantbook ")]
    done = []
    for line in ("$ grantbook demo --database sqlite:///var/demo.db", *lines):
        words = shlex.split(line)[2:]
        if words[0] == "serve":
            continue
        command = [sys.executable, "-m", "grantbook", *words]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
        assert (ran.returncode, ran.stderr) == (0, ""), line
        done.append(words[0])
    assert done == ["demo", "init", "why", "who", "grants"]


def test_every_link_of_the_documents_leads_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_code_of_an_error_is_told_with_its_status() -> None:
    rows = [line.split("|") for line in (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()]
    told = {
        code: {int(status) for status in re.findall(r"\d+", row[1])}
        for row in rows
        if len(row) > 3
        for code in re.findall(r"`([A-Z_]+)`", row[2])
    }
    assert told.keys() == STATUS.keys()
    assert all(STATUS[code] in statuses for code, statuses in told.items())
