"""A book on each kind of database, with an organization."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from grantbook import Grantbook, OrganizationBook
from tests.databases import KINDS, empty_book
from tests.library.world import BOT, Watch


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture(params=KINDS)
def book(request: pytest.FixtureRequest, tmp_path: Path, watch: Watch) -> Iterator[Grantbook]:
    with Grantbook(empty_book(tmp_path, request.param), clock=watch) as opened:
        yield opened


@pytest.fixture
def acme(book: Grantbook) -> OrganizationBook:
    """Ada owns it; Bob and Eve are members; there is a bot of Ada's, which is private."""
    acme = book.create_organization("Acme", owner_email="ada@acme.example", owner_id="usr_ada")
    for name in ("bob", "eve"):
        acme.invite_member(f"{name}@acme.example", user_id=f"usr_{name}", is_active=True)
    acme.register_entity(*BOT, name="Bot", owner=("user", "usr_ada"), access_mode="private")
    return acme
