"""Questions about the present, answered from the facts that this process holds: no reading, no transaction.

    with desk.facts as facts:
        answers = asking.check_many(desk, facts.current("org_..."), asker, questions)

The rules of who may ask what, and the answers, are those of `decisions`, which also answers about the past.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from grantbook.engine import lists
from grantbook.engine.facts_cache import UNKNOWN_USER, OrganizationFacts
from grantbook.engine.held import NONE
from grantbook.engine.lists import KeptList
from grantbook.model.errors import GrantbookError, NotFound, PermissionDenied, RevisionNotReached
from grantbook.model.facts import EntityRef
from grantbook.model.instants import Instant
from grantbook.model.resolution import Access
from grantbook.model.vocabulary import Vocabulary
from grantbook.service.admission import SYSTEM_ASKER, Asker
from grantbook.service.decisions import Check, Decision
from grantbook.service.desk import Desk
from grantbook.service.values import valid_id
from grantbook.store.port import Snapshot


def check(
    desk: Desk, facts: OrganizationFacts, asker: Asker, user_id: str, access_level: str, ref: tuple[str, str]
) -> Decision:
    """As `decisions.check`, and raises the same. StoreUnavailable where facts cannot be loaded."""
    kind = desk.vocabulary.types.get(ref[0])
    rung = None if kind is None else kind.ranks.get(access_level)
    rank = NONE
    if kind is not None and rung is not None:
        rank = facts.rank(user_id, ref, desk.clock())
        if rank >= NONE and asker.may_ask_about(user_id):
            level = kind.levels[rank] if rank >= 0 else None
            return Decision(allowed=rank >= rung, access_level=level, revision=facts.revision)
    question = Check(user_id=user_id, entity=EntityRef(*ref), access_level=access_level)
    raise refusal(desk.vocabulary, question, rank)


def check_many(
    desk: Desk, facts: OrganizationFacts, asker: Asker, questions: Sequence[Check]
) -> list[Decision | GrantbookError]:
    """Each decision in order, without paths, or the error of its question. Raises StoreUnavailable."""
    types = desk.vocabulary.types
    answers: list[Decision | GrantbookError | None] = [None] * len(questions)
    try:
        wanted = [types[each.entity.type].ranks[each.access_level] for each in questions]
        asked = questions
    except KeyError:
        answers = [_malformed(desk.vocabulary, each) for each in questions]
        asked = [each for each, error in zip(questions, answers, strict=True) if error is None]
        wanted = [types[each.entity.type].ranks[each.access_level] for each in asked]
    ranks = facts.ranks([(each.user_id, each.entity) for each in asked], desk.clock())
    revision = facts.revision
    found = [
        Decision(
            allowed=rank >= rung,
            access_level=types[each.entity.type].levels[rank] if rank >= 0 else None,
            revision=revision,
        )
        if rank >= NONE and asker.may_ask_about(each.user_id)
        else refusal(desk.vocabulary, each, rank)
        for each, rank, rung in zip(asked, ranks, wanted, strict=True)
    ]
    if asked is questions:
        return found
    rest = iter(found)
    return [next(rest) if error is None else error for error in answers]


def access(desk: Desk, facts: OrganizationFacts, asker: Asker, question: Check) -> Access:
    """The level and every path. Raises as `check`."""
    check(desk, facts, asker, question.user_id, question.access_level, question.entity)
    return facts.access(question.user_id, question.entity, desk.clock())


def refusal(vocabulary: Vocabulary, question: Check, rank: int) -> GrantbookError:
    """Why a question is not answered: malformed, unknown, or else not for this asker to ask."""
    error = _malformed(vocabulary, question)
    if error is not None:
        return error
    if rank == UNKNOWN_USER:
        return NotFound("User not found", user_id=question.user_id)
    entity = question.entity
    if rank < NONE:
        return NotFound(f"{entity.type} not found", entity_type=entity.type, entity_id=entity.id)
    return PermissionDenied(user_id=question.user_id)


def _malformed(vocabulary: Vocabulary, question: Check) -> GrantbookError | None:
    try:
        valid_id("user_id", question.user_id)
        valid_id("entity_id", question.entity.id)
        vocabulary.entity_type(question.entity.type).rank(question.access_level)
    except GrantbookError as error:
        return error
    return None


@dataclass(frozen=True, slots=True)
class ListQuestion:
    """A list to ask for: what it is kept under, who may ask (an error says who not), and how it is made."""

    key: Hashable
    allow: Callable[[OrganizationFacts], None]
    make: Callable[[Snapshot, Instant], KeptList]


def entities_of(
    desk: Desk, asker: Asker, user_id: str, *, entity_type: str | None = None, access_level: str | None = None
) -> ListQuestion:
    """What does the user reach? By type and id. Raises ValidationFailed; asking, as `decisions.entities_of`."""
    _require_filter(desk.vocabulary, entity_type, access_level)
    valid_id("user_id", user_id)

    def allow(facts: OrganizationFacts) -> None:
        if not facts.knows(user_id):
            raise NotFound("User not found", user_id=user_id)
        if not asker.may_ask_about(user_id):
            raise PermissionDenied(user_id=user_id)

    def make(snapshot: Snapshot, at: Instant) -> KeptList:
        return lists.of_entities(
            snapshot, desk.vocabulary, user_id, at, entity_type=entity_type, access_level=access_level
        )

    return ListQuestion(("entities", user_id, entity_type, access_level), allow, make)


def users_of(desk: Desk, asker: Asker, ref: EntityRef, *, access_level: str | None = None) -> ListQuestion:
    """Who reaches the entity? By id. Raises ValidationFailed; asking, as `decisions.users_of`."""
    valid_id("entity_id", ref.id)
    _require_filter(desk.vocabulary, ref.type, access_level)
    top = len(desk.vocabulary.entity_type(ref.type).levels) - 1

    def allow(facts: OrganizationFacts) -> None:
        if not facts.has(ref):
            raise NotFound(f"{ref.type} not found", entity_type=ref.type, entity_id=ref.id)
        if not asker.asks_about_anybody and facts.ranks([(asker.user_id, ref)], desk.clock()) != [top]:
            raise PermissionDenied(entity_type=ref.type, entity_id=ref.id)

    def make(snapshot: Snapshot, at: Instant) -> KeptList:
        return lists.of_users(snapshot, desk.vocabulary, ref, at, access_level=access_level)

    return ListQuestion(("users", ref, access_level), allow, make)


def find_list(desk: Desk, facts: OrganizationFacts, question: ListQuestion) -> KeptList | None:
    """The list, if it is kept."""
    question.allow(facts)
    return facts.lists.find(question.key, desk.clock())


def get_list(desk: Desk, organization_id: str, question: ListQuestion) -> KeptList:
    """The list, made if need be. Not while holding the cache, nor within a reading: it waits for those who hold the
    cache, and they may wait for the store."""
    with desk.facts:
        found = find_list(desk, desk.facts.current(organization_id), question)
    if found is not None:
        return found
    with desk.store.snapshot(organization_id) as snapshot:
        made = question.make(snapshot, desk.clock())
    with desk.facts:
        facts = desk.facts.current(organization_id)
        if facts.revision == snapshot.revision:
            desk.facts.spent_bytes += facts.lists.keep(question.key, made)
    return made


def resolve(desk: Desk, organization_id: str, user_id: str, *, entity_type: str | None = None) -> KeptList:
    """What the user reaches now, for whom `decisions.require_may_list` let; not within a reading, as `get_list`."""
    question = entities_of(desk, SYSTEM_ASKER, user_id, entity_type=entity_type)
    return get_list(desk, organization_id, question)


def resolve_users(desk: Desk, organization_id: str, ref: EntityRef) -> KeptList:
    """Who reaches the entity now, for whom `decisions.require_may_list_users` let; not within a reading."""
    return get_list(desk, organization_id, users_of(desk, SYSTEM_ASKER, ref))


def require_reached(facts: OrganizationFacts, at_least: int) -> None:
    """Raises RevisionNotReached(revision) where the facts are older."""
    if facts.revision < at_least:
        raise RevisionNotReached(revision=at_least)


def _require_filter(vocabulary: Vocabulary, entity_type: str | None, access_level: str | None) -> None:
    if entity_type is not None:
        kind = vocabulary.entity_type(entity_type)
        if access_level is not None:
            kind.rank(access_level)
