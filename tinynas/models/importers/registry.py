"""Other libraries' networks by source. To add one, write a function that reads it and add a line to IMPORTERS."""

from pathlib import Path
from typing import Protocol

from ...utils.errors import InputError, unknown
from ...utils.sizes import Size
from .foreign_network import ForeignNetwork
from .mcunet_networks import import_mcunet
from .netaug_networks import import_netaug
from .ofa_networks import import_ofa
from .timm_networks import import_timm


class Importer(Protocol):
    """A function that reads the networks of a library or a collection."""

    def __call__(self, name: str, file: Path | None, *, resolution: Size | None = None) -> ForeignNetwork:
        """Return a network.

        Args:
            name: Its name there, or a file.
            file: Its weights; None for those that the library has or downloads.
            resolution: Size of its images in pixels; None for its own.
        """
        ...


IMPORTERS: dict[str, Importer] = {
    "mcunet": import_mcunet,
    "netaug": import_netaug,
    "ofa": import_ofa,
    "timm": import_timm,
}


def read_source(source: str, *, resolution: Size | None = None) -> ForeignNetwork:
    """Return another library's network.

    Args:
        source: "KIND:NAME" or "KIND:NAME:FILE", with a KIND of IMPORTERS, whose functions say what NAME and FILE are.
        resolution: Size of its images in pixels; None for its own.

    Raises:
        InputError: The kind is unknown, the name is missing, or it is of a network that tinynas does not have.
        FileError: The file is missing, corrupt, or of another network.
    """
    kind, _, rest = source.partition(":")
    name, _, file = rest.partition(":")
    if kind not in IMPORTERS:
        raise unknown("source of networks", kind, IMPORTERS)
    if not name:
        raise InputError(f"the source {source!r} names no network; pass {kind}:NAME, or {kind}:NAME:FILE")
    return IMPORTERS[kind](name, Path(file).expanduser() if file else None, resolution=resolution)


def name_of_source(source: str) -> str:
    """Return the name of a source's network: that in the source, or of the file there without its ending.

    Example:
        >>> name_of_source("timm:mobilenetv2_035:weights.pth")
        'mobilenetv2_035'
    """
    name = source.split(":")[1] if ":" in source else source
    path = Path(name).expanduser()
    return path.stem if path.is_file() else name
