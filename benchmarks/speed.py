"""How fast the parts of a search are: times of two ways of doing the same, measured side by side in one process.

    python benchmarks/speed.py [--only steps|counting|samples|evaluations]

The two ways run in pairs, one right after the other, each first every other time. Printed with how it was made, and
written to benchmarks/results/speed.json: the median of the pairs' ratios, and the smallest and largest.
"""

import argparse
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tinynas import Budget, SearchSpace, Supernet, cost, load_space
from tinynas.arch import Arch
from tinynas.data import Data, MemorySplit, Normalisation, generator
from tinynas.evaluation import SubnetEvaluator, accuracy, traced_macs
from tinynas.files import write_json
from tinynas.nets import build
from tinynas.objectives import sandwich
from tinynas.search import shrink

RESULTS = Path(__file__).parent / "results" / "speed.json"
LIMITED = ("macs", "params", "peak_sram", "flash")
FEASIBLE = 0.01  # of random samples

Row = dict[str, object]
Pair = tuple[Callable[[], object], Callable[[], object]]


def row(what: str, values: list[float], aim: str = "", **more: object) -> Row:
    """What was measured, summed up; with what else belongs to it."""
    return {
        "what": what, "median": median(values), "smallest": min(values), "largest": max(values),
        "rounds": len(values), "aim": aim, **more,
    }  # fmt: skip


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def in_pairs(pairs: Iterable[Pair]) -> list[tuple[float, float]]:
    """Seconds of both of each pair; a first pair warms up and is not counted."""
    found = []
    for i, (one, other) in enumerate(pairs):
        if i % 2:
            second, first = seconds(other), seconds(one)
        else:
            first, second = seconds(one), seconds(other)
        found.append((first, second))
    return found[1:]


def steps(rounds: int) -> Iterator[Row]:
    """A sandwich step, its two random subnets new every time, against the plain steps of the same four networks."""
    for name, batch, size in (("micro", 128, 28), ("mobile32", 32, 32)):
        space = load_space(name)
        images = torch.randn(batch, space.in_channels, size, size)
        labels = torch.arange(batch) % space.classes
        times = in_pairs(sandwich_pairs(space, images, labels, rounds))
        what = f"sandwich step, {name}, batch {batch}, {size} px: supernet / sum of its four plain networks"
        yield row(
            what, [views / plain for views, plain in times], "<= 1.05", plain_ms=1e3 * median(p for _, p in times)
        )


def sandwich_pairs(space: SearchSpace, images: Tensor, labels: Tensor, rounds: int) -> Iterator[Pair]:
    """Forward and backward passes with the same losses; no optimizer on either side."""
    supernet, objective = Supernet(space).train(), sandwich(space)

    def step(i: int) -> None:
        supernet.zero_grad()
        for loss in objective(supernet, images, labels, generator(0, "speed", i)):
            loss.backward()

    def plain(nets: list[nn.Module]) -> None:
        soft_labels = labels
        for net in nets:
            net.zero_grad()
            logits = net(images)
            cross_entropy(logits, soft_labels).backward()
            if net is nets[0]:
                soft_labels = logits.detach().softmax(1)

    for i in range(rounds + 1):
        rng = generator(0, "speed", i)
        archs = (space.max(), space.min(), space.sample(rng), space.sample(rng))
        nets = [supernet.extract(replace(arch, resolution=images.shape[-1])) for arch in archs]
        plain(nets)  # kernels for new shapes are made here, for both sides
        yield lambda i=i: step(i), lambda nets=nets: plain(nets)


def counting(rounds: int) -> Iterator[Row]:
    """Counting a new random arch every time; fvcore is given the network ready built."""
    for name in ("micro", "mobile32", "mobile"):
        space = load_space(name)
        rng = generator(0, "speed")
        archs = [space.sample(rng) for _ in range(rounds + 1)]
        nets = [build(arch).eval() for arch in archs]
        images = [torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution) for arch in archs]
        times = in_pairs(
            (lambda n=net, x=image: traced_macs(n, x), lambda a=arch: cost(a))
            for arch, net, image in zip(archs, nets, images, strict=True)
        )
        what = f"counting, {name}: fvcore on the built network / tinynas.cost"
        yield row(what, [a / b for a, b in times], ">= 1000", cost_us=1e6 * median(b for _, b in times))


