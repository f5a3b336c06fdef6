"""Training hyperparameters: optimizer, schedule, regularisation. No torch."""

from dataclasses import dataclass
from math import cos, inf, pi

from ..utils.errors import require, unknown

AUGMENTATIONS = ("none", "standard", "strong")  # how training images are changed at random
PRECISIONS = ("fp32", "bf16", "fp16")  # of forward passes; bf16 and fp16 are mixed precision


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: SGD with Nesterov momentum, linear warm-up, then cosine to zero, set anew at every step."""

    epochs: int = 20  # passes over the training images
    batch_size: int = 32  # images a step
    lr: float = 0.1  # learning rate at the end of warm-up
    warmup_epochs: float = 1.0  # epochs of warm-up, from 0
    momentum: float = 0.9  # Nesterov momentum
    weight_decay: float = 4e-5  # L2 penalty, not on norms and biases
    label_smoothing: float = 0.1  # label smoothing
    max_grad_norm: float = 0.0  # largest L2 norm of a step's gradient; 0 does not clip
    augmentation: str = "standard"  # of training images: none, standard or strong
    freeze_epochs: float = 0.0  # first epochs, in which only the classifier learns
    head_lr: float = 0.0  # learning rate of the classifier; 0 is that of all
    precision: str = "fp32"  # of forward passes: fp32, or mixed with bf16 or fp16
    seed: int = 0  # of initial weights, order, augmentation, and sampled subnets

    def __post_init__(self) -> None:
        for name in ("epochs", "lr"):
            require(0 < getattr(self, name) < inf, f"0 < {name} < inf", **{name: getattr(self, name)})
        require(self.batch_size > 1, "batch_size > 1", batch_size=self.batch_size)
        for name in (
            "warmup_epochs",
            "momentum",
            "weight_decay",
            "label_smoothing",
            "max_grad_norm",
            "freeze_epochs",
            "head_lr",
            "seed",
        ):
            require(0 <= getattr(self, name) < inf, f"0 <= {name} < inf", **{name: getattr(self, name)})
        require(
            self.freeze_epochs <= self.epochs,
            "freeze_epochs <= epochs",
            freeze_epochs=self.freeze_epochs,
            epochs=self.epochs,
        )
        require(self.momentum < 1 and self.label_smoothing < 1, "momentum < 1 and label_smoothing < 1", recipe=self)
        for kind, known in (("augmentation", AUGMENTATIONS), ("precision", PRECISIONS)):
            if getattr(self, kind) not in known:
                raise unknown(kind, getattr(self, kind), known)

    def rate(self, epoch: float) -> float:
        """Learning rate at a fractional epoch."""
        warmup = min(self.warmup_epochs, self.epochs / 2)
        if epoch < warmup:
            return self.lr * epoch / warmup
        return self.lr * (1 + cos(pi * (epoch - warmup) / (self.epochs - warmup))) / 2
