import gzip
import os
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from font_files import write_font
from PIL import Image

from boxes import voc_folder
from helpers import DETECTORS, RECIPE, SMALL, Quiet, Watched, check_next_command, model_of, overrides
from tinynas import Budget, SearchSpace, load_arch, load_space
from tinynas.data.base import Data, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.data.registry import DATA_SETS
from tinynas.experiment.config import SupernetConfig
from tinynas.experiment.early_exit_report import EarlyExitReport
from tinynas.experiment.exit_plan import ExitPlan
from tinynas.experiment.export_report import EarlyExitExportReport
from tinynas.experiment.plans import ExportPlan, RetrainPlan
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.models.model_file import save_model
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.export import export
from tinynas.pipelines.planning import default_config
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.search import search
from tinynas.utils import fonts, paths

torch.set_num_threads(1)  # the same sums in the same order, on any machine
os.environ["OMP_NUM_THREADS"] = "1"  # in processes that tests start, too
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs, and what they start, ignore


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """A cache of the tests' own, for the programs that they start as well; compiled kernels are the user's."""
    kernels = paths.cache_folder() / "kernels"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        paths.cache_folder().mkdir()
        with suppress(OSError):  # no home folder that can be written: they are compiled in this cache
            kernels.mkdir(parents=True, exist_ok=True)
            (paths.cache_folder() / "kernels").symlink_to(kernels)
        yield


