"""How fast the parts of a search are: times of two ways of doing the same, measured side by side in one process.

    python benchmarks/speed.py [--only steps|counting|samples|evaluations]

The two ways run in pairs, one right after the other, each first every other time. Printed with how it was made, and
written to benchmarks/results/speed.json: the median of the pairs' ratios, and the smallest and largest.
"""

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tinynas import Budget, SearchSpace, Supernet, augment, cost, load_arch, load_space
from tinynas.arch.arch import Arch
from tinynas.data.base import Batch, Data, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.models.network import build
from tinynas.models.profile import macs_by_fvcore
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.study.feasible import Feasible
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.tasks.registry import TASKS
from tinynas.training.objectives import NetAugObjective, Objective, SandwichObjective
from tinynas.utils.io import write_json
from tinynas.utils.rng import generator

RESULTS = Path(__file__).parent / "results" / "speed.json"
LIMITED = ("macs", "params", "peak_sram", "flash")
BEFORE = 200  # archs or steps that come first, as in any search or training
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
    """A training step, its random networks new every time, against the plain steps of the same networks."""
    for name, batch, size in (("micro", 128, 28), ("mobile32", 32, 32)):
        space = load_space(name)

        def subnets(rng: np.random.Generator, space: SearchSpace = space) -> list[Arch]:
            return [space.max(), space.min(), space.sample(rng), space.sample(rng)]

        what = f"sandwich step, {name}, batch {batch}, {size} px: supernet / sum of its four plain networks"
        yield step_row(what, space, SandwichObjective(space), subnets, batch, size, rounds, soft=True)
    tiny = replace(load_arch("mobilenet-v2-tiny"), classes=10)
    for name, target, batch in (("micro, 98.7K MACs", searched(), 128), ("mobilenet-v2-tiny", tiny, 32)):
        space = augment(target)

        def both(rng: np.random.Generator, target: Arch = target, space: SearchSpace = space) -> list[Arch]:
            return [target, space.sample(rng)]

        what = f"NetAug step, {name}, batch {batch}, {target.resolution} px: supernet / target + augmented, plain"
        yield step_row(
            what, space, NetAugObjective(target, space, CrossEntropyLoss()), both, batch, target.resolution, rounds
        )


def searched() -> Arch:
    """The network that benchmarks/scaling.py found for 100K MACs."""
    cells = json.loads((RESULTS.parent / "scaling.json").read_text())
    return Arch.from_dict(cells["arch searched 100000"])


def step_row(
    what: str,
    space: SearchSpace,
    objective: Objective,
    networks: Callable[[np.random.Generator], list[Arch]],
    batch: int,
    size: int,
    rounds: int,
    soft: bool = False,
) -> Row:
    """The row of a step on a supernet of the space, against its networks on their own."""
    images, labels = torch.randn(batch, space.in_channels, size, size), torch.arange(batch) % space.classes
    times = in_pairs(step_pairs(space, objective, networks, images, labels, rounds, soft))
    return row(what, [ours / plain for ours, plain in times], "<= 1.05", plain_ms=1e3 * median(p for _, p in times))


def step_pairs(
    space: SearchSpace,
    objective: Objective,
    networks: Callable[[np.random.Generator], list[Arch]],
    images: Tensor,
    labels: Tensor,
    rounds: int,
    soft: bool,
) -> Iterator[Pair]:
    """Forward and backward passes with the same losses; no optimizer on either side."""
    supernet = Supernet(space).train()
    for step in range(BEFORE):  # most blocks have then run once, as in any training
        for _ in objective.losses(supernet, batch_of(images[:2], labels[:2]), generator(1, "speed", step)):
            pass

    def views(i: int) -> None:
        supernet.zero_grad()
        for loss in objective.losses(supernet, batch_of(images, labels), generator(0, "speed", i)):
            loss.backward()

    def plain(nets: list[nn.Module]) -> None:
        targets = labels
        for net in nets:
            net.zero_grad()
            logits = net(images)
            cross_entropy(logits, targets).backward()
            if soft and net is nets[0]:
                targets = logits.detach().softmax(1)

    for i in range(rounds + 1):
        archs = networks(generator(0, "speed", i))
        nets = [supernet.extract(replace(arch, resolution=images.shape[-1])) for arch in archs]
        plain(nets)  # kernels for new shapes are made here, for both sides
        yield lambda i=i: views(i), lambda nets=nets: plain(nets)


def batch_of(images: Tensor, labels: Tensor) -> Batch:
    return Batch(images, labels, torch.arange(len(labels)), 0)


def counting(rounds: int) -> Iterator[Row]:
    """Counting ten new random archs at a time, as late in a search; fvcore is given the networks ready built."""
    for name in ("micro", "mobile32", "mobile"):
        times = in_pairs(counting_pairs(load_space(name), rounds))
        what = f"counting, {name}: fvcore on the built network / tinynas.cost"
        yield row(
            what, [theirs / ours for theirs, ours in times], ">= 1000", us=1e5 * median(ours for _, ours in times)
        )


