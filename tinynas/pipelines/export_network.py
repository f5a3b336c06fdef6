"""Export a network without early exits, and measure its files on the test split."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..arch.cost import cost
from ..data.base import Data
from ..deploy.exported_file import ExportedFile, preprocessing
from ..deploy.latency import median_seconds
from ..deploy.onnx import to_onnx, to_onnx_with_postprocessing
from ..deploy.qat import TrainingImages
from ..deploy.tflite import to_tflite
from ..experiment.export_report import ExportReport, FileReport
from ..experiment.plans import ExportPlan
from ..experiment.reporter import ProgressReporter
from ..experiment.target_report import TflmRun
from ..models.model_file import Model
from ..models.network import example_input, fold
from ..tasks.detection import Detections
from ..tasks.registry import check_task
from ..tasks.task import Task
from ..utils.distributed import device
from ..utils.errors import FileError
from ..utils.io import read
from .export_check import TOLERANCE, Comparison, Exported, Form, exact_convolutions, on_device, run_split
from .export_firmware import network_firmware
from .export_target import OnTarget, in_tflm, network_on_target, planned_kernels, tflm_run

_QAT_BATCH = 32  # images
_MAX_TIES = 0.01  # fraction of images in which rounding may decide whether a box scores more than the threshold


def export_network(model: Model, plan: ExportPlan, data: Data, *, report: ProgressReporter) -> Exported[ExportReport]:
    """Export a network and run its files on the whole test split.

    Raises:
        BudgetError: A figure on the target exceeds the search's limit.
        FileError: The outputs of an fp32 file differ from those of PyTorch, or TFLM computes something else than
            LiteRT's reference kernels, or takes more memory than is counted.
        InputError: The operator set is unknown, or the extra `tflite` is not installed.
    """
    arch = model.net.arch
    task = check_task(arch.task, data)
    calibration = data.calibration_batches(arch.resolution, plan.calibration)
    files = _export_files(model, plan, data, calibration, report)
    on_target = network_on_target(plan, arch, files)
    rows, tflm = _measure(model, files, on_target, data, task, report)
    if task.final_output_names and plan.to == "onnx" and plan.batch == 1:
        files.append(to_onnx_with_postprocessing(model, opset=plan.opset))
        rows.append(_measure_boxes(model, files[-1], data, task))
    contents = {file.name: file.content for file in files} | on_target.contents
    if plan.to == "firmware":
        contents |= network_firmware(model, files, on_target, data)
    exported = ExportReport(
        model=str(plan.model),
        data=plan.data or model.data,
        metric=task.metric,
        test_images=len(data.test),
        calibration_images=sum(map(len, calibration)),
        qat=plan.qat,
        batch=plan.batch,
        classes=model.classes,
        preprocessing=preprocessing(model),
        cost=cost(arch),
        files=tuple(rows),
        on_target=on_target.report(tflm),
    )
    return Exported(exported, contents)


def _export_files(
    model: Model, plan: ExportPlan, data: Data, calibration: list[Tensor], report: ProgressReporter
) -> list[ExportedFile]:
    images = calibration if plan.int8 else None
    if plan.to == "onnx":
        return to_onnx(model, calibration=images, batch=plan.batch, opset=plan.opset)
    training = None
    if plan.qat:
        steps = plan.qat * data.steps_per_epoch(_QAT_BATCH)
        training = TrainingImages(batches=_training_batches(model, plan, data, steps, report), steps=steps)
    report.advance("export", 0, 1, f"int8 ranges from {sum(map(len, calibration))} training images")
    return to_tflite(model, calibration=images, training=training, kernels=planned_kernels(plan))


def _training_batches(
    model: Model, plan: ExportPlan, data: Data, steps: int, report: ProgressReporter
) -> Iterator[Tensor]:
    """Yield the training images of all epochs of quantization-aware fine-tuning, and report progress."""
    done = 0
    for epoch in range(plan.qat):
        text = f"epoch {epoch + 1}/{plan.qat}"
        for batch in data.training_batches(_QAT_BATCH, [model.net.arch.resolution], seed=0, epoch=epoch):
            yield batch.images
            done += 1
            report.advance("fine-tuning in int8", done, steps, text)


def _measure(
    model: Model, files: list[ExportedFile], on_target: OnTarget, data: Data, task: Task, report: ProgressReporter
) -> tuple[list[FileReport], TflmRun | None]:
    """Measure the network in PyTorch, then each file, and the int8 file in TFLM as well."""
    arch, plan = model.net.arch, on_target.plan
    in_torch = ExportedFile(kind="torch", name=plan.model.name, content=read(plan.model), run=_torch_runner(model.net))
    forms = [in_torch]
    forms.extend(files)
    micro = in_tflm(plan, arch, files)
    compared: list[Form] = list(forms)
    if micro is not None:
        compared.append(micro)
        on_target.add_arenas(micro.files)
    comparisons = [Comparison(form) for form in compared]
    predictions: list[list[Any]] = [[] for _ in compared]
    truths: list[Any] = []
    for batch in run_split(compared, data, data.test, arch.resolution, task="test split", report=report):
        truths += task.ground_truth(batch.labels, batch.images)
        for outputs, comparison, predicted in zip(batch.outputs, comparisons, predictions, strict=True):
            comparison.add(outputs, batch.outputs[0])
            predicted += task.decode(outputs, arch)
    rows, accuracies = [], [task.metrics(predicted, truths, data.classes)["accuracy"] for predicted in predictions]
    image = example_input(arch, plan.batch or 1)
    for form, comparison, accuracy in zip(forms, comparisons, accuracies, strict=False):
        run = fold(model.net) if form is in_torch else form.run
        rows.append(_file_report(model, form, accuracy, comparison.checked_difference(), run, image))
    if micro is None:
        return rows, None
    return rows, tflm_run(micro, accuracies[-1], comparisons[-1].disagreement())


def _torch_runner(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return what runs a network in PyTorch, on this process's device; images and outputs are on the CPU."""
    on_its_device = on_device(net)

    def run(images: Tensor) -> Tensor:
        with exact_convolutions():
            outputs: Tensor = on_its_device(images.to(device())).cpu()
        return outputs

    return run


