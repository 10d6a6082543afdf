"""Law 6: after a revoke is acknowledged, no process answers "allowed" from it, whatever it holds in memory."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import pytest

from grantbook import Grantbook
from grantbook.model.errors import GrantbookError
from grantbook.model.facts import EntityRef, Principal
from grantbook.service import grants
from grantbook.service.decisions import Check, Decision
from grantbook.service.desk import SYSTEM, Desk
from grantbook.service.grants import NewGrant

ROUNDS: Final = 1_000
AT_ONCE: Final = 100
ENTITY: Final = EntityRef("vector_store", "vs_shared")
ORGANIZATION: Final = "org_acme"
USERS: Final = tuple(f"usr_{number}" for number in range(AT_ONCE))


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/book.db"
    with Grantbook(url) as book:
        acme = book.create_organization("Acme", owner_email="ada@acme.example", organization_id=ORGANIZATION)
        acme.register_entity(*ENTITY, name="Shared", owner=("user", acme.owner_id), access_mode="private")
        for user_id in USERS:
            acme.invite_member(f"{user_id}@acme.example", user_id=user_id, is_active=True)
    return url


@pytest.fixture
def other(url: str) -> Iterator[Connection]:
    """Another process on the same file, that answers for all users whenever it is asked."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=answer, args=(url, theirs))
    process.start()
    yield ours
    ours.send(None)
    process.join(30)
    assert process.exitcode == 0


def answer(url: str, asked: Connection) -> None:
    with Grantbook(url) as book:
        acme = book.organization(ORGANIZATION)
        questions = [Check(user_id=user_id, entity=ENTITY, access_level="read") for user_id in USERS]
        while asked.recv() is not None:
            asked.send([is_allowed(each) for each in acme.check_many(questions)])


def is_allowed(found: Decision | GrantbookError) -> bool:
    assert isinstance(found, Decision), found
    return found.allowed


def test_a_revoke_that_is_acknowledged_counts_in_another_process_a_hundred_thousand_times(
    url: str, other: Connection
) -> None:
    with Grantbook(url) as book:
        for _ in range(ROUNDS):
            given = give(book.desk)
            assert ask(other) == {True}
            take(book.desk, given)
            assert ask(other) == {False}


def give(desk: Desk) -> list[str]:
    new = [NewGrant(grantee=Principal("user", user_id), access_level="read") for user_id in USERS]
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        return [grant.id for grant in grants.create_bulk(writing, ENTITY, new)]


def take(desk: Desk, grant_ids: list[str]) -> None:
    with desk.writing(ORGANIZATION, SYSTEM) as writing:
        for grant_id in grant_ids:
            grants.revoke(writing, grant_id)


def ask(other: Connection) -> set[bool]:
    other.send("now")
    found: list[bool] = other.recv()
    assert len(found) == AT_ONCE
    return set(found)
