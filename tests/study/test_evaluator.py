from dataclasses import replace

import pytest
import torch

from helpers import sampled
from tinynas.data.memory import MemorySplit
from tinynas.models.batchnorm import recalibrate
from tinynas.models.network import fold
from tinynas.models.supernet import Supernet, extract_calibrated
from tinynas.study import evaluator
from tinynas.study.evaluator import SubnetEvaluator
from tinynas.tasks.task import Task


@pytest.fixture
def supernet(space):
    torch.manual_seed(0)
    supernet = Supernet(space).train()
    supernet(torch.randn(8, 1, 12, 12), space.max())
    return supernet


@pytest.fixture
def limit_evaluation(monkeypatch):
    """Lets an evaluation of more images at once than a number, if any, raise what torch raises on a full GPU."""
    batch_sizes = []
    evaluate = Task.evaluate

    def limit(most):
        def limited(task, model, arch, data, split, *, batch_size):
            batch_sizes.append(batch_size)
            if batch_size > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return evaluate(task, model, arch, data, split, batch_size=batch_size)

        monkeypatch.setattr(Task, "evaluate", limited)
        return batch_sizes

    return limit


def test_subnet_evaluator_repeats_and_changes_nothing(data, space, supernet):
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    evaluate = SubnetEvaluator(supernet, data)
    arch = space.min()
    assert evaluate(arch) == evaluate(arch) == SubnetEvaluator(supernet, data)(arch)
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


def test_subnet_evaluator_reads_the_images_of_a_resolution_once(data, space, supernet, monkeypatch):
    archs = [replace(sampled(space, number), resolution=12) for number in range(3)]
    expected = [SubnetEvaluator(supernet, data)(arch) for arch in archs]
    requested = []
    batches = MemorySplit.batches

    def counting(split, requests, normalise):
        wanted = list(requests)
        requested.extend(wanted)
        return batches(split, wanted, normalise)

    monkeypatch.setattr(MemorySplit, "batches", counting)
    evaluate = SubnetEvaluator(supernet, data)
    assert [evaluate(arch) for arch in archs] == expected
    assert sum(len(request.indices) for request in requested) == len(data.val) + len(data.train)


def test_subnet_evaluator_halves_the_batch_until_it_fits(data, space, supernet, limit_evaluation):
    archs = [sampled(space, number) for number in range(4)]
    expected = [SubnetEvaluator(supernet, data)(arch) for arch in archs]
    notes = []
    batch_sizes = limit_evaluation(7)
    evaluate = SubnetEvaluator(supernet, data, note=notes.append)
    assert [evaluate(arch) for arch in archs] == expected
    assert batch_sizes == [250, 125, 62, 31, 15, 7, 7, 7, 7]
    assert notes == [
        "out of memory on the GPU: from now on, networks are evaluated in batches of 7 images instead of 250"
    ]


def test_subnet_evaluator_lets_out_of_memory_out_at_last(data, space, supernet, limit_evaluation):
    batch_sizes = limit_evaluation(0)
    evaluate = SubnetEvaluator(supernet, data)
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(space.min())
    assert batch_sizes == [250, 125, 62, 31, 15, 7, 3, 1]
    limit_evaluation(250)
    evaluate(space.min())
    assert batch_sizes[8:] == [250], "a network for which nothing is enough decides nothing for the next"


def test_subnet_evaluator_recalibrates_on_the_cpu_instead(data, space, supernet, monkeypatch):
    expected = SubnetEvaluator(supernet, data)(space.min())
    calls = []

    def out_of_memory(*args):
        calls.append(args)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(evaluator, "extract_calibrated", out_of_memory)
    notes = []
    evaluate = SubnetEvaluator(supernet, data, note=notes.append)
    assert evaluate(space.min()) == evaluate(space.min()) == expected
    assert len(calls) == 1
    assert notes == ["out of memory on the GPU: from now on, batch norm is recalibrated on the CPU"]


def test_outputs_hardly_depend_on_the_batch(data, space, supernet):
    """And do on the batches of the calibration, which are therefore never divided."""
    images = torch.cat(data.calibration_batches(12))
    arch = space.max()
    net = extract_calibrated(supernet, arch, [images])
    folded = fold(net)
    with torch.no_grad():
        whole = folded(images)
        parts = torch.cat([folded(part) for part in images.split(1)])
        recalibrate(net, images.split(3))
        otherwise = net(images)
    scale = whole.abs().max()
    assert (parts - whole).abs().max() < 1e-5 * scale
    assert (otherwise - whole).abs().max() > 1e-3 * scale
