import torch

from tinynas.data.cached import CachedSplit
from tinynas.data.subset import SubsetSplit


def test_subset_split_has_the_images_at_its_indices(data):
    indices = torch.tensor([2, 3, 11, 17, 29])
    subset = SubsetSplit(CachedSplit(data.val), indices)
    assert len(subset) == 5
    assert torch.equal(subset.labels, data.val.labels[indices])
    ((images, _),) = data.evaluation_batches(data.val, 12, 30)
    batches = list(data.evaluation_batches(subset, 12, 2))
    assert [len(batch[1]) for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat([batch[0] for batch in batches]), images[indices])
    assert torch.equal(torch.cat([batch[1] for batch in batches]), data.val.labels[indices])


def test_subset_split_has_a_digest_of_its_own(data):
    first, second = SubsetSplit(data.val, torch.tensor([0, 1])), SubsetSplit(data.val, torch.tensor([0, 2]))
    other = SubsetSplit(data.test, torch.tensor([0, 1]))
    assert first.digest() == SubsetSplit(data.val, torch.tensor([0, 1])).digest()
    assert len({split.digest() for split in (first, second, other, data.val)}) == 4
