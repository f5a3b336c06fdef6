"""The arena against TFLM: values measured with its sources compiled for a 32-bit host, and rules that hold for all."""

from dataclasses import replace

import pytest

from tinynas import load_arch
from tinynas.arch.arena import KERNELS, arena, offline_plan
from tinynas.arch.lowering import lower
from tinynas.utils.errors import InputError

# Smallest arena in which the network's file runs, with reference kernels: measured.
MEASURED = [
    ("mobilenet-v2-w0.35", 96, 204_560),
    ("mcunet-in3", 176, 412_688),
    ("mobilenet-v3-large-w0.35", 128, 204_880),
    ("proxyless-mobile-w0.35", 97, 144_512),
    ("mobilenet-v2-tiny", 144, 370_704),
]


@pytest.mark.parametrize(("name", "resolution", "expected"), MEASURED)
def test_arena_is_what_tflm_takes_on_32_bit(name, resolution, expected):
    assert arena(lower(replace(load_arch(name), resolution=resolution))).total == expected


# Head and used bytes in TFLM compiled for Arm with CMSIS-NN, run in QEMU: Cortex-M4 for "dsp", Cortex-M55 for "mve".
MEASURED_ON_ARM = [
    ("mobilenet-v2-w0.35", 96, "reference", 138_240, 204_500),
    ("mobilenet-v2-w0.35", 96, "cmsis-nn-dsp", 139_776, 206_100),
    ("mobilenet-v2-w0.35", 96, "cmsis-nn-mve", 146_176, 212_548),
    ("mcunet-in3", 176, "reference", 340_736, 412_612),
    ("mcunet-in3", 176, "cmsis-nn-dsp", 348_576, 420_548),
    ("mcunet-in3", 176, "cmsis-nn-mve", 365_040, 437_028),
    ("mobilenet-v3-large-w0.35", 128, "reference", 131_072, 204_820),
    ("mobilenet-v3-large-w0.35", 128, "cmsis-nn-dsp", 131_072, 204_900),
    ("mobilenet-v3-large-w0.35", 128, "cmsis-nn-mve", 131_072, 204_932),
]


@pytest.mark.parametrize(("name", "resolution", "kernels", "head", "used"), MEASURED_ON_ARM)
def test_arena_on_arm_is_counted_at_most_96_bytes_too_high(name, resolution, kernels, head, used):
    network = lower(replace(load_arch(name), resolution=resolution))
    for planned_for in (kernels, "reference"):  # measured alike for files with either plan
        counted = arena(network, kernels=kernels, planned_for=planned_for)
        assert counted.head == head
        assert used <= counted.total <= used + 96


def test_arena_for_cmsis_nn_is_not_smaller(any_space, rng):
    for _ in range(10):
        network = lower(any_space.sample(rng))
        reference = arena(network)
        for kernels in ("cmsis-nn-dsp", "cmsis-nn-mve"):
            other = arena(network, kernels=kernels)
            assert other.head >= reference.head
            assert other.tail > reference.tail


def test_arena_of_a_file_that_is_planned_for_other_kernels_differs_in_its_head_only(any_space, rng):
    for _ in range(10):
        network = lower(any_space.sample(rng))
        assert arena(network, planned_for="reference") == arena(network)
        for kernels in ("cmsis-nn-dsp", "cmsis-nn-mve"):
            other = arena(network, kernels=kernels, planned_for="reference")
            planned = arena(network, kernels=kernels)
            assert (other.tail, other.planning) == (planned.tail, planned.planning)
            assert other.head >= arena(network).head


def test_arena_rejects_unknown_kernels(space):
    with pytest.raises(InputError, match="unknown kind of kernels 'cmsis'"):
        arena(lower(space.min()), kernels="cmsis")


@pytest.mark.parametrize("kernels", KERNELS)
def test_offline_plan_has_an_aligned_offset_for_every_tensor(any_space, rng, kernels):
    network = lower(any_space.sample(rng))
    offsets = offline_plan(network, kernels=kernels)
    assert set(offsets) == {tensor.name for tensor in network.tensors()}
    assert all(offset % 16 == 0 for offset in offsets.values())
    head = arena(network, kernels=kernels).head
    assert max(offsets[tensor.name] + tensor.size for tensor in network.tensors()) <= head
