"""The options of commands: their flags and what --help says of them, in groups."""

from pathlib import Path
from typing import Annotated, Any

import typer


def _option(*flags: str, panel: str | None = None, help: str, **more: Any) -> Any:
    return typer.Option(*flags, rich_help_panel=panel, help=help, show_default=False, **more)


AsJson = Annotated[bool, _option("--json", help="Print one JSON document on stdout; progress goes to stderr.")]
ModelFile = Annotated[
    Path | None,
    typer.Argument(metavar="MODEL", show_default=False, help="A model.safetensors or its folder. Default: the newest."),
]
TaskName = Annotated[
    str | None, _option("--task", metavar="classify|detect", help="What networks do. Default: the run's or classify.")
]
RunFolder = Annotated[Path | None, _option("--run", help="Run folder. Default: a new one under runs/.")]
DataName = Annotated[
    str | None,
    _option(
        "--data",
        metavar="NAME[:PATH]",
        help="digits, fashion-mnist, cifar10, cifar100, food101, flowers102, pets, cars, or imagefolder:PATH with "
        "train/ and val/; to detect: scattered-digits, scattered-fashion, voc:PATH, coco:PATH. "
        "Default: the run's or the model's, else digits or scattered-digits.",
    ),
]

_LIMITS = "Limits"
Flops = Annotated[
    str | None,
    _option(
        "--flops", metavar="[LOW:]HIGH", panel=_LIMITS, help="Multiply-accumulates, e.g. 50M; a range with --pareto."
    ),
]
Params = Annotated[str | None, _option("--params", panel=_LIMITS, help="Parameters, e.g. 500K.")]
Sram = Annotated[str | None, _option("--sram", panel=_LIMITS, help="Peak int8 SRAM in bytes, e.g. 256KB.")]
SramModel = Annotated[
    str | None,
    _option(
        "--sram-model",
        panel=_LIMITS,
        help="What --sram limits: generic, or inplace_dw for engines that run depthwise convolutions in place "
        "(TinyEngine). Default: generic.",
    ),
]
Flash = Annotated[str | None, _option("--flash", panel=_LIMITS, help="int8 flash in bytes, e.g. 1MB.")]
Latency = Annotated[
    str | None, _option("--latency", panel=_LIMITS, help="Time of one image, measured on one thread here, e.g. 5ms.")
]

_SEARCH = "Search"
Pareto = Annotated[
    bool | None, _option("--pareto", panel=_SEARCH, help="Look for the whole accuracy-MACs front within the limits.")
]
Trials = Annotated[int | None, _option("--trials", panel=_SEARCH, help="Networks to evaluate. Default: 50.")]
Sampler = Annotated[
    str | None,
    _option("--sampler", panel=_SEARCH, help="predictor, tpe, nsga2 or random. Default: predictor."),
]
Workers = Annotated[int | None, _option("--workers", panel=_SEARCH, help="Processes that search here. Default: 1.")]
Storage = Annotated[
    str | None,
    _option(
        "--storage",
        metavar="URL|FILE",
        panel=_SEARCH,
        help="Optuna storage that processes share. Default: study.journal in the run.",
    ),
]

_TRAINING = "Training"
Seed = Annotated[
    int | None, _option("--seed", panel=_TRAINING, help="Seed of every random choice. Default: 0, or a searched run's.")
]
BatchSize = Annotated[
    int | None, _option("--batch-size", panel=_TRAINING, help="Images a step. Default: 32, or a searched run's.")
]
LearningRate = Annotated[
    float | None, _option("--lr", panel=_TRAINING, help="Peak learning rate. Default: 0.1, or a searched run's.")
]
Clip = Annotated[
    float | None,
    _option(
        "--clip",
        panel=_TRAINING,
        help="Largest L2 norm of a step's gradient; 0 does not clip. Default: to search 1, or the "
        "run's; to retrain a detector 1, else 0.",
    ),
]
Augmentation = Annotated[
    str | None,
    _option(
        "--augmentation",
        panel=_TRAINING,
        help="Of training images: none, standard or strong. Default: standard, or a searched run's.",
    ),
]
Precision = Annotated[
    str | None,
    _option("--precision", panel=_TRAINING, help="fp32, or mixed: bf16, fp16. Default: fp32, or a searched run's."),
]
Dropout = Annotated[
    float | None, _option("--dropout", panel=_TRAINING, help="Share of the classifier's inputs to drop. Default: 0.")
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", rich_help_panel=_TRAINING, help="Write scalars for TensorBoard too.")
]

_SUPERNET = "Supernet"
SpaceName = Annotated[
    str | None,
    _option(
        "--space",
        metavar="NAME|FILE",
        panel=_SUPERNET,
        help="Search space, see `tinynas spaces`. Default: the run's; to detect, detect, else mobile32.",
    ),
]
Randoms = Annotated[
    int | None,
    _option(
        "--randoms",
        panel=_SUPERNET,
        help="Random subnets a step, beside largest and smallest. Default: the run's; to detect 1, else 2.",
    ),
]
Spread = Annotated[
    bool | None,
    _option(
        "--spread/--no-spread",
        panel=_SUPERNET,
        help="Random subnets of all sizes alike, or mostly of middle size. Default: the run's, else --spread.",
    ),
]
Distillation = Annotated[
    float | None,
    _option(
        "--distillation",
        panel=_SUPERNET,
        help="Share of the largest subnet's outputs in what the others learn, beside the labels, 0 to 1. "
        "Default: the run's; to detect 0, else 0.5.",
    ),
]
LargestEpochs = Annotated[
    int | None,
    _option(
        "--largest-epochs",
        panel=_SUPERNET,
        help="First epochs, of the largest network alone. Default: the run's, else 0.",
    ),
]
Shrinking = Annotated[
    bool | None,
    _option(
        "--shrinking",
        panel=_SUPERNET,
        help="Make kernel, depth, expansion, width elastic one after the other (OFA).",
    ),
]

