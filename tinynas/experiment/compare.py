"""Several runs side by side: their fronts, and their retrained networks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..arch.budget import Budget
from ..utils.errors import FileError
from ..utils.io import read_json, write
from ..utils.pareto import hypervolume
from .plots import Series, picture
from .results import COSTS, read_front, retrainings


def compare_runs(runs: Sequence[Path], out: Path) -> dict[str, Any]:
    """Draw the runs' series into a PNG and return them as plain data.

    A series is a front (accuracy on search-val, under the supernet's weights), the networks of a run retrained in one
    way (accuracy on test), a network at several image sizes, or one with early exits at several thresholds, its MACs
    those of an average image. Hypervolumes are measured from twice the largest MACs and the lowest accuracy of all
    points. Raises FileError.
    """
    series: list[dict[str, Any]] = []
    for run in runs:
        prefix = f"{run.resolve().name}: " if len(runs) > 1 else ""
        series += [one | {"name": prefix + one["name"]} for one in _series_of(run)]
    points = [point for one in series for point in one["points"]]
    reference = 2 * max(p["macs"] for p in points), min(p["accuracy"] for p in points)
    for one in series:
        one["hypervolume"] = hypervolume([(p["macs"], p["accuracy"]) for p in one["points"]], reference)
    metric = " or ".join(dict.fromkeys(one["metric"] for one in series))
    title = f"{metric} over MACs".replace("accuracy", "Accuracy", 1)
    write(out, picture([_drawn(one) for one in series], title=title, metric=metric))
    return {"series": series, "reference": {"macs": reference[0], "accuracy": reference[1]}}


def _series_of(run: Path) -> list[dict[str, Any]]:
    series = [*_searched(run), *_retrained(run), *_resized(run), *_with_exits(run)]
    if not series:
        raise FileError(f"nothing to compare in {run}: it has no front.json and no finished retraining")
    return series


def _searched(run: Path) -> Iterator[dict[str, Any]]:
    folders = [path for path in (run, *sorted(run.glob("earlier/*/"))) if (path / "front.json").exists()]
    for folder in folders:
        found = read_front(folder)
        name = f"searched ({Budget(**found['limits']).describe()})" if len(folders) > 1 else "searched"
        yield _one(name, found, "search-val", found["front"], line=True)


def _retrained(run: Path) -> Iterator[dict[str, Any]]:
    trained = retrainings(run)
    for kind in sorted({_kind(metrics) for metrics in trained.values()}, key=len):
        chosen = {name: metrics for name, metrics in trained.items() if _kind(metrics) == kind}
        for data in dict.fromkeys(metrics["data"] for metrics in chosen.values()):
            points = {name: metrics for name, metrics in chosen.items() if metrics["data"] == data}
            yield _one(kind, next(iter(points.values())), "test", list(points.values()), list(points))


def _resized(run: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(run.glob("retrain/*/resolutions.json")):
        sizes = read_json(path)
        names = [f"{point['resolution']} px" for point in sizes["resolutions"]]
        name = f"{path.parent.name} at other sizes"
        yield _one(name, sizes, "test", sizes["resolutions"], names, line=True)


def _with_exits(run: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(run.glob("retrain/*/*/sidenet.json")):
        exits, folder, name = _read_exits(path), path.parent.name, path.parent.parent.name
        how = f"{name} with exits at {', '.join(exits['taps'])}" if exits["taps"] else f"{name} in a cascade"
        how += f" ({folder})" if folder not in ("sidenet", "cascade") else ""
        written = path.with_name("export.json")
        forms = _read_forms(written) if written.exists() else []
        int8 = [form["points"] for form in forms if form.get("int8")]  # fp32 is what torch is
        fixed = {name: exits[name] for name in COSTS if name != "macs"}
        for form, points in (("", exits["points"]), *((", int8", points) for points in int8)):
            names = [f"over {point['threshold']:.3g}" for point in points]
            yield _one(how + form, exits, "test", [point | fixed for point in points], names, line=True)


def _read_exits(path: Path) -> dict[str, Any]:
    """A sidenet.json. Raises FileError."""
    exits = read_json(path)
    if not isinstance(exits, dict) or not {"taps", "points", "data", *COSTS} - {"macs"} <= set(exits):
        raise FileError(f"{path} is damaged or of an older tinynas; make it again with tinynas sidenet")
    return exits


def _read_forms(path: Path) -> list[dict[str, Any]]:
    """What an export.json says of exported early exits. Raises FileError."""
    written = read_json(path)
    forms = written.get("forms") if isinstance(written, dict) else None
    if not isinstance(forms, list) or not all("points" in form for form in forms if form.get("int8")):
        raise FileError(f"{path} is damaged or of an older tinynas; make it again with tinynas export")
    return forms


def _kind(metrics: dict[str, Any]) -> str:
    """In which way a network was retrained."""
    return "retrained" + " + NetAug" * bool(metrics["netaug"]) + " + teacher" * bool(metrics["teacher"])


def _one(
    name: str,
    of: dict[str, Any],
    split: str,
    entries: Sequence[dict[str, Any]],
    names: Sequence[str] = (),
    *,
    line: bool = False,
) -> dict[str, Any]:
    """A series of entries, of the data and the metric that `of` names; drawn as a line, if it is one to choose from."""
    points = [{key: entry[key] for key in ("accuracy", *COSTS)} for entry in entries]
    for point, label in zip(points, names, strict=False):
        point["name"] = label
    metric = of.get("metric", "accuracy")
    return {"name": name, "data": of["data"], "metric": metric, "split": split, "line": line, "points": points}


def _drawn(series: dict[str, Any]) -> Series:
    points = [(p["macs"], p["accuracy"]) for p in series["points"]]
    marker = "o" if series["line"] else "*" if "NetAug" in series["name"] else "s"
    return Series(
        label=f"{series['name']} ({series['data']} {series['split']})",
        points=points,
        line=series["line"],
        marker=marker,
        annotate=[f"{accuracy:.1f}" for _, accuracy in points] if not series["line"] else (),
    )
