"""Tables of methods beside plain training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .method_trainings import EPOCHS, PLAIN, SEEDS, control_row, epochs_for_as_long, time_cell
from .stats import by_seed, holm, mean_std, p_text, paired_difference, paired_p_value, values_of
from .tables import Table


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method beside plain training of the same epochs, and of the same time.

    Attributes:
        data: The data set.
        size: The network: its MACs.
        row: The method: its name, and its settings as a command has them.
        trained: Its cells by seed.
        plain: Those of plain training.
        control: Those of plain training for as long.
        times: How many times as long as plain training the method takes; None if it has not been timed.
    """

    data: str
    size: str
    row: str
    trained: Mapping[int, dict]
    plain: Mapping[int, dict]
    control: Mapping[int, dict]
    times: float | None

    def figures(self, metric: str) -> list[str]:
        """Return the method, seeds, accuracies, and the difference to plain training."""
        difference = paired_difference(values_of(self.trained, metric), values_of(self.plain, metric))
        return [self.row, *_figures(self.trained, metric), difference]

    def against_control(self, metric: str) -> list[str]:
        """Return epochs of plain training for as long, and the difference to it."""
        if not self.control:
            return ["-", "-"]
        epochs = str(next(iter(self.control.values()))["epochs"])
        return [epochs, paired_difference(values_of(self.trained, metric), values_of(self.control, metric))]

    def p_value(self, metric: str) -> float | None:
        """Return the p-value of the difference to plain training for as long; None of fewer than two seeds."""
        return paired_p_value(values_of(self.trained, metric), values_of(self.control, metric))


def _figures(trained: Mapping[int, dict], metric: str) -> list[str]:
    """Return the number of seeds, and the accuracies on a split and on the images trained on."""
    accuracies = [mean_std(list(values_of(trained, key).values())) for key in (metric, "train")]
    return [str(len(trained)), *accuracies]


def comparisons(
    cells: Mapping[str, dict], data: str, size: str, rows: Mapping[str, Mapping[str, Any]]
) -> Iterator[Comparison]:
    """Yield the rows of a network on a data set that have been measured."""
    case = f"{data} {size}"
    plain = by_seed(cells, f"{case} {PLAIN}", SEEDS)
    for row, settings in rows.items():
        trained = by_seed(cells, f"{case} {row}", SEEDS)
        control: dict[int, dict] = {}
        time_of = cells.get(time_cell(case, row))
        if time_of:
            control = by_seed(cells, f"{case} {control_row(epochs_for_as_long(time_of))}", SEEDS)
        if plain.keys() & trained.keys():
            label = f"{row}: `{flags(settings)}`"
            yield Comparison(
                data=data,
                size=size,
                row=label,
                trained=trained,
                plain=plain,
                control=control,
                times=time_of["times"] if time_of else None,
            )


def flags(settings: Mapping[str, Any]) -> str:
    """Return settings as a command has them.

    Example:
        >>> flags({"netaug": True, "expand_until": 1.0})
        '--netaug --expand-until 1'
    """
    words = []
    for name, value in settings.items():
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, float):
            words.append(f"{value:g}")
        elif value is not True:
            words.append(value or "MODEL")
    return " ".join(map(str, words))


def comparison_table(page: str, name: str, compared: Sequence[Comparison]) -> Table:
    """Return the table of methods on test images, in which plain training comes first for every network."""
    columns = ["data", "MACs", "method", "seeds", "test %", "train %", "difference to plain"]
    columns += ["epochs for as long", "difference to these", "p"]
    rows, previous = [], None
    p_values = holm([comparison.p_value("test") for comparison in compared])
    for comparison, p_value in zip(compared, p_values, strict=True):
        case = [comparison.data, comparison.size]
        if case != previous:
            rows.append([*case, PLAIN, *_figures(comparison.plain, "test"), "", str(EPOCHS), "", ""])
            previous = case
        row = case + comparison.figures("test") + comparison.against_control("test")
        rows.append([*row, p_text(p_value)])
    return Table(page=page, name=name, columns=columns, rows=rows)


def options_table(page: str, name: str, compared: Sequence[Comparison]) -> Table:
    """Return the table of options on search-val, after plain training."""
    columns = ["method", "seeds", "search-val %", "train %", "difference to plain", "times as long"]
    rows = []
    for comparison in compared:
        if not rows:
            rows.append([PLAIN, *_figures(comparison.plain, "val"), "", ""])
        times = "-" if comparison.times is None else f"{comparison.times:.1f}"
        rows.append([*comparison.figures("val"), times])
    return Table(page=page, name=name, columns=columns, rows=rows)