def _file_report(
    model: Model, form: ExportedFile, accuracy: float, difference: float, run: Callable[[Tensor], object], image: Tensor
) -> FileReport:
    return FileReport(
        kind=form.kind,
        int8=form.int8,
        file=form.name,
        accuracy=accuracy,
        difference=difference,
        bytes=len(form.content),
        latency=median_seconds(partial(run, image)),
        peak_memory=cost(model.net.arch).peak_sram * (1 if form.int8 else 4),
        calibration=form.calibration,
        output_error=form.output_error,
    )


def _measure_boxes(model: Model, file: ExportedFile, data: Data, task: Task) -> FileReport:
    """Measure a file that returns boxes.

    Raises:
        FileError: Its boxes differ from those of PyTorch.
    """
    arch = model.net.arch
    predictions: list[Detections] = []
    run = _torch_runner(model.net)
    truths, differences = [], []
    for images, labels in data.evaluation_batches(data.test, arch.resolution):
        truths.extend(task.ground_truth(labels, len(images)))
        with torch.inference_mode():
            expected = task.decode(run(images), arch)
        for image, reference in zip(images, expected, strict=True):
            boxes, scores, classes = torch.split(file.run(image[None]), [4, 1, 1], 1)
            predictions.append(Detections(boxes, scores[:, 0], classes[:, 0].long()))
            differences.append(_boxes_difference(predictions[-1], reference))
    equal = [difference for difference in differences if difference <= TOLERANCE]
    different = len(differences) - len(equal)
    if different > _MAX_TIES * len(differences):
        raise FileError(
            f"{file.name} would return other boxes than PyTorch for {different} of {len(differences)} images; "
            "nothing is written, try another --opset"
        )
    accuracy = task.metrics(predictions, truths, data.classes)["accuracy"]
    return _file_report(model, file, accuracy, max(equal), file.run, example_input(arch))


def _boxes_difference(boxes: Detections, reference: Detections) -> float:
    """Return the largest difference of boxes and scores; infinity if their number or their classes differ."""
    if len(boxes.scores) != len(reference.scores) or not torch.equal(boxes.classes, reference.classes):
        return float("inf")
    if not len(boxes.scores):
        return 0.0
    of_boxes = (boxes.boxes - reference.boxes).abs().max().item()
    return float(max(of_boxes, (boxes.scores - reference.scores).abs().max().item()))
