"""Every method of the SDK's `rules`, `rule_operations` and `rule_access_rights` in the contract."""

from collections.abc import Callable
from typing import Any

import pytest
from aitronos import Aitronos
from aitronos.types import AccessRightResponse, RuleDetailResponse

from grantbook.model.facts import EntityRef
from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import ONCE, refused
from tests.serving import Tenant


def make(sdk: Aitronos, tenant: Tenant, name: str = "Be kind", **values: Any) -> RuleDetailResponse:
    made: RuleDetailResponse = sdk.rules.create_rule(
        tenant.organization_id, **{"name": name, "content": "Always.", "request_options": ONCE, **values}
    )
    return made


@pytest.fixture
def rule(tenant: Tenant) -> EntityRef:
    """Of the owner, and private."""
    return tenant.entity("rule", content="Always.")


# rules


def test_list_rules(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    tone = make(sdk, house.tenant, "Tone", content="Friendly " * 40, category="creative", is_public=True)
    law = make(sdk, house.tenant, "Law", content="No advice", description="For friends", rule_type="guardrails")
    off = make(sdk, house.tenant, "Off", scope="assistant", is_active=False, apply_mode="manual")
    own = house.tenant.entity("rule").id

    def listed(**filters: Any) -> list[str]:
        found = sdk.rules.list_rules(house.id, **filters)
        assert found.total == len(found.rules)
        return [each.id for each in found.rules]

    assert listed() == [tone.id, law.id, off.id, own]
    assert listed(search="FRIEND") == [tone.id, law.id]
    assert listed(category="creative") == [tone.id]
    assert listed(rule_type="behavior") == [tone.id, off.id, own]
    assert listed(scope="organization") == [tone.id, law.id, own]
    assert listed(scope="assistant", rule_type="behavior") == [off.id]
    assert listed(is_active=False) == [off.id]
    assert listed(is_active=True) == [tone.id, law.id, own]
    assert listed(is_public=True) == [tone.id]
    assert listed(is_public=False) == [law.id, off.id, own]
    assert listed(attached_only=True) == listed(entity_type="assistant", entity_id="asst_1") == []
    assert listed(attached_only=False, include_attachments=True) == listed()

    page = sdk.rules.list_rules(house.id, limit=1, category="creative")
    (first,) = page.rules
    assert (first.content_length, first.content_preview) == (360, ("Friendly " * 40)[:200])
    assert (first.can_edit, first.is_public, first.version, first.usage_count) == (True, True, 1, 0)
    assert page.filters == {"category": "creative"}
    (seen,) = clerk.rules.list_rules(house.id).rules
    assert (seen.id, seen.can_edit) == (tone.id, False)
    with refused(422, "VALIDATION_ERROR", field="skip"):
        sdk.rules.list_rules(house.id, skip=-1)


def test_create_and_get_rule(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    made = make(sdk, house.tenant, description="For all")
    assert sdk.rules.get_rule(house.id, made.id, include_attachments=True) == made
    assert sdk.rules.get_rule_global(made.id, include_attachments=True) == made
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_rules"):
        make(clerk, house.tenant)
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=made.id):
        clerk.rules.get_rule(house.id, made.id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=made.id):
        clerk.rules.get_rule_global(made.id)
    with refused(404, "RESOURCE_NOT_FOUND", rule_id="rule_gone"):
        sdk.rules.get_rule(house.id, "rule_gone")
    with refused(404, "RESOURCE_NOT_FOUND", rule_id="rule_gone"):
        sdk.rules.get_rule_global("rule_gone")
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=made.id):
        outsider.rules.get_rule_global(made.id)
    house.tenant.permit(EntityRef("rule", made.id), "view", "all", "*")
    assert outsider.rules.get_rule_global(made.id).can_edit is False
    with refused(422, "VALIDATION_ERROR", field="attachments"):
        make(sdk, house.tenant, attachments=[{"entity_type": "assistant", "entity_id": "asst_1"}])


def test_a_rule_of_another_organization_is_not_found_in_ones_own(
    sdk: Aitronos, connect: Connect, house: House, rule: EntityRef
) -> None:
    other = Tenant.found(house.tenant.desk)
    there = connect(other.owner.secret)
    house.tenant.permit(rule, "modify", "all", "*")
    calls: list[Callable[[], object]] = [
        lambda: there.rules.get_rule(other.organization_id, rule.id),
        lambda: there.rule_operations.update_rule(other.organization_id, rule.id, name="X"),
        lambda: there.rule_operations.duplicate_rule(other.organization_id, rule.id),
        lambda: there.rule_operations.delete_rule(other.organization_id, rule.id),
    ]
    for call in calls:
        with refused(404, "RESOURCE_NOT_FOUND", rule_id=rule.id):
            call()
    assert sdk.rules.get_rule(house.id, rule.id).id == rule.id


def test_list_platform_rules(sdk: Aitronos, connect: Connect) -> None:
    assert sdk.rules.list_platform_rules() == []
    with refused(401, "INVALID_API_KEY"):
        connect("gb_wrong").rules.list_platform_rules()


# rule_operations


