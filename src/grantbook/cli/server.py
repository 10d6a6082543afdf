"""`grantbook serve`: the REST server."""

from typing import Final

import click

from grantbook import settings
from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.model.errors import ConfigurationError

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
@click.option("--metrics/--no-metrics", default=None, help="Answer GET /metrics to whoever asks [default: no].")
@click.option("--vocabulary", "vocabulary_file", metavar="FILE", help="A TOML file with further entity types.")
def serve(
    *,
    database: str | None,
    host: str | None,
    port: int | None,
    public_url: str | None,
    workers: int | None,
    cache_mb: int | None,
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
            "metrics": metrics,
            "vocabulary_file": vocabulary_file,
        }
    )
    try:
        from grantbook.serve import serve as serve_http  # late: other commands start without a server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_SERVER:
            raise
        raise ConfigurationError(f"the server needs {error.name}: pip install 'grantbook[server]'") from error
    serve_http(given)
    return Exit.DONE
