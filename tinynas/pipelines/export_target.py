"""What an exported network takes on its target, beside what was counted of it and the limits of its search."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..arch.arch import Arch
from ..arch.arena import arena
from ..arch.cost import Cost, cost
from ..arch.cost_names import cost_word
from ..arch.file_size import tflite_bytes
from ..arch.lowering import lower
from ..arch.operators import LoweredNetwork
from ..deploy.exported_file import ExportedFile
from ..deploy.runtimes import NOT_CHECKED
from ..deploy.tflm_check import TflmExits, TflmFile, TflmNetwork, has_tflm
from ..deploy.vela import ACCELERATORS, CompiledFile, compile_file
from ..experiment.plans import ExportPlan
from ..experiment.target_report import Figure, TargetReport, TflmRun
from ..utils.errors import BudgetError


@dataclass
class OnTarget:
    """Collects what is known of an exported network on its target.

    Attributes:
        plan: The export.
        figures: Memory, file sizes and times.
        notes: What there is to know besides.
        compiled: Files for the target's accelerator, by name.
    """

    plan: ExportPlan
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compiled: dict[str, CompiledFile] = field(default_factory=dict)

    @property
    def contents(self) -> dict[str, bytes]:
        """Bytes of the compiled files, by name."""
        return {name: compiled.content for name, compiled in self.compiled.items()}

    def report(self, tflm: TflmRun | None) -> TargetReport:
        """Return the report.

        Raises:
            BudgetError: A figure exceeds its limit.
        """
        for figure in self.figures:
            if figure.is_over:
                raise BudgetError(
                    f"the exported network has {cost_word(figure.name)} {figure.largest:,}, over the search's limit of "
                    f"{figure.limit:,}; nothing is written, search for {self.plan.target} with a lower limit"
                )
        return TargetReport(
            target=self.plan.runtime.name,
            searched_for=self.plan.searched_for,
            figures=tuple(self.figures),
            tflm=tflm,
            files=tuple(self.compiled),
            notes=tuple(self.notes),
        )

    def add_counts(self, counted: Cost) -> None:
        """Add the counted costs that the target's `--sram` and `--flash` limit, and all that the search limited."""
        costs, limits = counted.to_dict(), self.plan.limits.limits()
        target = self.plan.runtime
        for name in dict.fromkeys([*limits, target.sram, target.flash]):
            if name in costs:
                self.figures.append(Figure(name=name, counted=costs[name], limit=limits.get(name)))

    def set_measured(self, name: str, value: float, *, of: str = "") -> None:
        """Put a measured value beside the counted one of this name, or add it."""
        limit = None if of else self.plan.limits.limits().get(name)
        for number, figure in enumerate(self.figures):
            if (figure.name, figure.of) == (name, of):
                self.figures[number] = replace(figure, measured=value)
                return
        self.figures.append(Figure(name=name, of=of, measured=value, limit=limit))

    def add_arenas(self, files: Sequence[TflmFile]) -> None:
        """Add the arenas of files in the TFLM that runs here."""
        for file in files:
            of = file.name if len(files) > 1 else ""
            figure = Figure(name="arena_64bit", of=of, counted=file.counted_bytes, measured=file.arena_bytes)
            self.figures.append(figure)

    def add_parts(self, names: Sequence[str], files: Sequence[bytes], parts: Sequence[LoweredNetwork]) -> None:
        """Add the counted arena and the size of the int8 file of every part of a network with early exits."""
        target = self.plan.runtime
        for name, content, part in zip(names, files, parts, strict=True):
            if target.kernels:
                counted = arena(part, kernels=target.kernels).total
                self.figures.append(Figure(name=target.sram, of=name, counted=counted))
            size = Figure(name="file_tflite", of=name, counted=tflite_bytes(part), measured=len(content))
            self.figures.append(size)
            self.compile(name, content, is_part=True)
        if not has_tflm():
            self.notes.append(NOT_CHECKED)

    def compile(self, name: str, content: bytes, *, is_part: bool = False) -> None:
        """Compile an int8 file for the target's accelerator, if it has one, and add what the compiler estimates.

        Args:
            name: Name of the file.
            content: Its bytes.
            is_part: Whether there are other files of the network.
        """
        accelerator = self.plan.runtime.accelerator
        if not accelerator:
            return
        sram = None if is_part else self.plan.limits.peak_sram_vela
        compiled = compile_file(content, accelerator, sram=sram)
        estimate, of = compiled.estimate, name if is_part else ""
        self.compiled[name.replace(".int8.tflite", "_vela.tflite")] = compiled
        self.set_measured("cycles", estimate.cycles, of=of)
        self.set_measured("latency", estimate.seconds, of=of)
        self.set_measured("peak_sram_vela", estimate.sram, of=of)
        self.set_measured("file_vela", estimate.file, of=of)
        source = f"Vela's figures are estimates: {ACCELERATORS[accelerator].describe()}"
        if source not in self.notes:
            self.notes.append(source)
        if estimate.cpu_operators:
            self.notes.append(f"Vela leaves operators of {name} to the CPU: {', '.join(estimate.cpu_operators)}")


def network_on_target(plan: ExportPlan, arch: Arch, files: Sequence[ExportedFile]) -> OnTarget:
    """Return what is counted of a network in int8, and what its TFLite file, if there is one, takes when compiled.

    Raises:
        InputError: An operator of the network does not exist on the target.
    """
    plan.runtime.check_operators(arch)
    on_target = OnTarget(plan)
    if plan.int8:
        on_target.add_counts(cost(arch))
    else:
        on_target.notes.append("without an int8 file, nothing is compared with the target or with the search's limits")
    file = int8_tflite(plan, files)
    if file is not None:
        on_target.set_measured("file_tflite", len(file.content))
        on_target.compile(file.name, file.content)
        if not has_tflm():
            on_target.notes.append(NOT_CHECKED)
    if plan.searched_for not in (None, plan.target):
        on_target.notes.append(
            f"searched for {plan.searched_for}, exported for {plan.target}: the limits are those of {plan.searched_for}"
        )
    return on_target


def int8_tflite(plan: ExportPlan, files: Sequence[ExportedFile]) -> ExportedFile | None:
    """Return the int8 TFLite file among a plan's files, or None."""
    for file in files:
        if file.int8 and plan.to != "onnx":
            return file
    return None


def in_tflm(plan: ExportPlan, arch: Arch, files: Sequence[ExportedFile]) -> TflmNetwork | None:
    """Return the int8 file in TFLM; None if there is no such file, or TFLM is not installed."""
    file = int8_tflite(plan, files)
    if file is None or not has_tflm():
        return None
    tflm_file = TflmFile(file.name, file.content, lower(arch), planned_for=planned_kernels(plan))
    return TflmNetwork(tflm_file)


def planned_kernels(plan: ExportPlan) -> str:
    """Return the kernels that the memory of a plan's int8 file is planned for."""
    return plan.runtime.kernels or "reference"


def tflm_run(form: TflmNetwork | TflmExits, accuracy: float, disagreement: float | None) -> TflmRun:
    """Return what the files did in TFLM on all images.

    Raises:
        FileError: An operator differs from the reference kernels' by more than a step.
    """
    operator_step = max([file.check() for file in form.files])
    return TflmRun(
        images=form.files[0].images,
        accuracy=accuracy,
        disagreement=disagreement,
        differing=max(file.differing for file in form.files),
        largest_step=max(file.largest_step for file in form.files),
        operator_step=operator_step,
    )
