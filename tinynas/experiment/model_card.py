"""The model card of a retraining: the README.md beside its model, with what its files say about it."""

from collections.abc import Sequence
from contextlib import suppress

from ..arch.arch import Arch
from ..tasks.chance import standard_error
from ..utils.errors import FileError
from ..utils.markdown import code_block, escaped, table
from ..utils.sizes import pair
from .card_parts import (
    LICENCE,
    METRIC_TYPES,
    CardMetric,
    cost_section,
    data_section,
    metadata_block,
    read_identity,
    settings_table,
    shape_text,
    versions,
    without_folders,
)
from .config import RetrainConfig
from .results import RetrainMetrics
from .retrain_folder import RetrainFolder
from .runs import search_of
from .saved import read_retraining

_MOST_CLASSES = 50  # in the table of a card
_KINDS = {"classify": "classifier", "detect": "detector"}


def model_card(folder: RetrainFolder, metrics: RetrainMetrics) -> str:
    """Return the model card of a retraining, in the format of the Hugging Face Hub.

    Args:
        folder: Its folder, with config.yaml, and data.json for the section about the data set.
        metrics: What it measured.

    Raises:
        FileError: A file is missing or damaged.
    """
    plan, identity = read_retraining(folder), read_identity(folder.data)
    arch, config = plan.arch, plan.config
    title = f"{folder.run.resolve().name}-{folder.name}"
    splits = identity.splits if identity else {}
    test_images = splits["test"].images if "test" in splits else None
    train_images = min(config.eval_images, splits["train"].images) if "train" in splits else None
    searched = None
    with suppress(FileError):  # a damaged front.json must not cost a training its card
        searched = search_of(arch, folder.model)
    parts = [
        metadata_block(
            title,
            task=arch.task,
            tags=("netaug",) if metrics.netaug else (),
            data=metrics.data,
            identity=identity,
            metrics=_metrics(metrics),
        ),
        f"# {escaped(title)}",
        _summary(arch, metrics, is_searched=searched is not None),
        _figures(metrics, test_images, train_images),
        cost_section(metrics.cost, shape=shape_text(arch), searched=searched),
        data_section(metrics.data, identity),
        _limits(arch, metrics, test_images),
        _use(arch),
        _training(config, metrics),
        f"## Licence\n\n{LICENCE}",
    ]
    return "\n\n".join(parts) + "\n"


def _metrics(metrics: RetrainMetrics) -> list[CardMetric]:
    """Return the figures of a card's metadata."""
    kind = METRIC_TYPES[metrics.metric]
    figures = [CardMetric(type=kind, value=metrics.accuracy, name=f"test {metrics.metric}")]
    if metrics.ap50 is not None:
        figures.append(CardMetric(type=kind, value=metrics.ap50, name="test AP50 (COCO)"))
    if metrics.balanced_accuracy is not None and _is_uneven(metrics):
        name = "balanced_accuracy"
        figures.append(CardMetric(type=name, value=metrics.balanced_accuracy, name="test balanced accuracy"))
    return figures


def _is_uneven(metrics: RetrainMetrics) -> bool:
    return metrics.chance is not None and metrics.chance.is_uneven


def _summary(arch: Arch, metrics: RetrainMetrics, *, is_searched: bool) -> str:
    """Return what the model is, in a few sentences."""
    origin = "found by neural architecture search and trained" if is_searched else "trained"
    height, width = pair(arch.resolution)
    how = " by NetAug, inside wider networks that are not part of it" if metrics.netaug else ""
    return (
        f"A small {_KINDS[arch.task]} of {arch.classes} classes for microcontrollers, {origin} with tinynas{how}. It "
        f"takes images of {height} x {width} pixels."
    )


def _figures(metrics: RetrainMetrics, test_images: int | None, train_images: int | None) -> str:
    """Return the section of what was measured, with the split and the number of images of each figure."""
    rows = [_figure(f"{metrics.metric}", metrics.accuracy, "test", test_images)]
    if metrics.balanced_accuracy is not None and _is_uneven(metrics):
        rows.append(_figure("balanced accuracy, mean over classes", metrics.balanced_accuracy, "test", test_images))
    if metrics.ap50 is not None:
        rows.append(_figure("AP50 by COCO's protocol", metrics.ap50, "test", test_images))
    if metrics.chance is not None:
        largest = f"chance level: always {escaped(metrics.chance.largest_class)}, the largest class"
        rows.append(_figure(largest, metrics.chance.accuracy, "test", metrics.chance.images))
    rows.append(_figure(metrics.metric, metrics.train_accuracy, "train", train_images))
    text = f"## Figures\n\n{table(rows)}"
    by_class = []
    for name, value in list(metrics.by_class.items())[:_MOST_CLASSES]:
        by_class.append({"class": escaped(name), f"test {_by_class_metric(metrics)} %": _percent(value)})
    if by_class:
        text += f"\n\n{table(by_class)}"
    if len(metrics.by_class) > _MOST_CLASSES:
        text += f"\n\nThese are {_MOST_CLASSES} of {len(metrics.by_class)} classes; metrics.json has all of them."
    return text


