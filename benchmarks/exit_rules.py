"""Which rule should decide that an exit is sure? Rules and thresholds of early exits, and joint training, 3 seeds.

MainNets are those of sidenet.py on Fashion-MNIST: the largest network of `micro-v1`, with exits after every stage, and
the transformer of rows, with exits after every layer. Side heads and temperatures are the same in all rows; the rule's
thresholds are chosen on search-val: one for all exits, or one for each, or one for each exit and predicted class. All
figures are of the test images.

Joint training is that of `tinynas sidenet --joint 2`: it continues from the trained MainNet and its side heads. Beside
it, the MainNet is trained alone for as many batches by the same optimizer, and then gets side heads, so that both have
had about the same time; the seconds of processor time are in the table. Thresholds keep the accuracy on search-val of
the MainNet as it was before both.

Takes about 1 hour on one core. Writes the tables `exit-rules` and `joint-training` of docs/results/early-exits.md.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from common.cells import Cells
from common.command import run_benchmark
from common.early_exits import DROPS, black_image, fit_temperatures, losses
from common.mainnets import LARGEST, ROWS, MainNet, mainnet_of
from common.retraining import SEEDS
from common.stats import by_seed, mean_std
from common.supernets import DATA
from common.tables import Table

from tinynas import SideNet
from tinynas.data.base import Data
from tinynas.data.registry import load_data
from tinynas.early_exit.calibration import ExitOutputs
from tinynas.early_exit.joint import fit_jointly
from tinynas.early_exit.rules import RULES, make_rule
from tinynas.early_exit.threshold_search import per_exit_points
from tinynas.early_exit.thresholds import ThresholdSweep, sweep
from tinynas.models.profile import macs_by_torch

MAINNETS = (LARGEST, ROWS)
SHARED, PER_EXIT, PER_CLASS = "one for all exits", "one for each exit", "one for each exit and class"
BY_CLASS = "confidence"  # the rule that has thresholds by class
EPOCHS, BATCH_SIZE = 2, 128  # of joint training
JOINT, ALONE = "trained with its exits", "trained alone, then exits"
WEIGHTS = {JOINT: 1.0, ALONE: 0.0}  # of the exits in the training loss
_OTHER_CLASS = -1.0  # below every threshold


def with_all_exits(mainnet: MainNet, data: Data) -> SideNet:
    """Return a MainNet with trained exits at all its places."""
    net = SideNet(mainnet.net, mainnet.taps, inputs=black_image(mainnet.resolution))
    net.fit(data.evaluation_batches(data.train, mainnet.resolution))
    return net


def observe(net: SideNet, data: Data, resolution: int) -> tuple[ExitOutputs, ExitOutputs]:
    """Return the exits' outputs on search-val and on the test images."""
    val = net.observe(data.evaluation_batches(data.val, resolution))
    return val, net.observe(data.evaluation_batches(data.test, resolution))


def measure_rules(name: str, seed: int) -> dict:
    """Return what the exits of a MainNet save by every rule and kind of thresholds."""
    data = load_data(DATA)
    mainnet = mainnet_of(name, seed, data)
    net, image = with_all_exits(mainnet, data), black_image(mainnet.resolution)
    val, test = observe(net, data, mainnet.resolution)
    compared = compare_rules(val, test, macs=net.macs(image), mainnet_macs=macs_by_torch(mainnet.net, image))
    return {"accuracy": 100 * float(test.correct()[-1].mean()), "rules": compared}


def compare_rules(val: ExitOutputs, test: ExitOutputs, *, macs: Sequence[int], mainnet_macs: int) -> dict:
    """Return the losses by rule and kind of thresholds."""
    temperatures = fit_temperatures(val)
    compared: dict[str, dict] = {}
    for name in RULES:
        rule = make_rule(name, len(macs), val.logits.shape[2])
        rule.fit(val.probabilities(temperatures), val.labels)
        on_val, on_test = sweep(val, temperatures, macs, rule), sweep(test, temperatures, macs, rule)
        compared[name] = {
            SHARED: losses(on_val, on_test, on_val.curve(), mainnet_macs),
            PER_EXIT: losses(on_val, on_test, per_exit_points(on_val), mainnet_macs),
        }
        if name == BY_CLASS:
            on_val, on_test = by_class(on_val, val), by_class(on_test, test)
            compared[name][PER_CLASS] = losses(on_val, on_test, per_exit_points(on_val), mainnet_macs)
    return compared


def by_class(swept: ThresholdSweep, outputs: ExitOutputs) -> ThresholdSweep:
    """Return a sweep in which every early exit stands for as many as classes, each of the images of that prediction."""
    classes = range(outputs.logits.shape[2])
    scores, correct, macs = [], [], []
    for number, own in enumerate(swept.scores):
        predicted = outputs.logits[number].argmax(1).numpy()
        for label in classes:
            scores.append(np.where(predicted == label, own, _OTHER_CLASS))
            correct.append(swept.correct[number])
            macs.append(swept.macs[number])
    correct.append(swept.correct[-1])
    macs.append(swept.macs[-1])
    return ThresholdSweep(scores=np.stack(scores).astype(swept.scores.dtype), correct=np.stack(correct), macs=macs)


