"""The trainings that netaug.py compares: what each changes, in which order they run, and how the docs call them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .retraining import SEEDS
from .training_time import STRONG

EPOCHS = 20
LARGE_EPOCHS = 10  # of the large network
NETAUG_TIME = "NetAug's"  # in place of a number of epochs: as many plain ones as take NetAug's time
NETAUG = {"netaug": True, "expand_until": 1.0, "init": "kaiming-uniform"}  # the paper's schedule
TEACHER = {"teacher": "supernet"}
FIRST_HALF = NETAUG | {"expand_until": 0.5}

MAIN: dict[str, dict[str, Any]] = {
    "plain": {},
    "NetAug": NETAUG,
    "NetAug, in the first half only": FIRST_HALF,
    "NetAug, every 4th step": NETAUG | {"every": 4},
    "plain, twice the epochs": {"epochs": 2 * EPOCHS},
    "plain, NetAug's time": {"epochs": NETAUG_TIME},
    "plain, 4 times the epochs": {"epochs": 4 * EPOCHS},
    "NetAug, in the first half only, twice the epochs": FIRST_HALF | {"epochs": 2 * EPOCHS},
    "teacher": TEACHER,
    "NetAug + teacher": NETAUG | TEACHER,
    "NetAug, from the supernet": NETAUG | {"init": "supernet"},
    "plain, from the supernet": {"init": "supernet"},
    "dropout": {"dropout": 0.2},
    STRONG: {"augmentation": "strong"},
}
ABLATION: dict[str, dict[str, Any]] = {
    "NetAug, sorting": NETAUG | {"sort": True},
    "NetAug, widths to the end": NETAUG | {"width_until": 1.0},
    "NetAug, every 2nd step": NETAUG | {"every": 2},
    "NetAug, alpha 0.5": NETAUG | {"alpha": 0.5},
    "NetAug, alpha 2": NETAUG | {"alpha": 2.0},
    "NetAug, two augmented networks": NETAUG | {"num_augmented": 2},
    "NetAug, kaiming-normal": NETAUG | {"init": "kaiming-normal"},
    "NetAug, small factors": NETAUG | {"width": (1.0, 1.4), "expand": (1.0, 1.6)},
}
UNTIMED = ("NetAug, small factors", "NetAug, sorting")  # their steps are not among the timed kinds
SHORTCUTS = ("plain", "NetAug", "NetAug, in the first half only", "NetAug, every 4th step")
CONTROLS = ("plain, twice the epochs", "plain, NetAug's time")
LONGER = ("plain, 4 times the epochs", "NetAug, in the first half only, twice the epochs")  # at 0.1M alone

LABELS = {  # in the docs, where they differ
    "NetAug": "NetAug, the paper's schedule: `--expand-until 1`",
    "NetAug, in the first half only": "NetAug (the default)",
    "NetAug, in the first half only, twice the epochs": "NetAug (the default), twice the epochs",
    "NetAug, every 4th step": "NetAug, `--expand-until 1 --every 4`",
    "teacher": "`--teacher supernet`",
    "NetAug, from the supernet": "NetAug, `--init supernet`",
    "plain, from the supernet": "plain, `--init supernet`",
    "dropout": "`--dropout 0.2`",
    STRONG: "`--augmentation strong`",
    "NetAug, sorting": "`--sort`",
    "NetAug, widths to the end": "`--width-until 1`",
    "NetAug, every 2nd step": "`--every 2`",
    "NetAug, alpha 0.5": "`--alpha 0.5`",
    "NetAug, alpha 2": "`--alpha 2`",
    "NetAug, two augmented networks": "`--num-augmented 2`",
    "NetAug, kaiming-normal": "`--init kaiming-normal`",
    "NetAug, small factors": "`--width 1,1.4 --expand 1,1.6`",
}


@dataclass(frozen=True)
class Training:
    """A training that is compared.

    Attributes:
        size: "0.1M", "0.3M", "1M" or "large".
        name: What it changes, a key of MAIN or ABLATION.
        seed: Seed of every random choice.
    """

    size: str
    name: str
    seed: int

    @property
    def cell(self) -> str:
        """Name of its cell."""
        return f"{self.size} {self.name} seed {self.seed}"

    @property
    def change(self) -> dict[str, Any]:
        """Settings that differ from plain training, without the number of epochs."""
        settings = dict(MAIN.get(self.name) or ABLATION.get(self.name, {}))
        settings.pop("epochs", None)
        return settings

    @property
    def epochs(self) -> int | str:
        """Its number of epochs, or NETAUG_TIME."""
        return MAIN.get(self.name, {}).get("epochs", plain_epochs(self.size))


def plain_epochs(size: str) -> int:
    """Return the epochs of the plain training of a size."""
    return LARGE_EPOCHS if size == "large" else EPOCHS


def label(name: str) -> str:
    """Return how the docs call a training."""
    return LABELS.get(name, name)


def trainings() -> Iterator[Training]:
    """Yield all trainings in the order in which they run: what decides first."""
    rest = [name for name in MAIN if name not in SHORTCUTS + CONTROLS + LONGER]
    small = ("0.1M", "0.3M")
    yield from _grid(small, SHORTCUTS, SEEDS)
    yield from _grid(small, CONTROLS, SEEDS)
    yield from _grid(small, rest, SEEDS[:2])
    yield from _grid(("1M",), ("plain", "NetAug", "NetAug + teacher"), SEEDS[:1])
    yield from _grid(("large",), ("plain", "NetAug"), SEEDS[:1])
    yield from _grid(small, rest, SEEDS[2:])
    yield from _grid(("0.1M",), LONGER, SEEDS)
    yield from _grid(("0.1M",), ABLATION, SEEDS[:2])


def _grid(sizes: tuple[str, ...], names: Any, seeds: range) -> Iterator[Training]:
    for seed in seeds:
        for name in names:
            for size in sizes:
                yield Training(size, name, seed)
