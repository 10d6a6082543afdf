"""The source as the house rules look at it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import grantbook

SOURCE: Final = Path(grantbook.__file__).parent
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file: its path below `src/grantbook`, its text and its tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The directory or file right below the package: "store", "bootstrap.py"."""
        return self.path.partition("/")[0]

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    def imports(self) -> Iterator[str]:
        """The full name of every module that is imported, wherever the import stands."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield "." * node.level + (node.module or "")

    def at(self, node: ast.stmt | ast.expr, name: str) -> str:
        """Where something is, as an editor opens it."""
        return f"{self.path}:{node.lineno} {name}"


@cache
def modules() -> tuple[Module, ...]:
    """Every module but the generated migrations."""
    return tuple(
        Module(path=str(path.relative_to(SOURCE)), text=path.read_text(), tree=ast.parse(path.read_text()))
        for path in sorted(SOURCE.rglob("*.py"))
        if path.parent.name != "versions"
    )
