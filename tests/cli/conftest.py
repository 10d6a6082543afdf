"""A shell of its own for each test: an empty directory, no GRANTBOOK_* settings, and the real command."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grantbook.cli import grantbook
from grantbook.cli.errors import run

TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error document on stderr."""
        return json.loads(self.err)["error"]


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs `grantbook` in a directory, on `book.db` there unless a test says otherwise."""

    directory: Path
    environment: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    @property
    def book(self) -> Path:
        return self.directory / "book.db"

    def __call__(self, *arguments: str) -> Result:
        """In this process: all but the start of one is the same."""
        self.capture.readouterr()
        code = run(grantbook, arguments)
        shown = self.capture.readouterr()
        return Result(code, shown.out, shown.err)

    def process(self, *arguments: str, python: tuple[str, ...] = ("-m", "grantbook")) -> Result:
        """In a process of its own."""
        done = subprocess.run(
            [sys.executable, "-W", "error", *python, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A directory without a database; GRANTBOOK_DATABASE names one that could be there."""
    for name in [name for name in os.environ if name.startswith("GRANTBOOK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRANTBOOK_DATABASE", "sqlite:///book.db")
    return Shell(tmp_path, monkeypatch, capsys)


@pytest.fixture(scope="session")
def demo_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo organization in a file, made once by the real command."""
    book = tmp_path_factory.mktemp("demo") / "book.db"
    made = subprocess.run(
        [sys.executable, "-m", "grantbook", "demo", "--database", f"sqlite:///{book}"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return book


@pytest.fixture
def demo(shell: Shell, demo_book: Path) -> Shell:
    """A shell on a copy of the demo organization."""
    shutil.copy(demo_book, shell.book)
    return shell
