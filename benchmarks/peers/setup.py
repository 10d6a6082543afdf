"""`python -m benchmarks.peers.setup`: get the peers into var/peers, each at its pinned version, unless it is there.

Servers in Go are built by `go install`, Cerbos comes as a binary in an npm package, and Python packages go to a virtual
environment of their own: none of them is a dependency of Grantbook. What cannot be had is a sentence, not an end.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers.versions import GO_MODULES, NPM_PACKAGES, PYTHON_PACKAGES, version

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PLACE: Final = ROOT / "var" / "peers"
PYTHON: Final = PLACE / "python" / "bin" / "python"
_CERBOS: Final = Path("node_modules", "@cerbos", "cerbos-linux-x64", "cerbos-linux-x64")
_GO_PLACES: Final = ("/usr/local/go/bin", "/usr/lib/go/bin")
_POSTGRES_PLACES: Final = "/usr/lib/postgresql"
_LAST_WORDS: Final = 300


class Missing(Exception):
    """A peer, or a tool that it needs, cannot be had here. The message says why."""


def program(name: str) -> Path:
    """The executable of a server or of the load generator, built or downloaded now if need be. Raises Missing."""
    if name in NPM_PACKAGES:
        return _from_npm(name)
    path = _place(name) / name
    if not path.exists():
        go = _tool("go", "install Go 1.26 or newer", *_GO_PLACES)
        print(f"building {GO_MODULES[name]}: this takes minutes, once", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        _run([go, "install", GO_MODULES[name]], name, cwd=path.parent, GOBIN=str(path.parent))
    return path


def python_with(name: str) -> Path:
    """The interpreter of the environment that has the package. Raises Missing."""
    mark = PLACE / "python" / PYTHON_PACKAGES[name]
    if not mark.exists():
        if not PYTHON.exists():
            _run([sys.executable, "-m", "venv", str(PLACE / "python")], name)
        _run([str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check", PYTHON_PACKAGES[name]], name)
        mark.touch()
    return PYTHON


def postgres(name: str) -> Path:
    """An executable of PostgreSQL, which the distribution installs. Raises Missing."""
    places = sorted(Path(_POSTGRES_PLACES).glob("*/bin"), reverse=True)
    return Path(_tool(name, "install PostgreSQL (Debian: apt-get install postgresql)", *map(str, places)))


def _from_npm(name: str) -> Path:
    place = _place(name)
    if not (place / _CERBOS).exists():
        npm = _tool("npm", "install Node.js with npm")
        place.mkdir(parents=True, exist_ok=True)
        _run([npm, "install", "--no-save", "--no-audit", "--prefix", str(place), NPM_PACKAGES[name]], name)
    return place / _CERBOS


def _place(name: str) -> Path:
    """Another one for each version, so that a new pin is not answered with an old program."""
    return PLACE / f"{name}-{version(name)}"


def _tool(name: str, advice: str, *places: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    if found is None:
        raise Missing(f"there is no `{name}` here: {advice}")
    return found


def _run(command: list[str], name: str, cwd: Path | None = None, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())[-_LAST_WORDS:]
        raise Missing(f"{name} could not be installed: {words}")


def main() -> int:
    """Get everything; 1 when something cannot be had."""
    wanted = [(program, name) for name in (*GO_MODULES, *NPM_PACKAGES)]
    wanted += [(python_with, name) for name in PYTHON_PACKAGES] + [(postgres, "initdb")]
    missing = 0
    for get, name in wanted:
        try:
            print(f"{name}: {get(name)}")
        except Missing as error:
            missing += 1
            print(f"{name}: missing: {error}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