def samples(rounds: int) -> Iterator[Row]:
    """Different networks a second that keep four limits: made as the search makes them, and by rejection."""
    for name in ("micro", "mobile32", "mobile"):
        space = load_space(name)
        budget, rng = tight_budget(space), generator(0, "speed samples")

        def shrunk(space: SearchSpace = space, budget: Budget = budget, rng: np.random.Generator = rng) -> Arch | None:
            arch = shrink(space, space.sample(rng), budget, rng)
            return arch if budget.fits(cost(arch)) else None

        def drawn(space: SearchSpace = space, budget: Budget = budget, rng: np.random.Generator = rng) -> Arch | None:
            arch = space.sample(rng)
            return arch if budget.fits(cost(arch)) else None

        feasible = sum(drawn() is not None for _ in range(5000)) / 50
        what = f"feasible samples a second, {name}, 4 limits that {feasible:.1f}% of samples keep"
        yield row(f"{what}: shrunk", [a_second(shrunk) for _ in range(rounds)], ">= 2000", limits=asdict(budget))
        yield row(f"{what}: redrawn", [a_second(drawn) for _ in range(rounds)])


def tight_budget(space: SearchSpace) -> Budget:
    """Four limits, the same quantile of each cost, that about FEASIBLE of all random samples keep."""
    rng = generator(0, "speed limits")
    costs = np.array([[getattr(cost(space.sample(rng)), name) for name in LIMITED] for _ in range(4000)])
    candidates = [np.quantile(costs, q, axis=0, method="lower") for q in np.linspace(0, 0.5, 501)]
    limits = min(candidates, key=lambda limits: abs((costs <= limits).all(1).mean() - FEASIBLE))
    return Budget(**dict(zip(LIMITED, map(int, limits), strict=True)))


def a_second(make: Callable[[], Arch | None], tries: int = 1000) -> float:
    """Different archs that these tries make, over their time."""
    found: set[Arch | None] = set()
    took = seconds(lambda: found.update(make() for _ in range(tries)))
    return len(found - {None}) / took


def evaluations(rounds: int) -> Iterator[Row]:
    """Evaluating a random subnet: extracted, statistics set by 500 images, accuracy on 500 others."""
    try:
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
        from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics
    except ImportError:
        print("subnet evaluations are compared with the package ofa, which is not here: pip install ofa")
        return
    size, space, data = 96, load_space("mobile"), random_images(96)
    evaluate, calibration = SubnetEvaluator(Supernet(space), data), data.calibration_batches(size)
    theirs = OFAMobileNetV3(ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])
    rng, image = generator(0, "speed evaluations"), torch.zeros(1, 3, size, size)

    def evaluate_theirs() -> float:
        net = theirs.get_active_subnet(preserve_weight=True)
        set_running_statistics(net, [(images, None) for images in calibration])
        return accuracy(net, data, data.val, size)

    times, macs = [], []
    random.seed(0)  # ofa samples by it
    for _ in range(rounds + 1):
        arch = replace(space.sample(rng), resolution=size)
        theirs.sample_active_subnet()
        macs.append((cost(arch).macs, traced_macs(deepcopy(theirs).eval(), image)))
        times += in_pairs([(int, int), (lambda a=arch: evaluate(a), evaluate_theirs)])
    del times[0], macs[0]
    what = f"subnet evaluations a second, 500 + 500 images of {size} px: "
    ours_macs, their_macs = (median(m) / 1e6 for m in zip(*macs, strict=True))
    yield row(f"{what}tinynas, mobile ({ours_macs:.0f}M MACs)", [1 / ours for ours, _ in times])
    yield row(f"{what}ofa, OFAMobileNetV3 ({their_macs:.0f}M MACs)", [1 / other for _, other in times])
    yield row("the same in pairs: tinynas / ofa", [other / ours for ours, other in times])
    per_mac = [other / ours * m / n for (ours, other), (m, n) in zip(times, macs, strict=True)]
    yield row("the same in pairs, per MAC: tinynas / ofa", per_mac)


def random_images(size: int) -> Data:
    """500 images to train on and as many to look at, of noise, in 1000 classes."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 500, 3, size, size), dtype=torch.uint8, generator=rng)
    train, val = (MemorySplit(images=images, labels=torch.arange(500)) for images in pixels)
    normalise = Normalisation(mean=(0.5,) * 3, std=(0.3,) * 3)
    classes = tuple(map(str, range(1000)))
    return Data(classes=classes, normalise=normalise, train=train, val=val, test=val)


PARTS = {"steps": (steps, 30), "counting": (counting, 100), "samples": (samples, 10), "evaluations": (evaluations, 5)}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PARTS, help="one part; nothing is then written")
    only = parser.parse_args().only
    torch.manual_seed(0)
    rows = [row for name, (part, rounds) in PARTS.items() if only in (None, name) for row in part(rounds)]
    made = f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    table = Table(title=made)
    for column in ("what", "median", "smallest", "largest", "rounds", "aim"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for found in rows:
        table.add_row(*(f"{v:,.2f}" if isinstance(v, float) else str(v) for v in list(found.values())[:6]))
    Console(width=160).print(table)
    if only is None:
        write_json(RESULTS, {"made": made, "rows": rows})


if __name__ == "__main__":
    main()
