"""Questions about the present, answered from the facts that this process holds: no reading, no transaction.

    with desk.facts as facts:
        answers = asking.check_many(desk, facts.current("org_..."), asker, questions)

The rules of who may ask what, and the answers, are those of `decisions`, which also answers about the past.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grantbook.engine.held import NONE
from grantbook.engine.lists import EntitiesOf, Part, Reached, UsersOf, Wanted
from grantbook.engine.organization_facts import UNKNOWN_USER, OrganizationFacts
from grantbook.model.errors import GrantbookError, NotFound, PermissionDenied, RevisionNotReached
from grantbook.model.facts import EntityRef
from grantbook.model.resolution import Access
from grantbook.model.vocabulary import Vocabulary
from grantbook.service.admission import SYSTEM_ASKER, Asker
from grantbook.service.decisions import Check, Decision
from grantbook.service.desk import Desk
from grantbook.service.values import valid_id

_MAX_HELD: Final = 5_000
"""A list of more than so many is not held whole beside all else."""
MAX_PART: Final = 1_000


def check(
    desk: Desk, facts: OrganizationFacts, asker: Asker, user_id: str, access_level: str, ref: tuple[str, str]
) -> Decision:
    """As `decisions.check`, and raises the same. StoreUnavailable where facts cannot be loaded."""
    kind = desk.vocabulary.types.get(ref[0])
    rung = None if kind is None else kind.ranks.get(access_level)
    rank = NONE
    if kind is not None and rung is not None:
        rank = facts.rank(user_id, ref, desk.clock)
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
    """A list to ask for, and who may: an error says who not."""

    wanted: Wanted
    allow: Callable[[OrganizationFacts], None]


def entities_of(
    desk: Desk, asker: Asker, user_id: str, *, entity_type: str | None = None, access_level: str | None = None
) -> ListQuestion:
    """What does the user reach? By type and id. Raises ValidationFailed; asking, as `decisions.entities_of`."""
    desk.vocabulary.check_filter(entity_type, access_level)
    valid_id("user_id", user_id)

    def allow(facts: OrganizationFacts) -> None:
        if not facts.knows(user_id):
            raise NotFound("User not found", user_id=user_id)
        if not asker.may_ask_about(user_id):
            raise PermissionDenied(user_id=user_id)

    return ListQuestion(EntitiesOf(user_id, entity_type, access_level), allow)


def users_of(desk: Desk, asker: Asker, ref: EntityRef, *, access_level: str | None = None) -> ListQuestion:
    """Who reaches the entity? By id. Raises ValidationFailed; asking, as `decisions.users_of`."""
    valid_id("entity_id", ref.id)
    desk.vocabulary.check_filter(ref.type, access_level)
    top = len(desk.vocabulary.entity_type(ref.type).levels) - 1

    def allow(facts: OrganizationFacts) -> None:
        if not facts.has(ref):
            raise NotFound(f"{ref.type} not found", entity_type=ref.type, entity_id=ref.id)
        if not asker.asks_about_anybody and facts.ranks([(asker.user_id, ref)], desk.clock()) != [top]:
            raise PermissionDenied(entity_type=ref.type, entity_id=ref.id)

    return ListQuestion(UsersOf(ref, access_level), allow)


def get_list(desk: Desk, organization_id: str, question: ListQuestion) -> Reached[Any]:
    """All of the list. Not while holding the cache, nor within a reading: it waits for those who hold the cache, and
    they may wait for the store. A very long one is made apart, so that nobody waits for it, and nothing else has to go.
    """
    with desk.facts.asked(organization_id, (), is_full=False):
        facts = desk.facts.current(organization_id)
        question.allow(facts)
        found = facts.lists.get_whole(question.wanted, desk.clock(), at_most=_MAX_HELD)
    if found is None:
        with desk.facts.apart() as own:
            found = own.current(organization_id).lists.get_whole(question.wanted, desk.clock())
    if found is None:
        raise RuntimeError("a list without a bound has an end")
    return found


def get_part(desk: Desk, organization_id: str, question: ListQuestion, part: Part) -> dict[Any, Access]:
    """A part of the list, of at most `MAX_PART`, in order, which costs as much however long the list is. Not while
    holding the cache, nor within a reading, as `get_list`."""
    with desk.facts.asked(organization_id, (), is_full=False):
        facts, at, wanted = desk.facts.current(organization_id), desk.clock(), question.wanted
        question.allow(facts)
        page = facts.lists.get_page(wanted, at, part)
        found: dict[Any, Access] = {}
        for place in page.places:
            access = page.accesses.get(place)
            if access is None:  # it was shown before
                user_id, ref = (wanted.user_id, place) if isinstance(wanted, EntitiesOf) else (place, wanted.entity)
                access = facts.access(user_id, ref, at)
            found[place] = access
    return found


def resolve(desk: Desk, organization_id: str, user_id: str, *, entity_type: str | None = None) -> Reached[EntityRef]:
    """What the user reaches now, for whom `decisions.require_may_list` let; not within a reading, as `get_list`."""
    question = entities_of(desk, SYSTEM_ASKER, user_id, entity_type=entity_type)
    return get_list(desk, organization_id, question)


def resolve_users(desk: Desk, organization_id: str, ref: EntityRef) -> Reached[str]:
    """Who reaches the entity now, for whom `decisions.require_may_list_users` let; not within a reading."""
    return get_list(desk, organization_id, users_of(desk, SYSTEM_ASKER, ref))


def require_reached(facts: OrganizationFacts, at_least: int) -> None:
    """Raises RevisionNotReached(revision) where the facts are older."""
    if facts.revision < at_least:
        raise RevisionNotReached(revision=at_least)
