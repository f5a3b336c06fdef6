"""The accuracy of a supernet's subnets on search-val."""

from torch import Tensor

from ..arch.arch import Arch
from ..data.base import Data
from ..models.network import fold
from ..models.supernet import Supernet, extract_calibrated
from ..tasks.registry import TASKS


class SubnetEvaluator:
    """Evaluates subnets on search-val, each with batch norm recalibrated on the same training images and folded."""

    def __init__(self, supernet: Supernet, data: Data) -> None:
        self.supernet = supernet
        self.data = data
        self._calibration: dict[int, list[Tensor]] = {}  # batches of images by resolution

    def __call__(self, arch: Arch) -> float:
        """Return the accuracy (or AP50) of a subnet in percent; the same for the same weights and arch."""
        if arch.resolution not in self._calibration:
            self._calibration[arch.resolution] = self.data.calibration_batches(arch.resolution)
        net = extract_calibrated(self.supernet, arch, self._calibration[arch.resolution])
        return TASKS[self.data.task].accuracy(fold(net), arch, self.data, self.data.val)
