"""The routes in front of the application answer as the documented ones behind it, whatever is asked, and by whom."""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest

from grantbook.bootstrap import open_desk
from grantbook.http.app import create_app
from grantbook.http.hot import HotRoutes
from grantbook.http.middleware import Scope
from grantbook.model.facts import Department, Member, Organization, Role, revised
from grantbook.model.limits import MAX_BATCH_CHECKS, MAX_BODY_BYTES
from grantbook.service import grants
from grantbook.service.admission import Admissions
from grantbook.service.desk import SYSTEM, Desk
from tests.databases import KINDS, empty_book
from tests.http.inprocess import InProcess
from tests.serving import Tenant

Json = dict[str, Any]
SCOPES = {"check": ("check",), "read": ("read",), "none": (), "all": None}


class Both:
    """The same organization asked through the hot routes, and through the documented ones alone."""

    def __init__(self, desk: Desk) -> None:
        self.tenant = Tenant.found(desk)
        tenant = self.tenant
        self.user, self.other, self.gone = tenant.user(), tenant.user(), tenant.user()
        tenant.set_state(self.gone, "deactivated")
        self.team = tenant.department(None, self.user)
        self.composite = tenant.entity(form="composite")
        self.slice = tenant.entity(containers=(self.composite,))
        self.store = tenant.entity("vector_store", containers=(self.slice,))
        self.rule = tenant.entity("rule")
        tenant.grant(self.slice, "write", self.user)
        tenant.grant(self.composite, "read", self.team, grantee_type="department")
        tenant.permit(self.rule, "use", "user", self.other)
        self.plain = tenant.person()
        hot, documented = create_app(desk), create_app(desk)
        documented.front = None
        self.clients = [httpx.Client(transport=InProcess(app), base_url="http://both") for app in (hot, documented)]

    @property
    def question(self) -> Json:
        return {
            "user_id": self.user,
            "entity_type": self.slice.type,
            "entity_id": self.slice.id,
            "access_level": "read",
        }

    def agree(self, method: str, path: str, *, secret: str | None = None, headers: Any = (), **sent: Any) -> int:
        """The status of both answers, after a look at whether they are the same; asked twice, to be answered from
        memory at last."""
        key = [("X-API-Key", self.tenant.owner.secret if secret is None else secret)] if secret != "" else []
        url = f"{self.tenant.path}/access/{path}"
        for _ in range(2):
            answers = [client.request(method, url, headers=[*key, *headers], **sent) for client in self.clients]
            hot, documented = ((answer.status_code, told(answer)) for answer in answers)
            assert hot == documented
            assert {name for name in answers[0].headers if name != "date"} == set(answers[1].headers)
        return answers[0].status_code


def told(answer: httpx.Response) -> Any:
    """The body without what no two answers share."""
    body = answer.json()
    for each in [body, *body.get("results", ())]:
        for name in ("trace_id", "timestamp"):
            (each.get("error") or {}).pop(name, None)
    return body


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    desk = open_desk(empty_book(tmp_path_factory.mktemp("book"), request.param))
    yield Both(desk)
    desk.close()


async def unreachable(scope: Scope, *_: Any) -> None:
    raise AssertionError(f"{scope['path']} went on to the application")


def test_a_plain_question_never_reaches_the_application(both: Both) -> None:
    client = httpx.Client(
        transport=InProcess(HotRoutes(both.tenant.desk, Admissions(both.tenant.desk), unreachable)),
        base_url="http://hot",
    )
    client.headers["X-API-Key"] = both.tenant.owner.secret
    path, ref = f"{both.tenant.path}/access", both.slice
    for _ in range(2):
        for call, body in (("check", both.question), ("explain", both.question)):
            assert client.post(f"{path}/{call}", json=body).json()["allowed"]
        assert client.post(f"{path}/check/batch", json={"checks": [both.question]}).json()["results"][0]["allowed"]
        assert client.get(f"{path}/entities?user_id={both.user}").json()["total"] == 3
        assert client.get(f"{path}/users?entity_type={ref.type}&entity_id={ref.id}").json()["total"] == 2


