"""How fast are images read from files? Training batches beside the decode limit, interleaved in one run.

Photographs are synthetic: 20,000 JPEG files of 500x375 pixels and about 60 KB each (--images makes fewer, to try the
script). They are made once, by all cores, and kept below runs/benchmarks/.

1 process, 2 processes: the decode limit is what as many processes decode and resize to 160 pixels, from the same files,
and do nothing else: no random numbers, no batches, nothing sent. Training batches are cropped at random, mirrored,
stacked, sent to the training process and normalised there; with 2 processes on 2 cores that process has no core of its
own. memory: of the training process, after each of six epochs of 1,900 images. training: a small network trained from
files and from images in memory, both by two threads, with two loading processes: on two cores they take time from the
training. decoded smaller: large photographs whose crops are decoded at a half, a quarter or an eighth of their size.

Medians of rounds; each round runs both ways, one right after the other, each first in turn. Times pass on a clock, so
that other programs on the machine disturb them, and the ratios. Needs two cores. Steps on a GPU beside a bare loop, and
how busy it is, are not measured: nobody has run this on a GPU.

Takes about 6 minutes on one core for each process, after some 5 minutes in which the photographs are made. Writes the
table `throughput` of docs/results/throughput.md.
"""

import platform
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from common.cells import Cells
from common.command import run_benchmark
from common.paths import SCRATCH
from common.photographs import photograph_files
from common.tables import Table
from common.throughput_loading import measure_loading, measure_memory
from common.throughput_training import LARGE, measure_smaller, measure_training

from tinynas.utils.machine import num_cores
from tinynas.utils.memory import keep_freed_memory

IMAGES = 20_000
OPTIONS = {"images": f"number of photographs, {IMAGES:,} by default; at least 2,000"}
NOT_RUN = (
    ["steps on a GPU: from files / on a batch that stays there", "not run", "", "", ">= 0.95"],
    ["share of the time in which the GPU is busy", "not run", "", "", ""],
)
PARTS: dict[str, Callable[[list[str]], Iterator[dict]]] = {
    "1 process": partial(measure_loading, processes=1),
    "2 processes": partial(measure_loading, processes=2),
    "memory": measure_memory,
    "training": measure_training,
}


def measure(cells: Cells, *, images: str | None) -> None:
    """Measure the missing cells."""
    count = int(images or IMAGES)
    for name, function in PARTS.items():
        cells.measure(name, measure_part, function, count, 1)
    cells.measure("decoded smaller", measure_part, measure_smaller, LARGE, 4)
    print("throughput: steps on a GPU and how busy it is are not measured: nobody has run this on a GPU")


def measure_part(function: Callable[[list[str]], Iterator[dict]], count: int, scale: int) -> dict[str, Any]:
    """Return the rows of a part, and how they were measured."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_freed_memory()  # as in any training
    files = photograph_files(SCRATCH, count, scale=scale)
    environment = f"torch {torch.__version__}, {num_cores()} cores, {platform.machine()}"
    return {"environment": environment, "images": count, "rows": list(function(files))}


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    rows = []
    for part in [*PARTS, "decoded smaller"]:
        for row in cells.get(part, {"rows": []})["rows"]:
            spread = f"{figure(row['smallest'])} to {figure(row['largest'])}"
            rows.append([row["what"], figure(row["median"]), spread, str(row["rounds"]), row["aim"]])
    rows += NOT_RUN
    columns = ["measured", "median", "smallest to largest", "rounds", "aim"]
    return [Table(page="throughput", name="throughput", columns=columns, rows=rows)]


def figure(value: float) -> str:
    """Return a ratio or a rate with as many digits as matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    run_benchmark("throughput", __doc__, measure=measure, tables=tables, options=OPTIONS)
