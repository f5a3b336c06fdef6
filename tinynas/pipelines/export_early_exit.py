"""The export of early exits: an ONNX file for each part, all of them run on the test split before they are kept."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from ..arch.cost import cost
from ..data.base import Data
from ..deploy.latency import median_seconds
from ..deploy.onnx import about, exported, preprocessing, quantised, session_of, to_onnx
from ..early_exit.calibration import Outputs, fit_temperature
from ..early_exit.model_file import ExitModel, deployed_parts, exits_cost, read_exits
from ..early_exit.thresholds import Swept, swept
from ..experiment.plans import ExportPlan
from ..experiment.reporter import Report
from ..utils.errors import FileError, require
from ..utils.io import check_writable, write, write_json
from .early_exit import batches, told
from .export import TOLERANCE
from .model_data import data_of


class Parts:
    """ONNX files, each run on what the one before hands on, or on the image if that is nothing: one image at a time."""

    def __init__(self, protos: list[onnx.ModelProto], *, int8: bool) -> None:
        self.protos, self.int8 = protos, int8
        self.sessions = [session_of(proto.SerializeToString()) for proto in protos]

    def run(self, image: np.ndarray) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        """Of each part: its inputs by name, and its logits (1, classes)."""
        handed = [image]
        for session in self.sessions:
            inputs = dict(zip([one.name for one in session.get_inputs()], handed, strict=True))
            logits, *handed = session.run(None, inputs)
            yield inputs, logits
            handed = handed or [image]

    def observe(self, of: Iterable[tuple[Tensor, Tensor]]) -> Outputs:
        """Every part's logits for all images."""
        logits: list[list[np.ndarray]] = [[] for _ in self.sessions]
        seen = []
        for images, labels in of:
            for image in images.numpy():
                for found, (_, made) in zip(logits, self.run(image[None]), strict=True):
                    found.append(made)
            seen.append(labels)
        return Outputs(torch.from_numpy(np.stack([np.concatenate(found) for found in logits])), torch.cat(seen))

    def latencies(self, image: np.ndarray) -> list[float]:
        """Seconds until each exit."""
        pairs = zip(self.sessions, [inputs for inputs, _ in self.run(image)], strict=True)
        return list(accumulate(median_seconds(partial(session.run, None, inputs)) for session, inputs in pairs))


def export_exits(plan: ExportPlan, *, report: Report) -> dict[str, Any]:
    """Write ONNX files of every part, fp32 and int8, with what they measured, returned and written as export.json.

    The temperatures of the int8 files are their own, fitted on search-val. Raises FileError, and writes nothing, if an
    fp32 file differs from torch; InputError for what only whole networks can be exported as.
    """
    only = "early exits are exported as ONNX, for one image at a time"
    require(plan.to == "onnx" and plan.batch == 1, only, to=plan.to, batch=plan.batch)
    model = read_exits(plan.model)
    data = data_of(model.mainnet, plan.model, plan.data)
    check_writable(plan.out)
    calibration = torch.cat(data.calibration_batches(model.resolution, plan.calibration))
    forms = [Parts(_to_onnx(model, plan.opset), int8=False)]
    if plan.int8:
        forms.append(Parts(_to_int8(forms[0], calibration), int8=True))
    rows = _measured(model, forms, data, report)
    document = {
        "model": str(plan.model),
        "data": plan.data or model.mainnet.data,
        "test_images": len(data.test),
        "calibration_images": len(calibration),
        "threshold": model.threshold,
        "classes": list(model.mainnet.classes),
        "preprocessing": preprocessing(model.receiver),
        **asdict(exits_cost(model)),
        "forms": rows,
    }
    for form, row in zip(forms, rows[1:], strict=True):
        for name, proto, temperature in zip(row["files"], form.protos, row["temperatures"], strict=True):
            said = {"threshold": json.dumps(model.threshold), "temperature": json.dumps(temperature)}
            onnx.helper.set_model_props(proto, about(model.receiver) | said)
            write(plan.out / name, proto.SerializeToString())
    write_json(plan.out / "export.json", document)
    return document


