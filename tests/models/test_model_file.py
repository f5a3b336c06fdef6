import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from tinynas import build, load, load_arch
from tinynas.data.base import Normalisation
from tinynas.models.model_file import Model, read_model, save_model
from tinynas.utils.errors import FileError


@pytest.fixture
def model(space):
    net = build(space.max()).eval()
    return Model(net=net, data="small", classes=("a", "b", "c"), normalise=Normalisation(mean=(0.25,), std=(0.5,)))


def test_save_model_and_read_model_round_trip(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    again = read_model(path)
    images = torch.randn(2, 1, 12, 12)
    assert torch.equal(load(path)(images), model.net(images))
    assert (again.net.arch, again.classes, again.normalise) == (model.net.arch, model.classes, model.normalise)
    assert not again.net.training
    with safe_open(path, "pt") as file:
        assert set(file.metadata()) == {"format", "arch", "data", "classes", "normalisation", "crop", "sha256"}


def test_save_model_and_load_round_trip_a_published_network(tmp_path):
    net = build(load_arch("mobilenet-v3-large-w0.35")).eval()
    save_model(tmp_path / "m", Model(net=net, data="small", classes=(), normalise=Normalisation(mean=(), std=())))
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(load(tmp_path / "m")(images), net(images))


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-100], lambda raw: raw[:40], lambda raw: b"", lambda raw: b"x" * 500]
)
def test_load_names_a_damaged_model(model, tmp_path, damage):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=r"model\.safetensors is corrupt, or not a tinynas model"):
        load(path)


def test_load_refuses_other_model_files(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"weight": torch.ones(3)}))
    with pytest.raises(FileError, match="corrupt, or not a tinynas model"):
        load(path)
    path.write_bytes(save({"weight": torch.ones(3)}, {"format": "tinynas 99"}))
    with pytest.raises(FileError, match="has format 99, newer than this tinynas reads"):
        load(path)
    with pytest.raises(FileError, match=r"cannot read .*nothing: No such file"):
        load(tmp_path / "nothing")
