"""A retraining that is ready to start: what it trains in every epoch, and what it does after every step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..data.base import Data, Split
from ..data.identity import DataIdentity
from ..data.joined import with_search_val_in_train
from ..data.registry import load_data
from ..data.subset import sample_of
from ..data.summary import summarise
from ..experiment.log import RunLog, highest
from ..experiment.plans import RetrainPlan
from ..experiment.reporter import ProgressReporter, log_progress, log_record
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..experiment.saved import check_data
from ..experiment.trackers import Trackers
from ..models.batchnorm import recalibrate
from ..models.model_file import Model, read_model, save_model
from ..models.network import Network
from ..models.shrinking import shrink
from ..models.supernet import Supernet
from ..tasks.data_parallel import evaluate_together
from ..tasks.losses import DistillationLoss, Loss
from ..tasks.registry import TASKS, check_fits
from ..tasks.task import Task
from ..training.augmentation import check_augmentation
from ..training.averaging import WeightAverage
from ..training.backend import use_backend
from ..training.loop import train
from ..training.objectives import NetAugObjective, Objective, PlainObjective
from ..training.precision import check_precision
from ..training.progress import Progress
from ..training.teacher_outputs import TeacherOutputs
from ..utils.distributed import broadcast_weights, device, rank
from .block_check import check_blocks
from .initial_weights import augmented_space, initial_supernet
from .model_data import check_same_data
from .recalibration import RecalibrationImages
from .teachers import inplace_distillation_loss, load_teacher_outputs, losses_of

AfterEpoch = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """A retraining that is ready to start: the plan, and what was loaded and built for it.

    `prepare_retraining` makes it.
    """

    plan: RetrainPlan
    task: Task
    data: Data
    identity: DataIdentity
    recalibration: RecalibrationImages
    supernet: Supernet  # the target and, with NetAug, the networks around it
    average: WeightAverage | None  # of the target's weights
    teacher: TeacherOutputs | None
    loss: Loss[Any]  # of the target
    augmented_loss: Loss[Any] | None  # of the networks around it, if it differs
    inplace_distillation_loss: DistillationLoss[Any]  # of the target, on the outputs of the networks around it
    log: RunLog
    report: ProgressReporter
    after_epoch: AfterEpoch  # receives how many epochs have been trained, and the accuracy on search-val

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
            inplace_distillation=netaug.inplace_distillation,
            distillation_loss=self.inplace_distillation_loss,
        )

    def train(self) -> None:
        """Train the target and, with NetAug, the networks around it; continue from the checkpoint, if there is one."""
        train(
            self.supernet,
            self.objective,
            self.data,
            self.plan.config.recipe,
            resolutions=(self.arch.resolution,),
            checkpoint=RetrainFolder(self.plan.folder).checkpoint,
            teacher=self.teacher,
            average=self.average,
            before_epoch=self.before_epoch,
            after_step=self.after_step,
            note=self.report.note,
        )

    def before_epoch(self, epoch: int, optimizer: Optimizer) -> None:
        """Prepare the networks for an epoch: without the weights that only earlier epochs train, and sorted.

        Channels are sorted by importance, if the plan says so, before an epoch that augments widths. By default not
        before the first: fresh weights have no order, and those of a trained network are in front.
        """
        netaug, space = self.plan.config.netaug, self.space(epoch)
        if space.max() != self.supernet.net.arch:
            shrink(self.supernet, space, optimizer)
        if netaug is None or not netaug.sort or epoch + 1 < netaug.sort_from_epoch:
            return
        width, _ = netaug.factors(epoch / self.plan.config.recipe.epochs)
        if len(width) > 1:
            self.supernet.sort_channels(optimizer, only_expanded=netaug.sorted_channels == "expanded")
            if self.average is not None:
                self.average.restart()

    def after_step(self, progress: Progress) -> None:
        """Report progress; after an epoch also log it, with the accuracy on search-val unless that is trained on.

        All processes measure it, the first one writes and reports.
        """
        if rank() == 0:
            log_progress(self.report, self.plan.folder.name, progress)
        if not progress.ends_epoch:
            return
        record = log_record(progress)
        if not self.plan.config.train_on_all:
            net = self.extract()
            accuracy = self.evaluate_on_sample(self.supernet.runner(net), self.data.val)
            record["val_accuracy"] = accuracy
            self.keep_if_best(net, accuracy, progress.step)
        if rank() == 0:
            self.log.add(record)
        if not self.plan.config.train_on_all:
            self.after_epoch(progress.epoch, accuracy)

    def evaluate_on_sample(self, model: nn.Module, split: Split) -> float:
        """Return the accuracy of the target on a split, or on a sample of as many images as the plan says."""
        sample = sample_of(split, self.plan.config.eval_images)
        return float(evaluate_together(self.task, model, self.arch, self.data, sample)["accuracy"])

    def keep_if_best(self, net: Network, accuracy: float, step: int) -> None:
        """Write the network of an epoch to a file, in the first process, if the best is kept and it is that so far.

        The log has the accuracies of the earlier epochs, also of those before a training was resumed.
        """
        if rank() > 0 or self.plan.config.keep == "last":
            return
        folder = RetrainFolder(self.plan.folder)
        if accuracy > highest(folder.log, "val_accuracy", before=step):
            save_model(folder.best_model, self.model(net))

    def extract(self) -> Network:
        """Return the target as a network of its own in eval mode, recalibrated unless the plan has no images for it."""
        net = self.supernet.extract(self.arch) if self.average is None else self.average.network()
        if self.plan.config.recalibration_images == 0:
            return net.eval()
        recalibrate(self.supernet.runner(net), (images.to(device()) for images in self.recalibration))
        return net

    def final_network(self) -> Network:
        """Return the target that is delivered, in all processes: that of the last epoch, or of the best one."""
        net = self.extract()
        if self.plan.config.keep == "best":
            if rank() == 0:
                net.load_state_dict(read_model(RetrainFolder(self.plan.folder).best_model).net.state_dict())
            broadcast_weights(net)
        return net

    def model(self, net: Network) -> Model:
        """Return a trained target with what is needed to use it."""
        return Model(
            net=net,
            data=self.plan.config.data,
            classes=self.data.classes,
            normalise=self.data.normalise,
            crop=self.data.crop,
            identity=self.identity,
        )


def _ignore(epochs: int, accuracy: float) -> None:
    """Do nothing after an epoch."""


def prepare_retraining(plan: RetrainPlan, report: ProgressReporter, *, after_epoch: AfterEpoch = _ignore) -> Retraining:
    """Load the data and the teacher, and build the networks; nothing is written.

    Args:
        plan: The retraining.
        report: Receives messages and progress.
        after_epoch: Called after every epoch with the number of epochs and the accuracy on search-val, unless that is
            trained on.

    Raises:
        InputError: The data set, the teacher or the initial weights do not suit the network.
        FileError: A file is missing or corrupt, or the folder holds a retraining with other settings.
    """
    config = plan.config
    data = load_data(config.data, skip_unreadable=config.skip_unreadable, named_in=plan.folder)
    check_fits(plan.arch, data)
    check_blocks(plan.arch)
    folder = RetrainFolder(plan.folder)
    identity = DataIdentity.of(data)
    check_same_data(config.data, identity)
    check_data(RunFolder(folder.run).data, config.data, identity)
    if folder.is_trained():
        check_data(folder.data, config.data, identity)
    check_augmentation(config.recipe, data)
    for line in summarise(data, config.data).lines(brief=RunFolder(folder.run).data.exists()):
        report.note(line)
    for line in plan.notes:
        report.note(line)
    if config.train_on_all:
        data = with_search_val_in_train(data)
        report.note(
            f"trains on all {len(data.train):,} training images, search-val included: no accuracy on search-val is "
            "measured, and the last weights are kept"
        )
    batch, images = config.recipe.batch_size, len(data.train)
    if batch > images:
        report.note(
            f"an epoch is a single step, as a batch of {batch:,} images is larger than the training split of "
            f"{images:,}; choose a smaller --batch-size"
        )
    return build_retraining(plan, data, identity, report, after_epoch=after_epoch)


def build_retraining(
    plan: RetrainPlan,
    data: Data,
    identity: DataIdentity,
    report: ProgressReporter,
    *,
    after_epoch: AfterEpoch = _ignore,
) -> Retraining:
    """Build the networks and load the teacher of a retraining on data that is loaded and checked; nothing is written.

    Args:
        plan: The retraining.
        data: The data set, on any device.
        identity: Its classes, images and labels.
        report: As in `prepare_retraining`.
        after_epoch: As there.

    Raises:
        InputError: The teacher or the initial weights do not suit the network.
        FileError: A file is missing or corrupt.
    """
    config = plan.config
    supernet = initial_supernet(plan, data).to(device())
    loss, augmented_loss = losses_of(plan, data)
    check_precision(config.recipe.precision, device())
    use_backend(supernet, config.recipe, note=report.note)
    log = RunLog(RetrainFolder(plan.folder).log, trackers=Trackers(plan.track, note=report.note))
    data = data.to(device())
    return Retraining(
        plan=plan,
        task=TASKS[plan.arch.task],
        data=data,
        identity=identity,
        recalibration=RecalibrationImages.of(plan, data),
        supernet=supernet,
        average=WeightAverage(supernet, plan.arch, decay=config.ema) if config.ema else None,
        teacher=load_teacher_outputs(plan, data, note=report.note),
        loss=loss,
        augmented_loss=augmented_loss,
        inplace_distillation_loss=inplace_distillation_loss(plan),
        log=log,
        report=report,
        after_epoch=after_epoch,
    )