@pytest.fixture(scope="session", autouse=True)
def data_sets_made_once():
    """Make the data sets that are not read from files once, and not in every test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("digits", "scattered-digits"):
            patch.setitem(DATA_SETS, name, cache(DATA_SETS[name]))
        yield


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """A search space with every kind of choice, tiny."""
    return SearchSpace.from_dict(SMALL)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def data() -> Data:
    """Three classes that a tiny network can distinguish, 12x12 grey."""

    def split(count: int, seed: int) -> MemorySplit:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 3
        images = torch.randint(0, 120, (count, 1, 12, 12), generator=generator)
        images += 60 * labels[:, None, None, None] * (torch.arange(12) < 6)
        return MemorySplit(images=images.to(torch.uint8), labels=labels, shift=1)

    normalise = Normalisation(mean=(0.3,), std=(0.2,))
    splits = {"train": split(96, 0), "val": split(30, 1), "test": split(30, 2)}
    return Data(classes=("a", "b", "c"), normalise=normalise, **splits)


def load_always(data, patch):
    """Let the pipelines load this data set, under any name."""
    for module in ("search", "retraining", "retrain_front", "tune", "resolved_retraining", "model_data"):
        patch.setattr(f"tinynas.pipelines.{module}.load_data", lambda name, **settings: data)


@pytest.fixture
def watched(data, monkeypatch):
    """The small data set, under any name; what looks at its test images is counted."""
    test = Watched(images=data.test.images, labels=data.test.labels)
    vars(test)["looked"] = []
    watched = replace(data, test=test)
    load_always(watched, monkeypatch)
    return watched


@pytest.fixture
def model_file(watched, space, tmp_path):
    path = tmp_path / "model" / "model.safetensors"
    save_model(path, replace(model_of(space.min(), classes=watched.classes), normalise=watched.normalise))
    return path


@pytest.fixture(scope="session")
def small_config(tmp_path_factory) -> SupernetConfig:
    """The configuration of a supernet of the small space."""
    space = tmp_path_factory.mktemp("space") / "small.yaml"
    space.write_text(yaml.safe_dump(SMALL))
    return SupernetConfig(space=str(space), recipe=RECIPE)


def search_plan(config, folder):
    settings = SearchSettings(trials=12)
    return SearchPlan(run=folder / "run", config=config, budget=Budget(macs=60_000), settings=settings)


@pytest.fixture
def plan(small_config, tmp_path) -> SearchPlan:
    """The plan of a search of the small space, which made the run of the fixture `searched`."""
    return search_plan(small_config, tmp_path)


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
        for line in out.splitlines():
            if line.startswith("next: tinynas "):
                check_next_command(line.removeprefix("next: tinynas "))
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


@pytest.fixture(params=["micro", "micro-v1", "mobile32", "mcu", "mobile", "detect"])
def shipped_space(request) -> SearchSpace:
    return load_space(request.param)


@pytest.fixture(scope="session")
def voc(tmp_path_factory):
    """Two classes: bright rectangles in the left half, dark ones in the right."""
    root = tmp_path_factory.mktemp("voc")
    for year, lists in {"2007": {"trainval": 16, "test": 6}, "2012": {"trainval": 8}}.items():
        folder = voc_folder(root / "VOCdevkit" / f"VOC{year}", year, **lists)
        for path in (folder / "JPEGImages").iterdir():
            pixels = np.random.default_rng(0).integers(90, 110, (20, 40, 3), dtype=np.uint8)
            pixels[:, :20], pixels[10:15, 30:] = 220, 20
            Image.fromarray(pixels).save(path)
    return f"voc:{root}"


@pytest.fixture(scope="session")
def detector_run(voc, tmp_path_factory):
    """A run with a supernet, a front, and its best network retrained in two ways."""
    folder = tmp_path_factory.mktemp("detection")
    (folder / "small.yaml").write_text(yaml.safe_dump(DETECTORS))
    recipe = replace(RECIPE, epochs=2, batch_size=6)
    config = SupernetConfig(space=str(folder / "small.yaml"), data=voc, recipe=recipe)
    plan = SearchPlan(
        run=folder / "run", config=config, budget=Budget(macs=2_000_000), settings=SearchSettings(trials=4)
    )
    front = search(plan, report=Quiet())
    assert (front.metric, front.front[0].standard_error) == ("mAP", None)
    for name, netaug, teacher in (("plain", False, {}), ("both", True, {"teacher": "supernet"})):
        arch = replace(load_arch(plan.run / "best.yaml"), resolution=64)  # the search's choice is one by chance
        recipe = {"batch_size": 6, "warmup_epochs": 1.0, "lr": 0.05, "epochs": 1}
        if name == "plain":
            recipe |= {"lr": 0.1, "epochs": 100}  # until it detects everything, from any seed
        chosen = overrides(**recipe, **teacher).apply(default_config(arch, voc, netaug=netaug))
        retrain(RetrainPlan(folder=plan.run / "retrain" / name, arch=arch, config=chosen), report=Quiet())
    return plan.run


@dataclass(frozen=True)
class ModelWithExits:
    """A trained model with early exits: its folder, that of the exits in it, and what was written about them."""

    folder: Path
    exits: Path
    report: EarlyExitReport
    exported: EarlyExitExportReport | None = None

    def copied(self, folder: Path) -> "ModelWithExits":
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder, exits=folder / self.exits.name)


@pytest.fixture(scope="session")
def early_exits_once(data, space, tmp_path_factory):
    """A trained model with an early exit, to be copied."""
    folder = tmp_path_factory.mktemp("exits") / "plain"
    model = model_of(space.min(), classes=data.classes)
    save_model(folder / "model.safetensors", replace(model, normalise=data.normalise))
    with pytest.MonkeyPatch.context() as patch:
        load_always(data, patch)
        result = make_exits(ExitPlan(model=folder / "model.safetensors", taps=("stages.0",)), report=Quiet())
    return ModelWithExits(folder, result.folder, result.report)


@pytest.fixture(scope="session")
def exported_exits_once(early_exits_once, data, tmp_path_factory):
    """The same, exported."""
    model = early_exits_once.copied(tmp_path_factory.mktemp("exported") / "plain")
    with pytest.MonkeyPatch.context() as patch:
        load_always(data, patch)
        plan = ExportPlan(model=model.exits / "sidenet.safetensors", out=model.exits, to="onnx", calibration=8)
        return replace(model, exported=export(plan, report=Quiet()))


@pytest.fixture
def early_exits(early_exits_once, watched, tmp_path):
    """A trained model with an early exit, in a run of the test's own."""
    return early_exits_once.copied(tmp_path / "run" / "retrain" / "plain")


@pytest.fixture
def exported_exits(exported_exits_once, watched, tmp_path):
    """A trained model with an early exit, exported, in a run of the test's own."""
    return exported_exits_once.copied(tmp_path / "run" / "retrain" / "plain")


@pytest.fixture(scope="session")
def searched_once(data, small_config, tmp_path_factory):
    """A searched run, to be copied."""
    plan = search_plan(small_config, tmp_path_factory.mktemp("searched"))
    with pytest.MonkeyPatch.context() as patch:
        load_always(data, patch)
        search(plan, report=Quiet())
    return plan.run


@pytest.fixture
def searched(searched_once, watched, tmp_path):
    """A searched run of the small data set, a test's own, where the fixture `plan` would make it."""
    return shutil.copytree(searched_once, tmp_path / "run")


@pytest.fixture
def install_fonts(tmp_path, monkeypatch):
    """Lets only these fonts of full squares be installed: file names and the characters of each."""

    def install(**characters: str) -> list[Path]:
        files = [write_font(tmp_path / f"{name}.ttf", text) for name, text in characters.items()]
        monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: list(map(str, files)))
        fonts._system_fonts.cache_clear()
        return files

    yield install
    fonts._system_fonts.cache_clear()
