import subprocess
import sys

import pytest
import torch

from tinynas.training.sgd import SGD


def train(kind, steps, *, resume_at=None):
    """Minimise a sum of fourth powers; at a step, continue with a new optimizer from the state of the first."""
    parameters = [torch.nn.Parameter(torch.linspace(-1, 1, 7)), torch.nn.Parameter(torch.ones(2, 3))]
    frozen = torch.nn.Parameter(torch.ones(1))
    settings = {"lr": 0.05, "momentum": 0.9, "nesterov": True, "fused": True}

    def optimizer():
        decaying = {"params": parameters[:1], "weight_decay": 0.1, "factor": 2.0}
        return kind([decaying, {"params": [parameters[1], frozen], "factor": 1.0}], **settings)

    current = optimizer()
    for step in range(steps):
        if step == resume_at:
            state = current.state_dict()
            current = optimizer()
            current.load_state_dict(state)
        current.zero_grad()
        sum(parameter.pow(4).sum() for parameter in parameters).backward()
        current.step()
    return [*parameters, frozen], current.state_dict()


@pytest.mark.parametrize("resume_at", [None, 3])
def test_sgd_gives_the_weights_and_the_state_of_torch(resume_at):
    weights, state = train(SGD, 6, resume_at=resume_at)
    expected_weights, expected_state = train(torch.optim.SGD, 6, resume_at=resume_at)
    assert all(torch.equal(*pair) for pair in zip(weights, expected_weights, strict=True))
    assert state["param_groups"] == expected_state["param_groups"]
    assert state["state"].keys() == expected_state["state"].keys() == {0, 1}
    for index, values in state["state"].items():
        assert torch.equal(values["momentum_buffer"], expected_state["state"][index]["momentum_buffer"])


def test_sgd_does_not_track_its_updates():
    (weights, *_), state = train(SGD, 2)
    assert weights.is_leaf
    assert not state["state"][0]["momentum_buffer"].requires_grad


def test_sgd_does_not_import_dynamo():
    code = """
import sys, torch
from tinynas.training.sgd import SGD
imported_by_torch = "torch._dynamo" in sys.modules
weight = torch.nn.Parameter(torch.ones(3))
optimizer = SGD([weight], lr=0.1, momentum=0.9)
weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
assert imported_by_torch or "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_skipped_step_changes_neither_weights_nor_momentum():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD([weight], lr=0.1, momentum=0.9, nesterov=True, fused=True)
    weight.sum().backward()
    optimizer.step(skip=torch.tensor(1.0))
    assert weight.tolist() == [1, 1, 1]
    optimizer.step(skip=torch.tensor(0.0))
    expected = torch.nn.Parameter(torch.ones(3))
    other = torch.optim.SGD([expected], lr=0.1, momentum=0.9, nesterov=True, fused=True)
    expected.sum().backward()
    other.step()
    assert torch.equal(weight, expected)
