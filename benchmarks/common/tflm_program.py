"""TFLM built from source: a program that runs a file, on this machine or in an emulator, as tflm_runner.cc does."""

import re
import shlex
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tinynas.deploy.quantization import Array


class TflmProgram:
    """A program `COMMAND MODEL INPUT OUTPUT ARENA_BYTES`, which prints "used BYTES" if the arena is large enough.

    Args:
        command: The program, and arguments that come first.
    """

    def __init__(self, command: str) -> None:
        self.command = shlex.split(command)

    def run(self, content: bytes, values: Array, arena_bytes: int) -> tuple[int, Array] | None:
        """Run a file on an input in an arena of this size.

        Returns:
            The bytes of the arena in use, and all outputs one after another; None if the arena is too small.
        """
        with TemporaryDirectory() as folder:
            model, source, result = (Path(folder) / name for name in ("model.tflite", "input", "output"))
            model.write_bytes(content)
            source.write_bytes(values.tobytes())
            command = list(self.command)
            command += [str(model), str(source), str(result), str(arena_bytes)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            used = re.search(r"^used (\d+)$", done.stdout, re.MULTILINE)
            if not used:
                return None
            return int(used.group(1)), np.frombuffer(result.read_bytes(), np.int8)
