from dataclasses import replace

import pytest
import torch

from helpers import TRAINING_RECIPE, FailingObjective, Stopped, train_supernet, zero_rate_step
from tinynas import Supernet, augment
from tinynas.models.supernet import extract_calibrated
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.tasks.registry import TASKS
from tinynas.training import graphs
from tinynas.training import loop as training_module
from tinynas.training.loop import train
from tinynas.training.objectives import PlainObjective
from tinynas.training.precision import MixedPrecision
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import DeviceError, TrainingError
from tinynas.utils.rng import generator

CPU = torch.device("cpu")


def test_train_learns(space, data, tmp_path):
    largest = replace(space.max(), resolution=12)
    space = augment(largest, width=[1], expand=[1])
    torch.manual_seed(0)
    supernet = Supernet(space)
    recipe = Recipe(epochs=6, batch_size=16, lr=0.05)
    train(
        supernet,
        lambda e: PlainObjective(largest, CrossEntropyLoss()),
        data,
        recipe,
        resolutions=(12,),
        checkpoint=tmp_path / "c.pt",
    )
    net = extract_calibrated(supernet, largest, data.calibration_batches(12))
    assert TASKS["classify"].accuracy(net, largest, data, data.val) > 90


def test_optimizer_does_not_decay_norms_and_biases(space):
    groups = training_module.make_optimizer(Supernet(space), Recipe(weight_decay=0.1)).param_groups
    decays = {p.ndim > 1: group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {True: 0.1, False: 0.0}
    assert all(group["nesterov"] for group in groups)


def test_train_skips_and_counts_steps_that_are_not_finite(space, data, tmp_path):
    torch.manual_seed(0)
    supernet, seen, weights = Supernet(space), [], []

    def after_step(progress):
        seen.append(progress.skipped)
        weights.append(supernet.net.stem.conv.weight.detach().clone())

    train(
        supernet,
        lambda epoch: FailingObjective(space, {3, 4}),
        data,
        replace(TRAINING_RECIPE, epochs=2),
        resolutions=(12,),
        checkpoint=tmp_path / "c.pt",
        after_step=after_step,
    )
    assert seen == [0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 4, 4]
    assert torch.equal(weights[2], weights[4])
    assert not torch.equal(weights[1], weights[2])
    assert all(tensor.isfinite().all() for tensor in supernet.parameters())


def test_train_ends_with_the_last_good_checkpoint_after_ten_such_steps_in_a_row(space, data, tmp_path):
    path = tmp_path / "c.pt"
    objective = FailingObjective(space, set(range(8, 1000)))
    with pytest.raises(TrainingError, match=r"10 steps in a row up to step 18 .*last finite checkpoint is .*c\.pt"):
        train_supernet(space, data, path, recipe=replace(TRAINING_RECIPE, epochs=9), objective=objective)
    content = torch.load(path, weights_only=True)
    assert content["step"] == 6
    assert all(tensor.isfinite().all() for tensor in content["model"].values())


def test_train_step_clips_gradients_to_their_norm(space, data):
    supernet = Supernet(space)
    batch = next(iter(data.training_batches(16, (12,), seed=0, epoch=0)))
    optimizer = training_module.make_optimizer(supernet, TRAINING_RECIPE)
    precision = MixedPrecision.for_device("fp32", CPU)
    norms = []
    for clip in (0.0, 0.01):
        zero_rate_step(supernet, FailingObjective(space, set()), batch, optimizer, precision, max_grad_norm=clip)
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in supernet.parameters()]).item())
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_train_with_freeze_epochs_begins_with_the_classifier(space, data, tmp_path):
    torch.manual_seed(0)
    supernet = Supernet(space)
    start, seen = {name: tensor.clone() for name, tensor in supernet.named_parameters()}, []

    def after_step(progress):
        now = dict(supernet.named_parameters())
        seen.append({name for name, tensor in start.items() if not torch.equal(tensor, now[name])})

    recipe = replace(TRAINING_RECIPE, epochs=2, freeze_epochs=1.0, warmup_epochs=0.5)
    objective = PlainObjective(replace(space.max(), resolution=12), CrossEntropyLoss())
    train(
        supernet,
        lambda epoch: objective,
        data,
        recipe,
        resolutions=(12,),
        checkpoint=tmp_path / "c.pt",
        after_step=after_step,
    )
    steps = data.steps_per_epoch(recipe.batch_size)
    assert seen[steps - 1] == {"net.head.classifier.weight", "net.head.classifier.bias"}
    assert len(seen[-1]) > 0.9 * len(start)


