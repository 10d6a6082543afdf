"""`grantbook grants`."""

import pytest

from grantbook.bootstrap import open_store, system_clock
from grantbook.cli.errors import Exit
from tests.cli.conftest import Shell

CRM = ("vector_store", "vs_crm")
JONAS = ("user", "usr_jonas")


def test_add_check_and_revoke(demo: Shell) -> None:
    added = demo("grants", "add", *CRM, *JONAS, "read", "--reason", "He [red]asked", "--json")
    assert added.code == Exit.DONE
    assert added.json["reason"] == "He [red]asked"
    assert added.json["granted_by"] == "system"
    assert demo("check", "usr_jonas", "read", *CRM).code == Exit.DONE
    assert "He [red]asked" in demo("why", "usr_jonas", "read", *CRM).out
    revoked = demo("grants", "revoke", added.json["id"])
    assert (revoked.code, revoked.out) == (Exit.DONE, f"revoked: {added.json['id']}\n")
    assert demo("check", "usr_jonas", "read", *CRM).code == Exit.DENIED
    again = demo("grants", "revoke", added.json["id"])
    assert (again.code, again.out) == (Exit.FAILED, "")
    assert f"grant_id {added.json['id']}" in again.err


def test_a_revoked_grant_is_shown_as_it_was_and_the_record_tells_why(demo: Shell) -> None:
    for entity, level in ((CRM, "read"), (("rule", "rule_tone"), "view")):
        added = demo("grants", "add", *entity, *JONAS, level, "--json").json
        revoked = demo("grants", "revoke", added["id"], "--reason", "Project ended", "--json")
        assert (revoked.code, revoked.json) == (Exit.DONE, added)
        store = open_store("sqlite:///book.db", system_clock)
        *_, last = store.changes("org_demo")
        store.close()
        assert (last.subject_id, last.action, last.reason) == (entity[1], "revoked", "Project ended")
    odd = demo("grants", "revoke", added["id"], "--reason", "a\x1b[2J", "--json")
    assert (odd.code, odd.out, odd.error["details"]["field"]) == (Exit.USAGE, "", "reason")


def test_the_same_grant_again_changes_nothing_and_another_level_is_refused(demo: Shell) -> None:
    first = demo("grants", "add", *CRM, *JONAS, "read")
    assert first.out.startswith("granted: read on vector_store vs_crm to user usr_jonas, agrant_")
    before = demo("verify", "--json").json
    assert demo("grants", "add", *CRM, *JONAS, "read").out == first.out.replace("granted", "there already")
    other = demo("grants", "add", *CRM, *JONAS, "write", "--json")
    assert (other.code, other.error["code"]) == (Exit.FAILED, "GRANT_ALREADY_EXISTS")
    assert other.error["details"]["access_level"] == "read"
    assert demo("verify", "--json").json == before


def test_update_sets_another_level(demo: Shell) -> None:
    grant_id = demo("grants", "add", *CRM, *JONAS, "read", "--json").json["id"]
    updated = demo("grants", "update", grant_id, "admin", "--json")
    assert (updated.json["id"], updated.json["access_level"]) == (grant_id, "admin")
    assert demo("check", "usr_jonas", "admin", *CRM).code == Exit.DONE
    assert demo("grants", "update", grant_id, "fly").code == Exit.USAGE


def test_update_sets_another_window(demo: Shell) -> None:
    window = ("--starts-at", "2098-01-01T00:00:00Z", "--expires-at", "2099-01-01T00:00:00Z")
    grant_id = demo("grants", "add", *CRM, *JONAS, "read", *window, "--json").json["id"]
    begun = demo("grants", "update", grant_id, "--starts-at", "now", "--json").json
    assert (begun["starts_at"], begun["expires_at"]) == (None, "2099-01-01T00:00:00Z")
    assert demo("check", "usr_jonas", "read", *CRM).code == Exit.DONE
    unending = demo("grants", "update", grant_id, "write", "--expires-at", "never", "--json").json
    assert (unending["expires_at"], unending["access_level"]) == (None, "write")
    assert demo("grants", "update", grant_id).code == Exit.USAGE
    assert demo("grants", "update", grant_id, "--expires-at", "sometime").code == Exit.USAGE


