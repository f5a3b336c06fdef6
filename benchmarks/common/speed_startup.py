"""The part `start-up` of speed.py: commands until their first step, beside importing torch and reading the data."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import sklearn

from tinynas.data.classification import CACHE, FASHION_MNIST
from tinynas.data.registry import load_data

from .timing import summary

ROUNDS = 5
FASHION_FOLDERS = (FASHION_MNIST, CACHE / "FashionMNIST" / "raw")
COMMANDS = {
    "search --space micro-v1 --data digits": "digits",
    "search --space micro-v1 --data fashion-mnist": "fashion-mnist",
    "retrain mobilenet-v2-tiny --data fashion-mnist": "fashion-mnist",
}

FIRST_STEP = """
import sys
import time

from tinynas.cli.app import app
from tinynas.training import loop


def first_step(*arguments, **settings):
    print(time.process_time())
    sys.exit()


loop.train_step = first_step
app(sys.argv[1:])
"""

IMPORT_AND_READ = """
import gzip
import sys
import time

import torch

for path in sys.argv[1:]:
    torch.frombuffer(bytearray(gzip.open(path).read()), dtype=torch.uint8)
print(time.process_time())
"""


def measure_startup() -> Iterator[dict]:
    """Yield the row of each command: processor time until its first step, over that of torch and the data."""
    load_data("fashion-mnist")  # downloads it, if it is not there
    for command, data in COMMANDS.items():
        files = data_files(data)
        ratios, own_times = [], []
        for number in range(ROUNDS + 1):
            own = processor_seconds(FIRST_STEP, command.split())
            least = processor_seconds(IMPORT_AND_READ, files)
            if number:  # the first round fills the cache of files
                ratios.append(own / least)
                own_times.append(own)
        what = f"{command}: until the first training step / import torch and read the files"
        yield summary(what, ratios, aim="<= 2", seconds=median(own_times))


def data_files(name: str) -> list[str]:
    """Return the paths of a data set's compressed files."""
    if name == "digits":
        return [str(Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz")]
    folder = next(folder for folder in FASHION_FOLDERS if folder.is_dir())
    return sorted(map(str, folder.glob("*-ubyte.gz")))


def processor_seconds(program: str, words: Sequence[str]) -> float:
    """Return the processor time that a Python program of its own prints in its last line."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-c", program, *words]
        output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout
    return float(output.splitlines()[-1])
