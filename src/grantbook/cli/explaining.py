"""A decision as a person reads it: every path with names, who granted it and until when; for a denial, what to do."""

from collections.abc import Iterable, Mapping
from typing import Final

from rich.tree import Tree

from grantbook.cli.output import text
from grantbook.model.facts import EntityRef, Grant, Principal
from grantbook.model.instants import to_text
from grantbook.model.resolution import Path
from grantbook.service import names
from grantbook.service.decisions import Check, Decision
from grantbook.service.desk import Reading
from grantbook.service.rule_permissions import RULE

_REASONS: Final = {
    "direct": "granted to {source}",
    "department": "granted to department {source}",
    "role": "granted to role {source}",
    "organization": "granted to all of {source}",
    "all": "granted to everyone",
    "owner": "owned by {source}",
    "capability": "role {source} overrides all permissions",
}
_REMEDIES: Final = {
    "unarchive_entity": "unarchive {entity_type} {entity_id}: an archived entity gives no access",
    "invite_user": "invite {user_id}: only members have access here",
    "reactivate_user": "activate {user_id}, who is {account_state}",
    "raise_grant": "raise the grant: grantbook grants update {grant_id} {access_level}{flags}",
    "start_grant_earlier": "the grant has not begun: grantbook grants update {grant_id} --starts-at now{flags}",
    "create_grant": (
        "grant it: grantbook grants add {entity_type} {entity_id} {grantee_type} {grantee_id} {access_level}{flags}"
    ),
}


class Glossary:
    """Names and grants behind the ids of a question and its answer, looked up together."""

    def __init__(self, reading: Reading, question: Check, paths: Iterable[Path]) -> None:
        ids = {path.grant_id for path in paths if path.grant_id is not None}
        found = reading.snapshot.select(Grant, {"id": ids}) if ids else []
        self.grants: Mapping[str, Grant] = {grant.id: grant for grant in found}
        givers = {_giver_of(grant) for grant in found}
        self._people = names.of_principals(
            reading, {Principal("user", question.user_id), *givers, *(path.source for path in paths)}
        )
        self._entities = names.of_entities(reading, {question.entity, *(ref for path in paths for ref in path.through)})

    def principal(self, who: Principal) -> str:
        """The name with the id; the id alone of what is gone."""
        known = self._people.get(who)
        return f"{known.name} ({who.id})" if known is not None and known.name else who.id

    def entity(self, ref: EntityRef) -> str:
        """The name with the id."""
        name = self._entities.get(ref)
        return ref.id if name is None else f"{name} ({ref.id})"


def tree_of(reading: Reading, question: Check, answer: Decision, flags: str) -> Tree:
    """The answer as the root, a branch for every path, highest level first, and for a denial the remedies, with
    commands that have these `flags`."""
    known = Glossary(reading, question, answer.paths)
    who = known.principal(Principal("user", question.user_id))
    what = f"{question.access_level} on {question.entity.type} {known.entity(question.entity)}"
    tree = Tree(
        text(f"allowed: {who} has {what}", "green") if answer.allowed else text(f"denied: {who} lacks {what}", "red")
    )
    for path in answer.paths:
        branch = tree.add(text(f"{path.access_level}: {_reason(known, path)}"))
        if path.grant_id is not None and path.grant_id in known.grants:
            branch.add(text(_record(known, known.grants[path.grant_id]), "dim"))
    if not answer.allowed:
        if not answer.paths:
            tree.add(text("there is no path to it"))
        fixes = tree.add(text("what would allow it"))
        for remedy in answer.remedies:
            fixes.add(text(remedy_text(question, remedy, flags)))
    return tree


def remedy_text(question: Check, remedy: Mapping[str, str], flags: str) -> str:
    """One remedy as a sentence, with the command where there is one."""
    action = remedy["action"]
    if action == "raise_grant" and question.entity.type == RULE:  # granting again is how a rule's grant is raised
        named = {"entity_type": RULE, "entity_id": question.entity.id, "grantee_type": "user"}
        known = {**named, "grantee_id": question.user_id, **remedy, "flags": flags}
        return _REMEDIES["create_grant"].format_map(known)
    template = _REMEDIES.get(action)
    if template is None:
        return ", ".join(f"{name} {value}" for name, value in remedy.items())
    return template.format_map({**remedy, "flags": flags})


def _reason(known: Glossary, path: Path) -> str:
    source = known.principal(path.source)
    if path.type == "access_mode":
        everybody = path.source.type == "organization"
        reason = f"open to all members of {source}" if everybody else f"lists {path.source.type} {source}"
    else:
        reason = _REASONS[path.type].format(source=source)
    chain = [known.entity(ref) for ref in path.through]
    return f"{reason} on {' > '.join(chain)}" if chain else reason


def _giver_of(grant: Grant) -> Principal:
    return Principal("user", grant.granted_by)


def _record(known: Glossary, grant: Grant) -> str:
    parts = [f"grant {grant.id} by {known.principal(_giver_of(grant))} at {to_text(grant.created_at)}"]
    if grant.starts_at is not None:
        parts.append(f"from {to_text(grant.starts_at)}")
    if grant.expires_at is not None:
        parts.append(f"until {to_text(grant.expires_at)}")
    if grant.reason:
        parts.append(f"reason: {grant.reason}")
    return ", ".join(parts)
