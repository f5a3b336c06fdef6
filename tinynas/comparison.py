"""Several runs side by side: their fronts, and their retrained networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cost import describe_limits
from .errors import FileError
from .files import read_json, write
from .pareto import Series, hypervolume, picture
from .runs import COSTS, read_front, retrainings


def compare_runs(runs: Sequence[Path], out: Path) -> dict[str, Any]:
    """Draw the runs' series into a PNG and return them as plain data.

    A series is a front (accuracy on search-val, under the supernet's weights), or the networks of a run retrained in
    one way (accuracy on test). Hypervolumes are measured from twice the largest MACs and the lowest accuracy of all
    points. Raises FileError.
    """
    series: list[dict[str, Any]] = []
    for run in runs:
        series += _series_of(run, f"{run.resolve().name}: " if len(runs) > 1 else "")
    points = [point for one in series for point in one["points"]]
    reference = 2 * max(p["macs"] for p in points), min(p["accuracy"] for p in points)
    for one in series:
        one["hypervolume"] = hypervolume([(p["macs"], p["accuracy"]) for p in one["points"]], reference)
    metric = " or ".join(dict.fromkeys(one["metric"] for one in series))
    title = f"{metric} over MACs".replace("accuracy", "Accuracy", 1)
    write(out, picture([_drawn(one) for one in series], title=title, metric=metric))
    return {"series": series, "reference": {"macs": reference[0], "accuracy": reference[1]}}


def _series_of(run: Path, prefix: str) -> list[dict[str, Any]]:
    series = []
    searched = [path for path in (run, *sorted(run.glob("earlier/*/"))) if (path / "front.json").exists()]
    for folder in searched:
        front = read_front(folder)
        name = f"searched ({describe_limits(front['limits'])})" if len(searched) > 1 else "searched"
        series.append(_one(prefix + name, front, "search-val", front["front"]))
    trained = retrainings(run)
    for kind in sorted({_kind(metrics) for metrics in trained.values()}, key=len):
        chosen = {name: metrics for name, metrics in trained.items() if _kind(metrics) == kind}
        for data in dict.fromkeys(metrics["data"] for metrics in chosen.values()):
            points = {name: metrics for name, metrics in chosen.items() if metrics["data"] == data}
            first = next(iter(points.values()))
            series.append(_one(prefix + kind, first, "test", list(points.values()), list(points)))
    for path in sorted(run.glob("retrain/*/resolutions.json")):
        sizes = read_json(path)
        names = [f"{point['resolution']} px" for point in sizes["resolutions"]]
        series.append(_one(f"{prefix}{path.parent.name} at other sizes", sizes, "test", sizes["resolutions"], names))
    if not series:
        raise FileError(f"nothing to compare in {run}: it has no front.json and no finished retraining")
    return series


def _kind(metrics: dict[str, Any]) -> str:
    """In which way a network was retrained."""
    return "retrained" + " + NetAug" * bool(metrics["netaug"]) + " + teacher" * bool(metrics["teacher"])


def _one(
    name: str, of: dict[str, Any], split: str, entries: Sequence[dict[str, Any]], names: Sequence[str] = ()
) -> dict[str, Any]:
    """A series of entries, of the data and the metric that `of` names."""
    points = [{key: entry[key] for key in ("accuracy", *COSTS)} for entry in entries]
    for point, label in zip(points, names, strict=False):
        point["name"] = label
    metric = of.get("metric", "accuracy")
    return {"name": name, "data": of["data"], "metric": metric, "split": split, "points": points}


def _drawn(series: dict[str, Any]) -> Series:
    points = [(p["macs"], p["accuracy"]) for p in series["points"]]
    searched = series["split"] == "search-val"
    marker = "o" if searched else "*" if "NetAug" in series["name"] else "s"
    return Series(
        label=f"{series['name']} ({series['data']} {series['split']})",
        points=points,
        line=searched or "sizes" in series["name"],
        marker=marker,
        annotate=[f"{accuracy:.1f}" for _, accuracy in points] if not searched else (),
    )
