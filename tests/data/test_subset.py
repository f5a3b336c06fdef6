import torch

from tinynas.data.cached import CachedSplit
from tinynas.data.registry import load_data
from tinynas.data.subset import SubsetSplit, sample_of


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


def test_subset_split_of_detection_has_the_boxes_of_its_images():
    split = load_data("scattered-digits").val
    subset = SubsetSplit(split, torch.tensor([3, 1]))
    rows = []
    for position, index in enumerate((3, 1)):
        of_image = split.labels[split.labels[:, 0] == index]
        rows.append(torch.cat([torch.full((len(of_image), 1), float(position)), of_image[:, 1:]], 1))
    assert torch.equal(subset.labels, torch.cat(rows))


def test_sample_of_a_split_is_a_fixed_choice_in_the_order_of_the_images(data):
    sample = sample_of(data.val, 7)
    assert sample_of(data.val, len(data.val)) is data.val
    assert sample.digest() == sample_of(data.val, 7).digest()
    ((of_sample, _),) = data.evaluation_batches(sample, 12, 7)
    ((images, _),) = data.evaluation_batches(data.val, 12, len(data.val))
    places = []
    for image in of_sample:
        places.append(int((images == image).flatten(1).all(1).nonzero()[0]))
    assert places == sorted(set(places))
    assert places != list(range(7))
