"""A cURL command as text, understood as far as API documentation uses it."""

import shlex
from dataclasses import dataclass, field
from typing import Self

import httpx


@dataclass(frozen=True)
class Curl:
    """What the command would send."""

    method: str
    url: httpx.URL
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @classmethod
    def parse(cls, text: str, **variables: str) -> Self:
        """The command, with its shell variables filled in."""
        for name, value in variables.items():
            text = text.replace(f"${name}", value)
        words = iter(shlex.split(text.replace("\\\n", " ")))
        assert next(words) == "curl"
        method, url, headers, body = "GET", "", {}, None
        for word in words:
            if word == "-X":
                method = next(words)
            elif word == "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            elif word == "-d":
                body = next(words).encode()
            else:
                assert not word.startswith("-"), f"teach this parser about {word}"
                assert not url
                url = word
        return cls(method=method, url=httpx.URL(url), headers=headers, body=body)

    def send(self, client: httpx.Client) -> httpx.Response:
        """The same request, to the host of the client."""
        return client.request(self.method, self.url.raw_path.decode(), headers=self.headers, content=self.body)