@pytest.mark.parametrize("call", ["check", "explain"])
def test_every_question_is_answered_alike(both: Both, call: str) -> None:
    for user_id in (both.user, both.other, both.gone, both.tenant.owner.user_id, "usr_nobody", "not an id", "x" * 128):
        for ref in (both.slice, both.composite, both.store, both.rule):
            for level in ("read", "admin", "use", "nonsense"):
                asked = {"user_id": user_id, "entity_type": ref.type, "entity_id": ref.id, "access_level": level}
                both.agree("POST", call, json=asked)
    for entity_type, entity_id in (("vector_store", "vs_none"), ("nonsense", "vs_none"), ("vector_store", "no id")):
        asked = {**both.question, "entity_type": entity_type, "entity_id": entity_id}
        assert both.agree("POST", call, json=asked) in {404, 422}


@pytest.mark.parametrize("call", ["check", "explain", "check/batch"])
def test_what_is_odd_is_refused_alike(both: Both, call: str) -> None:
    good = both.question if call != "check/batch" else {"checks": [both.question]}
    json_type = ("Content-Type", "application/json")
    for body in (b"", b"{", b"[]", b"null", b'{"user_id": 1}', b"\xff", b'{"user_id": "\\ud800"}', b"{}" * 9):
        assert both.agree("POST", call, content=body, headers=[json_type]) in {400, 422}
    for more in ({"extra": 1}, {"consistency": "soon"}, {"consistency": {"at_least": ""}}, {"as_of": "yesterday"}):
        assert both.agree("POST", call, json={**good, **more}) == 422
    assert both.agree("POST", call, json=good, headers=[("Content-Type", "text/plain")]) == 422
    assert both.agree("POST", call, content=b" " * (MAX_BODY_BYTES * 4 + 1), headers=[json_type]) == 413
    assert both.agree("PUT", call, json=good) == 405


@pytest.mark.parametrize("call", ["check", "explain", "check/batch"])
def test_what_is_unusual_but_right_is_answered_alike(both: Both, call: str) -> None:
    good = both.question if call != "check/batch" else {"checks": [both.question]}
    token = f"{both.tenant.organization_id}.{both.tenant.revision}"
    later = f"{both.tenant.organization_id}.{both.tenant.revision + 1}"
    for more in ({"consistency": "full"}, {"consistency": {"at_least": token}}, {"as_of": "2100-01-01T00:00:00Z"}):
        assert both.agree("POST", call, json={**good, **more}) == 200
    assert both.agree("POST", call, json={**good, "consistency": {"at_least": later}}) == 503
    assert both.agree("POST", call, json=good, headers=[("Grantbook-At-Least", token)]) == 200
    assert both.agree("POST", call, json=good, headers=[("Grantbook-At-Least", later)]) == 503
    assert both.agree("POST", call, json=good, headers=[("Content-Type", "application/json; charset=utf-8")]) == 200
    assert both.agree("POST", call, json=good, headers=[("X-Twice", "1"), ("X-Twice", "2")]) == 200


def test_a_batch_is_answered_alike(both: Both) -> None:
    bad = [{**both.question, field: "usr_x"} for field in both.question]
    rest = [{**both.question, "user_id": user_id} for user_id in (both.other, both.gone)]
    assert both.agree("POST", "check/batch", json={"checks": [both.question, *rest, *bad]}) == 200
    assert both.agree("POST", "check/batch", json={"checks": [both.question, *rest]}) == 200
    assert both.agree("POST", "check/batch", json={"checks": [both.question] * 1_000}) == 200
    assert both.agree("POST", "check/batch", json={"checks": []}) == 422
    assert both.agree("POST", "check/batch", json={"checks": [both.question] * (MAX_BATCH_CHECKS + 1)}) == 422


