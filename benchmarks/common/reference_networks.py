"""Networks of timm, ofa, mcunet and NetAug's code, with random weights, and what tinynas imports of their files."""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from tinynas import Arch, load_arch
from tinynas.models.importers.foreign_network import ForeignNetwork
from tinynas.models.importers.mcunet_networks import import_mcunet
from tinynas.models.importers.netaug_networks import import_netaug
from tinynas.models.importers.ofa_networks import import_ofa
from tinynas.models.importers.timm_networks import fold_branches, import_timm

SIDE = 96  # pixels of the random images that batch norm statistics are of
CHOICES = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
NETAUG_NETWORKS = {  # the authors' name and their factors of widths, by the name in tinynas
    "mobilenet-v2-tiny": ("tinymbv2", [1.0, 1.8, 2.6]),
    "mobilenet-v2-w0.35": ("mbv2-0.35", [1.0, 1.8, 2.6]),
    "mobilenet-v3-large-w0.35": ("mbv3-0.35", [1.0, 2.0, 3.0]),
    "proxyless-mobile-w0.35": ("proxylessnas-0.35", [1.0, 1.8, 2.6]),
    "mcunet-in3": ("mcunet", [1.0, 1.6, 2.2]),
}
_EXPAND = [1.0, 1.6, 2.2, 2.8]


class Pair(NamedTuple):
    """A network of another library, and what was imported of the files that it was saved in."""

    original: nn.Module
    imported: ForeignNetwork


@torch.no_grad()
def randomised(module: nn.Module, *, seed: int = 0, side: int = SIDE) -> nn.Module:
    """Return a network, in eval mode, with random batch norms whose statistics are those of random images."""
    rng = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if name.endswith("_matrix"):  # of a supernet's kernels; the identity when it is made
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.uniform_(0.5, 1.5, generator=rng)
            norm.bias.normal_(0, 0.2, generator=rng)
            norm.momentum = 1.0  # the statistics of the last batch
    module.train()(torch.randn(8, 3, side, side, generator=rng))
    return module.eval()


def of_timm(folder: Path, name: str) -> Pair:
    """Return a network of timm; the branches of MobileOne are a single convolution."""
    import timm

    module = randomised(timm.create_model(name))
    torch.save(module.state_dict(), folder / "weights.pth")
    return Pair(fold_branches(module), import_timm(name, folder / "weights.pth"))


def subnet_of_ofa(folder: Path, supernet: Callable[..., Any], seed: int, **settings: Any) -> Pair:
    """Return a random subnet of a supernet, imported from the supernet's weights and the subnet's choices."""
    torch.manual_seed(seed)
    random.seed(seed)
    whole = supernet(**CHOICES, **settings)
    choices = whole.sample_active_subnet()
    randomised(whole, seed=seed)  # runs the subnet: with statistics of another, its logits hardly depend on the image
    torch.save({"state_dict": whole.state_dict()}, folder / "supernet.pth")
    (folder / "subnet.json").write_text(json.dumps({**choices, "r": [160]}))
    subnet = whole.get_active_subnet().eval()
    return Pair(subnet, import_ofa(str(folder / "supernet.pth"), folder / "subnet.json"))


def extracted_by_ofa(folder: Path, supernet: Callable[..., Any], seed: int, **settings: Any) -> Pair:
    """Return a random subnet that a supernet has extracted, imported from its config and its weights."""
    whole = supernet(**CHOICES, **settings)
    random.seed(seed)
    whole.sample_active_subnet()
    return _with_config_of_ofa(folder, whole.get_active_subnet())


def network_of_ofa(folder: Path, network: Callable[..., Any], **settings: Any) -> Pair:
    """Return a network of ofa that is no subnet, imported from its config and its weights."""
    return _with_config_of_ofa(folder, network(**settings))


def _with_config_of_ofa(folder: Path, module: Any) -> Pair:
    randomised(module)
    torch.save({"state_dict": module.state_dict()}, folder / "init")
    (folder / "net.config").write_text(json.dumps(module.config))
    (folder / "run.config").write_text(json.dumps({"image_size": 160}))
    return Pair(module, import_ofa(str(folder / "init")))


def network_of_mcunet(folder: Path, module: Any, resolution: int) -> Pair:
    """Return a network of mcunet, imported from its config and its weights."""
    randomised(module)
    torch.save({"state_dict": module.state_dict()}, folder / "network.pth")
    (folder / "network.json").write_text(json.dumps({**module.config, "resolution": resolution}))
    return Pair(module, import_mcunet(str(folder / "network.json")))


def config_of_mcunet(arch: Arch) -> dict[str, Any]:
    """Return the config with which mcunet builds the network of an arch of inverted residuals."""
    plain = arch.to_dict()
    stem = plain["stem"]
    channels, blocks = stem["out"], []
    for stage in plain["stages"]:
        for block in stage:
            layer = {"name": "MBInvertedConvLayer", "in_channels": channels, "out_channels": block["out"]}
            layer |= {"kernel_size": block["kernel"], "stride": block["stride"], "act_func": block["act"]}
            layer |= {"mid_channels": block["mid"] or None, "expand_ratio": 1 if not block["mid"] else 6}
            shortcut = {"name": "IdentityLayer", "in_channels": channels, "out_channels": channels}
            blocks.append({"mobile_inverted_conv": layer, "shortcut": shortcut if block["residual"] else None})
            channels = block["out"]
    return {
        "name": "ProxylessNASNets",
        "bn": {"momentum": 0.1, "eps": 1e-5},
        "first_conv": {
            "name": "ConvLayer",
            "in_channels": arch.in_channels,
            "out_channels": stem["out"],
            "kernel_size": stem["kernel"],
            "stride": stem["stride"],
            "act_func": stem["act"],
        },
        "blocks": blocks,
        "feature_mix_layer": None,
        "classifier": {"name": "LinearLayer", "in_features": channels, "out_features": arch.classes},
    }


def use_netaug_code(folder: str) -> None:
    """Make the modules of the authors' code importable. Raises SystemExit if the folder does not have it."""
    if not (Path(folder) / "models" / "netaug").is_dir():
        raise SystemExit(f"{folder} is not the folder `netaug` of github.com/mit-han-lab/tinyml")
    sys.path.insert(0, folder)  # in front of a `setup` of this repository


def of_netaug(folder: Path, name: str, *, is_augmented: bool) -> Pair:
    """Return a network of NetAug's code, imported from its checkpoint or from that of the augmented network."""
    import setup as authors

    own_name, widths = NETAUG_NETWORKS[name]
    module = authors.build_model(own_name)
    side = load_arch(name).resolution
    if is_augmented:
        factors = {"aug_expand_list": _EXPAND, "aug_width_mult_list": widths}
        module = authors.augemnt_model(module, factors, n_classes=1000)
        module.set_active("min")
    randomised(module)
    torch.save({"state_dict": module.state_dict()}, folder / "checkpoint.pt")
    imported = import_netaug(str(folder / "checkpoint.pt"))
    if is_augmented:
        with torch.no_grad():
            module(torch.zeros(1, 3, side, side))  # sets the sizes that are exported
        module = module.export().eval()
    return Pair(module, imported)
