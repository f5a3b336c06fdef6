import numpy as np
import pytest

from tinynas import Budget, cost, load_arch
from tinynas.arch.cost import COSTS
from tinynas.arch.cost_names import WORDS
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
    assert budget.describe().startswith("macs <= 2M, params <= 10K, sram <= 64KB, flash <= 1MB")
    assert budget.describe(exact=True).startswith("macs <= 2000000, params <= 10000, peak_sram_inplace_dw <= 65536")
    assert budget.slug().startswith("macs-2000000-params-10000-sram-65536-flash-1048576-latency-0.005")
    assert Budget.parse() == Budget()
    assert Budget().describe() == "no limits"
    for text in ("150K:", ":150K"):
        with pytest.raises(InputError, match=f"cannot read '{text}': expected a count or a range"):
            Budget.parse(flops=text)
    with pytest.raises(InputError, match="unknown target 'tlfm'; did you mean 'tflm'"):
        Budget.parse(sram="64KB", target="tlfm")


@pytest.mark.parametrize("target", TARGETS.values(), ids=str)
def test_budget_parse_limits_what_the_target_needs(target):
    budget = Budget.parse(sram="64KB", flash="1MB", target=target.name)
    assert budget.limits() == {target.sram: 65_536, target.flash: 2**20}


OWN_LIMITS = [3.5, 4, "3.5", "1e3", np.float64(3.5), np.float32(3.5), np.int64(4)]


@pytest.mark.parametrize("limit", OWN_LIMITS, ids=repr)
def test_limit_of_an_own_cost_is_any_number_above_0(limit):
    budget = Budget.parse(own={"energy": limit})
    assert budget.own == {"energy": float(limit)}
    assert type(budget.own["energy"]) is float, "as YAML and JSON have it"


@pytest.mark.parametrize("limit", [0, -1.5, "-1", "0", "nan", float("inf"), True, None, "much", "", [3.0]], ids=repr)
def test_limit_of_an_own_cost_that_is_no_number_above_0_is_an_error(limit):
    with pytest.raises(InputError, match=r"^the limit of energy must be a finite number above 0, but is ") as error:
        Budget.parse(own={"energy": limit})
    assert repr(limit) in str(error.value)


@pytest.mark.parametrize("name", [*WORDS, *COSTS])
def test_cost_of_tinynas_is_not_limited_as_an_own_one(name):
    with pytest.raises(InputError, match=f"^{name} is no cost of your own; limit it with --[a-z]+, to a value like"):
        Budget.parse(own={name: 3})


def test_budget_only_keeps_limits_by_name():
    budget = Budget(macs=5, peak_sram_tflm=4, latency=0.5)
    assert budget.only(["latency", "macs", "flash"]) == Budget(macs=5, latency=0.5)
