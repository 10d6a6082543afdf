"""The decision routes in front of the application, answered on the event loop from the facts that are held.

A connection asks without a call where it can (`Front`); otherwise this is raw ASGI.

Only what is asked in the plain form is answered here: a well-formed question about the present by a known key. All else
goes on to the same routes in `decisions`, which document them and explain what is wrong. Where facts must be loaded in
bulk, or another thread holds them, the answer is worked out in a thread.
"""

import logging
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl

import msgspec
from starlette.concurrency import run_in_threadpool

from grantbook.engine import lookup
from grantbook.engine.held import NONE
from grantbook.engine.held_facts import Pair
from grantbook.engine.lists import ListPage, Part
from grantbook.engine.organization_facts import OrganizationFacts, TooMuchToLoad
from grantbook.http import errors
from grantbook.http.exchange import STRANGER, credential_of, secret_of
from grantbook.http.middleware import QUESTION, ROUTE, SANE_TRACE_ID, App, Headers, Receive, Scope, Send, replay
from grantbook.http.paging import MAX_CURSOR, Paging
from grantbook.http.platform import rendering
from grantbook.http.routing import ORGANIZATION
from grantbook.model.errors import GrantbookError
from grantbook.model.facts import EntityRef
from grantbook.model.ids import is_id
from grantbook.model.limits import (
    DEFAULT_PAGE,
    MAX_BATCH_BODY_BYTES,
    MAX_BATCH_CHECKS,
    MAX_BODY_BYTES,
    MAX_ID_LENGTH,
    MAX_PAGE,
    MAX_SKIP,
)
from grantbook.model.resolution import Access
from grantbook.model.vocabulary import EntityType, Vocabulary
from grantbook.service import asking, decisions
from grantbook.service.admission import Admission, Admissions, Asker, require_scope
from grantbook.service.asking import ListQuestion
from grantbook.service.decisions import Check, Decision
from grantbook.service.desk import Caller, Desk, Reading, revision_of, token_of

