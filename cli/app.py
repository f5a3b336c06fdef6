"""The commands. What needs torch is imported by the command that needs it, so that --help answers at once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tinynas.arch.arch import Arch
from tinynas.arch.cost import cost, layer_costs
from tinynas.arch.cost_names import split_words
from tinynas.arch.cost_table import TIME, CostTable
from tinynas.arch.targets import TARGETS, find_target
from tinynas.arch.zoo import load_arch, load_space, shipped_networks, shipped_spaces, short_name
from tinynas.experiment.config import DATA_HELP
from tinynas.experiment.plans import ExportPlan
from tinynas.utils.overrides import Overrides
from tinynas.utils.sizes import format_size, pair, parse_size

from .clean import clean
from .evaluation import evaluate
from .exits import sidenet
from .importing import import_model
from .latency import fit_latency, layers
from .options import (
    AsJson,
    CostAxis,
    Device,
    LoaderWorkers,
    ModelFile,
    OutFolder,
    RunFolders,
)
from .push import push
from .quickstart import quickstart
from .report import report
from .reproduce import reproduce
from .runs import runs
from .scale import scale
from .screen import Screen
from .settings_options import OptionalValues, settings_options
from .storage import storage_proxy
from .tables.cells import note_undrawable
from .tables.data import show_data
from .tables.deploy import show_export
from .tables.models import show_predictions
from .tables.networks import show_cost, show_spaces, show_targets
from .tables.search import show_comparison
from .training import retrain, search
from .tune import tune
from .version import tinynas

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(tinynas)
app.command(cls=OptionalValues)(search)
app.command()(retrain)


@app.command("data")
def inspect(
    source: Annotated[str, typer.Argument(metavar="DATA", help=f"{DATA_HELP}.")],
    out: Annotated[Path, typer.Option(help="PNG to write: images of each class, or with boxes.")] = Path("data.png"),
    resolution: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Image size, 96 or 96x160. Default: their own; of classifiers at most 96."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a data set was understood to be: classes, splits, sizes, what was left out; draw what networks see."""
    from tinynas.pipelines.inspect_data import inspect_data
    from tinynas.utils.paths import with_absolute_path

    screen = Screen(as_json)
    summary = inspect_data(with_absolute_path(source), out, resolution=parse_size(resolution) if resolution else None)
    show_data(screen, summary)
    note_undrawable(screen, summary.by_class["train"], instead="escapes")
    screen.note(f"picture: {out}")
    if summary.task == "detect":
        screen.next_command("search", "--task", "detect", "--data", source)
    else:
        screen.next_command("search", "--data", source)
    screen.document(summary.to_dict() | {"picture": str(out)})


@app.command()
def compare(
    runs: RunFolders = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Plot to write, a PNG. Default: compare.png in the run, or here for several.", show_default=False
        ),
    ] = None,
    x: CostAxis = None,
    as_json: AsJson = False,
) -> None:
    """Compare the Pareto fronts and retrained networks of runs in a table and a plot.

    The front is that of all networks that a search has evaluated, whichever costs it searched for.
    """
    from tinynas.experiment.compare import compare_runs
    from tinynas.experiment.run_folder import FRONT, RunFolder
    from tinynas.experiment.runs import newest_run

    folders = runs or [newest_run(FRONT).path]
    out = out or RunFolder(folders[0] if len(folders) == 1 else Path()).comparison_plot
    screen = Screen(as_json)
    comparison = compare_runs(folders, out, costs=None if x is None else split_words(x))
    show_comparison(screen, comparison, out)
    screen.next_report(folders)
    screen.document(comparison.to_dict() | {"picture": str(out)})


app.command()(report)


app.command("eval")(evaluate)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors, its folder, or hf:USER/REPO.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    out: Annotated[
        Path, typer.Option(help="Folder of predictions.json and, for a detector, the images with their boxes.")
    ] = Path("predictions"),
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Score that a detector's boxes must exceed to be shown. Default: that of the best F1 on search-val.",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict the classes of image files, or the boxes in them, which are drawn as well."""
    from tinynas.experiment.runs import find_model
    from tinynas.pipelines.predict import predict as predict_images
    from tinynas.utils.distributed import choose_device

    choose_device(device)
    screen = Screen(as_json)
    predictions = predict_images(find_model(model), images, out, threshold=threshold)
    show_predictions(screen, out, predictions)
    if any(prediction.get("boxes") == [] for prediction in predictions):
        screen.note("nothing: no box scores more than the threshold; a lower --threshold shows more")
    screen.next_export(model)
    screen.document(predictions)


