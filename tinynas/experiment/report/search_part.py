"""The report of a search: its front, the network that was chosen layer by layer, its history, and its predictor."""

from collections.abc import Sequence

from ...arch.arch import Arch
from ...arch.cost import describe, layer_costs
from ...arch.cost_names import cost_title
from ...arch.zoo import load_space
from ...utils.errors import TinyNASError
from ...utils.pareto import pareto_front
from ...utils.sizes import format_size
from ..metric_names import axis_label, format_metric
from ..results import FrontEntry, SearchResult
from ..run_folder import RunFolder
from .blocks import Block, Cell, Choice, Code, Drawing, Panel, Section, Table
from .chart import Axis, Chart, Mark, Series
from .formats import accuracy_text, cost_label, cost_rows, log_base, number

MIN_EVALUATIONS = 10  # from which the predictor is cross-validated


def search_sections(run: RunFolder, prefix: str) -> list[Section]:
    """Return what there is to see of a run's newest search; nothing if it has none.

    Raises:
        FileError: A file of the run is damaged.
    """
    if not run.front.exists():
        return []
    result, evaluated = run.read_front(), run.read_evaluations().networks
    chosen = _panel_id(prefix, result.best)
    panels = []
    for number_on_front, entry in enumerate(result.front):
        panels.append(_panel(result, entry, _panel_id(prefix, number_on_front)))
    front = Section(
        title="Pareto front",
        id=f"{prefix}front",
        text=f"{len(evaluated)} networks of the space {result.space} were evaluated on search-val of {result.data}"
        f"{_weights(result)}; limits: {result.budget.describe() or 'none'}. On the front: {len(result.front)}. "
        "Point at a network to see its costs; click on one of the front to see its layers.",
        blocks=[*_front_charts(result, evaluated, prefix), Choice(panels=panels, chosen=chosen)],
    )
    history = Section(
        title="The search", id=f"{prefix}search", blocks=[_history(result, evaluated), *_predictor(run, evaluated)]
    )
    return [front, history]


def _weights(result: SearchResult) -> str:
    if result.trained_epochs is None:
        return ", with the supernet's weights"
    return f", each trained for {result.trained_epochs} epochs"


def _panel_id(prefix: str, number_on_front: int) -> str:
    return f"{prefix}network-{number_on_front + 1}"


def _front_charts(result: SearchResult, evaluated: Sequence[FrontEntry], prefix: str) -> list[Drawing]:
    """Return a chart of accuracy over each cost of the front, and over each other one that has a limit."""
    limits = result.budget.limits()
    limits.pop("min_macs", None)
    charts = []
    for cost in dict.fromkeys([*result.objectives, *limits]):
        marks = []
        for entry in _drawn_front(result, cost):
            marks.append(_mark(result, entry, cost, select=_panel_id(prefix, result.front.index(entry))))
        others = [_mark(result, entry, cost) for entry in evaluated]
        limit = limits.get(cost)
        values = [mark.x for mark in others] + ([limit] if limit else [])
        title = cost_title(cost, result.units)
        charts.append(
            Drawing(
                chart=Chart(
                    title=f"Accuracy on search-val over {title}",
                    x=Axis.around(values, title, cost_label(cost), log=log_base(cost)),
                    y=Axis.around([mark.y for mark in others], axis_label([result.metric]), number),
                    series=[
                        Series(label="evaluated", marks=others, faint=True),
                        Series(label="Pareto front", marks=marks, line="step" if cost in result.objectives else ""),
                    ],
                    limits={f"limit {describe(cost, limit)}": limit} if limit else {},
                )
            )
        )
    return charts


def _drawn_front(result: SearchResult, cost: str) -> Sequence[FrontEntry]:
    """Return the networks of the front that are shown over a cost: of several costs, the best of accuracy and that."""
    if cost in result.objectives and len(result.objectives) > 1:
        return pareto_front(result.front, _Position(cost))
    return result.front


class _Position:
    """Returns where a network lies on the plane of one cost and the accuracy."""

    def __init__(self, cost: str) -> None:
        self.cost = cost

    def __call__(self, entry: FrontEntry) -> tuple[float, ...]:
        return entry.point([self.cost])


def _mark(result: SearchResult, entry: FrontEntry, cost: str, *, select: str = "") -> Mark:
    """Return a network as a point of the chart over a cost."""
    lines = [accuracy_text(result.metric, entry.accuracy)]
    for name in dict.fromkeys(("macs", "params", *result.objectives, "peak_sram", "flash")):
        if name in entry.cost.named():
            lines.append(f"{cost_title(name, result.units)} {describe(name, entry.cost.named()[name])}")
    lines.append(network_text(entry.arch))
    x, y = entry.point([cost])
    return Mark(x=x, y=y, text="\n".join(lines), select=select)


