"""The command that looks for the recipe of one network."""

from pathlib import Path
from typing import Annotated

import typer

from tinynas.experiment.config import RetrainConfig
from tinynas.experiment.saved import read_config_file
from tinynas.experiment.tune_settings import TuneSettings
from tinynas.utils.overrides import Overrides

from . import options as opt
from .screen import Screen
from .settings_options import settings_options
from .tables.tune import show_recipes


@settings_options(TuneSettings, RetrainConfig)
def tune(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A searched run. Default: the newest.")] = None,
    *,
    overrides: Overrides,
    flops: opt.Flops = None,
    params: opt.Params = None,
    sram: opt.Sram = None,
    flash: opt.Flash = None,
    latency: opt.RetrainLatency = None,
    limit: opt.OwnLimits = None,
    config: opt.ConfigFile = None,
    name: Annotated[str, typer.Option("--name", help="Name of the tuning.")] = "recipe",
    loader_workers: opt.LoaderWorkers = None,
    device: opt.Device = "auto",
    as_json: opt.AsJson = False,
) -> None:
    """Look for the recipe with which a network of a run is most accurate on search-val, and write it as a file.

    Learning rate, weight decay, label smoothing, augmentation and dropout are tuned, but those that an option or
    --config names. Recipes that fall behind are dropped. Run it again to continue where it was interrupted.
    """
    from tinynas.arch.budget import split_own_limits
    from tinynas.experiment.run_folder import BEST
    from tinynas.experiment.runs import newest_run
    from tinynas.pipelines.run_network import front_budget
    from tinynas.pipelines.tune import plan_tuning
    from tinynas.pipelines.tune import tune as run_tuning
    from tinynas.utils.distributed import choose_device

    choose_device(device)
    folder = run or newest_run(BEST).path
    settings = (read_config_file(config, RetrainConfig) if config else Overrides()) | overrides
    limits = {"flops": flops, "params": params, "sram": sram, "flash": flash, "latency": latency}
    budget = front_budget(str(folder), None, own=split_own_limits(limit or []), **limits)
    trials = overrides.apply(TuneSettings()).trials
    plan = plan_tuning(folder, name=name, trials=trials, budget=budget, overrides=settings)
    screen = Screen(as_json)
    with screen:
        tried = run_tuning(plan, report=screen)
    show_recipes(screen, plan.run, plan.recipe, tried)
    screen.document({"recipe": str(plan.recipe), "tried": [recipe.to_dict() for recipe in tried]})
