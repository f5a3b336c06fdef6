"""The sidenet command: add early exits to a trained network, calibrate them, choose a threshold, measure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..arch.cost import cost
from ..data.base import Data, LabelledBatch, Split
from ..data.identity import DataIdentity
from ..early_exit.calibration import ExitOutputs
from ..early_exit.model import EarlyExitModel, build_cascade
from ..early_exit.model_file import save_early_exits
from ..early_exit.sidenet import SideNet
from ..early_exit.thresholds import NEVER_EXIT, ThresholdSweep, choose, sweep
from ..experiment.card_file import write_card
from ..experiment.card_parts import shape_text
from ..experiment.early_exit_card import early_exit_card
from ..experiment.early_exit_folder import EarlyExitFolder
from ..experiment.early_exit_plot import early_exit_plot
from ..experiment.early_exit_report import EarlyExitReport, TriedTaps
from ..experiment.plans import AUTO, SUPERNET, ExitPlan
from ..experiment.reporter import ProgressReporter
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..models.model_file import Model, read_model
from ..models.network import example_input
from ..tasks.registry import TASKS, check_task
from ..utils.distributed import device
from ..utils.errors import InputError
from ..utils.io import check_writable, write, write_json
from ..utils.sizes import Size
from .early_exit_measure import mainnet_accuracy, measure_early_exits
from .folder_locks import writing_lock
from .model_data import data_of, some_of
from .report import update_report_with
from .teachers import largest_subnet

_IMAGES_PER_CLASS = 5  # that search-val must have on average


@dataclass(frozen=True, kw_only=True)
class EarlyExitResult:
    """The folder of a network with early exits, and the content of its sidenet.json."""

    folder: Path
    report: EarlyExitReport

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"folder": str(self.folder), **self.report.to_dict()}


def make_exits(plan: ExitPlan, *, report: ProgressReporter) -> EarlyExitResult:
    """Add early exits to a trained network, and write the network, sidenet.json and a plot.

    Side heads are trained on the training split. Temperatures, taps and threshold are chosen on search-val. The test
    split is evaluated once, at the end.

    Args:
        plan: The models, the side heads' settings, and how the threshold is chosen.
        report: Progress is reported to it.

    Raises:
        FileError: A model cannot be read, or the folder cannot be written to.
        InputError: The models do not fit together or to the data set, or no threshold reaches the target.
    """
    tried: tuple[TriedTaps, ...] = ()
    models, data = _load_models(plan)
    check_writable(plan.out or plan.parent)
    if plan.tiny:
        tiny, big = models
        model = EarlyExitModel(models=(tiny, big), exits=build_cascade(tiny, big), threshold=NEVER_EXIT)
        val = _calibrate(model, data, report)
    else:
        model, val, tried = _build_sidenet(plan, models[0], data, report)
    val_sweep = _sweep(model, val)
    model = replace(model, threshold=_choose_threshold(plan, val_sweep))
    test = model.exits.observe(batches(data, data.test, model.resolution, "test split", report))
    exit_report = measure_early_exits(plan, model, data, tried, val_sweep, _sweep(model, test))
    folder = EarlyExitFolder(plan.create_folder())
    with writing_lock(folder.path, "tinynas sidenet", report):
        folder.export.unlink(missing_ok=True)  # it describes the exits that were there before
        save_early_exits(folder.model, model)
        write(folder.plot, early_exit_plot(exit_report))
        write_card(folder.card, _card(folder, exit_report, model, models[0].identity if plan.data is None else None))
        write_json(folder.report, exit_report.to_dict())
    update_report_with(folder.path, report)
    return EarlyExitResult(folder=folder.path, report=exit_report)


def _card(
    folder: EarlyExitFolder, report: EarlyExitReport, model: EarlyExitModel, identity: DataIdentity | None
) -> str:
    """Return the model card."""
    arch = model.input_model.net.arch
    name = f"{folder.path.resolve().parent.name}-{folder.name}"
    return early_exit_card(name, report, shape=shape_text(arch), classes=model.mainnet.classes, identity=identity)


def batches(data: Data, split: Split, resolution: Size, name: str, report: ProgressReporter) -> Iterator[LabelledBatch]:
    """Yield all images of a split in batches, and report progress."""
    done = 0
    for images, labels in data.evaluation_batches(split, resolution):
        yield images, labels
        done += len(images)
        report.advance(name, done, len(split), "every exit")


def _load_models(plan: ExitPlan) -> tuple[list[Model], Data]:
    """Load the plan's models, the smaller one first, and their data set."""
    of_run = str(plan.model) == SUPERNET
    paths = [] if of_run else [plan.model]
    if plan.tiny:
        paths.insert(0, plan.tiny)
    models = []
    for path in paths:
        model = read_model(path)
        models.append(replace(model, net=model.net.to(device())))
        _check_classifier(models[-1], path)
    data = data_of(models[0], paths[0], plan.data, skip_unreadable=plan.skip_unreadable)
    check_task(models[0].net.arch.task, data)
    if of_run:
        models.append(_supernets_largest(models[0], paths[0], data))
    if plan.tiny:
        _check_cascade(models[0], models[1])
    _check_calibration_images(data)
    return models, data.to(device())


