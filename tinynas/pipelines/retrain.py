"""The retrain command: train one network, alone or with NetAug, and write the model that is deployed."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..arch.arch import Arch
from ..arch.cost import cost
from ..arch.space import SearchSpace
from ..data.base import Data, Split
from ..data.identity import DataIdentity
from ..data.registry import load_data
from ..data.subset import sample_of
from ..data.summary import summarise
from ..experiment.log import RunLog, last_record
from ..experiment.plans import RetrainPlan
from ..experiment.reporter import ProgressReporter, log_progress, log_record
from ..experiment.results import RetrainMetrics
from ..experiment.run_folder import RetrainFolder
from ..experiment.saved import check_data, save_config, save_data
from ..models.model_file import Model, save_model
from ..models.network import Network
from ..models.supernet import Supernet, extract_calibrated
from ..tasks.data_parallel import evaluate_together
from ..tasks.losses import Loss, TeacherLoss
from ..tasks.registry import TASKS, check_fits
from ..tasks.task import Task
from ..training.backend import use_backend
from ..training.divergence import check_finite
from ..training.loop import train
from ..training.objectives import NetAugObjective, Objective, PlainObjective
from ..training.precision import check_precision
from ..training.progress import Progress
from ..utils.distributed import device, rank
from ..utils.io import removed_if_empty, write_json
from .folder_locks import retraining_lock
from .initial_weights import augmented_space, initial_supernet
from .teachers import load_teacher


def retrain(plan: RetrainPlan, *, report: ProgressReporter) -> RetrainMetrics | None:
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
        training = _prepare(plan, report)
    if rank() > 0:
        _train(training)
        _measure(training, training.extract())
        return None
    with retraining_lock(folder):
        _save_settings(training)
        _train(training)
        model = _finalize(training)
        save_model(folder.model, model)
        metrics = _metrics(training, _measure(training, model.net))
        write_json(folder.metrics, metrics.to_dict())
    return metrics


@dataclass(frozen=True, kw_only=True)
class _Retraining:
    """A retraining that is ready to start: the plan, and what was loaded and built for it."""

    plan: RetrainPlan
    task: Task
    data: Data
    identity: DataIdentity
    calibration: list[Tensor]  # images for batch-norm recalibration
    supernet: Supernet  # the target and, with NetAug, the networks around it
    loss: Loss[Any]  # of the target
    augmented_loss: Loss[Any] | None  # of the networks around it, if it differs
    log: RunLog
    report: ProgressReporter

    @property
    def arch(self) -> Arch:
        """The target."""
        return self.plan.arch

    def space(self, epoch: int) -> SearchSpace:
        """Return the networks that are trained in an epoch."""
        return augmented_space(self.arch, self.plan.config.netaug, epoch / self.plan.config.recipe.epochs)

    def objective(self, epoch: int) -> Objective:
        """Return the objective of an epoch."""
        netaug, space = self.plan.config.netaug, self.space(epoch)
        if netaug is None or space.min() == space.max():
            return PlainObjective(self.arch, self.loss)
        return NetAugObjective(
            self.arch,
            space,
            self.loss,
            augmented_loss=self.augmented_loss,
            num_augmented=netaug.num_augmented,
            alpha=netaug.alpha,
            every=netaug.every,
        )

    def before_epoch(self, epoch: int, optimizer: Optimizer) -> None:
        """Sort the channels by importance, if the plan says so, before an epoch that augments widths.

        Not before the first: fresh weights have no order, and those of a trained network are in front.
        """
        netaug = self.plan.config.netaug
        if epoch > 0 and netaug is not None and netaug.sort and len(self.space(epoch).stem.width) > 1:
            self.supernet.sort_channels(optimizer)

    def after_step(self, progress: Progress) -> None:
        """Report progress; after an epoch also log the target's accuracy on search-val, which all processes measure."""
        if rank() == 0:
            log_progress(self.report, self.plan.folder.name, progress)
        if progress.ends_epoch:
            run = self.supernet.runner(self.extract())
            accuracy = self.evaluate_on_sample(run, self.data.val)
            if rank() == 0:
                self.log.add(log_record(progress) | {"val_accuracy": accuracy})

    def evaluate_on_sample(self, model: nn.Module, split: Split) -> float:
        """Return the accuracy of the target on a split, or on a sample of as many images as the plan says."""
        sample = sample_of(split, self.plan.config.eval_images)
        return float(evaluate_together(self.task, model, self.arch, self.data, sample)["accuracy"])

    def extract(self) -> Network:
        """Return the target as a network of its own, recalibrated."""
        return extract_calibrated(self.supernet, self.arch, self.calibration)


