import csv
import re

import pytest
from kinds import rectangular_space_of

from helpers import SPACE, flipped, result_or_error, sampled
from tinynas import load_space
from tinynas.arch.cost import MeasuredCosts
from tinynas.arch.cost_table import TIME, CostTable, write_table
from tinynas.arch.layers import layers_of, layers_of_space
from tinynas.utils.errors import FileError

LAYERS = layers_of_space(SPACE)
TIMES = {layer: 1 + number / 8 for number, layer in enumerate(LAYERS)}  # exact sums


def test_table_has_sizes_that_are_not_square(tmp_path):
    """As height and width, such as 96x160; read back they are the same layers."""
    space = rectangular_space_of("inverted-residual")
    layers = layers_of_space(space)
    write_table(tmp_path / "board.csv", layers, dict.fromkeys(layers, 2.0))
    text = (tmp_path / "board.csv").read_text()
    assert ",2x1,relu6,2\n" in text
    table = CostTable.read(tmp_path / "board.csv", column=TIME)
    assert set(table.values) == set(layers)
    assert table.total(space.max()) == pytest.approx(2 * len(layers_of(space.max())))
    (tmp_path / "board.csv").write_text(text.replace(",2x1,", ",2x,", 1))
    with pytest.raises(FileError, match="stride must be a whole number of at least 1, but is ''"):
        CostTable.read(tmp_path / "board.csv", column=TIME)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "board.csv"
    write_table(path, LAYERS, TIMES)
    return path


def rows_of(path):
    return path.read_text().splitlines()


def test_table_adds_up_the_times_of_all_layers(path):
    table: MeasuredCosts = CostTable.read(path, column=TIME)
    for number in range(5):
        arch = sampled(SPACE, number)
        assert table.measure(arch) == {"latency": sum(TIMES[layer] for layer in layers_of(arch)) / 1e6}


def test_table_counts_a_layer_as_often_as_it_runs(path):
    arch = load_space("micro-v1").max()
    layers = layers_of(arch)
    assert len(set(layers)) < len(layers)
    table = CostTable(path=path, values=dict.fromkeys(layers, 1.0))
    assert table.total(arch) == len(layers)


def test_table_is_the_same_in_another_order_and_another_file(path, tmp_path):
    table = CostTable.read(path, column=TIME)
    header, *rows = rows_of(path)
    other = tmp_path / "other.csv"
    other.write_text("\n".join([f"\ufeff{header},remark", *(f"{row},x" for row in reversed(rows))]) + "\n\n")
    assert CostTable.read(other).values == table.values
    assert CostTable.read(other).digest == table.digest
    rows[3] = rows[3].rpartition(",")[0] + ",7"
    other.write_text("\n".join([header, *rows]))
    assert CostTable.read(other).digest != table.digest


def test_table_without_layers_of_an_arch_names_them(path):
    arch = sampled(SPACE, 2)
    missing = sorted(set(layers_of(arch)))[:4]
    path.unlink()
    write_table(path, [layer for layer in LAYERS if layer not in missing], TIMES)
    table = CostTable.read(path, column=TIME)
    with pytest.raises(
        FileError, match=rf"board.csv lacks 4 of the {len(set(layers_of(arch)))} layers of the network: "
    ):
        table.total(arch)
    with pytest.raises(
        FileError, match=rf"lacks 4 of the {len(LAYERS)} layers of small with 1 input channels and 3"
    ) as e:
        table.check_covers(SPACE, "small")
    assert "and 1 more" in str(e.value)
    assert sum(layer.describe() in str(e.value) for layer in missing) == 3


def test_table_covers_its_space_only(path):
    table = CostTable.read(path, column=TIME)
    table.check_covers(SPACE, "small")
    with pytest.raises(FileError, match="layers of micro-v1"):
        table.check_covers(load_space("micro-v1"), "micro-v1")


def test_table_with_empty_and_impossible_times_names_them(path):
    header, *rows = rows_of(path)
    for number, text in ((0, ""), (2, "-4"), (3, "nan"), (5, "inf"), (6, "1 ms")):
        rows[number] = rows[number].rpartition(",")[0] + f",{text}"
    path.write_text("\n".join([header, *rows]))
    with pytest.raises(FileError) as error:
        CostTable.read(path, column=TIME)
    message = str(error.value)
    assert f"no time in microseconds for 5 of {len(LAYERS)} layers: line 2 ({LAYERS[0].describe()}) has '', " in message
    assert "has '-4', line 5" in message
    assert "has 'nan' and 2 more; fill in numbers from 0 to 1e+12" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0].replace("kernel", "k"), *lines[1:]], "lacks the column 'kernel'; its first line must"),
        (lambda lines: [line.replace(",", ";") for line in lines], "lacks the column 'kind'"),
        (lambda lines: [], "lacks the column 'kind'"),
        (lambda lines: lines[:1], "has no rows"),
        (lambda lines: [*lines, lines[4]], "line {last} repeats the layer of line 5; remove one of the two"),
        (lambda lines: [lines[0], "CONF" + lines[1][4:]], "line 2: kind must be one of CONV_2D, DEPTHWISE_.*'CONF_2D'"),
        (lambda lines: [lines[0], "CONV_2D,8.5" + lines[1][9:]], "line 2: size must be a whole number .*'8.5'"),
        (
            lambda lines: [lines[0], "CONV_2D,0" + lines[1][9:]],
            "line 2: size must be a whole number of at least 1.*'0'",
        ),
        (lambda lines: [lines[0], "CONV_2D,8"], "line 2: in_channels must be a whole number of at least 1, but is ''"),
        (lambda lines: [lines[0], 'CONV_2D,"' + "8" * 200_000], "line [12] is not CSV: field larger"),
    ],
)
def test_table_that_is_none_is_an_error_in_a_line(path, change, message):
    lines = change(rows_of(path))
    path.write_text("\n".join(lines))
    with pytest.raises(FileError, match=message.format(last=len(lines))) as error:
        CostTable.read(path, column=TIME)
    assert len(str(error.value).splitlines()) == 1


def test_table_with_a_flipped_bit_is_read_or_an_error_in_a_line(path, rng):
    raw = path.read_bytes()
    errors = 0
    for bit in rng.integers(8 * len(raw), size=400).tolist():
        path.write_bytes(flipped(raw, bit))
        result = result_or_error(CostTable.read, path)
        errors += isinstance(result, FileError)
        assert len(str(result)) < 1000 or not isinstance(result, FileError)
    assert 100 < errors < 400


def test_table_is_written_with_empty_cells_where_there_is_no_time(path, tmp_path):
    write_table(tmp_path / "part.csv", LAYERS, {LAYERS[1]: 1234.56789})
    with open(tmp_path / "part.csv", newline="") as file:
        cells = [row["microseconds"] for row in csv.DictReader(file)]
    assert cells == ["", "1234.57", *[""] * (len(LAYERS) - 2)]
    with pytest.raises(FileError, match=re.escape(f"{path} exists and may hold measurements")):
        write_table(path, LAYERS, {})