def test_windows_are_kept_as_given(demo: Shell) -> None:
    window = ("--starts-at", "2098-01-01T00:00:00Z", "--expires-at", "2099-01-01T02:00:00+02:00")
    added = demo("grants", "add", *CRM, *JONAS, "read", *window, "--json").json
    assert (added["starts_at"], added["expires_at"]) == ("2098-01-01T00:00:00Z", "2099-01-01T00:00:00Z")
    assert demo("check", "usr_jonas", "read", *CRM).code == Exit.DENIED
    assert demo("check", "usr_jonas", "read", *CRM, "--as-of", "2098-06-01T00:00:00Z").code == Exit.DONE
    assert demo("check", "usr_jonas", "read", *CRM, "--as-of", "2099-01-01T00:00:00Z").code == Exit.DENIED


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ((*CRM, *JONAS, "fly"), Exit.USAGE, "access_level"),
        ((*CRM, "crowd", "usr_jonas", "read"), Exit.USAGE, "grantee_type"),
        ((*CRM, "user", "usr_nobody", "read"), Exit.FAILED, "grantee_id usr_nobody"),
        (("cow", "cow_1", *JONAS, "read"), Exit.USAGE, "entity_type"),
        ((*CRM, *JONAS, "read", "--expires-at", "2020-01-01T00:00:00Z"), Exit.USAGE, "expires_at"),
        ((*CRM, *JONAS, "read", "--expires-at", "2099-01-01T00:00:00"), Exit.USAGE, "--expires-at"),
        ((*CRM, *JONAS, "read", "--reason", "a\x1b[2J"), Exit.USAGE, "reason"),
        (("rule", "rule_tone", *JONAS, "view", "--reason", "because"), Exit.USAGE, "reason"),
        ((*CRM, "all", "*", "read"), Exit.USAGE, "grantee_type"),
    ],
)
def test_a_grant_that_cannot_be_is_refused(demo: Shell, arguments: tuple[str, ...], code: Exit, named: str) -> None:
    before = demo("verify", "--json").json
    shown = demo("grants", "add", *arguments)
    assert (shown.code, shown.out) == (code, "")
    assert named in shown.err
    assert demo("verify", "--json").json == before


def test_list_pages_and_says_on_stderr_that_there_is_more(demo: Shell) -> None:
    first = demo("grants", "list", "--limit", "5")
    assert first.out.count("\n") == 6
    assert first.err == "5 of 21 grants shown; the next ones: --skip 5\n"
    pages = [demo("grants", "list", "--limit", "10", "--skip", str(skip), "--json").json for skip in (0, 10, 20)]
    assert [page["has_more"] for page in pages] == [True, True, False]
    ids = [item["id"] for page in pages for item in page["items"]]
    assert len(set(ids)) == pages[0]["total"] == 21
    assert demo("grants", "list", "--skip", "20").err == ""


def test_list_filters(demo: Shell) -> None:
    by_entity = demo("grants", "list", "--type", "vector_store", "--id", "vs_crm", "--json").json["items"]
    assert [item["grantee_id"] for item in by_entity] == ["role_analyst"]
    by_grantee = demo("grants", "list", "--grantee-type", "user", "--grantee-id", "usr_dev", "--json").json["items"]
    assert [item["entity_id"] for item in by_grantee] == ["kslice_legacy", "asst_helpdesk"]
    assert demo("grants", "list", "--type", "cow").code == Exit.USAGE


def test_grants_on_rules_are_listed_added_raised_and_revoked(demo: Shell) -> None:
    tone = ("rule", "rule_tone")
    added = demo("grants", "add", *tone, *JONAS, "view", "--json").json
    assert added["id"].startswith("grant_")
    assert demo("grants", "add", *tone, *JONAS, "view").out.startswith("there already: ")
    assert demo("grants", "add", *tone, *JONAS, "modify").out.startswith("granted: modify")
    lower = demo("grants", "add", *tone, *JONAS, "use", "--json")
    assert (lower.code, lower.error["code"]) == (Exit.FAILED, "GRANT_WOULD_BE_DEMOTED")
    listed = demo("grants", "list", "--type", "rule", "--id", "rule_tone", "--json").json
    assert [item["grantee_id"] for item in listed["items"]] == ["*", "org_demo", "usr_jonas"]
    one = demo("grants", "list", "--type", "rule", "--id", "rule_tone", "--grantee-id", "*", "--json").json
    assert [item["access_level"] for item in one["items"]] == ["view"]
    assert demo("grants", "revoke", added["id"]).code == Exit.DONE
    assert demo("check", "usr_jonas", "modify", *tone).code == Exit.DENIED
    assert demo("grants", "list", "--type", "rule").code == Exit.USAGE
