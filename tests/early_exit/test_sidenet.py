from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from fake_gpu import FAKE_GPU, fake_gpu, to_fake_gpu, without_value_checks
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import CountedPart, Encoder, images_for, model_of, sidenet_of, slow_except
from tinynas import SideNet
from tinynas.early_exit.features import HeadTargets, StoredRows
from tinynas.early_exit.thresholds import NEVER_EXIT
from tinynas.utils.errors import InputError


@pytest.fixture
def arch(space):
    return space.min()


def test_sidenet_leaves_the_network_unchanged(arch, data):
    net, images = model_of(arch).net.train(), images_for(arch, 7)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        expected = net.eval()(images)
    sidenet = SideNet(net.train(), "stages.0", inputs=images)
    sidenet.fit(data.evaluation_batches(data.train, arch.resolution))
    sidenet.train()  # as a training loop around it would
    assert torch.equal(sidenet(images).logits, expected)
    assert torch.equal(net(images), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("taps", [["stages.0"], ["stem", "stages.0", "stages.1.0"]])
def test_sidenet_computes_no_further_what_exits(arch, taps):
    net, images = sidenet_of(arch, taps), images_for(arch, 60)
    outputs = net.observe([(images, torch.zeros(60).long())])
    confidences = outputs.confidences(net.temperatures.tolist())
    threshold = float(np.median(confidences[:-1]))
    net.exits = nn.ModuleList(CountedPart(part) for part in net.exits)
    answers = net(images, threshold=threshold)
    goes = confidences >= threshold
    goes[-1] = True
    assert answers.exits.tolist() == goes.argmax(0).tolist()
    left = [int((answers.exits >= number).sum()) for number in range(len(taps) + 1)]
    assert [part.runs for part in net.exits] == [[count] for count in left]
    assert 0 < left[-1] < 60
    expected = outputs.logits[answers.exits, torch.arange(60)]
    torch.testing.assert_close(answers.logits, expected, atol=1e-5, rtol=1e-5)


def test_sidenet_of_a_network_with_padding_same_takes_upright_images(space):
    net, images = model_of(replace(space.max(), padding="same")).net, images_for(space.max(), 3)
    with torch.no_grad():
        expected = net(images)
    sidenet = SideNet(net, ["stem", "stages.1"], inputs=images)
    assert torch.equal(sidenet(images).logits, expected)


@pytest.mark.parametrize("name", slow_except(["resnet18", "mobilenet_v3_small", "squeezenet1_1"], "squeezenet1_1"))
def test_sidenet_leaves_torchvisions_networks_unchanged(name):
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None, num_classes=5).eval()
    tap = {"resnet18": "layer2", "mobilenet_v3_small": "features.4", "squeezenet1_1": "features.5"}[name]
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = net(images)
        sidenet = SideNet(net, tap, inputs=images)
        assert torch.equal(sidenet(images).logits, expected)
        assert torch.equal(net(images), expected)


def test_sidenet_takes_any_precision_layout_and_feature():
    """A Conv1d's channels as its features; heads of bf16 networks; features that never change."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU(), nn.Conv1d(6, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = 0, -1.0  # a dead channel
    inputs, labels = torch.randn(40, 3, 20), torch.arange(40) % 4
    state = torch.random.get_rng_state()
    for dtype in (torch.float32, torch.bfloat16):
        sidenet = SideNet(net.to(dtype), "1", 8, inputs=inputs.to(dtype))
        assert sidenet.heads[0].hidden.in_features == 6
        for count in (40, 1):
            sidenet.fit([(inputs[:count].to(dtype), labels[:count])])
            assert sidenet.heads[0].hidden.weight.abs().max() < 100, "the dead channel would shout when it wakes"
        sidenet.calibrate(sidenet.observe([(inputs.to(dtype), labels)]))
        assert sidenet(inputs.to(dtype), threshold=0.3).logits.dtype == dtype
    assert torch.equal(state, torch.random.get_rng_state()), "fit draws from a generator of its own"
    by_place = SideNet(net, "1", 8, inputs=inputs.to(dtype), channel_dim=-1)
    assert by_place.heads[0].hidden.in_features == 18


@pytest.mark.parametrize(
    ("net", "tap", "inputs", "message"),
    [
        (
            nn.Sequential(nn.Conv1d(3, 4, 1)),
            "0",
            torch.zeros(1, 3, 5),
            r"returns logits \(N, classes\) of at least 2 classes, but Sequential returns",
        ),
        (
            nn.Sequential(nn.Identity(), nn.EmbeddingBag(9, 4)),
            "0",
            torch.zeros(1, 3, dtype=torch.long),
            "needs features of each image",
        ),
    ],
)
def test_sidenet_refuses_what_is_no_classifier_and_no_tap(net, tap, inputs, message):
    with pytest.raises(InputError, match=message):
        SideNet(net, tap, inputs=inputs)
    net = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(InputError, match="there is no batch"):
        SideNet(net, "0", inputs=torch.zeros(1, 3)).fit([])


class Waits(TorchDispatchMode):
    """Counts the operators that wait for what a GPU has computed."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator.overloadpacket in (torch.ops.aten.nonzero, torch.ops.aten._local_scalar_dense):
            self.names.append(operator.overloadpacket.__name__)
        return operator(*args, **kwargs or {})


