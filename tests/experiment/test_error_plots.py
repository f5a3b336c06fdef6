import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tinynas.experiment import error_plots
from tinynas.experiment.error_plots import confusion_plot, precision_recall_plot
from tinynas.experiment.evaluation_report import ErrorReport


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    drawn = []
    render = error_plots.render
    monkeypatch.setattr(error_plots, "render", lambda figure: drawn.append(figure) or render(figure))
    return drawn


def report(counts, names=None):
    names = names or [f"class {number}" for number in range(len(counts))]
    return ErrorReport(classes=tuple(names), confusion=tuple(tuple(row) for row in counts))


def texts(figure: Figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_confusion_plot_has_counts_names_and_fractions_of_rows(figures):
    picture = confusion_plot(report([[6, 2], [0, 0]], ["cat", "_$x$"]), title="errors")
    assert Image.open(io.BytesIO(picture)).format == "PNG"
    axes = figures[0].axes[0]
    assert texts(figures[0]) == ["6", "2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "_$x$"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "_$x$"]
    assert np.array(axes.images[0].get_array()).tolist() == [[0.75, 0.25], [0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_confusion_plot_of_many_classes_leaves_out_counts_then_names(figures):
    for classes, has_counts, has_names in ((25, True, True), (26, False, True), (61, False, False)):
        confusion_plot(report(np.eye(classes, dtype=int).tolist()), title="errors")
        assert bool(texts(figures[-1])) == has_counts
        labels = [label.get_text() for label in figures[-1].axes[0].get_yticklabels()]
        assert ("class 3" in labels) == has_names


def test_precision_recall_plot_has_the_curves_and_their_mean(figures):
    recalls = [0.0, 0.5, 1.0]
    curves = {"_cat": [1.0, 0.5, 0.0], "dog": [1.0, 1.0, 0.5]}
    assert precision_recall_plot(recalls, curves, title="a").startswith(b"\x89PNG")
    lines = figures[0].axes[0].lines
    assert [
        line.get_ydata().tolist() if hasattr(line.get_ydata(), "tolist") else line.get_ydata() for line in lines
    ] == [
        [1.0, 0.5, 0.0],
        [1.0, 1.0, 0.5],
        [1.0, 0.75, 0.25],
    ]
    legend = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
    assert legend == [" _cat", "dog", "mean of 2 classes"]


def test_precision_recall_plot_of_many_classes_names_none_of_them(figures):
    precision_recall_plot([0.0, 1.0], {str(number): [1.0, 0.0] for number in range(11)}, title="a")
    legend = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
    assert legend == ["each class", "mean of 11 classes"]
    assert len(figures[0].axes[0].lines) == 12


def test_precision_recall_plot_without_objects_is_empty(figures):
    assert precision_recall_plot([0.0, 1.0], {}, title="a").startswith(b"\x89PNG")
    assert not figures[0].axes[0].lines
