"""Export a network with early exits, a file for each part, and measure the files on the test split."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import torch
from torch import Tensor

from ..arch.cost import cost
from ..data.base import Data, Split
from ..deploy.exported_file import metadata, preprocessing
from ..deploy.latency import median_seconds
from ..deploy.onnx import export_module, to_onnx
from ..deploy.onnx_parts import OnnxParts
from ..deploy.tflite import to_tflite
from ..deploy.tflite_parts import TfliteParts, tflite_parts
from ..deploy.tflm_check import TflmExits, TflmFile, has_tflm
from ..early_exit.calibration import ExitOutputs, fit_temperature
from ..early_exit.model import EarlyExitModel, folded_parts, worst_case_cost
from ..early_exit.rules import Confidence
from ..early_exit.thresholds import ThresholdSweep, spaced_thresholds, sweep
from ..experiment.export_report import EarlyExitExportReport, FormReport, PartFiles
from ..experiment.plans import ExportPlan
from ..experiment.reporter import ProgressReporter
from ..experiment.target_report import TflmRun
from ..models.model_file import Model
from ..models.network import example_input
from ..utils.errors import InputError
from ..utils.io import to_json
from ..utils.sizes import Size
from .early_exit_measure import threshold_points
from .exit_forms import ExitForm, TorchExits, check_rule
from .export_check import Comparison, Exported, Form, on_device, run_split
from .export_firmware import exits_firmware
from .export_target import OnTarget, planned_kernels, tflm_run


def export_early_exits(
    model: EarlyExitModel, plan: ExportPlan, data: Data, *, report: ProgressReporter
) -> Exported[EarlyExitExportReport]:
    """Export every part, in fp32 and int8, and run the files on the whole test split.

    The int8 files have temperatures of their own, fitted on search-val.

    Raises:
        FileError: The outputs of an fp32 file differ from those of PyTorch.
        InputError: The files would take more than one image at a time, or the format has no form of these exits.
    """
    if plan.batch != 1:
        raise InputError(
            f"early exits are exported for one image at a time, not for a batch of {plan.batch or 'any size'}; "
            "leave out --batch"
        )
    if plan.qat:
        raise InputError("early exits are not fine-tuned in int8; leave out --qat")
    check_rule(model.exits.rule)
    if plan.to == "firmware" and model.exits.rule.name != Confidence.name:
        raise InputError(
            f"firmware decides by confidence, but the rule of these exits is {model.exits.rule.name}; choose the rule "
            "confidence"
        )
    calibration = torch.cat(data.calibration_batches(model.resolution, plan.calibration))
    forms = [_fp32_parts(model, plan)]
    if plan.int8:
        forms.append(forms[0].quantize(calibration))
    on_target = OnTarget(plan)
    micro = _parts_on_target(forms[-1], on_target)
    rows, tflm = _measure(model, forms, micro, data, plan, report)
    exported = EarlyExitExportReport(
        model=str(plan.model),
        data=plan.data or model.mainnet.data,
        test_images=len(data.test),
        calibration_images=len(calibration),
        rule=model.exits.rule.name,
        classes=model.mainnet.classes,
        preprocessing=preprocessing(model.input_model),
        cost=worst_case_cost(model),
        forms=tuple(rows),
        on_target=on_target.report(tflm),
    )
    files = dict(on_target.contents)
    for form, row in zip(forms, rows[1:], strict=True):
        files |= _files(model, form, row)
    if plan.to == "firmware":
        assert isinstance(forms[-1], TfliteParts)
        files |= exits_firmware(model, forms[-1], rows[-1].temperatures, on_target, data)
    return Exported(exported, files)


def _fp32_parts(model: EarlyExitModel, plan: ExportPlan) -> ExitForm:
    """Return the parts in the plan's format.

    Raises:
        InputError: The format has no form of these exits.
    """
    if plan.to == "onnx":
        return OnnxParts(_export_parts(model, plan.opset), int8=False)
    taps, heads = model.exits.taps, model.exits.heads
    if not taps:
        raise InputError(
            f"a cascade is exported as ONNX, not as {plan.to}; export each of its two models with --to {plan.to}"
        )
    return tflite_parts(model.mainnet.net, taps, heads, heads[0].hidden.out_features, kernels=planned_kernels(plan))


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


def _files(model: EarlyExitModel, form: ExitForm, row: FormReport) -> dict[str, bytes]:
    """Return the files of the parts, with each exit's rule, threshold and temperature where files have metadata.

    The last part has the threshold 0: all images that reach it exit there.
    """
    thresholds = model.thresholds
    thresholds.append(0.0)
    properties = []
    for threshold, temperature in zip(thresholds, row.temperatures, strict=True):
        exit_metadata = {
            "rule": model.exits.rule.name,
            "threshold": to_json(threshold),
            "temperature": to_json(temperature),
        }
        properties.append(metadata(model.input_model) | exit_metadata)
    return dict(zip(form.file_names, form.contents(properties), strict=True))


def _measure(
    model: EarlyExitModel,
    forms: Sequence[ExitForm],
    micro: TflmExits | None,
    data: Data,
    plan: ExportPlan,
    report: ProgressReporter,
) -> tuple[list[FormReport], TflmRun | None]:
    """Measure the network in PyTorch, then as files, and the int8 files in TFLM as well."""
    temperatures, macs = model.exits.temperatures.tolist(), model.exits.macs(model.example())
    in_torch = TorchExits(exits=on_device(model.exits))
    compared: list[Form] = [in_torch]
    compared.extend(forms)
    if micro is not None:
        compared.append(micro)
    test = _exit_outputs(compared, data, data.test, model.resolution, task="test split", report=report)
    reference = test[0]
    rule = model.exits.rule
    rows = [_form_report(in_torch.name, model, sweep(reference, temperatures, macs, rule), temperatures)]
    mainnets = _mainnet_alone(model.mainnet, data, plan)
    for form, outputs, mainnet in zip(forms, test[1:], mainnets, strict=False):
        comparison = Comparison(form)
        comparison.add(outputs.logits, reference.logits)
        if form.int8:
            row = _calibrated_report(form, model, outputs, macs, data, report)
        else:
            row = _form_report(f"{form.kind} fp32", model, sweep(outputs, temperatures, macs, rule), temperatures)
        parts = _part_files(form, comparison.checked_difference(), row.shares, model.example(), mainnet)
        rows.append(replace(row, int8=form.int8, parts=parts))
    if micro is None:
        return rows, None
    thresholds = model.exits.thresholds
    in_tflm = sweep(test[-1], rows[-1].temperatures, macs, rule)
    (point,) = in_tflm.at([thresholds])
    answers = test[-1].predicted(in_tflm.exits(thresholds))
    expected = reference.predicted(sweep(reference, temperatures, macs, rule).exits(thresholds))
    return rows, tflm_run(micro, point.accuracy, float(np.mean(answers != expected)))


def _parts_on_target(parts: ExitForm, on_target: OnTarget) -> TflmExits | None:
    """Add what is known of int8 TFLite parts on the target, and return them in TFLM if that is installed."""
    if not (isinstance(parts, TfliteParts) and parts.int8):
        return None
    on_target.add_parts(parts.file_names, parts.files, parts.parts)
    if not has_tflm():
        return None
    kernels = planned_kernels(on_target.plan)
    files = []
    for name, content, network in zip(parts.file_names, parts.files, parts.parts, strict=True):
        files.append(TflmFile(name, content, network, planned_for=kernels))
    on_target.add_arenas(files)
    return TflmExits(files)


def _exit_outputs(
    forms: Sequence[Form], data: Data, split: Split, resolution: Size, *, task: str, report: ProgressReporter
) -> list[ExitOutputs]:
    """Return what every form returns for a split; arguments are as in `run_split`."""
    logits: list[list[Tensor]] = [[] for _ in forms]
    labels = []
    for batch in run_split(forms, data, split, resolution, task=task, report=report):
        labels.append(batch.labels)
        for outputs, collected in zip(batch.outputs, logits, strict=True):
            collected.append(outputs.transpose(0, 1))
    all_labels = torch.cat(labels)
    return [ExitOutputs(torch.cat(collected, 1), all_labels) for collected in logits]


def _calibrated_report(
    form: ExitForm, model: EarlyExitModel, test: ExitOutputs, macs: Sequence[int], data: Data, report: ProgressReporter
) -> FormReport:
    """Return what an int8 form does on the test split, at temperatures and further thresholds chosen on search-val."""
    (val,) = _exit_outputs([form], data, data.val, model.resolution, task="search-val, int8", report=report)
    temperatures = [fit_temperature(logits, val.labels) for logits in val.logits]
    on_test = sweep(test, temperatures, macs, model.exits.rule)
    on_val = sweep(val, temperatures, macs, model.exits.rule)
    points = on_test.at(spaced_thresholds(on_val.curve()))
    row = _form_report(f"{form.kind} int8", model, on_test, temperatures)
    return replace(row, points=threshold_points(points))


def _form_report(kind: str, model: EarlyExitModel, test: ThresholdSweep, temperatures: Sequence[float]) -> FormReport:
    """Return what a form does on the test split at the model's thresholds."""
    (chosen,) = test.at([model.exits.thresholds])
    (point,) = threshold_points([chosen])
    return FormReport(
        kind=kind,
        int8=False,
        point=point,
        shares=chosen.shares,
        saved=1 - point.macs / cost(model.mainnet.net.arch).macs,
        mainnet_accuracy=100 * float(test.correct[-1].mean()),
        temperatures=tuple(temperatures),
    )


def _part_files(
    form: ExitForm, difference: float, shares: Sequence[float], image: Tensor, mainnet: Callable[[], object]
) -> PartFiles:
    seconds = form.latencies(image)
    return PartFiles(
        files=tuple(form.file_names),
        difference=difference,
        bytes=form.num_bytes,
        latency=float(np.dot(shares, seconds)),
        worst_latency=seconds[-1],
        mainnet_latency=median_seconds(mainnet),
    )


def _mainnet_alone(mainnet: Model, data: Data, plan: ExportPlan) -> list[Callable[[], object]]:
    """Return functions that run the network without early exits on one image, as an fp32 and, if wanted, int8 file."""
    arch = mainnet.net.arch
    write = to_onnx if plan.to == "onnx" else to_tflite
    files = write(mainnet, calibration=data.calibration_batches(arch.resolution) if plan.int8 else None)
    return [partial(file.run, example_input(arch)) for file in files]