def _prepare(plan: RetrainPlan, report: ProgressReporter) -> _Retraining:
    """Load the data and the teacher, and build the networks; nothing is written."""
    config = plan.config
    data = load_data(config.data, skip_unreadable=config.skip_unreadable)
    check_fits(plan.arch, data)
    folder = RetrainFolder(plan.folder)
    identity = DataIdentity.of(data)
    check_data(folder.run.data, config.data, identity)
    if folder.is_trained():
        check_data(folder.data, config.data, identity)
    for line in summarise(data, config.data).lines(brief=folder.run.data.exists()):
        report.note(line)
    supernet = initial_supernet(plan, data).to(device())
    loss, augmented_loss = _losses(plan, data)
    check_precision(config.recipe.precision, device())
    use_backend(supernet, config.recipe, note=report.note)
    log = RunLog(folder.log, tensorboard=plan.tensorboard)
    data = data.to(device())
    return _Retraining(
        plan=plan,
        task=TASKS[plan.arch.task],
        data=data,
        identity=identity,
        calibration=data.calibration_batches(plan.arch.resolution),
        supernet=supernet,
        loss=loss,
        augmented_loss=augmented_loss,
        log=log,
        report=report,
    )


def _save_settings(training: _Retraining) -> None:
    """Write the configuration and the identity of the data set.

    Raises:
        FileError: The folder holds a retraining with other settings.
    """
    plan, folder = training.plan, RetrainFolder(training.plan.folder)
    if not folder.is_trained():
        folder.discard_settings()
    save_config(folder.config, {"arch": plan.arch.to_dict(), **asdict(plan.config)})
    save_data(folder.data, plan.config.data, training.identity)


def _train(training: _Retraining) -> None:
    """Train the target and, with NetAug, the networks around it."""
    train(
        training.supernet,
        training.objective,
        training.data,
        training.plan.config.recipe,
        resolutions=(training.arch.resolution,),
        checkpoint=RetrainFolder(training.plan.folder).checkpoint,
        before_epoch=training.before_epoch,
        after_step=training.after_step,
    )


def _finalize(training: _Retraining) -> Model:
    """Extract the trained target with what is needed to use it.

    Raises:
        TrainingError: Its weights or statistics are not finite.
    """
    net = training.extract()
    check_finite(net, training.plan.config.recipe)
    data = training.data
    return Model(
        net=net,
        data=training.plan.config.data,
        classes=data.classes,
        normalise=data.normalise,
        crop=data.crop,
        identity=training.identity,
    )


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """What was measured of the final network."""

    test: dict[str, Any]  # as of `Task.metrics`
    train_accuracy: float


def _measure(training: _Retraining, net: Network) -> _Scores:
    """Measure the final network on the test split and on training images; all processes do it together."""
    test = evaluate_together(training.task, net, training.arch, training.data, training.data.test)
    return _Scores(test=test, train_accuracy=training.evaluate_on_sample(net, training.data.train))


def _metrics(training: _Retraining, scores: _Scores) -> RetrainMetrics:
    """Return what the retraining reports."""
    config, arch = training.plan.config, training.arch
    return RetrainMetrics(
        metric=training.task.metric,
        accuracy=scores.test["accuracy"],
        balanced_accuracy=scores.test.get("balanced_accuracy"),
        ap50=scores.test.get("ap50"),
        by_class=scores.test["by_class"],
        chance=scores.test.get("chance"),
        train_accuracy=scores.train_accuracy,
        cost=cost(arch),
        seconds=last_record(RetrainFolder(training.plan.folder).log)["seconds"],
        epochs=config.recipe.epochs,
        netaug=config.netaug is not None,
        teacher=config.distillation.teacher if config.distillation else None,
        init=config.init,
        seed=config.recipe.seed,
        data=config.data,
    )


def _losses(plan: RetrainPlan, data: Data) -> tuple[Loss[Any], Loss[Any] | None]:
    """Load the plan's teacher; return the loss of the target, and that of the augmented networks if it differs."""
    arch = plan.arch
    task, distillation, recipe = TASKS[arch.task], plan.config.distillation, plan.config.recipe
    label_loss = task.loss(arch, data, label_smoothing=recipe.label_smoothing, class_weights=recipe.class_weights)
    if distillation is None:
        return label_loss, None
    teacher_loss = TeacherLoss(
        teacher=load_teacher(distillation.teacher, plan.run, arch, data, cache=recipe.augmentation == "none"),
        label_loss=label_loss,
        distillation_loss=task.distillation_loss(distillation.temperature),
        weight=distillation.teacher_weight,
    )
    return teacher_loss, None if distillation.teach_augmented else label_loss
