"""Keyword arguments of the functions for Python programs: the settings of the commands, with their types.

Each class lists the settings of some configuration classes; what they mean and their defaults are documented there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict


class TrainingKeywords(TypedDict, total=False):
    """Settings of `tinynas.training.recipe.Recipe`."""

    epochs: int
    batch_size: int
    lr: float
    warmup_epochs: float
    warmup_lr: float
    momentum: float
    weight_decay: float
    label_smoothing: float
    class_weights: str
    max_grad_norm: float
    augmentation: str
    crop_scale: float | None
    brightness: float
    saturation: float
    freeze_epochs: float
    head_lr: float
    precision: str
    backend: str
    sync_bn: bool
    seed: int
    skip_unreadable: bool


class SearchKeywords(TrainingKeywords, total=False):
    """Settings of `SupernetConfig` and `SearchSettings`, but the space and the data set."""

    num_random_subnets: int
    size_balanced_sampling: bool
    distillation: float
    largest_warmup_epochs: int
    progressive_shrinking: bool
    narrow: bool
    init: str | Path | None
    pareto: bool | str | Sequence[str]
    trials: int
    sampler: Any  # a name, or an Optuna sampler
    seeds: int | None
    race: bool
    workers: int
    storage: str | None
    storage_timeout: float
    target: str
    latency_table: str | None
    cost_tables: Sequence[str]


class RetrainKeywords(TrainingKeywords, total=False):
    """Settings of `RetrainConfig`, but the data set."""

    init: str | Path
    residual_gain: float
    classifier_std: float | None
    dropout: float
    train_on_all: bool
    keep: str
    ema: float
    recalibration_images: int
    augment_recalibration: bool
    eval_images: int
    netaug: bool
    width: Sequence[float]
    expand: Sequence[float]
    num_augmented: int
    alpha: float
    every: int
    width_until: float
    expand_until: float
    augment_from_stage: int
    sort: bool
    sorted_channels: str
    sort_from_epoch: int
    inplace_distillation: float
    inplace_divergence: str
    teacher: str | Path
    teacher_weight: float
    temperature: float
    teach_augmented: bool


class ExportKeywords(TypedDict, total=False):
    """Settings of `ExportPlan`, but the format and the data set."""

    target: str | None
    int8: bool
    batch: int | None
    opset: int | None
    calibration: int
    qat: int
    margin: float
    skip_unreadable: bool
