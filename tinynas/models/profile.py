"""MACs and parameters of built networks, counted by independent tools."""

import warnings
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from ..arch.arch import Arch
from .network import build, example_input


def macs_by_torch(module: nn.Module, *inputs: Tensor) -> int:
    """Return the MACs of convolutions, linear layers, LSTMs and attention products, by torch's FLOP counter."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it runs a transformer layer in one kernel, which is not counted
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_CPU_FLOPS) as counter:
            module(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return int(counter.get_total_flops()) // 2


def macs_by_fvcore(module: nn.Module, images: Tensor) -> int:
    """Return the MACs of convolutions, linear layers and matrix products, by fvcore on a traced graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore traces with torch.jit, which is deprecated
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator = analysis.by_operator()
    return int(by_operator["conv"]) + int(by_operator["linear"]) + int(by_operator["matmul"])


def recount(arch: Arch) -> dict[str, int]:
    """Return "macs" by fvcore and "params" by torch of the built network."""
    net = build(arch).eval()
    params = sum(parameter.numel() for parameter in net.parameters())
    return {"macs": macs_by_fvcore(net, example_input(arch)), "params": params}


def _attention_flops(query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> int:
    """FLOPs of attention on the CPU, from the shapes of the operator's inputs."""
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _lstm_flops(inputs: Any, input_weight: Any, hidden_weight: Any, *args: Any, **kwargs: Any) -> int:
    """FLOPs of an LSTM's layer on the CPU, from the shapes of the operator's inputs."""
    steps, batch = inputs[0], inputs[1]
    return int(2 * steps * batch * (prod(input_weight) + prod(hidden_weight)))


_CPU_FLOPS = {  # operators that torch's counter does not know
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten.mkldnn_rnn_layer: _lstm_flops,
}
