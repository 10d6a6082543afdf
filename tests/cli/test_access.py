"""check, why, who and what, on the demo organization."""

import shlex
from datetime import UTC, datetime, timedelta

import pytest

from grantbook.cli.errors import Exit
from tests.cli.conftest import Shell

INCIDENTS = ("vector_store", "vs_incidents")
PIPELINE = ("knowledge_slice", "kslice_pipeline")


def ago(days: int) -> str:
    """The time so many days before now."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


def test_check_says_yes_with_0_and_no_with_1(demo: Shell) -> None:
    yes = demo("check", "usr_felix", "write", *INCIDENTS)
    no = demo("check", "usr_felix", "admin", *INCIDENTS)
    assert (yes.code, yes.out) == (Exit.DONE, "allowed: usr_felix has write on vector_store vs_incidents\n")
    assert (no.code, no.out) == (Exit.DENIED, "denied: usr_felix has write on vector_store vs_incidents\n")
    assert demo("check", "usr_gina", "read", *INCIDENTS).out.startswith("denied: usr_gina has no access")


def test_check_in_json_is_the_answer_of_the_api(demo: Shell) -> None:
    denied = demo("check", "usr_felix", "admin", *INCIDENTS, "--json")
    assert denied.code == Exit.DENIED
    assert denied.json == {"allowed": False, "access_level": "write", "revision": "org_demo.3"}


def test_why_names_departments_roles_containers_grants_and_givers(demo: Shell) -> None:
    shown = demo("why", "usr_felix", "write", *INCIDENTS)
    assert shown.code == Exit.DONE
    first, *others = shown.out.splitlines()
    assert first == "allowed: Felix Brandt (usr_felix) has write on vector_store Incident reports (vs_incidents)"
    text = "\n".join(others)
    assert "write: granted to department Data Platform (dept_data) on Engineering Runbooks (kslice_runbooks)" in text
    assert (
        "overwrite: granted to role Knowledge Curator (role_curator) "
        "on Onboarding Bundle (kslice_onboarding) > Engineering Runbooks (kslice_runbooks)" in text
    )
    assert "grant agrant_00000000000000000000000000000007 by Ada Moreau (usr_ada) at 20" in text


def test_why_tells_until_when_and_for_what_reason(demo: Shell) -> None:
    shown = demo("why", "usr_jonas", "read", *INCIDENTS)
    assert ", until 20" in shown.out
    assert "reason: Migration project" in shown.out


@pytest.mark.parametrize(
    ("user", "level", "entity", "remedy"),
    [
        ("usr_jonas", "read", PIPELINE, "grantbook grants add knowledge_slice kslice_pipeline user usr_jonas read"),
        ("usr_kira", "admin", INCIDENTS, "grantbook grants update agrant_00000000000000000000000000000011 admin"),
        ("usr_elif", "write", ("vector_store", "vs_contracts"), "--starts-at now"),
        ("usr_hugo", "read", PIPELINE, "activate usr_hugo, who is deactivated"),
        ("usr_leo", "read", ("knowledge_slice", "kslice_onboarding"), "activate usr_leo, who is pending_invitation"),
        ("usr_dev", "read", ("knowledge_slice", "kslice_legacy"), "unarchive knowledge_slice kslice_legacy"),
        ("usr_jonas", "modify", ("rule", "rule_tone"), "grantbook grants add rule rule_tone user usr_jonas modify"),
    ],
)
def test_a_denial_says_what_would_allow_it(
    demo: Shell, user: str, level: str, entity: tuple[str, str], remedy: str
) -> None:
    shown = demo("why", user, level, *entity)
    assert shown.code == Exit.DENIED
    assert shown.out.startswith("denied: ")
    assert remedy in shown.out
    in_json = demo("why", user, level, *entity, "--json")
    assert in_json.code == Exit.DENIED
    assert len(in_json.json["remedies"]) == 1


def test_the_remedies_with_a_command_do_what_they_say(demo: Shell) -> None:
    for question in (("usr_jonas", "read", *PIPELINE), ("usr_kira", "admin", *INCIDENTS)):
        (command,) = [line for line in demo("why", *question).out.splitlines() if "grantbook grants" in line]
        assert demo(*command.partition("grantbook ")[2].split()).code == Exit.DONE
        assert demo("why", *question).code == Exit.DONE


def test_the_command_of_a_remedy_is_about_the_place_that_flags_named(demo: Shell) -> None:
    (demo.directory / "my types.toml").write_text('[entity_types.notebook]\nlevels = ["view", "edit"]\n')
    demo.book.rename(demo.directory / "my book.db")
    flags = ("--database", "sqlite:///my book.db", "--vocabulary", "my types.toml", "--organization", "org_demo")
    demo("grants", "add", "rule", "rule_tone", "user", "usr_jonas", "view", *flags)
    for question in (
        ("usr_jonas", "read", *PIPELINE),
        ("usr_kira", "admin", *INCIDENTS),
        ("usr_elif", "write", "vector_store", "vs_contracts"),
        ("usr_jonas", "modify", "rule", "rule_tone"),
    ):
        (line,) = [line for line in demo("why", *question, *flags).out.splitlines() if "grantbook grants" in line]
        assert line.endswith(" --database 'sqlite:///my book.db' --vocabulary 'my types.toml' --organization org_demo")
        assert demo(*shlex.split(line.partition("grantbook ")[2])).code == Exit.DONE
        assert demo("why", *question, *flags).code == Exit.DONE


def test_raising_a_grant_on_a_rule_is_granting_again(demo: Shell) -> None:
    demo("grants", "add", "rule", "rule_tone", "user", "usr_jonas", "view")
    shown = demo("why", "usr_jonas", "modify", "rule", "rule_tone")
    assert "grantbook grants add rule rule_tone user usr_jonas modify" in shown.out


def test_as_of_answers_for_the_past(demo: Shell) -> None:
    assert demo("check", "usr_hugo", "write", *PIPELINE).code == Exit.DENIED
    assert demo("check", "usr_hugo", "write", *PIPELINE, "--as-of", ago(10)).code == Exit.DONE
    assert demo("why", "usr_hugo", "write", *PIPELINE, "--as-of", ago(10)).code == Exit.DONE
    contracts = ("vector_store", "vs_contracts")
    assert demo("check", "usr_jonas", "read", *contracts, "--as-of", ago(20)).code == Exit.DONE
    assert demo("check", "usr_jonas", "read", *contracts, "--as-of", ago(10)).code == Exit.DENIED
    assert "usr_hugo" in demo("who", *PIPELINE, "--as-of", ago(10)).out
    assert "usr_hugo" not in demo("who", *PIPELINE).out
    assert "kslice_legacy" in demo("what", "usr_dev", "--as-of", ago(10)).out
    assert "kslice_legacy" not in demo("what", "usr_dev").out


def test_as_of_a_time_to_come_sees_what_expires(demo: Shell) -> None:
    assert demo("check", "usr_jonas", "read", *INCIDENTS).code == Exit.DONE
    assert demo("check", "usr_jonas", "read", *INCIDENTS, "--as-of", ago(-40)).code == Exit.DENIED


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", "", "9999-12-31T23:00:00-14:00"])
def test_a_time_without_a_zone_or_sense_is_a_usage_error(demo: Shell, time: str) -> None:
    shown = demo("check", "usr_ada", "read", *INCIDENTS, "--as-of", time)
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert "--as-of" in shown.err


def test_who_lists_people_with_level_and_kinds_of_path(demo: Shell) -> None:
    lines = demo("who", *INCIDENTS).out.splitlines()
    assert lines[0] == "user_id\tname\taccess_level\tpaths"
    assert "usr_kira\tKira Sato\twrite\tdirect, department" in lines
    assert len(lines) == 9
    at_least = demo("who", *INCIDENTS, "--level", "write", "--json").json
    assert (at_least["entity_type"], at_least["entity_id"]) == INCIDENTS
    assert [user["user_id"] for user in at_least["users"]] == [
        "usr_ada", "usr_ben", "usr_chloe", "usr_elif", "usr_felix", "usr_kira",
    ]  # fmt: skip


def test_what_lists_entities_filtered_by_type_and_level(demo: Shell) -> None:
    lines = demo("what", "usr_gina", "--type", "vector_store", "--level", "write").out.splitlines()
    assert lines == [
        "entity_type\tentity_id\tname\taccess_level\tpaths",
        "vector_store\tvs_contracts\tContracts\twrite\tdepartment",
        "vector_store\tvs_crm\tCRM export\tadmin\towner, department, access_mode",
    ]
    assert demo("what", "usr_leo", "--type", "vector_store").out.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "code", "named"),
    [
        (("check", "usr_nobody", "read", *INCIDENTS), Exit.FAILED, "user_id usr_nobody"),
        (("why", "usr_ada", "read", "vector_store", "vs_none"), Exit.FAILED, "entity_id vs_none"),
        (("check", "usr_ada", "fly", *INCIDENTS), Exit.USAGE, "access_level must be one of read, add_new"),
        (("who", "cow", "vs_incidents"), Exit.USAGE, "entity_type must be one of"),
        (("what", "usr_nobody"), Exit.FAILED, "user_id usr_nobody"),
        (("what", "usr_ada", "--type", "rule", "--level", "read"), Exit.USAGE, "access_level must be one of view"),
        (("check", "us\udcffr", "read", *INCIDENTS), Exit.USAGE, "USER"),
    ],
)
def test_what_is_wrong_is_named_and_is_no_denial(demo: Shell, command: tuple[str, ...], code: Exit, named: str) -> None:
    shown = demo(*command)
    assert (shown.code, shown.out) == (code, "")
    assert named in shown.err


def test_a_level_that_no_type_has_is_no_empty_list(demo: Shell) -> None:
    shown = demo("what", "usr_dev", "--level", "foo")
    assert (shown.code, shown.out) == (Exit.USAGE, "")
    assert shown.err.startswith("error: access_level must be one of read, add_new, ")
    assert demo("what", "usr_dev", "--level", "use").code == Exit.DONE
