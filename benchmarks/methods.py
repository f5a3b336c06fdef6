"""What makes a tiny network better than plain training for the same time? NetAug, teachers and their options, 5 seeds.

The middle network of `micro`, scaled by hand to four budgets, on Fashion-MNIST; at 0.1M MACs also on mnist-5k, on which
nothing was chosen. Every row is plain training by the recipe of `--recipe auto` but for the settings that it names; the
initial weights, the order of the images and the data are the same. Beside every method stands plain training for as
long: for as many epochs, in steps of 5, as the processor time of the method pays for, by trainings of 4 epochs that are
run in turn, three times, each from its start to its end.

The teacher is the largest network of `micro` at the image size of the others, trained for 40 epochs; computing its
outputs counts in a method's time. Differences are paired by seed, with the 95% interval of
Student's t; p-values are Holm's, over all comparisons of the table. Options are compared with plain training of as many
epochs, on search-val with three seeds; methods on test images.

Takes about 8 hours on one core. Writes the tables `methods`, `methods-options` and `methods-teacher` of
docs/results/methods.md.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from common.cells import Cells
from common.command import run_benchmark
from common.method_tables import comparison_table, comparisons, options_table
from common.method_trainings import (
    BATCH_SIZES,
    BOTH,
    BUDGETS,
    FASHION,
    LARGE,
    METHODS,
    MNIST,
    NETAUG,
    SEEDS,
    TAUGHT,
    TEACHER,
    TEACHER_EPOCHS,
    case_of,
    measure_rows,
    measure_with_controls,
    same_time,
    teacher_row,
)
from common.tables import Table

OF_OPTIONS = "0.1M"
OPTIONS: dict[str, dict[str, Any]] = {
    NETAUG: {"netaug": True},
    "NetAug, to the last epoch": {"netaug": True, "width_until": 1.0, "expand_until": 1.0},
    "NetAug, distilled in place": {"netaug": True, "inplace_distillation": 0.5},
    "NetAug, distilled by alpha-divergence": {
        "netaug": True,
        "inplace_distillation": 0.5,
        "inplace_divergence": "alpha",
    },
    "NetAug, from the 3rd stage on": {"netaug": True, "augment_from_stage": 2},
    "average of weights": {"ema": 0.999},
    TAUGHT: TEACHER,
    "teacher, softened": TEACHER | {"teacher_weight": 0.9, "temperature": 4.0},
}
OPTION_SEEDS = SEEDS[:3]
CASES = [(FASHION, size) for size in BUDGETS] + [(MNIST, OF_OPTIONS)]


def methods_of(size: str) -> dict[str, dict[str, Any]]:
    """Return the methods that are measured at a size: NetAug with a teacher only at that of the options."""
    return {row: settings for row, settings in METHODS.items() if row != BOTH or size == OF_OPTIONS}


def measure(cells: Cells) -> None:
    """Measure the missing cells: the methods at every size, then the options."""
    for data, size in CASES:
        measure_with_controls(cells, case_of(data, size), methods_of(size), seeds=SEEDS)
    measure_options(cells)


def measure_options(cells: Cells) -> None:
    """Measure the options, and how long they take."""
    case = case_of(FASHION, OF_OPTIONS)
    measure_rows(cells, case, OPTIONS, seeds=OPTION_SEEDS)
    for row, settings in OPTIONS.items():
        same_time(cells, case, row, settings)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    compared = []
    for data, size in CASES:
        compared += comparisons(cells, data, size, methods_of(size))
    options = list(comparisons(cells, FASHION, OF_OPTIONS, OPTIONS))
    return [
        comparison_table("methods", "methods", compared),
        options_table("methods", "methods-options", options),
        Table(
            page="methods",
            name="methods-teacher",
            columns=["data", "epochs", "search-val %", "test %", "train %", "minutes"],
            rows=list(teacher_rows(cells)),
        ),
    ]


def teacher_rows(cells: Mapping[str, dict]) -> Iterator[list[str]]:
    """Yield what teachers reached."""
    for data in BATCH_SIZES:
        for epochs in TEACHER_EPOCHS:
            cell = cells.get(f"{data} {LARGE} {teacher_row(epochs)} seed 0")
            if cell:
                row = [data, str(epochs)]
                row += [f"{cell[key]:.2f}" for key in ("val", "test", "train")]
                row.append(f"{cell['seconds'] / 60:.0f}")
                yield row


if __name__ == "__main__":
    run_benchmark("methods", __doc__, measure=measure, tables=tables)
