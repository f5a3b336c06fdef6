"""The files of networks with side heads, against PyTorch and against TFLM."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import images_for, model_of
from tinynas import SideNet
from tinynas.arch.arena import arena
from tinynas.arch.exit_lowering import split_after_outputs

pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")

from tinynas.deploy.runtimes import LiteRT, TfliteMicro
from tinynas.deploy.tflite_parts import tflite_parts

TAPS = [
    ["stages.0"],
    ["stem", "stages.0.0", "stages.1"],
    ["stages.1.1.depthwise"],
    ["stages.1.1.expand", "stages.1.1.depthwise"],  # the first part's shortcut passes through the second
]


def exits_of(arch, taps):
    net, images = model_of(arch).net, images_for(arch, 6)
    sidenet = SideNet(net, taps, 5, inputs=images)
    for head in sidenet.heads:
        torch.nn.init.uniform_(head.hidden.bias, -0.2, 0.2)
    return sidenet, tflite_parts(net, taps, sidenet.heads, 5), images


@pytest.fixture(params=["symmetric", "same", "not square"])
def arch(space, request):
    if request.param == "not square":
        return replace(space.max(), resolution=(14, 9))
    return replace(space.max(), padding=request.param)


@pytest.mark.parametrize("taps", TAPS, ids=len)
def test_parts_compute_what_torch_does(arch, taps):
    sidenet, parts, images = exits_of(arch, taps)
    with torch.no_grad():
        expected = sidenet.all_logits(images).transpose(0, 1)
    torch.testing.assert_close(parts.run(images), expected, atol=1e-4, rtol=1e-4)
    int8 = parts.quantize(images)
    assert (int8.run(images) - expected).norm() < 0.1 * expected.norm()
    assert len(int8.latencies(images[:1])) == len(parts.file_names) == len(taps) + 1


@pytest.mark.parametrize("taps", TAPS, ids=len)
def test_int8_parts_run_in_tflm(arch, taps):
    pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
    _, parts, images = exits_of(arch, taps)
    int8 = parts.quantize(images)
    carried = None
    for part, content in zip(split_after_outputs(int8.network), int8.files, strict=True):
        reference, micro = LiteRT(content, reference=True), TfliteMicro(content)
        carried = carried or [reference.quantized(images[:1])]
        expected = reference.run(carried)
        for values, other in zip(expected, micro.run(carried), strict=True):
            assert np.abs(values.astype(int) - other.astype(int)).max() <= 1
        predicted = arena(part, bits=64)
        assert micro.arena_bytes() == (predicted.head, predicted.tail)
        carried = expected[1:]
