"""How fast are the parts of a search? Times of two ways of doing the same, interleaved in one process.

steps: a training step of a supernet beside the plain steps of the same networks. counting: counted cost beside fvcore.
samples: networks that keep four limits, repaired as the search does it and by rejection. evaluations: evaluating a
subnet beside the package ofa. start-up: commands until their first training step, each in a process of its own, beside
importing torch and reading the data, in processor time. Each is one cell; 5 to 15 rounds, of which the median and the
range are reported.

Takes about 10 minutes on one core; `evaluations` needs `pip install ofa`. Writes the table `speed` of
docs/results/speed.md.
"""

import platform
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from common.cells import Cells
from common.command import run_benchmark
from common.speed_evaluations import measure_evaluations
from common.speed_startup import measure_startup
from common.speed_steps import measure_steps
from common.tables import Table
from common.timing import Pair, seconds, summary, time_pairs

from tinynas import Arch, Budget, SearchSpace, build, cost, load_space
from tinynas.models.profile import macs_by_fvcore
from tinynas.study.feasible import Feasible
from tinynas.utils.rng import generator

SPACES = ("micro", "mobile32", "mobile")
LIMITED = ("macs", "params", "peak_sram", "flash")
FEASIBLE = 0.01  # fraction of random samples that keep the limits
TRIES = 1000  # samples that are timed together
COUNTED_BEFORE = 2000  # archs: late in a search most blocks have been counted in other archs
COUNTED_TOGETHER = 10


def measure_counting() -> Iterator[dict]:
    """Count ten new random archs at a time, as late in a search; fvcore gets the networks ready built."""
    for name in SPACES:
        ratios, ours = [], []
        for fvcore_time, own_time in time_pairs(counting_pairs(load_space(name), rounds=10)):
            ratios.append(fvcore_time / own_time)
            ours.append(1e6 * own_time / COUNTED_TOGETHER)
        what = f"counting, {name}: fvcore on the built network / tinynas.cost"
        yield summary(what, ratios, aim=">= 1000", us=float(np.median(ours)))


def counting_pairs(space: SearchSpace, rounds: int) -> Iterator[Pair]:
    """Yield fvcore and tinynas.cost on new archs."""
    rng = generator(0, "speed counting")
    for _ in range(COUNTED_BEFORE):
        cost(space.sample(rng))
    for _ in range(rounds + 1):
        archs = [space.sample(rng) for _ in range(COUNTED_TOGETHER)]
        yield partial(count_by_fvcore, list(map(network_and_image, archs))), partial(count, archs)


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


PARTS = {
    "steps": measure_steps,
    "counting": measure_counting,
    "samples": measure_samples,
    "evaluations": measure_evaluations,
    "start-up": measure_startup,
}


def measure_part(name: str) -> dict[str, Any]:
    """Return the rows of a part, and where they were measured."""
    torch.manual_seed(0)
    environment = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    return {"environment": environment, "rows": list(PARTS[name]())}


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    for name in PARTS:
        if name == "evaluations" and find_spec("ofa") is None:
            print("speed: evaluations are skipped, because the package ofa is missing; pip install ofa")
        else:
            cells.measure(name, measure_part, name)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    rows = []
    for name in PARTS:
        for row in cells.get(name, {"rows": []})["rows"]:
            spread = f"{figure(row['smallest'])} to {figure(row['largest'])}"
            rows.append([row["what"], figure(row["median"]), spread, str(row["rounds"]), row["aim"]])
    columns = ["measured", "median", "smallest to largest", "rounds", "aim"]
    return [Table(page="speed", name="speed", columns=columns, rows=rows)]


def figure(value: float) -> str:
    """Return a ratio or a rate with as many digits as matter."""
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    run_benchmark("speed", __doc__, measure=measure, tables=tables)
