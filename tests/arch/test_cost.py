import pytest
import torch

from tinynas import augment, build, cost, load_arch
from tinynas.arch.cost import layer_costs
from tinynas.arch.netaug import family_factors

# Convolution and linear MACs as fvcore counts them, and learnable parameters, of the networks that the NetAug paper
# trains (Cai et al., ICLR 2022, table 1); params of the augmented networks that its authors build around them.
PUBLISHED = {
    "mobilenet-v2-tiny": (23_051_152 + 448_000, 750_280, 5_827_439, (1.0, 1.8, 2.6)),
    "mobilenet-v2-w0.35": (29_594_800 + 1_280_000, 1_677_128, 8_624_198, (1.0, 1.8, 2.6)),
    "mcunet-in3": (81_625_520 + 160_000, 737_408, 7_267_427, (1.0, 1.6, 2.2)),
}


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items())
def test_cost_of_published_networks_is_as_published(name, expected):
    macs, params, augmented_params, width = expected
    arch = load_arch(name)
    assert (cost(arch).macs, cost(arch).params) == (macs, params)
    assert family_factors(arch) == (width, (1.0, 1.6, 2.2, 2.8))
    width, expand = family_factors(arch)
    assert cost(augment(arch, width=width, expand=expand).max()).params == augmented_params


@pytest.mark.parametrize(
    ("name", "generic", "inplace"), [("mcunet-in3", 340_736, 266_344), ("mobilenet-v2-tiny", 311_040, 302_120)]
)
def test_cost_has_the_known_peak_sram(name, generic, inplace):
    assert cost(load_arch(name)).peak_sram == generic
    assert cost(load_arch(name)).peak_sram_inplace_dw == inplace


def count_built(arch):
    """MACs, params and flash of the built module, from the shapes that a forward pass sees."""
    net = build(arch).eval()
    macs = flash = 0

    def count(module, inputs, output):
        nonlocal macs, flash
        pixels = output[0, 0].numel() if output.ndim == 4 else 1
        macs += module.weight.numel() * pixels
        flash += module.weight.numel() + 8 * module.weight.shape[0]

    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    net(torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution))
    return macs, sum(p.numel() for p in net.parameters()), flash


def test_cost_equals_a_count_of_the_built_module(shipped_space, rng):
    for arch in [shipped_space.min(), shipped_space.max(), *(shipped_space.sample(rng) for _ in range(6))]:
        assert count_built(arch) == (cost(arch).macs, cost(arch).params, cost(arch).flash)


def test_cost_counts_every_kind_of_layer(any_space, rng):
    for _ in range(40):
        arch = any_space.sample(rng)
        assert count_built(arch) == (cost(arch).macs, cost(arch).params, cost(arch).flash)


def test_steps_are_named_like_modules(space):
    modules = dict(build(space.max()).named_modules())
    free = ("add", "pool", "scale")
    for step in layer_costs(space.max()):
        assert step.name in modules or step.name.endswith(free), step.name


def test_steps_hold_a_shortcut_until_it_is_added():
    arch = load_arch("mobilenet-v2-tiny")
    by_name = {step.name: step.sram for step in layer_costs(arch)}
    size = 36 * 36  # of stage 1 at 144 px, 8 channels in and out, 48 between
    assert by_name["stages.1.1.expand"] == (8 + 48) * size
    assert by_name["stages.1.1.depthwise"] == (48 + 48 + 8) * size
    assert by_name["stages.1.1.project"] == (48 + 8 + 8) * size
    assert by_name["stages.1.1.add"] == (8 + 8) * size