def _check_classifier(model: Model, path: Path) -> None:
    task = model.net.arch.task
    if not TASKS[task].supports_early_exits:
        raise InputError(
            f"only a classifier can have early exits, but {path} is a network to {task}; pass another model"
        )


def _supernets_largest(tiny: Model, path: Path, data: Data) -> Model:
    """Return the largest network of the supernet of the run that a model is in, at the model's image size."""
    run = RunFolder(RetrainFolder(path.resolve().parent).run)
    if not run.supernet.exists():
        raise InputError(
            f"--cascade TINY supernet needs a model inside a run folder with a supernet, but {path} is not in one; "
            "pass a model from RUN/retrain/NAME"
        )
    return replace(tiny, net=largest_subnet(run.path, tiny.net.arch.resolution, data))


def _check_cascade(tiny: Model, big: Model) -> None:
    if tiny.classes != big.classes:
        raise InputError(
            f"both networks of a cascade must have the same classes, but the first has {some_of(tiny.classes)}, the "
            f"second {some_of(big.classes)}; pass models that were trained on the same data set"
        )
    if tiny.normalise != big.normalise:
        raise InputError(
            f"both networks of a cascade must take images normalised alike, but the first has {tiny.normalise}, the "
            f"second {big.normalise}; pass models that were trained on the same data set"
        )
    macs, limit = cost(tiny.net.arch).macs, cost(big.net.arch).macs
    if macs > limit:
        raise InputError(
            f"the first network of a cascade must be the cheaper one, but it has {macs:,} MACs and the second "
            f"{limit:,}; swap them"
        )


def _check_calibration_images(data: Data) -> None:
    counts = data.val.labels.bincount(minlength=len(data.classes))
    if len(data.val) < _IMAGES_PER_CLASS * len(data.classes) or not counts.min():
        raise InputError(
            f"calibration needs {_IMAGES_PER_CLASS} images per class on average in search-val, and one of each class, "
            f"but it has {len(data.val)} images of {len(data.classes)} classes, of one class {int(counts.min())}; "
            "use a larger data set"
        )


def _build_sidenet(
    plan: ExitPlan, mainnet: Model, data: Data, report: ProgressReporter
) -> tuple[EarlyExitModel, ExitOutputs, tuple[TriedTaps, ...]]:
    """Train side heads and calibrate them; if the taps are automatic, keep those with the best curve on search-val.

    Returns:
        The network with early exits, its outputs on search-val, and the choices of taps that were tried.
    """
    arch = mainnet.net.arch
    automatic = AUTO in plan.taps
    taps = [f"stages.{number}" for number in range(len(arch.stages))] if automatic else list(plan.taps)
    net = SideNet(mainnet.net, taps, plan.hidden, inputs=example_input(arch).to(device()))
    training = batches(data, data.train, arch.resolution, "training images", report)
    net.fit(training, distillation=plan.distillation, temperature=plan.temperature, seed=plan.seed)
    model = EarlyExitModel(models=(mainnet,), exits=net, threshold=NEVER_EXIT)
    val = _calibrate(model, data, report)
    if not automatic:
        return model, val, ()
    hypervolumes = _sweep(model, val).subset_hypervolumes([head.macs for head in net.heads])
    tried = []
    for subset, hypervolume in hypervolumes.items():
        tried.append(TriedTaps(taps=tuple(taps[i] for i in subset), hypervolume=hypervolume))
    best = max(hypervolumes, key=hypervolumes.__getitem__)
    rows = list(best)
    rows.append(-1)
    model = replace(model, exits=_with_taps(net, mainnet, best, plan.hidden))
    return model, ExitOutputs(val.logits[rows], val.labels), tuple(tried)


def _with_taps(net: SideNet, mainnet: Model, subset: Sequence[int], hidden: int) -> SideNet:
    """Return a SideNet with some of the taps of another, and its trained heads and temperatures."""
    taps = [net.taps[i] for i in subset]
    smaller = SideNet(mainnet.net, taps, hidden, inputs=example_input(mainnet.net.arch).to(net.device))
    for number, head in zip(subset, smaller.heads, strict=True):
        head.load_state_dict(net.heads[number].state_dict())
    kept = torch.cat([net.temperatures[list(subset)], net.temperatures[-1:]])
    smaller.temperatures.copy_(kept)
    return smaller


def _sweep(model: EarlyExitModel, outputs: ExitOutputs) -> ThresholdSweep:
    return sweep(outputs, model.exits.temperatures.tolist(), model.exits.macs(model.example()))


def _calibrate(model: EarlyExitModel, data: Data, report: ProgressReporter) -> ExitOutputs:
    """Fit the temperatures on search-val; return the exits' outputs there."""
    val = model.exits.observe(batches(data, data.val, model.resolution, "search-val", report))
    model.exits.calibrate(val)
    return val


def _choose_threshold(plan: ExitPlan, val: ThresholdSweep) -> float:
    """Return the plan's threshold, or the one that meets its target on search-val; by default without loss."""
    if plan.threshold is not None:
        return plan.threshold
    if plan.macs is not None:
        return choose(val.curve(), macs=plan.macs).threshold
    accuracy = mainnet_accuracy(val) if plan.accuracy is None else plan.accuracy
    return choose(val.curve(), accuracy=accuracy).threshold
