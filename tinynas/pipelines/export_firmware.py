"""The folder for firmware that an export writes beside its int8 TFLite files."""

from collections.abc import Sequence

from ..arch.exit_lowering import split_after_outputs
from ..arch.lowering import lower
from ..data.base import Data
from ..deploy.exported_file import ExportedFile
from ..deploy.firmware import to_firmware
from ..deploy.firmware_golden import golden_frames
from ..deploy.firmware_parts import FirmwareExits, FirmwareModel, FirmwarePart
from ..deploy.tflite_parts import TfliteParts
from ..early_exit.model import EarlyExitModel
from ..experiment.run_folder import FIRMWARE
from ..models.model_file import Model


def network_firmware(model: Model, files: Sequence[ExportedFile], data: Data) -> dict[str, bytes]:
    """Return the folder's files by their paths, for a network's int8 file."""
    (file,) = [file for file in files if file.int8]
    part = FirmwarePart(name="model", network=lower(model.net.arch), content=file.content)
    return _folder(FirmwareModel(model=model, parts=(part,)), data)


def exits_firmware(
    model: EarlyExitModel, files: TfliteParts, temperatures: Sequence[float], data: Data
) -> dict[str, bytes]:
    """Return the folder's files by their paths, for the int8 files of a network with early exits."""
    parts = []
    for number, network in enumerate(split_after_outputs(files.network), 1):
        parts.append(FirmwarePart(name=f"part{number}", network=network, content=files.files[number - 1]))
    exits = FirmwareExits(threshold=model.threshold, temperatures=temperatures)
    return _folder(FirmwareModel(model=model.mainnet, parts=parts, exits=exits), data)


def _folder(firmware: FirmwareModel, data: Data) -> dict[str, bytes]:
    contents = to_firmware(firmware, golden_frames(firmware.model, data))
    return {f"{FIRMWARE}/{name}": content for name, content in contents.items()}
