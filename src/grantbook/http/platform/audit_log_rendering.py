"""Changes as entries of the audit log: names of a whole page at once, values as short texts, and lines of CSV."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any, Final

from grantbook.model.facts import Entity, EntityRef
from grantbook.model.instants import to_text
from grantbook.service import audit, gates, names
from grantbook.service.desk import Reading
from grantbook.service.names import NO_NAME, Thing
from grantbook.store.port import Change

Json = dict[str, Any]
MAX_VALUE: Final = 200
COLUMNS: Final = (
    "id", "created_at", "entity_type", "entity_id", "entity_name", "action_type", "actor_id", "actor_name",
    "actor_email", "target_id", "target_name", "previous_value", "new_value", "department_id", "reason", "trace_id",
    "api_key_id", "revision", "organization_id",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_OF_ITSELF: Final = frozenset({"Organization", "Member", "Department", "Role", "Entity", "ApiKey"})
_SUBJECT_TYPES: Final = {"DepartmentMember": "department", "RoleAssignment": "role"}
_UNTOLD: Final = frozenset({"updated_at"})


def entries(reading: Reading, changes: Sequence[Change]) -> list[Json]:
    """The changes in the order given."""
    told = [_Told(change) for change in changes]
    known = names.of_things(reading, _shown(reading, {thing for each in told for thing in each.things}))
    return [_entry(reading, each, known) for each in told]


def csv_lines(rows: Iterable[Json]) -> str:
    """Entries as CSV, without the line of headings. A cell never begins as a formula would.

    Source: OWASP, CSV injection.
    """
    text = StringIO(newline="")
    writer = csv.writer(text)
    for row in rows:
        flat = {**row, **row["metadata"]}
        writer.writerow(_cell(flat.get(column)) for column in COLUMNS)
    return text.getvalue()


def csv_headings() -> str:
    """The first line."""
    return ",".join(COLUMNS) + "\r\n"


def _shown(reading: Reading, things: set[Thing]) -> set[Thing]:
    """Those whose names the caller may know: of entities, without the right to see the whole log, what they see."""
    if audit.VIEW in reading.capabilities:
        return things
    refs = {EntityRef(*thing) for thing in things if thing[0] in reading.vocabulary.types}
    found = reading.snapshot.select(Entity, {"id": {ref.id for ref in refs}}) if refs else []
    return things - refs | gates.seen(reading, [entity for entity in found if entity.ref in refs])


class _Told:
    """A change with the fact that it is about."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.before: Json | None = None if change.before is None else json.loads(change.before)
        self.after: Json | None = None if change.after is None else json.loads(change.after)
        self.fact: Json = self.after or self.before or {}
        self.actor: Thing = ("user", change.actor_id)
        self.subject = self._subject()
        self.target = self._target()

    @property
    def things(self) -> list[Thing]:
        """What to look up names of. What the change itself is about bears the name that it had then."""
        return [thing for thing in (self.actor, self.subject, self.target) if thing is not None]

    def _subject(self) -> Thing | None:
        change, fact = self.change, self.fact
        if change.kind in _OF_ITSELF:
            return None
        kind = _SUBJECT_TYPES.get(change.kind) or fact.get("container_type") or fact.get("entity_type")
        return None if kind is None else (kind, change.subject_id)

    def _target(self) -> Thing | None:
        if self.change.target_id is None:
            return None
        fact = self.fact
        kind = fact.get("grantee_type") or fact.get("target_type") or fact.get("member_type") or "user"
        return kind, self.change.target_id


def _entry(reading: Reading, told: _Told, known: Mapping[Thing, names.Name]) -> Json:
    change = told.change
    actor = known.get(told.actor, NO_NAME)
    subject = names.name_in(told.fact) if told.subject is None else known.get(told.subject, NO_NAME)
    previous, new = _values(told)
    window = {name: told.fact.get(name) for name in ("starts_at", "expires_at") if change.kind == "Grant"}
    metadata = {
        **{name: None if at is None else to_text(at) for name, at in window.items()},
        "revision": change.revision,
        "reason": change.reason,
        "trace_id": change.trace_id,
        "api_key_id": change.api_key_id,
    }
    return {
        "id": f"audit_{change.revision}-{change.ordinal}",
        "entity_type": change.subject_type,
        "entity_id": change.subject_id,
        "entity_name": subject.name,
        "action_type": change.action,
        "actor_id": change.actor_id,
        "actor_name": actor.name or change.actor_id,
        "actor_email": actor.email or "",
        "target_id": change.target_id,
        "target_name": known.get(told.target, NO_NAME).name if told.target else None,
        "previous_value": previous,
        "new_value": new,
        "metadata": {name: value for name, value in metadata.items() if value is not None},
        "organization_id": reading.organization_id,
        "department_id": _department_id(told),
        "created_at": to_text(change.at),
    }


def _department_id(told: _Told) -> str | None:
    if told.change.subject_type in {"department", "department_member"}:
        return told.change.subject_id
    return told.target[1] if told.target and told.target[0] == "department" else None


def _values(told: _Told) -> tuple[str | None, str | None]:
    """The level of a grant; of anything else its name where it came or went, else the fields that changed."""
    before, after = told.before, told.after
    if told.change.kind == "Grant":
        return (before or {}).get("access_level"), (after or {}).get("access_level")
    if before is None or after is None:
        return _short(names.name_in(before or {}).name), _short(names.name_in(after or {}).name)
    old, new = _flat(before), _flat(after)
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name) and name not in _UNTOLD]
    return _fields(old, changed), _fields(new, changed)


def _flat(fact: Json) -> Json:
    attributes = fact.get("attributes") or {}
    return {**{name: value for name, value in fact.items() if name != "attributes"}, **attributes}


def _fields(fact: Json, wanted: Iterable[str]) -> str | None:
    return _short("; ".join(f"{name}: {_text(fact.get(name))}" for name in wanted)) or None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def _short(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "\u2026"


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(_FORMULA) else text