def test_who_asks_counts_alike(both: Both) -> None:
    tenant, owner = both.tenant, both.tenant.owner.user_id
    secrets = [tenant.key(owner, scopes=scopes) for scopes in SCOPES.values()]
    secrets += [both.plain.secret, "", "gb_wrong", "x" * 300, Tenant.found(tenant.desk).owner.secret]
    secrets += [tenant.key(owner, is_paused=True), tenant.key(owner, is_active=False)]
    users = f"entity_type={both.slice.type}&entity_id={both.slice.id}"
    for secret in secrets:
        both.agree("POST", "check", secret=secret, json=both.question)
        both.agree("POST", "check/batch", secret=secret, json={"checks": [both.question]})
        both.agree("POST", "explain", secret=secret, json={**both.question, "user_id": both.plain.user_id})
        both.agree("GET", f"entities?user_id={both.user}", secret=secret)
        both.agree("GET", f"users?{users}", secret=secret)
    bearer = [("Authorization", f"Bearer {tenant.owner.secret}")]
    assert both.agree("POST", "check", secret="", headers=bearer, json=both.question) == 200
    assert both.agree("POST", "check", secret=f"Bearer {tenant.owner.secret}", json=both.question) == 401


def test_lists_are_answered_alike(both: Both) -> None:
    users = f"users?entity_type={both.slice.type}&entity_id={both.slice.id}"
    owner = both.tenant.owner.user_id
    for path in (f"entities?user_id={owner}", f"entities?user_id={both.user}", f"entities?user_id={both.gone}", users):
        for more in ("", "&limit=1", "&skip=1", "&skip=9", "&access_level=write", "&access_level=use"):
            assert both.agree("GET", path + more) in {200, 422}
        for more in ("&limit=0", "&limit=x", "&limit=101", "&skip=-1", "&cursor=x", "&cursor=x&skip=1"):
            assert both.agree("GET", path + more) == 422
        both.agree("GET", path + "&unknown=1")
        both.agree("GET", path + "&limit=1&limit=2")
    for path in ("entities", "users", "entities?user_id=usr_nobody", users + "x", "entities?user_id=no%20id"):
        assert both.agree("GET", path) in {404, 422}
    assert both.agree("GET", "entities?user_id=no%20id&entity_type=nonsense") == 422
    of_entities = urlsafe_b64encode(b'["vector_store","vs_1"]').decode().rstrip("=")
    assert both.agree("GET", f"{users}&cursor={of_entities}") == 200
    assert both.agree("GET", f"entities?user_id={owner}&entity_type=vector_store") == 200
    assert both.agree("GET", f"entities?user_id={owner}&entity_type=nonsense") == 422
    assert both.agree("POST", users) == 405


def test_a_page_that_was_shown_before_has_the_names_of_now(both: Both) -> None:
    """Whoever its paths name is called anew: a person, a department, a role, the organization."""
    both = Both(both.tenant.desk)  # another organization: what the others expect stays as it is
    tenant = both.tenant
    role_id = tenant.role("override_all_permissions")
    admin = tenant.user(role_id)
    shared = tenant.entity(mode="public")
    tenant.grant(shared, "write", both.user)
    tenant.grant(shared, "read", both.team, grantee_type="department")
    paths = [f"users?entity_type={shared.type}&entity_id={shared.id}"]
    paths += [f"entities?user_id={user_id}" for user_id in (both.user, admin)]
    client, key = both.clients[0], {"X-API-Key": tenant.owner.secret}
    for kind, id_ in (
        (Member, both.user),
        (Department, both.team),
        (Role, role_id),
        (Organization, tenant.organization_id),
    ):
        assert [both.agree("GET", path) for path in paths] == [200, 200, 200]
        name = f"Renamed {kind.__name__}"
        with tenant.desk.writing(tenant.organization_id, SYSTEM) as writing:
            (fact,) = writing.find_each(kind, [id_])
            writing.book.replace(fact, revised(fact, **{"full_name" if kind is Member else "name": name}), "updated")
        assert [both.agree("GET", path) for path in paths] == [200, 200, 200]
        texts = [client.get(f"{tenant.path}/access/{path}", headers=key).text for path in paths]
        assert any(name in text for text in texts), texts


