"""Pictures of fronts of two costs."""

import numpy as np
import pytest

from tinynas.experiment.front_plot import ColouredSeries, coloured_figure

COSTS = ["peak_sram_tflm", "macs"]


def points_of(count):
    """Networks of which none beats another, and whose lines end everywhere."""
    rng = np.random.default_rng(0)
    return [tuple(point) for point in np.sort(rng.uniform(1e3, 1e6, (count, 3)), axis=0).tolist()]


@pytest.mark.parametrize(
    "label", ["Pareto front", "a run with a long name: searched (macs <= 1M, front of sram and macs)"]
)
@pytest.mark.parametrize("count", [1, 2, 40])
def test_legend_is_beside_the_axes_and_in_the_picture(label, count):
    series = [ColouredSeries(label="evaluated", points=points_of(count), faint=True)]
    series.append(ColouredSeries(label=label, points=points_of(count)))
    figure = coloured_figure(series, COSTS, COSTS, title="a", budgets=[5e5])
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    for axes in figure.axes:
        assert not box.overlaps(axes.get_tightbbox())
    assert figure.bbox.fully_containsx(box.x0)
    assert figure.bbox.fully_containsx(box.x1)
    assert figure.bbox.fully_containsy(box.y0)
    assert {text.get_text() for text in legend.get_texts()} >= {"evaluated", label}
