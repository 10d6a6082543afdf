"""`grantbook migrate distribute` where there is nothing to distribute over. For a cluster see tests/cluster."""

from collections.abc import Iterator

import pytest

from grantbook.cli.errors import Exit
from tests.cli.conftest import Shell
from tests.postgres import drop_database, make_database


@pytest.fixture(params=[False, True], ids=["with tables", "empty"])
def plain(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of PostgreSQL without Citus. Comes before `shell`, which knows nothing of the tests' server."""
    url = make_database(is_empty=request.param)
    yield url
    drop_database(url)


def test_without_citus_it_says_what_to_do(plain: str, shell: Shell) -> None:
    shown = shell("migrate", "distribute", "--database", plain)
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "has no Citus extension" in shown.err or "run 'grantbook migrate up' first" in shown.err
    status = shell("migrate", "status", "--database", plain, "--json").json
    assert ("has no Citus extension" in shown.err) == status["is_usable"]


def test_a_file_cannot_be_distributed(demo: Shell) -> None:
    shown = demo("migrate", "distribute")
    assert (shown.code, shown.out) == (Exit.FAILED, "")
    assert "only a database of PostgreSQL" in shown.err
