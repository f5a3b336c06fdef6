import gzip
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tinynas import Budget, SearchSpace, build, load_space
from tinynas.data.base import Data, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.experiment.config import SearchPlan, SupernetConfig
from tinynas.models.model_file import Model, save_model
from tinynas.training.recipe import Recipe

torch.set_num_threads(1)  # the same sums in the same order, on any machine

SMALL = {
    "resolution": [8, 12],
    "divisor": 4,
    "in_channels": 1,
    "classes": 3,
    "stem": {"width": [4, 8], "stride": 1},
    "stages": [
        {"depth": [1, 2], "width": [4, 8], "kernel": [3, 5], "expand": [1, 2], "stride": 2, "se": [0, 4]},
        {
            "depth": [1, 2],
            "width": [8, 12],
            "kernel": [3, 5, 7],
            "expand": [1, 2],
            "stride": 1,
            "act": ["relu", "hswish"],
        },
    ],
    "head": {"conv": [8, 16], "hidden": [8, 16], "act": "hswish"},
}


DETECTORS = {
    "resolution": [32, 64],
    "divisor": 4,
    "in_channels": 1,
    "classes": 3,
    "stem": {"width": [4, 8]},
    "stages": [
        {"width": [4, 8], "kernel": 3, "expand": [1, 2], "stride": 2},
        {"depth": [1, 2], "width": [8, 12], "kernel": [3, 5], "expand": [1, 2], "stride": 2, "se": [0, 4]},
        {"depth": [1, 2], "width": [8, 12], "kernel": [3, 5], "stride": 2},
        {"depth": [1, 2], "width": [8, 16], "kernel": 3, "expand": [1, 2], "stride": 2},
        {"width": [8, 16], "kernel": 3, "act": "hswish", "stride": 1},
    ],
    "head": {"width": [8, 12], "kernel": [3, 5], "anchors": [0.2, 0.3, 0.4, 0.3, 0.6, 0.6, 0.9, 0.5]},
}
RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05)


@pytest.fixture
def space() -> SearchSpace:
    """A search space with every kind of choice, tiny."""
    return SearchSpace.from_dict(SMALL)


@pytest.fixture
def detectors() -> SearchSpace:
    """The same of detectors: a stage more of stride 32 than the head needs, maps of several widths."""
    return SearchSpace.from_dict(DETECTORS)


@pytest.fixture(params=["classify", "detect"])
def any_space(request) -> SearchSpace:
    """A tiny search space with every kind of choice, of either task."""
    return SearchSpace.from_dict({"classify": SMALL, "detect": DETECTORS}[request.param])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def data() -> Data:
    """Three classes that a tiny network can tell apart, 12x12 grey."""

    def split(count: int, seed: int) -> MemorySplit:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 3
        images = torch.randint(0, 120, (count, 1, 12, 12), generator=generator)
        images += 60 * labels[:, None, None, None] * (torch.arange(12) < 6)
        return MemorySplit(images=images.to(torch.uint8), labels=labels, shift=1)

    normalise = Normalisation(mean=(0.3,), std=(0.2,))
    splits = {"train": split(96, 0), "val": split(30, 1), "test": split(30, 2)}
    return Data(classes=("a", "b", "c"), normalise=normalise, **splits)


def model_of(arch, *, classes=None):
    """A model with fresh weights, and biases and statistics that do something."""
    torch.manual_seed(0)
    net = build(arch)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
        elif getattr(module, "bias", None) is not None:
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    channels = arch.in_channels
    normalise = Normalisation(mean=(0.4,) * channels, std=(0.25,) * channels)
    names = classes or tuple(f"class {i}" for i in range(arch.classes))
    return Model(net=net.eval(), data="small", classes=names, normalise=normalise, crop=7 / 8)


class Quiet:
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    def advance(self, task, done, total, text):
        assert 0 <= done <= total


class Watched(MemorySplit):
    """A split that remembers when it is looked at."""

    looked: list
    not_before = None

    def batches(self, *args):
        assert not self.not_before or self.not_before.exists(), "test images seen before the model was written"
        self.looked.append(len(args))
        return super().batches(*args)


@pytest.fixture
def watched(data, monkeypatch):
    """The small data set, under any name; what looks at its test images is counted."""
    test = Watched(images=data.test.images, labels=data.test.labels)
    vars(test)["looked"] = []
    watched = replace(data, test=test)
    for module in ("search", "retrain", "model_data"):
        monkeypatch.setattr(f"tinynas.pipelines.{module}.load_data", lambda name: watched)
    return watched


@pytest.fixture
def delivered_file(watched, space, tmp_path):
    path = tmp_path / "model" / "model.safetensors"
    save_model(path, replace(model_of(space.min(), classes=watched.classes), normalise=watched.normalise))
    return path


@pytest.fixture
def plan(tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    config = SupernetConfig(space=str(space), recipe=RECIPE)
    return SearchPlan(run=tmp_path / "run", config=config, budget=Budget(macs=60_000), trials=12)


@pytest.fixture
def tinynas(monkeypatch, capsys, tmp_path):
    """Runs a command in an empty folder: (exit code, stdout, stderr)."""
    from tinynas.cli.__main__ import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tinynas", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def fails(tinynas):
    """Runs a command that must fail with one line on stderr, and gives that line."""

    def run(*words: str | Path) -> str:
        code, out, err = tinynas(*words)
        assert code == 1, (out, err)
        assert err.startswith("tinynas: ")
        assert err.count("\n") == 1
        assert "Traceback" not in out + err
        return err

    return run


@pytest.fixture
def fashion(tmp_path) -> Path:
    """A small Fashion-MNIST in the real files' layout: four gzipped IDX files."""
    folder = tmp_path / "fashion"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 40)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return folder


@pytest.fixture
def image_folder(tmp_path) -> Path:
    """Images of several sizes and modes, in train/CLASS and val/CLASS."""
    from PIL import Image

    rng = np.random.default_rng(0)
    root = tmp_path / "pictures"
    for part, count in (("train", 8), ("val", 3)):
        for label in ("cat", "dog"):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                shape = (40 + i, 60) if i % 3 == 0 else (50, 30 + i, 3)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{i}.png")
    return root


@pytest.fixture(params=["micro", "mobile32", "mcu", "mobile", "detect"])
def shipped_space(request) -> SearchSpace:
    return load_space(request.param)
