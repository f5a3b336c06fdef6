"""How metrics are written: those of tasks in percent, those of a program's own function without a unit."""

from collections.abc import Iterable

TASK_METRICS = ("accuracy", "mAP")  # of `tinynas.tasks.registry.TASKS`, all in percent


def is_percent(metric: str) -> bool:
    """Return whether a metric's values are percentages."""
    return metric in TASK_METRICS


def column_title(metrics: Iterable[str]) -> str:
    """Return the title of a column of values of one metric or several.

    Example:
        >>> column_title(["accuracy", "mAP"]), column_title(["recall"]), column_title(["accuracy", "recall"])
        ('accuracy or mAP %', 'recall', 'accuracy % or recall')
    """
    return _joined(metrics, "{} %")


def axis_label(metrics: Iterable[str]) -> str:
    """Return the label of a plot's axis for values of one metric or several.

    Example:
        >>> axis_label(["accuracy"]), axis_label(["recall"])
        ('accuracy (%)', 'recall')
    """
    return _joined(metrics, "{} (%)")


def format_metric(metric: str, value: float, *, digits: int = 2) -> str:
    """Return a value of a metric as text, with so many decimals of a percentage.

    Example:
        >>> format_metric("accuracy", 91.25, digits=1), format_metric("recall", 0.01234567)
        ('91.2%', '0.01235')
    """
    return f"{value:.{digits}f}%" if is_percent(metric) else f"{value:.4g}"


def _joined(metrics: Iterable[str], percent: str) -> str:
    """Return names of metrics, and the form of those in percent once if all are."""
    names = list(dict.fromkeys(metrics))
    if all(map(is_percent, names)):
        return percent.format(" or ".join(names))
    return " or ".join([percent.format(name) if is_percent(name) else name for name in names])
