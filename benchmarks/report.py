"""What was measured, as tables for people (Markdown) and for programs (JSON)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Cell = str | float | None


@dataclass
class Table:
    """One part of the run. Numbers are kept as measured and rounded only when shown."""

    title: str
    columns: tuple[str, ...]
    note: str = ""
    rows: list[tuple[Cell, ...]] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """A row, with a cell for each column; None shows as a dash."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)

    def markdown(self) -> str:
        """The table under its title; columns of numbers are aligned to the right."""
        marks = ["---"] + ["--:"] * (len(self.columns) - 1)
        lines = [_line(self.columns), _line(marks), *(_line([shown(cell) for cell in row]) for row in self.rows)]
        return "\n".join([f"### {self.title}", "", *([self.note, ""] if self.note else []), *lines, ""])

    def document(self) -> dict[str, Any]:
        """Rows by name of column."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "note": self.note, "rows": rows}


def shown(cell: Cell) -> str:
    """Three significant digits, thousands apart; texts as they are."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if cell == int(cell) and abs(cell) < 1e6:
        return f"{int(cell):,}"
    if abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.3g}" if abs(cell) >= 0.001 else f"{cell:.1g}"


def verdict(measured: float, target: float) -> str:
    """Whether a time kept its bound."""
    return f"< {shown(target)}: {'yes' if measured < target else 'NO'}"


def reached(measured: float, target: float) -> str:
    """Whether there is as much as there shall be at least."""
    return f">= {shown(target)}: {'yes' if measured >= target else 'NO'}"


def write(directory: Path, name: str, facts: dict[str, str], tables: Sequence[Table]) -> str:
    """Write `name`.md and `name`.json into the directory; the Markdown."""
    head = ", ".join(f"{key} {value}" for key, value in facts.items())
    text = "\n".join([f"{head}\n", *(table.markdown() for table in tables)])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.md").write_text(text, encoding="utf-8")
    document = {"run": facts, "tables": [table.document() for table in tables]}
    (directory / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return text


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
