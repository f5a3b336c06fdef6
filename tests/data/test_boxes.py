from dataclasses import replace

import pytest
import torch

import tinynas.data.loading
from helpers import same_batches
from tinynas.data.augmentation import DEFAULT_RANGES, AugmentationRanges
from tinynas.data.base import BatchRequest, Data, Normalisation
from tinynas.data.boxes import BoxSplit, targets
from tinynas.data.cached import CachedSplit
from tinynas.data.files import ImageFiles, check_files
from tinynas.data.labels import class_counts, original_pixels
from tinynas.data.objects import AREA, CROWD, DIFFICULT, KIND, OBJECT
from tinynas.data.subset import SubsetSplit

AS_IT_IS = Normalisation(mean=(0.0,), std=(1.0,))


def drawn(objects, height=60, width=90):
    """A black image (1, H, W) with a white rectangle in every box."""
    image = torch.zeros(1, height, width, dtype=torch.uint8)
    for _, x1, y1, x2, y2, *_ in objects.tolist():
        image[:, round(y1 * height) : round(y2 * height), round(x1 * width) : round(x2 * width)] = 255
    return image


class ListedImages(list):
    for_workers = False

    def __call__(self, index):
        return self[index]

    def size(self, index):
        return tuple(self[index].shape[-2:])

    def digest(self):
        return "listed"

    def subset(self, indices):
        return ListedImages([self[index] for index in indices])


def split_of(*objects, flip=False):
    objects = [torch.tensor(of_image).reshape(-1, 5) for of_image in objects]
    images = [drawn(of_image) for of_image in objects]
    return BoxSplit(read=ListedImages(images), objects=objects, flip=flip)


def one_batch(split, indices, seed=None, resolution=48, ranges=DEFAULT_RANGES):
    wanted = BatchRequest(torch.tensor(indices), resolution, seed, ranges=ranges)
    ((images, labels),) = split.batches([wanted], AS_IT_IS)
    return images, labels


def fits(image, box):
    """Whether white pixels fill a box, give or take a pixel, and end where it does."""

    def within(margin):
        centres = torch.arange(len(image)) + 0.5
        x1, y1, x2, y2 = box * len(image)
        rows, columns = (
            (c > low - margin) & (c < high + margin) for c, low, high in ((centres, y1, y2), (centres, x1, x2))
        )
        return rows[:, None] & columns

    return (image[within(-1)] > 0.5).all() and (image[within(3) & ~within(1)] < 0.5).all()


LEFT, RIGHT = [0.0, 0.1, 0.2, 0.4, 0.7], [1.0, 0.6, 0.4, 0.8, 0.9]


def test_box_split_without_a_seed_stretches_images_and_keeps_boxes():
    split = split_of([LEFT, RIGHT], [], [RIGHT])
    images, labels = one_batch(split, [2, 1, 0])
    assert images.shape == (3, 1, 48, 48)
    assert torch.equal(labels[:, :6], torch.tensor([[0, *RIGHT], [2, *LEFT], [2, *RIGHT]]))
    assert torch.equal(split.labels[:, :6], torch.tensor([[0, *LEFT], [0, *RIGHT], [2, *RIGHT]]))
    for image, _, *box, _, _ in labels.tolist():
        assert fits(images[int(image), 0], torch.tensor(box))


def test_box_split_augmentation_moves_boxes_with_their_pixels():
    split = split_of([LEFT, RIGHT], [RIGHT], [LEFT], flip=True)
    sides = []
    for seed in range(300):
        images, labels = one_batch(split, [0, 1, 2], seed)
        assert (labels[:, 2:6] >= 0).all()
        assert (labels[:, 2:6] <= 1).all()
        assert all(fits(images[int(row[0]), 0], row[2:6]) for row in labels)
        uncut = (labels[:, 2:6] > 0.001).all(1) & (labels[:, 2:6] < 0.999).all(1) & (labels[:, 1] == 1)
        sides += (labels[:, 4] - labels[:, 2])[uncut].tolist()
    assert 0.27 < max(sides) < 0.2 * 1.401, "never magnified, or too far"
    assert 0.2 / 1.401 < min(sides) < 0.15, "never made smaller, or too far"


def test_box_split_light_augmentation_reaches_half_as_far_and_mirrors_nothing():
    split = split_of([RIGHT], flip=True)
    light = AugmentationRanges(mirror=False, reach=0.5)
    boxes = torch.cat([one_batch(split, [0], seed, ranges=light)[1][:, 2:6] for seed in range(200)])
    sides = boxes[:, 2] - boxes[:, 0]
    assert 1.1 < sides.max() / 0.2 < 1.4**0.5 + 0.001
    assert boxes[:, 2].min() > 0.5, "the object is on the right side"


