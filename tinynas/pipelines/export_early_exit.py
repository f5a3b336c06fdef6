"""Export a network with early exits, an ONNX file for each part, and measure the files on the test split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import onnx
import torch
from torch import Tensor

from ..arch.cost import cost
from ..data.base import Data
from ..deploy.exported_file import metadata, preprocessing
from ..deploy.latency import median_seconds
from ..deploy.onnx import export_module, to_onnx
from ..deploy.onnx_parts import OnnxParts
from ..early_exit.calibration import ExitOutputs, fit_temperature
from ..early_exit.model import EarlyExitModel, folded_parts, worst_case_cost
from ..early_exit.thresholds import ThresholdSweep, sweep
from ..experiment.early_exit_report import ThresholdPoint
from ..experiment.export_report import EarlyExitExportReport, FormReport, PartFiles
from ..experiment.plans import ExportPlan
from ..experiment.reporter import ProgressReporter
from ..models.model_file import Model
from ..models.network import example_input
from ..utils.errors import InputError
from ..utils.io import to_json
from .early_exit_measure import threshold_points
from .export_check import Exported, Form, SplitRun, checked_difference, run_split


@dataclass(frozen=True, kw_only=True)
class _TorchExits:
    """The network in PyTorch, as a form that exported files are compared with."""

    model: EarlyExitModel
    name: str = "torch"
    int8: bool = False

    def run(self, images: Tensor) -> Tensor:
        """Return the logits of every exit, (N, exits, classes)."""
        return self.model.exits.all_logits(images).transpose(0, 1)


def export_early_exits(
    model: EarlyExitModel, plan: ExportPlan, data: Data, *, report: ProgressReporter
) -> Exported[EarlyExitExportReport]:
    """Export every part as ONNX, in fp32 and int8, and run the files on the whole test split.

    The int8 files have temperatures of their own, fitted on search-val.

    Raises:
        FileError: The outputs of an fp32 file differ from those of PyTorch.
        InputError: The format is not ONNX, or the files would take more than one image at a time.
    """
    if plan.to != "onnx" or plan.batch != 1:
        raise InputError(
            f"early exits are exported as ONNX for one image at a time, not as {plan.to} for a batch of "
            f"{plan.batch or 'any size'}; leave out --to and --batch"
        )
    calibration = torch.cat(data.calibration_batches(model.resolution, plan.calibration))
    forms = [OnnxParts(_export_parts(model, plan.opset), int8=False)]
    if plan.int8:
        forms.append(forms[0].quantize(calibration))
    rows = _measure(model, forms, data, report)
    exported = EarlyExitExportReport(
        model=str(plan.model),
        data=plan.data or model.mainnet.data,
        test_images=len(data.test),
        calibration_images=len(calibration),
        threshold=model.threshold,
        classes=model.mainnet.classes,
        preprocessing=preprocessing(model.input_model),
        cost=worst_case_cost(model),
        forms=tuple(rows),
    )
    files: dict[str, bytes] = {}
    for form, row in zip(forms, rows[1:], strict=True):
        files |= _files(model, form, row)
    return Exported(exported, files)


def _export_parts(model: EarlyExitModel, opset: int | None) -> list[onnx.ModelProto]:
    """Export the parts; what they carry over is named carried1_1, carried1_2, ... by part and position."""
    image = {"images": model.example()}
    inputs, protos = image, []
    for number, part in enumerate(folded_parts(model), 1):
        with torch.no_grad():
            outputs = part(*inputs.values())
        carried = {}
        if not isinstance(outputs, Tensor):
            for position, tensor in enumerate(outputs[1:], 1):
                carried[f"carried{number}_{position}"] = tensor
        names = ["logits"]
        names.extend(carried)
        protos.append(export_module(part, inputs, names, opset=opset))
        inputs = carried or image
    return protos


def _files(model: EarlyExitModel, form: OnnxParts, row: FormReport) -> dict[str, bytes]:
    """Return the files of the parts, with the threshold and each exit's temperature in the metadata."""
    assert row.parts is not None
    files = {}
    for name, proto, temperature in zip(row.parts.files, form.protos, row.temperatures, strict=True):
        exit_metadata = {"threshold": to_json(model.threshold), "temperature": to_json(temperature)}
        onnx.helper.set_model_props(proto, metadata(model.input_model) | exit_metadata)
        files[name] = proto.SerializeToString()
    return files