@app.command()
@settings_options(ExportPlan)
def export(
    model: ModelFile = None,
    *,
    overrides: Overrides,
    out: OutFolder = None,
    device: Device = "auto",
    loader_workers: LoaderWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Write a trained model as files for its target, fp32 and int8, and run them on the test split."""
    from tinynas.experiment.run_folder import FIRMWARE
    from tinynas.experiment.runs import find_model
    from tinynas.pipelines.export import export as export_model
    from tinynas.utils.distributed import choose_device

    choose_device(device)
    path = find_model(model)
    plan = overrides.apply(ExportPlan(model=path, out=out or path.parent))
    with Screen(as_json) as screen:
        report = export_model(plan, report=screen)
    show_export(report, screen, plan.out, plan.margin)
    if plan.to == "firmware":
        screen.note(f"sources for a microcontroller are in {plan.out / FIRMWARE}; start with README.md there")
    words = ["--data", plan.data] if plan.data else []
    screen.next_command("eval", model or path, *words)
    screen.document(report.to_dict())


app.command()(sidenet)
app.command("import")(import_model)


@app.command("cost")
def count(
    arch: Annotated[
        str, typer.Argument(metavar="ARCH.yaml|NETWORK", help="An arch's file, or a shipped network's name.")
    ],
    resolution: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Pixels of the images, 96 or 96x160. Default: the arch's own.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Also build the network and count it with fvcore.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Plot the SRAM in use at every layer to this PNG.")] = None,
    latency_table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add up the times of the layers in this CSV file, see `tinynas layers`."),
    ] = None,
    cost_table: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Add up another cost of the layers in this CSV file; may be repeated."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="NAME", help="Measure it as well for this target, see `tinynas targets`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count a network's MACs, parameters and memory from its arch."""
    network = load_arch(arch)
    network = replace(network, resolution=parse_size(resolution)) if resolution else network
    document: dict[str, Any] = {"name": short_name(arch), "resolution": network.resolution, **cost(network).to_dict()}
    own = [CostTable.read(path) for path in cost_table or ()]
    document |= _measured(network, target, latency_table, own)
    if check:
        from tinynas.models.profile import recount

        document["check"] = recount(network)
    screen = Screen(as_json)
    show_cost(screen, network, document, {table.cost: table.unit for table in own})
    if target and "latency" in document and not latency_table:
        from tinynas.deploy.measured_costs import how_measured

        screen.note(how_measured(find_target(target)))
    if plot:
        _plot_memory(plot, network, document["name"], screen)
    screen.next_command("retrain", arch)
    screen.document(document)


def _plot_memory(out: Path, network: Arch, name: str, screen: Screen) -> None:
    """Plot the memory in use at every layer of a network."""
    from tinynas.experiment.plots import memory_plot
    from tinynas.utils.io import write

    title = f"{name} at {format_size(pair(network.resolution))}: SRAM in use at every layer"
    write(out, memory_plot(list(layer_costs(network)), title=title))
    note_undrawable(screen, [name], instead="escapes")
    screen.note(f"picture: {out}")


@app.command()
def spaces(as_json: AsJson = False) -> None:
    """List the search spaces and networks that come with tinynas, with their smallest and largest costs."""
    document = {
        "spaces": {name: _range(space.min(), space.max()) for name in shipped_spaces() for space in [load_space(name)]},
        "networks": {name: _range(arch, arch) for name in shipped_networks() for arch in [load_arch(name)]},
    }
    screen = Screen(as_json)
    show_spaces(screen, document)
    screen.document(document)


@app.command()
def targets(as_json: AsJson = False) -> None:
    """List what networks can be searched and exported for, and what limits mean there."""
    screen = Screen(as_json)
    show_targets(screen, list(TARGETS.values()))
    screen.document([asdict(target) for target in TARGETS.values()])


for command in (runs, clean, push, scale, layers, fit_latency, quickstart, tune, reproduce, storage_proxy):
    app.command()(command)


def _measured(
    network: Arch, target: str | None, latency_table: Path | None, own: Sequence[CostTable]
) -> Mapping[str, float]:
    """Return the costs of a network that are not counted: by tables, or on a target that has such costs."""
    costs: dict[str, float] = {}
    if latency_table:
        costs |= CostTable.read(latency_table, column=TIME).measure(network)
    elif target is not None and find_target(target).latency:
        from tinynas.deploy.measured_costs import measured_costs

        costs |= measured_costs(find_target(target)).measure(network)
    for table in own:
        costs |= table.measure(network)
    return costs


def _range(smallest: Arch, largest: Arch) -> dict[str, Any]:
    return {"min": {"resolution": smallest.resolution, **cost(smallest).to_dict()}} | {
        "max": {"resolution": largest.resolution, **cost(largest).to_dict()}
    }
