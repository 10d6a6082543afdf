"""What goes to stdout: one JSON document, or text that is a table on a terminal and tab-separated elsewhere."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

_UNBOUNDED = 10_000  # columns: a pipe has no edge to wrap at


def print_json(document: Any) -> None:
    """The only thing on stdout in `--json` mode."""
    is_unicode = not sys.stdout or sys.stdout.encoding.lower().startswith("utf")
    click.echo(json.dumps(document, indent=2, ensure_ascii=not is_unicode, default=msgspec.to_builtins))


def flush() -> None:
    """Raises OSError for what cannot be written. There may be no stdout at all."""
    if sys.stdout:
        sys.stdout.flush()


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str | None]]) -> None:
    """Rows under headings; None is an empty cell. Where stdout is no terminal, one line a row, cells between tabs."""
    cells = [[_one_line(cell or "") for cell in row] for row in rows]
    console = _console()
    if not console.is_terminal:
        for row in [list(headings), *cells]:
            click.echo("\t".join(row))
        return
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_page(
    headings: Sequence[str], rows: Sequence[Sequence[str | None]], what: str, *, skip: int, total: int, has_more: bool
) -> None:
    """A part of a list, and on stderr how to see the next one, if there is one."""
    print_table(headings, rows)
    if has_more:
        click.echo(f"{len(rows)} of {total} {what} shown; the next ones: --skip {skip + len(rows)}", err=True)


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values, one a line, the values aligned."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {_one_line(value)}")


def print_secret(pairs: Sequence[tuple[str, str]]) -> None:
    """Names and values, one of which is a key that cannot be shown again."""
    print_pairs(pairs)
    click.echo("\nThe key is shown this once: only a digest of it is kept. Store it where secrets belong.")


def print_tree(tree: Tree) -> None:
    """A tree, with lines as long as they need to be where stdout is no terminal."""
    _console().print(tree)


def text(content: str, style: str = "") -> Text:
    """Text that is shown as it is: names that look like markup stay names."""
    return Text(_one_line(content), style=style)


def _console() -> Console:
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED
    return console


def _one_line(value: str) -> str:
    """Without what would move a terminal's cursor or end a row."""
    return value if value.isprintable() else "".join(each if each.isprintable() else " " for each in value)
