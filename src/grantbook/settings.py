"""Settings, read once: flags, then `GRANTBOOK_*` in the environment, then a TOML file, then the defaults here."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from grantbook.model.errors import ConfigurationError
from grantbook.model.limits import (
    DEFAULT_CACHE_MB,
    DEFAULT_CONNECTIONS,
    DEFAULT_STALENESS_MS,
    MAX_CONNECTIONS,
    MAX_STALENESS_MS,
    MIN_CONNECTIONS,
    MIN_STALENESS_MS,
)

DEFAULT_FILE: Final = "grantbook.toml"
_PREFIX: Final = "GRANTBOOK_"
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}
_RANGES: Final = {
    "port": (0, 65535),
    "workers": (1, 64),
    "cache_mb": (0, 1_000_000),
    "connections": (MIN_CONNECTIONS, MAX_CONNECTIONS),
    "staleness_ms": (MIN_STALENESS_MS, MAX_STALENESS_MS),
}
_PUBLIC_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an installation can set. Nothing here opens what would otherwise be closed."""

    database: str = "sqlite:///grantbook.db"
    host: str = "127.0.0.1"
    port: int = 8420
    public_url: str | None = None
    workers: int = 1
    cache_mb: int = DEFAULT_CACHE_MB
    connections: int = DEFAULT_CONNECTIONS
    staleness_ms: int = DEFAULT_STALENESS_MS
    replica: str | None = None
    organization: str | None = None
    vocabulary_file: str | None = None
    metrics: bool = False
    log_level: str = "info"

    def __post_init__(self) -> None:
        for field in fields(self):
            _require_possible(field.name, getattr(self, field.name))

    @property
    def url(self) -> str:
        """Where people reach the server: the public URL, or without one where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sourced:
    """A setting, where its value came from, and what is wrong with it, if anything is."""

    name: str
    value: Any
    source: str
    problem: str | None = None


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: str | None = None,
) -> Settings:
    """The settings in force. Raises ConfigurationError for an unknown or malformed one, and names it."""
    found = sources(flags, environment=environment, file=file)
    for each in found:
        if each.problem is not None:
            raise ConfigurationError(each.problem)
    return Settings(**{each.name: each.value for each in found})


def sources(
    flags: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    file: str | None = None,
) -> list[Sourced]:
    """Every setting with its value and source, in the order of `Settings`, also those that `load` refuses.

    Raises ConfigurationError for a file that cannot be read, or has an unknown setting.
    """
    env = os.environ if environment is None else environment
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    path = file or env.get(_PREFIX + "CONFIG")
    written = _read(path) if path else _read(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else {}
    found: list[Sourced] = []
    for field in fields(Settings):
        name, variable = field.name, _PREFIX + field.name.upper()
        if name in given:
            found.append(_sourced(name, name, given[name], "flag"))
        elif variable in env:
            found.append(_sourced(variable, name, env[variable], variable))
        elif name in written:
            found.append(_sourced(name, name, written[name], path or DEFAULT_FILE))
        else:
            found.append(Sourced(name=name, value=field.default, source="default"))
    return found


def _sourced(shown: str, name: str, value: Any, source: str) -> Sourced:
    try:
        typed = _typed(shown, name, value)
        _require_possible(name, typed)
    except ConfigurationError as error:
        return Sourced(name=name, value=value, source=source, problem=error.explanation)
    return Sourced(name=name, value=typed, source=source)


def _require_possible(name: str, value: Any) -> None:
    """Raises ConfigurationError for a value, of the right type, that the setting cannot have."""
    if name in _RANGES:
        least, most = _RANGES[name]
        if not least <= value <= most:
            raise ConfigurationError(f"{name} must be {least} to {most}")
    elif name == "replica" and value is not None and not value.startswith(("postgresql:", "postgres:")):
        raise ConfigurationError("replica must be like postgresql://user@host:5432/name")
    elif name == "public_url" and value is not None and not _PUBLIC_URL.fullmatch(value):
        raise ConfigurationError("public_url must be like https://grants.example.com or https://example.com/grants")
    elif name == "log_level" and value not in {"debug", "info", "warning", "error"}:
        raise ConfigurationError("log_level must be debug, info, warning or error")


def _read(path: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the settings file {path}: {error}") from error
    if unknown := sorted(document.keys() - {field.name for field in fields(Settings)}):
        raise ConfigurationError(f"{path} has unknown settings: {', '.join(unknown)}")
    return document


def _typed(shown: str, name: str, value: Any) -> Any:
    if name == "metrics":
        if str(value).lower() not in _TRUTHS:
            raise ConfigurationError(f"{shown} must be true or false, not {value!r}")
        return _TRUTHS[str(value).lower()]
    if name not in _RANGES:
        if not isinstance(value, str):
            raise ConfigurationError(f"{shown} must be a text")
        return value
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{shown} must be a whole number, not {value!r}") from error
