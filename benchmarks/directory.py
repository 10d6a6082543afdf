"""D. Every list of the platform surface on one large organization, for an admin and for a plain member with many
grants; the department tree, and half of it moved."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from benchmarks import books, directory_questions, directory_world, servers
from benchmarks.books import Book
from benchmarks.directory_questions import Asked
from benchmarks.directory_world import Directory
from benchmarks.machine import SERVER_CORE, memory_mb, pinned
from benchmarks.measuring import counted_statements
from benchmarks.report import Cell, Table, verdict
from benchmarks.servers import Load, Request, Server
from benchmarks.world import ORGANIZATION_ID
from grantbook.http.app import create_app
from grantbook.model.facts import EntityRef
from grantbook.service.entities import lookup_key
from grantbook.store.port import Author, Lookup

_GRANTS_TO_OTHERS: Final = 2.5  # so many for each grant of the other parts: 500,000 by default
_SECONDS: Final = 1
_ENOUGH: Final = 20
_LONGEST_S: Final = 8


def run(directory: str | None, *, grants: int, seed: int) -> list[Table]:
    """The tables of this part, on a book of its own that has more grants than those of the others."""
    world = directory_world.make(int(grants * _GRANTS_TO_OTHERS), seed)
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=directory) as name:
        with pinned(SERVER_CORE):
            book = books.load(Path(name) / "directory.db", world)
            _claim_rules(book, world.kept["rule"])
        return _tables(Path(name), book, world)


def _tables(scratch: Path, book: Book, world: Directory) -> list[Table]:
    pages = [*directory_questions.lists(world), *directory_questions.wholes(world)]
    asked = [(each, is_admin) for each in pages for is_admin in (True, False) if _is_for(each, is_admin=is_admin)]
    counts = _statements(book, asked)
    table = Table(
        f"D. Lists of {len(world.users):,} members, {len(world.leaves):,} departments, {len(world.entities):,} "
        f"entities, {len(world.grants):,} grants",
        ("what", "for", "SQL statements", "p50 ms", "p99 ms", "CPU ms", "target ms, p50"),
        note="One client. The admin is the owner of the organization; the member has no capability and 900 grants of "
        "their own. Far in is three quarters of the way. Statements include the key and the caller's membership.",
    )
    memory = Table("D. Memory of the server, MB", ("when", "resident", "private"))
    with servers.grantbook(book, pages[0].requests[0]) as server:
        memory.add("after start and one list", *memory_mb(server.pid))
        for (each, is_admin), count in zip(asked, counts, strict=True):
            _row(table, scratch, server, each, book.key if is_admin else book.member_key, count)
        memory.add("after all of these lists", *memory_mb(server.pid))
        _row(table, scratch, server, directory_questions.moves(), book.key, None)
    return [table, memory]


def _is_for(asked: Asked, *, is_admin: bool) -> bool:
    return asked.for_admins if is_admin else asked.for_members


def _row(table: Table, scratch: Path, server: Server, asked: Asked, key: str, statements: int | None) -> None:
    load = _load(scratch, server, asked, key)
    who = "admin" if key == server.key else "member"
    target: Cell = None if asked.target_ms is None else verdict(load.p50_ms, asked.target_ms)
    table.add(asked.name, who, statements, load.p50_ms, load.p99_ms, 1e3 / load.per_cpu_s, target)


def _load(scratch: Path, server: Server, asked: Asked, key: str) -> Load:
    """For a second; for longer where that is too short for a handful of answers."""
    status, answer = server.ask(asked.requests[0], key)
    if status != 200:
        raise RuntimeError(f"{asked.name}: {status} {answer}")
    seconds = _SECONDS
    while True:  # a slow one may not answer in time for wrk to count it
        load = server.load(asked.requests, scratch, clients=1, seconds=seconds, key=key)
        if load.requests >= _ENOUGH or seconds >= _LONGEST_S:
            return load
        seconds *= 2


def _statements(book: Book, asked: Sequence[tuple[Asked, bool]]) -> list[int]:
    """Statements of the first request of each, through the application."""
    desk = book.open()
    app = create_app(desk)

    async def count(request: Request, key: str) -> int:
        headers = {"X-API-Key": key, "Content-Type": "application/json"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://benchmark", headers=headers) as client:
            with counted_statements() as counter:
                answer = await client.request(request.method, request.path, content=request.body)
        answer.raise_for_status()
        return counter.statements

    found = [
        asyncio.run(count(each.requests[0], book.key if is_admin else book.member_key)) for each, is_admin in asked
    ]
    desk.close()
    return found


def _claim_rules(book: Book, rule_ids: Sequence[str]) -> None:
    """Addresses of rules do not name the organization."""
    desk = book.open()
    with desk.store.transaction(ORGANIZATION_ID, Author(actor_id=books.OWNER.user_id)) as writing:
        keys = (lookup_key(EntityRef("rule", id_)) for id_ in rule_ids)
        writing.claim(Lookup.ENTITY, dict.fromkeys(keys, ORGANIZATION_ID))
    desk.close()
