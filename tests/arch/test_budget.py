from tinynas import Budget, cost, load_arch


def test_budget_fits_costs_within_its_limits():
    arch = load_arch("mcunet-in3")
    assert Budget().fits(cost(arch))
    assert Budget(macs=81_785_520, params=737_408).fits(cost(arch))
    assert not Budget(macs=81_785_519).fits(cost(arch))
    assert not Budget(macs=10**9, flash=790_535).fits(cost(arch))
