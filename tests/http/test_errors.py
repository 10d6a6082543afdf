"""The table of errors: every code has one status, and each of them is really raised somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

import grantbook
from grantbook.http.errors import STATUS, body_of, response_of, status_of
from grantbook.model.errors import GrantbookError, InvalidLines, ValidationFailed, all_errors
from tests.http.calls import OPENAPI
from tests.http.envelope import FIELDS, error_of
from tests.serving import Tenant

SOURCE: Final = Path(grantbook.__file__).parent
BY_NAME: Final = {error.__name__: error.code for error in all_errors()}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def codes_given() -> set[str]:
    """Every `code="..."` of a call."""
    return {
        keyword.value.value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node.func) in BY_NAME
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str)
    }


def classes_made() -> set[str]:
    """Every error class that is called, or raised without a call, outside of where it is defined."""
    found: set[str] = set()
    for path, tree in trees():
        if path.parts[-2:] == ("model", "errors.py"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found.add(_name(node.func))
            elif isinstance(node, ast.Raise) and node.exc is not None:
                found.add(_name(node.exc))
    return found & BY_NAME.keys()


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def test_every_code_has_a_status() -> None:
    assert {*BY_NAME.values(), *codes_given()} <= STATUS.keys()


def test_every_code_with_a_status_is_raised() -> None:
    assert STATUS.keys() - codes_given() - {BY_NAME[name] for name in classes_made()} == set()


def example_of(error: type[GrantbookError]) -> GrantbookError:
    if issubclass(error, InvalidLines):
        return error([{"line": 1, "field": "name", "message": "is wrong"}])
    return error("name", "is wrong") if issubclass(error, ValidationFailed) else error()


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_has_texts_of_its_own_and_a_full_envelope(error: type[GrantbookError]) -> None:
    made = example_of(error)
    body = body_of(made, "trace")
    assert set(body) == FIELDS
    assert body["message"] != body["system_message"]
    assert body["message"].endswith(".")
    response = response_of(made, "trace")
    assert response.status_code == status_of(made) == body["status"]
    assert ("www-authenticate" in response.headers) == (response.status_code == 401)


def test_only_the_code_of_a_failure_on_our_side_is_told() -> None:
    body = body_of(GrantbookError("password=hunter2 at /srv/book.db"), "trace")
    assert "hunter2" not in str(body)
    assert body["system_message"] == "Internal error"


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/organizations", "/v1/rules", "/v1/organizations/", "/favicon.ico"])
def test_unknown_routes_are_not_found(path: str, client: httpx.Client) -> None:
    error = error_of(client.get(path), 404, "ROUTE_NOT_FOUND")
    assert error["details"] == {"path": path}


def test_a_trailing_slash_is_another_address(tenant: Tenant, owner: httpx.Client) -> None:
    error_of(owner.get(f"{tenant.path}/access/grants/"), 404)


def test_unknown_routes_are_not_found_whatever_the_method(client: httpx.Client) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        error_of(client.request(method, "/v1/nowhere"), 404, "ROUTE_NOT_FOUND")


@pytest.mark.parametrize("template", OPENAPI["paths"])
def test_a_wrong_method_is_refused_and_the_right_ones_named(template: str, client: httpx.Client) -> None:
    path = template.replace("{", "").replace("}", "_1")
    allowed = {
        method.upper()
        for known, methods in OPENAPI["paths"].items()
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", known), path)
        for method in methods
    }
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
        answer = client.request(method, path)
        error = error_of(answer, 405, "METHOD_NOT_ALLOWED")
        assert error["details"] == {"method": method}
        assert error["system_message"] == f"This address takes {answer.headers['Allow']}, not {method}"
        assert set(answer.headers["Allow"].split(", ")) == allowed
