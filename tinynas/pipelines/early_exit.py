"""The sidenet command: add early exits to a trained network, calibrate them, choose thresholds, measure."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.base import Data, LabelledBatch, Split
from ..data.identity import DataIdentity
from ..early_exit.calibration import ExitOutputs
from ..early_exit.joint import fit_jointly
from ..early_exit.model import EarlyExitModel, build_cascade
from ..early_exit.model_file import save_early_exits
from ..early_exit.sidenet import SideNet
from ..early_exit.thresholds import ThresholdSweep, choose_accurate, choose_affordable, choose_fast
from ..experiment.card_file import write_card
from ..experiment.card_parts import shape_text
from ..experiment.early_exit_card import early_exit_card
from ..experiment.early_exit_folder import EarlyExitFolder
from ..experiment.early_exit_plot import early_exit_plot
from ..experiment.early_exit_report import EarlyExitReport, TriedTaps
from ..experiment.exit_plan import AUTO, EXIT_RULES, ExitPlan
from ..experiment.reporter import ProgressReporter
from ..models.model_file import Model
from ..models.network import example_input
from ..tasks.registry import TASKS
from ..utils.distributed import device
from ..utils.io import write, write_json
from ..utils.sizes import Size
from .early_exit_measure import candidates, mainnet_accuracy, measure_early_exits, measure_exit_seconds, sweep_of
from .early_exit_models import load_exit_models
from .folder_locks import check_output_folder, writing_lock
from .report import update_report_with

_JOINT_BATCH = 128  # images


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

    Side heads are trained on the training split. Temperatures, taps, rule and thresholds are chosen on search-val. The
    test split is evaluated once, at the end.

    Args:
        plan: The models, the side heads' settings, and how the threshold is chosen.
        report: Progress is reported to it.

    Raises:
        FileError: A model cannot be read, or the folder cannot be written to.
        InputError: The models do not fit together or to the data set, or no threshold reaches the target.
    """
    tried: tuple[TriedTaps, ...] = ()
    models, data = load_exit_models(plan)
    check_output_folder(plan.out or plan.parent)
    unchanged = deepcopy(models[-1]) if plan.joint else None
    if plan.tiny:
        tiny, big = models
        model = EarlyExitModel(models=(tiny, big), exits=build_cascade(tiny, big))
    else:
        model, tried = _build_sidenet(plan, models[0], data, report)
    val = sweep_of(model, _calibrate(model, data, plan.rule, report))
    exit_seconds = measure_exit_seconds(model) if plan.seconds else []
    model.exits.thresholds = _choose_thresholds(plan, val, exit_seconds)
    test = model.exits.observe(batches(data, data.test, model.resolution, "test split", report))
    exit_report = measure_early_exits(
        plan,
        model,
        data,
        tried,
        val,
        test,
        unchanged_accuracy=_test_accuracy(unchanged, data) if unchanged else None,
        exit_seconds=exit_seconds,
    )
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


def _build_sidenet(
    plan: ExitPlan, mainnet: Model, data: Data, report: ProgressReporter
) -> tuple[EarlyExitModel, tuple[TriedTaps, ...]]:
    """Train side heads; if the taps are automatic, keep those with the best curve on search-val.

    Returns:
        The network with early exits, and the choices of taps that were tried.
    """
    arch = mainnet.net.arch
    automatic = AUTO in plan.taps
    taps = [f"stages.{number}" for number in range(len(arch.stages))] if automatic else list(plan.taps)
    net = SideNet(mainnet.net, taps, plan.hidden, inputs=example_input(arch).to(device()))
    training = batches(data, data.train, arch.resolution, "training images", report)
    net.fit(training, distillation=plan.distillation, temperature=plan.temperature, seed=plan.seed)
    model, tried = EarlyExitModel(models=(mainnet,), exits=net), []
    if automatic:
        val = sweep_of(model, _calibrate(model, data, EXIT_RULES[0], report))
        hypervolumes = val.subset_hypervolumes([head.macs for head in net.heads])
        for subset, hypervolume in hypervolumes.items():
            tried.append(TriedTaps(taps=tuple(taps[i] for i in subset), hypervolume=hypervolume))
        best = max(hypervolumes, key=hypervolumes.__getitem__)
        model = replace(model, exits=_with_taps(net, mainnet, best, plan.hidden))
    if plan.joint:
        _train_jointly(plan, model, data, report)
    return model, tuple(tried)


def _with_taps(net: SideNet, mainnet: Model, subset: Sequence[int], hidden: int) -> SideNet:
    """Return a SideNet with some of the taps of another, and its trained heads."""
    taps = [net.taps[i] for i in subset]
    smaller = SideNet(mainnet.net, taps, hidden, inputs=example_input(mainnet.net.arch).to(net.device))
    for number, head in zip(subset, smaller.heads, strict=True):
        head.load_state_dict(net.heads[number].state_dict())
    return smaller


def _test_accuracy(model: Model, data: Data) -> float:
    """Return a network's accuracy on the test split, in percent."""
    net, task = model.net, TASKS[model.net.arch.task]
    return float(task.evaluate(net, net.arch, data, data.test)["accuracy"])


def _train_jointly(plan: ExitPlan, model: EarlyExitModel, data: Data, report: ProgressReporter) -> None:
    """Train the network together with its exits, in place."""
    steps = plan.joint * data.steps_per_epoch(_JOINT_BATCH)
    fit_jointly(model.exits, _training_batches(plan, model, data, steps, report), steps=steps)


def _training_batches(
    plan: ExitPlan, model: EarlyExitModel, data: Data, steps: int, report: ProgressReporter
) -> Iterator[LabelledBatch]:
    """Yield augmented training batches of all epochs, and report progress."""
    done = 0
    for epoch in range(plan.joint):
        for batch in data.training_batches(_JOINT_BATCH, [model.resolution], seed=plan.seed, epoch=epoch):
            yield batch.images, batch.labels
            done += 1
            report.advance("joint training", done, steps, f"epoch {epoch + 1} of {plan.joint}")


def _calibrate(model: EarlyExitModel, data: Data, rule: str, report: ProgressReporter) -> ExitOutputs:
    """Fit the temperatures and the rule on search-val; return the exits' outputs there."""
    val = model.exits.observe(batches(data, data.val, model.resolution, "search-val", report))
    model.exits.calibrate(val, rule)
    return val


def _choose_thresholds(plan: ExitPlan, val: ThresholdSweep, exit_seconds: Sequence[float]) -> tuple[float, ...]:
    """Return the plan's threshold, or those that meet its target on search-val; by default without loss."""
    if plan.threshold is not None:
        return (plan.threshold,)
    if plan.seconds is not None:
        return choose_fast(candidates(plan, val, exit_seconds), plan.seconds, exit_seconds).thresholds
    if plan.macs is not None:
        return choose_affordable(candidates(plan, val), plan.macs).thresholds
    accuracy = mainnet_accuracy(val) if plan.accuracy is None else plan.accuracy
    return choose_accurate(candidates(plan, val), accuracy).thresholds
