"""Statistics over seeds, as the tables show them."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from scipy.stats import t as student_t


def mean_std(values: Sequence[float], *, signed: bool = False) -> str:
    """Return the mean and the standard deviation, "86.82 ± 0.89"; of a single value no deviation.

    Example:
        >>> mean_std([1.0, 2.0, 3.0])
        '2.00 ± 1.00'
        >>> mean_std([1.5], signed=True)
        '+1.50'
    """
    text = f"{mean(values):+.2f}" if signed else f"{mean(values):.2f}"
    if len(values) > 1:
        text += f" ± {stdev(values):.2f}"
    return text


def paired_difference(values: Mapping[int, float], base: Mapping[int, float]) -> str:
    """Return the mean difference to a baseline, paired by seed, and the 95% interval of Student's t.

    Args:
        values: Value by seed.
        base: The baseline's value by seed; seeds without one do not count.

    Example:
        >>> paired_difference({0: 2.0, 1: 3.0, 2: 4.0}, {0: 1.0, 1: 1.0, 2: 1.0})
        '+2.00 (-0.48 to +4.48)'
        >>> paired_difference({0: 2.0}, {0: 1.0})
        '+1.00'
    """
    differences = []
    for seed, value in values.items():
        if seed in base:
            differences.append(value - base[seed])
    center = mean(differences)
    if len(differences) == 1:
        return f"{center:+.2f}"
    half = student_t.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return f"{center:+.2f} ({center - half:+.2f} to {center + half:+.2f})"


def by_seed(cells: Mapping[str, dict], name: str, seeds: Sequence[int]) -> dict[int, dict]:
    """Return the cells of a training by seed, of the seeds that are saved as "NAME seed SEED"."""
    trainings = {}
    for seed in seeds:
        cell = cells.get(f"{name} seed {seed}")
        if cell is not None:
            trainings[seed] = cell
    return trainings


def values_of(trainings: Mapping[int, dict], key: str) -> dict[int, float]:
    """Return a metric of trainings by seed."""
    return {seed: cell[key] for seed, cell in trainings.items()}
