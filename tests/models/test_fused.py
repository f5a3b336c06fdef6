"""The fused kernels against PyTorch: outputs, gradients and statistics, in fp32 and against fp64."""

import copy
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from tinynas import Supernet, augment, build, load_space
from tinynas.models.batchnorm import recalibrate
from tinynas.models.detection_head import DetectionHead
from tinynas.models.fused import FusedNetwork
from tinynas.models.layers import SqueezeExcite

KINKS = {nn.ReLU: (0.0,), nn.ReLU6: (0.0, 6.0), nn.Hardswish: (-3.0, 3.0)}  # where the derivative jumps
NEAR = 3e-6  # to a kink: there, rounding alone decides on a gradient
UNSTABLE = 3e-5  # relative error of PyTorch's outputs: there, a norm of few and close values multiplies rounding errors
SPACES = {
    "micro-v1": 12,
    "mcu": 32,
    "mobile32": 12,
    "detect": 32,
}  # and the smallest of the image sizes that are tested
ACTS = ("relu", "relu6", "hswish")


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


space_of = lru_cache(load_space)


@st.composite
def cases(draw):
    """A random network of a space, its batch size, a number of threads and a seed."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    name, resolution = draw(st.sampled_from(sorted(SPACES.items())))
    arch = space_of(name).sample(rng)
    act = draw(st.sampled_from(ACTS))
    stages = []
    for stage in arch.stages:
        stages.append([replace(block, act=act, se=int(rng.integers(0, 9))) for block in stage])
    arch = replace(
        arch,
        stages=stages,
        stem=replace(arch.stem, act=act),
        head=replace(arch.head, act=act),
        resolution=resolution + draw(st.integers(0, 7)),
        padding=draw(st.sampled_from(["symmetric", "same"])),
    )
    return arch, draw(st.integers(8, 20)), draw(st.integers(1, 2)), seed


def randomised(net):
    """Set the network's norms to random scales and shifts, so that all blocks take part.

    The last layers of a fresh detector are nearly 0, and with them all gradients: they are drawn anew.
    """
    for module in net.modules():
        if isinstance(module, DetectionHead):
            for layer in (*module.boxes, *module.classifier):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return net


def distance_to_kinks(net, images):
    """The smallest distance of a value to a place where the derivative of its activation jumps."""
    distances = []

    def watch(module, kinks):
        def measure(_, inputs, output):
            values = output if isinstance(module, nn.Conv2d) else inputs[0]
            for kink in kinks:
                distances.append((values - kink).abs().min().item())

        module.register_forward_hook(measure)

    probe = copy.deepcopy(net)
    for module in probe.modules():
        if type(module) in KINKS:
            module.inplace = False
            watch(module, KINKS[type(module)])
        elif isinstance(module, SqueezeExcite):
            watch(module.reduce, KINKS[nn.ReLU])
            watch(module.expand, (-3.0, 3.0))  # of the hard sigmoid
    probe(images)
    return min(distances)


def results(run, net, images, weights):
    """The outputs, the gradients of a weighted mean of them, and the statistics after the pass, in fp64."""
    net = copy.deepcopy(net)
    outputs = run(net)(images)
    (outputs * weights).mean().backward()
    of_parameters = {name: parameter.grad.double() for name, parameter in net.named_parameters()}
    of_buffers = {name: buffer.double() for name, buffer in net.named_buffers()}
    return {"outputs": outputs.detach().double()} | of_parameters | of_buffers


def itself(net):
    return net


def eager_errors(net, images, weights, exact):
    """The errors of PyTorch, the largest of three orders of summation."""
    errors = dict.fromkeys(exact, 0.0)
    by_channel = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    for run, reverses in ((net, False), (by_channel, False), (net, True)):
        if reverses:
            values = results(itself, run, images.flip(0), weights.flip(0))
            values["outputs"] = values["outputs"].flip(0)
        else:
            values = results(itself, run, images, weights)
        for name, value in values.items():
            errors[name] = max(errors[name], (value - exact[name]).norm().item())
    return errors


@given(cases())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_results_are_as_close_to_fp64_as_those_of_pytorch(case):
    """Outputs, gradients and statistics; 1e-6 of the largest gradient is allowed where one is 0 but for rounding."""
    arch, batch, threads, seed = case
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    net = randomised(build(arch).train())
    images = torch.randn(batch, arch.in_channels, arch.resolution, arch.resolution)
    exact_net = copy.deepcopy(net).double()
    assume(distance_to_kinks(exact_net, images.double()) > NEAR)
    weights = torch.randn_like(copy.deepcopy(net)(images).detach())
    exact = results(itself, exact_net, images.double(), weights.double())
    errors = eager_errors(net, images, weights, exact)
    assume(errors["outputs"] <= UNSTABLE * exact["outputs"].norm().item())
    scale = max(exact[name].norm().item() for name, _ in net.named_parameters())
    for name, value in results(FusedNetwork, net, images, weights).items():
        assert (value - exact[name]).norm().item() <= 2 * errors[name] + 1e-6 * scale, name


@pytest.mark.parametrize("name", SPACES)
def test_evaluation_and_recalibration_are_those_of_pytorch(name):
    arch = replace(load_space(name).max(), resolution=40)
    torch.manual_seed(0)
    eager = randomised(build(arch))
    own = copy.deepcopy(eager)
    batches = [torch.randn(size, arch.in_channels, 40, 40) for size in (20, 16, 5)]
    recalibrate(eager, batches)
    fused = FusedNetwork(own)
    recalibrate(fused, batches)
    assert not fused.training
    for (key, expected), actual in zip(eager.state_dict().items(), own.state_dict().values(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4, msg=key)
    with torch.no_grad():
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.testing.assert_close(fused(batches[0]), eager(batches[0]), rtol=1e-3, atol=1e-3)


@pytest.fixture
def pair():
    """A supernet of PyTorch and an equal one of the kernels, in training mode, with 3 norms of random scales."""
    space = augment(replace(space_of("micro-v1").sample(np.random.default_rng(1)), resolution=24), width=[1, 1.6, 2])
    torch.manual_seed(0)
    eager = randomised(Supernet(space, dropout=0.3)).train()
    fused = Supernet(space, dropout=0.3).train()
    fused.load_state_dict(eager.state_dict())
    fused.fused = True
    return eager, fused


def run_step(supernet, images, arch, **arguments):
    torch.manual_seed(7)  # of dropout
    outputs = supernet(images, arch, **arguments)
    outputs.square().mean().backward()
    return outputs


def assert_same(eager, fused):
    """Gradients and buffers are the same up to rounding; that of a gradient is relative to the largest one's norm."""
    gradients_of = {name: parameter.grad for name, parameter in eager.named_parameters()}
    scale = max(gradient.norm() for gradient in gradients_of.values() if gradient is not None)
    for name, parameter in fused.named_parameters():
        expected = gradients_of[name]
        assert (expected is None) == (parameter.grad is None), name
        if expected is not None:
            assert (parameter.grad - expected).norm() <= 0.02 * expected.norm() + 1e-4 * scale, (
                name
            )  # rounding may decide on which side of a kink a value is
    for (name, expected), actual in zip(eager.named_buffers(), fused.named_buffers(), strict=True):
        torch.testing.assert_close(actual[1], expected, rtol=1e-4, atol=1e-5, msg=name)


