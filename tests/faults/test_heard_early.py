"""A commit that was heard of before it can be read, as a distributed database may have it."""

from typing import Any

from grantbook.store.feed import Feed


def _no_connection() -> Any:
    raise AssertionError("nothing is followed here")


def test_it_counts_as_moved_until_it_was_read() -> None:
    feed = Feed(_no_connection, staleness_s=0)
    feed.note("org_1", 5)
    seen = feed.version()  # whoever looks now, and still reads revision 4, has to look again
    assert feed.has_moved("org_1", version=seen, revision=4)
    assert not feed.has_moved("org_1", version=seen, revision=5)
    assert not feed.has_moved("org_2", version=seen, revision=4)
    feed.close()