def network_text(arch: Arch) -> str:
    """Return a network's image size, depth and widths in a line."""
    blocks = "-".join([str(len(stage)) for stage in arch.stages])
    widths = "-".join([str(stage[-1].out) for stage in arch.stages])
    return f"{format_size(arch.resolution)} px, blocks {blocks}, channels {widths}"


def _panel(result: SearchResult, entry: FrontEntry, panel_id: str) -> Panel:
    """Return a network of the front: its costs, and its layers."""
    facts: list[tuple[str, str]] = [(f"{result.metric} on search-val", _with_error(result, entry))]
    facts += cost_rows(entry.cost, result.units)
    chosen = ", the most accurate" if entry is result.best_entry else ""
    blocks: list[Block] = [
        Table(rows=facts),
        layer_table(entry.arch),
        Code(title="The network as a file", text=entry.arch.to_yaml(), folded=True),
    ]
    title = f"Network of {describe('macs', entry.cost.macs)} MACs{chosen}: {network_text(entry.arch)}"
    return Panel(id=panel_id, title=title, blocks=blocks)


def _with_error(result: SearchResult, entry: FrontEntry) -> str:
    text = format_metric(result.metric, entry.accuracy)
    return text if entry.standard_error is None else f"{text} ± {entry.standard_error:.2f} (standard error)"


def layer_table(arch: Arch) -> Table:
    """Return the layers of a network with their costs; those at the peak of memory are marked."""
    layers = list(layer_costs(arch))
    most_macs = max(layer.macs for layer in layers)
    most_params = max(layer.params for layer in layers)
    peak = max(layer.sram for layer in layers)
    rows: list[list[str | Cell]] = []
    for layer in layers:
        is_peak = layer.sram == peak
        rows.append(
            [
                layer.name,
                Cell(text=describe("macs", layer.macs), bar=layer.macs / most_macs),
                Cell(text=describe("params", layer.params), bar=layer.params / most_params),
                Cell(
                    text=describe("peak_sram", layer.sram) + (" peak" if is_peak else ""),
                    bar=layer.sram / peak,
                    marked=is_peak,
                ),
            ]
        )
    note = "SRAM is that of int8 activations while the layer runs. What a target needs beside it stands above."
    return Table(title="Layer by layer", columns=["layer", "MACs", "params", "SRAM"], rows=rows, note=note)


def _history(result: SearchResult, evaluated: Sequence[FrontEntry]) -> Drawing:
    """Return the accuracies of a search in the order of evaluation, and the best so far."""
    marks: list[Mark] = []
    best: list[Mark] = []
    for trial, entry in enumerate(evaluated, 1):
        text = f"network {trial}\n{accuracy_text(result.metric, entry.accuracy)}\n{network_text(entry.arch)}"
        marks.append(Mark(x=trial, y=entry.accuracy, text=text))
        highest = max(entry.accuracy, best[-1].y if best else entry.accuracy)
        best.append(Mark(x=trial, y=highest, text=""))
    series = [
        Series(label="evaluated", marks=marks, faint=True),
        Series(label="best so far", marks=best, line="step", points=False),
    ]
    chart = Chart(
        title="History",
        x=Axis.around([0, len(marks)], "networks evaluated", number, whole=True),
        y=Axis.around([mark.y for mark in marks], axis_label([result.metric]), number),
        series=series,
    )
    return Drawing(chart=chart)


def _predictor(run: RunFolder, evaluated: Sequence[FrontEntry]) -> list[Drawing]:
    """Return how well a predictor ranks networks that it was not fitted to; nothing if that cannot be said."""
    if len(evaluated) < MIN_EVALUATIONS or not run.space.exists():
        return []
    from ...study.predictor import cross_validation

    archs, accuracies = [entry.arch for entry in evaluated], [entry.accuracy for entry in evaluated]
    try:
        space = load_space(run.space).fitted_to(in_channels=archs[0].in_channels, classes=archs[0].classes)
        validation = cross_validation(space, archs, accuracies)
    except TinyNASError:  # of networks that the space no longer has
        return []
    marks = []
    for predicted, accuracy in zip(validation.predicted, accuracies, strict=True):
        marks.append(Mark(x=predicted, y=accuracy, text=f"predicted {predicted:.2f}\nevaluated {accuracy:.2f}"))
    both = [mark.x for mark in marks] + [mark.y for mark in marks]
    chart = Chart(
        title=f"Predictor: Kendall's tau {validation.tau:.2f}",
        x=Axis.around(both, "predicted from the other networks", number),
        y=Axis.around(both, "evaluated", number),
        series=[Series(label="networks", marks=marks, faint=True)],
        diagonal=True,
        note=f"5-fold cross-validation of the accuracy predictor on {len(marks)} evaluations.",
    )
    return [Drawing(chart=chart)]
