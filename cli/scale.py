"""The scale command: a network within limits, without a search."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tinynas.arch.arch import Arch
from tinynas.arch.budget import Budget
from tinynas.arch.cost import cost
from tinynas.arch.scaling import scale_to
from tinynas.arch.targets import DEFAULT_TARGET, find_target
from tinynas.arch.zoo import load_arch, load_space, short_name
from tinynas.utils.errors import InputError
from tinynas.utils.io import write_yaml
from tinynas.utils.sizes import parse_size

from .latency import Classes, InChannels
from .options import AsJson, Flash, Flops, Params, Sram
from .screen import Screen
from .tables.networks import show_limited


def scale(
    network: Annotated[
        str | None,
        typer.Argument(
            metavar="[ARCH.yaml|NETWORK]", help="An arch's file, or a shipped network's name, instead of --space."
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Scale the middle network of this search space, see `tinynas spaces`."),
    ] = None,
    flops: Flops = None,
    params: Params = None,
    sram: Sram = None,
    flash: Flash = None,
    target: Annotated[
        str, typer.Option(metavar="NAME", help="What --sram and --flash mean, see `tinynas targets`.")
    ] = DEFAULT_TARGET,
    resolution: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Pixels of the images, 96 or 96x160. Default: the network's own."),
    ] = None,
    classes: Classes = None,
    in_channels: InChannels = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write the arch to.")] = Path("scaled.yaml"),
    as_json: AsJson = False,
) -> None:
    """Scale a network to limits by a width multiplier: what a search has to beat, without a search.

    All channels are multiplied by the same factor, the largest within the limits. `tinynas retrain` trains the network.
    """
    budget = Budget.parse(flops=flops, params=params, sram=sram, flash=flash, target=target)
    arch = _network(network, space)
    arch = replace(
        arch,
        resolution=parse_size(resolution) if resolution else arch.resolution,
        classes=classes or arch.classes,
        in_channels=in_channels or arch.in_channels,
    )
    _check_limits(budget, arch, target)
    scaled = scale_to(arch, budget)
    write_yaml(out, scaled.to_dict())
    screen = Screen(as_json)
    show_limited(screen, f"{short_name(network or space or '')}, scaled", scaled, budget)
    screen.note(f"arch: {out}; train it with tinynas retrain {out} --data NAME")
    screen.document({"arch": str(out), "resolution": scaled.resolution, **cost(scaled).to_dict()})


def _network(network: str | None, space: str | None) -> Arch:
    """Return the network that is scaled."""
    if (network is None) == (space is None):
        raise InputError("name what is scaled: a network, such as mobilenet-v2-tiny, or a space, such as --space micro")
    return load_arch(network) if network else load_space(str(space)).middle()


def _check_limits(budget: Budget, arch: Arch, target: str) -> None:
    """Raise InputError if there are no limits, or one of them is of a cost that only the target's compiler knows."""
    if not budget.limits():
        raise InputError("name a limit to scale to: --flops, --params, --sram or --flash")
    unknown = budget.limits().keys() - cost(arch).named().keys() - {"min_macs"}
    if unknown:
        raise InputError(
            f"--sram and --flash of {find_target(target).name} are measured by its compiler, not counted; scale to "
            "--flops or --params, or search"
        )