def test_supernet_runs_views_dropout_and_statistics_as_pytorch_does(pair, rng):
    eager, fused = pair
    images = torch.randn(20, 1, 24, 24)
    for statistics in (True, False):
        for arch in (eager.space.min(), eager.space.sample(rng), eager.space.max()):
            expected = run_step(eager, images, arch, statistics=statistics)
            actual = run_step(fused, images, arch, statistics=statistics)
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
            assert_same(eager, fused)
    assert fused.net.stem.norm.num_batches_tracked == 3


def test_parameters_that_are_frozen_get_no_gradient(pair, rng):
    eager, fused = pair
    arch, images = eager.space.sample(rng), torch.randn(8, 1, 24, 24)
    for supernet in pair:
        for name, parameter in supernet.named_parameters():
            parameter.requires_grad_("stages.1" in name or "classifier" in name)
        run_step(supernet, images, arch)
    assert_same(eager, fused)
    for supernet in pair:
        for name, parameter in supernet.named_parameters():
            parameter.requires_grad_("classifier" in name)
        supernet.zero_grad()
        run_step(supernet, images, arch)
    assert_same(eager, fused)


def test_gradients_are_added_to_those_that_are_there(pair, rng):
    eager, fused = pair
    arch, images = eager.space.sample(rng), torch.randn(8, 1, 24, 24)
    for supernet in pair:
        run_step(supernet, images, arch)
        run_step(supernet, images, eager.space.min())
    assert_same(eager, fused)
    fused.zero_grad()
    run_step(fused, images, arch)
    before = [parameter.grad.clone() for parameter in fused.parameters() if parameter.grad is not None]
    fused.zero_grad()
    run_step(fused, images, arch)
    after = [parameter.grad for parameter in fused.parameters() if parameter.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_pass_repeats_to_the_bit(pair, rng, threads):
    _, fused = pair
    torch.set_num_threads(threads)
    arch, images, results = fused.space.sample(rng), torch.randn(40, 1, 24, 24), []
    for _ in range(2):
        fused.zero_grad()
        outputs = run_step(fused, images, arch, statistics=False)
        results.append([outputs.detach(), *(p.grad.clone() for p in fused.parameters() if p.grad is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("place", ["images", "stem.conv.weight", "stages.1.0.project.conv.weight", "stem.norm.bias"])
def test_what_is_not_finite_is_not_swallowed(pair, value, place):
    """The loss or a gradient is not finite where PyTorch's is not."""
    finite = []
    for supernet in pair:
        images = torch.randn(8, 1, 24, 24)
        target = images if place == "images" else supernet.net.get_parameter(place).detach()
        target.view(-1)[3] = value
        loss = run_step(supernet, images, supernet.space.max()).square().mean()
        gradients_of = [parameter.grad for parameter in supernet.parameters()]
        finite.append(bool(loss.isfinite()) and all(bool(gradient.isfinite().all()) for gradient in gradients_of))
    assert finite[0] == finite[1]
