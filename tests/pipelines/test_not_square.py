"""Networks for images that are not square, from data to files: photographs of 96x160, and windows of a sensor."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

import tinynas
from helpers import images_for
from tinynas import Arch, augment, cost, load_space
from tinynas.arch.zoo import load_arch
from tinynas.models.profile import recount
from tinynas.utils.errors import InputError

TRAINING = {"epochs": 2, "batch_size": 32}

WINDOWS = {
    "resolution": [[128, 6]],
    "divisor": 4,
    "in_channels": 1,
    "stem": {"width": [4, 8], "kernel": [5, 1], "stride": [2, 1]},
    "stages": [
        {"depth": [1, 2], "width": [8, 12], "kernel": [[3, 1], [7, 1]], "expand": [1, 2], "stride": [2, 1]},
        {"depth": [1, 2], "width": [12, 16], "kernel": [[3, 1], [3, 3]], "expand": [1, 2], "stride": [2, 2]},
    ],
}


class Windows:
    """128 readings of 6 sensors as images (128, 6): slow waves (class 0) and fast ones (class 1), with noise."""

    def __init__(self, count, seed):
        self.count, self.seed = count, seed

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rng = np.random.default_rng([self.seed, index])
        waves = (3, 17)[index % 2]
        phases = rng.uniform(0, 2 * np.pi, 6)
        values = np.sin(np.linspace(0, 2 * np.pi * waves, 128)[:, None] + phases) + rng.normal(0, 0.3, (128, 6))
        return (128 + 50 * values).clip(0, 255).astype(np.uint8), index % 2


@pytest.fixture
def windows():
    return tinynas.Data(train=Windows(240, 0), test=Windows(60, 1), classes=["slow", "fast"], name="windows")


def test_a_network_on_windows_of_a_sensor(windows, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "windows.yaml").write_text(yaml.safe_dump(WINDOWS))
    run = tinynas.search(space="windows.yaml", data=windows, sram="12KB", trials=6, **TRAINING)
    assert run.best.arch.resolution == (128, 6)
    assert Arch.from_dict(yaml.safe_load((run.folder / "best.yaml").read_text())) == run.best.arch
    model = tinynas.retrain(run, data=windows, netaug=True, **TRAINING)
    assert recount(model.module.arch) == {"macs": model.cost.macs, "params": model.cost.params}
    report = model.export("tflite", data=windows)
    fp32, int8 = [file for file in report.files if file.kind == "TFLite"]
    assert fp32.accuracy == model.metrics.accuracy
    assert fp32.difference < 1e-3
    assert int8.accuracy > model.metrics.accuracy - 10
    (prediction,) = model.predict([Windows(1, 2)[0][0]])
    assert prediction.name in ("slow", "fast")


def test_mcu_on_96x160():
    space = replace(load_space("mcu"), resolution=((96, 160),))
    for arch in (space.min(), space.max()):
        assert arch.input_shape == (3, 96, 160)
        assert recount(arch) == {"macs": cost(arch).macs, "params": cost(arch).params}
    linear = 96 * 1000  # the classifier's; all else grows as the pixels do
    square = replace(space.min(), resolution=96)
    assert 3 * (cost(space.min()).macs - linear) == 5 * (cost(square).macs - linear)
    augmented = augment(space.min())
    supernet = tinynas.Supernet(augmented).eval()
    images = images_for(space.min(), 2)
    assert torch.equal(supernet(images, space.min()), supernet.extract(space.min())(images))


def test_detectors_are_square():
    detector = load_arch("mobilenet-v2-tiny").as_detector()
    with pytest.raises(InputError, match="a detector takes square images and has the same stride in both directions"):
        replace(detector, resolution=(96, 160))
