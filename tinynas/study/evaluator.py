"""Networks cut from a supernet, and how good they are; counts that others make of a network."""

from torch import Tensor

from ..arch.arch import Arch
from ..data.base import Data
from ..models.network import fold
from ..models.supernet import Supernet, extract_calibrated
from ..tasks.registry import TASKS


class SubnetEvaluator:
    """How good subnets are on the search-val split, each recalibrated on the same training images and folded."""

    def __init__(self, supernet: Supernet, data: Data) -> None:
        self.supernet = supernet
        self.data = data
        self._calibration: dict[int, list[Tensor]] = {}  # by resolution

    def __call__(self, arch: Arch) -> float:
        """Percent. The same for the same weights and arch."""
        if arch.resolution not in self._calibration:
            self._calibration[arch.resolution] = self.data.calibration_batches(arch.resolution)
        net = extract_calibrated(self.supernet, arch, self._calibration[arch.resolution])
        return TASKS[self.data.task].accuracy(fold(net), arch, self.data, self.data.val)
