"""The report of a retrained network: its errors, its calibration, its exported files and its early exits."""

from base64 import b64encode
from collections.abc import Sequence

from ...arch.cost import BYTES, describe
from ...arch.cost_names import cost_title
from ...utils.io import read
from ...utils.units import format_bytes, format_seconds
from ..early_exit_folder import EarlyExitFolder
from ..early_exit_report import EarlyExitReport
from ..error_analysis import Calibration, ErrorAnalysis
from ..evaluation_report import ErrorReport
from ..export_report import ExportReport
from ..metric_names import axis_label, column_title, format_metric
from ..results import RetrainMetrics
from ..retrain_folder import RetrainFolder
from ..target_report import Figure, TargetReport
from .blocks import Block, Cell, Drawing, Picture, Pictures, Section, Table
from .chart import Axis, Chart, Mark, Series
from .formats import accuracy_text, cost_label, number

_MOST_CLASSES = 30  # of a confusion matrix in full; of more, the pairs that are confused most often
_PAIRS = 20
_CALIBRATION_NOTE = (
    "Of the test images of each point, so many are right; a confidence that can be believed lies on the line. "
    "Expected calibration error {:.1f} percentage points."
)


def model_sections(folder: RetrainFolder, prefix: str) -> list[Section]:
    """Return what there is to see of a finished retraining.

    Raises:
        FileError: One of its files is damaged.
    """
    metrics, analysis = folder.read_metrics(), folder.read_errors()
    blocks: list[Block] = [_classes(metrics)]
    if analysis is not None:
        blocks += _errors(analysis)
    if folder.picture.exists():
        picture = Picture(source=b64encode(read(folder.picture)).decode())
        blocks.append(Pictures(title="Test images with their objects, and what is detected", pictures=[picture]))
    export = folder.read_export()
    if export is not None:
        blocks += _exported(export)
    for exits in folder.early_exits():
        blocks += _early_exits(exits)
    text = f"Test split of {metrics.data}: {accuracy_text(metrics.metric, metrics.accuracy)}."
    if metrics.chance is not None:
        text += f" Chance level: {metrics.chance.accuracy:.2f}%, the largest class, {metrics.chance.largest_class}."
    title = f"Retrained network: {folder.name}"
    return [Section(title=title, id=f"{prefix}model-{folder.name}", text=text, blocks=blocks)]


def _classes(metrics: RetrainMetrics) -> Table:
    """Return the accuracy of every class."""
    rows: list[list[str | Cell]] = []
    for name, value in metrics.by_class.items():
        cell = Cell(text="no image") if value is None else Cell(text=f"{value:.1f}%", bar=value / 100)
        rows.append([name, cell])
    figure = "test accuracy" if metrics.ap50 is None else "test AP50"
    return Table(title="By class", columns=["class", figure], rows=rows)


def _errors(analysis: ErrorAnalysis) -> list[Block]:
    blocks: list[Block] = []
    if analysis.calibration is not None:
        blocks.append(Drawing(chart=_calibration(analysis.calibration)))
    blocks.append(_confusion(analysis.errors))
    if analysis.mistakes:
        pictures = []
        for mistake in analysis.mistakes:
            caption = f"{mistake.truth}, taken for {mistake.predicted} ({100 * mistake.confidence:.1f}%)"
            pictures.append(Picture(source=mistake.picture, caption=caption, pixels=True))
        blocks.append(Pictures(title="The most confident mistakes on test images", pictures=pictures))
    return blocks


def _confusion(errors: ErrorReport) -> Table:
    """Return the confusion matrix; of many classes, the pairs that are confused most often."""
    note = "Rows are true classes, columns what they are taken for."
    if errors.threshold is not None:
        note += f" Boxes that score more than {errors.threshold:.2f}, at an IoU of 0.5 or more."
    if len(errors.classes) > _MOST_CLASSES:
        return _confused_pairs(errors, note="Test images or objects.")
    rows: list[list[str | Cell]] = []
    for row, (name, counts) in enumerate(zip(errors.classes, errors.confusion, strict=True)):
        total = sum(counts)
        cells: list[str | Cell] = [name]
        for column, count in enumerate(counts):
            shade = count / total if total else 0.0
            cells.append(Cell(text=str(count) if count else "", shade=shade, marked=row == column))
        rows.append(cells)
    return Table(title="Confusion matrix", columns=["", *errors.classes], rows=rows, note=note, matrix=True)


def _confused_pairs(errors: ErrorReport, note: str) -> Table:
    pairs = []
    for row, counts in enumerate(errors.confusion):
        for column, count in enumerate(counts):
            if count and row != column:
                pairs.append((count, errors.classes[row], errors.classes[column]))
    pairs.sort(key=_count, reverse=True)
    rows = [[truth, predicted, str(count)] for count, truth, predicted in pairs[:_PAIRS]]
    return Table(title="Most frequent confusions", columns=["class", "taken for", "how often"], rows=rows, note=note)


def _count(pair: tuple[int, str, str]) -> int:
    return pair[0]