@pytest.mark.parametrize("threshold", [0.0, 0.4, NEVER_EXIT])
def test_sidenet_waits_for_a_gpu_once_at_each_early_exit(arch, threshold):
    net, images = sidenet_of(arch, ["stem", "stages.0"]), images_for(arch, 20)
    with Waits() as waits:
        exits = net(images, threshold=threshold).exits
    assert waits.names == ["nonzero"] * min(2, int(exits.max()) + 1)


def test_sidenet_at_the_ends_of_the_threshold(arch):
    net, images = sidenet_of(arch), images_for(arch, 4)
    net.exits = nn.ModuleList(CountedPart(part) for part in net.exits)
    assert net(images, threshold=0).exits.tolist() == [0] * 4
    assert net.exits[-1].runs == [], "all images have exited"
    assert net(images, threshold=NEVER_EXIT).exits.tolist() == [1] * 4
    assert net(images[:1], threshold=0).logits.shape == (1, arch.classes)


def test_sidenet_heads_learn_from_the_features():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 3))
    labels = torch.arange(300) % 3
    images = torch.randn(300, 1, 8, 8) + 2 * labels[:, None, None, None]
    sidenet = SideNet(net, "1", 16, inputs=images)
    sidenet.fit([(images[:200], labels[:200])])
    assert sidenet.observe([(images[200:], labels[200:])]).correct()[0].mean() > 0.95
    distilled = SideNet(net, "1", 16, inputs=images)
    distilled.fit([(images[:200], labels[:200])], distillation=1.0)
    own = net(images[200:]).argmax(1)
    agreed = distilled.observe([(images[200:], own)]).correct()[0].mean()
    assert agreed > sidenet.observe([(images[200:], own)]).correct()[0].mean(), "it learned from the network instead"


def test_sidenet_takes_words_with_a_mask():
    """What else the rest needs, here the mask, is reduced to the same images."""
    torch.manual_seed(0)
    net, words = Encoder(words=True), torch.randint(0, 20, (30, 9))
    words[:, 0] = 1
    sidenet = SideNet(net, "layers.layers.0", 8, inputs=words)
    sidenet.fit([(words, torch.arange(30) % 4)])
    outputs = sidenet.observe([(words, torch.zeros(30).long())])
    threshold = float(np.median(outputs.confidences([1, 1])[0]))
    answers = sidenet(words, threshold=threshold)
    assert 0 < answers.exits.sum() < 30
    torch.testing.assert_close(answers.logits, outputs.logits[answers.exits, torch.arange(30)], atol=1e-5, rtol=1e-4)


def test_sidenet_computes_on_its_device(arch, monkeypatch):
    without_value_checks(monkeypatch)
    net = sidenet_of(arch)
    with fake_gpu():
        to_fake_gpu(net)
        assert net.all_logits(images_for(arch, 2).to(FAKE_GPU)).device == FAKE_GPU
        outputs = net.observe([(images_for(arch, 2), torch.zeros(2).long())])
        assert outputs.logits.device.type == outputs.labels.device.type == "cpu"
        assert len(net.macs(images_for(arch, 1))) == 2


def test_features_that_hardly_vary_get_no_large_weights():
    """Rounding differs from batch to batch; a head must not amplify it."""
    torch.manual_seed(0)
    images, labels = torch.randn(64, 4, 8, 8), torch.arange(64) % 3
    with torch.no_grad():
        net = nn.Sequential(nn.Conv2d(4, 6, 1), nn.Conv2d(6, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        net[0].weight[1].mul_(1e-3)
        net[0].bias[1] = 100.0  # varies by hardly more than its rounding
        net[0].weight[2], net[0].bias[2] = 0, 0  # is always 0
        images[:, 3] -= images[:, 3].mean((1, 2), keepdim=True)
        net[0].weight[3], net[0].bias[3] = 0, 0
        net[0].weight[3, 3] = 1000.0  # its mean cancels out, up to rounding
    sidenet = SideNet(net, "0", 8, inputs=images)
    sidenet.fit([(images, labels)])
    assert sidenet.heads[0].hidden.weight.abs().max() < 100
    alone = torch.cat([sidenet.all_logits(images[i : i + 1]) for i in range(64)], 1)
    torch.testing.assert_close(alone, sidenet.all_logits(images), atol=1e-4, rtol=0)


def test_rows_are_stored_as_they_are_added():
    torch.manual_seed(0)
    rows = torch.randn(50, 3)
    with StoredRows() as store:
        for part in torch.split(rows.T.contiguous().T, 20):
            store.add(part)
        stored = store.tensor()
    assert torch.equal(stored, rows)


def test_head_targets_mix_labels_and_softened_outputs():
    labels, logits = torch.tensor([2, 0, 1]), torch.tensor([[0.0, 2.0, 4.0], [1.0, 1.0, 1.0], [5.0, 0.0, 0.0]])
    targets = HeadTargets(labels=labels, classes=3, logits=logits, distillation=0.25, temperature=2.0)
    expected = 0.75 * torch.eye(3)[labels] + 0.25 * (logits / 2).softmax(1)
    torch.testing.assert_close(targets.take(torch.tensor([1, 0])), expected[[1, 0]])
    assert torch.equal(HeadTargets(labels=labels, classes=3).take(torch.tensor([2])), torch.eye(3)[[1]])
