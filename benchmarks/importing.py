"""The loading of part C as a user does it: `grantbook import` of a large organization into a new book."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import books, directory_world
from benchmarks.machine import SERVER_CORE, pinned
from benchmarks.report import Table, reached
from benchmarks.world import ORGANIZATION_ID, OWNER_ID
from grantbook.cli import lines
from grantbook.model.facts import Fact, Grant, Member, Organization, Role, RoleAssignment
from grantbook.model.governance import BASE_ROLES, OWNER
from grantbook.service.transfer import KINDS

TARGET_PER_S: Final = 40_000
_OWNER_ROLE: Final = "role_owner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """How many facts and grants there were, and what the process took for all of them, its start included."""

    facts: int
    grants: int
    wall_s: float
    cpu_s: float


def table(directory: Path, grants: int, seed: int = 2026) -> Table:
    """What the command took, and what SQLite alone takes for the same grants."""
    database = directory / "import.db"
    facts, done, alone = _measured(
        directory, f"sqlite:///{directory / 'others.db'}", f"sqlite:///{database}", grants, seed
    )
    with pinned(SERVER_CORE):
        bare = books.bare_rows_per_s(database, directory / "bare-import.db")
    result = Table(
        f"C. `grantbook import` of {grants:,} grants and {facts - grants:,} other facts into a new book",
        ("what", "seconds", "CPU seconds", "a second", "a CPU-second", "target a second"),
        note="Every fact is checked, written with its change and the hash chain, and indexed; the seconds are those of "
        "the whole command, which has both cores, making the indexes included. Grants alone: what the file takes more "
        "than one without its grants. The bare rows are as above: no history, no checks, one table.",
    )
    for what, count, took in (
        ("facts", facts, done),
        ("grants, all time counted", grants, done),
        ("grants alone", grants, alone),
    ):
        rate = count / took.wall_s
        target = reached(rate, TARGET_PER_S) if took is alone else None
        result.add(what, took.wall_s, took.cpu_s, rate, count / took.cpu_s, target)
    result.add("the same grants by bare sqlite3, no history", grants / bare, None, bare, None, None)
    return result


def grants_alone(directory: Path, url_of_others: str, url: str, grants: int, seed: int = 2026) -> Import:
    """What the grants take of the command: the file takes so much more than one without them, in a book of its own."""
    return _measured(directory, url_of_others, url, grants, seed)[2]


def _measured(directory: Path, url_of_others: str, url: str, grants: int, seed: int) -> tuple[int, Import, Import]:
    file, others = directory / "import.jsonl", directory / "others.jsonl"
    facts = _write(file, others, grants, seed)
    rest = _import(others, url_of_others, facts - grants, 0)
    done = _import(file, url, facts, grants)
    alone = Import(facts=grants, grants=grants, wall_s=done.wall_s - rest.wall_s, cpu_s=done.cpu_s - rest.cpu_s)
    return facts, done, alone


def _write(file: Path, others: Path, grants: int, seed: int) -> int:
    """The organization as lines, and without its grants; how many lines there are."""
    world = directory_world.make(grants, seed)
    at = world.grants[0].created_at
    facts: list[Fact] = [
        Organization(id=ORGANIZATION_ID, name="Benchmark", created_by=OWNER_ID, created_at=at, updated_at=at),
        Role(id=_OWNER_ROLE, name=OWNER, capabilities=BASE_ROLES[OWNER], is_base=True, created_at=at),
        Member(user_id=OWNER_ID, email="owner@example.org", state="active", created_at=at, updated_at=at),
        RoleAssignment(role_id=_OWNER_ROLE, user_id=OWNER_ID, assigned_at=at),
        *(fact for fact in world.directory if type(fact) in KINDS),
        *world.grants,
    ]
    assert sum(isinstance(fact, Grant) for fact in facts) == grants
    facts.sort(key=lambda fact: KINDS.index(type(fact)))
    with file.open("wb") as out:
        out.writelines(map(lines.line_of, facts))
    with others.open("wb") as out:
        out.writelines(lines.line_of(fact) for fact in facts if not isinstance(fact, Grant))
    return len(facts)


def _import(file: Path, url: str, facts: int, grants: int) -> Import:
    command = [sys.executable, "-m", "grantbook", "import", str(file), "--database", url]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"grantbook import ended with {process.returncode}")
    return Import(facts=facts, grants=grants, wall_s=wall_s, cpu_s=used.ru_utime + used.ru_stime)
