import torch
from fake_gpu import FAKE_GPU, fake_gpu, to_fake_gpu, without_value_checks
from torch import nn

from helpers import CountedPart, images_for, model_of
from tinynas.data.transforms import resize
from tinynas.early_exit.calibration import confidence
from tinynas.early_exit.cascade import Cascade
from tinynas.early_exit.model import build_cascade


def test_cascade_computes_no_further_what_exits(space):
    tiny, big = (model_of(arch).net.eval() for arch in (space.min(), space.max()))
    net = Cascade(tiny, big, (8, 12))
    net.exits = nn.ModuleList(CountedPart(part) for part in net.exits)
    images = torch.randn(20, 1, 12, 12)
    sure = confidence(tiny(resize(images, 8)), net.temperatures[0])
    threshold = sure.median().item()
    exits = net(images, threshold=threshold).exits
    assert [part.runs for part in net.exits] == [[20], [int((sure < threshold).sum())]]
    assert (exits == 1).sum() == (sure < threshold).sum()


def test_cascade_gives_each_network_its_image_size(space):
    tiny, big = model_of(space.min()), model_of(space.max())
    assert tiny.net.arch.resolution < big.net.arch.resolution
    images = images_for(big.net.arch, 6)
    outputs = build_cascade(tiny, big).observe([(images, torch.zeros(6).long())])
    with torch.no_grad():
        assert torch.equal(outputs.logits[1], big.net(images))
    assert outputs.logits.shape == (2, 6, 3)


def test_cascade_computes_on_its_device(space, monkeypatch):
    without_value_checks(monkeypatch)
    net = build_cascade(model_of(space.min()), model_of(space.max()))
    with fake_gpu():
        to_fake_gpu(net)
        assert net.all_logits(torch.zeros(2, 1, 12, 12, device=FAKE_GPU)).device == FAKE_GPU
        outputs = net.observe([(torch.zeros(2, 1, 12, 12), torch.zeros(2).long())])
        assert outputs.logits.device.type == outputs.labels.device.type == "cpu"
        assert len(net.macs(torch.zeros(1, 1, 12, 12))) == 2
