"""`grantbook serve`: the REST server."""

from typing import Final

import click

from grantbook import settings
from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.model.errors import ConfigurationError
from grantbook.model.limits import (
    DEFAULT_CONNECTIONS,
    DEFAULT_STALENESS_MS,
    MAX_CONNECTIONS,
    MAX_STALENESS_MS,
    MIN_CONNECTIONS,
    MIN_STALENESS_MS,
)

_OF_THE_SERVER: Final = frozenset(
    {"fastapi", "httptools", "prometheus_client", "pydantic", "starlette", "uvicorn", "uvloop"}
)


@click.command()
@options.database
@click.option("--host", metavar="HOST", help="The address to listen on [default: 127.0.0.1].")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on [default: 8420].")
@click.option(
    "--public-url", metavar="URL", help="Where people reach it: links begin with it [default: host and port]."
)
@click.option("--workers", type=click.IntRange(1, 64), help="How many processes [default: 1].")
@click.option(
    "--cache-mb", type=click.IntRange(0, 1_000_000), help="Memory for facts, a process, in MiB [default: 256]."
)
@click.option(
    "--connections",
    type=click.IntRange(MIN_CONNECTIONS, MAX_CONNECTIONS),
    help=f"To PostgreSQL, a process [default: {DEFAULT_CONNECTIONS}].",
)
@click.option(
    "--staleness-ms",
    type=click.IntRange(MIN_STALENESS_MS, MAX_STALENESS_MS),
    help=f"On PostgreSQL, how old an answer may be at most [default: {DEFAULT_STALENESS_MS}].",
)
@click.option("--replica", metavar="URL", help="A PostgreSQL that replicates the database: lists are read there.")
@click.option("--metrics/--no-metrics", default=None, help="Answer GET /metrics to whoever asks [default: no].")
@options.vocabulary
def serve(
    *,
    database: str | None,
    host: str | None,
    port: int | None,
    public_url: str | None,
    workers: int | None,
    cache_mb: int | None,
    connections: int | None,
    staleness_ms: int | None,
    replica: str | None,
    metrics: bool | None,
    vocabulary_file: str | None,
) -> int:
    """Serve the REST API until interrupted."""
    given = settings.load(
        {
            "database": database,
            "host": host,
            "port": port,
            "public_url": public_url,
            "workers": workers,
            "cache_mb": cache_mb,
            "connections": connections,
            "staleness_ms": staleness_ms,
            "replica": replica,
            "metrics": metrics,
            "vocabulary_file": vocabulary_file,
        }
    )
    try:
        from grantbook.serve import serve as serve_http  # late: other commands start without a server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_SERVER:
            raise
        raise ConfigurationError(
            f"the server needs {error.name}: install grantbook with its extra, as in pip install '.[server]'"
        ) from error
    serve_http(given)
    return Exit.DONE
