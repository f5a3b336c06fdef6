"""Outputs of files are compared with PyTorch's a batch at a time."""

from dataclasses import dataclass

import pytest
import torch

from helpers import Quiet
from tinynas.pipelines.export_check import Comparison, run_split
from tinynas.utils.errors import FileError


@dataclass
class Form:
    name: str = "model.onnx"
    int8: bool = False

    def run(self, images):
        return images.flatten(1).sum(1, keepdim=True).expand(-1, 3)


def compared(outputs, reference, **settings):
    comparison = Comparison(Form(**settings))
    for part, expected in zip(torch.split(outputs, 4), torch.split(reference, 4), strict=True):
        comparison.add(part, expected)
    return comparison


def test_a_comparison_by_batches_is_that_of_all_outputs():
    torch.manual_seed(0)
    reference = 5 * torch.randn(11, 3)
    outputs = reference + torch.randn(11, 3)
    comparison = compared(outputs, reference, int8=True)
    assert comparison.checked_difference() == pytest.approx((outputs - reference).abs().max().item())
    different = (outputs.argmax(1) != reference.argmax(1)).sum().item()
    assert different
    assert comparison.disagreement() == pytest.approx(different / 11)


@pytest.mark.parametrize("position", [0, 5, 10])
@pytest.mark.parametrize("value", [1.0, float("nan")])
def test_a_difference_in_any_batch_is_found(position, value):
    reference, outputs = torch.ones(11, 3), torch.ones(11, 3)
    outputs[position, 1] += value
    with pytest.raises(FileError, match=r"model\.onnx would differ from the model by"):
        compared(outputs, reference).checked_difference()
    assert compared(reference + 5e-5, reference).checked_difference() < 1e-4


def test_outputs_that_are_not_logits_have_no_disagreement():
    assert compared(torch.zeros(4, 2, 3), torch.zeros(4, 2, 3)).disagreement() is None


def test_a_split_is_run_a_batch_at_a_time(data):
    batches = run_split([Form(), Form()], data, data.val, 12, task="test", report=Quiet())
    first = next(batches)
    assert torch.is_inference_mode_enabled() is False
    assert [outputs.shape for outputs in first.outputs] == [(first.images, 3)] * 2
    images = first.images + sum(batch.images for batch in batches)
    assert images == len(data.val)
