"""The office, in each kind of store."""

import pytest

from grantbook.store.port import Store
from tests.service.office import Office
from tests.worlds import FakeClock


@pytest.fixture
def office(store: Store, clock: FakeClock) -> Office:
    return Office(store, clock)
