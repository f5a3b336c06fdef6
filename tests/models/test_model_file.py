from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from helpers import TINY, flipped, model_of, result_or_error, same_model
from tinynas import build, load, load_arch
from tinynas.data.base import Normalisation
from tinynas.models.model_file import Model, describe, digest, read_model, save_model
from tinynas.utils.errors import FileError, InputError


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
        assert set(file.metadata()) == {"format", "arch", "data", "classes", "normalisation", "crop", "digest"}


def test_another_interpolation_is_kept(model, tmp_path):
    """Files of bilinear models, as those of earlier versions, name none."""
    path = tmp_path / "model.safetensors"
    save_model(path, replace(model, interpolation="bicubic"))
    assert read_model(path).interpolation == "bicubic"
    assert describe(replace(model, interpolation="bicubic")).keys() - describe(model).keys() == {"interpolation"}
    with pytest.raises(InputError, match="unknown interpolation 'cubic'; did you mean 'bicubic'"):
        replace(model, interpolation="cubic")


def test_save_model_writes_the_same_bytes_for_the_same_model(model, tmp_path):
    contents = set()
    for number in range(8):
        save_model(tmp_path / str(number), model)
        contents.add((tmp_path / str(number)).read_bytes())
    assert len(contents) == 1


def test_save_model_and_load_round_trip_a_published_network(tmp_path):
    model = model_of(load_arch("mobilenet-v3-large-w0.35"))
    save_model(tmp_path / "m", model)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(load(tmp_path / "m")(images), model.net(images))


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


def save_format_1(path, model, tensors=None, **changes):
    """Write what earlier versions wrote, whose digest covers nothing but the tensors' bytes."""
    tensors = model.net.state_dict() if tensors is None else tensors
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = {"format": "tinynas 1", **describe(model), "sha256": digest(tensors)} | changes
    path.write_bytes(save(tensors, metadata))


def test_read_model_reads_files_of_format_1(tmp_path):
    path, model = tmp_path / "m.safetensors", model_of(TINY)
    save_format_1(path, model)
    assert same_model(read_model(path), model)
    metadata = describe(model)
    del metadata["crop"]  # the oldest files lack it
    tensors = {name: tensor.contiguous() for name, tensor in model.net.state_dict().items()}
    path.write_bytes(save(tensors, {"format": "tinynas 1", **metadata, "sha256": digest(tensors)}))
    assert same_model(read_model(path), replace(model, crop=1.0))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": '["a"]'}, "its network's 2 classes, but has 1 names"),
        ({"classes": '["a", "b", "c"]'}, "its network's 2 classes, but has 3 names"),
        ({"classes": '["a", "a"]'}, "the names of a model's classes must differ"),
        ({"classes": '["a", 3]'}, "a name must be text, but is 3"),
        ({"classes": '"ab"'}, "a list of names must be a list, but is 'ab'"),
        ({"crop": "0"}, r"`0 < crop <= 1` must hold, but got \(crop=0\.0\)"),
        ({"crop": "1.5"}, r"`0 < crop <= 1` must hold, but got \(crop=1\.5\)"),
        ({"crop": "NaN"}, "or not a tinynas model"),
        ({"normalisation": '{"mean": [0.4], "std": [0]}'}, r"for each channel, but has .* deviations \[0\]"),
        (
            {"normalisation": '{"mean": [0.4], "std": [-1]}'},
            r"for each channel, but has .* deviations \[-1\]",
        ),
        ({"normalisation": '{"mean": [0.4], "std": [1e999]}'}, r"for each channel, but has .* deviations \[inf\]"),
        ({"normalisation": '{"mean": [NaN], "std": [1]}'}, "or not a tinynas model"),
        ({"normalisation": '{"mean": [0, 0], "std": [1]}'}, r"for each channel, but has the means \[0, 0\]"),
        ({"normalisation": '{"mean": [0, 0], "std": [1, 1]}'}, "its network's 1 input channels, but has 2 means"),
        ({"arch": describe(model_of(replace(TINY, resolution=2048)))["arch"].replace("2048", "4096")}, "<= 2048"),
        ({"arch": describe(model_of(TINY))["arch"].replace('"out": 2', '"out": 200000')}, "where the network has"),
        ({"arch": describe(model_of(TINY))["arch"].replace('"kernel": 3', '"kernel": 5')}, r"\(2, 1, 3, 3\), where"),
        ({"arch": "{}"}, "an arch lacks the key 'resolution'"),
        ({"format": "tinynas 0"}, "or not a tinynas model"),
        ({"format": "tinynas 2"}, "or not a tinynas model"),
        ({"format": "tinynas"}, "or not a tinynas model"),
    ],
)
def test_read_model_checks_the_metadata_of_files_of_format_1(tmp_path, change, problem):
    path = tmp_path / "m.safetensors"
    save_format_1(path, model_of(TINY), **change)
    with pytest.raises(FileError, match=rf"m\.safetensors is corrupt.*{problem}.*; restore the file, or retrain"):
        read_model(path)


