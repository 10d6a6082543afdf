"""A process that is forked from one that has a book open: what it inherited it cannot use, what it opens is whole."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from grantbook import Grantbook
from grantbook.model.errors import ConfigurationError
from grantbook.store.history import verify
from tests import postgres

PROCESS: Final = """
import os, signal, sqlite3, sys, threading, time
from contextlib import contextmanager

from grantbook import Grantbook
from grantbook.model.errors import ConfigurationError

url, how = sys.argv[1:]
signal.alarm(60)
book = Grantbook(url)
acme = book.create_organization("Acme", owner_email="ada@example.org", owner_id="usr_ada", organization_id="org_acme")
acme.register_entity("assistant", "asst_1", name="Help desk", owner=("user", "usr_ada"))
for user in ("usr_kim", "usr_lee"):
    acme.invite_member(f"{user}@example.org", user_id=user, is_active=True)


def give(acme, user):
    acme.create_grant("assistant", "asst_1", ("user", user), "read")


def may(acme, user):
    return acme.check(user, "read", "assistant", "asst_1").allowed


def refused(*call):
    try:
        call[0](*call[1:])
    except ConfigurationError as error:
        return str(error)
    raise AssertionError("it was answered")


def in_a_thread(block):
    '''Somebody else is in it until this process ends, or its child.'''
    is_in, never = threading.Event(), threading.Event()

    def stay():
        with block:
            is_in.set()
            never.wait()

    threading.Thread(target=stay, daemon=True).start()
    is_in.wait()


def fail(*_, **__):
    raise AssertionError("a connection was made, which may wait for a thread that is not there")


@contextmanager
def question():
    with desk.facts, desk.facts.present.reading():
        seen.append(desk.facts.present.tip("org_acme"))
        yield


seen = []
desk = book.desk
is_sqlite = url.startswith("sqlite")
engine = desk.store._dialect.engine
ask = "SELECT 1" if is_sqlite else "SELECT pg_backend_pid()"
with engine.connect() as connection:
    backend = connection.exec_driver_sql(ask).scalar()
if not is_sqlite:
    while desk.facts.present.version() != desk.facts.present.version():  # else nothing is answered from memory
        time.sleep(0.01)
assert not may(acme, "usr_kim")
if how == "within a reading":
    in_a_thread(desk.store.snapshot("org_acme"))
elif how == "within a question":
    in_a_thread(question())
elif how == "within a write":
    in_a_thread(desk.store.together())

ready, tell = os.pipe()
child = os.fork()
if not child:
    signal.alarm(60)
    code = 1
    try:
        if how != "idle":
            sqlite3.connect = sqlite3.dbapi2.connect = fail
        for call in ((may, acme, "usr_kim"), (give, acme, "usr_kim"), (book.organization, "org_acme")) * 2:
            assert "open it anew" in refused(*call)
        book.close()
        if how != "idle" and is_sqlite:
            assert "forked while another thread" in refused(Grantbook, url)
        else:
            book = Grantbook(url)
            os.read(ready, 1)
            give(book.organization("org_acme"), "usr_kim")
        code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)
if how == "idle":
    assert not may(acme, "usr_lee")
    give(acme, "usr_lee")
    with engine.connect() as connection:
        assert connection.exec_driver_sql(ask).scalar() == backend
    book.close()
os.write(tell, b"x")
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if how == "within a question":  # which goes on as if nothing had been
    assert desk.facts.present.tip("org_acme") == seen[0]
sys.exit(code)
"""


@pytest.fixture(params=["postgres"] if postgres.IS_MEANT else ["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/book.db"
    else:
        made = postgres.make_database()
        yield made
        postgres.drop_database(made)


@pytest.mark.parametrize("how", ["idle", "within a reading", "within a question", "within a write"])
def test_a_forked_process(url: str, how: str) -> None:
    """It writes after the first one has closed its book, which would take SQLite's log away."""
    done = subprocess.run([sys.executable, "-c", PROCESS, url, how], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Grantbook(url) as book:
        grants = book.organization("org_acme").list_grants().items
        assert {grant.grantee_id for grant in grants} == _written(url, how)
        verify(book.desk.store, "org_acme")


def _written(url: str, how: str) -> set[str]:
    if how == "idle":
        return {"usr_kim", "usr_lee"}
    return set() if url.startswith("sqlite") else {"usr_kim"}


def test_a_book_that_is_closed_neither_answers_nor_writes(url: str) -> None:
    with Grantbook(url) as book:
        acme = book.create_organization("Acme", owner_email="ada@example.org", owner_id="usr_ada")
        acme.register_entity("assistant", "asst_1", name="Help desk", owner=("user", "usr_ada"))
        assert acme.check("usr_ada", "read", "assistant", "asst_1").allowed
    revision = 2
    for call in (
        partial(acme.check, "usr_ada", "read", "assistant", "asst_1"),
        partial(acme.create_department, "Sales"),
        partial(book.organization, acme.id),
        acme.list_grants,
    ):
        with pytest.raises(ConfigurationError, match="this book is closed: open it anew"):
            call()
    with Grantbook(url) as again:
        assert again.desk.store.head(acme.id).revision == revision
