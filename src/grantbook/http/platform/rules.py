"""Rules: create, and who may view, use or modify them."""

from typing import Annotated

from fastapi import Body, Response

from grantbook.http import requests, responses
from grantbook.http.exchange import Answer, Exchanged
from grantbook.http.platform import rendering
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.facts import EntityRef, Principal
from grantbook.model.limits import MAX_RULE_GRANTS
from grantbook.service import entities, rule_permissions
from grantbook.service.desk import Writing
from grantbook.service.rule_permissions import Permission

routes = router("Rule permissions")
PERMISSIONS = "/v1/rules/{rule_id}/permissions"


@routes.get(PERMISSIONS, **documented(responses.RuleGrants))
def list_rule_permissions(rule_id: str, exchange: Exchanged) -> Response:
    """The grants on a rule. Needs `view` on it."""
    with exchange.reading(exchange.organization_of_rule(rule_id)) as reading:
        found = rule_permissions.list_permissions(reading, rule_id)
        return Answer({"grants": [rendering.rule_grant(grant) for grant in found]}).response()


@routes.put(PERMISSIONS, **documented(responses.RuleGrants, writes=True))
def replace_rule_permissions(
    rule_id: str,
    body: Annotated[list[requests.RulePermission], Body(max_length=MAX_RULE_GRANTS)],
    exchange: Exchanged,
) -> Response:
    """Exactly these grants from now on, atomically. Needs `modify`; an empty array removes all."""

    def work(writing: Writing) -> Answer:
        made = rule_permissions.replace_permissions(writing, rule_id, [_permission(each) for each in body])
        return Answer({"grants": [rendering.rule_grant(grant) for grant in made]})

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.patch(PERMISSIONS + "/grant", **documented(responses.RuleGrant, writes=True))
def grant_rule_permission(rule_id: str, body: requests.RulePermission, exchange: Exchanged) -> Response:
    """Give a level or raise it; a lower one is a conflict. Needs `modify`."""

    def work(writing: Writing) -> Answer:
        grant = rule_permissions.grant_permission(writing, rule_id, _permission(body))
        return Answer(rendering.rule_grant(grant))

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.patch(PERMISSIONS + "/revoke", **documented(responses.Success, writes=True))
def revoke_rule_permission(rule_id: str, body: requests.RuleTarget, exchange: Exchanged) -> Response:
    """Take a target's grant away. Needs `modify`."""

    def work(writing: Writing) -> Answer:
        rule_permissions.revoke_permission(writing, rule_id, Principal(body.target_type, body.target_id))
        return Answer({"success": True})

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.post(ORGANIZATION + "/rules", **documented(responses.RuleAnswer, writes=True, status=201))
def create_rule(organization_id: str, body: requests.CreateRule, exchange: Exchanged) -> Response:
    """A rule that the caller owns. Needs `manage_rules`."""

    def work(writing: Writing) -> Answer:
        ref = EntityRef("rule", body.id or writing.new_id("rule_"))
        draft = entities.Draft(
            ref=ref,
            name=body.name,
            owner=Principal("user", writing.caller.user_id),
            access_mode="public" if body.is_public else "private",
            attributes={
                "content": body.content,
                "description": body.description,
                "category": body.category,
                "rule_type": body.rule_type,
                "scope": body.scope,
                "apply_mode": body.apply_mode,
                "is_active": True if body.is_active is None else body.is_active,
                "version": 1,
            },
        )
        made = entities.create(writing, draft, "manage_rules")
        return Answer(rendering.rule(writing, made.entity, can_edit=True), 201)

    return exchange.write(organization_id, work)


def _permission(body: requests.RulePermission) -> Permission:
    return Permission(target=Principal(body.target_type, body.target_id), access_level=body.access_level)
