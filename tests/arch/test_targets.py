from dataclasses import fields

import pytest

from tinynas import load_arch
from tinynas.arch.arena import KERNELS
from tinynas.arch.cost import Cost, cost
from tinynas.arch.lowering import lower
from tinynas.arch.targets import DEFAULT_TARGET, TARGETS, find_target
from tinynas.utils.errors import InputError


def test_every_target_limits_costs_that_exist():
    costs = {item.name for item in fields(Cost)}
    for target in TARGETS.values():
        assert {target.sram, target.flash} <= costs
        assert target.kernels in ("", *KERNELS)
        assert bool(target.accelerator) == (target.latency == "vela")
    assert find_target(DEFAULT_TARGET).sram == "peak_sram_tflm"


def test_limits_of_all_targets_but_those_of_vela_are_counted():
    counted = cost(load_arch("mobilenet-v2-tiny")).to_dict()
    for target in TARGETS.values():
        if not target.accelerator:
            assert {target.sram, target.flash} <= set(counted)


def test_tinyengine_has_neither_hard_swish_nor_squeeze_excite():
    lacking = {"HARD_SWISH", "MUL"}
    kinds = {operator.kind for operator in lower(load_arch("mobilenet-v3-large-w0.35")).operators}
    assert lacking <= kinds <= set(find_target("tflm").operators)
    assert lacking.isdisjoint(find_target("tinyengine").operators)


def test_find_target_names_the_targets():
    with pytest.raises(InputError, match=r"unknown target .stm32.; known: ethos-u55-128, .*tflm"):
        find_target("stm32")


def test_target_refuses_networks_with_operators_that_it_lacks():
    find_target("tinyengine").check_operators(load_arch("mcunet-in3"))
    find_target("tflm").check_operators(load_arch("mobilenet-v3-large-w0.35"))
    with pytest.raises(InputError, match="tinyengine has no HARD_SWISH, MUL, which"):
        find_target("tinyengine").check_operators(load_arch("mobilenet-v3-large-w0.35"))
