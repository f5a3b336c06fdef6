"""The folder for firmware that an export writes beside its int8 TFLite files."""

from collections.abc import Sequence

from ..arch.exit_lowering import split_after_outputs
from ..arch.lowering import lower
from ..arch.operators import LoweredNetwork
from ..data.base import Data
from ..deploy.exported_file import ExportedFile
from ..deploy.firmware import to_firmware
from ..deploy.firmware_golden import golden_frames
from ..deploy.firmware_parts import FirmwareExits, FirmwareModel, FirmwarePart
from ..deploy.tflite_parts import TfliteParts
from ..early_exit.model import EarlyExitModel
from ..experiment.run_folder import FIRMWARE
from ..models.model_file import Model
from .export_target import OnTarget, planned_kernels


def network_firmware(model: Model, files: Sequence[ExportedFile], on_target: OnTarget, data: Data) -> dict[str, bytes]:
    """Return the folder's files by their paths, for a network's int8 file."""
    (file,) = [file for file in files if file.int8]
    firmware = FirmwareModel(model=model, parts=(_part("model", lower(model.net.arch), file.content, on_target),))
    return _folder(firmware, data)


def exits_firmware(
    model: EarlyExitModel, files: TfliteParts, temperatures: Sequence[float], on_target: OnTarget, data: Data
) -> dict[str, bytes]:
    """Return the folder's files by their paths, for the int8 files of a network with early exits."""
    parts = []
    for number, network in enumerate(split_after_outputs(files.network), 1):
        parts.append(_part(f"part{number}", network, files.files[number - 1], on_target))
    exits = FirmwareExits(thresholds=model.thresholds, temperatures=temperatures)
    return _folder(FirmwareModel(model=model.mainnet, parts=parts, exits=exits), data)


def _part(name: str, network: LoweredNetwork, content: bytes, on_target: OnTarget) -> FirmwarePart:
    return FirmwarePart(
        name=name,
        network=network,
        content=content,
        planned_for=planned_kernels(on_target.plan),
        compiled=on_target.compiled.get(f"{name}_vela.tflite"),
    )


def _folder(firmware: FirmwareModel, data: Data) -> dict[str, bytes]:
    contents = to_firmware(firmware, golden_frames(firmware.model, data))
    return {f"{FIRMWARE}/{name}": content for name, content in contents.items()}
