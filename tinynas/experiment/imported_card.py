"""The model card of an imported network: the README.md beside its model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..arch.arch import Arch
from ..arch.cost import cost
from ..utils.markdown import escaped
from .card_parts import (
    cost_section,
    metadata_text,
    plain_metadata,
    settings_table,
    shape_text,
    use_section,
    versions,
)

_CLASSES_SHOWN = 10


def imported_card(
    source: str, arch: Arch, *, classes: Sequence[str], preprocessing: Mapping[str, Any], is_checked: bool
) -> str:
    """Return the model card of an imported network, in the format of the Hugging Face Hub.

    Args:
        source: "KIND:NAME" or "KIND:NAME:FILE", which it was imported from.
        arch: The network.
        classes: Names of its classes.
        preprocessing: How an image becomes its input, as in the metadata of exported files.
        is_checked: Whether its outputs were compared with those of the original.
    """
    kind, _, rest = source.partition(":")
    name, _, file = rest.partition(":")
    of_file = f" from the file {escaped(Path(file).name)}" if file else ""
    checked = (
        "For random images its outputs are those of the original, but for rounding."
        if is_checked
        else "The original could not be run beside it, so that their outputs were not compared."
    )
    shown = ", ".join([escaped(text) for text in classes[:_CLASSES_SHOWN]])
    more = f" and {len(classes) - _CLASSES_SHOWN:,} others" if len(classes) > _CLASSES_SHOWN else ""
    parts = [
        metadata_text(plain_metadata(arch.task, ("tinyml", kind))),
        f"# {escaped(name)}",
        f"The network {escaped(name)} of {escaped(kind)}, with its weights{of_file}, imported by tinynas. {checked}",
        "## Figures\n\nNothing was measured here: `tinynas eval model.safetensors --data NAME` measures its accuracy.",
        cost_section(cost(arch), shape=shape_text(arch), searched=None),
        f"## Images\n\n{settings_table(preprocessing)}\n\nThe sides are in pixels; after the resizing, which keeps the "
        "aspect ratio, the centre is cut out. Mean and deviation are of pixels from 0 to 1.",
        f"## Classes\n\n{len(classes):,}: {shown}{more}.",
        use_section(arch.task),
        f"## Training\n\nThe network was not trained by tinynas ({versions()}): its authors have trained it.",
        "## Licence\n\nThe licence of the weights is that of their authors, and their images may limit it; look it up "
        "where the weights come from, and add `license: NAME` to the metadata at the top of this file.",
    ]
    return "\n\n".join(parts) + "\n"
