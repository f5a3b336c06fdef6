"""The commands. What needs torch is imported by the command that needs it, so that --help answers at once."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tinynas.arch import Arch
from tinynas.cost import cost
from tinynas.shipped import load_arch, load_space, shipped_networks, shipped_spaces, short_name
from tinynas.units import parse_bytes, parse_count, parse_seconds

from .options import (
    AsJson,
    BatchSize,
    Clip,
    DataName,
    Distillation,
    Flash,
    Flops,
    LargestEpochs,
    Latency,
    LearningRate,
    Params,
    Pareto,
    Randoms,
    RunFolder,
    Sampler,
    Seed,
    Shrinking,
    SpaceName,
    Spread,
    Sram,
    Storage,
    Trials,
    Workers,
)
from .screen import Screen
from .tables import show_comparison, show_cost, show_evaluation, show_front, show_metrics, show_spaces

app = typer.Typer(
    help="Neural architecture search for networks that must fit on small devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def search(
    flops: Flops = None,
    params: Params = None,
    sram: Sram = None,
    flash: Flash = None,
    latency: Latency = None,
    pareto: Pareto = None,
    trials: Trials = None,
    sampler: Sampler = None,
    workers: Workers = None,
    storage: Storage = None,
    space: SpaceName = None,
    randoms: Randoms = None,
    spread: Spread = None,
    distillation: Distillation = None,
    largest_epochs: LargestEpochs = None,
    shrinking: Shrinking = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of the supernet. Default: the run's, else 6.", rich_help_panel="Training"),
    ] = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    clip: Clip = None,
    seed: Seed = None,
    data: DataName = None,
    run: RunFolder = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a killed search: --run's, or the newest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a supernet and search it for the most accurate networks within hard limits.

    A run's supernet is trained once: search it again with other limits by naming the run.
    """
    from tinynas import jobs
    from tinynas.parallel import decided_by_first, rank, start
    from tinynas.plans import plan_search

    low, range_given, high = (flops or "").rpartition(":")
    limits = _given(
        macs=None if flops is None else parse_count(high),
        params=None if params is None else parse_count(params),
        peak_sram=None if sram is None else parse_bytes(sram),
        flash=None if flash is None else parse_bytes(flash),
        latency=None if latency is None else parse_seconds(latency),
        min_macs=parse_count(low) if range_given else None,
    )
    given = _given(space=space, data=data, epochs=epochs, seed=seed, batch_size=batch_size, lr=lr, clip=clip)
    given |= _given(randoms=randoms, spread=spread, distillation=distillation)
    given |= _given(largest_epochs=largest_epochs, shrinking=shrinking)
    how = _given(trials=trials, sampler=sampler, pareto=pareto, storage=storage, workers=workers)
    start()
    plan = decided_by_first(lambda: plan_search(run, resume=resume, limits=limits, how=how, given=given))
    with Screen(as_json) as screen:
        _say_data(screen, plan.config.data, data)
        front = jobs.search(plan, report=screen)
    if rank() > 0:
        return
    show_front(screen, plan.run, front)
    screen.document(front | {"run": str(plan.run)})