def test_list_public_rules(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    shown = make(sdk, house.tenant, is_public=True, category="safety", rule_type="context")
    make(sdk, house.tenant)
    assert [each.id for each in clerk.rule_operations.list_public_rules().rules] == [shown.id]
    assert (
        sdk.rule_operations.list_public_rules(category="safety", rule_type="context", scope="organization").total == 1
    )
    assert sdk.rule_operations.list_public_rules(category="custom").rules == []
    assert outsider.rule_operations.list_public_rules().rules == []
    with refused(422, "VALIDATION_ERROR", field="limit"):
        sdk.rule_operations.list_public_rules(limit=0)


def test_update_rule(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    made = make(sdk, house.tenant, description="Old")
    changed = sdk.rule_operations.update_rule(
        house.id, made.id, name="Be brief", content="Please.", category="safety", scope="assistant", is_active=False
    )
    assert (changed.name, changed.content, changed.description) == ("Be brief", "Please.", "Old")
    assert (changed.category, changed.scope, changed.is_active, changed.version) == ("safety", "assistant", False, 2)
    same = sdk.rule_operations.update_rule(house.id, made.id, name="Be brief", is_active=False, is_public=False)
    assert same == changed
    shown = sdk.rule_operations.update_rule(house.id, made.id, is_public=True)
    assert (shown.is_public, shown.version) == (True, 3)
    assert clerk.rules.get_rule(house.id, made.id).can_edit is False
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=made.id):
        clerk.rule_operations.update_rule(house.id, made.id, content="Mine.")
    house.tenant.permit(EntityRef("rule", made.id), "modify", "user", house.clerk.user_id)
    edited = clerk.rule_operations.update_rule(house.id, made.id, content="Mine.", is_public=False)
    assert (edited.can_edit, edited.version) == (True, 4)
    with refused(404, "RESOURCE_NOT_FOUND", rule_id="rule_gone"):
        sdk.rule_operations.update_rule(house.id, "rule_gone", name="X")
    with refused(422, "VALIDATION_ERROR", field="name"):
        sdk.rule_operations.update_rule(house.id, made.id, name=" ")


def test_delete_rule(sdk: Aitronos, clerk: Aitronos, house: House, rule: EntityRef) -> None:
    house.tenant.permit(rule, "use", "user", house.clerk.user_id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=rule.id):
        clerk.rule_operations.delete_rule(house.id, rule.id)
    sdk.rule_operations.delete_rule(house.id, rule.id, force=True)
    with refused(404, "RESOURCE_NOT_FOUND", rule_id=rule.id):
        sdk.rule_operations.delete_rule(house.id, rule.id)
    with refused(404, "RESOURCE_NOT_FOUND", rule_id=rule.id):
        sdk.rules.get_rule_global(rule.id)
    house.tenant.entity("rule", entity_id=rule.id)
    assert house.tenant.grants(entity_id=rule.id) == []
    assert sdk.rules.get_rule_global(rule.id).id == rule.id
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=rule.id):
        clerk.rules.get_rule_global(rule.id)


def test_duplicate_rule(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    made = make(sdk, house.tenant, "x" * 200, is_public=True, category="safety", is_active=False)
    sdk.rule_operations.update_rule(house.id, made.id, content="Twice.")
    house.tenant.permit(EntityRef("rule", made.id), "use", "all", "*")
    keeper = house.tenant.person(house.tenant.role("manage_rules"))
    copy = connect(keeper.secret).rule_operations.duplicate_rule(house.id, made.id)
    assert copy.id != made.id
    assert (copy.name, copy.content, copy.category) == ("x" * 193 + " (Copy)", "Twice.", "safety")
    assert (copy.version, copy.is_public, copy.is_active) == (1, False, False)
    assert (copy.created_by, house.tenant.grants(entity_id=copy.id)) == (keeper.user_id, [])
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_rules"):
        clerk.rule_operations.duplicate_rule(house.id, made.id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=house.tenant.entity("rule", entity_id="rule_own").id):
        clerk.rule_operations.duplicate_rule(house.id, "rule_own")
    with refused(404, "RESOURCE_NOT_FOUND", rule_id="rule_gone"):
        sdk.rule_operations.duplicate_rule(house.id, "rule_gone")


# rule_access_rights


def rights(sdk: Aitronos, rule: EntityRef) -> dict[str, str]:
    found = sdk.rule_access_rights.list_access_rights(rule.id)
    assert found.total == len(found.access_rights)
    assert {right.rule_id for right in found.access_rights} <= {rule.id}
    return {right.user_id: right.access_level for right in found.access_rights}


def give(sdk: Aitronos, rule: EntityRef, user_id: str, level: str) -> AccessRightResponse:
    given: AccessRightResponse = sdk.rule_access_rights.grant_access(
        rule.id, user_id=user_id, access_level=level, request_options=ONCE
    )
    return given


def change(sdk: Aitronos, rule: EntityRef, user_id: str, level: str) -> AccessRightResponse:
    changed: AccessRightResponse = sdk.rule_access_rights.update_access_level(
        rule.id, user_id, user_id=user_id, access_level=level
    )
    return changed


def test_list_access_rights(sdk: Aitronos, clerk: Aitronos, house: House, rule: EntityRef) -> None:
    owner, user, clerk_id = house.tenant.owner.user_id, house.user, house.clerk.user_id
    assert rights(sdk, rule) == {owner: "owner"}
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=rule.id):
        rights(clerk, rule)
    house.tenant.permit(rule, "use", "user", user)
    house.tenant.permit(rule, "view", "user", clerk_id)
    house.tenant.permit(rule, "modify", "organization", house.id)
    assert rights(clerk, rule) == {owner: "owner", user: "edit", clerk_id: "view"}
    first = sdk.rule_access_rights.list_access_rights(rule.id).access_rights[0]
    assert first.id.startswith("racc_")
    assert not first.is_deleted
    with refused(404, "RESOURCE_NOT_FOUND", rule_id="rule_gone"):
        sdk.rule_access_rights.list_access_rights("rule_gone")


