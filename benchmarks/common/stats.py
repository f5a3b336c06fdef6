"""Statistics over seeds, as the tables show them."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from scipy.stats import t as student_t
from scipy.stats import ttest_rel


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


def paired_p_value(values: Mapping[int, float], base: Mapping[int, float]) -> float | None:
    """Return the two-sided p-value of Student's t of the differences to a baseline, paired by seed.

    None if fewer than two seeds have both.

    Example:
        >>> round(paired_p_value({0: 2.0, 1: 3.0, 2: 4.0}, {0: 1.0, 1: 1.0, 2: 1.0}), 3)
        0.074
    """
    seeds = sorted(values.keys() & base.keys())
    if len(seeds) < 2:
        return None
    return float(ttest_rel([values[seed] for seed in seeds], [base[seed] for seed in seeds]).pvalue)


def p_text(p_value: float | None) -> str:
    """Return a p-value as the tables show it; "-" if there is none.

    Example:
        >>> p_text(0.034), p_text(0.0001), p_text(None)
        ('0.03', '<0.01', '-')
    """
    if p_value is None:
        return "-"
    return f"{p_value:.2f}" if p_value >= 0.005 else "<0.01"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct the p-values of several comparisons for their number (Holm, 1979); None stays None.

    Example:
        >>> holm([0.03, None, 0.01, 0.2])
        [0.06, None, 0.03, 0.2]
    """
    known = sorted((value, number) for number, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (value, number) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - rank)))
        corrected[number] = largest
    return corrected


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