_NETAUG = "NetAug"
NetAugFlag = Annotated[
    bool, typer.Option("--netaug", rich_help_panel=_NETAUG, help="Train inside wider networks (Cai et al., ICLR 2022).")
]
Widths = Annotated[
    str | None,
    _option("--width", metavar="1,A,B", panel=_NETAUG, help="Factors of widths. Default: the paper's."),
]
Expansions = Annotated[
    str | None,
    _option("--expand", metavar="1,A,B", panel=_NETAUG, help="Factors of expansion ratios. Default: 1,1.6,2.2,2.8."),
]
Networks = Annotated[int | None, _option("--networks", panel=_NETAUG, help="Augmented networks a step. Default: 1.")]
Alpha = Annotated[float | None, _option("--alpha", panel=_NETAUG, help="Weight of their losses. Default: 1.")]
Every = Annotated[
    int | None, _option("--every", panel=_NETAUG, help="Augment every n-th step of an epoch. Default: 1.")
]
WidthUntil = Annotated[
    float | None,
    _option("--width-until", panel=_NETAUG, help="Part of the epochs in which widths are augmented. Default: 0.5."),
]
ExpandUntil = Annotated[
    float | None,
    _option("--expand-until", panel=_NETAUG, help="The same of expansion ratios; the paper: 1. Default: 0.5."),
]
Sort = Annotated[
    bool | None,
    _option(
        "--sort/--no-sort",
        panel=_NETAUG,
        help="Give the network the most important channels when an epoch begins. Default: --no-sort.",
    ),
]

_TEACHER = "Teacher"
TeacherName = Annotated[
    str | None,
    _option(
        "--teacher",
        metavar="NAME",
        panel=_TEACHER,
        help="Learn from its outputs too: supernet, a model's file, or torchvision:NAME[:WEIGHTS].",
    ),
]
TeacherWeight = Annotated[
    float | None,
    _option("--teacher-weight", panel=_TEACHER, help="Of its outputs; labels have the rest. Default: 0.5."),
]
Temperature = Annotated[
    float | None, _option("--temperature", panel=_TEACHER, help="That softens the teacher's outputs. Default: 1.")
]
TeachAugmented = Annotated[
    bool | None, _option("--teach-augmented", panel=_TEACHER, help="Teach NetAug's augmented networks too.")
]

_START = "Start"
Source = Annotated[
    Path | None,
    _option("--from", metavar="MODEL", panel=_START, help="Go on from a delivered model, on its data or on other."),
]
Init = Annotated[
    str | None,
    _option(
        "--init",
        metavar="NAME",
        panel=_START,
        help="First weights: supernet, a model's file, kaiming-uniform (default with --netaug), or kaiming-normal.",
    ),
]
Freeze = Annotated[
    float | None,
    _option("--freeze", panel=_START, help="First epochs, of the classifier alone. Default: 0."),
]
HeadLearningRate = Annotated[
    float | None, _option("--head-lr", panel=_START, help="Peak learning rate of the classifier. Default: --lr.")
]

_EXITS = "Early exits"
Taps = Annotated[
    list[str] | None,
    _option(
        "--tap",
        metavar="auto|MODULE",
        panel=_EXITS,
        help="Module whose output a side head reads, e.g. stages.1; may be repeated. Default: auto, which tries every "
        "choice of stages and keeps the best curve.",
    ),
]
Cascade = Annotated[
    tuple[str, str] | None,
    _option(
        "--cascade",
        metavar="TINY BIG",
        panel=_EXITS,
        help="No side heads: a small model in front of a larger one, or of its run's largest network (BIG: supernet).",
    ),
]
Hidden = Annotated[
    int, typer.Option("--hidden", rich_help_panel=_EXITS, help="Features of a side head's hidden layer.")
]
SideDistillation = Annotated[
    float,
    typer.Option(
        "--distillation",
        rich_help_panel=_EXITS,
        help="Share of the network's own outputs, as a teacher, in what side heads learn, 0 to 1.",
    ),
]
TargetAccuracy = Annotated[
    str | None,
    _option(
        "--target-accuracy",
        metavar="PERCENT",
        panel=_EXITS,
        help="Take the cheapest threshold with this accuracy on search-val. Default: the network's own.",
    ),
]
TargetFlops = Annotated[
    str | None,
    _option("--target-flops", panel=_EXITS, help="Take the most accurate threshold within these average MACs."),
]
Threshold = Annotated[
    float | None,
    _option("--threshold", panel=_EXITS, help="Confidence from which an exit answers, 0 to 1; over 1 none does."),
]
