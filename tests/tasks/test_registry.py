import pytest
import torch

from tinynas import build
from tinynas.tasks.registry import TASKS
from tinynas.utils.errors import InputError


def test_task_convert_refuses_to_make_a_classifier_of_a_detector(arch):
    with pytest.raises(InputError, match="networks that detect cannot be converted to classify"):
        TASKS["classify"].convert(arch)
    assert TASKS["detect"].convert(arch) == arch


def test_task_number_of_classes_is_read_from_outputs(detectors, space):
    for network in (detectors.max(), space.max()):
        images = torch.zeros(1, network.in_channels, network.resolution, network.resolution)
        assert TASKS[network.task].num_classes(build(network).eval()(images)) == network.classes