def _by_class_metric(metrics: RetrainMetrics) -> str:
    return metrics.metric if metrics.ap50 is None else "AP50"


def _figure(name: str, value: float, split: str, images: int | None) -> dict[str, str]:
    return {
        "figure": name,
        "%": _percent(value),
        "split": split,
        "images": "unknown" if images is None else f"{images:,}",
    }


def _percent(value: float | None) -> str:
    return "no image" if value is None else f"{value:.2f}"


def _limits(arch: Arch, metrics: RetrainMetrics, test_images: int | None) -> str:
    """Return the section of what the figures do not say."""
    images = "the test images" if test_images is None else f"{test_images:,} test images"
    measured = f"All figures are of {images} of one data set, and of one training with the seed {metrics.seed}."
    if arch.task == "classify" and test_images:
        error = standard_error(metrics.accuracy, test_images)
        measured += f" The standard error of the accuracy over images is {error:.2f} percentage points."
    limits = [
        measured + " Another seed gives other figures.",
        "Not tested: images of other cameras, places, light or people, damaged images, and whether groups of people or "
        "things that the classes do not tell apart are treated alike.",
        "Figures are of fp32 in PyTorch; what int8 files reach is only known where exported files are listed below.",
        "Memory is counted from the architecture; nothing was measured on a board.",
    ]
    if arch.task == "classify":
        limits.insert(2, "It always names one of its classes, also for images that show none of them.")
    if metrics.chance is not None and metrics.chance.explains(metrics.accuracy):
        limits.insert(0, "**The accuracy is at chance level: the model has learned next to nothing.**")
    return "## Limits\n\n" + "\n".join([f"- {line}" for line in limits])


def _use(arch: Arch) -> str:
    """Return the section of how the model is loaded."""
    if arch.task == "classify":
        call = '(prediction,) = model.predict("image.png")\nprint(prediction.name)'
    else:
        call = '(boxes,) = model.detect("image.png")\nprint([(box.name, box.score, box.box) for box in boxes])'
    program = (
        "import tinynas\n\n"
        'network = tinynas.load("model.safetensors")  # a torch module in eval mode, for normalised images\n'
        'model = tinynas.open_model("model.safetensors")  # with the classes and the preprocessing\n'
        f"{call}"
    )
    commands = "tinynas predict model.safetensors image.png\ntinynas export model.safetensors\n"
    return f"## Use\n\n{code_block('python', program)}\n\n{code_block('sh', commands)}"


def _training(config: RetrainConfig, metrics: RetrainMetrics) -> str:
    """Return the section of how the model was trained, and how that is repeated."""
    recipe, netaug, distillation = config.recipe, config.netaug, config.distillation
    settings = {
        "epochs": recipe.epochs,
        "batch size": recipe.batch_size,
        "learning rate": recipe.lr,
        "weight decay": recipe.weight_decay,
        "label smoothing": recipe.label_smoothing,
        "augmentation": recipe.augmentation,
        "NetAug": f"factors of widths {_listed(netaug.width)}; of expand ratios {_listed(netaug.expand)}"
        if netaug
        else "no",
        "teacher": without_folders(distillation.teacher) if distillation else "no",
        "initial weights": without_folders(config.init),
        "loss": config.loss,
        "seed": recipe.seed,
        "made with": versions(),
    }
    repeated = (
        "`config.yaml`, in the folder of the training, has all settings and the network. Where the images are, this "
        "command trains the model again:"
    )
    if config.loss is not None:
        return f"## Training\n\n{settings_table(settings)}\n\nA Python program has trained it, with a loss of its own."
    command = code_block("sh", "tinynas retrain --recipe config.yaml")
    return f"## Training\n\n{settings_table(settings)}\n\n{repeated}\n\n{command}"


def _listed(factors: Sequence[float]) -> str:
    return ", ".join(f"{factor:g}" for factor in factors)
