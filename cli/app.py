"""The commands. What needs torch is imported by the command that needs it, so that --help answers at once."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tinynas.arch.arch import Arch
from tinynas.arch.cost import cost, steps
from tinynas.arch.zoo import load_arch, load_space, shipped_networks, shipped_spaces, short_name
from tinynas.utils.units import parse_count

from .exits import sidenet
from .options import AsJson, DataName, ModelFile
from .screen import Screen
from .tables import (
    show_comparison,
    show_cost,
    show_evaluation,
    show_export,
    show_export_of_exits,
    show_predictions,
    show_spaces,
)
from .training import quickstart, retrain, search

app = typer.Typer(
    help="Neural architecture search for networks that must fit on small devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(search)
app.command()(retrain)


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
    from tinynas.experiment.compare import compare_runs
    from tinynas.experiment.run_folder import newest

    folders = runs or [newest("*/front.json").parent]
    out = out or (folders[0] if len(folders) == 1 else Path()) / "compare.png"
    screen = Screen(as_json)
    comparison = compare_runs(folders, out)
    show_comparison(screen, comparison, out)
    screen.document(comparison | {"picture": str(out)})


@app.command("eval")
def evaluate(
    model: ModelFile = None,
    data: DataName = None,
    resolutions: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="At these image sizes too, statistics recalibrated.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy of a delivered model on the test split, over all and by class."""
    from tinynas.experiment.run_folder import delivered
    from tinynas.pipelines.evaluate import evaluate as evaluate_model

    screen = Screen(as_json)
    sizes = [parse_count(word) for word in resolutions.split(",")] if resolutions else []
    result = evaluate_model(delivered(model), data, sizes)
    show_evaluation(screen, result)
    screen.document(result)


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors or its folder.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    out: Annotated[Path, typer.Option(help="Folder of predictions.json and, of a detector, the pictures.")] = Path(
        "predictions"
    ),
    threshold: Annotated[
        float | None, typer.Option(help="Score from which a detector's box is shown. Default: 0.3.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is in image files: the likeliest classes, or boxes, drawn into pictures."""
    from tinynas.experiment.run_folder import delivered
    from tinynas.pipelines.predict import predict as predict_images

    screen = Screen(as_json)
    answers = predict_images(delivered(model), images, out, threshold=threshold)
    show_predictions(screen, out, answers)
    screen.document(answers)


@app.command()
def export(
    model: ModelFile = None,
    to: Annotated[
        str, typer.Option(metavar="onnx|tflite", help="Format; tflite needs the extra of that name.")
    ] = "onnx",
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Write the int8 file too.")] = True,
    batch: Annotated[
        str, typer.Option(metavar="N|dynamic", help="Images that the files take at a time; dynamic: any number.")
    ] = "1",
    opset: Annotated[int | None, typer.Option(help="ONNX operator set. Default: torch's.", show_default=False)] = None,
    calibration: Annotated[int, typer.Option(help="Training images that set the ranges of int8.")] = 500,
    margin: Annotated[float, typer.Option(help="Points of accuracy that int8 may lose without a warning.")] = 2.0,
    data: DataName = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the files. Default: the model's.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a delivered model as files for its target, fp32 and int8, and run them on the test split."""
    from tinynas.early_exit.model_file import has_exits
    from tinynas.experiment.config import ExportPlan
    from tinynas.experiment.run_folder import delivered
    from tinynas.pipelines.export import export as export_model
    from tinynas.pipelines.export_early_exit import export_exits

    path = delivered(model)
    plan = ExportPlan(
        model=path,
        out=out or path.parent,
        to=to,
        data=data,
        int8=int8,
        batch=_batch(batch),
        opset=opset,
        calibration=calibration,
        margin=margin,
    )
    with_exits = has_exits(path)
    with Screen(as_json) as screen:
        result = (export_exits if with_exits else export_model)(plan, report=screen)
    (show_export_of_exits if with_exits else show_export)(screen, plan.out, result, margin)
    screen.document(result)


app.command()(sidenet)


@app.command("cost")
def count(
    arch: Annotated[
        str, typer.Argument(metavar="ARCH.yaml|NETWORK", help="An arch's file, or a shipped network's name.")
    ],
    resolution: Annotated[int | None, typer.Option(help="Pixels along a side. Default: the arch's own.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Build the network and count it again, with fvcore.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the SRAM in use at every layer into this PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """MACs, parameters, peak SRAM and flash of a network, counted from its description."""
    network = load_arch(arch)
    network = replace(network, resolution=resolution) if resolution is not None else network
    document: dict[str, Any] = {"name": short_name(arch), "resolution": network.resolution, **asdict(cost(network))}
    if check:
        from tinynas.models.profile import recount

        document["check"] = recount(network)
    screen = Screen(as_json)
    show_cost(screen, network, document)
    if plot:
        from tinynas.experiment.plots import memory_picture
        from tinynas.utils.io import write

        title = f"{document['name']} at {network.resolution}x{network.resolution}: SRAM in use at every layer"
        write(plot, memory_picture(list(steps(network)), title=title))
        screen.note(f"picture: {plot}")
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


app.command()(quickstart)


def _batch(text: str) -> int | None:
    return None if text == "dynamic" else parse_count(text)


def _range(smallest: Arch, largest: Arch) -> dict[str, Any]:
    return {"min": {"resolution": smallest.resolution, **asdict(cost(smallest))}} | {
        "max": {"resolution": largest.resolution, **asdict(cost(largest))}
    }
