"""What `--json` prints is what the REST API answers about the same book."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from grantbook.bootstrap import open_desk
from grantbook.http.app import create_app
from tests.cli.conftest import Shell

QUESTIONS = [
    ("usr_felix", "write", "vector_store", "vs_incidents"),
    ("usr_felix", "overwrite", "knowledge_slice", "kslice_runbooks"),
    ("usr_gina", "admin", "vector_store", "vs_crm"),
    ("usr_ben", "admin", "vector_store", "vs_contracts"),
    ("usr_leo", "read", "knowledge_slice", "kslice_onboarding"),
    ("usr_jonas", "modify", "rule", "rule_tone"),
]


class Api:
    """The server on the same database, asked by the demo's owner."""

    def __init__(self, app: FastAPI, key: str) -> None:
        self._app = app
        self._key = key

    def __call__(self, method: str, path: str, **content: Any) -> Any:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://grantbook") as client:
                address = f"/v1/organizations/org_demo/{path}"
                return await client.request(method, address, headers={"X-API-Key": self._key}, **content)

        answer = asyncio.run(ask())
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def api(demo: Shell) -> Iterator[Api]:
    key = demo("demo", "--json").json["api_key"]
    desk = open_desk("sqlite:///book.db")
    yield Api(create_app(desk), key)
    desk.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_check_and_why(demo: Shell, api: Api, question: tuple[str, str, str, str]) -> None:
    user_id, access_level, entity_type, entity_id = question
    body = {"user_id": user_id, "access_level": access_level, "entity_type": entity_type, "entity_id": entity_id}
    assert demo("check", *question, "--json").json == api("POST", "access/check", json=body)
    assert demo("why", *question, "--json").json == api("POST", "access/explain", json=body)


def test_who(demo: Shell, api: Api) -> None:
    wanted = api("GET", "access/users-with-access", params={"entity_type": "vector_store", "entity_id": "vs_incidents"})
    assert demo("who", "vector_store", "vs_incidents", "--json").json == wanted


@pytest.mark.parametrize("user_id", ["usr_felix", "usr_chloe", "usr_ines", "usr_jonas"])
def test_what(demo: Shell, api: Api, user_id: str) -> None:
    found = demo("what", user_id, "--json").json
    wanted = api("GET", f"users/{user_id}/resolved-access")
    assert found.keys() <= wanted.keys()
    assert (found["user_id"], found["entities"]) == (wanted["user_id"], wanted["entities"])


def test_grants_list(demo: Shell, api: Api) -> None:
    found = demo("grants", "list", "--limit", "5", "--skip", "3", "--json").json
    wanted = api("GET", "access/grants", params={"limit": 5, "skip": 3})
    assert found.items() <= wanted.items()


def test_keys_list(demo: Shell, api: Api) -> None:
    demo("keys", "create", "usr_dev", "report", "--scope", "read")
    found, wanted = demo("keys", "list", "--json").json, api("GET", "api-keys")
    for each in (*found["keys"], *wanted["keys"]):
        del each["last_used_at"]  # the server has just noted that of its own
    assert (found["keys"], found["total"]) == (wanted["keys"], wanted["total"])
