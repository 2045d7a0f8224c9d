"""Prints the table of removed safeguards, from hunts made now: `python -m tests.simulation.mutants_table`.

With `--write` it puts the table into the reliability page.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.mutants.catalogue import CATALOGUE
from tests.simulation.mutants.hunt import Hunt, hunt
from tests.simulation.mutants.kinds import Mutant

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "reliability.md"
BEGIN, END = "<!-- mutants -->\n", "<!-- /mutants -->\n"
HEAD = "| Without this | Found by | After | At most | What it names |\n|---|---|---:|---:|---|\n"


def line(mutant: Mutant, found: Hunt) -> str:
    """One row of the table."""
    safeguard = mutant.safeguard.removesuffix(".")
    return f"| {safeguard} | {mutant.finder} | {found.tries} | {mutant.bound} | {found.promise} |\n"


def table() -> str:
    """Every mutant and how it was found."""
    with ProcessPoolExecutor(os.cpu_count() or 1, get_context("spawn")) as pool:
        hunts = pool.map(hunt, CATALOGUE)
        return HEAD + "".join(map(line, CATALOGUE.values(), hunts))


def written(page: str) -> str:
    """The table as a page has it."""
    return page.partition(BEGIN)[2].partition(END)[0].strip("\n") + "\n"


def main() -> int:
    """Print, or write."""
    made = table()
    if "--write" not in sys.argv[1:]:
        print(made, end="")  # noqa: T201 - it is what this program is for
        return 0
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{made}\n{END}{rest.partition(END)[2]}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
