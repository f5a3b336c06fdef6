"""The eval command: evaluate a trained model on the test split."""

from collections.abc import Sequence
from pathlib import Path

from ..experiment.evaluation_report import EvaluationReport
from ..experiment.retrain_folder import RetrainFolder
from ..utils.io import write_json
from ..utils.sizes import Size
from .evaluation_plots import draw_errors
from .trained_model import load_trained


def evaluate(
    path: Path,
    data_name: str | None,
    resolutions: Sequence[Size] = (),
    *,
    plots: Path | None = None,
    skip_unreadable: bool = False,
) -> EvaluationReport:
    """Evaluate a trained model, over all classes and by class.

    Args:
        path: The model file.
        data_name: The data set; None for the one that the model was trained on.
        resolutions: Image sizes to evaluate the model at as well, batch-norm statistics recalibrated for each. The
            result is then written as resolutions.json beside the model.
        plots: Folder for pictures of the errors, as `draw_errors` writes them; by default there are none.
        skip_unreadable: Leave out images that cannot be read.

    Returns:
        Metrics on the test split and counted cost; with `resolutions`, the same for each of them.

    Raises:
        FileError: The model cannot be read.
        InputError: The data set has other classes than the model, or the model has early exits and takes images of one
            size only.
    """
    model = load_trained(path)
    data = model.load_data(data_name, skip_unreadable=skip_unreadable)
    resized = [model.resized(resolution, data) for resolution in sorted(set(resolutions))]
    report = EvaluationReport(
        model=str(path),
        data=data_name or model.main.data,
        metric=model.task.metric,
        evaluation=model.evaluate(data),
        resolutions={other.main.net.arch.resolution: other.evaluate(data) for other in resized},
        errors=draw_errors(model, data, plots) if plots else None,
    )
    if resized:
        write_json(RetrainFolder(path.parent).resolutions, report.to_dict())
    return report
