import pytest

from helpers import SPACE, sampled
from tinynas import Budget
from tinynas.arch.budget import split_own_limits
from tinynas.arch.cost import Cost, cost
from tinynas.arch.cost_names import cost_named, cost_word, costs_named
from tinynas.arch.cost_table import CostTable, write_table
from tinynas.arch.layers import layers_of, layers_of_space
from tinynas.arch.own_costs import AddedCosts, OwnCosts
from tinynas.arch.targets import TARGETS, find_target
from tinynas.utils.errors import FileError, InputError

LAYERS = layers_of_space(SPACE)
ENERGIES = {layer: 1 + number / 8 for number, layer in enumerate(LAYERS)}  # exact sums


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "energy.csv"
    write_table(path, LAYERS, ENERGIES, column="energy (uJ)")
    return path


def size(arch):
    return float(cost(arch).macs)


def test_table_names_its_cost_and_unit(path):
    table = CostTable.read(path)
    assert (table.cost, table.unit) == ("energy", "uJ")
    for number in range(5):
        arch = sampled(SPACE, number)
        assert table.measure(arch) == {"energy": sum(ENERGIES[layer] for layer in layers_of(arch))}


def test_table_of_another_cost_has_another_digest(path, tmp_path):
    for column in ("energy (mJ)", "heat (uJ)", "microseconds"):
        other = tmp_path / f"{column}.csv"
        write_table(other, LAYERS, ENERGIES, column=column)
        assert CostTable.read(other).digest != CostTable.read(path).digest


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("energy", "has no column of a cost; after act its first line must name the cost and its unit, .*'energy'"),
        ("energy ()", "has no column of a cost"),
        ("macs (M)", "column 'macs (M)': macs is a cost that tinynas has itself; choose another name"),
        ("accuracy (%)", "accuracy is a cost that tinynas has itself"),
        ("2nd (uJ)", "a cost's name must be letters, digits and _, but is '2nd'"),
    ],
)
def test_table_whose_column_names_no_cost_is_an_error_in_a_line(path, title, message):
    path.write_text(path.read_text().replace("energy (uJ)", title))
    with pytest.raises((FileError, InputError), match=message.replace("(M)", r"\(M\)")):
        OwnCosts(tables=(CostTable.read(path),)).names  # noqa: B018


def test_table_names_the_layers_without_a_number(path):
    lines = path.read_text().splitlines()
    lines[3] = lines[3].rpartition(",")[0] + ",lots"
    path.write_text("\n".join(lines))
    with pytest.raises(FileError) as error:
        CostTable.read(path)
    expected = rf"{path} has no energy (uJ) for 1 of {len(LAYERS)} layers: line 4 ({LAYERS[2].describe()}) has 'lots'"
    assert str(error.value).startswith(expected)
    path.write_text("\n".join([*lines[:3], *lines[4:]]))
    with pytest.raises(FileError, match=r"energy.csv lacks 1 of the \d+ layers of small"):
        CostTable.read(path).check_covers(SPACE, "small")


def test_added_costs_are_those_of_all_sources(path):
    own = OwnCosts(tables=(CostTable.read(path),), functions={"area": size})
    assert own.names == ("energy", "area")
    assert own.units == {"energy": "uJ", "area": ""}
    added, arch = AddedCosts(own, None, SPACE), sampled(SPACE, 1)
    assert added.measure(arch) == {**CostTable.read(path).measure(arch), "area": size(arch)}
    with pytest.raises(InputError, match="two sources have the cost energy"):
        OwnCosts(tables=(CostTable.read(path),), functions={"energy": size})


def test_digest_of_a_function_is_of_what_it_returns():
    def doubled(arch):
        return 2 * size(arch)

    digests = [OwnCosts(functions={"area": function}).digests(SPACE) for function in (size, lambda a: size(a), doubled)]
    assert digests[0] == digests[1] != digests[2]


def test_latency_table_alone_has_its_own_digest(tmp_path):
    """So that studies of earlier versions are continued."""
    write_table(tmp_path / "board.csv", LAYERS, ENERGIES)
    table = CostTable.read(tmp_path / "board.csv")
    assert AddedCosts(OwnCosts(), table, SPACE).digest == table.digest
    assert AddedCosts(OwnCosts(functions={"area": size}), table, SPACE).digest != table.digest


@pytest.mark.parametrize("returned", [0, -1.0, float("nan"), float("inf"), None, "many", "3", b"3", True, [1]])
def test_function_that_returns_no_cost_is_an_error_in_a_line(returned):
    with pytest.raises(InputError) as error:
        OwnCosts(functions={"area": lambda arch: returned}).digests(SPACE)
    assert str(error.value) == (
        f"the function of the cost area must return a finite number above 0, but returned {returned!r} of the type "
        f"{type(returned).__name__}"
    )


def test_what_is_no_function_or_has_no_name_is_an_error_in_a_line():
    with pytest.raises(InputError, match="costs: area is of the type int; pass a function of an Arch that returns"):
        OwnCosts(functions={"area": 3})
    with pytest.raises(InputError, match="costs: a cost's name must be letters, digits and _, but is 3"):
        OwnCosts(functions={3: size})


def test_function_that_fails_is_an_error_that_says_why():
    def broken(arch):
        return arch.nothing

    with pytest.raises(InputError, match="the function of the cost area failed: AttributeError: 'Arch' object has no"):
        OwnCosts(functions={"area": broken}).digests(SPACE)


def test_cost_and_budget_hold_own_costs_beside_the_others():
    counts = cost(SPACE.min()).with_values({"energy": 2.5, "latency": 1.0})
    assert (counts.own, counts.latency) == ({"energy": 2.5}, 1.0)
    assert Cost(**counts.to_dict()) == counts
    assert counts.named()["energy"] == 2.5
    budget = Budget(macs=10**9, own={"energy": 2.5})
    assert budget.fits(counts)
    assert budget.limits() == {"macs": 10**9, "energy": 2.5}
    assert Budget(**budget.to_dict()) == budget
    assert not Budget(own={"energy": 2.4}).fits(counts)
    assert budget.only(["energy"]) == Budget(own={"energy": 2.5})
    assert budget.describe() == "macs <= 1G, energy <= 2.5"
    with pytest.raises(InputError, match="the limit of energy must be a number, but is '3'"):
        Budget(own={"energy": "3"})


def test_limits_of_own_costs_are_read():
    assert split_own_limits(["energy=3.5", "area=1e3"]) == {"energy": "3.5", "area": "1e3"}
    for texts in (["energy"], ["energy=1", "energy=2"]):
        with pytest.raises(InputError, match=r"cannot read|limited twice"):
            split_own_limits(texts)


@pytest.mark.parametrize("name", TARGETS)
def test_words_mean_what_limits_mean(name):
    target = find_target(name)
    assert cost_named("sram", target) == target.sram
    assert cost_named("flash", target) == target.flash
    assert costs_named(["flops", "energy"], target, own=["energy"]) == ("macs", "energy")
    if target.kernels:
        assert cost_named("arena", target) == target.sram
    assert (cost_word(target.sram), cost_word(target.flash)) == ("sram", "flash")
    if not target.kernels:
        with pytest.raises(InputError, match=f"{name} has no arena; name sram instead"):
            cost_named("arena", target)
