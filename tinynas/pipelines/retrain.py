"""The retrain command: train one network, alone or with NetAug, and write the model that is deployed."""

from dataclasses import dataclass
from typing import Any

from ..arch.cost import cost
from ..experiment.card_file import write_card
from ..experiment.log import last_record
from ..experiment.model_card import model_card
from ..experiment.plans import RetrainPlan
from ..experiment.reporter import ProgressReporter
from ..experiment.results import RetrainMetrics
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.saved import save_retraining
from ..experiment.tracked_runs import conclude_retraining, tracked_retraining
from ..models.model_file import Model, save_model
from ..models.network import Network
from ..tasks.data_parallel import evaluate_together
from ..training.divergence import check_finite
from ..utils.distributed import rank
from ..utils.io import removed_if_empty, write, write_json
from .detection_picture import detection_picture, with_score_threshold
from .error_analysis import analyse_errors
from .folder_locks import retraining_lock
from .report import update_report_with
from .retraining import Retraining, prepare_retraining


def retrain(plan: RetrainPlan, *, report: ProgressReporter) -> RetrainMetrics | None:
    """Train a network as `train_network` does, and write the report of its run.

    Returns:
        What it measured, as it is written to metrics.json.

    Raises:
        InputError: The data set, the teacher or the initial weights do not suit the network.
        FileError: A file is missing or corrupt, the folder holds a retraining with other settings, or another process
            is training in it.
        TrainingError: The training diverged.
    """
    metrics = train_network(plan, report=report)
    if metrics is not None:
        update_report_with(plan.folder, report)
    return metrics


def train_network(plan: RetrainPlan, *, report: ProgressReporter) -> RetrainMetrics | None:
    """Train a network, with NetAug or a teacher if the plan says so, and write it to the plan's folder.

    Every retraining trains a supernet: with NetAug, one of the wider networks around the target; without, one whose
    only network is the target, which is then the same as training `build(arch)`. So there is one training loop, one
    checkpoint format and one way to the final model. An interrupted retraining resumes from its checkpoint. Under
    torchrun all processes train; all but the first return None.

    Returns:
        What it measured, as it is written to metrics.json.

    Raises:
        InputError: The data set, the teacher or the initial weights do not suit the network.
        FileError: A file is missing or corrupt, the folder holds a retraining with other settings, or another process
            is training in it.
        TrainingError: The training diverged.
    """
    folder = RetrainFolder(plan.folder)
    with removed_if_empty(*plan.own_folders):
        training = prepare_retraining(plan, report)
    if rank() > 0:
        training.train()
        _measure(training, training.final_network())
        return None
    trackers = training.log.trackers
    with retraining_lock(folder), trackers:
        save_retraining(plan, training.identity)
        trackers.start(tracked_retraining(plan))
        training.train()
        model = _finalize(training)
        save_model(folder.model, model)
        metrics = _metrics(training, _measure(training, model.net))
        if training.task.predicts_boxes:
            write(folder.picture, detection_picture(model, training.data))
        write_card(folder.card, model_card(folder, metrics))
        analysis = analyse_errors(model.net, training.data)
        write_json(folder.errors, analysis.to_dict())
        write_json(folder.metrics, metrics.to_dict())
        conclude_retraining(trackers, folder, metrics)
    return metrics


def _finalize(training: Retraining) -> Model:
    """Extract the trained target with what is needed to use it, and choose a detector's threshold of scores.

    Raises:
        TrainingError: Its weights or statistics are not finite.
    """
    net = training.final_network()
    check_finite(net, training.plan.config.recipe)
    model = training.model(net)
    return with_score_threshold(model, training.data) if training.task.predicts_boxes else model


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """What was measured of the final network."""

    test: dict[str, Any]  # as of `Task.metrics`
    train_accuracy: float


def _measure(training: Retraining, net: Network) -> _Scores:
    """Measure the final network on the test split and on training images; all processes do it together."""
    test = evaluate_together(training.task, net, training.arch, training.data, training.data.test)
    return _Scores(test=test, train_accuracy=training.evaluate_on_sample(net, training.data.train))


def _metrics(training: Retraining, scores: _Scores) -> RetrainMetrics:
    """Return what the retraining reports."""
    config, arch = training.plan.config, training.arch
    return RetrainMetrics(
        metric=training.task.metric,
        accuracy=scores.test["accuracy"],
        balanced_accuracy=scores.test.get("balanced_accuracy"),
        ap50=scores.test.get("ap50"),
        by_class=scores.test["by_class"],
        chance=scores.test.get("chance"),
        detection=scores.test.get("detection"),
        train_accuracy=scores.train_accuracy,
        cost=cost(arch),
        seconds=last_record(RetrainFolder(training.plan.folder).log)["seconds"],
        epochs=config.recipe.epochs,
        netaug=config.netaug is not None,
        teacher=config.distillation.teacher if config.distillation else None,
        loss=config.loss,
        init=config.init,
        seed=config.recipe.seed,
        data=config.data,
    )
