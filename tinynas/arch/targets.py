"""Targets: the runtimes and chips that networks are searched and exported for."""

from dataclasses import dataclass

from ..utils.errors import InputError, unknown
from .arch import Arch
from .lowering import lower
from .operators import KINDS, TFLITE_KINDS

DEFAULT_TARGET = "tflm"
COUNTS_ONLY = "generic"  # the target without a runtime
_CONVOLUTIONAL = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MEAN", "RESIZE_NEAREST_NEIGHBOR")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What runs a network, and what limits of memory and time mean there.

    Attributes:
        name: Name of the target.
        description: What it is, in a few words.
        sram: Field of `Cost` that `--sram` limits.
        flash: Field of `Cost` that `--flash` limits.
        latency: What `--latency` limits unless a latency table is named: "onnxruntime", the time on this machine;
            "vela", the estimate of Arm's compiler; "" for none.
        formats: Formats of exported files, the default first.
        operators: Kinds of operators that exist there, as `Operator` names them.
        kernels: Kernels of TensorFlow Lite Micro, one of `tinynas.arch.arena.KERNELS`; "" if that does not run there.
        accelerator: Name of the Ethos-U for Vela; "" for none.
    """

    name: str
    description: str
    sram: str
    flash: str
    latency: str = ""
    formats: tuple[str, ...]
    operators: tuple[str, ...] = TFLITE_KINDS
    kernels: str = ""
    accelerator: str = ""

    def check_operators(self, arch: Arch) -> None:
        """Check that the operators of a network exist on the target.

        Args:
            arch: The network, or the largest of a search space.

        Raises:
            InputError: One of its operators does not exist.
        """
        missing = sorted(lower(arch).kinds - set(self.operators))
        if missing:
            raise InputError(
                f"{self.name} has no {', '.join(missing)}, which networks of this kind need; choose another --target "
                f"such as {COUNTS_ONLY}, or networks of other blocks"
            )


def _ethos(accelerator: str, title: str) -> Target:
    return Target(
        name=accelerator,
        description=f"{title}, compiled by Vela",
        sram="peak_sram_vela",
        flash="file_vela",
        latency="vela",
        formats=("tflite", "firmware"),
        accelerator=accelerator,
    )


_ALL_TARGETS = (
    Target(
        name="tflm",
        description="TensorFlow Lite Micro, reference kernels",
        sram="peak_sram_tflm",
        flash="file_tflite",
        formats=("tflite", "firmware"),
        kernels="reference",
    ),
    Target(
        name="tflm-cmsis-nn",
        description="TensorFlow Lite Micro, CMSIS-NN for cores with DSP instructions",
        sram="peak_sram_tflm_cmsis_nn",
        flash="file_tflite",
        formats=("tflite", "firmware"),
        kernels="cmsis-nn-dsp",
    ),
    _ethos("ethos-u55-128", "Arm Ethos-U55 with 128 MACs a cycle"),
    _ethos("ethos-u55-256", "Arm Ethos-U55 with 256 MACs a cycle"),
    _ethos("ethos-u65-256", "Arm Ethos-U65 with 256 MACs a cycle"),
    Target(
        name="tinyengine",
        description="TinyEngine, depthwise convolutions in place",
        sram="peak_sram_inplace_dw",
        flash="flash",
        formats=("tflite",),
        operators=_CONVOLUTIONAL,
    ),
    Target(
        name="onnxruntime",
        description="onnxruntime on this machine",
        operators=KINDS,
        sram="peak_sram",
        flash="flash",
        latency="onnxruntime",
        formats=("onnx",),
    ),
    Target(
        name=COUNTS_ONLY,
        description="no runtime, counts only",
        operators=KINDS,
        sram="peak_sram",
        flash="flash",
        formats=("onnx", "tflite"),
    ),
)
TARGETS = {target.name: target for target in _ALL_TARGETS}


def find_target(name: str) -> Target:
    """Return a target by name.

    Raises:
        InputError: There is no target of this name.
    """
    if name not in TARGETS:
        raise unknown("target", name, TARGETS)
    return TARGETS[name]
