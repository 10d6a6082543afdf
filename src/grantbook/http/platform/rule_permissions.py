"""Who may view, use or modify a rule, in the present words and in the older ones."""

from typing import Annotated

from fastapi import Body, Response

from grantbook.http import responses
from grantbook.http.exchange import Answer, Exchanged, done
from grantbook.http.platform import rules_rendering as rendering
from grantbook.http.platform import rules_shapes as shapes
from grantbook.http.routing import documented, router
from grantbook.model.errors import ValidationFailed
from grantbook.model.facts import Principal
from grantbook.model.limits import MAX_RULE_GRANTS
from grantbook.service import rule_access_rights, rule_permissions
from grantbook.service.desk import Writing
from grantbook.service.rule_permissions import Permission

routes = router("Rule permissions")
PERMISSIONS = "/v1/rules/{rule_id}/permissions"
ACCESS = "/v1/rules/{rule_id}/access"


@routes.get(PERMISSIONS, **documented(shapes.RuleGrants))
def list_rule_permissions(rule_id: str, exchange: Exchanged) -> Response:
    """The grants on a rule. Needs `view` on it."""
    with exchange.reading(exchange.organization_of_rule(rule_id)) as reading:
        found = rule_permissions.list_permissions(reading, rule_id)
        return Answer({"grants": [rendering.rule_grant(grant) for grant in found]}).response()


@routes.put(PERMISSIONS, **documented(shapes.RuleGrants, writes=True))
def replace_rule_permissions(
    rule_id: str,
    body: Annotated[list[shapes.RulePermission], Body(max_length=MAX_RULE_GRANTS)],
    exchange: Exchanged,
) -> Response:
    """Exactly these grants from now on, atomically. Needs `modify`; an empty array removes all."""

    def work(writing: Writing) -> Answer:
        made = rule_permissions.replace_permissions(writing, rule_id, [_permission(each) for each in body])
        return Answer({"grants": [rendering.rule_grant(grant) for grant in made]})

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.patch(PERMISSIONS + "/grant", **documented(shapes.RuleGrant, writes=True))
def grant_rule_permission(rule_id: str, body: shapes.RulePermission, exchange: Exchanged) -> Response:
    """Give a level or raise it; a lower one is a conflict. Needs `modify`."""

    def work(writing: Writing) -> Answer:
        grant = rule_permissions.grant_permission(writing, rule_id, _permission(body))
        return Answer(rendering.rule_grant(grant))

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.patch(PERMISSIONS + "/revoke", **documented(responses.Success, writes=True))
def revoke_rule_permission(rule_id: str, body: shapes.RuleTarget, exchange: Exchanged) -> Response:
    """Take a target's grant away. Needs `modify`."""

    def work(writing: Writing) -> Answer:
        rule_permissions.revoke_permission(writing, rule_id, Principal(body.target_type, body.target_id))
        return Answer({"success": True})

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.get(ACCESS, **documented(shapes.AccessRights))
def list_access_rights(rule_id: str, exchange: Exchanged) -> Response:
    """The owner, and users with a grant of their own, in the older words. Needs `view`."""
    with exchange.reading(exchange.organization_of_rule(rule_id)) as reading:
        found = [rendering.access_right(right) for right in rule_access_rights.list_rights(reading, rule_id)]
        return Answer({"access_rights": found, "total": len(found)}).response()


@routes.post(ACCESS, **documented(shapes.AccessRightAnswer, writes=True, status=201))
def give_access_right(rule_id: str, body: shapes.AccessRight, exchange: Exchanged) -> Response:
    """Give a right or raise it; `owner` hands the rule over, and only its owner may. Needs `modify`."""

    def work(writing: Writing) -> Answer:
        right = rule_access_rights.give(writing, rule_id, body.user_id, body.access_level)
        return Answer(rendering.access_right(right), 201)

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.put(ACCESS + "/{user_id}", **documented(shapes.AccessRightAnswer, writes=True))
def change_access_right(rule_id: str, user_id: str, body: shapes.AccessRight, exchange: Exchanged) -> Response:
    """Another right for a user who has one. Needs `modify`; the owner stays until somebody else is."""
    if body.user_id != user_id:
        raise ValidationFailed("user_id", "user_id must be the one in the address")

    def work(writing: Writing) -> Answer:
        right = rule_access_rights.change(writing, rule_id, user_id, body.access_level)
        return Answer(rendering.access_right(right))

    return exchange.write(exchange.organization_of_rule(rule_id), work)


@routes.delete(ACCESS + "/{user_id}", **documented(None, writes=True, status=204))
def take_access_right(rule_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Take the right of a user away. Needs `modify`; the owner cannot lose it."""
    return exchange.write(
        exchange.organization_of_rule(rule_id), done(lambda writing: rule_access_rights.take(writing, rule_id, user_id))
    )


def _permission(body: shapes.RulePermission) -> Permission:
    return Permission(target=Principal(body.target_type, body.target_id), access_level=body.access_level)
