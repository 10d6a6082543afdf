"""Requests that nobody would write: made by Schemathesis from the OpenAPI document, and mixed with good ones.

A wild request alone sees little but 404 and 422. So most requests start from the good call of the operation, and get a
few wild fields.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from starlette.types import ASGIApp

from tests.http.calls import CALLS, Scene


@schemathesis.serializer("application/x-ndjson")
def _lines(_: Any, value: Any) -> bytes:
    """Whatever it is as one line."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


CHECKS: Final = tuple(
    getattr(schemathesis.checks, name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
)
_MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_ID_LIKE: Final = ("_id", "_ids", "_type", "_level", "_users", "_departments")
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Fuzzer:
    """The application's own OpenAPI document, served in this process."""

    def __init__(self, app: ASGIApp) -> None:
        self._document = schemathesis.openapi.from_asgi("/openapi.json", app)

    def requests(self, operation: str, scene: Scene) -> st.SearchStrategy[Case[Any]]:
        """Requests for the operation, well-formed and not, always to the scene's own organization."""
        method, _, path = operation.partition(" ")
        found = self._document[path][method]
        made = st.one_of([found.as_strategy(generation_mode=mode) for mode in _MODES])
        return st.composite(_aimed)(operation, made, scene)


def _aimed(draw: Draw, operation: str, made: st.SearchStrategy[Case[Any]], scene: Scene) -> Case[Any]:
    """The wild request, or the good one with a few wild fields; with real ids among the wild ones."""
    case: Case[Any] = draw(made)

    def real(name: str, value: Any) -> Any:
        return draw(st.sampled_from((value, *_pool(name, scene))))

    case.path_parameters = _with_ids(case.path_parameters or {}, real)
    if isinstance(case.query, dict):
        case.query = _with_ids(case.query, real)
    case.body = _with_ids(case.body, real)
    if operation in CALLS and draw(st.sampled_from((True, True, True, False))):
        good = CALLS[operation].request(scene)
        known = {name: good.ids[name] for name in case.path_parameters}
        case.path_parameters = known if draw(st.booleans()) else _mixed(draw, known, case.path_parameters)
        if good.query or isinstance(case.query, dict):
            case.query = _mixed(draw, good.query, case.query)
        if good.body is not None:
            case.body = _mixed(draw, good.body, case.body)
    if "organization_id" in case.path_parameters:
        case.path_parameters["organization_id"] = scene.tenant.organization_id
    return case


def _mixed(draw: Draw, good: Any, wild: Any) -> Any:
    """The good value with at most two fields, or items, of the wild one."""
    if isinstance(good, list) and isinstance(wild, list):
        return [*good, *wild[: draw(st.integers(0, 2))]]
    if not isinstance(good, dict) or not isinstance(wild, dict):
        return good
    names = sorted(wild, key=str)
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
    return {**good, **{name: wild[name] for name in chosen}}


def _with_ids(value: Any, real: Callable[[str, Any], Any], name: str = "") -> Any:
    """The value, with `real` asked about each text in a field that is called like an id, or like a kind of thing."""
    if isinstance(value, dict):
        return {key: _with_ids(inner, real, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_ids(inner, real, name) for inner in value]
    return real(name, value) if isinstance(value, str) and name.endswith(_ID_LIKE) else value


def _pool(name: str, scene: Scene) -> tuple[str, ...]:
    """What might stand in a field of that name, right or nearly right."""
    if name.endswith("_type"):
        return ("knowledge_slice", "vector_store", "assistant", "rule", "user", "department", "role", "organization")
    if name.endswith("_level"):
        return ("read", "write", "admin", "view", "use", "modify")
    return (*scene.everything, scene.composite.id, scene.gone)
