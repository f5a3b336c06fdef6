"""Where the costs come from that are measured or estimated on a target, not counted."""

from ..arch.cost import MeasuredCosts
from ..arch.targets import Target
from ..utils.errors import InputError
from .latency import MachineLatency


def measured_costs(target: Target) -> MeasuredCosts:
    """Return the source of a target's measured costs.

    Raises:
        InputError: The target has none.
    """
    if target.latency == "onnxruntime":
        return MachineLatency()
    raise InputError(f"nothing here measures a network on {target.name}; choose another --target")
