"""Networks whose convolutions are run by the fused CPU kernels; what is behind them is left to PyTorch."""

from collections.abc import Sequence

from torch import Tensor, nn

from ..kernels.passes import TensorTable, run_evaluation, run_training
from ..kernels.program import Parts, Program, ProgramBuilder, part_of
from .binding import Slot, slots_of
from .network import Network


class FusedNetwork(nn.Module):
    """A network run by the kernels: its outputs up to rounding, and gradients added to its parameters.

    Its norms are all in training mode or all in eval mode. In eval mode it has no gradients.

    Args:
        net: The network, in fp32 on the CPU.
        table: The tensors of a supernet, if the network is a view of them; by default those of the network.
        parts: Where the network's tensors are in the table.
    """

    def __init__(self, net: Network, table: TensorTable | None = None, parts: Parts | None = None) -> None:
        super().__init__()
        self.net = net
        if table is None or parts is None:
            slots = list(slots_of(net).values())
            table, parts = TensorTable(slots), _whole_tensors(slots)
        self._table = table
        self._parts = parts
        self._programs: dict[tuple[int, int, float | None], Program] = {}

    def forward(self, images: Tensor, *, statistics: bool = True) -> Tensor:
        """Run the network.

        Args:
            images: (N, in_channels, H, W), normalised.
            statistics: Whether a pass in training mode updates the running statistics of batch norms.

        Returns:
            The network's outputs.

        Raises:
            NotCoveredError: The kernels do not cover one of its layers.
        """
        program = self.program(images.shape[2], images.shape[3])
        images = self.net.prepare(images)
        if self.net.stem.norm.training:
            outputs = run_training(program, self._table, images, tracks=statistics)
        else:
            outputs = run_evaluation(program, self._table, images)
        return self.net.finish(outputs)

    def program(self, height: int, width: int) -> Program:
        """Return the network's program for images of a size.

        Raises:
            NotCoveredError: The kernels do not cover one of its layers.
        """
        key = height, width, self.net.stem.norm.momentum
        if key not in self._programs:
            builder = ProgramBuilder(self._parts, self.net.arch.in_channels, height, width)
            self._programs[key] = builder.build(self.net.emit(builder, builder.images))
        return self._programs[key]


def _whole_tensors(slots: Sequence[Slot]) -> Parts:
    """Return where the tensors in these slots are, if number n is that of the n-th one."""
    parts = {}
    for number, slot in enumerate(slots):
        parts[id(slot.tensors), slot.key] = part_of(number, 0, slot.tensors[slot.key].stride())
    return parts