def _measure(
    model: EarlyExitModel, forms: Sequence[OnnxParts], data: Data, report: ProgressReporter
) -> list[FormReport]:
    """Measure the network in PyTorch, then as files."""
    temperatures, macs = model.exits.temperatures.tolist(), model.exits.macs(model.example())
    in_torch = _TorchExits(model=model)
    compared: list[Form] = [in_torch]
    compared.extend(forms)
    test = run_split(compared, data, data.test, model.resolution, task="test split", report=report)
    reference = _exit_outputs(test, 0)
    rows = [_form_report(in_torch.name, model, sweep(reference, temperatures, macs), temperatures)]
    mainnets = _mainnet_alone(model.mainnet, data, int8=len(forms) > 1)
    for number, (form, mainnet) in enumerate(zip(forms, mainnets, strict=True), 1):
        outputs = _exit_outputs(test, number)
        difference = checked_difference(form, outputs.logits, reference.logits)
        if form.int8:
            row = _calibrated_report(form, model, outputs, macs, data, report)
        else:
            row = _form_report("ONNX fp32", model, sweep(outputs, temperatures, macs), temperatures)
        parts = _part_files(form, difference, row.shares, model.example(), mainnet)
        rows.append(replace(row, int8=form.int8, parts=parts))
    return rows


def _exit_outputs(run: SplitRun, number: int) -> ExitOutputs:
    """Return the outputs of one form as (exits, N, classes), with the labels."""
    labels = torch.cat([batch for batch, _ in run.labels])
    return ExitOutputs(run.outputs[number].transpose(0, 1).contiguous(), labels)


def _calibrated_report(
    form: OnnxParts, model: EarlyExitModel, test: ExitOutputs, macs: Sequence[int], data: Data, report: ProgressReporter
) -> FormReport:
    """Return what an int8 form does on the test split, at temperatures and further thresholds chosen on search-val."""
    run = run_split([form], data, data.val, model.resolution, task="search-val, int8", report=report)
    val = _exit_outputs(run, 0)
    temperatures = [fit_temperature(logits, val.labels) for logits in val.logits]
    on_test = sweep(test, temperatures, macs)
    points = on_test.at(sweep(val, temperatures, macs).pareto_thresholds())
    row = _form_report("ONNX int8", model, on_test, temperatures)
    return replace(row, points=threshold_points(points))


def _form_report(kind: str, model: EarlyExitModel, test: ThresholdSweep, temperatures: Sequence[float]) -> FormReport:
    """Return what a form does on the test split at the model's threshold."""
    (point,) = test.at([model.threshold])
    return FormReport(
        kind=kind,
        int8=False,
        point=ThresholdPoint(threshold=point.threshold, accuracy=point.accuracy, macs=point.macs),
        shares=point.shares,
        saved=1 - point.macs / cost(model.mainnet.net.arch).macs,
        mainnet_accuracy=100 * float(test.correct[-1].mean()),
        temperatures=tuple(temperatures),
    )


def _part_files(
    form: OnnxParts, difference: float, shares: Sequence[float], image: Tensor, mainnet: Callable[[], object]
) -> PartFiles:
    seconds = form.latencies(image.numpy())
    suffix = ".int8.onnx" if form.int8 else ".onnx"
    return PartFiles(
        files=tuple(f"part{number}{suffix}" for number in range(1, len(form.protos) + 1)),
        difference=difference,
        bytes=sum(proto.ByteSize() for proto in form.protos),
        latency=float(np.dot(shares, seconds)),
        worst_latency=seconds[-1],
        mainnet_latency=median_seconds(mainnet),
    )


def _mainnet_alone(mainnet: Model, data: Data, *, int8: bool) -> list[Callable[[], object]]:
    """Return functions that run the network without early exits on one image, as fp32 and, if wanted, int8 ONNX."""
    arch = mainnet.net.arch
    files = to_onnx(mainnet, calibration=data.calibration_batches(arch.resolution) if int8 else None)
    return [partial(file.run, example_input(arch)) for file in files]
