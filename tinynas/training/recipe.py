"""Training recipe: optimizer, schedule and regularisation."""

from dataclasses import dataclass
from math import cos, pi

from ..utils.errors import InputError
from ..utils.settings import check_settings, setting

AUGMENTATIONS = ("none", "light", "standard", "strong")
CLASS_WEIGHTS = ("none", "balanced")
BACKENDS = ("auto", "fused", "eager")
PRECISIONS = ("fp32", "bf16", "fp16")  # the last two are mixed precision
_TRAINING = "Training"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How weights are trained: SGD with Nesterov momentum; the learning rate, updated every step, decays by a cosine.

    Example:
        >>> Recipe(epochs=3, lr=0.2).rate(1.0)
        0.2
    """

    epochs: int = setting(20, help="Passes over the training images", unit="epochs", group=_TRAINING, minimum=1)
    batch_size: int = setting(32, help="Images in a training step", group=_TRAINING, minimum=2)
    lr: float = setting(0.1, help="Peak learning rate, at the end of the warm-up", group=_TRAINING, above=0)
    warmup_epochs: float = setting(
        1.0,
        help="Length of the linear warm-up, the first of the epochs, at most half of them",
        unit="epochs",
        group=_TRAINING,
        aliases=("warmup",),
        minimum=0,
    )
    warmup_lr: float = setting(0.0, help="Learning rate from which the warm-up rises", group=_TRAINING, minimum=0)
    momentum: float = setting(0.9, help="Nesterov momentum", group=_TRAINING, minimum=0, below=1)
    weight_decay: float = setting(
        4e-5, help="L2 penalty of weights; batch-norm parameters and biases have none", group=_TRAINING, minimum=0
    )
    label_smoothing: float = setting(
        0.1, help="Label smoothing", group=_TRAINING, aliases=("smoothing",), minimum=0, below=1
    )
    class_weights: str = setting(
        "none",
        help="Weights of the classes' labels in the loss: none, or balanced, inversely proportional to the numbers of "
        "training images",
        group=_TRAINING,
        metavar="WEIGHTS",
        choices=CLASS_WEIGHTS,
    )
    max_grad_norm: float = setting(
        0.0,
        help="Gradients of larger L2 norm are clipped to it; 0: no clipping",
        group=_TRAINING,
        aliases=("clip",),
        minimum=0,
    )
    augmentation: str = setting(
        "standard",
        help="Augmentation of training images: none, light (half as far as standard, nothing mirrored; of classifiers "
        "only), standard (crops or shifts, mirrored images), or strong",
        group=_TRAINING,
        metavar="AUGMENTATION",
        choices=AUGMENTATIONS,
    )
    crop_scale: float | None = setting(
        None,
        help="Smallest area of a random crop of a training image, as a fraction of the image's; of classifiers only",
        group=_TRAINING,
        default_text="0.25 for image files; images in memory are shifted by some pixels instead",
        above=0,
        maximum=1,
    )
    brightness: float = setting(
        0.0,
        help="Largest random change of a training image's brightness, as a fraction",
        group=_TRAINING,
        minimum=0,
        maximum=1,
    )
    saturation: float = setting(
        0.0,
        help="Largest random change of a training image's saturation, as a fraction",
        group=_TRAINING,
        minimum=0,
        maximum=1,
    )
    freeze_epochs: float = setting(
        0.0,
        help="Length of the first part of training, in which only the classifier is trained",
        unit="epochs",
        group=_TRAINING,
        aliases=("freeze",),
        minimum=0,
    )
    head_lr: float = setting(
        0.0, help="Peak learning rate of the classifier; 0: that of --lr", group=_TRAINING, minimum=0
    )
    precision: str = setting(
        "fp32",
        help="Precision of forward passes: fp32, or mixed with bf16 or fp16",
        group=_TRAINING,
        metavar="PRECISION",
        choices=PRECISIONS,
    )
    backend: str = setting(
        "auto",
        help="What trains on a CPU: fused, this package's kernels; eager, PyTorch's; auto: the fused ones where they "
        "cover the networks and the machine",
        group=_TRAINING,
        metavar="BACKEND",
        choices=BACKENDS,
    )
    sync_bn: bool = setting(
        False,
        help="Batch norm over the whole batch of a data-parallel training, instead of each process's part",
        group=_TRAINING,
    )
    seed: int = setting(
        0, help="Seed of initial weights, image order, augmentation and sampled subnets", group=_TRAINING, minimum=0
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.freeze_epochs > self.epochs:
            raise InputError(
                f"--freeze-epochs is {self.freeze_epochs:g}, but must be at most --epochs, which is {self.epochs}"
            )

    def rate(self, epoch: float) -> float:
        """Return the learning rate at a point of the training, in epochs since its start."""
        warmup = min(self.warmup_epochs, self.epochs / 2)
        if epoch < warmup:
            return self.warmup_lr + (self.lr - self.warmup_lr) * epoch / warmup
        return self.lr * (1 + cos(pi * (epoch - warmup) / (self.epochs - warmup))) / 2