def test_read_model_checks_the_tensors_of_files_of_format_1(tmp_path):
    path, model = tmp_path / "m.safetensors", model_of(TINY)
    weights = model.net.state_dict()
    bias = weights["head.classifier.bias"]
    changes = {
        r"'head\.classifier\.bias' is int32 \(2,\), where the network has float32 \(2,\)": bias.view(torch.int32),
        r"'head\.classifier\.bias' is float32 \(1, 2\), where the network has float32 \(2,\)": bias.view(1, 2),
    }
    for problem, tensor in changes.items():
        save_format_1(path, model, weights | {"head.classifier.bias": tensor})
        with pytest.raises(FileError, match=rf"is corrupt: the tensor {problem}; restore the file"):
            read_model(path)
    save_format_1(path, model, weights | {"head.classifier.bias.2": bias.clone()})
    with pytest.raises(FileError, match=r"the tensor 'head\.classifier\.bias\.2' has no place in the network"):
        read_model(path)
    del weights["head.classifier.bias"]
    save_format_1(path, model, weights)
    with pytest.raises(FileError, match=r"the tensor 'head\.classifier\.bias' is missing"):
        read_model(path)


def test_read_model_takes_no_older_format_for_a_newer_file(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, model_of(TINY))
    raw = path.read_bytes()
    for version in (b"0", b"1", b"3"):
        path.write_bytes(raw.replace(b"tinynas 2", b"tinynas " + version))
        with pytest.raises(FileError):
            read_model(path)


def test_model_with_a_flipped_bit_is_an_error_or_the_same(tmp_path):
    path, model = tmp_path / "m.safetensors", model_of(TINY)
    save_model(path, model)
    raw = path.read_bytes()
    header = 8 * (8 + int.from_bytes(raw[:8], "little"))  # bits
    bits = [*range(header), *range(header, 8 * len(raw), 7)]
    errors = 0
    for bit in bits:
        path.write_bytes(flipped(raw, bit))
        read = result_or_error(read_model, path)
        errors += isinstance(read, FileError)
        assert isinstance(read, FileError) or same_model(read, model), f"bit {bit}"
    assert errors > 0.99 * len(bits)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"classes": ("a",)}, "its network's 2 classes, but has 1 names"),
        ({"classes": ("a", "a")}, "the names of a model's classes must differ"),
        ({"crop": 0.0}, "0 < crop <= 1"),
        ({"crop": float("nan")}, "0 < crop <= 1"),
        ({"normalise": Normalisation(mean=(0.5,) * 3, std=(0.5,) * 3)}, "1 input channels, but has 3 means"),
    ],
)
def test_model_that_could_not_be_read_again_cannot_be_made(change, problem):
    with pytest.raises(InputError, match=problem):
        replace(model_of(TINY), **change)
