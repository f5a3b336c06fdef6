"""Parts of model cards, the README.md of a model's folder: metadata as the Hugging Face Hub reads it, data, costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

import yaml

from ..arch.arch import Arch
from ..arch.cost import BYTES, Cost
from ..arch.cost_names import cost_title
from ..arch.targets import find_target
from ..data.identity import SPLIT_NAMES, DataIdentity
from ..utils.errors import FileError, InputError
from ..utils.io import read_json
from ..utils.markdown import escaped, table
from ..utils.sizes import pair
from ..utils.text import printable
from .results import SearchResult

METRIC_TYPES = {"accuracy": "accuracy", "mAP": "map"}  # ids of the Hub, by tinynas's names
PIPELINE_TAGS = {"classify": "image-classification", "detect": "object-detection"}  # of the Hub, by task
LICENCE = (
    "No licence is stated: whoever publishes the model chooses one, which the licence of its images may limit, and "
    "adds `license: NAME` to the metadata at the top of this file."
)
_COUNTED = ("macs", "params", "peak_sram", "flash")


@dataclass(frozen=True, kw_only=True)
class CardMetric:
    """A figure on the test split in a card's metadata.

    Attributes:
        type: Id of the metric.
        value: In percent.
        name: What it is called there.
    """

    type: str
    value: float
    name: str


def metadata_block(
    name: str,
    *,
    task: str,
    tags: Sequence[str],
    data: str,
    identity: DataIdentity | None,
    metrics: Sequence[CardMetric],
) -> str:
    """Return the metadata at the top of a card, as YAML between two lines of dashes.

    Metrics are fractions there, as those of the Hub are. `datasets` is left out: it takes data sets of the Hub only.

    Args:
        name: Name of the model.
        task: "classify" or "detect".
        tags: Tags beside those of every model.
        data: Name of the data set.
        identity: Its classes, images and labels, if they are known.
        metrics: Figures on the test split.
    """
    shown = without_folders(data)
    dataset: dict[str, Any] = {"name": shown, "type": shown.partition(":")[0], "split": "test"}
    test = identity.splits.get("test") if identity else None
    if test is not None:
        dataset["args"] = {"images": test.images, "sha256": test.sha256}
    values = []
    for metric in metrics:
        values.append({"type": metric.type, "value": round(metric.value / 100, 6), "name": metric.name})
    tag = PIPELINE_TAGS[task]
    result = {"task": {"type": tag, "name": tag.replace("-", " ")}, "dataset": dataset, "metrics": values}
    metadata = {
        "library_name": "tinynas",
        "pipeline_tag": tag,
        "tags": ["tinynas", "neural-architecture-search", "tinyml", *tags],
        "metrics": list(dict.fromkeys([metric.type for metric in metrics])),
        "model-index": [{"name": printable(name), "results": [result]}],
    }
    return _block(metadata)


def with_metadata(card: str, metadata: Mapping[str, Any]) -> str:
    """Return a card with other metadata at its top."""
    _, _, rest = card.partition("---\n")
    return _block(metadata) + rest.partition("\n---")[2]


def _block(metadata: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=inf)
    return f"---\n{text}---"


def without_folders(name: str) -> str:
    """Return the name of a data set or of a model's file without the folders that it lies in.

    Example:
        >>> without_folders("imagefolder:/home/me/photos"), without_folders("digits")
        ('imagefolder:photos', 'digits')
    """
    kind, separator, path = name.rpartition(":")
    return printable(kind + separator + (Path(path).name or path))


def read_identity(path: Path) -> DataIdentity | None:
    """Read which images and labels a data.json has; None if it is missing or damaged."""
    try:
        return DataIdentity.from_dict(read_json(path))
    except (FileError, InputError):
        return None


def data_section(data: str, identity: DataIdentity | None) -> str:
    """Return the section about the data set: its splits, with their digests, and the classes."""
    text = f"## Data\n\nThe data set is {escaped(without_folders(data))}."
    if identity is None:
        return text + " Which images it had was not recorded."
    rows = []
    for name, split in identity.splits.items():
        rows.append({"split": SPLIT_NAMES.get(name, name), "images": f"{split.images:,}", "SHA-256": split.sha256})
    purpose = (
        "Networks are trained on train; search-val, which is held out from it, chooses among networks and settings; "
        "test was looked at once, at the end. The digests are of all images and labels of a split, in their order."
    )
    return f"{text} {purpose}\n\n{table(rows)}"


def shape_text(arch: Arch) -> str:
    """Return the shape of a network's input: "1 x 28 x 28"."""
    height, width = pair(arch.resolution)
    return f"{arch.in_channels} x {height} x {width}"


def cost_section(cost: Cost, *, shape: str, searched: SearchResult | None) -> str:
    """Return the section about what an inference takes.

    Args:
        cost: The counted cost.
        shape: The network's input, such as "1 x 28 x 28".
        searched: The search that has found the network, if one has.
    """
    names = list(_COUNTED)
    if searched:
        target = find_target(searched.target)
        names += [name for name in (target.sram, target.flash) if name not in names]
    rows = []
    for name in names:
        value = cost.named().get(name)
        if value is not None:
            rows.append({"cost of one image": escaped(cost_title(name, {})), "": _exact(name, value)})
    text = (
        f"## Cost\n\nThe input is {shape} (channels x height x width). Counted from the architecture, for int8: MACs "
        "are multiply-accumulates, which papers call FLOPs; peak SRAM is of activations, flash of weights, both "
        "without the runtime."
    )
    if searched:
        limits = searched.budget.describe()
        text += f" The network was searched for the target {searched.target}, with {escaped(limits)}."
    return f"{text}\n\n{table(rows)}"


def _exact(name: str, value: float) -> str:
    return f"{value:,.0f} B" if name in BYTES else f"{value:,.0f}"


def settings_table(settings: Mapping[str, object]) -> str:
    """Return a table of settings, without those that are None."""
    rows = []
    for name, value in settings.items():
        if value is not None:
            rows.append({"setting": name, "": escaped(str(value))})
    return table(rows)


def versions() -> str:
    """Return the versions of the programs that a model is made with."""
    return f"tinynas {version('tinynas')}, torch {version('torch')}"
