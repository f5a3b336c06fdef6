"""The eval command: accuracy of a trained model on the test split."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..arch.cost import cost
from ..early_exit.model_file import has_exits
from ..models.batchnorm import recalibrate
from ..models.model_file import read_model
from ..models.network import build
from ..tasks.registry import check_task
from ..utils.errors import require
from ..utils.io import write_json
from .early_exit import evaluate_exits
from .model_data import data_of


def evaluate(path: Path, data_name: str | None, resolutions: Sequence[int] = ()) -> dict[str, Any]:
    """How good a delivered model is on a data set's test split, over all and by class, beside its cost.

    The data set is by default the one the model was trained on. With resolutions, the same at each of these image
    sizes, statistics recalibrated: written as resolutions.json beside the model. Raises InputError if the data has
    other classes.
    """
    if has_exits(path):
        require(not resolutions, "a network with early exits has one image size", resolutions=resolutions)
        return evaluate_exits(path, data_name)
    model = read_model(path)
    data = data_of(model, path, data_name)
    arch = model.net.arch
    task = check_task(arch.task, data)
    document = {
        "model": str(path),
        "data": data_name or model.data,
        "metric": task.metric,
        **task.evaluate(model.net, arch, data, data.test),
        **asdict(cost(arch)),
    }
    if not resolutions:
        return document
    points = []
    for resolution in sorted(set(resolutions)):
        resized = replace(arch, resolution=resolution)
        net = build(resized)
        net.load_state_dict(model.net.state_dict())
        if resolution != arch.resolution:
            recalibrate(net, data.calibration_batches(resolution))
        score = task.evaluate(net.eval(), resized, data, data.test)
        points.append({"resolution": resolution, **score, **asdict(cost(resized))})
    document["resolutions"] = points
    write_json(path.with_name("resolutions.json"), document)
    return document
