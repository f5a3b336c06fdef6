"""Arm's compiler Vela: an int8 TFLite file compiled for an Ethos-U, and what Vela estimates of it.

Needs the extra `ethos`. Vela runs in a process of its own, as it crashes on a damaged file, or never ends.

The figures are estimates of Vela's performance model, not measurements: of the NPU and its memories alone, at the
clock and with the bandwidths of a system configuration. Operators that are left on the CPU take no time in them.
"""

import csv
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..utils.errors import FileError, InputError, unknown
from .runtimes import LiteRT

_CONFIG = "Arm/vela.ini"  # a file of Vela's package; it has the system configurations and memory modes
_LONGEST = 120.0  # seconds that a compilation may take; the largest shipped network takes less than 1
NPU_OPERATOR = "ethos-u"  # custom code in a compiled file
_MEMORY_PLAN = b"OfflineMemoryAllocation"  # name of metadata


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """An Ethos-U and the system around it, as Vela's configuration file describes them.

    Attributes:
        system: System configuration: the clock, and the bandwidths and latencies of the memories.
        memory_mode: Memory of the weights and of the activations.
        clock: Clock of the NPU, in Hz.
    """

    system: str
    memory_mode: str
    clock: float

    def describe(self) -> str:
        """Return the configuration as text."""
        return f"{self.system}, {self.memory_mode}, {self.clock / 1e6:.0f} MHz"


# Weights are read from flash and activations lie in SRAM, as on a microcontroller. For an Ethos-U65 Vela's own default
# is a system with DRAM at 1 GHz. The clock is the highest of usual chips: where the NPU does not wait for flash, the
# time at another clock is inversely proportional to it.
ACCELERATORS = {
    "ethos-u55-128": Accelerator(system="Ethos_U55_High_End_Embedded", memory_mode="Shared_Sram", clock=500e6),
    "ethos-u55-256": Accelerator(system="Ethos_U55_High_End_Embedded", memory_mode="Shared_Sram", clock=500e6),
    "ethos-u65-256": Accelerator(system="Ethos_U65_Embedded", memory_mode="Shared_Sram", clock=500e6),
}


@dataclass(frozen=True, kw_only=True)
class VelaEstimate:
    """What Vela estimates of a compiled file.

    Attributes:
        cycles: Cycles of the NPU for one inference.
        seconds: The same as time, at the accelerator's clock.
        sram: Memory of the activations, input and output included, in bytes; without the runtime's own structures.
        file: Size of the compiled file, in bytes.
        cpu_operators: Operators that run on the CPU, such as "RESIZE_NEAREST_NEIGHBOR head.double".
    """

    cycles: int
    seconds: float
    sram: int
    file: int
    cpu_operators: tuple[str, ...]

    @classmethod
    def from_dict(cls, plain: Any) -> "VelaEstimate":
        """Return the estimate that `asdict` turned into plain data. Raises FileError if it is something else."""
        try:
            return cls(**(plain | {"cpu_operators": tuple(plain["cpu_operators"])}))
        except (TypeError, KeyError):
            raise FileError("corrupt, or not an estimate of Vela; delete it") from None


@dataclass(frozen=True, kw_only=True)
class CompiledFile:
    """A file for a runtime with the driver of the Ethos-U.

    Attributes:
        content: The TFLite file, whose operators are one of the NPU, and those that are left on the CPU.
        estimate: What Vela estimates of it.
    """

    content: bytes
    estimate: VelaEstimate


def compile_file(content: bytes, accelerator: str, *, sram: int | None = None) -> CompiledFile:
    """Compile an int8 TFLite file.

    Args:
        content: The file's bytes.
        accelerator: One of ACCELERATORS.
        sram: Bytes of SRAM that Vela tries to stay within, at the expense of time; None for the fastest schedule.

    Raises:
        InputError: The accelerator is unknown, or the extra `ethos` is not installed.
        FileError: The content is no TFLite file, has no operator of the NPU, or Vela fails.
    """
    if accelerator not in ACCELERATORS:
        raise unknown("accelerator", accelerator, ACCELERATORS)
    check_vela()
    LiteRT(content, reference=True)  # verifies the file, which Vela does not
    with TemporaryDirectory() as folder:
        source = Path(folder) / "model.tflite"
        # Vela would keep the memory plan, which is for other tensors than its own; TFLM reads it by its name.
        source.write_bytes(content.replace(_MEMORY_PLAN, _MEMORY_PLAN.lower()))
        _run_vela(source, accelerator, sram)
        compiled = source.with_name("model_vela.tflite").read_bytes()
        (summary,) = source.parent.glob("model_summary_*.csv")
        with open(summary, encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
    if not float(row["cycles_total"]):
        raise FileError(f"no operator of the file can run on {accelerator}; export the network in int8")
    estimate = VelaEstimate(
        cycles=round(float(row["cycles_total"])),
        seconds=float(row["inference_time"]),
        sram=round(1024 * float(row["sram_memory_used"])),
        file=len(compiled),
        cpu_operators=_cpu_operators(compiled),
    )
    return CompiledFile(content=compiled, estimate=estimate)


def check_vela() -> None:
    """Raise InputError if the extra `ethos` is not installed."""
    if not (find_spec("ethosu") and find_spec("ai_edge_litert") and find_spec("flatbuffers")):
        raise InputError("an Ethos-U needs Arm's compiler Vela; pip install 'tinynas[ethos]'")


def vela_version() -> str:
    """Return the version of Vela, which must be installed."""
    return version("ethos-u-vela")


def _run_vela(source: Path, accelerator: str, sram: int | None) -> None:
    """Compile a file into its folder. Raises FileError."""
    configuration = ACCELERATORS[accelerator]
    options = {
        "--accelerator-config": accelerator,
        "--config": _CONFIG,
        "--system-config": configuration.system,
        "--memory-mode": configuration.memory_mode,
        "--output-dir": str(source.parent),
    }
    if sram is not None:
        options["--arena-cache-size"] = str(sram)
    command = [sys.executable, "-m", "ethosu.vela", str(source)]
    for option, value in options.items():
        command += [option, value]
    problem = f"Vela {vela_version()} cannot compile the file for {accelerator}"
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LONGEST, check=False)
    except subprocess.TimeoutExpired:
        raise FileError(f"{problem}: it did not end in {_LONGEST:g} s; export the file again") from None
    if done.returncode < 0:
        raise FileError(f"{problem}: it crashed with signal {-done.returncode}; export the file again")
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise FileError(f"{problem}: {reason}; export the file again")


def _cpu_operators(content: bytes) -> tuple[str, ...]:
    """Return the kind and the name of the first output of every operator that is not the NPU's."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    operators = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        if code.CustomCode() != NPU_OPERATOR.encode():
            output = graph.Tensors(operator.Outputs(0)).Name().decode(errors="replace")
            operators.append(f"{names[code.BuiltinCode()]} {output}")
    return tuple(operators)
