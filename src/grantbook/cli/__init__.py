"""The command line: one file per noun, each command one use-case of `service/`.

What a person reads goes to stdout as text, with `--json` as one document in the words of the wire; errors go to
stderr. The exit code answers scripts: see `errors.Exit`.
"""

import os
import sys
from io import TextIOWrapper

import click

from grantbook.cli.access import check, what, who, why
from grantbook.cli.config import config
from grantbook.cli.demo import demo
from grantbook.cli.errors import run
from grantbook.cli.grants import grants
from grantbook.cli.history import verify
from grantbook.cli.keys import keys
from grantbook.cli.migrate import migrate
from grantbook.cli.organizations import init
from grantbook.cli.output import flush
from grantbook.cli.server import serve
from grantbook.cli.transfer import export, import_


@click.group(
    epilog="Exit codes: 0 allowed or done; 1 denied (check and why); 2 what was given is not valid (a flag, an "
    "argument, a line of an import); 3 any other error (settings, files, the database, rights)."
)
@click.version_option(package_name="grantbook", message="grantbook %(version)s")
def grantbook() -> None:
    """The access-grant server: who may do what on which entity, why, and since when."""


for _command in (init, serve, demo, check, why, who, what, grants, keys, export, import_, config, migrate, verify):
    grantbook.add_command(_command)


def main() -> None:
    """Run the command that the arguments name, and end the process with its exit code.

    What the encoding of a terminal or a pipe does not have is written as Python writes it in a text.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = run(grantbook, sys.argv[1:])
    try:
        flush()
    except OSError:  # told already; Python would try once more at its end, and end with a code of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
