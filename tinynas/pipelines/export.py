"""The export job: a delivered model as files for its target, each of them run on the test split before it is kept."""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from ..arch.cost import cost
from ..data.base import Data
from ..deploy.latency import median_seconds
from ..deploy.onnx import Deployed, preprocessing, to_onnx, to_onnx_boxes
from ..deploy.tflite import to_tflite
from ..experiment.plans import ExportPlan
from ..experiment.reporter import Report
from ..models.model_file import Model, read_model
from ..models.network import fold
from ..tasks.detection import Detections
from ..tasks.registry import TASKS, check_task
from ..utils.errors import FileError
from ..utils.io import check_writable, read, write, write_json
from .model_data import data_of

_TIES = 0.01  # of images, in which rounding may decide whether a box is over a threshold
TOLERANCE = 1e-4  # between the logits of torch and of an fp32 file, of the largest logit if that is over 1


def export(plan: ExportPlan, *, report: Report) -> dict[str, Any]:
    """Write the model's files to a folder with what they measured, which is returned and written as export.json.

    All are run on the whole test split first. Raises FileError, and writes nothing, if an fp32 file differs from torch.
    """
    model = read_model(plan.model)
    data = data_of(model, plan.model, plan.data)
    check_writable(plan.out)
    calibration = data.calibration_batches(model.net.arch.resolution, plan.calibration)
    given = calibration if plan.int8 else None
    if plan.to == "onnx":
        files = to_onnx(model, calibration=given, batch=plan.batch, opset=plan.opset)
    else:
        files = to_tflite(model, calibration=given)
    measured = _measured(model, files, data, plan, report)
    if model.net.arch.task == "detect" and plan.to == "onnx" and plan.batch == 1:
        files.append(to_onnx_boxes(model, opset=plan.opset))
        measured.append(_measured_boxes(model, files[-1], data))
    document = {
        "model": str(plan.model),
        "data": plan.data or model.data,
        "metric": check_task(model.net.arch.task, data).metric,
        "test_images": len(data.test),
        "calibration_images": sum(len(images) for images in calibration),
        "batch": plan.batch,
        "classes": list(model.classes),
        "preprocessing": preprocessing(model),
        **asdict(cost(model.net.arch)),
        "files": measured,
    }
    for file in files:
        write(plan.out / file.name, file.content)
    write_json(plan.out / "export.json", document)
    return document


def _measured(
    model: Model, files: list[Deployed], data: Data, plan: ExportPlan, report: Report
) -> list[dict[str, Any]]:
    """Of the network in torch and of each file: accuracy, difference, size, latency, memory. Raises FileError."""
    arch = model.net.arch
    task = check_task(arch.task, data)
    delivered = Deployed(kind="torch", name=plan.model.name, content=read(plan.model), run=model.net)
    forms = [delivered, *files]
    outputs, labels = _outputs(forms, data, arch.resolution, report)
    truths = [truth for batch, images in labels for truth in task.ground_truth(batch, images)]
    size = outputs[0].abs().max().item()
    image = torch.zeros(plan.batch or 1, arch.in_channels, arch.resolution, arch.resolution)
    rows = []
    for form, made in zip(forms, outputs, strict=True):
        difference = (made - outputs[0]).abs().max().item()
        if not form.int8 and not difference <= TOLERANCE * max(1, size):
            raise FileError(
                f"{form.name} would differ from the model by {difference:.2g} in outputs of up to {size:.2g} "
                f"(tolerance {TOLERANCE:g}); nothing is written, try another --opset or --to"
            )
        timed = fold(model.net) if form is delivered else form.run
        rows.append(
            {
                "kind": form.kind,
                "int8": form.int8,
                "file": form.name,
                "accuracy": task.metrics(task.decode(made, arch), truths, data.classes)["accuracy"],
                "difference": difference,
                "bytes": len(form.content),
                "latency": median_seconds(lambda run=timed: run(image)),  # type: ignore[misc]
                "peak_memory": cost(arch).peak_sram * (1 if form.int8 else 4),
            }
        )
    return rows


def _outputs(
    forms: list[Deployed], data: Data, resolution: int, report: Report
) -> tuple[list[Tensor], list[tuple[Tensor, int]]]:
    """Of every form for the test split's images; and the labels of their batches, with numbers of images."""
    parts: list[list[Tensor]] = [[] for _ in forms]
    seen: list[tuple[Tensor, int]] = []
    with torch.inference_mode():
        for images, labels in data.evaluation_batches(data.test, resolution):
            for form, outputs in zip(forms, parts, strict=True):
                outputs.append(form.run(images))
            seen.append((labels, len(images)))
            done = sum(count for _, count in seen)
            report.advance("test split", done, len(data.test), f"torch and {len(forms) - 1} files")
    return [torch.cat(outputs) for outputs in parts], seen


def _measured_boxes(model: Model, file: Deployed, data: Data) -> dict[str, Any]:
    """Of the file with boxes, as of the others. Raises FileError if its boxes are not torch's."""
    arch, task = model.net.arch, TASKS[model.net.arch.task]
    answers: list[Detections] = []
    truths, differences = [], []
    for images, labels in data.evaluation_batches(data.test, arch.resolution):
        truths += task.ground_truth(labels, len(images))
        with torch.inference_mode():
            expected = task.decode(model.net(images), arch)
        for image, found in zip(images, expected, strict=True):
            boxes, scores, classes = torch.split(file.run(image[None]), [4, 1, 1], 1)
            answers.append(Detections(boxes, scores[:, 0], classes[:, 0].long()))
            differences.append(_difference(answers[-1], found))
    other = sum(difference > TOLERANCE for difference in differences)
    if other > _TIES * len(differences):
        raise FileError(f"{file.name} would give other boxes than torch for {other} of {len(differences)} images")
    image = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    return {
        "kind": file.kind,
        "int8": False,
        "file": file.name,
        "accuracy": task.metrics(answers, truths, data.classes)["accuracy"],
        "difference": max(difference for difference in differences if difference <= TOLERANCE),
        "bytes": len(file.content),
        "latency": median_seconds(lambda: file.run(image)),
        "peak_memory": cost(arch).peak_sram * 4,
    }


def _difference(one: Detections, other: Detections) -> float:
    """The largest of boxes and scores; infinite if they are not as many, or of other classes."""
    if len(one.scores) != len(other.scores) or not torch.equal(one.classes, other.classes):
        return float("inf")
    both = zip(one[:2], other[:2], strict=True)
    return max(((a - b).abs().max().item() for a, b in both if len(a)), default=0.0)
