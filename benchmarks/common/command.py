"""The command line of every benchmark."""

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

from .cells import Cells
from .tables import Table, write_table

_EPILOG = """
Cells are saved one by one: an interrupted benchmark resumes, and several processes started together share the work.
One thread each is best: OMP_NUM_THREADS=1. Run it from the repository's root.
"""


def run_benchmark(
    name: str,
    description: str,
    *,
    measure: Callable[[Cells], None],
    tables: Callable[[dict[str, Any]], list[Table]],
    draw: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Measure the cells that are missing, and print the tables of those that are saved.

    Args:
        name: Name of the benchmark, and of its file in results/.
        description: What --help says: what is measured, on what, and how long it takes.
        measure: Measures the missing cells.
        tables: Returns the tables of the saved cells.
        draw: Draws the pictures of the saved cells into docs/assets/.
    """
    arguments = _parse(description)
    cells = Cells(name, only=arguments.only, again=arguments.again)
    if not (arguments.show or arguments.write_docs):
        measure(cells)
    console = Console(width=170)
    for table in tables(cells.read()):
        console.print(table.to_rich())
        if arguments.write_docs:
            write_table(table)
    if arguments.write_docs and draw:
        draw(cells.read())


def _parse(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", metavar="WORD", help="measure only cells whose names contain WORD")
    parser.add_argument("--again", action="store_true", help="measure the selected cells again")
    parser.add_argument("--show", action="store_true", help="measure nothing; print the tables of the saved cells")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="measure nothing; write the tables into docs/results and the pictures into docs/assets",
    )
    return parser.parse_args()
