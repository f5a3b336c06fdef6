import torch

from tinynas.data.base import BatchRequest, Normalisation
from tinynas.data.memory import MemorySplit, hold_out


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
