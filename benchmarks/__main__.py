"""`python -m benchmarks`: seed, measure every part in turn, print the tables and keep them in benchmarks/results/."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import books, databases, directory, feed, machine, parts, report, servers, world
from benchmarks.parts import Bench
from benchmarks.peers import big, compare
from benchmarks.questions import Questions
from benchmarks.report import Table

PARTS: Final[dict[str, Callable[[Bench], list[Table]]]] = {
    "http": parts.traffic,
    "lists": parts.lists,
    "load": parts.loading,
    "databases": databases.run,
}
_PEERS: Final = "peers"
_DIRECTORY: Final = "directory"
_FEED: Final = "feed"
_RESULTS: Final = Path(__file__).with_name("results")
_SMALL: Final = 2_000


def main() -> int:
    """0 when everything ran, whether or not it was fast."""
    options = _options()
    if missing := servers.missing_tools():
        print(f"install {' and '.join(missing)} first (Debian: apt-get install wrk util-linux)", file=sys.stderr)
        return 2
    begin, busy = time.perf_counter(), os.getloadavg()[0]
    tables = _own(options) if set(options.only) & PARTS.keys() else []
    if _DIRECTORY in options.only:
        tables += directory.run(options.directory, grants=options.grants, seed=options.seed)
    if _FEED in options.only:
        tables += feed.run(options.directory)
    if _PEERS in options.only:
        tables += compare.run(
            options.directory,
            grants=options.grants,
            seed=options.seed,
            seconds=options.seconds,
            only=options.beside,
        )
    if options.big:
        tables += big.run(options.directory, organizations_=options.big, seed=options.seed, only=options.beside)
    now = datetime.now(UTC)
    facts = {"date": f"{now:%Y-%m-%d}", "grants": f"{options.grants:,}", "seed": str(options.seed)}
    facts |= machine.description() | {"load before": f"{busy:.1f}", "took": f"{time.perf_counter() - begin:.0f} s"}
    print(report.write(_RESULTS, f"{now:%Y%m%dT%H%M%SZ}", facts, tables))
    return 0


def _own(options: argparse.Namespace) -> list[Table]:
    """The parts that are about Grantbook alone."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.directory) as name:
        bench = _bench(Path(name), options)
        measured = {part: PARTS[part](bench) for part in ("load", "databases", "lists", "http") if part in options.only}
    return [table for part in PARTS for table in measured.get(part, ())]


def _bench(directory: Path, options: argparse.Namespace) -> Bench:
    """Both books are loaded on the core that the servers will run on."""
    with machine.pinned(machine.SERVER_CORE):
        large = books.load(directory / "large.db", world.make(options.grants, options.seed))
        small = books.load(directory / "small.db", world.make(min(_SMALL, options.grants), options.seed))
    return Bench(
        directory=directory,
        large=large,
        small=small,
        about_large=Questions(large.world),
        about_small=Questions(small.world),
        seconds=options.seconds,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Grantbook on embedded SQLite.")
    every = (*PARTS, _DIRECTORY, _FEED, _PEERS)
    parser.add_argument("--only", type=_parts, default=None, help=f"some of {','.join(every)}")
    parser.add_argument("--beside", type=_names, default=(), help="only these peers, or databases of --big")
    parser.add_argument("--big", type=int, nargs="?", const=1_000, help="a book of so many organizations (1,000)")
    parser.add_argument("--grants", type=int, default=200_000, help="grants in the large book (default: 200,000)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds of load a line (default: 3)")
    parser.add_argument("--seed", type=int, default=2026, help="of the data (default: 2026)")
    parser.add_argument("--directory", help="where the databases go meanwhile (default: the system's)")
    options = parser.parse_args()
    if options.only is None:
        options.only = () if options.big else every
    return options


def _parts(text: str) -> tuple[str, ...]:
    wanted = tuple(text.split(","))
    if unknown := set(wanted) - {*PARTS, _DIRECTORY, _FEED, _PEERS}:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return wanted


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())
