"""Networks of MCUNet (Lin et al., 2020) as the package mcunet has them: a config and a checkpoint side by side."""

from collections.abc import Sequence
from pathlib import Path

from ...data.base import Normalisation
from ...utils.errors import FileError
from ...utils.sizes import Size
from ..foreign_weights import read_weights
from .foreign_network import ForeignNetwork, Preprocessing
from .net_config import current_names, network_of_config, read_config

_CONFIG = ".json"
_WEIGHTS = (".pth", ".pt", ".safetensors")
_NORMALISE = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_WAKE_WORDS = "_vww"  # ends the names of networks for Visual Wake Words, which see the whole image


def import_mcunet(name: str, file: Path | None = None, *, resolution: Size | None = None) -> ForeignNetwork:
    """Return a network of mcunet.

    Args:
        name: Path of its config, NET.json, or of its weights, NET.pth (.pt, .safetensors).
        file: The other one of the two; None: the file beside the first, with the same name but for its ending.
        resolution: Size of its images in pixels; None: that of its config.

    Raises:
        InputError: The network has a part that tinynas does not have.
        FileError: A file is missing or corrupt, or the files are of different networks.
    """
    config_file, weights_file = _pair(Path(name).expanduser(), file)
    config = read_config(config_file)
    resolution = resolution or config.get("resolution")
    if resolution is None:
        raise FileError(f"{config_file} has no resolution; add it, in pixels, or pass --resolution")
    preprocessing = Preprocessing(normalise=_NORMALISE)
    if config_file.stem.endswith(_WAKE_WORDS):
        preprocessing = Preprocessing(normalise=_NORMALISE, crop=1.0)
    return network_of_config(
        config,
        current_names(read_weights(weights_file)),
        resolution=resolution,
        preprocessing=preprocessing,
        config_file=config_file,
        weights_file=weights_file,
    )


def _pair(first: Path, second: Path | None) -> tuple[Path, Path]:
    """Return the files of the config and of the weights. Raises FileError if one is neither named nor there."""
    if first.suffix == _CONFIG:
        return first, second or _beside(first, _WEIGHTS, "weights")
    return second or _beside(first, (_CONFIG,), "config"), first


def _beside(file: Path, suffixes: Sequence[str], what: str) -> Path:
    """Return the file of the same name with the first of the suffixes that there is. Raises FileError for none."""
    for suffix in suffixes:
        if file.with_suffix(suffix).exists():
            return file.with_suffix(suffix)
    raise FileError(
        f"there is no {file.with_suffix(suffixes[0])}, the {what} of the network in {file.name}; put it there"
    )