def counting_pairs(space: SearchSpace, rounds: int) -> Iterator[Pair]:
    rng = generator(0, "speed counting")
    for _ in range(10 * BEFORE):  # a search draws thousands: most blocks have then been counted in other archs
        cost(space.sample(rng))
    for _ in range(rounds + 1):
        archs = [space.sample(rng) for _ in range(10)]
        nets = [(build(arch).eval(), torch.zeros(1, space.in_channels, *[arch.resolution] * 2)) for arch in archs]
        yield lambda n=nets: [macs_by_fvcore(*net) for net in n], lambda a=archs: [cost(arch) for arch in a]


def samples(rounds: int) -> Iterator[Row]:
    """Different networks a second that keep four limits: made as the search makes them, and by rejection."""
    for name in ("micro", "mobile32", "mobile"):
        space = load_space(name)
        budget, rng = tight_budget(space), generator(0, "speed samples")

        feasible = Feasible(space=space, budget=budget)

        def drawn(feasible: Feasible = feasible, rng: np.random.Generator = rng) -> Arch | None:
            arch = feasible.space.sample(rng)
            return arch if arch in feasible else None

        percent = sum(drawn() is not None for _ in range(5000)) / 50
        what = f"feasible samples a second, {name}, 4 limits that {percent:.1f}% of samples keep"
        made = [a_second(lambda f=feasible, r=rng: f.sample(r)) for _ in range(rounds)]
        yield row(f"{what}: repaired", made, ">= 2000", limits=budget.limits())
        yield row(f"{what}: redrawn", [a_second(drawn) for _ in range(rounds)])


def tight_budget(space: SearchSpace) -> Budget:
    """Four limits, the same quantile of each cost, that about FEASIBLE of all random samples keep."""
    rng = generator(0, "speed limits")
    counted = [cost(space.sample(rng)) for _ in range(4000)]
    costs = np.array([[getattr(c, name) for name in LIMITED] for c in counted])
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
    size, space = 64, load_space("mobile")
    data = random_images(size)
    evaluate, calibration = SubnetEvaluator(Supernet(space), data), data.calibration_batches(size)
    theirs = OFAMobileNetV3(ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4])
    macs = []

    def evaluate_theirs() -> float:
        net = theirs.get_active_subnet(preserve_weight=True)
        set_running_statistics(net, [(images, None) for images in calibration])
        return TASKS["classify"].accuracy(net, replace(space.max(), resolution=size), data, data.val)

    def pairs() -> Iterator[Pair]:
        rng = generator(0, "speed evaluations")
        random.seed(0)  # ofa samples by it
        for _ in range(rounds + 1):
            arch = replace(space.sample(rng), resolution=size)
            theirs.sample_active_subnet()
            net = theirs.get_active_subnet(preserve_weight=True).eval()
            macs.append((cost(arch).macs, macs_by_fvcore(net, torch.zeros(1, 3, size, size))))
            yield lambda arch=arch: evaluate(arch), evaluate_theirs

    times = in_pairs(pairs())
    what = f"subnet evaluations a second, 500 + 500 images of {size} px"
    our_macs, their_macs = (median(m) / 1e6 for m in zip(*macs[1:], strict=True))
    yield row(f"{what}: tinynas, mobile ({our_macs:.0f}M MACs)", [1 / ours for ours, _ in times])
    yield row(f"{what}: ofa, OFAMobileNetV3 ({their_macs:.0f}M MACs)", [1 / other for _, other in times])
    yield row("the same in pairs: tinynas / ofa", [other / ours for ours, other in times])
    per_mac = [other / ours * m / n for (ours, other), (m, n) in zip(times, macs[1:], strict=True)]
    yield row("the same in pairs, per MAC: tinynas / ofa", per_mac)


def random_images(size: int) -> Data:
    """500 images to train on and as many to look at, of noise, in 1000 classes."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 500, 3, size, size), dtype=torch.uint8, generator=rng)
    train, val = (MemorySplit(images=images, labels=torch.arange(500)) for images in pixels)
    normalise = Normalisation(mean=(0.5,) * 3, std=(0.3,) * 3)
    classes = tuple(map(str, range(1000)))
    return Data(classes=classes, normalise=normalise, train=train, val=val, test=val)


PARTS = {"steps": (steps, 15), "counting": (counting, 10), "samples": (samples, 5), "evaluations": (evaluations, 5)}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PARTS, help="one part; the other parts' rows stay")
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
    there = json.loads(RESULTS.read_text())["rows"] if only else []
    kept = [old for old in there if old["what"] not in {new["what"] for new in rows}]
    write_json(RESULTS, {"made": made, "rows": kept + rows})


if __name__ == "__main__":
    main()