def test_what_is_wrong_with_a_list_is_found_in_the_same_order(both: Both) -> None:
    """First who asks, then which revision, then what is asked: by a key seen for the first time, and then again."""
    later = ("Grantbook-At-Least", f"{both.tenant.organization_id}.{both.tenant.revision + 9}")
    for path in ("users?entity_type=nonsense&entity_id=vs_1", "entities?user_id=no%20id"):
        new = both.tenant.key(both.tenant.owner.user_id)
        assert both.agree("GET", path, secret=new, headers=[later]) == 503
        assert both.agree("GET", path, secret="gb_wrong") == 401
    for secret in ("gb_wrong", ""):
        assert both.agree("GET", f"entities?user_id={both.user}&cursor=x&skip=1", secret=secret) == 401


def test_a_length_beyond_all_numbers_is_refused_alike(both: Both) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Length", "9" * 5_000)]
    assert both.agree("POST", "check", content=b"{}", headers=headers) == 413


def test_a_body_in_chunks_is_left_to_whoever_counts_what_comes(both: Both) -> None:
    """Also where a server hands on a length that the chunks need not keep to."""
    went_on: list[str] = []

    async def application(scope: Scope, *_: Any) -> None:
        went_on.append(scope["path"])

    async def never(*_: Any) -> Any:
        raise AssertionError("the body was read, or answered")

    path = f"{both.tenant.path}/access/check"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"transfer-encoding", b"chunked")]
    routes = HotRoutes(both.tenant.desk, Admissions(both.tenant.desk), application)
    asyncio.run(
        routes({"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}, never, never)
    )
    assert went_on == [path]


def test_each_question_is_of_the_newest_commit(both: Both) -> None:
    """Also where another thread, with a loop of its own, writes and asks in between."""
    tenant = both.tenant
    routes = HotRoutes(tenant.desk, Admissions(tenant.desk), unreachable)
    user, body = tenant.user(), msgspec.json.encode(both.question)
    (given,) = tenant.grant(both.slice, "read", user)
    body = body.replace(both.user.encode(), user.encode())

    async def ask() -> bool:
        sent: list[bytes] = []
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers.append((b"x-api-key", tenant.owner.secret.encode()))

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))

        path = f"{tenant.path}/access/check"
        await routes(
            {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}, receive, send
        )
        allowed: bool = msgspec.json.decode(sent[-1])["allowed"]
        return allowed

    def ask_elsewhere() -> bool:
        with tenant.desk.writing(tenant.organization_id, SYSTEM) as writing:
            grants.revoke(writing, given.id)
        return asyncio.run(ask())

    async def in_one_round() -> tuple[bool, bool]:
        await ask()  # in a thread: the key is not known yet
        with ThreadPoolExecutor(1) as pool:
            return await ask(), pool.submit(ask_elsewhere).result()

    assert asyncio.run(in_one_round()) == (True, False)


def test_pages_by_cursor_hold_everything_once(both: Both) -> None:
    path = f"{both.tenant.path}/access/entities?user_id={both.tenant.owner.user_id}&limit=1"
    for client in both.clients:
        client.headers["X-API-Key"] = both.tenant.owner.secret
        found, cursor = [], ""
        while True:
            page = client.get(path + cursor).json()
            found += [(each["entity_type"], each["entity_id"]) for each in page["items"]]
            if not page["has_more"]:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert found == sorted([both.composite, both.slice, both.store, both.rule])
        assert page["total"] == len(found)
