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
    """

    data: str
    size: str
    row: str
    trained: Mapping[int, dict]
    plain: Mapping[int, dict]
    control: Mapping[int, dict]

    def figures(self, metric: str) -> list[str]:
        """Return seeds, accuracy, differences to plain training, and epochs of the control."""
        values = values_of(self.trained, metric)
        epochs = str(next(iter(self.control.values()))["epochs"]) if self.control else "-"
        return [
            str(len(values)),
            mean_std(list(values.values())),
            mean_std(list(values_of(self.trained, "train").values())),
            paired_difference(values, values_of(self.plain, metric)),
            epochs,
            paired_difference(values, values_of(self.control, metric)) if self.control else "-",
        ]

    def p_value(self, metric: str) -> float | None:
        """Return the p-value of the difference to plain training for as long; None of fewer than two seeds."""
        return paired_p_value(values_of(self.trained, metric), values_of(self.control, metric))


def comparisons(
    cells: Mapping[str, dict], data: str, size: str, rows: Mapping[str, Mapping[str, Any]]
) -> Iterator[Comparison]:
    """Yield the rows of a network on a data set that have been measured."""
    case = f"{data} {size}"
    plain = by_seed(cells, f"{case} {PLAIN}", SEEDS)
    for row, settings in rows.items():
        trained = by_seed(cells, f"{case} {row}", SEEDS)
        control: dict[int, dict] = {}
        if time_of := cells.get(time_cell(case, row)):
            control = by_seed(cells, f"{case} {control_row(epochs_for_as_long(time_of))}", SEEDS)
        if plain.keys() & trained.keys():
            label = f"{row}: `{flags(settings)}`"
            yield Comparison(data=data, size=size, row=label, trained=trained, plain=plain, control=control)


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


def comparison_table(page: str, name: str, compared: Sequence[Comparison], *, metric: str) -> Table:
    """Return the table of methods, in which plain training comes first for every network."""
    split = {"test": "test %", "val": "search-val %"}[metric]
    columns = ["data", "MACs", "method", "seeds", split, "train %", "difference to plain"]
    columns += ["epochs for as long", "difference to these", "p"]
    rows, previous = [], None
    p_values = holm([comparison.p_value(metric) for comparison in compared])
    for comparison, p_value in zip(compared, p_values, strict=True):
        case = [comparison.data, comparison.size]
        if case != previous:
            plain = comparison.plain
            accuracies = [mean_std(list(values_of(plain, key).values())) for key in (metric, "train")]
            row = [comparison.data, comparison.size, PLAIN, str(len(plain))]
            row += accuracies
            row += ["", str(EPOCHS), "", ""]
            rows.append(row)
            previous = case
        row = [comparison.data, comparison.size, comparison.row]
        row += comparison.figures(metric)
        row.append(p_text(p_value))
        rows.append(row)
    return Table(page=page, name=name, columns=columns, rows=rows)
