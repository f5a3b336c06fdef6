"""The tables in which commands show their results."""

from pathlib import Path
from typing import Any

from tinynas.arch.arch import Arch
from tinynas.arch.budget import Budget
from tinynas.arch.cost import describe, layer_costs
from tinynas.utils.units import format_bytes

from .screen import Screen

_COSTS = ("macs", "params", "peak_sram", "flash")
_TITLES = ("MACs (FLOPs)", "params", "peak SRAM", "flash")
_MORE = {"latency": "latency", "peak_sram_inplace_dw": "in-place SRAM"}  # shown where they were limited
_BAR = 40  # characters


def show_front(screen: Screen, run: Path, front: dict[str, Any]) -> None:
    """The front of a search, its best network marked."""
    extra = {name: title for name, title in _MORE.items() if name in front["limits"]}
    rows = [
        [
            "best" if i == front["best"] else "",
            str(entry["arch"]["resolution"]),
            f"{entry['accuracy']:.2f}" + (f" ± {error:.2f}" if (error := entry["standard_error"]) is not None else ""),
            *_costs(entry),
            *(describe(name, entry[name]) for name in extra),
        ]
        for i, entry in enumerate(front["front"])
    ]
    found = f"{Budget(**front['limits']).describe()}; {front['evaluations']} networks evaluated"
    title = f"Front of {front['space']} on {front['data']} ({found})"
    screen.table(title, ["", "resolution", f"search-val {front['metric']} %", *_TITLES, *extra.values()], rows)
    screen.note(f"written to {run}: front.json, front.png, best.yaml; next: tinynas retrain {run} --netaug")


def show_metrics(screen: Screen, folder: Path, metrics: dict[str, Any]) -> None:
    """A finished retraining."""
    row = [
        f"{metrics['accuracy']:.2f}",
        f"{metrics['train_accuracy']:.2f}",
        *_costs(metrics),
        f"{metrics['seconds']:.0f}",
    ]
    metric = metrics["metric"]
    columns = [f"test {metric} %", f"train {metric} %", *_TITLES, "seconds"]
    screen.table(f"Retrained: {folder.name}", columns, [row], left=0)
    screen.note(f"written to {folder}: model.safetensors, metrics.json")


def show_comparison(screen: Screen, comparison: dict[str, Any], picture: Path) -> None:
    """Fronts and retrained networks of several runs."""
    rows = []
    metrics = sorted({series["metric"] for series in comparison["series"]})
    for series in comparison["series"]:
        for i, point in enumerate(series["points"]):
            first = [series["name"], f"{series['hypervolume']:.2f}"] if i == 0 else ["", ""]
            accuracy = f"{point['accuracy']:.2f}"
            rows.append(
                [
                    first[0],
                    point.get("name", ""),
                    f"{series['data']} {series['split']}" + (f", {series['metric']}" if len(metrics) > 1 else ""),
                    accuracy,
                    *_costs(point),
                    first[1],
                ]
            )
    screen.table(
        "Comparison", ["", "name", "images", " or ".join(metrics) + " %", *_TITLES, "hypervolume"], rows, left=3
    )
    reference = comparison["reference"]
    screen.note(
        "hypervolume: percentage points x decades of MACs that a series dominates, "
        f"from {reference['accuracy']:.1f}% and {describe('macs', reference['macs'])} MACs"
    )
    if len({(series["data"], series["metric"]) for series in comparison["series"]}) > 1:
        screen.note("accuracies on different data sets do not compare")
    screen.note(f"picture: {picture}")


def show_evaluation(screen: Screen, result: dict[str, Any]) -> None:
    """A model's accuracy."""
    rows = [
        ["all classes", f"{result['accuracy']:.2f}"],
        *([name, f"{value:.2f}"] for name, value in result["by_class"].items()),
    ]
    if "ap50" in result:
        rows.insert(1, ["all classes, AP50", f"{result['ap50']:.2f}"])
    measured = f"{result['metric']} %" + (", AP50 by class" if "ap50" in result else "")
    screen.table(f"{result['model']} on the test split of {result['data']}", ["", measured], rows)
    if points := result.get("resolutions"):
        rows = [[str(point["resolution"]), f"{point['accuracy']:.2f}", *_costs(point)] for point in points]
        screen.table("At other image sizes", ["resolution", f"{result['metric']} %", *_TITLES], rows)
    screen.note(", ".join(f"{title} {text}" for title, text in zip(_TITLES, _costs(result), strict=True)))