_NAMES: Final = ("check", "check/batch", "explain", "entities", "users")
_ANY: Final = "|".join(_NAMES)
_ROUTE: Final = re.compile(rf"/v1/organizations/([^/]+)/access/({_ANY})")
_TARGET: Final = re.compile(rf"/v1/organizations/([A-Za-z0-9_-]+)/access/({_ANY})(?:\?([^#]*))?".encode())
_LISTS: Final = frozenset({"entities", "users"})
_TEMPLATES: Final = {name: f"{ORGANIZATION}/access/{name}" for name in _NAMES}
_SCOPE: Final = "check"
_MOST_BYTES: Final = {"check": MAX_BODY_BYTES, "check/batch": MAX_BATCH_BODY_BYTES, "explain": MAX_BODY_BYTES}
_FROM_MEMORY_ALONE: Final = frozenset({"check", "check/batch"})
"""What never asks the store for names."""
_INLINE_LOADS: Final = 20
"""So many pairs may be loaded on the event loop: each takes some tens of microseconds."""
_INLINE_CHECKS: Final = 1_000
"""So many pairs may be answered there: two milliseconds."""
_JSON: Final = (b"content-type", b"application/json")
_TRACES: Final = str(uuid.uuid4())[:-12]
_TRACE_NUMBERS: Final = count(uuid.uuid4().node)
_NUMBER: Final = re.compile(r"[0-9]{1,10}")
_MAX_DIGITS: Final = 10
_log = logging.getLogger(__name__)

Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
Word: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _AtLeast(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at_least: Id


class _Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    user_id: Id
    entity_type: Word
    entity_id: Id
    access_level: Word


class _OneQuestion(_Question, frozen=True, forbid_unknown_fields=True):
    consistency: Literal["full"] | _AtLeast | None = None


class _Questions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    checks: Annotated[list[_Question], msgspec.Meta(min_length=1, max_length=MAX_BATCH_CHECKS)]
    consistency: Literal["full"] | _AtLeast | None = None


_ONE: Final = msgspec.json.Decoder(_OneQuestion)
_MANY: Final = msgspec.json.Decoder(_Questions)


class NotPlain(Exception):
    """The request is not of the form that is answered here."""


class ClientGone(Exception):
    """There is nobody to answer, and only part of a question."""


class _Request(msgspec.Struct):
    """One question as it came, when it was begun, and whether it was found to take waiting."""

    organization_id: str
    name: str
    credential: tuple[bytes, bytes]
    api_key: bytes
    authorization: bytes
    at_least: int
    is_full: bool
    body: Any
    trace_id: str
    length: int
    begun: float = 0.0
    takes_waiting: bool = False

    @property
    def method(self) -> str:
        return "GET" if self.name in _LISTS else "POST"

    @property
    def route(self) -> str:
        return _TEMPLATES[self.name]


class HotRoutes:
    """Answers what it can, and hands the rest to the application."""

    def __init__(self, desk: Desk, admissions: Admissions, app: App) -> None:
        self._desk = desk
        self._app = app
        self._admissions = admissions
        self._is_remote = not desk.facts.present.is_local
        self._items = _items(desk.vocabulary)
        self._beginnings = {
            name: tuple({rank: text[:-1] for rank, text in texts.items()} for texts in both)
            for name, both in self._items.items()
        }
        self._ending: tuple[OrganizationFacts | None, int, bytes] = None, -1, b""
        """Of the last answer: the end of a text that most of them have in common."""
        self._ranks = {name: kind.ranks for name, kind in desk.vocabulary.types.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = _ROUTE.fullmatch(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope[ROUTE] = _TEMPLATES[route[2]]
        try:
            request = scope.pop(QUESTION, None) or self._begun(
                scope["method"], route[1], route[2], scope["query_string"], scope["headers"]
            )
        except NotPlain:
            await self._app(scope, receive, send)
            return
        body: bytes | None = None
        trace_id = request.trace_id
        try:
            if request.method == "POST":
                body = await read_body(receive)
                request.body = request.body or _decoded(request, body)
            answer = None if request.takes_waiting else self._at_once(request)
            if answer is None:
                answer = await run_in_threadpool(self._patiently, request)
        except ClientGone:
            return
        except NotPlain:
            await self._app(scope, receive if body is None else replay(body, receive), send)
        except GrantbookError as error:
            await errors.response_of(error, trace_id, {"X-Request-ID": trace_id})(scope, receive, send)
        except Exception:
            _log.exception("a decision failed")
            await errors.response_of(GrantbookError(), trace_id, {"X-Request-ID": trace_id})(scope, receive, send)
        else:
            await _send(send, answer, trace_id)

    def begin(self, method: str, target: bytes, headers: Headers) -> "_Request | None":
        """As `Front`."""
        route = _TARGET.fullmatch(target)
        if route is None:
            return None
        try:
            return self._begun(method, route[1].decode(), route[2].decode(), route[3] or b"", headers)
        except NotPlain:
            return None

    def _begun(self, method: str, organization_id: str, name: str, query: bytes, sent: Headers) -> _Request:
        """As `_request`. Of somebody who is not known a long body is not taken in: the application looks who it is."""
        request = _request(method, organization_id, name, query, sent)
        if request.length > MAX_BODY_BYTES and not self._admissions.may_hold(request.credential, organization_id):
            raise NotPlain
        return request

    def finish(self, question: "_Request", body: bytes) -> bytes | None:
        """As `Front`."""
        try:
            if question.method == "POST":
                question.body = _decoded(question, body)
            answer = self._at_once(question)
            question.takes_waiting = answer is None
            return answer
        except (NotPlain, GrantbookError):  # the application says what is wrong
            return None
        except Exception:
            _log.exception("a decision failed")
            return None

    def _at_once(self, request: _Request) -> bytes | None:
        """The answer, where no thread has to wait for it."""
        desk = self._desk
        if type(request.body) is _Questions and len(request.body.checks) > _INLINE_CHECKS:
            return None
        if self._is_remote and (request.is_full or request.name not in _FROM_MEMORY_ALONE):
            return None
        if not desk.facts.enter(waits=False, loads=False):
            return None
        try:
            organization_id, at_least = request.organization_id, request.at_least
            admission = self._admissions.find(request.credential, organization_id, at_least=at_least)
            if admission is None:
                return None
            require_scope(admission.identity, _SCOPE)
            asker = admission.asker
            facts = desk.facts.current(organization_id, at_least=at_least)
            if at_least:
                asking.require_reached(facts, at_least)
            if type(request.body) is not _ListRequest:
                render = self._decide(facts, asker, request, _INLINE_LOADS)
            else:
                question, part = self._asked(facts, asker, request.body)
                page = facts.lists.find_page(question.wanted, desk.clock(), part)
                if page is None:
                    return None
                render = partial(self._page, request, page)
        except TooMuchToLoad:
            return None
        finally:
            desk.facts.leave()
        return render if isinstance(render, bytes) else render()

    def _patiently(self, request: _Request) -> bytes:
        """The answer, in a thread that may wait for the key, for facts and for other threads."""
        asked = partial(self._desk.facts.asked, request.organization_id, is_full=request.is_full)
        pairs = self._pairs(request)
        answer: bytes | Callable[[], bytes] | None = None
        if self._admissions.may_hold(request.credential, request.organization_id):
            with asked(pairs, at_least=request.at_least):
                admission = self._admissions.find(
                    request.credential, request.organization_id, at_least=request.at_least
                )
                if admission is not None:
                    answer = self._answer(request, admission)
        if answer is None:
            admission = self._admit(request)
            with asked(pairs, at_least=request.at_least):
                answer = self._answer(request, admission)
        return answer if isinstance(answer, bytes) else answer()

    def _answer(self, request: _Request, admission: Admission) -> bytes | Callable[[], bytes]:
        """The answer, or how to go on without holding the cache."""
        require_scope(admission.identity, _SCOPE)
        facts = self._desk.facts.current(request.organization_id, at_least=request.at_least)
        asking.require_reached(facts, request.at_least)
        if type(request.body) is not _ListRequest:
            return self._decide(facts, admission.asker, request, None)
        question, part = self._asked(facts, admission.asker, request.body)
        page = facts.lists.get_page(question.wanted, self._desk.clock(), part)
        return partial(self._page, request, page)

    def _pairs(self, request: _Request) -> list[Pair]:
        """What it takes to answer; nothing for a list, or where the question is malformed."""
        body = request.body
        questions: list[_Question] = [] if type(body) is _ListRequest else getattr(body, "checks", [body])
        pairs = [(each.user_id, (each.entity_type, each.entity_id)) for each in questions]
        return pairs if all(ref[0] in self._ranks for _, ref in pairs) else []

    def _admit(self, request: _Request) -> Admission:
        secret = secret_of(request.api_key.decode("latin-1"), request.authorization.decode("latin-1"))
        if not is_id(request.organization_id):
            raise NotPlain
        return self._admissions.admit(request.credential, secret, request.organization_id)

    def _decide(
        self, facts: OrganizationFacts, asker: Asker, request: _Request, max_loads: int | None
    ) -> bytes | Callable[[], bytes]:
        """As `_answer`, to what is no list."""
        if request.name == "check":
            return self._check(facts, asker, request.body)
        if request.name == "check/batch":
            return self._batch(facts, asker, request, max_loads)
        question = _check_of(request.body)
        access = asking.access(self._desk, facts, asker, question)
        return partial(self._explanation, request, asker, question, access, facts.revision)

    def _check(self, facts: OrganizationFacts, asker: Asker, asked: _Question) -> bytes:
        try:
            rung = self._ranks[asked.entity_type][asked.access_level]
        except KeyError:
            raise NotPlain from None
        rank = facts.rank(asked.user_id, (asked.entity_type, asked.entity_id), self._desk.clock)
        if rank < NONE or not asker.may_ask_about(asked.user_id):
            raise asking.refusal(self._desk.vocabulary, _check_of(asked), rank)
        ending = self._ending
        if ending[0] is not facts or ending[1] != facts.revision:
            token = token_of(facts.id, facts.revision).encode()
            self._ending = ending = facts, facts.revision, b',"revision":"%b"}' % token
        return self._beginnings[asked.entity_type][rank >= rung][rank] + ending[2]

    def _batch(self, facts: OrganizationFacts, asker: Asker, request: _Request, max_loads: int | None) -> bytes:
        """Answers are put together from texts made once: all that can be said about a known pair."""
        checks: list[_Question] = request.body.checks
        items = self._items
        try:
            wanted = [self._ranks[each.entity_type][each.access_level] for each in checks]
        except KeyError:
            raise NotPlain from None
        pairs = [(each.user_id, (each.entity_type, each.entity_id)) for each in checks]
        ranks = facts.ranks(pairs, self._desk.clock(), max_loads=max_loads)
        texts = [
            items[each.entity_type][rank >= rung][rank]
            if rank >= NONE and asker.may_ask_about(each.user_id)
            else self._error(each, rank, request.trace_id)
            for each, rank, rung in zip(checks, ranks, wanted, strict=True)
        ]
        revision = token_of(facts.id, facts.revision).encode()
        return b'{"results":[%b],"revision":"%b"}' % (b",".join(texts), revision)

    def _error(self, each: _Question, rank: int, trace_id: str) -> bytes:
        error = asking.refusal(self._desk.vocabulary, _check_of(each), rank)
        told = errors.body_of(error, trace_id)
        return msgspec.json.encode({"allowed": False, "access_level": None, "error": told})

    def _explanation(self, request: _Request, asker: Asker, question: Check, access: Access, revision: int) -> bytes:
        """Names and remedies are of the newest state, as anything that is only told."""
        desk = self._desk
        allowed = lookup.reaches(desk.vocabulary, question.entity, access, question.access_level)
        with desk.reading(request.organization_id, Caller(user_id=asker.user_id)) as reading:
            answer = Decision(
                allowed=allowed,
                access_level=access.level,
                revision=revision,
                paths=access.paths,
                remedies=() if allowed else tuple(decisions.remedies(reading, question)),
            )
            return msgspec.json.encode(rendering.explanation(reading, question.entity, answer))

    def _asked(self, facts: OrganizationFacts, asker: Asker, asked: "_ListRequest") -> tuple[ListQuestion, Part]:
        question = asked.question(self._desk, asker)
        question.allow(facts)
        return question, asked.part()

    def _page(self, request: _Request, page: ListPage) -> bytes:
        asked: _ListRequest = request.body
        made: dict[Any, msgspec.Raw] = {}
        if page.accesses:
            with self._desk.reading(request.organization_id, Caller(user_id=STRANGER)) as reading:
                made = asked.texts(reading, page.accesses)
                if reading.snapshot.revision >= page.revision:  # else it may have names of before
                    page.texts.update(made)
        return asked.page(page, [made.get(place) or page.texts[place] for place in page.places])


class _ListRequest:
    """A list with its filters, and the page of it."""

    def __init__(self, name: str, query: dict[str, str]) -> None:
        self._is_of_users = name == "users"
        self._level = query.pop("access_level", None)
        self._type = query.pop("entity_type", None)
        self._id = query.pop("entity_id" if self._is_of_users else "user_id", "")
        skip, limit = (query.pop(each, default) for each, default in (("skip", "0"), ("limit", str(DEFAULT_PAGE))))
        cursor = query.pop("cursor", None)
        if query or not (self._id and _NUMBER.fullmatch(skip) and _NUMBER.fullmatch(limit)):
            raise NotPlain
        if int(skip) > MAX_SKIP or not 1 <= int(limit) <= MAX_PAGE or len(cursor or "") > MAX_CURSOR:
            raise NotPlain
        if cursor is not None and int(skip):
            raise NotPlain
        if self._is_of_users and self._type is None:
            raise NotPlain
        self._paging = Paging(int(skip), int(limit), cursor)

    def question(self, desk: Desk, asker: Asker) -> ListQuestion:
        if self._is_of_users:
            desk.vocabulary.entity_type(self._type or "")
            return asking.users_of(desk, asker, EntityRef(self._type or "", self._id), access_level=self._level)
        return asking.entities_of(desk, asker, self._id, entity_type=self._type, access_level=self._level)

    def part(self) -> Part:
        """Which part of the list. Raises ValidationFailed(cursor)."""
        after = self._paging.after(tuple[str, str])
        if after is None:
            return Part(None, self._paging.skip, self._paging.limit)
        if self._is_of_users and after[0] != "user":
            raise NotPlain
        return Part(after[1] if self._is_of_users else EntityRef(*after), 0, self._paging.limit)

    def texts(self, reading: Reading, found: Mapping[Any, Access]) -> dict[Any, msgspec.Raw]:
        """By place the items of a page, with the names that their paths name."""
        if self._is_of_users:
            items = rendering.users_with_access(reading, EntityRef(self._type or "", self._id), found)["users"]
        else:
            items = rendering.reached_entities(reading, found)
        return {place: msgspec.Raw(msgspec.json.encode(item)) for place, item in zip(found, items, strict=True)}

    def page(self, found: ListPage, items: Sequence[msgspec.Raw]) -> bytes:
        """The page of these items."""
        last: tuple[str, str] | None = None
        if found.places:
            last = ("user", found.places[-1]) if self._is_of_users else found.places[-1]
        page = self._paging.page(items, total=found.total, last=last, has_more=found.has_more)
        return msgspec.json.encode({**page, "complete": True})


def _request(method: str, organization_id: str, name: str, query: bytes, sent: Headers) -> _Request:
    """What the head of the request says. Raises NotPlain for anything out of the ordinary."""
    is_list = name in _LISTS
    headers = dict(sent)
    if method != ("GET" if is_list else "POST") or len(headers) != len(sent) or b"transfer-encoding" in headers:
        raise NotPlain
    length: int | None = None
    if is_list:
        length = announced_length(headers, 0) if b"content-length" in headers else 0
    elif not query and headers.get(b"content-type") == b"application/json":
        length = announced_length(headers, _MOST_BYTES[name])
    if length is None:
        raise NotPlain
    api_key, authorization = headers.get(b"x-api-key", b""), headers.get(b"authorization", b"")
    token = headers.get(b"grantbook-at-least")
    return _Request(
        organization_id=organization_id,
        name=name,
        credential=credential_of(api_key, authorization),
        api_key=api_key,
        authorization=authorization,
        at_least=0 if token is None else _revision_in(organization_id, token.decode("latin-1")),
        is_full=False,
        body=_ListRequest(name, _query(query)) if is_list else None,
        trace_id=new_trace_id(headers),
        length=length,
    )


def announced_length(headers: dict[bytes, bytes], most: int) -> int | None:
    """The length of the body; None where the head does not tell it, or tells of more."""
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or len(length) > _MAX_DIGITS or int(length) > most:
        return None
    return int(length)


def _query(sent: bytes) -> dict[str, str]:
    given = parse_qsl(sent.decode("latin-1"), keep_blank_values=True)
    query = dict(given)
    if len(query) != len(given):
        raise NotPlain
    return query


def _revision_in(organization_id: str, token: str) -> int:
    try:
        return revision_of(organization_id, token)
    except GrantbookError:
        raise NotPlain from None


def _decoded(request: _Request, body: bytes) -> Any:
    try:
        decoded = (_MANY if request.name == "check/batch" else _ONE).decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise NotPlain from None
    request.is_full = decoded.consistency == "full"
    if isinstance(decoded.consistency, _AtLeast):
        request.at_least = _revision_in(request.organization_id, decoded.consistency.at_least)
    return decoded


async def read_body(receive: Receive) -> bytes:
    """The whole body; its length was announced. Raises ClientGone where the client left before all of it was there."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, body: bytes, trace_id: str) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body)), (b"x-request-id", trace_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def new_trace_id(headers: dict[bytes, bytes]) -> str:
    """The caller's where it sent a sane one, else a new one: a UUID of this process, counted on from a random start."""
    sent = headers.get(b"x-request-id")
    if sent is not None and SANE_TRACE_ID.fullmatch(sent):
        return sent.decode()
    return f"{_TRACES}{next(_TRACE_NUMBERS) & 0xFFFFFFFFFFFF:012x}"


def _check_of(asked: _Question) -> Check:
    return Check(
        user_id=asked.user_id,
        entity=EntityRef(asked.entity_type, asked.entity_id),
        access_level=asked.access_level,
    )


def _items(vocabulary: Vocabulary) -> dict[str, tuple[dict[int, bytes], dict[int, bytes]]]:
    """Every answer about a known pair, by entity type, then denied or allowed, then the rung."""

    def texts(kind: EntityType, *, allowed: bool) -> dict[int, bytes]:
        levels = {NONE: None, **dict(enumerate(kind.levels))}
        return {
            rank: msgspec.json.encode({"allowed": allowed, "access_level": level}) for rank, level in levels.items()
        }

    return {name: (texts(kind, allowed=False), texts(kind, allowed=True)) for name, kind in vocabulary.types.items()}
