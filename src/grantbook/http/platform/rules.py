"""Rules: found, created, changed, duplicated, deleted."""

from typing import Any

from fastapi import Response

from grantbook.http.exchange import Answer, Exchanged, done
from grantbook.http.paging import Paged, Paging
from grantbook.http.platform import rules_rendering as rendering
from grantbook.http.platform import rules_shapes as shapes
from grantbook.http.platform.entity_pages import page_of, part_of
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.service import rules
from grantbook.service.desk import Reading, Writing
from grantbook.service.entity_lists import NOTHING, Page
from grantbook.service.rules import Filters, RuleFields

routes = router("Rules")
RULES = ORGANIZATION + "/rules"
RULE = RULES + "/{rule_id}"


@routes.get("/v1/rules/platform", **documented(list[shapes.RuleListed]))
def list_platform_rules() -> Response:
    """Rules of the platform itself: Grantbook has none."""
    return Answer([]).response()


@routes.get("/v1/rules/public", **documented(shapes.RuleList))
def list_public_rules(
    exchange: Exchanged,
    paging: Paged,
    category: shapes.Kind = None,
    rule_type: shapes.Kind = None,
    scope: shapes.Kind = None,
) -> Response:
    """Public rules of the organization of the key: organizations do not see into one another."""
    filters = Filters(category=category, rule_type=rule_type, scope=scope, is_public=True)
    with exchange.reading(exchange.home) as reading:
        return _page(reading, paging, rules.list_public_rules(reading, part_of(paging), filters), filters)


@routes.get("/v1/rules/{rule_id}", **documented(shapes.RuleAnswer))
def get_rule_global(
    rule_id: str,
    exchange: Exchanged,
    include_attachments: shapes.WithAttachments = None,  # noqa: ARG001
) -> Response:
    """A rule, wherever it lives. Needs `view` on it."""
    with exchange.reading(exchange.organization_of_rule(rule_id)) as reading:
        return Answer(rendering.rule(reading, rules.get(reading, rule_id))).response()


@routes.get(RULES, **documented(shapes.RuleList))
def list_rules(
    organization_id: str,
    exchange: Exchanged,
    paging: Paged,
    search: shapes.Search = None,
    category: shapes.Kind = None,
    rule_type: shapes.Kind = None,
    scope: shapes.Kind = None,
    is_active: bool | None = None,
    is_public: bool | None = None,
    entity_type: shapes.AttachedTo = None,
    entity_id: shapes.AttachedTo = None,
    attached_only: shapes.AttachedOnly = None,
    include_attachments: shapes.WithAttachments = None,  # noqa: ARG001
) -> Response:
    """Rules of the organization that the caller sees, oldest first."""
    filters = Filters(
        search=search, category=category, rule_type=rule_type, scope=scope, is_active=is_active, is_public=is_public
    )
    asks_for_attached = attached_only or entity_type is not None or entity_id is not None
    with exchange.reading(organization_id) as reading:
        found = NOTHING if asks_for_attached else rules.list_rules(reading, part_of(paging), filters)
        return _page(reading, paging, found, filters)


@routes.post(RULES, **documented(shapes.RuleAnswer, writes=True, status=201))
def create_rule(organization_id: str, body: shapes.CreateRule, exchange: Exchanged) -> Response:
    """A rule that the caller owns. Needs `manage_rules`."""

    def work(writing: Writing) -> Answer:
        fields = RuleFields(**body.model_dump(exclude={"id", "attachments"}))
        made = rules.create(writing, fields, body.id or writing.new_id("rule_"))
        return Answer(rendering.rule(writing, made), 201)

    return exchange.write(organization_id, work)


@routes.get(RULE, **documented(shapes.RuleAnswer))
def get_rule(
    organization_id: str,
    rule_id: str,
    exchange: Exchanged,
    include_attachments: shapes.WithAttachments = None,  # noqa: ARG001
) -> Response:
    """A rule of the organization. Needs `view` on it, or `manage_rules`."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.rule(reading, rules.get(reading, rule_id))).response()


@routes.put(RULE, **documented(shapes.RuleAnswer, writes=True))
def update_rule(organization_id: str, rule_id: str, body: shapes.UpdateRule, exchange: Exchanged) -> Response:
    """Change a rule, and count its version up. Needs `modify` or `manage_rules`; `is_public` takes `modify`."""

    def work(writing: Writing) -> Answer:
        fields = RuleFields(**{**body.model_dump(), "description": body.cleared("description")})
        return Answer(rendering.rule(writing, rules.update(writing, rule_id, fields)))

    return exchange.write(organization_id, work)


@routes.delete(RULE, **documented(None, writes=True, status=204))
def delete_rule(
    organization_id: str,
    rule_id: str,
    exchange: Exchanged,
    force: shapes.Forced = None,  # noqa: ARG001
) -> Response:
    """Delete a rule with its grants; its history stays. Needs `modify`, or `manage_access_control`."""
    return exchange.write(organization_id, done(lambda writing: rules.delete(writing, rule_id)))


@routes.post(RULE + "/duplicate", **documented(shapes.RuleAnswer, writes=True, status=201))
def duplicate_rule(organization_id: str, rule_id: str, exchange: Exchanged) -> Response:
    """A copy that the caller owns: private, without grants, at version 1. Needs `view`, and `manage_rules`."""

    def work(writing: Writing) -> Answer:
        made = rules.duplicate(writing, rule_id, writing.new_id("rule_"))
        return Answer(rendering.rule(writing, made), 201)

    return exchange.write(organization_id, work)


def _page(reading: Reading, paging: Paging, found: Page, filters: Filters) -> Response:
    views = rules.views(reading, found.items)
    page: dict[str, Any] = page_of(paging, found, [rendering.listed_rule(reading, each) for each in views])
    page["rules"] = page.pop("items")
    page["filters"] = filters.given
    return Answer(page).response()