def _to_onnx(model: ExitModel, opset: int | None) -> list[onnx.ModelProto]:
    handed, names, protos = [model.example()], ["images"], []
    for number, part in enumerate(deployed_parts(model), 1):
        with torch.no_grad():
            made = part(*handed)
        made = [made] if isinstance(made, Tensor) else list(made)
        outputs = ["logits", *(f"carried{number}_{i}" for i in range(1, len(made)))]
        protos.append(exported(part, dict(zip(names, handed, strict=True)), outputs, opset=opset))
        handed, names = (made[1:], outputs[1:]) if made[1:] else ([model.example()], ["images"])
    return protos


def _to_int8(fp32: Parts, calibration: Tensor) -> list[onnx.ModelProto]:
    """Every part, its ranges set by what the fp32 ones before it hand on for the images."""
    inputs = [[inputs for inputs, _ in fp32.run(image[None])] for image in calibration.numpy()]
    return [quantised(proto, iter([of[i] for of in inputs])) for i, proto in enumerate(fp32.protos)]


def _measured(model: ExitModel, forms: list[Parts], data: Data, report: Report) -> list[dict[str, Any]]:
    """Of torch and of each form: what it does at the threshold, and for ONNX how large and fast it is."""
    given, macs = model.exits.temperatures.tolist(), model.exits.macs(model.example())
    torchs = model.exits.observe(batches(data, data.test, model.resolution, "test split, torch", report))
    rows = [{"int8": False, **_row("torch", model, swept(torchs, given, macs), given)}]
    for form, mainnet in zip(forms, _mainnet_alone(model, data, int8=len(forms) > 1), strict=True):
        kind = f"ONNX {'int8' if form.int8 else 'fp32'}"
        outputs = form.observe(batches(data, data.test, model.resolution, f"test split, {kind}", report))
        difference = (outputs.logits - torchs.logits).abs().max().item()
        size = torchs.logits.abs().max().item()
        if not form.int8 and not difference <= TOLERANCE * max(1, size):
            raise FileError(
                f"the files would differ from the model by {difference:.2g} in outputs of up to {size:.2g} "
                f"(tolerance {TOLERANCE:g}); nothing is written, try another --opset"
            )
        temperatures, points = given, {}
        if form.int8:
            val = form.observe(batches(data, data.val, model.resolution, "search-val, ONNX int8", report))
            temperatures = [fit_temperature(logits, val.labels) for logits in val.logits]
            shown = swept(outputs, temperatures, macs).at(swept(val, temperatures, macs).spread())
            points = {"points": [told(point) for point in shown]}
        row = _row(kind, model, swept(outputs, temperatures, macs), temperatures) | points
        seconds = form.latencies(model.example().numpy())
        rows.append(
            row
            | {
                "int8": form.int8,
                "files": [f"part{i}{'.int8' * form.int8}.onnx" for i in range(1, len(form.protos) + 1)],
                "difference": difference,
                "bytes": sum(proto.ByteSize() for proto in form.protos),
                "latency": float(np.dot(row["shares"], seconds)),
                "worst_latency": seconds[-1],
                "mainnet_latency": median_seconds(mainnet),
            }
        )
    return rows


def _mainnet_alone(model: ExitModel, data: Data, *, int8: bool) -> list[Callable[[], Tensor]]:
    """What runs it on one image: in fp32 and, if wanted, in int8."""
    arch = model.mainnet.net.arch
    image = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
    files = to_onnx(model.mainnet, calibration=data.calibration_batches(arch.resolution) if int8 else None)
    return [partial(file.run, image) for file in files]


def _row(kind: str, model: ExitModel, test: Swept, temperatures: list[float]) -> dict[str, Any]:
    """What a form does with the test split at the threshold."""
    (at,) = test.at([model.threshold])
    return {
        "kind": kind,
        **told(at),
        "shares": list(at.shares),
        "saved": 1 - at.macs / cost(model.mainnet.net.arch).macs,
        "mainnet_accuracy": 100 * float(test.correct[-1].mean()),
        "temperatures": temperatures,
    }
