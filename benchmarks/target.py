"""Are a network's counted cost and its int8 TFLite file right on a microcontroller? Checked by programs of others.

30 random networks of each shipped search space and all published networks, with random weights, run in TensorFlow Lite
Micro (TFLM, the 64-bit Python package) beside LiteRT's reference kernels on 5 squares of photographs. Arm's Vela
compiles 10 of each space and the published networks for an Ethos-U55-128. Networks searched on Fashion-MNIST are
trained for 5 epochs, and their files measured on all test images. Seeds of archs and weights: 0; of trainings: 0 and 1.

--runner and --cmsis-runner take TFLM built from source for 32 bits (tflm_runner.cc), --photos a folder of photographs
in class folders, on which mcunet-in3 is trained at 96 px; without them those cells are skipped. Needs the extras
`tflite`, `mcu` and `ethos`.

Takes about 60 minutes on one core, half of it training. Writes the tables `arena`, `outputs`, `vela`, `arena-32bit`,
`engines` and `trained` of docs/results/target.md.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from common.cells import Cells
from common.command import run_benchmark
from common.random_files import PUBLISHED, archs_of, evaluation_photographs, groups, int8_file, int8_network, save_files
from common.tables import Table
from common.target_tables import (
    CMSIS,
    arena_32bit_table,
    arena_table,
    engines_table,
    outputs_table,
    trained_table,
    vela_table,
)
from common.tflm_program import TflmProgram
from common.tflm_steps import largest_step, operator_steps
from common.trained_files import measure_trained

from tinynas import Arch, cost
from tinynas.arch.arena import arena
from tinynas.arch.lowering import lower
from tinynas.deploy.runtimes import LiteRT, TfliteMicro
from tinynas.deploy.vela import compile_file
from tinynas.utils.errors import FileError

ACCELERATOR = "ethos-u55-128"
COMPILED = 10  # archs of each space
CMSIS_GROUPS, CMSIS_ARCHS = ("detect", "mcu", "micro-v1", PUBLISHED), 5  # run on an emulated core
GRANULE = 16  # bytes; an arena is a multiple
OPTIONS = {
    "runner": "TFLM built from source for 32 bits with reference kernels: a command, see tflm_runner.cc",
    "cmsis_runner": "the same for an Arm core with DSP instructions, with CMSIS-NN's kernels",
    "photos": "folder of photographs in class folders, train/ and val/",
}


def measure(cells: Cells, *, runner: str | None, cmsis_runner: str | None, photos: str | None) -> None:
    """Measure the missing cells."""
    for group in groups():
        for number, (name, arch) in enumerate(archs_of(group).items()):
            cells.measure(name, run_file, name, arch)
            cells.measure(f"{name} perturbed", perturb, name, arch)
            if number < COMPILED:
                cells.measure(f"{name} vela", compile_with_vela, name, arch)
            if runner:
                cells.measure(f"{name} 32-bit", run_program, name, arch, runner, "reference")
            if cmsis_runner and group in CMSIS_GROUPS and number < CMSIS_ARCHS:
                cells.measure(f"{name} {CMSIS}", run_program, name, arch, cmsis_runner, CMSIS)
    measure_trained(cells, Path(photos) if photos else None)


def run_file(name: str, arch: Arch) -> dict:
    """Return the arena that a network's file takes in TFLM, and how its outputs differ from the reference kernels'."""
    random = int8_network(arch)
    save_files(name, random)
    content, counted = random.file(), arena(random.network, bits=64).total
    reference, micro = LiteRT(content, reference=True), TfliteMicro(content)
    images, steps = reference.quantized(evaluation_photographs(arch)), []
    for image in images:
        steps.append(largest_step(micro.run([image[None]]), reference.run([image[None]])))
    return {
        **cost(arch).to_dict(),
        "resolution": arch.resolution,
        "file": len(content),
        "arena_64bit": counted,
        "arena_bytes": sum(micro.arena_bytes()),
        "enough": allocates(content, counted),
        "less_is_enough": allocates(content, counted - GRANULE),
        "steps": steps,
        "alone": operator_steps(random, content, images[:1]),
    }


def perturb(name: str, arch: Arch) -> dict:
    """Return by how much the reference kernels' outputs change if one value of an image changes by a step of int8."""
    reference, steps = LiteRT(int8_file(name, arch), reference=True), []
    for image in reference.quantized(evaluation_photographs(arch)):
        changed, middle = image.copy(), arch.resolution // 2
        changed[middle, middle, 0] += 1 if image[middle, middle, 0] < 127 else -1
        steps.append(largest_step(reference.run([changed[None]]), reference.run([image[None]])))
    return {"steps": steps}


def allocates(content: bytes, arena_bytes: int) -> bool:
    """Return whether TFLM accepts a file in an arena of this size."""
    try:
        TfliteMicro(content, arena_bytes=arena_bytes)
    except FileError:
        return False
    return True


def compile_with_vela(name: str, arch: Arch) -> dict:
    """Return what Vela estimates of a network's file."""
    return asdict(compile_file(int8_file(name, arch), ACCELERATOR).estimate)


def run_program(name: str, arch: Arch, command: str, kernels: str) -> dict:
    """Return the arena that a file takes in a 32-bit TFLM, and its largest step beside the reference kernels."""
    program, content = TflmProgram(command), int8_file(name, arch, kernels)
    counted = arena(lower(arch), kernels=kernels).total
    reference = LiteRT(content, reference=True)
    image = reference.quantized(evaluation_photographs(arch)[:1])
    expected = np.concatenate([values.ravel() for values in reference.run([image])])
    exact = program.run(content, image, counted)
    result = exact or program.run(content, image, 2 * counted)
    if result is None:
        raise ValueError(f"{command} cannot run the file of {name}; check that it is built as tflm_runner.cc says")
    used, outputs = result
    return {
        "counted": counted,
        "used": used,
        "enough": exact is not None,
        "less_is_enough": program.run(content, image, counted - GRANULE) is not None,
        "step": largest_step([outputs], [expected]),
    }


def tables(cells: dict) -> list[Table]:
    """Return the tables of the saved cells."""
    makers = (arena_table, outputs_table, vela_table, arena_32bit_table, engines_table, trained_table)
    return [table_of(cells) for table_of in makers]


if __name__ == "__main__":
    run_benchmark("target", __doc__, measure=measure, tables=tables, options=OPTIONS)
