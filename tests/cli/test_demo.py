"""`grantbook demo`."""

import re
import shlex
import socket
import sys
from pathlib import Path

import pytest

from grantbook.bootstrap import open_desk
from grantbook.cli import demo_world as world
from grantbook.cli.demo import CHAPTERS
from grantbook.cli.errors import Exit
from grantbook.model.errors import AuthenticationFailed
from grantbook.service import keys
from grantbook.service.desk import Caller, Desk
from tests.cli.conftest import Shell


def refusal_of(desk: Desk, secret: str) -> str | None:
    """The code with which a key is refused; None for one that works."""
    try:
        keys.authenticate(desk, secret)
    except AuthenticationFailed as error:
        return error.error_code
    return None


def test_the_demo_is_seeded_once_and_each_call_replaces_the_key(shell: Shell) -> None:
    first, second, third = (shell("demo", "--json").json for _ in range(3))
    assert [each["is_new"] for each in (first, second, third)] == [True, False, False]
    assert {each["organization_id"] for each in (first, second, third)} == {"org_demo"}
    desk = open_desk("sqlite:///book.db")
    refusals = [refusal_of(desk, each["api_key"]) for each in (first, second, third)]
    assert keys.authenticate(desk, third["api_key"]).caller.user_id == "usr_ada"
    assert desk.store.head("org_demo").revision == len(CHAPTERS) + 3
    desk.close()
    assert refusals == ["API_KEY_DEACTIVATED", "API_KEY_DEACTIVATED", None]
    assert shell("grants", "list", "--json").json["total"] == 21


def test_only_demo_keys_are_replaced(demo: Shell) -> None:
    desk = open_desk("sqlite:///book.db")
    with desk.writing("org_demo", Caller(user_id="usr_ada")) as writing:
        _, secret = keys.create(writing, user_id="usr_ada", name="mine")
    demo("demo")
    assert refusal_of(desk, secret) is None
    desk.close()


def test_an_interrupted_demo_is_finished_by_the_next_call(shell: Shell) -> None:
    desk = open_desk("sqlite:///book.db")
    with desk.writing("org_demo", Caller(user_id="usr_ada")) as writing:
        CHAPTERS[0][1](writing)
    desk.close()
    assert shell("check", "usr_hugo", "write", "knowledge_slice", "kslice_pipeline").code == Exit.DONE
    assert shell("demo", "--json").json["is_new"] is True
    assert shell("check", "usr_hugo", "write", "knowledge_slice", "kslice_pipeline").code == Exit.DENIED


def test_the_key_of_a_server_that_runs_stays(demo: Shell) -> None:
    before = demo("verify", "--json").json
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        taken = demo("demo", "--port", port, "--before-serving")
    assert (taken.code, taken.out, "already in use" in taken.err) == (Exit.FAILED, "", True)
    assert demo("verify", "--json").json == before
    shown = demo("demo", "--port", port, "--before-serving")
    assert (shown.code, "Or ask the server from another terminal" in shown.out) == (Exit.DONE, True)
    assert "grantbook serve" not in shown.out


def test_another_organization_of_that_id_is_left_alone(shell: Shell) -> None:
    shell("init", "--name", "Mine", "--email", "me@mine.example", "--organization-id", "org_demo")
    before = shell("verify", "--json").json
    shown = shell("demo", "--json")
    assert (shown.code, shown.error["code"]) == (Exit.FAILED, "RESOURCE_CONFLICT")
    assert shell("verify", "--json").json == before


def test_the_text_shows_the_key_once_and_commands_that_work(demo: Shell) -> None:
    shown = demo.process("demo")
    assert (shown.code, shown.err) == (Exit.DONE, "")
    (secret,) = re.findall(r"gb_[0-9a-f]+", shown.out)
    assert f"export GRANTBOOK_API_KEY={secret}\n" in shown.out
    assert shown.out.count("curl -s http://127.0.0.1:8420/v1/organizations/org_demo/access/") == 2
    (why,) = [line for line in shown.out.splitlines() if line.startswith("  grantbook why ")]
    assert demo(*shlex.split(why)[1:]).code == Exit.DONE


def test_who_has_no_grantbook_in_the_path_is_told_where_it_is(
    demo: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/grantbook", "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "\n  .venv/bin/grantbook why usr_felix" in demo("demo").out
    (tmp_path / "grantbook").touch(mode=0o755)
    assert "\n  grantbook why usr_felix" in demo("demo").out


def test_the_requests_go_to_the_port_that_will_be_served(demo: Shell) -> None:
    shown = demo("demo", "--port", "9000").out
    assert "serve --database sqlite:///book.db --port 9000\n" in shown
    assert shown.count("curl -s http://127.0.0.1:9000/v1/") == 2
    assert all("127.0.0.1:9000" in each for each in demo("demo", "--port", "9000", "--json").json["requests"])


def test_the_world_has_one_of_everything(demo: Shell) -> None:
    given = [each for grants in (*world.GRANTS.values(), *world.RULE_GRANTS.values()) for each in grants]
    assert 25 <= len(given) <= 30
    assert {each.grantee[0] for each in given} == {"user", "department", "role", "organization", "all"}
    assert any(each.expires for each in given)
    assert any(each.starts for each in given)
    kinds = [thing.type for thing in world.THINGS]
    assert [kinds.count(kind) for kind in ("knowledge_slice", "vector_store", "assistant", "rule")] == [6, 6, 2, 3]
    assert demo("grants", "list", "--json").json["items"][0]["granted_by"] == "usr_ada"
