from collections import Counter
from dataclasses import replace

import pytest
import torch

from tinynas.data.base import Data
from tinynas.data.joined import with_search_val_in_train
from tinynas.data.registry import load_data
from tinynas.data.subset import SubsetSplit
from tinynas.utils.errors import InputError


def shown_in_an_epoch(data):
    """How often each image is read in an epoch, by its index in the training split."""
    counts = Counter()
    for batch in data.training_batches(1, (32,), seed=0, epoch=0, augmentation="none"):
        counts.update(batch.indices.tolist())
    return counts


@pytest.mark.parametrize("kind", ["digits", "scattered-digits", "imagefolder", "voc"])
def test_all_training_images_are_those_of_both_splits(kind, image_folder, voc):
    data = load_data({"imagefolder": f"imagefolder:{image_folder}", "voc": voc}.get(kind, kind))
    joined = with_search_val_in_train(data)
    assert (joined.val, joined.test) == (data.val, data.test)
    train, val = (list(data.evaluation_batches(split, 16, 1)) for split in (data.train, data.val))
    both = list(joined.evaluation_batches(joined.train, 16, 1))
    assert len(joined.train) == len(both) == len(train) + len(val)
    for (images, labels), (expected, expected_labels) in zip(both, train + val, strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, expected_labels)
    if len(both) < 100:
        assert shown_in_an_epoch(joined) == Counter(range(len(both)))


def test_splits_of_other_kinds_cannot_be_joined(data):
    part = SubsetSplit(data.train, torch.arange(9))
    other = replace(data, train=part)
    assert isinstance(other, Data)
    with pytest.raises(InputError, match=r"train_on_all cannot join a SubsetSplit and a MemorySplit.*; remove it"):
        with_search_val_in_train(other)
