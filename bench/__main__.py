"""`python -m bench` measures all and writes docs/performance.md; `python -m bench PART…` prints some."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import fill

from bench.machine import facts
from bench.report import WIDTH, Table, grid

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
# Lasts over a restart, so it is on a disk; /tmp is often memory, where nothing is ever synced.
ON_DISK = Path("/var/tmp")  # each part makes folders of its own in it

OPENING = (
    "What was measured on one machine in one run of `make bench`, which writes this page. What is compared "
    "was measured in turns (A B A B), and a figure is the median of its rounds: compare figures within a "
    'table. `make bench PARTS="accept starting"` measures some parts and prints them.'
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each cell of each round is measured, and how many rounds."""

    seconds: float
    rounds: int


PARTS = {
    "accept": Plan(seconds=2, rounds=3),
    "servers": Plan(seconds=2, rounds=3),
    "working_off": Plan(seconds=60, rounds=1),
    "delivery": Plan(seconds=10, rounds=3),
    "standing_still": Plan(seconds=30, rounds=1),
    "queue_cost": Plan(seconds=2, rounds=3),
    "node_rate": Plan(seconds=3, rounds=3),
    "starting": Plan(seconds=0, rounds=7),  # each round is a start, however long it takes
}


def main() -> None:
    asked = arguments()
    tempfile.tempdir = os.environ["TMPDIR"] = str(ON_DISK)
    machine = grid(("this run", ""), facts(ON_DISK))
    if asked.parts:
        print(machine)
    tables = [told(name, asked) for name in asked.parts or PARTS]
    if not asked.parts:
        opening = f"# Performance\n\n{fill(OPENING, WIDTH)}\n\n{machine}\n"
        PAGE.write_text("\n".join([opening, *(table.markdown() for table in tables)]), "utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, help="of each cell in each round")
    parser.add_argument("--rounds", type=int)
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return asked


def told(name: str, asked: argparse.Namespace) -> Table:
    """Measures a part, and says on the terminal what it found."""
    plan = PARTS[name]
    began = time.monotonic()
    measure = import_module(f"bench.{name}").measure
    table: Table = measure(asked.seconds or plan.seconds, asked.rounds or plan.rounds)
    print(f"\n{table.markdown()}\n({name}: {time.monotonic() - began:.0f} s)", flush=True)
    return table


if __name__ == "__main__":
    main()
