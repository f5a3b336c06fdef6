"""MACs and parameters of built networks, counted by independent tools."""

import warnings
from math import prod

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..arch.arch import Arch
from .network import build

_ON_CPU = {  # what the counter does not know by itself, of the shapes of what it is given: attention, an LSTM's layer
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),  # type: ignore[no-untyped-call]
    torch.ops.aten.mkldnn_rnn_layer: lambda x, w, u, *_, **__: 2 * x[0] * x[1] * (prod(w) + prod(u)),
}


def macs(part: nn.Module, *handed: Tensor) -> int:
    """Multiply-accumulates of convolutions, linear layers and products of attention, for these inputs."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a transformer layer in one kernel, of which nothing is counted
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_ON_CPU) as counter:
            part(*handed)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops()) // 2


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
