"""Do networks searched in `ds-cnn` and `vit-tiny` reach hand-written ones of the same kind and size?

Fashion-MNIST, 3 seeds. By hand: networks of equal blocks, as DS-CNN (Zhang et al., 2017) and DeiT (Touvron et al.,
2021) have them, with sizes in the middle of the space, chosen before anything was trained. Searched: the best of 40
evaluations of one supernet, trained for as many epochs, with at most the MACs and the parameters of the network by
hand. Both are retrained alike, for 4 epochs of 20,000 images with the default recipe; test accuracy. The difference to
the network by hand is paired by seed, with the 95% interval of Student's t. Times are those of the processor.

Takes about 30 minutes on one core. Writes the table `spaces` of docs/results/spaces.md.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean

from common.cells import Cells
from common.command import run_benchmark
from common.paths import SCRATCH, slug
from common.retraining import SEEDS, retrain_network
from common.stats import by_seed, mean_std, paired_difference, values_of
from common.supernets import DATA
from common.tables import Table
from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, cost
from tinynas.arch.blocks import Stem
from tinynas.arch.heads import Head
from tinynas.blocks.ds_conv import DepthwiseSeparable
from tinynas.blocks.vit import HEAD_CHANNELS, TransformerBlock
from tinynas.data.base import Data
from tinynas.data.registry import load_data, register_data_set
from tinynas.data.subset import sample_of
from tinynas.experiment.config import RetrainConfig, SupernetConfig
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.pipelines.search import search
from tinynas.training.recipe import Recipe
from tinynas.utils.units import format_count

EPOCHS = 4  # of the supernets and of the retrainings
TRAIN_IMAGES = 20_000
PART = f"{DATA}-{TRAIN_IMAGES}"  # the data set with so many of the training images
TRIALS = 40
KINDS = ("by hand", "searched")


def ds_cnn() -> Arch:
    """Return a DS-CNN: five depthwise-separable blocks, all layers 32 channels wide with 3x3 kernels."""
    block = DepthwiseSeparable(out=32, kernel=3, act="relu")
    first = replace(block, stride=2)
    stem = Stem(out=32, kernel=3, stride=2, act="relu")
    stages = ((block,), (first, block), (first, block))
    return Arch(resolution=28, in_channels=1, classes=10, stem=stem, stages=stages, head=Head(act="relu"))


def vision_transformer() -> Arch:
    """Return a ViT: patches of stride 4, four equal blocks, 48 channels in 3 heads, a hidden layer of twice as many.

    A 1x1 convolution with batch norm stands before the pooling, as in all networks of the space, in place of DeiT's
    last layer norm.
    """
    block = TransformerBlock(out=3 * HEAD_CHANNELS, heads=3, mid=6 * HEAD_CHANNELS)
    stem = Stem(out=3 * HEAD_CHANNELS, kernel=7, stride=4)
    return Arch(resolution=28, in_channels=1, classes=10, stem=stem, stages=((block,) * 4,), head=Head(conv=96))


BY_HAND = {"ds-cnn": ds_cnn, "vit-tiny": vision_transformer}  # by space


def part_of_data(path: Path | None) -> Data:
    """Return the data set with the training images that are trained on."""
    data = load_data(DATA)
    return replace(data, train=sample_of(data.train, TRAIN_IMAGES))


def search_space(space: str, limits: Budget) -> dict:
    """Search a space within limits; return the best network as plain data, and the processor time it took."""
    start = time.process_time()
    recipe = replace(SupernetConfig().recipe, epochs=EPOCHS)
    plan = SearchPlan(
        run=SCRATCH / slug(f"spaces {space}"),
        config=SupernetConfig(space=space, data=PART, recipe=recipe),
        budget=limits,
        settings=SearchSettings(trials=TRIALS, target="generic"),
    )
    best = search(plan, report=Screen()).best_entry
    return {"arch": best.arch.to_dict(), "val_accuracy": best.accuracy, "seconds": time.process_time() - start}


def train(arch: Arch, space: str, kind: str, seed: int) -> dict:
    """Retrain a network on its own; return its metrics, and the processor time it took."""
    start = time.process_time()
    config = RetrainConfig(data=PART, recipe=Recipe(epochs=EPOCHS, seed=seed))
    metrics = retrain_network(SCRATCH / slug(f"spaces {space} {kind} {seed}"), arch, config)
    return {**metrics, "seconds": time.process_time() - start}


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    register_data_set(PART, part_of_data)
    for space, by_hand in BY_HAND.items():
        limits = Budget(macs=cost(by_hand()).macs, params=cost(by_hand()).params)
        searched = cells.require(f"search {space}", search_space, space, limits)
        archs = {"by hand": by_hand(), "searched": Arch.from_dict(searched["arch"])}
        for seed in SEEDS:
            for kind, arch in archs.items():
                cells.measure(f"{space} {kind} seed {seed}", train, arch, space, kind, seed)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    rows = []
    for space in BY_HAND:
        for kind in KINDS:
            rows += row(cells, space, kind)
    columns = ["space", "network", "MACs", "params", "test %", "difference", "training, s", "search, s"]
    return [Table(page="spaces", name="spaces", columns=columns, rows=rows)]


def row(cells: Mapping, space: str, kind: str) -> list[list[str]]:
    """Return the row of a network with its means over the seeds; no row if there are no cells."""
    trained = by_seed(cells, f"{space} {kind}", SEEDS)
    if not trained:
        return []
    metrics, accuracies = next(iter(trained.values())), values_of(trained, "accuracy")
    difference, seconds = "", ""
    if kind == "searched":
        difference = paired_difference(accuracies, values_of(by_seed(cells, f"{space} by hand", SEEDS), "accuracy"))
        seconds = f"{cells[f'search {space}']['seconds']:.0f}"
    return [
        [
            f"`{space}`",
            kind,
            format_count(metrics["macs"]),
            format_count(metrics["params"]),
            mean_std(list(accuracies.values())),
            difference,
            f"{mean(values_of(trained, 'seconds').values()):.0f}",
            seconds,
        ]
    ]


if __name__ == "__main__":
    run_benchmark("spaces", __doc__, measure=measure, tables=tables)