def test_optimizer_gives_the_classifier_its_own_rate(space):
    torch.manual_seed(0)
    groups = training_module.make_optimizer(Supernet(space), Recipe(lr=0.1, head_lr=0.5)).param_groups
    factors = {group["head"]: group["factor"] for group in groups}
    assert factors == {True: pytest.approx(5.0), False: 1.0}
    sizes = [len(group["params"]) for group in groups if group["head"]]
    assert sizes == [1, 1]
    one_rate = training_module.make_optimizer(Supernet(space), Recipe(lr=0.1)).param_groups
    assert {group["factor"] for group in one_rate} == {1.0}


def test_train_with_head_lr_scales_the_steps_of_the_classifier(space, data, tmp_path):
    """One step of plain SGD from the same weights: only the classifier's rate differs."""
    target, moved = replace(space.max(), resolution=12), {}
    for head_lr in (0.0, 0.25):
        torch.manual_seed(0)
        supernet = Supernet(augment(target, width=[1], expand=[1]))
        start = {name: tensor.clone() for name, tensor in supernet.named_parameters()}

        def after_step(progress, supernet=supernet, start=start, head_lr=head_lr):
            moved[head_lr] = {name: tensor.detach() - start[name] for name, tensor in supernet.named_parameters()}
            raise Stopped

        recipe = Recipe(
            epochs=1, batch_size=16, lr=0.05, head_lr=head_lr, momentum=0.0, weight_decay=0.0, warmup_epochs=0.0
        )
        with pytest.raises(Stopped):
            train(
                supernet,
                lambda epoch: PlainObjective(target, CrossEntropyLoss()),
                data,
                recipe,
                resolutions=(12,),
                checkpoint=tmp_path / f"{head_lr}.pt",
                after_step=after_step,
            )
    for name, step in moved[0.0].items():
        factor = 5.0 if "classifier" in name else 1.0
        torch.testing.assert_close(moved[0.25][name], factor * step, rtol=1e-3, atol=1e-6)


def test_train_freezes_part_of_an_epoch(space, data, tmp_path):
    learning, recipe = [], replace(TRAINING_RECIPE, epochs=1, freeze_epochs=0.5)
    supernet, objective = Supernet(space), PlainObjective(replace(space.max(), resolution=12), CrossEntropyLoss())
    stem = supernet.net.stem.conv.weight
    train(
        supernet,
        lambda epoch: objective,
        data,
        recipe,
        resolutions=(12,),
        checkpoint=tmp_path / "c.pt",
        after_step=lambda progress: learning.append(stem.requires_grad),
    )
    half = -(-len(learning) // 2)
    assert learning == [False] * half + [True] * (len(learning) - half)


def test_train_step_keeps_one_graph_alive_at_a_time(space, data):
    supernet = Supernet(space)
    batch = next(iter(data.training_batches(16, (12,), seed=0, epoch=0)))
    optimizer, norms = training_module.make_optimizer(supernet, TRAINING_RECIPE), []

    class Noted:
        reports_last = False

        def losses(self, supernet, batch, rng):
            for arch in (space.max(), space.min()):
                norms.append(sum(p.grad.norm().item() for p in supernet.parameters() if p.grad is not None))
                yield supernet(batch.images, replace(arch, resolution=12)).square().mean()

    zero_rate_step(supernet, Noted(), batch, optimizer, MixedPrecision.for_device("fp32", CPU))
    assert norms[0] == 0 < norms[1], "the first loss went backward before the second was made"


def test_a_step_seeds_torch_as_manual_seed_does():
    training_module._seed_step(3, 7, torch.device("cpu"))
    numbers = torch.rand(4)
    torch.manual_seed(int(generator(3, "dropout", 7).integers(2**31)))
    assert torch.equal(torch.rand(4), numbers)


def test_train_ends_with_one_line_when_the_device_fails(space, data, tmp_path, monkeypatch):
    def fail(*arguments, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(training_module, "train_step", fail)
    with pytest.raises(DeviceError, match=r"the device's memory is too small .*; try a smaller --batch-size"):
        train_supernet(space, data, tmp_path / "c.pt")


def test_steps_that_cannot_be_recorded_are_noted_once(data, monkeypatch):
    def fail(step, batch):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(graphs, "_Recording", fail)
    monkeypatch.setattr(torch.cuda, "synchronize", int)
    optimizer = training_module.make_optimizer(torch.nn.Linear(2, 2), Recipe())
    notes: list[str] = []
    steps = graphs.RecordedSteps(optimizer, most=8, note=notes.append)
    for kind in ("a", "b"):
        for batch in data.training_batches(16, (12,), seed=0, epoch=0):
            assert steps.run(lambda batch: torch.tensor(batch.number), batch, (kind,)) == batch.number
    reason = "operation not permitted when stream is capturing"
    assert notes == [f"steps are not recorded as CUDA graphs, and take longer: {reason}"]
