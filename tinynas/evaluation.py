"""Networks cut from a supernet, and how good they are; counts that others make of a network."""

import warnings

import torch
from torch import Tensor, nn

from .arch import Arch
from .batchnorm import recalibrate
from .data import Data
from .nets import Network, build, fold
from .supernet import Supernet
from .tasks import TASKS


def extract_calibrated(supernet: Supernet, arch: Arch, calibration: list[Tensor]) -> Network:
    """A subnet on its own, in eval mode, its statistics set by the images (N, C, H, W). The supernet stays as it is."""
    net = supernet.extract(arch)
    device = next(net.parameters()).device
    recalibrate(net, (images.to(device) for images in calibration))
    return net


def recount(arch: Arch) -> dict[str, int]:
    """MACs of the built network's convolutions and linear layers as fvcore counts them, parameters as torch does."""
    net = build(arch).eval()
    image = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    return {"macs": traced_macs(net, image), "params": sum(parameter.numel() for parameter in net.parameters())}


def traced_macs(net: nn.Module, images: Tensor) -> int:
    """MACs of any network's convolutions and linear layers for these images, as fvcore counts them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which is deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(net, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator = analysis.by_operator()
    return sum(int(by_operator[name]) for name in ("conv", "linear"))


class SubnetEvaluator:
    """How good subnets are on the search-val split, each recalibrated on the same training images and folded."""

    def __init__(self, supernet: Supernet, data: Data) -> None:
        self.supernet = supernet
        self.data = data
        self._calibration: dict[int, list[Tensor]] = {}  # by resolution

    def __call__(self, arch: Arch) -> float:
        """Percent. The same for the same weights and arch."""
        if arch.resolution not in self._calibration:
            self._calibration[arch.resolution] = self.data.calibration_batches(arch.resolution)
        net = extract_calibrated(self.supernet, arch, self._calibration[arch.resolution])
        return TASKS[self.data.task].measure(fold(net), arch, self.data, self.data.val)
