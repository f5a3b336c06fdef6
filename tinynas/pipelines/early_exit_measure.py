"""What a network with early exits does on the test split: the content of sidenet.json."""

from collections.abc import Sequence
from functools import partial

from ..arch.cost import cost
from ..data.base import Data
from ..deploy.latency import median_seconds
from ..early_exit.calibration import ExitOutputs, calibration_error, reliability
from ..early_exit.model import EarlyExitModel, worst_case_cost
from ..early_exit.threshold_search import per_exit_points
from ..early_exit.thresholds import (
    NEVER_EXIT,
    OperatingPoint,
    ThresholdSweep,
    candidate_thresholds,
    choose_accurate,
    oracle_exits,
    random_exits,
    spaced_thresholds,
    sweep,
)
from ..experiment.early_exit_report import EarlyExitReport, ExitReport, TriedTaps
from ..experiment.exit_plan import PER_EXIT, ExitPlan
from ..experiment.threshold_point import AllowedLoss, ThresholdPoint
from ..tasks.registry import TASKS

ALLOWED_LOSSES = (0.0, 0.5, 1.0)  # percentage points of accuracy on search-val; a threshold is reported for each


def measure_early_exits(
    plan: ExitPlan,
    model: EarlyExitModel,
    data: Data,
    tried: tuple[TriedTaps, ...],
    val: ThresholdSweep,
    outputs: ExitOutputs,
    *,
    unchanged_accuracy: float | None = None,
    exit_seconds: Sequence[float] = (),
) -> EarlyExitReport:
    """Return what the network does on the test split: at its thresholds, at others, and each exit alone.

    Args:
        plan: The plan of the exits.
        model: The network with its thresholds.
        data: The data set.
        tried: The choices of taps that were tried.
        val: The sweep on search-val.
        outputs: The outputs of all exits on the test split.
        unchanged_accuracy: Accuracy of the network before joint training, on the test split, in percent.
        exit_seconds: Seconds of an image that takes each exit, if thresholds were chosen by them.
    """
    whole = cost(model.mainnet.net.arch)
    test, points = sweep_of(model, outputs), candidates(plan, val)
    (chosen,) = test.at([model.exits.thresholds])
    exits = []
    for number, share in enumerate(chosen.shares):
        exits.append(_exit_report(model, test, outputs, number, share))
    (point,) = threshold_points([chosen])
    return EarlyExitReport(
        model=str(plan.model),
        tiny=str(plan.tiny) if plan.tiny else None,
        data=plan.data or model.models[0].data,
        metric=TASKS[data.task].metric,
        taps=tuple(model.exits.taps),
        tried=tried,
        hidden=0 if plan.tiny else plan.hidden,
        calibration_images=len(data.val),
        test_images=len(data.test),
        rule=model.exits.rule.name,
        joint_epochs=plan.joint,
        unchanged_accuracy=unchanged_accuracy,
        exit_seconds=tuple(exit_seconds),
        point=point,
        worst_case=worst_case_cost(model),
        mainnet_accuracy=mainnet_accuracy(test),
        mainnet_cost=whole,
        exits=tuple(exits),
        losses=_allowed_losses(points, val, test, whole.macs),
        curve=threshold_points(test.at(candidate_thresholds(val.scores))),
        points=threshold_points(test.at(spaced_thresholds(points))),
        random=tuple(random_exits(test.correct, test.macs)),
        oracle=tuple(oracle_exits(test.correct, test.macs)),
    )


def sweep_of(model: EarlyExitModel, outputs: ExitOutputs) -> ThresholdSweep:
    """Return the sweep for a network's outputs on a split."""
    exits = model.exits
    return sweep(outputs, exits.temperatures.tolist(), exits.macs(model.example()), exits.rule)


def candidates(plan: ExitPlan, val: ThresholdSweep, costs: Sequence[float] | None = None) -> list[OperatingPoint]:
    """Return the operating points on search-val that the plan chooses from, good ones at these costs of the exits."""
    return per_exit_points(val, costs) if plan.thresholds == PER_EXIT else val.curve()


def measure_exit_seconds(model: EarlyExitModel) -> list[float]:
    """Return the median seconds of one image that takes each exit, in PyTorch on this machine."""
    image, early = model.example(), len(model.exits.exits) - 1
    seconds = []
    for number in range(early + 1):
        thresholds = [NEVER_EXIT] * number + [0.0] * (early - number)
        seconds.append(median_seconds(partial(model.exits, image, threshold=thresholds)))
    return seconds


def mainnet_accuracy(split: ThresholdSweep) -> float:
    """Return the accuracy of the network without early exits, in percent."""
    return 100 * float(split.correct[-1].mean())


def threshold_points(points: Sequence[OperatingPoint]) -> tuple[ThresholdPoint, ...]:
    """Return operating points as reports have them, without the shares of the exits."""
    entries = []
    for point in points:
        entries.append(ThresholdPoint(thresholds=point.thresholds, accuracy=point.accuracy, macs=point.macs))
    return tuple(entries)


def _allowed_losses(
    points: Sequence[OperatingPoint], val: ThresholdSweep, test: ThresholdSweep, macs: int
) -> tuple[AllowedLoss, ...]:
    losses = []
    for allowed in ALLOWED_LOSSES:
        chosen = choose_accurate(points, mainnet_accuracy(val) - allowed)
        (point,) = test.at([chosen.thresholds])
        losses.append(
            AllowedLoss(
                allowed=allowed,
                thresholds=point.thresholds,
                accuracy=point.accuracy,
                macs=point.macs,
                saved=1 - point.macs / macs,
            )
        )
    return tuple(losses)


def _exit_report(
    model: EarlyExitModel, test: ThresholdSweep, outputs: ExitOutputs, number: int, share: float
) -> ExitReport:
    correct, temperatures = test.correct[number], model.exits.temperatures.tolist()
    before = reliability(outputs.confidences([1.0] * len(temperatures))[number], correct)
    after = reliability(outputs.confidences(temperatures)[number], correct)
    return ExitReport(
        name=model.names[number],
        macs=test.macs[number],
        share=share,
        accuracy=100 * float(correct.mean()),
        temperature=float(model.exits.temperatures[number]),
        calibration_error_before=calibration_error(before),
        calibration_error=calibration_error(after),
        reliability_before=tuple(before),
        reliability=tuple(after),
    )