def test_box_split_drops_objects_whose_centre_is_not_seen():
    split = split_of([[0.0, 0.0, 0.0, 0.1, 0.1], [1.0, 0.45, 0.45, 0.55, 0.55]])
    seen = [one_batch(split, [0], seed)[1] for seed in range(100)]
    assert {len(labels) for labels in seen} == {1, 2}
    assert all((labels[:, 1] == 1).any() for labels in seen)


def test_box_split_completes_rows_of_class_and_box():
    split = split_of([LEFT, RIGHT], [])
    assert split.objects[0].shape == (2, 7)
    assert split.objects[1].shape == (0, 7)
    pixels = 60 * 90
    assert split.objects[0][:, AREA].tolist() == pytest.approx([0.3 * 0.5 * pixels, 0.2 * 0.5 * pixels])
    assert split.objects[0][:, KIND].tolist() == [OBJECT, OBJECT]
    assert split.pixels.tolist() == [pixels, pixels]
    assert SubsetSplit(split, torch.tensor([1])).pixels.tolist() == [pixels]
    assert original_pixels(CachedSplit(split)).tolist() == [pixels, pixels]
    images = list(split.read)
    unknown = BoxSplit(read=images.__getitem__, objects=[torch.tensor([LEFT])])
    assert unknown.objects[0][:, AREA].isnan().all()
    assert unknown.pixels.isnan().all()


def test_box_split_augmentation_keeps_areas_and_kinds_with_their_objects():
    rows = torch.tensor([[*LEFT, 810, OBJECT], [*RIGHT, 540, CROWD]])
    split = BoxSplit(read=split_of([LEFT, RIGHT]).read, objects=[rows], flip=True)
    kinds = set()
    for seed in range(20):
        for _, number, *_, area, kind in one_batch(split, [0], seed)[1].tolist():
            assert (area, kind) == ((810, OBJECT) if number == 0 else (540, CROWD))
            kinds.add(kind)
    assert kinds == {OBJECT, CROWD}


def test_digest_of_a_box_split_is_of_areas_and_kinds_if_they_are_not_those_of_boxes():
    split = split_of([LEFT, RIGHT])
    objects = [rows.clone() for rows in split.objects]
    digests = {split.digest(), replace(split, objects=objects).digest()}
    assert len(digests) == 1
    for column, value in ((KIND, DIFFICULT), (AREA, 300)):
        other = objects[0].clone()
        other[1, column] = value
        digests.add(replace(split, objects=[other]).digest())
    assert len(digests) == 3


def test_classes_are_counted_without_crowds_and_difficult_objects():
    rows = torch.tensor([[*LEFT, 810, OBJECT], [*LEFT, 810, CROWD], [*RIGHT, 540, DIFFICULT], [*RIGHT, 540, OBJECT]])
    split = BoxSplit(read=split_of([LEFT]).read, objects=[rows])
    assert class_counts(split, ["a", "b"]) == {"a": 1, "b": 1}


def test_box_split_keeps_classes_with_their_boxes():
    tall, flat = [3.0, 0.4, 0.1, 0.5, 0.9], [5.0, 0.6, 0.4, 0.9, 0.5]
    split = split_of([tall, flat], flip=True)
    for seed in range(40):
        for _, number, x1, y1, x2, y2, *_ in one_batch(split, [0], seed, resolution=96)[1].tolist():
            whole = min(x1, y1, 1 - x2, 1 - y2) > 0.001
            assert not whole or (number == 3) == (y2 - y1 > x2 - x1)


def test_box_split_mirrors_only_where_allowed():
    def orders(flip):
        for seed in range(60):
            boxes = one_batch(split_of([LEFT, RIGHT], flip=flip), [0], seed)[1]
            if len(boxes) == 2:
                yield (boxes[boxes[:, 1] == 0, 2] < boxes[boxes[:, 1] == 1, 2]).item()

    assert set(orders(False)) == {True}
    assert set(orders(True)) == {True, False}


def test_box_split_drops_degenerate_boxes_and_keeps_the_others():
    split = split_of([[1.0, 0.5, 0.5, 0.5, 0.6], [2.0, 0.3, 0.3, 0.7, 0.7], [3.0, 0.2, 0.2, 0.201, 0.8]])
    for seed in range(20):
        assert one_batch(split, [0], seed)[1][:, 1].tolist() == [2]


