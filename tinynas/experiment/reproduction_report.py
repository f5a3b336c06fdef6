"""What a reproduction has measured, beside what the paper's authors publish: reproduction.json and reproduction.md."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..utils.io import write, write_json
from .authors import compare_with_authors
from .front_settings import PLAIN
from .published import read_published
from .reproduction import DETECTED, IMAGENET, METHODS, Training, transfer_sets
from .results import RetrainMetrics
from .run_folder import RunFolder
from .saved import read_retraining

Row = dict[str, str]  # a table's cells by the titles of their columns
_MISSING = "-"
_EVERYWHERE = ("keep",)  # differs in every retraining by a recipe


@dataclass(frozen=True, kw_only=True)
class ReproducedTraining:
    """A finished training beside the paper's.

    Attributes:
        data_set: Name of its data set, as in the paper.
        method: How the network was trained; of transfer and detection, how the model was that was trained further.
        metric: What was measured on the test split.
        here: Its value in percent.
        paper: The authors' in percent, None if it is not known.
        gain: Difference to plain training in percentage points, None without it.
        paper_gain: The authors', None if it is not known.
        differs: Settings that are not the authors': "recipe.epochs 1 (155)"; None if theirs are not known.
        seed: Seed of the training.
    """

    data_set: str
    method: str
    metric: str
    here: float
    paper: float | None
    gain: float | None
    paper_gain: float | None
    differs: tuple[str, ...] | None
    seed: int

    @property
    def difference(self) -> float | None:
        """The value minus the paper's."""
        return None if self.paper is None else self.here - self.paper

    def row(self, net: str) -> Row:
        """Return its row in a table."""
        return {
            "data": self.data_set,
            "network": net,
            "training": self.method,
            "metric": self.metric,
            "paper %": _percent(self.paper),
            "here %": f"{self.here:.2f}",
            "difference": _signed(self.difference, 2),
            "paper's gain": _signed(self.paper_gain, 1),
            "gain here": _signed(self.gain, 2),
            "the paper's settings": self.settings_in_words(),
        }

    def settings_in_words(self) -> str:
        """Return whether the settings are the paper's."""
        if self.differs is None:
            return "not published"
        return f"no: {len(self.differs)} differ" if self.differs else "yes"


@dataclass(frozen=True, kw_only=True)
class ReproductionReport:
    """All finished trainings of a reproduction.

    Attributes:
        net: Name of the network.
        trainings: The trainings, in the order of the paper.
        notes: What a reader must know.
    """

    net: str
    trainings: tuple[ReproducedTraining, ...]
    notes: tuple[str, ...]

    def rows(self) -> list[Row]:
        """Return a row for each training."""
        return [training.row(self.net) for training in self.trainings]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as reproduction.json has it."""
        trainings = []
        for training in self.trainings:
            trainings.append(asdict(training) | {"difference": training.difference})
        return {"net": self.net, "trainings": trainings, "notes": list(self.notes)}

    def to_markdown(self) -> str:
        """Return a page with the table and the notes."""
        rows = self.rows()
        lines = [f"# NetAug, {self.net}: the paper and here", ""]
        if rows:
            lines += [f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0])]
        for row in rows:
            lines.append(f"| {' | '.join(row.values())} |")
        lines.append("")
        for note in self.notes:
            lines.append(f"- {note}")
        return "\n".join(lines) + "\n"

    def write(self, run: Path) -> None:
        """Write reproduction.json and reproduction.md. Raises FileError."""
        write_json(RunFolder(run).reproduction, self.to_dict())
        write(RunFolder(run).reproduction_page, self.to_markdown())


def report_reproduction(run: Path, net: str) -> ReproductionReport:
    """Return the report of a run's finished trainings.

    Raises:
        FileError: A file of a retraining is damaged.
    """
    trainings = []
    for data_set in [IMAGENET, *transfer_sets(net), *DETECTED]:
        for method in METHODS:
            training = Training(data_set=data_set, method=method)
            if RunFolder(run).retraining(training.name).is_finished():
                trainings.append(_reproduced(RunFolder(run), net, training))
    return ReproductionReport(net=net, trainings=tuple(trainings), notes=tuple(_notes(trainings)))


def _reproduced(run: RunFolder, net: str, training: Training) -> ReproducedTraining:
    """Return a finished training beside the paper's."""
    published, folder = read_published(), run.retraining(training.name)
    metrics = folder.read_metrics()
    here = _value(training, metrics)
    plain = run.retraining(Training(data_set=training.data_set, method=PLAIN).name)
    gain = None
    if training.method != PLAIN and plain.is_finished():
        gain = here - _value(training, plain.read_metrics())
    return ReproducedTraining(
        data_set=training.data_set,
        method=training.method,
        metric="AP50" if training.data_set == "voc" else metrics.metric,
        here=here,
        paper=published.accuracy(net, training.data_set, training.method),
        gain=gain,
        paper_gain=published.gain(net, training.data_set, training.method),
        differs=_differing(run, net, training),
        seed=metrics.seed,
    )


def _value(training: Training, metrics: RetrainMetrics) -> float:
    """Return the figure that the paper has: on VOC the average precision at an IoU of 0.5."""
    if training.data_set == "voc":
        assert metrics.ap50 is not None
        return metrics.ap50
    return metrics.accuracy


def _differing(run: RunFolder, net: str, training: Training) -> tuple[str, ...] | None:
    """Return the settings that are not the authors', but those that differ in every retraining; None without theirs."""
    recipe = training.recipe(net)
    if recipe is None:
        return None
    plan = read_retraining(run.retraining(training.name))
    differing = []
    for field in compare_with_authors(plan.arch, plan.config, recipe.authors):
        if field.is_setting and field.differs and field.name not in _EVERYWHERE:
            differing.append(f"{field.name} {field.here} ({field.authors})")
    classes = read_published().classes[training.data_set]
    if plan.arch.classes != classes:
        differing.append(f"classes {plan.arch.classes} ({classes})")
    if training.has_teacher:
        differing.append("teacher (not published)")
    on_imagenet = Training(data_set=IMAGENET, method=training.method)
    if training != on_imagenet and _differing(run, net, on_imagenet):
        differing.append(f"those of the model {on_imagenet.name}")
    return tuple(differing)


def _notes(trainings: list[ReproducedTraining]) -> Iterator[str]:
    """Yield what a reader of the table must know."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for training in trainings:
        if training.differs:
            alike.setdefault(training.differs, []).append(f"{training.data_set} {training.method}")
    for differing, names in alike.items():
        yield f"not the paper's settings (theirs in brackets): {', '.join(names)}: {', '.join(differing)}"
    yield "the weights of the last epoch are kept; the authors' are of the epoch that is best on the images they report"
    if any(training.data_set in DETECTED for training in trainings):
        yield "detection: the authors publish no settings and use another head (YOLOv3's): compare gains alone"
    yield from read_published().notes


def _percent(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.1f}"


def _signed(value: float | None, digits: int) -> str:
    return _MISSING if value is None else f"{value:+.{digits}f}"
