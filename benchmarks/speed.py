"""How fast are the parts of a search? Times of two ways of doing the same, interleaved in one process.

steps: a training step on a supernet run by PyTorch, beside the plain PyTorch steps of the same networks. fused steps,
for several search spaces: the same of supernets run by the fused CPU kernels. torch.compile: a plain step compiled by
PyTorch beside both; needs a C++ compiler. roofline: the least time in which this machine could do a plain step, from
its rates of matrix products and copies, beside both. accuracy: networks trained by the kernels and by PyTorch, 5 seeds
each. counting: counted cost beside fvcore. samples: networks that keep four limits, repaired as the search does it and
by rejection. evaluations: evaluating subnets by the kernels and by PyTorch. evaluations ofa: beside the package ofa.
start-up: commands until their first training step, each in a process of its own, beside importing torch and reading
the data. threads: a search's supernet on two threads, and in two processes of torchrun. commands: whole commands beside
an earlier version, on as many threads as they choose; needs --before.

Each is a cell; 2 to 15 rounds, of which the median and the range are reported. All but `threads` and `commands` use one
thread, and compare processor times.

Takes about 30 minutes on one core; `evaluations ofa` needs `pip install ofa`. Writes the tables `speed`, `kernels` and
`accuracy` of docs/results/speed.md.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from common.cells import Cells
from common.command import run_benchmark
from common.speed_accuracy import accuracy_table, measure_accuracies
from common.speed_commands import measure_commands, measure_threads
from common.speed_compile import measure_compile
from common.speed_evaluations import measure_evaluations, measure_ofa
from common.speed_roofline import measure_roofline
from common.speed_startup import measure_startup
from common.speed_steps import measure_fused, measure_fused_micro, measure_steps
from common.tables import Table
from common.timing import Run, ratios, seconds, summary, time_rounds

from tinynas import Arch, Budget, SearchSpace, build, cost, load_space
from tinynas.models.profile import macs_by_fvcore
from tinynas.study.feasible import Feasible
from tinynas.utils.memory import keep_freed_memory
from tinynas.utils.rng import generator

SPACES = ("micro-v1", "mobile32", "mobile")
LIMITED = ("macs", "params", "peak_sram", "flash")
OPTIONS = {"before": "checkout of an earlier version, which `commands` are compared with"}
FEASIBLE = 0.01  # fraction of random samples that keep the limits
TRIES = 1000  # samples that are timed together
COUNTED_BEFORE = 2000  # archs: late in a search most blocks have been counted in other archs
COUNTED_TOGETHER = 10


def measure_counting() -> Iterator[dict]:
    """Count ten new random archs at a time, as late in a search; fvcore gets the networks ready built."""
    for name in SPACES:
        times = time_rounds(counting_rounds(load_space(name), rounds=10))
        microseconds = 1e6 * float(np.median([own_time for _, own_time in times])) / COUNTED_TOGETHER
        what = f"counting, {name}: fvcore on the built network / tinynas.cost"
        yield summary(what, ratios(times, 0, 1), aim=">= 1000", us=microseconds)


def counting_rounds(space: SearchSpace, rounds: int) -> Iterator[list[Run]]:
    """Yield fvcore and tinynas.cost on new archs."""
    rng = generator(0, "speed counting")
    for _ in range(COUNTED_BEFORE):
        cost(space.sample(rng))
    for _ in range(rounds + 1):
        archs = [space.sample(rng) for _ in range(COUNTED_TOGETHER)]
        yield [partial(count_by_fvcore, list(map(network_and_image, archs))), partial(count, archs)]


def network_and_image(arch: Arch) -> tuple[torch.nn.Module, torch.Tensor]:
    """Build a network, and an image for it."""
    return build(arch).eval(), torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)


def count_by_fvcore(networks: list[tuple[torch.nn.Module, torch.Tensor]]) -> None:
    """Count MACs of built networks."""
    for network, image in networks:
        macs_by_fvcore(network, image)


def count(archs: list[Arch]) -> None:
    """Count the cost of archs."""
    for arch in archs:
        cost(arch)


def measure_samples() -> Iterator[dict]:
    """Sample networks that keep four limits: as the search does it, and by rejection."""
    for name in SPACES:
        space, rng = load_space(name), generator(0, "speed samples")
        budget = tight_budget(space)
        feasible = Feasible(space=space, budget=budget)
        redraw = partial(sample_or_reject, feasible, rng)
        percent = sum(redraw() is not None for _ in range(5000)) / 50
        what = f"feasible samples a second, {name}, 4 limits that {percent:.1f}% of samples keep"
        repaired = [different_archs_a_second(partial(feasible.sample, rng)) for _ in range(5)]
        yield summary(f"{what}: repaired", repaired, aim=">= 2000", limits=budget.limits())
        yield summary(f"{what}: by rejection", [different_archs_a_second(redraw) for _ in range(5)], aim="")


def sample_or_reject(feasible: Feasible, rng: np.random.Generator) -> Arch | None:
    """Return a random network of the space, None if it does not keep the limits."""
    arch = feasible.space.sample(rng)
    return arch if arch in feasible else None


def tight_budget(space: SearchSpace) -> Budget:
    """Return four limits, the same quantile of each cost, that about FEASIBLE of all random samples keep."""
    rng = generator(0, "speed limits")
    sampled = [cost(space.sample(rng)) for _ in range(4000)]
    costs = np.array([[getattr(counted, name) for counted in sampled] for name in LIMITED]).T
    best, smallest_gap = costs[0], np.inf
    for quantile in np.linspace(0, 0.5, 501):
        limits = np.quantile(costs, quantile, axis=0, method="lower")
        gap = abs((costs <= limits).all(1).mean() - FEASIBLE)
        if gap < smallest_gap:
            best, smallest_gap = limits, gap
    return Budget(**dict(zip(LIMITED, map(int, best), strict=True)))


def different_archs_a_second(sample: Callable[[], Arch | None]) -> float:
    """Return the different archs that TRIES calls return, over their time."""
    archs: set[Arch | None] = set()

    def sample_all() -> None:
        for _ in range(TRIES):
            archs.add(sample())

    time = seconds(sample_all)
    return len(archs - {None}) / time


PARTS: dict[str, Callable[[], Iterator[dict]]] = {  # the rows of the table `speed`
    "steps": measure_steps,
    "counting": measure_counting,
    "samples": measure_samples,
    "evaluations ofa": measure_ofa,
    "start-up": measure_startup,
}
KERNEL_PARTS: dict[str, Callable[[], Iterator[dict]]] = {  # the rows of the table `kernels`
    "fused steps micro-v1": measure_fused_micro,
    "fused steps mcu": partial(measure_fused, "mcu"),
    "fused steps mobile32": partial(measure_fused, "mobile32"),
    "fused steps detect": partial(measure_fused, "detect"),
    "torch.compile": measure_compile,
    "roofline": measure_roofline,
    "evaluations": measure_evaluations,
    "threads": measure_threads,
}


def measure_part(function: Callable[[], Iterator[dict]]) -> dict[str, Any]:
    """Return the rows of a part, measured on one thread, and where they were measured."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_freed_memory()  # as in any training
    environment = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    return {"environment": environment, "rows": list(function())}


