"""Whole jobs, from a configuration to a finished folder."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .batchnorm import recalibrate
from .comparison import compare_runs
from .cost import cost
from .delivered import data_of, read_model
from .errors import require
from .exit_exporting import export_exits
from .exit_models import has_exits
from .exiting import evaluate_exits, make_exits
from .exporting import export
from .files import write_json
from .nets import build
from .plans import SearchPlan, plan_retraining
from .prediction import predict
from .reporting import Report
from .retraining import retrain
from .searching import search
from .tasks import check_task

__all__ = ["evaluate", "export", "export_exits", "make_exits", "predict", "quickstart", "retrain", "search"]


def quickstart(plan: SearchPlan, given: Mapping[str, Any], *, report: Report) -> dict[str, Any]:
    """Search, retrain the best network plain and with NetAug, compare; returns the comparison.

    `given` are the retrainings' settings, of `RetrainConfig` and `Recipe`.
    """
    search(plan, report=report)
    for with_netaug in (False, True):
        retrain(plan_retraining(str(plan.run), name=None, resume=False, netaug=with_netaug, given=given), report=report)
    return compare_runs([plan.run], plan.run / "compare.png")


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
        **task.score(model.net, arch, data, data.test),
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
        score = task.score(net.eval(), resized, data, data.test)
        points.append({"resolution": resolution, **score, **asdict(cost(resized))})
    document["resolutions"] = points
    write_json(path.with_name("resolutions.json"), document)
    return document
