"""The model card of a network with early exits: the README.md beside it."""

from collections.abc import Sequence

from ..arch.cost import describe
from ..data.identity import DataIdentity
from ..utils.markdown import code_block, escaped, table
from .card_parts import (
    LICENCE,
    METRIC_TYPES,
    CardMetric,
    cost_section,
    data_section,
    metadata_block,
    versions,
    without_folders,
)
from .early_exit_report import EarlyExitReport


def early_exit_card(
    name: str, report: EarlyExitReport, *, shape: str, classes: Sequence[str], identity: DataIdentity | None
) -> str:
    """Return the model card of a network with early exits, in the format of the Hugging Face Hub.

    Args:
        name: Name of the model.
        report: What it measured.
        shape: The network's input, such as "1 x 28 x 28".
        classes: Names of the classes.
        identity: Which images and labels the data set has, if that is known.
    """
    figure = CardMetric(type=METRIC_TYPES[report.metric], value=report.point.accuracy, name=f"test {report.metric}")
    metadata = metadata_block(
        name, task="classify", tags=("early-exit",), data=report.data, identity=identity, metrics=[figure]
    )
    parts = [
        metadata,
        f"# {escaped(name)}",
        f"A classifier of {len(classes)} classes for microcontrollers with early exits, made with tinynas: an image "
        "that an exit is confident of runs through the first part of the network only.",
        _figures(report),
        cost_section(report.worst_case, shape=shape, searched=None)
        + "\n\nThese are the costs of an image that runs through all exits.",
        data_section(report.data, identity) + f"\n\nThe classes are {escaped(', '.join(classes))}.",
        _limits(report),
        _use(),
        _making(report),
        f"## Licence\n\n{LICENCE}",
    ]
    return "\n\n".join(parts) + "\n"


def _figures(report: EarlyExitReport) -> str:
    """Return the section of what was measured: the network with and without exits, and every exit."""
    rows = [
        {
            "": "with early exits",
            f"test {report.metric} %": f"{report.point.accuracy:.2f}",
            "average MACs": describe("macs", report.point.macs),
        },
        {
            "": "without",
            f"test {report.metric} %": f"{report.mainnet_accuracy:.2f}",
            "average MACs": describe("macs", report.mainnet_cost.macs),
        },
    ]
    exits = []
    for entry in report.exits:
        exits.append(
            {
                "exit": escaped(entry.name),
                "MACs": describe("macs", entry.macs),
                "images that take it %": f"{100 * entry.share:.1f}",
                f"{report.metric} % if all took it": f"{entry.accuracy:.2f}",
            }
        )
    text = f"On the {report.test_images:,} images of the test split, at the {report.point.text}:"
    return f"## Figures\n\n{text}\n\n{table(rows)}\n\n{table(exits)}"


def _limits(report: EarlyExitReport) -> str:
    """Return the section of what the figures do not say."""
    limits = [
        f"All figures are of {report.test_images:,} test images of one data set. How many images exit early depends on "
        "how many are easy: other images need more or fewer MACs.",
        "Not tested: images of other cameras, places, light or people, and damaged images.",
        "It always names one of its classes, also for images that show none of them, and may be confident of it.",
        "Figures are of fp32 in PyTorch; what int8 files reach is only known where exported files are listed below.",
        "Memory is counted from the architecture; nothing was measured on a board.",
    ]
    return "## Limits\n\n" + "\n".join([f"- {line}" for line in limits])


def _use() -> str:
    """Return the section of how the model is loaded."""
    program = (
        "import tinynas\n\n"
        'network = tinynas.load("sidenet.safetensors")  # a torch module in eval mode, for normalised images\n'
    )
    commands = "tinynas predict sidenet.safetensors image.png\ntinynas export sidenet.safetensors\n"
    return f"## Use\n\n{code_block('python', program)}\n\n{code_block('sh', commands)}"


def _making(report: EarlyExitReport) -> str:
    """Return the section of which models it consists of."""
    model = escaped(without_folders(report.model))
    if report.tiny is None:
        heads = f"side heads on the outputs of {escaped(', '.join(report.taps))}, of {report.hidden} hidden features"
        parts = f"The network is the unchanged {model}, with {heads}"
        if report.joint_epochs:
            parts = f"The network is {model} with {heads}, trained together for {report.joint_epochs} epochs more"
    else:
        parts = f"A cascade: {escaped(without_folders(report.tiny))} first, then {model}"
    return (
        f"## Training\n\n{parts}. Temperatures and thresholds were chosen on {report.calibration_images:,} images of "
        f"search-val. Made with `tinynas sidenet` of {versions()}."
    )