def test_grant_access(sdk: Aitronos, clerk: Aitronos, house: House, rule: EntityRef) -> None:
    user = house.user
    seen = give(sdk, rule, user, "view")
    assert (seen.access_level, seen.granted_by, seen.rule_id) == ("view", house.tenant.owner.user_id, rule.id)
    assert give(sdk, rule, user, "view") == seen
    edits = give(sdk, rule, user, "edit")
    assert (edits.id, edits.access_level) == (seen.id, "edit")
    (grant,) = house.tenant.grants(entity_id=rule.id)
    assert (grant.access_level, grant.grantee_id) == ("modify", user)
    with refused(409, "GRANT_WOULD_BE_DEMOTED", access_level="modify"):
        give(sdk, rule, user, "view")
    with refused(409, "GRANT_WOULD_BE_DEMOTED", access_level="owner"):
        give(sdk, rule, house.tenant.owner.user_id, "edit")
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=rule.id):
        give(clerk, rule, house.clerk.user_id, "view")
    with refused(404, "RESOURCE_NOT_FOUND"):
        give(sdk, rule, "usr_gone", "view")
    with refused(422, "VALIDATION_ERROR", field="access_level"):
        give(sdk, rule, user, "use")


def test_update_access_level(sdk: Aitronos, house: House, rule: EntityRef) -> None:
    user = house.user
    with refused(404, "RESOURCE_NOT_FOUND", user_id=user):
        change(sdk, rule, user, "view")
    house.tenant.permit(rule, "use", "user", user)
    assert change(sdk, rule, user, "edit").access_level == "edit"
    assert [grant.access_level for grant in house.tenant.grants(entity_id=rule.id)] == ["modify"]
    assert change(sdk, rule, user, "view").access_level == "view"
    assert rights(sdk, rule)[user] == "view"
    with refused(403, "CANNOT_REMOVE_LAST_OWNER", rule_id=rule.id):
        change(sdk, rule, house.tenant.owner.user_id, "edit")
    assert change(sdk, rule, house.tenant.owner.user_id, "owner").access_level == "owner"
    with refused(422, "VALIDATION_ERROR", field="user_id"):
        sdk.rule_access_rights.update_access_level(rule.id, user, user_id=house.clerk.user_id, access_level="view")


def test_revoke_access(sdk: Aitronos, clerk: Aitronos, house: House, rule: EntityRef) -> None:
    give(sdk, rule, house.user, "view")
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=rule.id):
        clerk.rule_access_rights.revoke_access(rule.id, house.user)
    sdk.rule_access_rights.revoke_access(rule.id, house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id=house.user):
        sdk.rule_access_rights.revoke_access(rule.id, house.user)
    with refused(403, "CANNOT_REMOVE_LAST_OWNER", user_id=house.tenant.owner.user_id):
        sdk.rule_access_rights.revoke_access(rule.id, house.tenant.owner.user_id)
    assert rights(sdk, rule) == {house.tenant.owner.user_id: "owner"}


def test_a_rule_is_handed_over_by_its_owner_who_keeps_what_it_had(
    sdk: Aitronos, clerk: Aitronos, house: House, rule: EntityRef
) -> None:
    owner, clerk_id = house.tenant.owner.user_id, house.clerk.user_id
    give(sdk, rule, clerk_id, "edit")
    with refused(403, "INSUFFICIENT_PERMISSIONS", rule_id=rule.id):
        give(clerk, rule, clerk_id, "owner")
    assert give(sdk, rule, clerk_id, "owner").access_level == "owner"
    assert rights(clerk, rule) == {clerk_id: "owner", owner: "edit"}
    with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
        sdk.rule_access_rights.revoke_access(rule.id, clerk_id)
    clerk.rule_access_rights.revoke_access(rule.id, owner)
    assert rights(clerk, rule) == {clerk_id: "owner"}
    for user_id, status, code in (
        ("usr_gone", 404, "RESOURCE_NOT_FOUND"),
        (house.tenant.user(is_active=False), 422, "VALIDATION_ERROR"),
    ):
        with refused(status, code):
            give(clerk, rule, user_id, "owner")
