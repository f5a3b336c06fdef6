"""Where the costs come from that are measured or estimated on a target, not counted."""

from ..arch.cost import MeasuredCosts
from ..arch.targets import Target
from ..utils.errors import InputError
from .ethos_u import EthosU
from .latency import MachineLatency
from .vela import ACCELERATORS, check_vela, vela_version


def measured_costs(target: Target, *, sram: int | None = None) -> MeasuredCosts:
    """Return the source of a target's measured costs.

    Args:
        target: The target.
        sram: Limit of `peak_sram_vela` in bytes, which Vela tries to stay within; None for none.

    Raises:
        InputError: The target has none, or an extra is not installed.
    """
    if target.latency == "onnxruntime":
        return MachineLatency()
    if target.accelerator:
        return EthosU(target.accelerator, sram=sram)
    raise InputError(f"target {target.name} has no source of measured costs; choose another --target")


def how_measured(target: Target) -> str:
    """Return where a target's measured costs come from, as text. Raises InputError if Vela is needed but missing."""
    if not target.accelerator:
        return "latency: one image, one thread, onnxruntime on this machine"
    check_vela()
    configuration = ACCELERATORS[target.accelerator].describe()
    return f"estimated by Vela {vela_version()} with random weights: {configuration}"
