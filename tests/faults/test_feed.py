"""The feed of changes, on a real PostgreSQL: what it may rely on, and what ends that."""

import threading
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any, Final

import psycopg
import pytest

from grantbook.store.feed import Feed
from tests import postgres
from tests.faults.proxy import Kind, Proxy

STALENESS_S: Final = 0.4
_PATIENCE_S: Final = 30


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    url = postgres.make_database(is_empty=True)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    with Proxy(database) as proxy:
        yield proxy


@pytest.fixture
def feed(proxy: Proxy) -> Iterator[Feed]:
    feed = Feed(lambda: psycopg.connect(proxy.url, autocommit=True, connect_timeout=5), STALENESS_S)
    yield feed
    proxy.heal()
    feed.close()


def until(holds: Callable[[], bool]) -> None:
    end = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < end
        sleep(0.01)


def is_known(feed: Feed) -> bool:
    """Whether the feed says twice that nothing was heard meanwhile."""
    return feed.version() == feed.version()


def notify(database: str, text: str) -> None:
    with postgres.administration(database) as connection:
        connection.execute("SELECT pg_notify('grantbook', %s)", (text,))


def test_what_is_told_late_does_not_hide_what_was_told_before() -> None:
    """This process made revision 5 itself, and is told of revision 4, by another one, only afterwards."""
    feed = Feed(lambda: psycopg.connect("host=127.0.0.1 port=1"), 0)
    before = feed.version()
    feed.note("org_acme", 5)
    feed.note("org_acme", 4)
    assert feed.has_moved("org_acme", version=before, revision=4)
    assert not feed.has_moved("org_acme", version=before, revision=5)
    feed.close()


def test_a_change_is_heard(feed: Feed, database: str) -> None:
    until(lambda: is_known(feed))
    version = feed.version()
    assert not feed.has_moved("org_acme", version=version, revision=6)
    notify(database, "org_acme 7")
    until(lambda: feed.has_moved("org_acme", version=version, revision=6))
    assert not feed.has_moved("org_acme", version=version, revision=7)
    assert not feed.has_moved("org_other", version=version, revision=0)


def test_revisions_that_a_database_lost_are_not_waited_for(feed: Feed, proxy: Proxy) -> None:
    """After a fail-over revisions may be counted again from a smaller number."""
    until(lambda: is_known(feed))
    feed.note("org_acme", 7)
    assert feed.has_moved("org_acme", version=feed.version(), revision=5)
    proxy.cut(Kind.FEED)
    until(lambda: not feed.has_moved("org_acme", version=feed.version(), revision=5))
    assert proxy.opened[Kind.FEED] > 1


@pytest.mark.parametrize("weather", ["cut", "delayed", "still"])
def test_what_cannot_be_heard_is_not_relied_on(feed: Feed, proxy: Proxy, weather: str) -> None:
    until(lambda: is_known(feed))
    version = feed.version()
    if weather == "cut":
        proxy.refuses = True
        proxy.cut(Kind.FEED)
    elif weather == "delayed":
        proxy.delay(Kind.FEED, 10)
    else:
        proxy.stand_still(Kind.FEED)
    until(lambda: not is_known(feed))
    assert feed.has_moved("org_acme", version=version, revision=10**6)
    proxy.heal()
    if weather == "still":  # the same connection goes on, or a new one does
        until(lambda: is_known(feed))
    proxy.cut(Kind.FEED)
    until(lambda: is_known(feed))
    assert feed.has_moved("org_acme", version=version, revision=10**6), "what was said meanwhile was not heard"


def test_a_connection_that_stands_still_from_its_first_word_on_is_given_up(feed: Feed, proxy: Proxy) -> None:
    proxy.stand_still(Kind.FEED)
    assert not is_known(feed)
    until(lambda: proxy.opened[Kind.FEED] > 1)
    proxy.heal()
    until(lambda: is_known(feed))


def test_a_feed_that_stands_still_is_closed_at_once(proxy: Proxy) -> None:
    feed = Feed(lambda: psycopg.connect(proxy.url, autocommit=True), STALENESS_S)
    proxy.stand_still(Kind.FEED)
    feed.version()
    until(lambda: proxy.opened[Kind.FEED] > 0)
    begin = monotonic()
    feed.close()
    assert monotonic() - begin < 5
    assert "grantbook-feed" not in {thread.name for thread in threading.enumerate()}


def test_whatever_goes_wrong_the_feed_goes_on(database: str) -> None:
    failures: Iterator[Exception] = iter([ValueError("out of range"), OSError("too many files")])

    def connect() -> psycopg.Connection[Any]:
        for error in failures:
            raise error
        return psycopg.connect(database, autocommit=True)

    feed = Feed(connect, STALENESS_S)
    until(lambda: is_known(feed))
    feed.close()


def test_a_pooler_that_does_not_keep_sessions_is_not_relied_on(feed: Feed, proxy: Proxy) -> None:
    """Behind one the heartbeat is answered by a process that does not listen."""
    proxy.keeps_sessions = False
    assert not is_known(feed)
    until(lambda: proxy.opened[Kind.FEED] > 2)
    assert not is_known(feed)
    proxy.heal()
    until(lambda: is_known(feed))
