"""The command that makes early exits."""

from pathlib import Path
from typing import Annotated

import typer

from tinynas.utils.errors import InputError
from tinynas.utils.units import parse_count

from . import options as opt
from .screen import Screen
from .tables import show_exits


def sidenet(
    model: opt.ModelFile = None,
    tap: opt.Taps = None,
    cascade: opt.Cascade = None,
    hidden: opt.Hidden = 64,
    distillation: opt.SideDistillation = 0.0,
    temperature: opt.Temperature = None,
    target_accuracy: opt.TargetAccuracy = None,
    target_flops: opt.TargetFlops = None,
    threshold: opt.Threshold = None,
    seed: opt.Seed = None,
    data: opt.DataName = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of what is written. Default: a new one beside the model.", show_default=False),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Spend compute only where an image needs it: early exits on a trained network, which stays as it is.

    An exit answers where its calibrated confidence reaches a threshold; only for the other images the rest runs.
    """
    from tinynas.experiment.config import AUTO, SUPERNET, ExitPlan
    from tinynas.experiment.run_folder import delivered
    from tinynas.pipelines.early_exit import make_exits

    if cascade and (model or tap):
        raise InputError("--cascade names both of its networks; leave out MODEL and --tap")
    tiny, big = cascade or (None, None)
    plan = ExitPlan(
        model=Path(SUPERNET) if big == SUPERNET else delivered(Path(big) if big else model),
        tiny=delivered(Path(tiny)) if tiny else None,
        out=out,
        data=data,
        taps=tuple(tap or [AUTO]),
        hidden=hidden,
        distillation=distillation,
        temperature=1.0 if temperature is None else temperature,
        threshold=threshold,
        accuracy=None if target_accuracy is None else _percent(target_accuracy),
        macs=None if target_flops is None else parse_count(target_flops),
        seed=seed or 0,
    )
    with Screen(as_json) as screen:
        result = make_exits(plan, report=screen)
    show_exits(screen, result)
    screen.document(result)


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise InputError(f"cannot read {text!r}: expected a percentage like 90% or 89.5") from None
    if not 0 <= value <= 100:
        raise InputError(f"an accuracy is between 0% and 100%, but is {text}")
    return value