def show_cost(screen: Screen, arch: Arch, document: dict[str, Any]) -> None:
    """What a network costs, and the layer that sets its peak memory."""
    rows = [["MACs (FLOPs)", f"{document['macs']:,}"], ["params", f"{document['params']:,}"]]
    for title, name in (
        ("peak SRAM", "peak_sram"),
        ("peak SRAM, in-place depthwise", "peak_sram_inplace_dw"),
        ("flash", "flash"),
    ):
        rows.append([title, f"{document[name]:,} B ({format_bytes(document[name])})"])
    layers = list(layer_costs(arch))
    peak = max(layers, key=lambda step: step.sram)
    rows.append(["peak SRAM is set by", peak.name])
    if check := document.get("check"):
        rows += [["MACs counted by fvcore", f"{check['macs']:,}"], ["params counted by torch", f"{check['params']:,}"]]
    size = document["resolution"]
    screen.table(f"{document['name']} at {size}x{size}, {arch.classes} classes", ["", "one image, int8"], rows)
    bars = [[step.name, "█" * -(-_BAR * step.sram // peak.sram), f"{step.sram:,}"] for step in layers]
    screen.table("SRAM in use while each layer runs", ["layer", "", "bytes"], bars, left=2)


def show_export(screen: Screen, folder: Path, export: dict[str, Any], margin: float) -> None:
    """The files of an export beside the network in torch."""
    rows = [
        [
            f"{row['kind']} {'int8' if row['int8'] else 'fp32'}",
            f"{row['accuracy']:.2f}",
            f"{row['difference']:.2g}",
            format_bytes(row["bytes"]),
            describe("latency", row["latency"]),
            format_bytes(row["peak_memory"]),
        ]
        for row in export["files"]
    ]
    title = f"{export['model']} on {export['test_images']} test images of {export['data']}"
    columns = [
        "",
        f"test {export['metric']} %",
        "outputs differ by",
        "file",
        f"latency, batch {export['batch'] or 1}",
        "peak memory",
    ]
    screen.table(title, columns, rows)
    _warn_of_int8(
        screen,
        [(row["file"], row["accuracy"]) for row in export["files"] if row["int8"]],
        export["files"][0]["accuracy"],
        margin,
    )
    names = [row["file"] for row in export["files"][1:]]
    flash = format_bytes(export["flash"])
    screen.note(f"one thread; peak memory is of the activations; int8 weights need {flash} of flash")
    screen.note(f"written to {folder}: {', '.join(names)}, export.json")


def show_export_of_exits(screen: Screen, folder: Path, export: dict[str, Any], margin: float) -> None:
    """The files of a network with early exits, beside it in torch."""
    rows = [
        [
            row["kind"],
            f"{row['mainnet_accuracy']:.2f}",
            f"{row['accuracy']:.2f}",
            describe("macs", row["macs"]),
            f"{100 * row['saved']:.1f}%",
            *_measured(row),
        ]
        for row in export["forms"]
    ]
    title = (
        f"{export['model']} on {export['test_images']} test images of {export['data']}, "
        f"threshold {export['threshold']:.4g}"
    )
    columns = ["", "MainNet %", "with exits %", "average MACs", "saved", "outputs differ by", "files", "latency"]
    screen.table(title, [*columns, "worst latency", "MainNet's latency"], rows)
    of_int8 = [(", ".join(row["files"]), row["accuracy"]) for row in export["forms"] if row["int8"]]
    _warn_of_int8(screen, of_int8, export["forms"][0]["accuracy"], margin)
    screen.note("one thread, one image; latency is of an image on average")
    names = [name for row in export["forms"] for name in row.get("files", [])]
    screen.note(f"written to {folder}: {', '.join(names)}, export.json")


def _measured(row: dict[str, Any]) -> list[str]:
    if "files" not in row:
        return [""] * 5
    latencies = [describe("latency", row[name]) for name in ("latency", "worst_latency", "mainnet_latency")]
    return [f"{row['difference']:.2g}", format_bytes(row["bytes"]), *latencies]


def _warn_of_int8(screen: Screen, files: list[tuple[str, float]], reference: float, margin: float) -> None:
    """Of files whose accuracy is below the reference by more than the margin."""
    for name, accuracy in files:
        if reference - accuracy > margin:
            screen.note(
                f"warning: {name} loses {reference - accuracy:.2f} points (margin {margin:g}); "
                "calibrate on more images (--calibration 5000), or deploy the fp32 file"
            )


def show_exits(screen: Screen, result: dict[str, Any]) -> None:
    """A network with early exits beside the network without, its exits, and other thresholds."""
    mainnet = result["mainnet"]
    worst = {**result, "macs": result["worst_macs"]}
    rows = [
        ["MainNet", f"{mainnet['accuracy']:.2f}", describe("macs", mainnet["macs"]), "", *_costs(mainnet)],
        [
            "with exits",
            f"{result['accuracy']:.2f}",
            describe("macs", result["macs"]),
            f"{100 * (1 - result['macs'] / mainnet['macs']):.1f}%",
            *_costs(worst),
        ],
    ]
    kind = f"Exits at {', '.join(result['taps'])}" if result["taps"] else "Cascade"
    title = f"{kind} on {result['test_images']} test images of {result['data']}, threshold {result['threshold']:.4g}"
    columns = ["", "test accuracy %", "average MACs", "saved", "worst MACs", *_TITLES[1:]]
    screen.table(title, columns, rows)
    rows = [
        [
            one["name"],
            describe("macs", one["macs"]),
            f"{100 * one['share']:.1f}",
            f"{one['accuracy']:.2f}",
            f"{one['temperature']:.2f}",
            f"{one['calibration_error_before']:.2f}",
            f"{one['calibration_error']:.2f}",
        ]
        for one in result["exits"]
    ]
    columns = ["exit", "MACs", "answers %", "accuracy alone %", "temperature", "ECE before", "ECE calibrated"]
    screen.table("Exits", columns, rows)
    rows = [
        [
            f"{one['allowed']:g}",
            f"{one['threshold']:.4g}",
            f"{one['accuracy']:.2f}",
            describe("macs", one["macs"]),
            f"{100 * one['saved']:.1f}%",
        ]
        for one in result["losses"]
    ]
    columns = ["points lost on search-val", "threshold", "test accuracy %", "average MACs", "saved"]
    screen.table("Other thresholds", columns, rows, left=0)
    screen.note("ECE: expected calibration error, in points; heads and image are kept in memory while an exit answers")
    screen.note(f"written to {result['folder']}: sidenet.safetensors, sidenet.json, sidenet.png")


def show_predictions(screen: Screen, folder: Path, answers: list[dict[str, Any]]) -> None:
    """What images show."""
    rows = []
    for answer in answers:
        said = [(name, share) for name, share in answer.get("classes", {}).items()]
        said += [(box["class"], box["score"]) for box in answer.get("boxes", [])]
        text = ", ".join(f"{name} {share:.2f}" for name, share in said) or "nothing"
        rows.append([Path(answer["image"]).name, text + (f" (exit {answer['exit']})" if "exit" in answer else "")])
    screen.table("Predictions", ["image", ""], rows, left=2)
    pictures = " and pictures" if any("picture" in answer for answer in answers) else ""
    screen.note(f"written to {folder}: predictions.json{pictures}")


def show_spaces(screen: Screen, document: dict[str, Any]) -> None:
    """The shipped spaces and networks."""
    for kind, title in (("spaces", "Search spaces, smallest to largest network"), ("networks", "Published networks")):
        rows = []
        for name, ends in document[kind].items():
            low, high = ends["min"], ends["max"]
            cells = [_range(str(low["resolution"]), str(high["resolution"]))]
            cells += [_range(describe(c, low[c]), describe(c, high[c])) for c in _COSTS]
            rows.append([name, *cells])
        screen.table(title, ["", "resolution", *_TITLES], rows)
    screen.note("counted for the classes and colours each one names; a data set replaces them by its own")


def _costs(entry: dict[str, Any]) -> list[str]:
    return [describe(name, entry[name]) for name in _COSTS]


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
