"""The tables of target.py, from its cells."""

from collections.abc import Callable, Mapping, Sequence

from tinynas.utils.units import format_bytes, format_count

from .random_files import PUBLISHED, archs_of, groups
from .tables import Table
from .trained_files import FORMS, TRAINED_SEEDS

PAGE = "target"
ENGINES = {"mobilenet-v2-tiny": "308KB", "mcunet-in3": "260KB"}  # peak SRAM in TinyEngine, by the papers
CMSIS = "cmsis-nn-dsp"  # the end of the names of its cells
PROGRAMS = {"32-bit": "reference, 32-bit PC", CMSIS: "CMSIS-NN, emulated Cortex-M4"}


def arena_table(cells: Mapping[str, dict]) -> Table:
    """Return the arena and the size of files, counted beside what TFLM takes and what is written."""
    rows = []
    for group in groups():
        files = cells_of(cells, group)
        if not files:
            continue
        arenas = values_of(files, "arena_bytes")
        row = [shown(group), str(len(files)), extent(values_of(files, "macs"), format_count)]
        row.append(extent(arenas, format_bytes))
        row.extend(errors(values_of(files, "arena_64bit"), arenas))
        row += [count_true(files, "enough"), count_true(files, "less_is_enough")]
        row.append(extent(values_of(files, "file"), format_bytes))
        row.extend(errors(values_of(files, "file_tflite"), values_of(files, "file")))
        rows.append(row)
    columns = ["networks", "number", "MACs", "arena in TFLM", "counted - TFLM, B", "largest %"]
    columns += ["run in the counted bytes", "in 16 B less", "file", "counted - written, B", "largest %"]
    return Table(page=PAGE, name="arena", columns=columns, rows=rows)


def outputs_table(cells: Mapping[str, dict]) -> Table:
    """Return how TFLM's outputs differ from those of the reference kernels: of every operator alone, of networks."""
    rows = []
    for group in groups():
        files = cells_of(cells, group)
        if not files:
            continue
        alone, steps = values_of(files, "alone"), all_steps(files)
        row = [shown(group), str(len(files))]
        for key in ("operators", "values", "differing_values"):
            row.append(number(sum(values_of(alone, key))))
        largest_steps = values_of(alone, "largest_step")
        row += [str(max(largest_steps)), str(number_above(largest_steps, 1))]
        row += [f"{number_above(steps, 0)} of {len(steps)}", str(number_above(steps, 1)), str(max(steps))]
        row.append(str(max(all_steps(cells_of(cells, group, " perturbed")), default="")))
        rows.append(row)
    columns = ["networks", "files", "operators", "int8 outputs", "differ", "largest step", "wrong files"]
    columns += ["images that differ", "by more than 1 step", "largest step of a network"]
    columns += ["if a value of the image changes by 1"]
    return Table(page=PAGE, name="outputs", columns=columns, rows=rows)


def vela_table(cells: Mapping[str, dict]) -> Table:
    """Return what Vela estimates of the files."""
    rows = []
    for group in groups():
        estimates = cells_of(cells, group, " vela")
        if not estimates:
            continue
        on_cpu = sum(map(len, values_of(estimates, "cpu_operators")))
        row = [shown(group), str(len(estimates)), str(on_cpu)]
        row.append(extent(values_of(estimates, "cycles"), format_count))
        row.append(extent(values_of(estimates, "sram"), format_bytes))
        row.append(extent(values_of(estimates, "file"), format_bytes))
        rows.append(row)
    columns = ["networks", "files", "operators on the CPU", "cycles of the NPU", "SRAM", "compiled file"]
    return Table(page=PAGE, name="vela", columns=columns, rows=rows)


def arena_32bit_table(cells: Mapping[str, dict]) -> Table:
    """Return the arena of 32-bit programs, counted beside measured."""
    rows = []
    for suffix, kernels in PROGRAMS.items():
        for group in groups():
            files = cells_of(cells, group, f" {suffix}")
            if not files:
                continue
            used = values_of(files, "used")
            row = [kernels, shown(group), str(len(files)), extent(used, format_bytes)]
            row.extend(errors(values_of(files, "counted"), used))
            row += [count_true(files, "enough"), count_true(files, "less_is_enough")]
            row.append(str(max(values_of(files, "step"))))
            rows.append(row)
    columns = ["kernels", "networks", "number", "arena", "counted - used, B", "largest %"]
    columns += ["run in the counted bytes", "in 16 B less", "largest step of a network"]
    return Table(page=PAGE, name="arena-32bit", columns=columns, rows=rows)


