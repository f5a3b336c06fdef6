"""Networks of once-for-all (Cai et al., 2020): subnets of its supernets, and networks that it has extracted.

The supernets are OFAMobileNetV3 and OFAProxylessNASNets of the package ofa.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ...utils.errors import FileError, InputError, errors_in
from ...utils.sizes import Size
from ..foreign_weights import read_weights, with_names_of
from .foreign_network import ForeignNetwork, Preprocessing
from .net_config import current_names, network_of_config, read_config
from .ofa_subnets import subnet_of

RESOLUTION = 224  # pixels, where nothing says another one
_SUPERNET_MARK = ".bn.bn."  # in names of tensors: only layers of supernets hold their norm in another one


def import_ofa(name: str, file: Path | None = None, *, resolution: Size | None = None) -> ForeignNetwork:
    """Return a subnet of a supernet of ofa, or a network that ofa has extracted.

    The batch norm statistics of a subnet are the supernet's, as in the subnet that ofa extracts: re-estimate them.

    Args:
        name: Path of the weights of the supernet or of the extracted network.
        file: A JSON or YAML file that describes the network. Of a supernet's subnet: its choices `ks`, `e` and `d`,
            numbers or lists as in ofa, and optionally `r` or `image_size`; None: the largest subnet. Of an extracted
            network: its config; None: the file `net.config` beside the weights.
        resolution: Size of its images in pixels; None: that of the choices or of the file `run.config` beside the
            config, else 224.

    Raises:
        InputError: The network has a part that tinynas does not have, or the supernet does not have the subnet.
        FileError: A file is missing or corrupt, or the files are of different networks.
    """
    weights = Path(name).expanduser()
    tensors = read_weights(weights)
    _refuse_others(tensors, weights)
    state = with_names_of(["first_conv.conv.weight"], current_names(tensors))
    is_supernet = any(_SUPERNET_MARK in tensor for tensor in tensors)
    if file is None and not is_supernet:
        file = _config_beside(weights)
    config = read_config(file) if file else {}
    source = file or weights
    if is_supernet:
        with errors_in(str(source)):
            resolution = resolution or _resolution_in(config)
            config, state = subnet_of(state, config)
    else:
        _check_is_config(config, source)
        resolution = resolution or _resolution_beside(source)
    return network_of_config(
        config,
        state,
        resolution=resolution or RESOLUTION,
        preprocessing=Preprocessing(),
        config_file=source,
        weights_file=weights,
        is_supernet=is_supernet,
    )


def _refuse_others(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Raise InputError for the supernets of ofa and mcunet that cannot be imported."""
    for name in tensors:
        if "input_stem." in name:
            raise InputError(
                f"{file} is of the ResNets of ofa, which have max pooling behind their stem and bottleneck blocks; "
                "tinynas has neither"
            )
        if name.endswith("first_conv.conv.conv.weight"):
            raise InputError(
                f"{file} is a supernet of several widths, of which no subnet can be imported; import one that mcunet "
                "has extracted, with its config"
            )


def _config_beside(weights: Path) -> Path:
    """Return the file of a network's config, beside its weights. Raises FileError without it."""
    config = weights.parent / "net.config"
    if not config.exists():
        raise FileError(
            f"{weights} has the weights of a network without its config; name the config that ofa writes, "
            f"ofa:{weights}:net.config"
        )
    return config


def _check_is_config(config: Mapping[str, Any], source: Path) -> None:
    if "blocks" not in config:
        raise FileError(
            f"{source} is not the config of a network, which the weights of an extracted network need; choices such as "
            "ks, e and d are for the weights of a supernet"
        )


def _resolution_in(choices: Mapping[str, Any]) -> Any:
    """Return the size of images among a subnet's choices, None for none."""
    size = choices.get("image_size", choices.get("r"))
    return size[0] if isinstance(size, Sequence) and len(size) == 1 else size


def _resolution_beside(config: Path) -> Any:
    """Return the size of images in the file run.config beside a network's config, None without it."""
    run = config.parent / "run.config"
    return read_config(run).get("image_size") if run.exists() else None
