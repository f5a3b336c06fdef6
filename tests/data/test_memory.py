import pytest
import torch

from tinynas.data.base import BatchRequest, Normalisation
from tinynas.data.memory import MemorySplit, hold_out
from tinynas.data.transforms import center_crop
from tinynas.utils.sizes import pair


def test_memory_split_shifts_and_mirrors():
    images = torch.zeros(200, 1, 9, 9, dtype=torch.uint8)
    images[:, 0, 4, 3] = 255
    split = MemorySplit(images=images, labels=torch.zeros(200, dtype=torch.long), flip=True, shift=2)
    ((moved, _),) = split.batches([BatchRequest(torch.arange(200), 9, 5)], Normalisation(mean=(0.0,), std=(1.0,)))
    rows, columns = moved[:, 0].nonzero()[:, 1], moved[:, 0].nonzero()[:, 2]
    assert set(rows.tolist()) == {2, 3, 4, 5, 6}
    assert set(columns.tolist()) == {1, 2, 3, 4, 5, 6, 7}  # 3 or its mirror image 5, give or take 2
    assert moved.sum() == 200


def test_memory_split_augments_each_image_in_its_own_way():
    images = torch.randint(0, 256, (1, 1, 9, 9), dtype=torch.uint8).repeat(40, 1, 1, 1)
    split = MemorySplit(images=images, labels=torch.zeros(40, dtype=torch.long))
    wanted = [
        BatchRequest(torch.arange(40), 9, seed, strong)
        for seed, strong in ((5, False), (5, True), (5, True), (6, True))
    ]
    batches = split.batches(wanted, Normalisation(mean=(0.0,), std=(1.0,)))
    same_images, strong, again, other = (images for images, _ in batches)
    assert len(same_images.unique(dim=0)) == 1
    assert len(strong.unique(dim=0)) > 10
    assert torch.equal(strong, again)
    assert not torch.equal(strong, other)


def test_hold_out_takes_of_every_class():
    labels = torch.tensor([0] * 100 + [1] * 10 + [2] * 2)
    first, second = hold_out(labels, 0.1, "val")
    assert labels[second].bincount().tolist() == [10, 1, 1]
    assert sorted(torch.cat([first, second]).tolist()) == list(range(112))
    assert torch.equal(second, hold_out(labels, 0.1, "val")[1])


@pytest.mark.parametrize("resolution", [24, (12, 36), (36, 12), (128, 6)])
@pytest.mark.parametrize(("height", "width"), [(24, 24), (30, 48), (128, 6), (64, 20)])
def test_memory_split_sees_what_a_prediction_sees(height, width, resolution):
    """The whole image where it has the network's shape, else its largest central part."""
    normalise = Normalisation(mean=(0.0, 0.0), std=(1.0, 1.0))
    rows = torch.linspace(0, 255, height).view(1, -1, 1).expand(1, height, width)
    columns = torch.linspace(0, 255, width).view(1, 1, -1).expand(1, height, width)
    image = torch.cat([rows, columns]).round().to(torch.uint8)
    split = MemorySplit(images=image[None], labels=torch.zeros(1, dtype=torch.int64))
    ((seen, _),) = split.batches([BatchRequest(torch.tensor([0]), resolution)], normalise)
    assert seen.shape == (1, 2, *pair(resolution))
    if (height, width) == pair(resolution):
        assert torch.equal(seen, normalise(image[None]))
    predicted = normalise(center_crop(image, resolution, 1.0)[None])
    assert (seen - predicted).abs().mean() < 0.02
