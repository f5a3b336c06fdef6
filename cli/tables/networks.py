"""Tables of counted costs: of one network by layer, of shipped spaces and networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from tinynas.arch.arch import Arch
from tinynas.arch.budget import Budget
from tinynas.arch.cost import cost, describe, layer_costs
from tinynas.arch.cost_names import cost_title
from tinynas.arch.lowering import lower
from tinynas.arch.targets import Target
from tinynas.utils.sizes import format_size, pair
from tinynas.utils.units import format_bytes

from ..screen import Row, Screen
from .cells import COST_TITLES, value_range

_BAR = 40  # characters of the longest bar
_MEMORY = {
    "peak_sram": "peak SRAM",
    "peak_sram_inplace_dw": "peak SRAM, in-place depthwise",
    "peak_sram_tflm": "TFLM arena, 32-bit, reference kernels",
    "peak_sram_tflm_cmsis_nn": "TFLM arena, 32-bit, CMSIS-NN with DSP",
    "flash": "flash",
    "file_tflite": "int8 TFLite file",
    "peak_sram_vela": "SRAM by Vela",
    "file_vela": "TFLite file by Vela",
}
_KINDS = {"spaces": "Search spaces, smallest to largest network", "networks": "Published networks"}


def show_cost(screen: Screen, arch: Arch, document: dict[str, Any], units: Mapping[str, str]) -> None:
    """Show the cost of a network, those of the user's own with their units, and the SRAM in use at every layer."""
    layers = list(layer_costs(arch))
    peak = layers[0]
    for layer in layers:
        if layer.sram > peak.sram:
            peak = layer
    values = {"MACs (FLOPs)": f"{document['macs']:,}"}
    executed = lower(arch).executed_macs
    if executed > document["macs"]:
        values["MACs of the TFLite file, with padding in kernels"] = f"{executed:,}"
    values["params"] = f"{document['params']:,}"
    for name, title in _MEMORY.items():
        if name in document:
            values[title] = f"{document[name]:,} B ({format_bytes(document[name])})"
    values["layer at the SRAM peak"] = peak.name
    if "latency" in document:
        values["latency"] = describe("latency", document["latency"])
    for name in units:
        values[cost_title(name, units)] = describe(name, document[name])
    if check := document.get("check"):
        values["MACs counted by fvcore"] = f"{check['macs']:,}"
        values["params counted by torch"] = f"{check['params']:,}"
    rows = []
    for title, value in values.items():
        rows.append({"": title, "one image, int8": value})
    size = format_size(pair(arch.resolution))
    screen.table(f"{document['name']} at {size}, {arch.classes} classes", rows)
    bars = []
    for layer in layers:
        length = -(-_BAR * layer.sram // peak.sram)  # rounded up
        bars.append({"layer": layer.name, "": "█" * length, "bytes": f"{layer.sram:,}"})
    screen.table("SRAM in use while each layer runs", bars, left=2)


def show_limited(screen: Screen, title: str, arch: Arch, budget: Budget) -> None:
    """Show the MACs and parameters of a network, and what else is limited, beside the limits."""
    costs, limits = cost(arch).named(), budget.limits()
    names = ["macs", "params"]
    names += [name for name in limits if name in costs and name not in names]
    rows = []
    for name in names:
        limit = describe(name, limits[name]) if name in limits else "-"
        rows.append({"": cost_title(name, {}), "network": describe(name, costs[name]), "limit": limit})
    screen.table(f"{title}, at {format_size(pair(arch.resolution))}", rows)


def show_spaces(screen: Screen, document: dict[str, Any]) -> None:
    """Show the shipped search spaces and networks."""
    for kind, title in _KINDS.items():
        rows = []
        for name, ends in document[kind].items():
            rows.append(_ends_row(name, ends))
        screen.table(title, rows)
    screen.note("counted with the input channels and classes in each file; those of the data set replace them")


def show_targets(screen: Screen, targets: Sequence[Target]) -> None:
    """Show the targets, and the costs that limits are of."""
    rows = []
    for target in targets:
        rows.append(
            {
                "target": target.name,
                "runs on": target.description,
                "--sram": target.sram,
                "--flash": target.flash,
                "--latency": target.latency or "table",
                "export": ", ".join(target.formats),
            }
        )
    screen.table("Targets", rows, left=6)
    screen.note("docs/cost-model.md says how each cost is counted; table: the times of --latency-table")


def _ends_row(space: str, ends: dict[str, Any]) -> Row:
    """Return the row of a space: costs of its smallest and its largest network."""
    low, high = ends["min"], ends["max"]
    row = {"name": space, "resolution": value_range(format_size(low["resolution"]), format_size(high["resolution"]))}
    for name, title in COST_TITLES.items():
        row[title] = value_range(describe(name, low[name]), describe(name, high[name]))
    return row