def test_box_split_surrounds_zoomed_out_images_with_mean_grey():
    split = split_of([[0.0, 0.0, 0.0, 1.0, 1.0]])
    grey = Normalisation(mean=(0.4,), std=(0.5,))
    wanted = [BatchRequest(torch.tensor([0]), 24, seed) for seed in range(40)]
    images = torch.cat([x for x, _ in split.batches(wanted, grey)])
    assert (images.abs() < 1e-6).flatten(1).any(1).float().mean() > 0.15
    assert images.min() > -1e-6


def test_box_split_keeps_images_without_objects():
    split = split_of([], [LEFT], [])
    for seed in (None, *range(10)):
        images, labels = one_batch(split, [0, 1, 2], seed)
        assert len(images) == 3
        assert labels.shape == (1, 8)
        assert labels[0, 0] == 1
    images, labels = one_batch(split, [0, 2], 7)
    assert labels.shape == (0, 8)
    assert targets([]).shape == (0, 8)


def test_box_split_augmentation_repeats_for_a_seed_with_and_without_workers(image_folder, monkeypatch):
    files = sorted(map(str, image_folder.glob("train/*/*.png")))
    split = BoxSplit(read=ImageFiles(check_files(files)), objects=[torch.tensor([LEFT, RIGHT])] * len(files), flip=True)
    grey = Normalisation(mean=(0.5,) * 3, std=(0.2,) * 3)
    data = Data(task="detect", classes=("a", "b"), normalise=grey, train=split, val=split, test=split)

    def epoch(seed, augmentation="standard"):
        return list(data.training_batches(4, (24, 32), seed=seed, epoch=0, augmentation=augmentation))

    kept = epoch(0)
    monkeypatch.setattr("tinynas.data.boxes.cache_bytes", lambda device: 0)
    data = replace(data, train=replace(split))  # nothing is kept
    state = torch.get_rng_state()
    alone = epoch(0)
    assert same_batches(kept, alone)
    assert torch.equal(state, torch.get_rng_state()), "augmentation drew from everybody's generator"
    assert len(alone) == data.steps_per_epoch(4) == len(files) // 4
    assert alone[0].images.shape[:2] == (4, 3)
    assert same_batches(alone, epoch(0))
    assert not same_batches(alone, epoch(1))
    assert not same_batches(alone, epoch(0, "none"))
    used = []
    loader = torch.utils.data.DataLoader
    monkeypatch.setattr(
        torch.utils.data, "DataLoader", lambda *a, **k: used.append(k["num_workers"]) or loader(*a, **k)
    )
    monkeypatch.setattr(tinynas.data.loading, "_FEW_IMAGES", 0)
    assert same_batches(alone, epoch(0))
    assert used[0] > 0


def test_box_split_reads_the_files_of_training_batches_once_if_they_fit(image_folder, monkeypatch):
    files = ImageFiles(check_files(sorted(map(str, image_folder.glob("train/*/*.png")))))
    reads = []

    class Counted:
        for_workers = True

        def __call__(self, index):
            reads.append(index)
            return files(index)

    split = BoxSplit(read=Counted(), objects=[torch.tensor([LEFT])] * len(files.images))
    grey = Normalisation(mean=(0.5,) * 3, std=(0.2,) * 3)
    data = Data(task="detect", classes=("a",), normalise=grey, train=split, val=split, test=split)
    for epoch in range(3):
        assert list(data.training_batches(4, (24,), seed=0, epoch=epoch))
    assert sorted(reads) == list(range(len(split)))
    images = 3 * 32 * 32 * len(split)  # of 24 pixels, for random views
    for fitting, expected in ((images, len(split)), (images - 1, 2 * (len(split) // 4) * 4)):
        reads.clear()
        monkeypatch.setattr("tinynas.data.boxes.cache_bytes", lambda device, fitting=fitting: fitting)
        data = replace(data, train=replace(split))
        for epoch in range(2):
            list(data.training_batches(4, (24,), seed=0, epoch=epoch))
        assert len(reads) == expected


def test_box_split_counts_images_not_objects():
    split = split_of([LEFT, RIGHT], [], [RIGHT, LEFT, LEFT], [])
    data = Data(task="detect", classes=("a", "b"), normalise=AS_IT_IS, train=split, val=split, test=split)
    assert [len(x) for x, _ in data.evaluation_batches(split, 16, batch_size=3)] == [3, 1]
    assert data.steps_per_epoch(2) == 2
    assert len(data.calibration_batches(16)[0]) == 4
    for batch in data.training_batches(2, (16,), seed=0, epoch=0, augmentation="none"):
        assert torch.equal(batch.labels, targets([split.objects[i] for i in batch.indices]))
