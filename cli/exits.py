"""The command that adds early exits to a model."""

from pathlib import Path

from tinynas.experiment.exit_plan import SUPERNET, ExitPlan
from tinynas.utils.errors import InputError
from tinynas.utils.overrides import Overrides

from . import options as opt
from .screen import Screen
from .settings_options import settings_options
from .tables.models import show_early_exits


@settings_options(ExitPlan)
def sidenet(
    model: opt.ModelFile = None,
    *,
    cascade: opt.Cascade = None,
    overrides: Overrides,
    out: opt.OutFolder = None,
    device: opt.Device = "auto",
    loader_workers: opt.LoaderWorkers = None,
    as_json: opt.AsJson = False,
) -> None:
    """Spend compute only where an image needs it: add early exits to a trained model, which stays as it is.

    An image exits where the exit's calibrated confidence reaches a threshold; the rest of the network runs only for the
    others.
    """
    from tinynas.experiment.runs import find_model
    from tinynas.pipelines.early_exit import make_exits
    from tinynas.utils.distributed import choose_device

    choose_device(device)
    if cascade and (model or overrides.get("taps")):
        raise InputError("--cascade names both of its networks; remove MODEL and --tap")
    tiny, big = cascade or (None, None)
    plan = ExitPlan(
        model=Path(SUPERNET) if big == SUPERNET else find_model(Path(big) if big else model),
        tiny=find_model(Path(tiny)) if tiny else None,
        out=out,
    )
    with Screen(as_json) as screen:
        result = make_exits(overrides.apply(plan), report=screen)
    show_early_exits(screen, result.folder, result.report)
    screen.next_export(result.folder)
    screen.document(result.to_dict())
