"""Export any network with early exits as ONNX files, for programs that have neither torch nor tinynas."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ..deploy.onnx import export_module
from ..deploy.onnx_parts import OnnxParts
from ..early_exit.calibration import fit_temperature
from ..early_exit.example_checks import class_indices
from ..early_exit.graph_split import run_part
from ..early_exit.inputs import Batches, Inputs
from ..early_exit.network import EarlyExits
from ..early_exit.thresholds import for_each_exit
from ..experiment.exit_files import ExitFiles, PartFile, PartTensor
from ..utils.errors import InputError
from ..utils.io import write, write_json
from .exit_forms import check_rule
from .export_check import Comparison
from .program_errors import keywords_in_errors


@keywords_in_errors()
def export_exits(
    net: EarlyExits,
    folder: Path | str,
    *,
    inputs: Inputs,
    threshold: float | Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    calibration: Batches | None = None,
    opset: int | None = None,
) -> list[Path]:
    """Export a network with early exits as ONNX files, one for each part.

    A file takes any number of examples. `part1.onnx` takes the network's inputs, by the names of its arguments; each
    part returns `logits` and what the next one takes. Names, sizes, thresholds, temperatures, and the rule by which an
    example exits, are in the files' metadata and in `exits.json`. The files are run on the example inputs before
    they are written, all examples at a time and the first alone.

    Args:
        net: A `SideNet` on any classifier, or a cascade. It is not changed.
        folder: Folder to write to; files of these names are replaced.
        inputs: Example inputs of the network, (N, ...), on which the files are compared with it: a tensor, several, or
            several by name, as it was built with.
        threshold: Score from which an example exits, by the network's rule: one for each early exit, or one for all; by
            default the network's own.
        classes: Names of the classes, in the order of the logits.
        calibration: Batches of held-out examples, as `net.observe` takes them. With them int8 files are written too,
            with `exits.int8.json`: the examples set the ranges of int8 and its temperatures.
        opset: ONNX operator set; by default torch's.

    Returns:
        The paths of the JSON files, which name the others.

    Raises:
        InputError: `net` has no exits; torch cannot write a part as ONNX, or onnxruntime cannot run it; an input is not
            what the network was built with; there are neither one threshold nor as many as early exits, or not as many
            names as classes; or the rule looks at more than one exit.
        FileError: The outputs of the files differ from those of the network, or a file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import torch
        >>> import tinynas
        >>> mainnet = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 3))
        >>> images = torch.randn(5, 1, 8, 8)
        >>> net = tinynas.SideNet(mainnet, "0", hidden=8, inputs=images)
        >>> with TemporaryDirectory() as folder:
        ...     paths = tinynas.export_exits(net, folder, inputs=images, threshold=0.9)
        ...     sorted(path.name for path in paths[0].parent.iterdir())
        ['exits.json', 'part1.onnx', 'part2.onnx']
    """
    if not isinstance(net, EarlyExits):
        raise InputError(
            f"net must be a SideNet or a cascade, but its type is {type(net).__name__}; build a SideNet on it"
        )
    on_cpu = net if net.device.type == "cpu" else deepcopy(net).cpu()
    check_rule(net.rule)
    own = net.thresholds if threshold is None else threshold
    thresholds: list[float | None] = list(for_each_exit(own, len(net.exits) - 1))
    thresholds.append(None)  # of the last exit
    examples = _examples(on_cpu, inputs)
    count = _num_classes(on_cpu, examples, classes)
    batches = None if calibration is None else _read(on_cpu, calibration, count)
    protos, tensors = _export_parts(on_cpu, examples, opset)
    forms = [_Form(OnnxParts(protos, int8=False), net.temperatures.tolist())]
    if batches is not None:
        forms.append(_quantize(forms[0].parts, batches))
    contents = []
    for form in forms:
        contents.append(
            ExitFiles(
                int8=form.parts.int8,
                classes=tuple(classes) if classes is not None else None,
                examples=len(examples[0]),
                difference=_difference(on_cpu, form.parts, examples),
                parts=_part_files(net, form, tensors, thresholds),
            )
        )
    return [_write(Path(folder), form.parts, content) for form, content in zip(forms, contents, strict=True)]


class _Tensors(NamedTuple):
    """The inputs and outputs of a part."""

    inputs: Sequence[PartTensor]
    outputs: Sequence[PartTensor]


class _Batch(NamedTuple):
    """Inputs of the network, in their order, and labels (N,)."""

    inputs: Sequence[np.ndarray]
    labels: Tensor


class _Form(NamedTuple):
    """The parts as fp32 or int8 files, and the temperature of each exit."""

    parts: OnnxParts
    temperatures: Sequence[float]


def _on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.cpu() for tensor in tensors]


def _examples(net: EarlyExits, inputs: Inputs) -> list[Tensor]:
    """Return the example inputs in their order, on the CPU. Raises InputError."""
    if isinstance(inputs, Mapping):
        return _on_cpu(net.call.tensors([inputs], {}))
    return _on_cpu(net.call.tensors([inputs] if isinstance(inputs, Tensor) else inputs, {}))


def _num_classes(net: EarlyExits, examples: Sequence[Tensor], names: Sequence[str] | None) -> int:
    """Return the number of classes. Raises InputError unless the network is fp32 or fp64 and the names are as many."""
    logits = _torch_logits(net, [tensor[:1] for tensor in examples])
    if logits.dtype not in (torch.float32, torch.float64):
        raise InputError(f"a network in {logits.dtype} is not exported; convert it and its inputs with .float()")
    count = logits.shape[2]
    if names is not None and len(names) != count:
        raise InputError(f"classes must be the names of the network's {count} classes, but are {len(names)} names")
    return count


def _read(net: EarlyExits, calibration: Batches, classes: int) -> list[_Batch]:
    """Return the batches on the CPU. Raises InputError if there is none, or one does not fit the network."""
    batches: list[_Batch] = []
    count = 0
    for batch in calibration:
        inputs, labels = net.call.batch(batch)
        indices = class_indices(labels, examples=len(inputs[0]), classes=classes, start=count)
        batches.append(_Batch([tensor.cpu().numpy() for tensor in inputs], indices))
        count += len(inputs[0])
    if not batches:
        raise InputError("int8 needs examples, but calibration has no batch; pass at least one")
    return batches


def _export_parts(
    net: EarlyExits, examples: Sequence[Tensor], opset: int | None
) -> tuple[list[onnx.ModelProto], list[_Tensors]]:
    """Export the parts for any number of examples; what they carry over is named carried1_1, carried1_2, ..."""
    first = [torch.cat([tensor[:1], tensor[:1]]) for tensor in examples]  # of a single one torch would make a constant
    taken, protos, tensors = _Carried(net.input_names, first, [0] * len(first)), [], []
    for number, part in enumerate(net.exits, 1):
        with torch.no_grad():
            logits, carried = run_part(part, taken.tensors)
        names = [f"carried{number}_{position}" for position in range(1, len(carried) + 1)]
        passed = _Carried(names, carried, getattr(part, "batch_dims", ()))
        outputs = [_spec("logits", logits, 0)]
        outputs += passed.specs()
        protos.append(_export_part(part, taken, [output.name for output in outputs], opset))
        tensors.append(_Tensors(taken.specs(), outputs))
        taken = passed
    return protos, tensors


class _Carried(NamedTuple):
    """The tensors that a part takes."""

    names: Sequence[str]
    tensors: Sequence[Tensor]
    batch_dims: Sequence[int]

    def specs(self) -> list[PartTensor]:
        return list(map(_spec, self.names, self.tensors, self.batch_dims))


def _spec(name: str, tensor: Tensor, batch_dim: int) -> PartTensor:
    """Describe a tensor."""
    shape: list[int | None] = list(tensor.shape)
    shape[batch_dim] = None
    return PartTensor(name=name, type=str(tensor.dtype).removeprefix("torch."), shape=tuple(shape), batch_dim=batch_dim)


def _export_part(part: nn.Module, taken: _Carried, outputs: Sequence[str], opset: int | None) -> onnx.ModelProto:
    """Export a part for any number of examples. Raises InputError if torch cannot."""
    batch = torch.export.Dim("batch")
    shapes = tuple({dim: batch} for dim in taken.batch_dims)
    inputs = dict(zip(taken.names, taken.tensors, strict=True))
    try:
        return export_module(part, inputs, outputs, opset=opset, dynamic_shapes=(shapes,))
    except InputError:
        raise
    except Exception as error:  # any exception of torch's exporter
        cause = error.__cause__ or error
        reason = next(iter(str(cause).splitlines()), type(cause).__name__)
        raise InputError(f"torch cannot write the part that ends at {outputs} as ONNX: {reason}") from None


def _difference(net: EarlyExits, parts: OnnxParts, examples: Sequence[Tensor]) -> float:
    """Return the largest difference of the files' logits from the network's, for all examples and the first alone.

    Raises:
        FileError: The files are fp32 and differ too much.
    """
    comparison = Comparison(parts)
    for count in (len(examples[0]), 1):
        batch = [tensor[:count] for tensor in examples]
        comparison.add(_all_logits(parts, [tensor.numpy() for tensor in batch]), _torch_logits(net, batch).float())
    return comparison.checked_difference("try another `opset`")


def _torch_logits(net: EarlyExits, inputs: Sequence[Tensor]) -> Tensor:
    """Return the logits of every exit in PyTorch, (exits, N, classes)."""
    return net.all_logits(*inputs) if net.call.names is None else net.all_logits(net.call.keywords(inputs))


def _all_logits(parts: OnnxParts, inputs: Sequence[np.ndarray]) -> Tensor:
    """Return the logits of every file, (exits, N, classes)."""
    return torch.from_numpy(np.stack([run.logits for run in parts.run_all(inputs)])).float()


def _quantize(fp32: OnnxParts, batches: Sequence[_Batch]) -> _Form:
    """Return the int8 files, their ranges set by batches, and the temperatures that fit their logits best."""
    int8 = fp32.quantize_by(batch.inputs for batch in batches)
    logits = torch.cat([_all_logits(int8, batch.inputs) for batch in batches], 1)
    labels = torch.cat([batch.labels for batch in batches])
    return _Form(int8, [fit_temperature(exit_logits, labels) for exit_logits in logits])


def _part_files(
    net: EarlyExits, form: _Form, tensors: Sequence[_Tensors], thresholds: Sequence[float | None]
) -> tuple[PartFile, ...]:
    """Describe the files of a form."""
    files = []
    for number, file in enumerate(form.parts.file_names):
        files.append(
            PartFile(
                file=file,
                exit=net.exit_names[number],
                rule=net.rule.name,
                threshold=thresholds[number],
                temperature=form.temperatures[number],
                inputs=tuple(tensors[number].inputs),
                outputs=tuple(tensors[number].outputs),
            )
        )
    return tuple(files)


def _write(folder: Path, parts: OnnxParts, content: ExitFiles) -> Path:
    """Write the files of a form, then the JSON file that names them, whose path is returned."""
    for file, data in zip(parts.file_names, parts.contents(content.metadata()), strict=True):
        write(folder / file, data)
    path = folder / ("exits.int8.json" if content.int8 else "exits.json")
    write_json(path, content.to_dict())
    return path
