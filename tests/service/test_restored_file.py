"""A copy of the book that takes its place while processes have it open: nobody answers from what was before."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from grantbook.bootstrap import open_desk
from grantbook.model.facts import EntityRef
from grantbook.service.desk import Desk
from tests.serving import Tenant

NONE = -1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "book.db"


@pytest.fixture
def desks(file: Path) -> Iterator[list[Desk]]:
    """Two processes' own ways to the book."""
    with ExitStack() as stack:
        desks = [open_desk(f"sqlite:///{file}") for _ in range(2)]
        for desk in desks:
            stack.callback(desk.close)
        yield desks


def copy(source: Path, target: Path) -> None:
    """As `.backup` and `.restore` of the shell of SQLite."""
    with closing(sqlite3.connect(source)) as there, closing(sqlite3.connect(target)) as here:
        there.backup(here)


def rank(desk: Desk, tenant: Tenant, user_id: str, ref: EntityRef) -> int:
    with desk.facts as facts:
        return facts.current(tenant.organization_id).rank(user_id, ref, desk.clock)


@pytest.mark.parametrize("written", [0, 1, 5])
def test_what_was_granted_after_the_copy_gives_nothing(file: Path, desks: list[Desk], written: int) -> None:
    """Also where as much was written since, so that revisions are as many as they were, or more."""
    tenant = Tenant.found(desks[0])
    user_id, ref, others = tenant.user(), tenant.entity(), [tenant.user() for _ in range(5)]
    for desk in desks:
        assert rank(desk, tenant, user_id, ref) == NONE
    copy(file, file.with_name("copy.db"))
    tenant.grant(ref, "read", user_id)
    for desk in desks:
        assert rank(desk, tenant, user_id, ref) > NONE
    copy(file.with_name("copy.db"), file)
    for other in others[:written]:
        tenant.grant(ref, "read", other)
    for desk in desks:
        assert rank(desk, tenant, user_id, ref) == NONE
        assert [rank(desk, tenant, other, ref) > NONE for other in others] == [n < written for n in range(5)]
