"""How the SDK reports an error of the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from aitronos.core.api_error import ApiError
from aitronos.core.request_options import RequestOptions
from aitronos.errors import UnprocessableEntityError

ONCE: Final[RequestOptions] = {"max_retries": 0}
"""The SDK repeats what was refused with 409 or 5xx, after a pause."""


@contextmanager
def refused(status: int, code: str, **details: Any) -> Iterator[pytest.ExceptionInfo[ApiError]]:
    """The call of the block is answered with this error; the details given are among those sent."""
    with pytest.raises(ApiError) as caught:
        yield caught
    error = caught.value
    assert error.status_code == status, error
    assert isinstance(error, UnprocessableEntityError) == (status == 422)
    body = error.body["error"]
    assert (error.body["success"], body["code"], body["status"]) == (False, code, status)
    assert {name: body["details"][name] for name in details} == details
    assert error.headers is not None
    assert error.headers["x-request-id"] == body["trace_id"]
