"""Plain training, the methods that are compared with it, and plain training for as long as each of them."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tinynas import Arch, Budget, load_space
from tinynas.arch.scaling import scale_to
from tinynas.data.registry import load_data
from tinynas.experiment.config import AUTO_SETTINGS, RetrainConfig
from tinynas.experiment.log import last_record
from tinynas.experiment.run_folder import RunFolder
from tinynas.pipelines.planning import default_config
from tinynas.tasks.registry import fit_to_data
from tinynas.utils.overrides import Overrides

from .cells import Cells
from .paths import SCRATCH, model_in, slug
from .retraining import retrain_network

SEEDS = range(1, 6)
FASHION, MNIST = "fashion-mnist", "mnist-5k"
BATCH_SIZES = {FASHION: 128, MNIST: 32}
RUN = "methods"
EPOCHS = 20  # of plain training, and of the methods
TIMED_EPOCHS, TIMED_ROUNDS = 4, 3  # of the trainings that are timed
TEACHER_EPOCHS = (20, 40)  # the longest is the teacher
LARGE = "3.7M"
BUDGETS = {"0.03M": 30_000, "0.1M": 100_000, "0.3M": 300_000, "1M": 1_000_000}  # MACs
PLAIN, NETAUG, TAUGHT, BOTH = "plain", "NetAug", "teacher", "NetAug + teacher"
TEACHER = {"teacher": ""}  # the file's name is filled in
METHODS: dict[str, dict[str, Any]] = {NETAUG: {"netaug": True}, TAUGHT: TEACHER, BOTH: {"netaug": True} | TEACHER}


@dataclass(frozen=True)
class Case:
    """A network on a data set.

    Attributes:
        data: The data set.
        size: Name of the network: its MACs.
        arch: The network.
    """

    data: str
    size: str
    arch: Arch

    def __str__(self) -> str:
        return f"{self.data} {self.size}"

    def configuration(self, settings: Mapping[str, Any]) -> RetrainConfig:
        """Return the settings of a training: those of the recipe, changed."""
        overrides = Overrides.read({"batch_size": BATCH_SIZES[self.data]} | AUTO_SETTINGS | settings, RetrainConfig)
        return overrides.apply(default_config(self.arch, self.data, netaug=bool(overrides.get("netaug"))))

    def folder(self, row: str, seed: int, run: str = RUN) -> Path:
        """Return the folder of a training, in a run whose trainings share the outputs of teachers."""
        return RunFolder(SCRATCH / slug(run)).retraining(slug(f"{self} {row} {seed}")).path


def network_of(size: str) -> Arch:
    """Return a network of `micro`: the middle one, scaled by hand to a size, or the largest at its image size."""
    middle = load_space("micro").middle()
    if size == LARGE:
        return replace(load_space("micro").max(), resolution=middle.resolution)
    return scale_to(middle, Budget(macs=BUDGETS[size]))


@cache
def case_of(data: str, size: str) -> Case:
    """Return a network of `micro` on a data set."""
    return Case(data, size, fit_to_data(network_of(size), load_data(data)))


def train(case: Case, row: str, settings: Mapping[str, Any], seed: int, *, run: str = RUN) -> dict:
    """Return what a training reached, in percent, and how long it took."""
    folder = case.folder(row, seed, run)
    config = case.configuration({"epochs": EPOCHS, "seed": seed} | settings)
    began = time.process_time()
    metrics = retrain_network(folder, case.arch, config)
    cpu_seconds = time.process_time() - began
    last = last_record(folder / "log.jsonl")
    return {
        "val": last["val_accuracy"],
        "test": metrics["accuracy"],
        "train": metrics["train_accuracy"],
        "epochs": config.recipe.epochs,
        "seconds": cpu_seconds,
    }


def require_teacher(cells: Cells, data: str) -> str:
    """Train the teacher of a data set unless it is trained, longer and longer; return its file."""
    case = case_of(data, LARGE)
    for epochs in TEACHER_EPOCHS:
        row = teacher_row(epochs)
        cells.require(f"{case} {row} seed 0", train, case, row, {"epochs": epochs}, 0)
    model = model_in(case.folder(row, 0))
    if not model.exists():  # its files were deleted
        train(case, row, {"epochs": epochs}, 0)
    return str(model)


def teacher_row(epochs: int) -> str:
    """Return the name of the training of a teacher."""
    return f"teacher {epochs} epochs"


def with_teacher(cells: Cells, case: Case, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings with the file of their teacher, if they have one, which is trained unless it is."""
    if "teacher" in settings:
        return {**settings, "teacher": require_teacher(cells, case.data)}
    return settings


def train_method(cells: Cells, case: Case, row: str, settings: Mapping[str, Any], seed: int) -> dict:
    """Return what a method reached."""
    return train(case, row, with_teacher(cells, case, settings), seed)


def measure_rows(cells: Cells, case: Case, rows: Mapping[str, Mapping[str, Any]], *, seeds: Sequence[int]) -> None:
    """Measure plain training, and methods."""
    for row, settings in {PLAIN: {}, **rows}.items():
        for seed in seeds:
            cells.measure(f"{case} {row} seed {seed}", train_method, cells, case, row, settings, seed)


def measure_with_controls(
    cells: Cells, case: Case, rows: Mapping[str, Mapping[str, Any]], *, seeds: Sequence[int]
) -> None:
    """Measure plain training, methods, and plain training for as long as each of them."""
    measure_rows(cells, case, rows, seeds=seeds)
    for row, settings in rows.items():
        epochs = same_time(cells, case, row, settings)
        name = control_row(epochs)
        for seed in seeds:
            cells.measure(f"{case} {name} seed {seed}", train, case, name, {"epochs": epochs}, seed)


def same_time(cells: Cells, case: Case, row: str, settings: Mapping[str, Any]) -> int:
    """Return for how many epochs plain training takes as long as a method."""
    return epochs_for_as_long(cells.require(time_cell(case, row), time_method, cells, case, row, settings))


def time_cell(case: Case | str, row: str) -> str:
    """Return the name of the cell of a method's time."""
    return f"{case} {row} time"


def time_method(cells: Cells, case: Case, row: str, settings: Mapping[str, Any]) -> dict:
    """Return how many times as long as plain training a method takes, by short trainings of both, in turn."""
    settings = with_teacher(cells, case, settings)
    run = f"{RUN} {case} {row} timed"  # of its own, so that it finds no outputs of the teacher
    seconds = {PLAIN: 0.0, row: 0.0}
    for _ in range(TIMED_ROUNDS):
        for name, change in ((PLAIN, {}), (row, settings)):
            seconds[name] += train(case, name, {"epochs": TIMED_EPOCHS, **change}, 0, run=run)["seconds"]
            shutil.rmtree(SCRATCH / slug(run))
    return {"times": seconds[row] / seconds[PLAIN]}


def epochs_for_as_long(time_of: Mapping[str, float]) -> int:
    """Return for how many epochs plain training takes as long as a method, in steps of 5."""
    return 5 * round(EPOCHS * time_of["times"] / 5)


def control_row(epochs: int) -> str:
    """Return the name of plain training for a number of epochs."""
    return PLAIN if epochs == EPOCHS else f"{PLAIN}, {epochs} epochs"
