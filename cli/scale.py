"""The scale command: a network within limits, without a search."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tinynas.arch.arch import Arch
from tinynas.arch.budget import Budget
from tinynas.arch.cost import cost
from tinynas.arch.scaling import largest_factor, scaled
from tinynas.arch.targets import DEFAULT_TARGET, find_target
from tinynas.arch.zoo import load_arch, load_space, shipped_spaces, short_name
from tinynas.experiment.config import DATA_HELP, DATA_METAVAR
from tinynas.utils.errors import InputError
from tinynas.utils.io import write_yaml
from tinynas.utils.sizes import parse_size

from .options import AsJson, Flash, Params, Sram
from .screen import Screen
from .tables.networks import show_limited

Network = Annotated[
    str | None,
    typer.Argument(
        metavar="[ARCH.yaml|NETWORK]", help="An arch's file, or a shipped network's name, instead of --space."
    ),
]
Space = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Scale the middle network of this search space, see `tinynas spaces`."),
]
DataName = Annotated[
    str | None, typer.Option(metavar=DATA_METAVAR, help=f"{DATA_HELP}; its classes and channels count.")
]
Resolution = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Pixels of the images, 96 or 96x160. Default: the network's own."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write the arch to.")]
Flops = Annotated[
    str | None, typer.Option(rich_help_panel="Limits", help="Multiply-accumulates, e.g. 50M.", show_default=False)
]
TargetName = Annotated[
    str,
    typer.Option(metavar="NAME", rich_help_panel="Limits", help="What runs the network: what --sram and --flash mean."),
]


def scale(
    network: Network = None,
    space: Space = None,
    data: DataName = None,
    resolution: Resolution = None,
    out: Out = Path("scaled.yaml"),
    flops: Flops = None,
    params: Params = None,
    sram: Sram = None,
    flash: Flash = None,
    target: TargetName = DEFAULT_TARGET,
    as_json: AsJson = False,
) -> None:
    """Scale a network to limits by a width multiplier: what a search has to beat, without a search.

    All channels are multiplied by the same factor, the largest within the limits. `tinynas retrain` trains the network.
    """
    budget = Budget.parse(flops=flops, params=params, sram=sram, flash=flash, target=target)
    arch = _network(network, space)
    if resolution:
        arch = replace(arch, resolution=parse_size(resolution))
    if data:
        arch = _fitted(arch, data)
    find_target(target).check_operators(arch)
    factor = largest_factor(arch, budget)
    fitted = scaled(arch, factor)
    write_yaml(out, fitted.to_dict())
    screen = Screen(as_json)
    show_limited(screen, f"{short_name(network or space or '')} times {factor:.2f}", fitted, budget)
    screen.note(f"arch: {out}, for {arch.classes} classes")
    if target != DEFAULT_TARGET:
        screen.note(f"when it is trained: tinynas export --target {target}")
    if data:
        screen.next_command("retrain", out, "--data", data)
    else:
        screen.next_command("retrain", out)
    document = {"arch": str(out), "factor": factor, "target": target, "limits": budget.limits()}
    screen.document(document | {"resolution": fitted.resolution, **cost(fitted).to_dict()})


def _network(network: str | None, space: str | None) -> Arch:
    """Return the network that is scaled."""
    if network and space:
        raise InputError(f"one network is scaled, {network} or the middle one of {space}; remove --space or {network}")
    if space:
        return load_space(space).middle()
    if not network:
        raise InputError("name what is scaled: a network, such as mobilenet-v2-tiny, or a space, such as --space micro")
    if network in shipped_spaces():
        raise InputError(f"{network} is a search space; its middle network is scaled with --space {network}")
    return load_arch(network)


def _fitted(arch: Arch, name: str) -> Arch:
    """Return a network with the channels and classes of a data set."""
    from tinynas.data.registry import load_data
    from tinynas.tasks.registry import fit_to_data
    from tinynas.utils.paths import with_absolute_path

    return fit_to_data(arch, load_data(with_absolute_path(name)))
