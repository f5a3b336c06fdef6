from dataclasses import replace

import pytest
import torch

from tinynas import build, load_arch
from tinynas.data.base import Batch
from tinynas.models.model_file import Model, save_model
from tinynas.models.supernet import extract_calibrated
from tinynas.pipelines.run_supernet import read_supernet
from tinynas.pipelines.teachers import load_teacher
from tinynas.utils.errors import FileError, InputError


def test_load_teacher_takes_the_supernets_largest_network_calibrated(searched, watched):
    supernet = read_supernet(searched, watched)
    arch = replace(supernet.space.max(), resolution=12)
    teacher = load_teacher("supernet", searched, load_arch(searched / "best.yaml"), watched)
    images = watched.normalise(watched.train.images[:8])
    expected = extract_calibrated(supernet, arch, watched.calibration_batches(12))(images)
    answers = teacher(Batch(images, torch.zeros(8, dtype=torch.long), torch.arange(8), 0))
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-5)
    smallest = extract_calibrated(supernet, replace(supernet.space.min(), resolution=12), [images])
    assert not torch.allclose(answers, smallest(images), atol=1e-3)


def batch(indices, images):
    return Batch(images[indices], torch.zeros(len(indices), dtype=torch.long), torch.tensor(indices), 0)


@pytest.fixture
def model(space, data, tmp_path):
    """A trained model: its path and arch."""
    arch = replace(space.min(), resolution=12)
    path = tmp_path / "model.safetensors"
    save_model(path, Model(net=build(arch).eval(), data="small", classes=data.classes, normalise=data.normalise))
    return path, arch


def test_load_teacher_takes_a_trained_model(model, data, tmp_path):
    path, arch = model
    for name in (path, path.parent):
        teacher = load_teacher(str(name), tmp_path, arch, data)
        assert teacher(batch([0, 1], torch.randn(4, 1, 12, 12))).shape == (2, 3)


def test_load_teacher_names_what_differs_in_a_teacher_that_does_not_fit(model, data, tmp_path):
    path, arch = model
    with pytest.raises(InputError, match=r"images of the same size: the teacher takes 12 px, the network 8 px"):
        load_teacher(str(path), tmp_path, replace(arch, resolution=8), data)
    with pytest.raises(InputError, match=r"the same classes: the teacher has 3, the network 4"):
        load_teacher(str(path), tmp_path, replace(arch, classes=4), data)
    with pytest.raises(InputError, match=r"images of shape \(3, 12, 12\): its first convolution has in_channels=1"):
        load_teacher(str(path), tmp_path, replace(arch, in_channels=3), data)
    other = replace(data, normalise=replace(data.normalise, mean=(0.9,)))
    with pytest.raises(InputError, match="must normalise images alike"):
        load_teacher(str(path), tmp_path, arch, other)
    with pytest.raises(FileError, match=r"nowhere\.safetensors"):
        load_teacher("nowhere.safetensors", tmp_path, arch, data)


def test_load_teacher_refuses_a_teacher_of_other_classes(model, data, tmp_path):
    path, arch = model
    others = replace(data, classes=("x", "y", "z"))
    with pytest.raises(InputError, match=r"knows 3 classes \(a, b, c\), the network 3 classes \(x, y, z\)"):
        load_teacher(str(path), tmp_path, arch, others)


def test_load_teacher_takes_a_network_whose_last_map_is_a_pixel(data, tmp_path):
    arch = replace(load_arch("mobilenet-v2-tiny"), in_channels=1, classes=3, resolution=32)
    path = tmp_path / "model.safetensors"
    save_model(path, Model(net=build(arch).eval(), data="small", classes=data.classes, normalise=data.normalise))
    assert load_teacher(str(path), tmp_path, arch, data)(batch([0], torch.randn(1, 1, 32, 32))).shape == (1, 3)


def test_load_teacher_takes_a_torchvision_network(space, data, tmp_path):
    from torchvision.models import get_model

    colour = replace(space.min(), in_channels=3, resolution=32)
    weights = tmp_path / "weights.pth"
    torch.save(get_model("mobilenet_v3_small", weights=None, num_classes=3).state_dict(), weights)
    teacher = load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, colour, data)
    assert teacher(batch([0, 1], torch.randn(4, 3, 32, 32))).shape == (2, 3)
    with pytest.raises(InputError, match=r"images of shape \(1, 32, 32\): its first convolution has in_channels=3"):
        load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, replace(colour, in_channels=1), data)
    with pytest.raises(FileError, match=r"cannot load the teacher resnet18 from .*weights\.pth"):
        load_teacher(f"torchvision:resnet18:{weights}", tmp_path, colour, data)
    with pytest.raises(InputError, match=r"the same classes: the teacher has 3, the network 4"):
        load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, replace(colour, classes=4), data)
    torch.save({"model": torch.load(weights), "epoch": 3}, tmp_path / "checkpoint.pth")
    with pytest.raises(FileError, match=r"checkpoint\.pth is not a state dict"):
        load_teacher(f"torchvision:resnet18:{tmp_path / 'checkpoint.pth'}", tmp_path, colour, data)
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.pth")
    with pytest.raises(FileError, match=r"pickled\.pth: UnpicklingError") as error:
        load_teacher(f"torchvision:resnet18:{tmp_path / 'pickled.pth'}", tmp_path, colour, data)
    assert "\x1b" not in str(error.value)
    with pytest.raises(InputError, match="no model 'resnet17' in torchvision"):
        load_teacher("torchvision:resnet17", tmp_path, colour, data)
    with pytest.raises(FileError, match=r"nowhere\.pth.*pass its state dict"):
        load_teacher("torchvision:resnet18:nowhere.pth", tmp_path, colour, data)


def test_load_teacher_refuses_a_network_of_many_outputs(space, data, tmp_path, monkeypatch):
    class Segmenting(torch.nn.Conv2d):
        def forward(self, images):
            return {"out": super().forward(images)}

    torch.save(torch.nn.Conv2d(1, 3, 1).state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr("torchvision.models.get_model", lambda name, **how: Segmenting(1, 3, 1))
    with pytest.raises(InputError, match="cannot teach: its outputs are a dict"):
        load_teacher(f"torchvision:any:{tmp_path / 'w.pth'}", tmp_path, replace(space.min(), resolution=12), data)


def test_load_teacher_reads_torchvision_weights_in_any_order(space, data, tmp_path):
    from torchvision.models import get_model

    colour, weights = replace(space.min(), in_channels=3, resolution=32), tmp_path / "weights.pth"
    state = get_model("mobilenet_v3_small", weights=None, num_classes=3).state_dict()
    torch.save(dict(sorted(state.items())), weights)  # the classifier's tensors come first
    teacher = load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, colour, data)
    assert teacher(batch([0, 1], torch.randn(4, 3, 32, 32))).shape == (2, 3)