def measure(cells: Cells, *, before: str | None) -> None:
    """Measure the missing cells."""
    parts = KERNEL_PARTS | PARTS | {"commands": partial(measure_commands, before or "")}
    for name, reason in unmeasurable(before).items():
        if cells.only in name:
            print(f"speed: {name} is not measured: {reason}")
        del parts[name]
    for name, function in parts.items():
        cells.measure(name, measure_part, function)
    cells.measure("accuracy", measure_accuracies)


def unmeasurable(before: str | None) -> dict[str, str]:
    """Return the parts that cannot be measured: why, and what to do."""
    reasons = {}
    if find_spec("ofa") is None:
        reasons["evaluations ofa"] = "the package ofa is missing; pip install ofa"
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        reasons["torch.compile"] = "there is no C++ compiler; install g++, or set CXX"
    if before is None:
        reasons["commands"] = "no earlier version; git worktree add TREE COMMIT, and add --before TREE"
    return reasons


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    shown = [speed_table("kernels", cells, [*KERNEL_PARTS, "commands"]), speed_table("speed", cells, PARTS)]
    if "accuracy" in cells:
        shown.append(accuracy_table(cells["accuracy"]))
    return shown


def speed_table(name: str, cells: dict, parts: Iterable[str]) -> Table:
    """Return the table of the saved cells of some parts."""
    rows = []
    for part in parts:
        for row in cells.get(part, {"rows": []})["rows"]:
            spread = f"{figure(row['smallest'])} to {figure(row['largest'])}"
            rows.append([row["what"], figure(row["median"]), spread, str(row["rounds"]), row["aim"]])
    return Table(
        page="speed", name=name, columns=["measured", "median", "smallest to largest", "rounds", "aim"], rows=rows
    )


def figure(value: float) -> str:
    """Return a ratio or a rate with as many digits as matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    run_benchmark("speed", __doc__, measure=measure, tables=tables, options=OPTIONS)