def measure_training(name: str, seed: int, training: str) -> dict:
    """Return what the exits save after the MainNet is trained on, with its exits or alone."""
    torch.set_num_threads(1)
    data = load_data(DATA)
    mainnet = mainnet_of(name, seed, data)
    resolution, image = mainnet.resolution, black_image(mainnet.resolution)
    net = with_all_exits(mainnet, data)
    before_val, before_test = (float(outputs.correct()[-1].mean()) for outputs in observe(net, data, resolution))
    start = time.process_time()
    steps = EPOCHS * data.steps_per_epoch(BATCH_SIZE)
    fit_jointly(net, training_batches(data, resolution, seed), steps=steps, exit_weight=WEIGHTS[training])
    if training == ALONE:
        net.fit(data.evaluation_batches(data.train, resolution))
    seconds = time.process_time() - start
    val, test = observe(net, data, resolution)
    temperatures, macs = fit_temperatures(val), net.macs(image)
    on_val, on_test = sweep(val, temperatures, macs), sweep(test, temperatures, macs)
    points = losses(on_val, on_test, on_val.curve(), macs_by_torch(mainnet.net, image), reference=100 * before_val)
    return {
        "before": 100 * before_test,
        "accuracy": 100 * float(test.correct()[-1].mean()),
        "losses": points,
        "seconds": seconds,
    }


def training_batches(data: Data, resolution: int, seed: int) -> Iterator[tuple]:
    """Yield the augmented batches of all epochs."""
    for epoch in range(EPOCHS):
        for batch in data.training_batches(BATCH_SIZE, [resolution], seed=seed, epoch=epoch):
            yield batch.images, batch.labels


def measure(cells: Cells) -> None:
    """Measure the missing cells."""
    for seed in SEEDS:
        for name in (ROWS, LARGEST):
            cells.measure(f"{name} seed {seed}", measure_rules, name, seed)
            for training in WEIGHTS:
                cells.measure(f"{name}, {training} seed {seed}", measure_training, name, seed, training)


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    rules, trainings = [], []
    for name in MAINNETS:
        measured = list(by_seed(cells, name, SEEDS).values())
        if measured:
            rules += rule_rows(name, measured)
        for training in WEIGHTS:
            measured = list(by_seed(cells, f"{name}, {training}", SEEDS).values())
            if measured:
                trainings.append(training_row(name, training, measured))
    columns = []
    for drop in DROPS:
        columns += [f"MACs saved % at a drop of {drop:g}", "change of test accuracy"]
    head = ["MainNet", "rule", "thresholds", "seeds"]
    joint = ["MainNet", "training", "seeds", "seconds", "change of the last exit's accuracy"]
    return [
        Table(page="early-exits", name="exit-rules", columns=head + columns, rows=rules),
        Table(page="early-exits", name="joint-training", columns=joint + columns, rows=trainings),
    ]


def rule_rows(name: str, measured: Sequence[Mapping]) -> list[list[str]]:
    """Return the rows of a MainNet, one for each rule and kind of thresholds."""
    rows = []
    for rule, kinds in measured[0]["rules"].items():
        for kind in kinds:
            points = [cell["rules"][rule][kind] for cell in measured]
            accuracies = [cell["accuracy"] for cell in measured]
            rows.append([name, rule, kind, str(len(measured)), *figures(points, accuracies)])
    return rows


def training_row(name: str, training: str, measured: Sequence[Mapping]) -> list[str]:
    """Return the row of a training."""
    accuracies = [cell["before"] for cell in measured]
    changes = mean_std([cell["accuracy"] - cell["before"] for cell in measured])
    seconds = mean_std([cell["seconds"] for cell in measured])
    points = [cell["losses"] for cell in measured]
    return [name, training, str(len(measured)), seconds, changes, *figures(points, accuracies)]


def figures(points: Sequence[Sequence[Mapping]], accuracies: Sequence[float]) -> list[str]:
    """Return the MACs saved and the change of accuracy at every drop, over the seeds."""
    texts = []
    for number in range(len(DROPS)):
        at_drop = [seed_points[number] for seed_points in points]
        saved = [100 * point["saved"] for point in at_drop]
        changes = [point["accuracy"] - accuracy for point, accuracy in zip(at_drop, accuracies, strict=True)]
        texts += [mean_std(saved), mean_std(changes)]
    return texts


if __name__ == "__main__":
    run_benchmark("exit_rules", __doc__, measure=measure, tables=tables)
