"""The office, in each kind of store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from grantbook.store.port import Store
from tests.conftest import SHARED_STORES, STORES
from tests.service.office import Office
from tests.worlds import FakeClock


@pytest.fixture(params=SHARED_STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    """An empty book; on PostgreSQL in `make test-postgres`, for a third of the time of these tests."""
    opened = STORES[request.param](tmp_path, clock)
    yield opened
    opened.close()


@pytest.fixture
def office(store: Store, clock: FakeClock) -> Office:
    return Office(store, clock)
