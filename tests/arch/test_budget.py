import pytest

from tinynas import Budget, cost, load_arch
from tinynas.arch.targets import TARGETS
from tinynas.utils.errors import InputError


def test_budget_fits_costs_within_its_limits():
    arch = load_arch("mcunet-in3")
    assert Budget().fits(cost(arch))
    assert Budget(macs=81_785_520, params=737_408).fits(cost(arch))
    assert not Budget(macs=81_785_519).fits(cost(arch))
    assert not Budget(macs=10**9, flash=790_535).fits(cost(arch))


def test_budget_parse_reads_limits_as_options_have_them():
    budget = Budget.parse(flops="1M:2M", params="10K", sram="64KB", flash="1MB", latency="5ms", target="tinyengine")
    assert budget == Budget(
        macs=2_000_000, min_macs=1_000_000, params=10_000, peak_sram_inplace_dw=65_536, flash=2**20, latency=0.005
    )
    assert budget.describe().startswith("macs <= 2M, params <= 10K, peak_sram_inplace_dw <= 64KB, flash <= 1MB")
    assert Budget.parse(flops="300000").describe(exact=True) == "macs <= 300000"
    assert Budget.parse() == Budget()
    assert Budget().describe() == "no limits"
    with pytest.raises(InputError, match="unknown target 'tlfm'; did you mean 'tflm'"):
        Budget.parse(sram="64KB", target="tlfm")


@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
def test_budget_parse_limits_what_the_target_needs(target):
    budget = Budget.parse(sram="64KB", flash="1MB", target=target.name)
    assert budget.limits() == {target.sram: 65_536, target.flash: 2**20}


def test_budget_only_keeps_limits_by_name():
    budget = Budget(macs=5, peak_sram_tflm=4, latency=0.5)
    assert budget.only(["latency", "macs", "flash"]) == Budget(macs=5, latency=0.5)
