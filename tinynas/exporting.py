"""The export job: a delivered model as files for its target, each of them run on the test split before it is kept."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .cost import cost
from .data import Data
from .delivered import Model, data_of, read_model
from .errors import FileError, require, unknown
from .export import Deployed, preprocessing, to_onnx
from .files import check_writable, read, write, write_json
from .latency import median_seconds
from .nets import fold
from .reporting import Report
from .tflite import to_tflite

FORMATS = ("onnx", "tflite")
TOLERANCE = 1e-4  # between the logits of torch and of an fp32 file, of the largest logit if that is over 1


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """What is exported where. `batch` images at a time, any number if None; `data` by default the model's own."""

    model: Path
    out: Path
    to: str = "onnx"
    data: str | None = None
    int8: bool = True
    batch: int | None = 1
    opset: int | None = None
    calibration: int = 500  # training images that set the ranges of int8
    margin: float = 2.0  # points of accuracy that int8 may lose without a warning

    def __post_init__(self) -> None:
        require(self.batch is None or self.batch > 0, "batch > 0", batch=self.batch)
        if self.to not in FORMATS:
            raise unknown("format", self.to, FORMATS)
        only_onnx = "TFLite files have no opset and take one image at a time"
        holds = self.to == "onnx" or (self.opset is None and self.batch == 1)
        require(holds, only_onnx, opset=self.opset, batch=self.batch)
        require(self.calibration > 0, "calibration > 0", calibration=self.calibration)


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
    document = {
        "model": str(plan.model),
        "data": plan.data or model.data,
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
    delivered = Deployed(kind="torch", name=plan.model.name, content=read(plan.model), run=model.net)
    forms = [delivered, *files]
    logits = _logits(forms, data, arch.resolution, report)
    size = logits[0].abs().max().item()
    image = torch.zeros(plan.batch or 1, arch.in_channels, arch.resolution, arch.resolution)
    rows = []
    for form, outputs in zip(forms, logits, strict=True):
        difference = (outputs - logits[0]).abs().max().item()
        if not form.int8 and not difference <= TOLERANCE * max(1, size):
            raise FileError(
                f"{form.name} would differ from the model by {difference:.2g} in logits of up to {size:.2g} "
                f"(tolerance {TOLERANCE:g}); nothing is written, try another --opset or --to"
            )
        timed = fold(model.net) if form is delivered else form.run
        rows.append(
            {
                "kind": form.kind,
                "int8": form.int8,
                "file": form.name,
                "accuracy": 100 * (outputs.argmax(1) == data.test.labels).float().mean().item(),
                "difference": difference,
                "bytes": len(form.content),
                "latency": median_seconds(lambda run=timed: run(image)),  # type: ignore[misc]
                "peak_memory": cost(arch).peak_sram * (1 if form.int8 else 4),
            }
        )
    return rows


def _logits(forms: list[Deployed], data: Data, resolution: int, report: Report) -> list[Tensor]:
    """Of every form for the test split's images: (images, classes)."""
    parts: list[list[Tensor]] = [[] for _ in forms]
    done = 0
    with torch.inference_mode():
        for images, _ in data.evaluation_batches(data.test, resolution):
            for form, outputs in zip(forms, parts, strict=True):
                outputs.append(form.run(images))
            done += len(images)
            report.advance("test split", done, len(data.test), f"torch and {len(forms) - 1} files")
    return [torch.cat(outputs) for outputs in parts]
