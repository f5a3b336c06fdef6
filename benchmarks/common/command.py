"""The command line of every benchmark."""

import argparse
from collections.abc import Callable, Mapping
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
    measure: Callable[..., None],
    tables: Callable[[dict[str, Any]], list[Table]],
    draw: Callable[[dict[str, Any]], None] | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Measure the cells that are missing, and print the tables of those that are saved.

    Args:
        name: Name of the benchmark, and of its file in results/.
        description: What --help says: what is measured, on what, and how long it takes.
        measure: Measures the missing cells: `measure(cells, **values of the options)`.
        tables: Returns the tables of the saved cells.
        draw: Draws the pictures of the saved cells into docs/assets/.
        options: What the options that only this benchmark has mean, by name; their values are text, or None.
    """
    options = options or {}
    arguments = _parse(description, options)
    cells = Cells(name, only=arguments.only, again=arguments.again)
    if not (arguments.show or arguments.write_docs):
        measure(cells, **{name: getattr(arguments, name) for name in options})
    console = Console(width=170)
    for table in tables(cells.read()):
        console.print(table.to_rich())
        if arguments.write_docs:
            write_table(table)
    if arguments.write_docs and draw:
        draw(cells.read())


def _parse(description: str, options: Mapping[str, str]) -> argparse.Namespace:
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
    for name, meaning in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=meaning)
    return parser.parse_args()
