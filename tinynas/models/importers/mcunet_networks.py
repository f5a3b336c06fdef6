"""Networks of MCUNet (Lin et al., 2020) as the package mcunet has them: a config and a checkpoint side by side."""

from pathlib import Path

from ...data.base import Normalisation
from ...utils.errors import FileError
from ..foreign_weights import read_weights
from .foreign_network import ForeignNetwork, Preprocessing
from .net_config import current_names, network_of_config, read_config

_CONFIG = ".json"
_WEIGHTS = (".pth", ".pt", ".safetensors")
_NORMALISE = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
_WAKE_WORDS = "_vww"  # ends the names of networks for Visual Wake Words, which see the whole image


def import_mcunet(file: Path, *, resolution: int | None = None) -> ForeignNetwork:
    """Return a network of mcunet.

    Args:
        file: Its config, NAME.json, or its weights, NAME.pth (.pt, .safetensors); the other file is beside it.
        resolution: Size of its images in pixels; None: that of its config.

    Raises:
        InputError: The network has a part that tinynas does not have.
        FileError: A file is missing or corrupt, or the files are of different networks.
    """
    config_file, weights_file = _pair(file)
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


def _pair(file: Path) -> tuple[Path, Path]:
    """Return the files of the config and of the weights, of which one is named. Raises FileError if one is missing."""
    if file.suffix != _CONFIG:
        config = file.with_suffix(_CONFIG)
        if not config.exists():
            raise FileError(
                f"there is no {config}, the config of the network in {file.name}; put it beside the weights"
            )
        return config, file
    for suffix in _WEIGHTS:
        if file.with_suffix(suffix).exists():
            return file, file.with_suffix(suffix)
    raise FileError(
        f"there are no weights {file.with_suffix(_WEIGHTS[0])} of the network in {file.name}; put them there"
    )
