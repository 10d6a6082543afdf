"""Whatever is asked, the server answers as its OpenAPI document says, and never with a failure of its own."""

import os
from collections.abc import Iterator
from typing import Final

import pytest
from fastapi import FastAPI, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup

from grantbook.bootstrap import open_desk
from grantbook.http.app import create_app
from grantbook.service.desk import Desk
from tests.databases import empty_book
from tests.http.calls import CALLS, Scene, documented_operations
from tests.http.fuzz import CHECKS, Fuzzer

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "6"))
"""Of each operation. `FUZZ_EXAMPLES=200` tries that many, and others each time."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    opened = open_desk(empty_book(tmp_path_factory.mktemp("fuzz")))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def unchanged(desk: Desk) -> Scene:
    """For operations that only read."""
    return Scene(desk)


@pytest.fixture(scope="module")
def fuzzer(desk: Desk) -> Fuzzer:
    return Fuzzer(create_app(desk))


def fuzz(fuzzer: Fuzzer, operation: str, scene: Scene) -> None:
    """Raises for the first answer that is not as documented."""
    requests = fuzzer.requests(operation, scene)

    @settings(
        max_examples=EXAMPLES,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def attempt(data: st.DataObject) -> None:
        case = data.draw(requests)
        response = case.call(headers={"X-API-Key": scene.tenant.owner.secret})
        case.validate_response(response, checks=list(CHECKS))

    attempt()


@pytest.mark.parametrize("operation", documented_operations())
def test_every_answer_is_a_documented_one(operation: str, desk: Desk, fuzzer: Fuzzer, unchanged: Scene) -> None:
    only_reads = operation in CALLS and not CALLS[operation].changes
    fuzz(fuzzer, operation, unchanged if only_reads else Scene(desk))


@pytest.mark.parametrize(("status", "content"), [(418, "{}"), (500, "{}"), (200, '{"name": 1}')])
def test_the_fuzzer_sees_answers_that_are_not_documented(status: int, content: str, unchanged: Scene) -> None:
    app = FastAPI()

    @app.get("/tea", response_model=dict[str, str])
    async def tea() -> Response:
        return Response(content, status_code=status, media_type="application/json")

    with pytest.raises(FailureGroup):
        fuzz(Fuzzer(app), "GET /tea", unchanged)
