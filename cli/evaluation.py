"""The eval command: the accuracy of a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from tinynas.utils.errors import InputError
from tinynas.utils.sizes import Size, parse_size

from .options import AsJson, DataName, Device, LoaderWorkers, ModelFile, SkipUnreadable
from .screen import Screen
from .tables.detectors import show_errors
from .tables.models import show_evaluation


def evaluate(
    model: ModelFile = None,
    data: DataName = None,
    resolutions: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Evaluate at these image sizes as well, batch norm recalibrated.",
            show_default=False,
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder for pictures of the errors: the confusion matrix, and a detector's precision over recall.",
            show_default=False,
        ),
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    device: Device = "auto",
    loader_workers: LoaderWorkers = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a trained model on the test split: accuracy over all images and by class."""
    from tinynas.experiment.runs import find_model
    from tinynas.pipelines.evaluate import evaluate as evaluate_model
    from tinynas.utils.distributed import choose_device

    choose_device(device)
    screen = Screen(as_json)
    sizes = [_parse_resolution(word) for word in resolutions.split(",")] if resolutions else []
    path = find_model(model)
    report = evaluate_model(path, data, sizes, plots=plots, skip_unreadable=skip_unreadable)
    show_evaluation(screen, report)
    if plots and report.errors:
        show_errors(screen, report.errors, str(plots))
    screen.next_export(model or path.parent, data)
    screen.document(report.to_dict())


def _parse_resolution(text: str) -> Size:
    """Return one of the sizes of --resolutions. Raises InputError."""
    try:
        return parse_size(text)
    except InputError as error:
        raise InputError(f"--resolutions takes sizes with commas between them, such as 80,96: {error}") from None
