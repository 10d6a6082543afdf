"""`grantbook config`: the settings in force and where each came from."""

import re
from dataclasses import asdict, replace
from typing import Any, Final

import click

from grantbook import settings
from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_table
from grantbook.model.errors import ConfigurationError

_MASK: Final = "***"
_PASSWORD: Final = re.compile(r"(?<=://)([^:@/?]*):.*@")
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)


@click.group()
def config() -> None:
    """The settings of this installation."""


@config.command()
@options.as_json
def show(*, as_json: bool) -> int:
    """Each setting with its value and its source: the environment, a file, or the default. Secrets are masked.

    Exit code 3 where one has a value that it cannot have.
    """
    found = [replace(each, value=masked(each.value)) for each in settings.sources()]
    if as_json:
        print_json({"settings": [asdict(each) for each in found]})
    else:
        rows = [(each.name, "" if each.value is None else str(each.value), each.source) for each in found]
        print_table(("setting", "value", "source"), rows)
    problems = [each.problem for each in found if each.problem is not None]
    if problems:
        raise ConfigurationError("; ".join(problems))
    return Exit.DONE


def masked(value: Any) -> Any:
    """The value, without the password that a database URL may hold before the host or as a parameter."""
    if value is None or isinstance(value, int):
        return value
    return _SECRET_PARAMETER.sub(rf"\1{_MASK}", _PASSWORD.sub(rf"\1:{_MASK}@", str(value)))
