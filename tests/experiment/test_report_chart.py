import pytest

from tinynas.experiment.report.chart import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, Axis, Chart, Mark, Series
from tinynas.experiment.report.formats import cost_label, number


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ([0, 10], None, [0, 2, 4, 6, 8, 10]),
        ([50_000, 300_000], 10, [50_000, 100_000, 200_000]),
        ([1_000, 10_000_000], 10, [1e3, 1e4, 1e5, 1e6, 1e7]),
        ([60_000, 70_000], 10, [55_000, 60_000, 65_000, 70_000, 75_000, 80_000]),
        ([5_800, 20_000], 2, [5 * 1024, 10 * 1024, 15 * 1024, 20 * 1024]),
        ([5_000, 70_000], 2, [8_192, 16_384, 32_768, 65_536]),
    ],
)
def test_axis_has_a_few_round_ticks(values, log, expected):
    assert Axis.around(values, "", number, log=log).ticks() == expected


def test_axis_of_one_value_has_a_range():
    assert Axis.around([5, 5], "", number).fraction(5) == pytest.approx(0.5)
    assert 0 < Axis.around([0], "", number).fraction(0) < 1
    assert Axis.around([7e4], "", cost_label("macs"), log=10).fraction(7e4) == pytest.approx(0.5)


def test_chart_places_points_limits_and_steps():
    marks = [Mark(x=0, y=0, text="low"), Mark(x=10, y=1, text="high", deviation=0.5)]
    axis = Axis(title="", low=0, high=10, label=number)
    series = Series(label="front", marks=marks, line="step")
    limits = {"limit 5": 5, "limit 50": 50}
    chart = Chart(title="", x=axis, y=Axis(title="", low=0, high=1, label=number), series=[series], limits=limits)
    (drawn,) = chart.drawn
    first, last = drawn.points
    assert (first.x, first.y) == (LEFT, HEIGHT - BOTTOM)
    assert last.x == WIDTH - RIGHT
    assert last.low > last.y > last.high
    assert drawn.path == f"M{first.x} {first.y} H{last.x} L{last.x} {last.y}"
    assert [limit.text for limit in chart.shown_limits] == ["limit 5"]
