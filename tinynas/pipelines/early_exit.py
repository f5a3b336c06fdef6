"""The job of early exits: side heads trained on a delivered model, or a cascade of two, calibrated, swept, measured."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..arch.cost import cost
from ..data.base import Data, LabelledBatch, Split
from ..early_exit.calibration import Outputs, calibration_error, reliability
from ..early_exit.model_file import ExitModel, cascade_of, exits_cost, read_exits, save_exits
from ..early_exit.plots import exits_picture
from ..early_exit.sidenet import SideNet
from ..early_exit.thresholds import NOBODY, Operating, Swept, choose, oracle_exits, random_exits, swept, thresholds
from ..experiment.plans import AUTO, SUPERNET, ExitPlan
from ..experiment.reporter import Report
from ..experiment.run_folder import EXITS
from ..models.model_file import Model, read_model
from ..tasks.registry import check_task
from ..utils.errors import require
from ..utils.io import check_writable, write, write_json
from .model_data import data_of
from .teachers import largest_subnet

LOSSES = (0.0, 0.5, 1.0)  # points of accuracy, for which a threshold is told
_PER_CLASS = 5  # images of search-val, at least, to calibrate on


def make_exits(plan: ExitPlan, *, report: Report) -> dict[str, Any]:
    """Make, calibrate and measure early exits; the document that is returned is written as sidenet.json.

    Heads learn from the training split; temperatures, taps and threshold are chosen on search-val; the test split is
    looked at once, at the end. Raises InputError or FileError.
    """
    tried: list[dict[str, Any]]
    models, data = _loaded(plan)
    folder = plan.folder()
    check_writable(plan.out or folder.parent)
    if plan.tiny:
        model = ExitModel(models=tuple(models), exits=cascade_of(*models), threshold=NOBODY)
        val, tried = _calibrated(model, data, report), []
    else:
        model, val, tried = _sided(plan, models[0], data, report)
    found = _swept(model, val)
    model = replace(model, threshold=_threshold(plan, found))
    test = model.exits.observe(batches(data, data.test, model.resolution, "test split", report))
    document = {
        "model": str(plan.model),
        "tiny": str(plan.tiny) if plan.tiny else None,
        "data": plan.data or models[0].data,
        "metric": "accuracy",
        "taps": list(model.exits.taps),
        "tried": tried,
        "hidden": 0 if plan.tiny else plan.hidden,
        "calibration_images": len(data.val),
        "test_images": len(data.test),
        **_measured(model, found, _swept(model, test)),
    }
    (folder / "export.json").unlink(missing_ok=True)  # of other exits
    save_exits(folder / EXITS, model)
    write(folder / "sidenet.png", exits_picture(document))
    write_json(folder / "sidenet.json", document)
    return {"folder": str(folder), **document}


def evaluate_exits(path: Path, data_name: str | None) -> dict[str, Any]:
    """What a network with early exits says at its threshold: accuracy on the test split, over all and by class.

    Its MACs are those of an image on average. Raises InputError if the data has other classes.
    """
    model = read_exits(path)
    data = data_of(model.mainnet, path, data_name)
    task, macs = check_task("classify", data), model.exits.macs(model.example())
    answers, truths, spent = [], [], 0
    for images, labels in data.evaluation_batches(data.test, model.resolution):
        logits, exits = model.exits(images, threshold=model.threshold)
        answers += logits.argmax(1).tolist()
        truths += labels.tolist()
        spent += sum(macs[number] for number in exits)
    return {
        "model": str(path),
        "data": data_name or model.mainnet.data,
        "metric": task.metric,
        **task.metrics(answers, truths, data.classes),
        **asdict(exits_cost(model)),
        "macs": spent / len(answers),
    }


def batches(data: Data, split: Split, resolution: int, name: str, report: Report) -> Iterator[LabelledBatch]:
    """All images of a split, telling how far they are."""
    done = 0
    for images, labels in data.evaluation_batches(split, resolution):
        yield images, labels
        done += len(images)
        report.advance(name, done, len(split), "every exit")


def _measured(model: ExitModel, val: Swept, test: Swept) -> dict[str, Any]:
    """What a network with exits does on the test split: at its threshold, at every other, and each exit alone."""
    base = 100 * float(val.correct[-1].mean())
    losses, whole = [], cost(model.mainnet.net.arch)
    for allowed in LOSSES:
        (at,) = test.at([choose(val.curve(), accuracy=base - allowed).threshold])
        losses.append({"allowed": allowed, **told(at), "saved": 1 - at.macs / whole.macs})
    (chosen,) = test.at([model.threshold])
    return {
        **told(chosen),
        **{("worst_macs" if name == "macs" else name): value for name, value in asdict(exits_cost(model)).items()},
        "mainnet": {"accuracy": 100 * float(test.correct[-1].mean()), **asdict(whole)},
        "exits": [_exit(model, test, number, share) for number, share in enumerate(chosen.shares)],
        "losses": losses,
        "curve": [told(point) for point in test.at(thresholds(val.confidences))],
        "points": [told(point) for point in test.at(val.spread())],
        "random": [list(point) for point in random_exits(test.correct, test.macs)],
        "oracle": [list(point) for point in oracle_exits(test.correct, test.macs)],
    }


def told(point: Operating) -> dict[str, float]:
    """As documents have it."""
    return {"threshold": point.threshold, "accuracy": point.accuracy, "macs": point.macs}


def _exit(model: ExitModel, test: Swept, number: int, share: float) -> dict[str, Any]:
    """One exit, had it answered all images."""
    before, after = (reliability(c[number], test.correct[number]) for c in (test.uncalibrated, test.confidences))
    return {
        "name": model.names[number],
        "macs": test.macs[number],
        "share": share,
        "accuracy": 100 * float(test.correct[number].mean()),
        "temperature": float(model.exits.temperatures[number]),
        "calibration_error_before": calibration_error(before),
        "calibration_error": calibration_error(after),
        "reliability_before": [list(one) for one in before],
        "reliability": [list(one) for one in after],
    }


def _loaded(plan: ExitPlan) -> tuple[list[Model], Data]:
    """The models, the smaller first, and their data."""
    paths = [*([plan.tiny] if plan.tiny else []), *([] if str(plan.model) == SUPERNET else [plan.model])]
    models = [read_model(path) for path in paths]
    for model in models:
        require(model.net.arch.task == "classify", "only a classifier has early exits", task=model.net.arch.task)
    data = data_of(models[0], paths[0], plan.data)
    check_task("classify", data)
    if str(plan.model) == SUPERNET:
        tiny, run = models[0], paths[0].resolve().parent.parent.parent
        rule = "supernet is that of the run which the model is in"
        require((run / "supernet.pt").exists(), rule, model=str(paths[0]))
        models.append(replace(tiny, net=largest_subnet(run, tiny.net.arch.resolution, data)))
    for what in ("classes", "normalise"):
        found = [getattr(model, what) for model in models]
        require(found[0] == found[-1], f"both networks of a cascade have the same {what}", tiny=found[0], big=found[-1])
    spent = [cost(model.net.arch).macs for model in models]
    require(spent[0] <= spent[-1], "the first network of a cascade is the cheaper", tiny=spent[0], big=spent[-1])
    counts = data.val.labels.bincount(minlength=len(data.classes))
    rule = f"to calibrate on, search-val has {_PER_CLASS} images for a class on average, and one of each"
    enough = len(data.val) >= _PER_CLASS * len(data.classes) and int(counts.min()) > 0
    require(enough, rule, images=len(data.val), classes=len(data.classes), fewest=int(counts.min()))
    return models, data


def _sided(
    plan: ExitPlan, mainnet: Model, data: Data, report: Report
) -> tuple[ExitModel, Outputs, list[dict[str, Any]]]:
    """A SideNet with trained heads, its outputs on search-val, and what taps were tried."""
    arch = mainnet.net.arch
    image = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    auto = AUTO in plan.taps
    taps = [f"stages.{s}" for s in range(len(arch.stages))] if auto else list(plan.taps)
    net = SideNet(mainnet.net, taps, plan.hidden, inputs=image)
    training = batches(data, data.train, arch.resolution, "training images", report)
    net.fit(training, distillation=plan.distillation, temperature=plan.temperature, seed=plan.seed)
    model = ExitModel(models=(mainnet,), exits=net, threshold=NOBODY)
    val = _calibrated(model, data, report)
    if not auto:
        return model, val, []
    tried = _swept(model, val).subsets([head.macs for head in net.heads])
    places = max(tried, key=tried.__getitem__)
    told_of = [{"taps": [taps[i] for i in exits], "hypervolume": area} for exits, area in tried.items()]
    smaller = SideNet(mainnet.net, [taps[i] for i in places], plan.hidden, inputs=image)
    for head, place in zip(smaller.heads, places, strict=True):
        head.load_state_dict(net.heads[place].state_dict())
    smaller.temperatures.copy_(net.temperatures[[*places, -1]])
    return replace(model, exits=smaller), Outputs(val.logits[[*places, -1]], val.labels), told_of


def _swept(model: ExitModel, outputs: Outputs) -> Swept:
    return swept(outputs, model.exits.temperatures.tolist(), model.exits.macs(model.example()))


def _calibrated(model: ExitModel, data: Data, report: Report) -> Outputs:
    """The outputs on search-val, by which the temperatures are now set."""
    val = model.exits.observe(batches(data, data.val, model.resolution, "search-val", report))
    model.exits.calibrate(val)
    return val


def _threshold(plan: ExitPlan, val: Swept) -> float:
    """What is asked for, or found on search-val."""
    if plan.threshold is not None:
        return plan.threshold
    lossless = 100 * float(val.correct[-1].mean())
    accuracy = None if plan.macs else lossless if plan.accuracy is None else plan.accuracy
    return choose(val.curve(), accuracy=accuracy, macs=plan.macs).threshold
