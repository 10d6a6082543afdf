"""Two servers on one PostgreSQL, over a network that misbehaves: no answer is older than was promised.

What was revoked through one server is asked of the other. With the token of the revoke, or with `full`, the answer is
never "allowed"; without either, never for a question that was sent after the staleness had passed.
"""

import random
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any, Final

import httpx
import pytest

from grantbook.model.facts import EntityRef
from grantbook.service import members
from grantbook.service.desk import SYSTEM
from tests import postgres
from tests.faults.proxy import Kind, Proxy
from tests.serving import Server, Tenant

QUESTIONS: Final = 100_000 if postgres.IS_MEANT else 20_000
"""All of them in `make test-postgres`."""
AT_ONCE: Final = 500
OTHER_WAYS: Final = ("check", "explain", "entities", "users", "grants")
"""To be told what `check/batch` tells."""
STALENESS_S: Final = 0.5
ROUNDS: Final = 3 if postgres.IS_MEANT else 2
UNHEARD: Final = {"late", "still", "unreachable"}
"""With these troubles the server cannot hear of the revoke, and shows for a while that it relied on what it had heard:
unless this machine was too slow to see it, in which case there is another round."""
_PATIENCE_S: Final = 60
_WEATHER_S: Final = 0.15


@dataclass(frozen=True)
class Pair:
    """Two servers, each behind a proxy of its own, and an organization whose users are all in one department."""

    servers: tuple[Server, Server]
    proxies: tuple[Proxy, Proxy]
    tenant: Tenant
    entity: EntityRef
    users: tuple[str, ...]
    team: str

    def client(self, position: int, secret: str | None = None) -> httpx.Client:
        return self.servers[position].client(secret or self.tenant.owner.secret)

    @property
    def grant(self) -> dict[str, Any]:
        """One grant, to the department that all of them are in."""
        return {**_place(self.entity), "grantee_type": "department", "grantee_id": self.team, "access_level": "read"}

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [{**_place(self.entity), "user_id": user, "access_level": "read"} for user in self.users]


def _place(entity: EntityRef) -> dict[str, Any]:
    return {"entity_type": entity.type, "entity_id": entity.id}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory = Path(tmp_path_factory.mktemp("pair"))
    with ExitStack() as stack:
        url = postgres.make_database()
        stack.callback(postgres.drop_database, url)
        proxies = Proxy(url), Proxy(url)
        servers: list[Server] = []
        for name, proxy in zip("ab", proxies, strict=True):
            stack.enter_context(proxy)
            staleness_ms = f"{STALENESS_S * 1000:.0f}"
            servers.append(Server(directory / name, database=url, through=proxy.url, staleness_ms=staleness_ms))
            stack.callback(servers[-1].close)
        tenant = Tenant.found(servers[0].desk)
        users = tuple(f"usr_{tenant.tag}-{number}" for number in range(AT_ONCE))
        team = tenant.department(None)
        with tenant.desk.writing(tenant.organization_id, SYSTEM) as writing:
            for user in users:
                email = f"{user}@{tenant.tag}.test"
                members.invite(writing, email=email, department_ids=[team], is_active=True, user_id=user)
        yield Pair((servers[0], servers[1]), proxies, tenant, tenant.entity("vector_store"), users, team)
        for proxy in proxies:
            proxy.heal()


@pytest.fixture
def pair(servers: Pair) -> Iterator[Pair]:
    yield servers
    for proxy in servers.proxies:
        proxy.heal()