@app.command()
def retrain(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|ARCH.yaml|NETWORK]", help="A run's best network, or any. Default: the newest run's."
        ),
    ] = None,
    netaug: Annotated[
        bool, typer.Option("--netaug", help="Train inside wider networks (Cai et al., ICLR 2022).")
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Epochs. Default: 20.", rich_help_panel="Training")] = None,
    data: DataName = None,
    seed: Seed = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    clip: Clip = None,
    name: Annotated[str | None, typer.Option(help="Name of the retraining. Default: plain or netaug.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a killed retraining, --name's or the newest.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train one network from scratch and write the model that is deployed."""
    from tinynas import jobs
    from tinynas.parallel import decided_by_first, rank, start
    from tinynas.plans import plan_retraining

    given = _given(data=data, epochs=epochs, seed=seed, batch_size=batch_size, lr=lr, clip=clip)
    start()
    plan = decided_by_first(lambda: plan_retraining(target, name=name, resume=resume, netaug=netaug, given=given))
    with Screen(as_json) as screen:
        _say_data(screen, plan.config.data, data)
        metrics = jobs.retrain(plan, report=screen)
    if rank() > 0:
        return
    show_metrics(screen, plan.folder, metrics)
    screen.document(metrics | {"model": str(plan.folder / "model.safetensors")})


@app.command()
def compare(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders. Default: the newest.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The picture, a PNG. Default: compare.png in the run, or here for several.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the fronts and the retrained networks of runs into one table and one picture."""
    from tinynas.comparison import compare_runs
    from tinynas.runs import newest

    folders = runs or [newest("*/front.json").parent]
    out = out or (folders[0] if len(folders) == 1 else Path()) / "compare.png"
    screen = Screen(as_json)
    comparison = compare_runs(folders, out)
    show_comparison(screen, comparison, out)
    screen.document(comparison | {"picture": str(out)})


@app.command("eval")
def evaluate(
    model: Annotated[
        Path | None, typer.Argument(help="A model.safetensors or its folder. Default: the newest.")
    ] = None,
    data: DataName = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a delivered model on the test split, over all and by class."""
    from tinynas import jobs
    from tinynas.runs import newest

    path = model or newest("*/retrain/*/model.safetensors")
    path = path / "model.safetensors" if path.is_dir() else path
    screen = Screen(as_json)
    result = jobs.evaluate(path, data)
    show_evaluation(screen, result)
    screen.document(result)


@app.command("cost")
def count(
    arch: Annotated[
        str, typer.Argument(metavar="ARCH.yaml|NETWORK", help="An arch's file, or a shipped network's name.")
    ],
    resolution: Annotated[int | None, typer.Option(help="Pixels along a side. Default: the arch's own.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Build the network and count it again, with fvcore.")] = False,
    as_json: AsJson = False,
) -> None:
    """MACs, parameters, peak SRAM and flash of a network, counted from its description."""
    network = load_arch(arch)
    network = replace(network, resolution=resolution) if resolution is not None else network
    document: dict[str, Any] = {"name": short_name(arch), "resolution": network.resolution, **asdict(cost(network))}
    if check:
        from tinynas.evaluation import recount

        document["check"] = recount(network)
    screen = Screen(as_json)
    show_cost(screen, network, document)
    screen.document(document)


@app.command()
def spaces(as_json: AsJson = False) -> None:
    """The search spaces and networks that come with tinynas, from their smallest to their largest member."""
    document = {
        "spaces": {name: _range(space.min(), space.max()) for name in shipped_spaces() for space in [load_space(name)]},
        "networks": {name: _range(arch, arch) for name in shipped_networks() for arch in [load_arch(name)]},
    }
    screen = Screen(as_json)
    show_spaces(screen, document)
    screen.document(document)


@app.command()
def quickstart(
    run: RunFolder = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the supernet and of each retraining.")] = 20,
    trials: Annotated[int, typer.Option(min=1, help="Networks to evaluate.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    as_json: AsJson = False,
) -> None:
    """The main job on real images in a few minutes: search, retrain plain and with NetAug, compare."""
    from tinynas import jobs
    from tinynas.plans import plan_search

    given: dict[str, Any] = {"epochs": epochs, "seed": seed}
    limits = {"macs": 150_000, "peak_sram": 8 * 1024}
    plan = plan_search(run, resume=False, limits=limits, how={"trials": trials}, given={"space": "micro", **given})
    with Screen(as_json) as screen:
        _say_data(screen, plan.config.data, None)
        comparison = jobs.quickstart(plan, given, report=screen)
    picture = plan.run / "compare.png"
    show_comparison(screen, comparison, picture)
    screen.document(comparison | {"picture": str(picture)})


def _given(**settings: Any) -> dict[str, Any]:
    """The settings that the user named."""
    return {name: value for name, value in settings.items() if value is not None}


def _say_data(screen: Screen, name: str, asked: str | None) -> None:
    if name == "digits" and not asked:
        screen.note("data: digits, the 1,797 real images that come with scikit-learn (--data names another set)")


def _range(smallest: Arch, largest: Arch) -> dict[str, Any]:
    return {"min": {"resolution": smallest.resolution, **asdict(cost(smallest))}} | {
        "max": {"resolution": largest.resolution, **asdict(cost(largest))}
    }
