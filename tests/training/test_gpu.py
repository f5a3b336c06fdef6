"""What only a GPU shows: training there does what it does on a CPU, and recorded steps do what others do."""

import copy
from dataclasses import replace

import pytest
import torch

from helpers import TRAINING_RECIPE, FailingObjective
from tinynas import Supernet, augment
from tinynas.data.registry import load_data
from tinynas.models.layers import PointwiseConv
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.training import graphs, loop
from tinynas.training.backend import use_gpu_layout
from tinynas.training.loop import train
from tinynas.training.objectives import NetAugObjective, PlainObjective, SandwichObjective

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
GPU = torch.device("cuda")
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _exact_convolutions():
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def trained(space, objective, data, device, checkpoint, *, recipe=TRAINING_RECIPE):
    """Weights that a training ends with, and its losses by step."""
    torch.manual_seed(0)
    supernet = Supernet(space).to(device)
    use_gpu_layout(supernet)
    seen = []
    train(
        supernet,
        lambda epoch: objective,
        data.to(device),
        recipe,
        resolutions=(12,),
        checkpoint=checkpoint,
        after_step=lambda progress: seen.append((progress.loss, progress.skipped)),
    )
    return {name: tensor.detach().cpu() for name, tensor in supernet.state_dict().items()}, seen


def assert_close(tensors, others, tolerance):
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor.float(), others[name].float(), rtol=tolerance, atol=tolerance)


def test_batches_are_those_of_the_cpu(data):
    for device_batch, batch in zip(
        data.to(GPU).training_batches(16, (12, 16), seed=0, epoch=0),
        data.training_batches(16, (12, 16), seed=0, epoch=0),
        strict=True,
    ):
        assert device_batch.images.device.type == "cuda"
        torch.testing.assert_close(device_batch.images.cpu(), batch.images, rtol=1e-4, atol=1e-4)
        assert torch.equal(device_batch.labels.cpu(), batch.labels)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_files_are_those_of_the_cpu(image_folder, monkeypatch, workers):
    monkeypatch.setattr("tinynas.data.loading._FEW_IMAGES", 0)
    monkeypatch.setenv("TINYNAS_LOADERS", str(workers))
    data = load_data(f"imagefolder:{image_folder}")
    batches = data.to(GPU).training_batches(4, (24, 32), seed=0, epoch=0)
    for device_batch, batch in zip(batches, data.training_batches(4, (24, 32), seed=0, epoch=0), strict=True):
        assert device_batch.images.device.type == "cuda"
        torch.testing.assert_close(device_batch.images.cpu(), batch.images, rtol=1e-4, atol=1e-4)
        assert torch.equal(device_batch.labels, batch.labels)


@pytest.mark.parametrize("bias", [False, True])
def test_matrix_products_are_1x1_convolutions(bias):
    torch.manual_seed(0)
    conv = PointwiseConv(5, 7, bias=bias)
    x = torch.randn(3, 5, 4, 6, requires_grad=True)
    other, y = copy.deepcopy(conv).to(GPU), x.detach().to(GPU).requires_grad_()
    conv(x).square().sum().backward()
    other(y).square().sum().backward()
    torch.testing.assert_close(y.grad.cpu(), x.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(other.weight.grad.cpu(), conv.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["plain", "sandwich", "netaug"])
def test_a_gpu_trains_as_a_cpu_does(space, data, tmp_path, kind):
    target = replace(space.min(), resolution=12)
    augmented = augment(target, width=(1.0, 2.0), expand=(1.0, 2.0))
    objectives = {
        "plain": (augmented, PlainObjective(target, CrossEntropyLoss(0.1))),
        "sandwich": (space, SandwichObjective(space)),
        "netaug": (augmented, NetAugObjective(target, augmented, CrossEntropyLoss(0.1))),
    }
    networks, objective = objectives[kind]
    recipe = replace(TRAINING_RECIPE, epochs=1)
    weights, _ = trained(networks, objective, data, CPU, tmp_path / "cpu.pt", recipe=recipe)
    on_gpu, _ = trained(networks, objective, data, GPU, tmp_path / "gpu.pt", recipe=recipe)
    assert_close(on_gpu, weights, 2e-2)


def test_recorded_steps_do_what_others_do(space, data, tmp_path, monkeypatch):
    target = replace(space.max(), resolution=12)
    networks, objective = augment(target, width=[1], expand=[1]), PlainObjective(target, CrossEntropyLoss(0.1))
    recordings = []
    record = graphs._Recording.__init__

    def watched(self, *arguments):
        recordings.append(self)
        record(self, *arguments)

    monkeypatch.setattr(graphs._Recording, "__init__", watched)
    recipe = replace(TRAINING_RECIPE, freeze_epochs=1, max_grad_norm=1.0)
    weights, losses = trained(networks, objective, data, GPU, tmp_path / "recorded.pt", recipe=recipe)
    assert len(recordings) == 2  # while all but the classifier are frozen, and afterwards
    monkeypatch.setattr(loop, "_MOST_RECORDED", 0)
    others, other_losses = trained(networks, objective, data, GPU, tmp_path / "other.pt", recipe=recipe)
    assert len(recordings) == 2
    assert_close(weights, others, 1e-3)
    assert losses[-1][0] == pytest.approx(other_losses[-1][0], rel=1e-3)


def test_steps_that_are_not_finite_are_skipped_on_the_gpu(space, data, tmp_path):
    recipe = replace(TRAINING_RECIPE, epochs=2)
    weights, seen = trained(space, FailingObjective(space, {0, 3, 4}), data, GPU, tmp_path / "c.pt", recipe=recipe)
    assert seen[-1][1] == 3
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_a_killed_training_resumes(space, data, tmp_path):
    target = replace(space.max(), resolution=12)
    networks, objective = augment(target, width=[1], expand=[1]), PlainObjective(target, CrossEntropyLoss(0.1))
    weights, _ = trained(networks, objective, data, GPU, tmp_path / "whole.pt")
    path = tmp_path / "c.pt"
    trained(networks, objective, data, CPU, path, recipe=replace(TRAINING_RECIPE, epochs=1))
    checkpoint = torch.load(path, weights_only=True)
    resumed, _ = trained(networks, objective, data, GPU, path)
    assert checkpoint["step"] < torch.load(path, weights_only=True)["step"]
    assert resumed.keys() == weights.keys()
    assert all(tensor.isfinite().all() for tensor in resumed.values())


def test_subnets_have_the_accuracy_that_they_have_on_a_cpu(space, data, tmp_path):
    torch.manual_seed(0)
    supernet = Supernet(space)
    train(
        supernet,
        lambda epoch: SandwichObjective(space),
        data,
        TRAINING_RECIPE,
        resolutions=space.resolution,
        checkpoint=tmp_path / "c.pt",
    )
    on_gpu = copy.deepcopy(supernet).to(GPU)
    use_gpu_layout(on_gpu)
    for arch in (space.min(), space.max()):
        assert SubnetEvaluator(on_gpu, data)(arch) == pytest.approx(SubnetEvaluator(supernet, data)(arch), abs=2.0)
