import torch

from boxes import OBJECTS
from tinynas.tasks.assignment import assign, pad_objects
from tinynas.tasks.detection import decode, positions_of


def everywhere(arch, images=3, *, said=0.0):
    """Boxes of two strides' sides and the same scores at all positions."""
    at = positions_of(arch, arch.resolution)
    outputs = torch.full((images, len(at.centre), 7), said)
    outputs[..., :4] = 1.0
    return decode(outputs, at), outputs[..., 4:]


def test_pad_objects_keeps_the_objects_of_each_image(arch):
    at = positions_of(arch, arch.resolution)
    padded = pad_objects(OBJECTS, 3, at)
    assert padded.boxes.shape == (3, 2, 4)
    assert torch.equal(padded.boxes[0], OBJECTS[:2, 2:])
    assert torch.equal(padded.boxes[2], OBJECTS[2:, 2:])
    assert padded.classes.tolist() == [[2, 0], [0, 0], [1, 1]]
    assert padded.candidates.any(2).tolist() == [[True, True], [False, False], [True, True]]
    assert not pad_objects(OBJECTS[:0], 3, at).candidates.any()


def test_objects_are_learned_within_their_boxes_or_where_their_centre_is(arch):
    at = positions_of(arch, arch.resolution)
    objects = torch.tensor([[0, 1, 0.1, 0.2, 0.6, 0.9], [0, 1, 0.99, 0.0, 1.0, 0.01]])
    large, tiny = pad_objects(objects, 1, at).candidates[0]
    x, y = at.centre[large].T
    assert ((x > 0.1) & (x < 0.6) & (y > 0.2) & (y < 0.9)).sum() >= large.sum() - 3, "beside those that hold its centre"
    assert tiny.sum() == 3, "one at each map"
    assert torch.equal(at.stride[tiny].sort(descending=True, dim=0).values, at.stride[tiny])


def test_assign_prefers_the_best_overlap_and_the_best_score(arch):
    boxes, logits = everywhere(arch)
    objects = pad_objects(OBJECTS, 3, positions_of(arch, arch.resolution))
    place = int(objects.candidates[0, 1].nonzero()[2])
    boxes[0, place] = OBJECTS[1, 2:]
    quality = assign(objects, boxes, logits).quality[0]
    assert quality.argmax() == place
    assert torch.allclose(quality[place], torch.tensor(1.0))
    others = objects.candidates[0, 1].nonzero().flatten()[:2].tolist()
    boxes[0, others] = OBJECTS[1, 2:]
    logits[0, others[1], 0] = 3.0  # the same box, a better score for the class 0
    assignment = assign(objects, boxes, logits)
    assert assignment.quality[0].argmax() == others[1]
    assert assignment.quality[0, place] < 1
    assert assignment.classes[0, others[1]] == 0
    assert torch.equal(assignment.boxes[0, others[1]], OBJECTS[1, 2:])


def test_assign_gives_a_prediction_the_object_that_it_overlaps_most(arch):
    boxes, logits = everywhere(arch, images=1)
    both = torch.tensor([[0, 1, 0.2, 0.2, 0.8, 0.8], [0, 2, 0.3, 0.3, 0.9, 0.9]])
    objects = pad_objects(both, 1, positions_of(arch, arch.resolution))
    place = int((objects.candidates[0, 0] & objects.candidates[0, 1]).nonzero()[0])
    for row, label in ((0, 1), (1, 2)):
        boxes[0, place] = both[row, 2:]
        assert assign(objects, boxes, logits).classes[0, place] == label


def test_assign_chooses_at_most_ten_predictions_for_an_object(arch):
    at = positions_of(arch, arch.resolution)
    objects = pad_objects(torch.tensor([[0, 1, 0.0, 0.0, 1.0, 1.0]]), 1, at)
    boxes, logits = everywhere(arch, images=1)
    boxes[:] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert objects.candidates.sum() > 10
    assert (assign(objects, boxes, logits).quality > 0).sum() == 10


def test_assign_leaves_images_without_objects_alone(arch):
    boxes, logits = everywhere(arch)
    quality = assign(pad_objects(OBJECTS, 3, positions_of(arch, arch.resolution)), boxes, logits).quality
    assert (quality[1] == 0).all()
    assert (quality[0] > 0).any()
    assert (quality[2] > 0).any()
