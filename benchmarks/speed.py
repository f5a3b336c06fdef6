"""Ratios of times measured side by side in one process: a subnet's step against the plain network's, and counting.

    python benchmarks/speed.py

Prints how it was made, and each ratio's median with the smallest and largest of the rounds.
"""

import platform
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tinynas import Supernet, cost, load_arch, load_space
from tinynas.evaluation import recount

ROUNDS = 15


def ratios(one: Callable[[], object], other: Callable[[], object]) -> list[float]:
    """Time of `one` over time of `other`, in pairs run one after the other."""
    found = []
    for _ in range(ROUNDS + 1):
        seconds = []
        for run in (one, other):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        found.append(seconds[0] / seconds[1])
    return found[1:]


def step(model: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> Callable[[], object]:
    """A forward and backward pass."""
    return lambda: model(images).logsumexp(1).sum().backward()


def main() -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, list[float]]] = []
    for name, batch in (("micro", 128), ("mobile32", 32)):
        space = load_space(name)
        supernet = Supernet(space).train()
        arch = replace(space.sample(rng), resolution=space.resolution[-1])
        images = torch.randn(batch, arch.in_channels, arch.resolution, arch.resolution)
        net = supernet.extract(arch)
        views = ratios(step(lambda x, s=supernet, a=arch: s(x, a), images), step(net, images))
        rows.append((f"step of a random subnet of {name}, batch {batch}: views of the supernet / plain network", views))
        first = ratios(
            step(net.to(memory_format=torch.contiguous_format), images), step(supernet.extract(arch), images)
        )
        rows.append((f"step of the same network of {name}: channels-first / channels-last", first))
    arch = load_arch("mcunet-in3")
    rows.append(("counting mcunet-in3: fvcore / tinynas.cost", ratios(lambda: recount(arch), lambda: cost(arch))))

    table = Table(
        title=f"{ROUNDS} pairs, torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    )
    for column in ("ratio of times", "median", "smallest", "largest"):
        table.add_column(column, justify="left" if column == "ratio of times" else "right")
    for label, found in rows:
        table.add_row(label, *(f"{value:.2f}" for value in (median(found), min(found), max(found))))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
