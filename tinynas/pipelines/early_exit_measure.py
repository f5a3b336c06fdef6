"""What a network with early exits does on the test split: the content of sidenet.json."""

from collections.abc import Sequence

from ..arch.cost import cost
from ..data.base import Data
from ..early_exit.calibration import calibration_error, reliability
from ..early_exit.model import EarlyExitModel, worst_case_cost
from ..early_exit.thresholds import (
    OperatingPoint,
    ThresholdSweep,
    candidate_thresholds,
    choose,
    oracle_exits,
    random_exits,
)
from ..experiment.early_exit_report import AllowedLoss, EarlyExitReport, ExitReport, ThresholdPoint, TriedTaps
from ..experiment.plans import ExitPlan
from ..tasks.registry import TASKS

ALLOWED_LOSSES = (0.0, 0.5, 1.0)  # percentage points of accuracy on search-val; a threshold is reported for each


def measure_early_exits(
    plan: ExitPlan,
    model: EarlyExitModel,
    data: Data,
    tried: tuple[TriedTaps, ...],
    val: ThresholdSweep,
    test: ThresholdSweep,
) -> EarlyExitReport:
    """Return what the network does on the test split: at its threshold, at all others, and each exit alone."""
    whole = cost(model.mainnet.net.arch)
    (chosen,) = test.at([model.threshold])
    exits = []
    for number, share in enumerate(chosen.shares):
        exits.append(_exit_report(model, test, number, share))
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
        point=point,
        worst_case=worst_case_cost(model),
        mainnet_accuracy=mainnet_accuracy(test),
        mainnet_cost=whole,
        exits=tuple(exits),
        losses=_allowed_losses(val, test, whole.macs),
        curve=threshold_points(test.at(candidate_thresholds(val.confidences))),
        points=threshold_points(test.at(val.pareto_thresholds())),
        random=tuple(random_exits(test.correct, test.macs)),
        oracle=tuple(oracle_exits(test.correct, test.macs)),
    )


def mainnet_accuracy(split: ThresholdSweep) -> float:
    """Return the accuracy of the network without early exits, in percent."""
    return 100 * float(split.correct[-1].mean())


def threshold_points(points: Sequence[OperatingPoint]) -> tuple[ThresholdPoint, ...]:
    """Return operating points as reports have them, without the shares of the exits."""
    entries = []
    for point in points:
        entries.append(ThresholdPoint(threshold=point.threshold, accuracy=point.accuracy, macs=point.macs))
    return tuple(entries)


def _allowed_losses(val: ThresholdSweep, test: ThresholdSweep, macs: int) -> tuple[AllowedLoss, ...]:
    losses = []
    for allowed in ALLOWED_LOSSES:
        chosen = choose(val.curve(), accuracy=mainnet_accuracy(val) - allowed)
        (point,) = test.at([chosen.threshold])
        losses.append(
            AllowedLoss(
                allowed=allowed,
                threshold=point.threshold,
                accuracy=point.accuracy,
                macs=point.macs,
                saved=1 - point.macs / macs,
            )
        )
    return tuple(losses)


def _exit_report(model: EarlyExitModel, test: ThresholdSweep, number: int, share: float) -> ExitReport:
    correct = test.correct[number]
    before, after = reliability(test.uncalibrated[number], correct), reliability(test.confidences[number], correct)
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
