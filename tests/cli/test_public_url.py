"""Where people reach the server: what links begin with comes from the settings alone."""

import pytest

from grantbook.model.errors import ConfigurationError
from grantbook.settings import Settings, load


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8420"),
        ({"host": "::1", "port": 80}, "http://[::1]:80"),
        ({"public_url": "https://grants.example.com"}, "https://grants.example.com"),
        ({"public_url": "https://example.com:8443/grants/"}, "https://example.com:8443/grants"),
        ({"public_url": "http://[::1]:8420"}, "http://[::1]:8420"),
    ],
)
def test_links_begin_with_the_public_url_or_the_address(given: dict[str, str | int], url: str) -> None:
    assert Settings(**given).url == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "odd", ["", "example.com", "ftp://x", "https://", "https://x?y=1", "https://x/#a", "https://x y"]
)
def test_what_is_no_public_url_is_refused(odd: str) -> None:
    with pytest.raises(ConfigurationError, match="public_url"):
        Settings(public_url=odd)


def test_the_environment_can_set_it() -> None:
    assert load(environment={"GRANTBOOK_PUBLIC_URL": "https://grants.example.com"}).url == "https://grants.example.com"
