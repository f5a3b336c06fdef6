"""Commands about latency: the layers of a search space, and times of layers fitted to those of whole networks."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tinynas.arch.cost_table import TIME, split_column, write_table
from tinynas.arch.layers import layers_of_space
from tinynas.arch.space import SearchSpace
from tinynas.arch.zoo import load_space
from tinynas.utils.errors import InputError

from .options import AsJson
from .screen import Screen
from .tables.latency import show_fit, show_layers

Classes = Annotated[
    int | None, typer.Option(min=1, help="Classes of the data set. Default: the space's.", show_default=False)
]
InChannels = Annotated[
    int | None,
    typer.Option(min=1, help="Input channels of the data set's images. Default: the space's.", show_default=False),
]


def layers(
    space: Annotated[str, typer.Option(metavar="NAME|FILE", help="Search space, see `tinynas spaces`.")] = "mobile32",
    out: Annotated[Path, typer.Option("--out", "-o", help="Table to write, a CSV file.")] = Path("layers.csv"),
    classes: Classes = None,
    in_channels: InChannels = None,
    cost: Annotated[
        str,
        typer.Option(metavar="NAME (UNIT)", help="Title of the column to fill in: a cost and its unit, or the time."),
    ] = TIME,
    as_json: AsJson = False,
) -> None:
    """List the different layers of all networks of a space, for you to fill in what each takes on your board.

    `tinynas search --latency 5ms --latency-table FILE` adds these times up for every network; for another cost, such as
    "energy (uJ)", `tinynas search --limit energy=900 --cost-table FILE`.
    """
    screen = Screen(as_json)
    if cost != TIME:
        split_column(cost)  # raises an error if it is no name and unit
    listed = layers_of_space(_space(space, classes, in_channels))
    write_table(out, listed, {}, column=cost)
    counts = Counter([layer.kind for layer in listed])
    show_layers(screen, space, counts, out, cost)
    screen.document({"space": space, "layers": len(listed), "by_kind": dict(counts), "table": str(out)})


def fit_latency(
    measured: Annotated[
        Path,
        typer.Argument(
            metavar="MEASURED.csv",
            help="File with the columns arch, an arch's file or a shipped network's name, and microseconds.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Table to write for the layers of --space, a CSV file.", show_default=False),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Search space, see `tinynas spaces`.", show_default=False),
    ] = None,
    classes: Classes = None,
    in_channels: InChannels = None,
    as_json: AsJson = False,
) -> None:
    """Predict the times of layers from measured times of whole networks, and report the error.

    The model is linear, by kind of layer: a time for each layer, for each of its MACs, for each byte that it moves.
    """
    from tinynas.pipelines.fit_latency import fit_measured

    if (out is None) != (space is None):
        raise InputError("--out writes a table of the layers of --space; name both, or neither")
    screen = Screen(as_json)
    report = fit_measured(measured, out, _space(space, classes, in_channels) if space else None)
    show_fit(screen, report, out)
    if out and space:
        screen.next_command("search", "--space", space, "--latency-table", out)
    screen.document(report.to_dict() | {"table": str(out) if out else None})


def _space(name: str, classes: int | None, in_channels: int | None) -> SearchSpace:
    """Return a space, with the classes and input channels of a data set where they are named."""
    space = load_space(name)
    return replace(space, classes=classes or space.classes, in_channels=in_channels or space.in_channels)
