"""Law 6: after a revoke is acknowledged, no process answers "allowed" from it, whatever it holds in memory."""

import multiprocessing
from collections.abc import Iterator
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import pytest

from grantbook import Grantbook
from grantbook.model.errors import GrantbookError
from grantbook.model.facts import EntityRef, Principal
from grantbook.service.decisions import Check, Decision
from grantbook.store.sqlite import open_sqlite
from tests.worlds import AUTHOR, FakeClock, grant

ROUNDS: Final = 1_000
AT_ONCE: Final = 100
ENTITY: Final = EntityRef("vector_store", "vs_shared")
ORGANIZATION: Final = "org_acme"
TEAM: Final = Principal("department", "dept_everybody")
USERS: Final = tuple(f"usr_{number}" for number in range(AT_ONCE))


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/book.db"
    with Grantbook(url) as book:
        acme = book.create_organization("Acme", owner_email="ada@acme.example", organization_id=ORGANIZATION)
        acme.register_entity(*ENTITY, name="Shared", owner=("user", acme.owner_id), access_mode="private")
        team = acme.create_department("Everybody", department_id=TEAM.id)
        for user_id in USERS:
            email = f"{user_id}@acme.example"
            acme.invite_member(email, user_id=user_id, department_ids=[team.id], is_active=True)
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
        for round_ in count():
            if asked.recv() is None:
                return
            if round_ // 2 % 2:  # for each grant and its revoke in the other way
                asked.send([acme.check(user_id, "read", *ENTITY).allowed for user_id in USERS])
            else:
                asked.send([is_allowed(each) for each in acme.check_many(questions)])


def is_allowed(found: Decision | GrantbookError) -> bool:
    assert isinstance(found, Decision), found
    return found.allowed


def test_a_revoke_that_is_acknowledged_counts_in_another_process_a_hundred_thousand_times(
    url: str, other: Connection
) -> None:
    """One grant, to the department that all of them are in."""
    fact = grant(ENTITY, TEAM, "read")
    store = open_sqlite(url, FakeClock())
    for _ in range(ROUNDS):
        with store.transaction(ORGANIZATION, AUTHOR) as book:
            book.add(fact, "granted")
        assert ask(other) == {True}
        with store.transaction(ORGANIZATION, AUTHOR) as book:
            book.remove(fact, "revoked")
        assert ask(other) == {False}
    store.close()


def ask(other: Connection) -> set[bool]:
    other.send("now")
    found: list[bool] = other.recv()
    assert len(found) == AT_ONCE
    return set(found)