def engines_table(cells: Mapping[str, dict]) -> Table:
    """Return published, counted and measured memory of networks that have published figures, in bytes."""
    rows = []
    for name, published in ENGINES.items():
        if name not in cells:
            continue
        cell = cells[name]
        row = [f"`{name}`", published]
        for key in ("peak_sram_inplace_dw", "peak_sram", "peak_sram_tflm"):
            row.append(number(cell[key]))
        row.append(used_by(cells, f"{name} 32-bit"))
        row += [number(cell["peak_sram_tflm_cmsis_nn"]), used_by(cells, f"{name} {CMSIS}")]
        for key in ("arena_64bit", "arena_bytes", "flash", "file_tflite", "file"):
            row.append(number(cell[key]))
        rows.append(row)
    columns = ["network", "TinyEngine, published", "in place, counted", "no runtime, counted"]
    columns += ["TFLM 32-bit, counted", "used", "CMSIS-NN, counted", "used", "TFLM 64-bit, counted", "used"]
    columns += ["flash, counted", "file, counted", "file"]
    return Table(page=PAGE, name="engines", columns=columns, rows=rows)


def trained_table(cells: Mapping[str, dict]) -> Table:
    """Return the test accuracy of trained networks, and how far that of their int8 files is from fp32."""
    rows = []
    for name, seeds in TRAINED_SEEDS.items():
        for seed in seeds:
            cell = cells.get(f"trained {name} seed {seed}")
            if cell:
                rows.append(trained_row(name, seed, cell))
    columns = ["network", "seed", "MACs", "int8 file", "torch fp32 %"]
    for form in FORMS[1:]:
        columns.append(f"int8, {form} %")
    columns += ["test images", "differ in TFLM", "largest step"]
    return Table(page=PAGE, name="trained", columns=columns, rows=rows)


def trained_row(name: str, seed: int, cell: dict) -> list[str]:
    """Return the row of a trained network."""
    accuracies = cell["accuracy"]
    fp32 = accuracies[FORMS[0]]
    row = [name, str(seed), format_count(cell["macs"]), format_bytes(cell["file"]), f"{fp32:.2f}"]
    for form in FORMS[1:]:
        row.append(f"{accuracies[form]:.2f} ({accuracies[form] - fp32:+.2f})")
    row += [number(cell["test_images"]), number(cell["differing"]), str(cell["largest_step"])]
    return row


def cells_of(cells: Mapping[str, dict], group: str, suffix: str = "") -> list[dict]:
    """Return the cells of a group whose names end in a suffix."""
    saved = []
    for name in archs_of(group):
        if name + suffix in cells:
            saved.append(cells[name + suffix])
    return saved


def all_steps(cells: Sequence[dict]) -> list[int]:
    """Return the steps of all images of all cells."""
    steps = []
    for cell in cells:
        steps.extend(cell["steps"])
    return steps


def values_of(cells: Sequence[dict], key: str) -> list:
    """Return a value of all cells."""
    return [cell[key] for cell in cells]


def shown(group: str) -> str:
    """Return a group as the tables name it."""
    return group if group == PUBLISHED else f"`{group}`"


def extent(values: Sequence[float], text: Callable[[float], str]) -> str:
    """Return the smallest and the largest of values."""
    return f"{text(min(values))} to {text(max(values))}"


def errors(counted: Sequence[int], measured: Sequence[int]) -> list[str]:
    """Return the range of counted minus measured values, and the largest difference in percent of the measured one."""
    differences, percents = [], []
    for count, value in zip(counted, measured, strict=True):
        differences.append(count - value)
        percents.append(100 * (count - value) / value)
    return [f"{min(differences):+,} to {max(differences):+,}", f"{max(percents, key=abs):+.2f}"]


def count_true(cells: Sequence[dict], key: str) -> str:
    """Return for how many of the cells something is true."""
    return f"{sum(values_of(cells, key))} of {len(cells)}"


def number_above(values: Sequence[int], limit: int) -> int:
    """Return how many values are above a limit."""
    return sum(value > limit for value in values)


def used_by(cells: Mapping[str, dict], name: str) -> str:
    """Return the bytes of the arena that a program used; nothing if it did not run."""
    return number(cells[name]["used"]) if name in cells else ""


def number(value: int) -> str:
    """Return a whole number with separators."""
    return f"{value:,}"
