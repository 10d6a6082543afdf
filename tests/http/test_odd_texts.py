"""Texts that nobody means: control characters, half characters, whole books. Refused by name, or kept as they are."""

import json

import httpx
import pytest

from tests.http.calls import WITH_BODY, Call, Scene, leaves
from tests.http.envelope import error_of
from tests.serving import Server

CONTROL = ("\x00", "a\x00b", "\x1b[2J", "\x7f")
HALF = ("\ud800", "a\udfff")
LONG = ("x" * 300_000, "\u202e" * 5_000)


@pytest.fixture(scope="module")
def scene(server: Server) -> Scene:
    return Scene(server.desk)


@pytest.mark.parametrize("call", WITH_BODY.values(), ids=WITH_BODY)
def test_odd_texts_are_refused_in_every_field(call: Call, scene: Scene, client: httpx.Client) -> None:
    request = call.request(scene)
    for place, value in leaves(request.body):
        if not isinstance(value, str):
            continue
        for odd in (*CONTROL, *HALF, *LONG):
            content = json.dumps(request.with_value(("body", *place), odd).body)
            answer = request.send_content(client, scene.tenant.owner.secret, content)
            if call.operation.endswith("/check/batch") and answer.is_success:
                assert answer.json()["results"][0]["error"]["status"] in {404, 422}
            elif place[-1] != "content" or odd not in LONG or answer.is_error:
                assert answer.status_code in {404, 422}, (place, odd[:10], answer.text)
                error_of(answer, answer.status_code)


@pytest.mark.parametrize("odd", [*CONTROL, *HALF, "x" * 5_000])
def test_odd_texts_are_refused_in_optional_fields(odd: str, scene: Scene, client: httpx.Client) -> None:
    for operation, call in WITH_BODY.items():
        request = call.request(scene)
        if isinstance(request.body, list):
            continue
        for name in ("description", "reason", "website", "category", "full_name", "id"):
            content = json.dumps({**request.body, name: odd})
            answer = request.send_content(client, scene.tenant.owner.secret, content)
            assert answer.status_code == 422, (operation, name, answer.text)
            error_of(answer, 422)


@pytest.mark.parametrize("odd", ["%00", "%ED%A0%80", "%FF", "x" * 5_000, "%E2%80%AE", "'; DROP TABLE grants; --"])
def test_odd_texts_in_the_query_are_refused_or_find_nothing(odd: str, scene: Scene, client: httpx.Client) -> None:
    headers = {"X-API-Key": scene.tenant.owner.secret}
    for name in ("entity_type", "entity_id", "grantee_type", "grantee_id", "cursor", "skip", "limit", "unknown"):
        answer = client.get(f"{scene.tenant.path}/access/grants?{name}={odd}", headers=headers)
        if name.endswith("_id"):
            assert answer.json()["total"] == 0
        else:
            assert error_of(answer, 422, "VALIDATION_ERROR")["details"]["field"] == name


@pytest.mark.parametrize("path", ["access/grants?entity_id={}", "audit-log?actor_id={}"])
def test_nothing_is_found_by_a_nul(path: str, scene: Scene, client: httpx.Client) -> None:
    url = f"{scene.tenant.path}/{path.format('a%00b')}"
    answer = client.get(url, headers={"X-API-Key": scene.tenant.owner.secret})
    assert (answer.status_code, answer.json()["total"]) == (200, 0)


def test_nobody_is_known_by_a_nul(scene: Scene, client: httpx.Client) -> None:
    body = {"user_id": "a\x00b", "entity_type": "rule", "entity_id": "rule_\x00", "access_level": "view"}
    headers = {"X-API-Key": scene.tenant.owner.secret}
    error_of(client.post(f"{scene.tenant.path}/access/check", headers=headers, json=body), 422)


@pytest.mark.parametrize(
    "address",
    [
        "{0}/knowledge/slices?",
        "{0}/knowledge/stores?",
        "{0}/rules?",
        "{0}/entities/assistant?",
        "/v1/assistants?organization_id={1}&",
    ],
)
def test_a_search_for_control_characters_is_refused(address: str, scene: Scene, client: httpx.Client) -> None:
    """SQLite would end the pattern there and find everything, PostgreSQL takes no such text at all."""
    tenant = scene.tenant
    address = address.format(tenant.path, tenant.organization_id)
    for odd in ("%00", "a%00b"):
        answer = client.get(f"{address}search={odd}", headers={"X-API-Key": tenant.owner.secret})
        assert error_of(answer, 422, "VALIDATION_ERROR")["details"]["field"] == "search"