def until_success(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """Send it until it is answered with success: the network is bad, so it may be 503 for a while."""
    end = monotonic() + _PATIENCE_S
    while True:
        answer = client.request(method, path, **request)
        if answer.is_success:
            return answer
        assert answer.status_code == 503, answer.text
        assert "Retry-After" in answer.headers
        assert monotonic() < end, answer.text
        sleep(0.01)


def give(pair: Pair, client: httpx.Client) -> tuple[str, str]:
    """The grant, made anew: its id and token."""
    answer = until_success(client, "POST", f"{pair.tenant.path}/access/grants", json=pair.grant)
    return answer.json()["id"], answer.headers["Grantbook-Revision"]


def revoke(pair: Pair, client: httpx.Client, grant_id: str) -> str:
    """The token of the revoke. One whose answer was lost finds it done the next time."""
    path = f"{pair.tenant.path}/access/grants/{grant_id}"
    key = {"Idempotency-Key": grant_id}
    return until_success(client, "DELETE", path, headers=key).headers["Grantbook-Revision"]


def ask(pair: Pair, client: httpx.Client, how: str, token: str) -> Counter[bool]:
    """How many of all users are allowed, asked in one way of three."""
    consistency, headers = _consistency(how, token)
    body = {"checks": pair.questions, **consistency}
    answer = until_success(client, "POST", f"{pair.tenant.path}/access/check/batch", json=body, headers=headers)
    return Counter(each["allowed"] for each in answer.json()["results"])


def tells_allowed(pair: Pair, client: httpx.Client, way: str, how: str, token: str) -> bool:
    """Whether a user is allowed, asked about in one way of six; lists are asked with the token however it is."""
    if way == "check/batch":
        return ask(pair, client, how, token)[True] > 0
    path = f"{pair.tenant.path}/access/{way}"
    question = pair.questions[0]
    if way in {"check", "explain"}:
        consistency, headers = _consistency(how, token)
        answer = until_success(client, "POST", path, json={**question, **consistency}, headers=headers)
        return bool(answer.json()["allowed"])
    query = {"user_id": question["user_id"]} if way == "entities" else _place(pair.entity)
    found = until_success(client, "GET", path, params=query, headers={"Grantbook-At-Least": token}).json()
    return bool(found["total"] > (way == "users"))  # the owner reaches it in any case


def _consistency(how: str, token: str) -> tuple[dict[str, Any], dict[str, str]]:
    """In the body, and in the headers."""
    if how == "header":
        return {}, {"Grantbook-At-Least": token}
    return {"consistency": "full" if how == "full" else {"at_least": token}}, {}


@contextmanager
def bad_weather(pair: Pair, rolls: random.Random) -> Iterator[Counter[str]]:
    """The feeds, and the queries besides, get a new trouble several times a second."""
    seen: Counter[str] = Counter()
    ends = Event()
    troubles: list[str] = []

    def blow() -> None:
        while not ends.wait(_WEATHER_S):
            proxy = rolls.choice(pair.proxies)
            if not troubles:
                troubles.extend(["cut", "late feed", "still feed", "late queries", "cut queries", "none", "none"])
                rolls.shuffle(troubles)
            trouble = troubles.pop()
            seen[trouble] += 1
            proxy.heal()
            if trouble == "cut":
                proxy.cut(Kind.FEED)
            elif trouble == "late feed":
                proxy.delay(Kind.FEED, rolls.uniform(0, 2 * STALENESS_S))
            elif trouble == "still feed":
                proxy.stand_still(Kind.FEED)
            elif trouble == "late queries":
                proxy.delay(Kind.QUERIES, 0.003)
            elif trouble == "cut queries":
                proxy.cut(Kind.QUERIES)

    with ThreadPoolExecutor(1) as pool:
        blowing = pool.submit(blow)
        try:
            yield seen
        finally:
            ends.set()
            blowing.result()
            for proxy in pair.proxies:
                proxy.heal()


@contextmanager
def load(pair: Pair) -> Iterator[None]:
    """Others ask both servers all the while, without a token, and another organization writes."""
    ends = Event()
    other = Tenant.found(pair.tenant.desk)
    entity = other.entity()

    def check(position: int) -> None:
        with pair.client(position) as client:
            while not ends.wait(0.02):
                answer = client.post(f"{pair.tenant.path}/access/check", json=pair.questions[0])
                assert answer.status_code in {200, 503}, answer.text

    def write() -> None:
        grant = {**_place(entity), "grantee_type": "user", "grantee_id": other.owner.user_id, "access_level": "read"}
        with pair.client(0, other.owner.secret) as client:
            while not ends.wait(0.05):
                made = until_success(client, "POST", f"{other.path}/access/grants", json=grant).json()
                path = f"{other.path}/access/grants/{made['id']}"
                until_success(client, "DELETE", path, headers={"Idempotency-Key": made["id"]})

    with ThreadPoolExecutor(3) as pool:
        running: list[Future[None]] = [pool.submit(check, 0), pool.submit(check, 1), pool.submit(write)]
        try:
            yield
        finally:
            ends.set()
    for each in running:
        each.result()


def test_with_its_token_a_revoke_counts_at_once_on_the_other_server(pair: Pair) -> None:
    rolls = random.Random(20_261_127)
    asked: Counter[bool] = Counter()
    with pair.client(0) as first, pair.client(1) as second, load(pair), bad_weather(pair, rolls) as seen:
        clients = [first, second]
        for number in range(QUESTIONS // AT_ONCE):
            rolls.shuffle(clients)
            one, other = clients
            how = ("body", "header", "full")[number % 3]
            grant_id, given = give(pair, one)
            if number % 4 == 0:  # the other one knows of the grant; else it may have heard nothing of it yet
                assert ask(pair, other, how, given) == {True: AT_ONCE}
                assert [way for way in OTHER_WAYS if not tells_allowed(pair, other, way, how, given)] == []
            token = revoke(pair, one, grant_id)
            if number % 2:  # by turns: whoever asks first meets what was held before
                asked += ask(pair, other, how, token)
            ways = rolls.sample(OTHER_WAYS, len(OTHER_WAYS))
            assert [way for way in ways if tells_allowed(pair, other, way, how, token)] == []
            if not number % 2:
                asked += ask(pair, other, how, token)
    assert asked == {False: QUESTIONS}
    assert len(seen) >= 6, "the weather was too good"


@pytest.mark.parametrize("way", ["check/batch", *OTHER_WAYS])
def test_with_its_token_a_revoke_counts_whatever_the_server_relies_on(pair: Pair, way: str) -> None:
    """Its feed stands still: without the token it would go on from memory, in each of these ways."""
    proxy = pair.proxies[1]
    with pair.client(0) as first, pair.client(1) as second:
        for how in ("body", "header", "full"):
            grant_id, token = give(pair, first)
            assert tells_allowed(pair, second, way, how, token)
            until_relied_on(pair, second, proxy)
            proxy.stand_still(Kind.FEED)
            token = revoke(pair, first, grant_id)
            assert not tells_allowed(pair, second, way, how, token), how
            proxy.heal()


@pytest.mark.parametrize("trouble", ["none", "cut", "late", "still", "unreachable", "suspended"])
def test_without_a_token_no_answer_is_older_than_the_staleness(pair: Pair, trouble: str) -> None:
    """Whatever becomes of the feed: the time counts from the acknowledged revoke to the moment the question is sent."""
    server, proxy = pair.servers[1], pair.proxies[1]
    seen, rounds, end = 0, 0, monotonic() + _PATIENCE_S
    with pair.client(0) as first, pair.client(1) as second:
        while rounds < ROUNDS or (trouble in UNHEARD and not seen):
            assert monotonic() < end, "it never relied on what it had heard"
            rounds += 1
            grant_id, token = give(pair, first)
            assert ask(pair, second, "body", token) == {True: AT_ONCE}
            until_relied_on(pair, second, proxy)
            _begin(trouble, server, proxy)
            revoke(pair, first, grant_id)
            revoked = monotonic()
            if trouble == "suspended":
                sleep(3 * STALENESS_S)  # longer than anything that was heard before counts
                server.process.send_signal(signal.SIGCONT)
            while True:
                sent = monotonic()
                if not is_allowed(pair, second):
                    break
                assert sent - revoked <= STALENESS_S, f"{sent - revoked:.3f} s after the revoke it was still allowed"
                seen += 1
            proxy.heal()


def is_allowed(pair: Pair, client: httpx.Client) -> bool:
    """Whether the first of the users is, asked without a token."""
    path = f"{pair.tenant.path}/access/check"
    allowed: bool = until_success(client, "POST", path, json=pair.questions[0]).json()["allowed"]
    return allowed


def until_relied_on(pair: Pair, client: httpx.Client, proxy: Proxy) -> None:
    """Until the server answers that the user is allowed without a word to the database: it relies on its feed.

    Else a trouble of the feed changes nothing, as the server has everything read anew.
    """
    end = monotonic() + _PATIENCE_S
    while True:
        before = proxy.said[Kind.QUERIES]
        assert is_allowed(pair, client)
        assert is_allowed(pair, client)
        if proxy.said[Kind.QUERIES] == before:
            return
        assert monotonic() < end, "the server never relied on its feed again"
        sleep(0.01)


def _begin(trouble: str, server: Server, proxy: Proxy) -> None:
    if trouble == "cut":
        proxy.cut(Kind.FEED)
    elif trouble == "late":
        proxy.delay(Kind.FEED, 10 * STALENESS_S)
    elif trouble == "still":
        proxy.stand_still(Kind.FEED)
    elif trouble == "unreachable":
        proxy.stand_still(Kind.FEED)
        proxy.cut(Kind.FEED)
    elif trouble == "suspended":
        proxy.stand_still(Kind.FEED)  # else it may hear of the revoke when it wakes, before it is asked
        server.process.send_signal(signal.SIGSTOP)


def test_a_server_that_hears_nothing_and_cannot_ask_answers_503(pair: Pair) -> None:
    """It may not answer from memory, and it has nobody to ask: no answer at all, in the envelope."""
    proxy = pair.proxies[1]
    path = f"{pair.tenant.path}/access/check"
    with pair.client(0) as first, pair.client(1) as second:
        grant_id, token = give(pair, first)
        assert ask(pair, second, "body", token) == {True: AT_ONCE}
        proxy.refuses = True
        proxy.cut(Kind.FEED, Kind.QUERIES)
        revoke(pair, first, grant_id)
        revoked = monotonic()
        statuses: Counter[int] = Counter()
        while (sent := monotonic()) - revoked < 2 * STALENESS_S:
            answer = second.post(path, json=pair.questions[0])
            statuses[answer.status_code] += 1
            if answer.status_code == 200 and answer.json()["allowed"]:
                assert sent - revoked <= STALENESS_S
            else:
                assert answer.status_code == 503
                assert answer.json()["error"]["code"] == "STORE_UNAVAILABLE"
        assert statuses[503]
        proxy.heal()
        answered = until_success(second, "POST", path, json=pair.questions[0])
        assert answered.json()["allowed"] is False


def test_a_key_that_ended_opens_nothing_where_its_end_is_asked_for(pair: Pair) -> None:
    """The token of a revoked key's end, sent with the key: the other server looks at the key as of then, too."""
    path = f"{pair.tenant.path}/access/check"
    listing = f"{pair.tenant.path}/departments"
    proxy = pair.proxies[1]
    with pair.client(0) as first:
        for _ in range(3):
            made = first.post(f"{pair.tenant.path}/api-keys", json={"key_name": "short-lived"}).json()
            with pair.client(1, made["key"]) as second:
                for _ in range(2):
                    assert second.post(path, json=pair.questions[0]).status_code == 200
                    assert second.get(listing).status_code == 200
                proxy.stand_still(Kind.FEED)
                ended = first.post(f"{pair.tenant.path}/api-keys/{made['id']}/deactivate")
                headers = {"Grantbook-At-Least": ended.headers["Grantbook-Revision"]}
                assert second.post(path, json=pair.questions[0], headers=headers).status_code == 401
                assert second.get(listing, headers=headers).status_code == 401
            proxy.heal()
