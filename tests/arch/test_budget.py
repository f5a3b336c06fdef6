import pytest

from tinynas import Budget, cost, load_arch
from tinynas.utils.errors import InputError


def test_budget_fits_costs_within_its_limits():
    arch = load_arch("mcunet-in3")
    assert Budget().fits(cost(arch))
    assert Budget(macs=81_785_520, params=737_408).fits(cost(arch))
    assert not Budget(macs=81_785_519).fits(cost(arch))
    assert not Budget(macs=10**9, flash=790_535).fits(cost(arch))


def test_budget_parse_reads_limits_as_options_have_them():
    budget = Budget.parse(flops="1M:2M", params="10K", sram="64KB", sram_model="inplace_dw", flash="1MB", latency="5ms")
    assert budget == Budget(
        macs=2_000_000, min_macs=1_000_000, params=10_000, peak_sram_inplace_dw=65_536, flash=2**20, latency=0.005
    )
    assert budget.describe().startswith("macs <= 2M, params <= 10K, peak_sram_inplace_dw <= 64KB, flash <= 1MB")
    assert Budget.parse(flops="300000").describe(exact=True) == "macs <= 300000"
    assert Budget.parse() == Budget()
    assert Budget().describe() == "no limits"
    with pytest.raises(InputError, match=r"add --sram"):
        Budget.parse(sram_model="generic")