def _calibration(calibration: Calibration) -> Chart:
    marks = []
    for images, confidence, accuracy in calibration.bins:
        text = f"{images} images\nconfidence {100 * confidence:.1f}%\nright {100 * accuracy:.1f}%"
        marks.append(Mark(x=100 * confidence, y=100 * accuracy, text=text))
    return Chart(
        title="Calibration",
        x=Axis(title="confidence (%)", low=0, high=100, label=number),
        y=Axis(title="right (%)", low=0, high=100, label=number),
        series=[Series(label="test images", marks=marks, line="straight")],
        diagonal=True,
        note=_CALIBRATION_NOTE.format(calibration.error),
    )


def _exported(export: ExportReport) -> list[Block]:
    """Return the exported files beside the network in PyTorch, and what they take on the target."""
    base = export.files[0].accuracy
    rows: list[list[str | Cell]] = []
    for file in export.files:
        change = "" if file is export.files[0] else f"{file.accuracy - base:+.2f}"
        accuracy = format_metric(export.metric, file.accuracy)
        kind = f"{file.kind} {'int8' if file.int8 else 'fp32'}"
        rows.append([kind, accuracy, change, format_bytes(file.bytes), format_seconds(file.latency), file.file])
    columns = ["form", f"test {column_title([export.metric])}", "change", "file", "time of a run", "name"]
    note = "Times are those of one thread of the machine that exported, not of the target."
    table = Table(title="Exported files, int8 beside fp32", columns=columns, rows=rows, note=note)
    return [table, *_on_target(export.on_target)]


def _on_target(target: TargetReport) -> list[Block]:
    if not target.figures:
        return []
    rows: list[list[str | Cell]] = []
    for figure in target.figures:
        name = f"{_figure_title(figure)} of {figure.of}" if figure.of else _figure_title(figure)
        values: list[str | Cell] = [name]
        for value in (figure.counted, figure.measured, figure.limit):
            values.append("" if value is None else _figure_text(figure, value))
        values.append(Cell(text="over the limit" if figure.is_over else "", marked=figure.is_over))
        rows.append(values)
    notes = list(target.notes)
    if target.tflm is not None:
        notes.append(
            f"In TensorFlow Lite Micro: {target.tflm.accuracy:.2f}% on {target.tflm.images} test images; outputs "
            f"differ from LiteRT's on {target.tflm.differing} images."
        )
    columns = ["", "counted", "measured", "limit", ""]
    return [Table(title=f"On the target {target.target}", columns=columns, rows=rows, note=" ".join(notes))]


def _figure_title(figure: Figure) -> str:
    return cost_title(figure.name, {}).replace("_", " ")


def _figure_text(figure: Figure, value: float) -> str:
    """Return a value of a figure: bytes exactly, as targets are limited to the byte."""
    if figure.name in BYTES or figure.name.startswith("arena"):
        return f"{value:,.0f} B"
    return describe(figure.name, value)


def _early_exits(folder: EarlyExitFolder) -> list[Block]:
    """Return the curve of early exits, and the exits."""
    report = folder.read_report()
    curve = []
    for point in report.curve:
        text = f"{point.text}\n{accuracy_text(report.metric, point.accuracy)}"
        curve.append(_pair_mark((point.macs, point.accuracy), text))
    chosen = f"{report.point.text}, chosen"
    series = [
        Series(label="early exits", marks=curve, line="straight", points=False),
        Series(label="at random", marks=_pair_marks(report.random), line="straight", points=False, dashed=True),
        Series(label="by an oracle", marks=_pair_marks(report.oracle), line="straight", points=False, dashed=True),
        Series(label="chosen thresholds", marks=[_pair_mark((report.point.macs, report.point.accuracy), chosen)]),
        Series(
            label="without exits",
            marks=[_pair_mark((report.mainnet_cost.macs, report.mainnet_accuracy), "the network without exits")],
        ),
    ]
    marks = [mark for item in series for mark in item.marks]
    chart = Chart(
        title=report.title,
        x=Axis.around([mark.x for mark in marks], "average MACs", cost_label("macs")),
        y=Axis.around([mark.y for mark in marks], axis_label([report.metric]), number),
        series=series,
        note=_exits_note(report),
    )
    rows = []
    for entry in report.exits:
        accuracy = format_metric(report.metric, entry.accuracy)
        error = f"{entry.calibration_error:.2f}"
        rows.append([entry.name, describe("macs", entry.macs), f"{100 * entry.share:.1f}%", accuracy, error])
    columns = ["exit", "MACs", "images", "accuracy, all images", "calibration error"]
    return [Drawing(chart=chart), Table(title=f"{report.title}: every exit", columns=columns, rows=rows)]


def _exits_note(report: EarlyExitReport) -> str:
    note = f"{report.test_images} test images. An image exits by its {report.rule}."
    if report.unchanged_accuracy is not None:
        before = accuracy_text(report.metric, report.unchanged_accuracy)
        note += f" The weights were trained together with the exits; before that, the network had {before}."
    return note


def _pair_marks(pairs: Sequence[tuple[float, float]]) -> list[Mark]:
    return [_pair_mark(pair, "") for pair in pairs]


def _pair_mark(pair: tuple[float, float], text: str) -> Mark:
    macs, accuracy = pair
    return Mark(x=macs, y=accuracy, text=f"{text}\n{describe('macs', macs)} MACs on average".strip())
