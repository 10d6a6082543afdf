"""Rules: created, found, changed with a version that counts, duplicated, deleted.

Who may view, use or modify a rule is told by `rule_permissions`. Here `view` shows a rule and `modify` changes it; so
does `manage_rules`, except for who reaches it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grantbook.model.errors import NotFound, PermissionDenied
from grantbook.model.facts import Entity, EntityRef, Principal
from grantbook.model.limits import MAX_NAME_LENGTH
from grantbook.service import entities, gates
from grantbook.service.attributes import whole_number_in
from grantbook.service.conditions import crossed
from grantbook.service.desk import Reading, Writing
from grantbook.service.entities import Draft, Edit
from grantbook.service.entity_lists import Page, Part, list_entities, searched, with_defaults
from grantbook.service.rule_permissions import RULE
from grantbook.service.values import valid_name
from grantbook.store.port import Where

MANAGE_RULES: Final = "manage_rules"
DEFAULTS: Final = {"rule_type": "behavior", "scope": "organization", "state": "active"}
COPY: Final = " (Copy)"
_TEXTS: Final = ("content", "description", "category", "rule_type", "scope", "apply_mode")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFields:
    """What a rule says: None leaves a thing as it is, or at its default."""

    name: str | None = None
    content: str | None = None
    description: str | None = None
    category: str | None = None
    rule_type: str | None = None
    scope: str | None = None
    apply_mode: str | None = None
    is_public: bool | None = None
    is_active: bool | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """Those that are given, as an entity keeps them."""
        given = {name: getattr(self, name) for name in _TEXTS}
        given["state"] = None if self.is_active is None else "active" if self.is_active else "inactive"
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleView:
    """A rule, and whether the caller may change it."""

    entity: Entity
    can_edit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rules: None is any."""

    search: str | None = None
    category: str | None = None
    rule_type: str | None = None
    scope: str | None = None
    is_active: bool | None = None
    is_public: bool | None = None

    @property
    def given(self) -> dict[str, str | bool]:
        """Those that are not None, by name."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


def create(writing: Writing, fields: RuleFields, rule_id: str) -> RuleView:
    """A rule that the caller owns. Raises as `entities.create`."""
    draft = Draft(
        ref=EntityRef(RULE, rule_id),
        name=fields.name or "",
        owner=Principal("user", writing.caller.user_id),
        access_mode="public" if fields.is_public else "private",
        attributes={**DEFAULTS, **fields.attributes, "version": 1},
    )
    return RuleView(entity=entities.create(writing, draft, MANAGE_RULES).entity, can_edit=True)


def list_rules(reading: Reading, part: Part, filters: Filters) -> Page:
    """Rules that the caller sees; a search looks at the name, the description and the content."""
    state = None if filters.is_active is None else "active" if filters.is_active else "inactive"
    wanted = {"category": filters.category, "rule_type": filters.rule_type, "scope": filters.scope, "state": state}
    shown: list[Where] = [{}]
    if filters.is_public is not None:
        shown = [{"access_mode": "public" if filters.is_public else {"organization", "department", "private"}}]
    texts = searched(filters.search, "name", "attributes.description", "attributes.content")
    return list_entities(reading, RULE, part, *crossed(shown, with_defaults(wanted, DEFAULTS), texts))


def list_public_rules(reading: Reading, part: Part, filters: Filters) -> Page:
    """Rules that every member of the organization may view. Raises OrganizationAccessDenied."""
    gates.require_membership(reading)
    wanted = {"category": filters.category, "rule_type": filters.rule_type, "scope": filters.scope}
    public: Where = {"access_mode": "public", "status": "active"}
    return list_entities(reading, RULE, part, *crossed([public], with_defaults(wanted, DEFAULTS)))


def views(reading: Reading, found: Sequence[Entity]) -> list[RuleView]:
    """The rules, in the order given: as many queries for many as for one."""
    top = reading.vocabulary.entity_type(RULE).top_level
    accesses = gates.accesses_of_caller(reading, [entity.ref for entity in found])
    manages = gates.manages_type(reading, RULE)
    return [
        RuleView(
            entity=entity,
            can_edit=manages or gates.owns(reading, entity) or accesses[entity.ref].level == top,
        )
        for entity in found
    ]


def get(reading: Reading, rule_id: str) -> RuleView:
    """Raises NotFound(rule_id), PermissionDenied(rule_id)."""
    rule = find(reading, rule_id)
    if not gates.sees(reading, rule):
        raise PermissionDenied(rule_id=rule_id)
    return views(reading, [rule])[0]


def update(writing: Writing, rule_id: str, fields: RuleFields) -> RuleView:
    """The rule, changed, and its version one higher; what is there already changes nothing.

    Showing it to everybody, or hiding it, takes `modify`.

    Raises ValidationFailed(name, ...), NotFound(rule_id), PermissionDenied(rule_id).
    """
    entities.check_edit(Edit(name=fields.name, attributes=fields.attributes))
    name = None if fields.name is None else valid_name("name", fields.name)
    rule = find(writing, rule_id)
    may = gates.manages(writing, rule) if fields.is_public is None else gates.administers(writing, rule.ref)
    if not may:
        raise PermissionDenied(rule_id=rule_id)
    attributes: dict[str, Any] = {
        name: value
        for name, value in fields.attributes.items()
        if value != rule.attributes.get(name, DEFAULTS.get(name))
    }
    mode = None
    if fields.is_public is not None and fields.is_public != (rule.access_mode == "public"):
        mode = "public" if fields.is_public else "private"
    if attributes or mode or name not in {None, rule.name}:
        attributes["version"] = version_of(rule) + 1
    changed = entities.apply(writing, rule, Edit(name=name, attributes=attributes, access_mode=mode))
    return RuleView(entity=changed, can_edit=True)


def duplicate(writing: Writing, rule_id: str, copy_id: str) -> RuleView:
    """A copy that the caller owns: version 1, private, without grants. Raises as `get` and `entities.create`."""
    rule = get(writing, rule_id).entity
    draft = Draft(
        ref=EntityRef(RULE, copy_id),
        name=rule.name[: MAX_NAME_LENGTH - len(COPY)] + COPY,
        owner=Principal("user", writing.caller.user_id),
        access_mode="private",
        attributes={**rule.attributes, "version": 1},
    )
    return RuleView(entity=entities.create(writing, draft, MANAGE_RULES).entity, can_edit=True)


def delete(writing: Writing, rule_id: str) -> None:
    """The rule goes, with its grants: should its id come back, it starts anew.

    Raises NotFound(rule_id), PermissionDenied(rule_id).
    """
    rule = find(writing, rule_id)
    if not gates.administers(writing, rule.ref):
        raise PermissionDenied(rule_id=rule_id)
    entities.delete(writing, rule.ref)


def find(reading: Reading, rule_id: str) -> Entity:
    """The rule, whoever asks. Raises NotFound(rule_id)."""
    rule = gates.find_entity(reading, EntityRef(RULE, rule_id))
    if rule is None:
        raise NotFound("Rule not found", rule_id=rule_id)
    return rule


def version_of(rule: Entity) -> int:
    """1 for a rule that was never changed, or has none that is a number."""
    version = whole_number_in(rule.attributes, "version")
    return 1 if version is None else version
