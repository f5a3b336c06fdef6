import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tinynas import Supernet, augment
from tinynas.models.supernet import extract_calibrated
from tinynas.tasks.losses import CrossEntropyLoss
from tinynas.tasks.registry import TASKS
from tinynas.training import loop as training_module
from tinynas.training.loop import train, train_step
from tinynas.training.objectives import NetAugObjective, PlainObjective, SandwichObjective
from tinynas.training.precision import MixedPrecision
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import FileError, InputError, TrainingError

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, warmup_epochs=1.0)


class Stopped(Exception):
    pass


def run(space, data, checkpoint, *, recipe=RECIPE, stop_after=None, objective=None, sort=False):
    torch.manual_seed(0)
    supernet = Supernet(space)

    def after_step(progress):
        if progress.step == stop_after:
            raise Stopped

    train(
        supernet,
        lambda epoch: objective or SandwichObjective(space),
        data,
        recipe,
        resolutions=space.resolution,
        checkpoint=checkpoint,
        before_epoch=lambda epoch, optimizer: supernet.sort_channels(optimizer) if sort else None,
        after_step=after_step,
    )
    return supernet.state_dict()


def test_training_learns(space, data, tmp_path):
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


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("stop_after", [1, 5, 6, 7, 12, 17])
def test_a_stopped_training_ends_with_the_same_weights_to_the_bit(space, data, tmp_path, monkeypatch, stop_after, sort):
    monkeypatch.setattr("tinynas.training.checkpoint._SAVE_SECONDS", 0.0)
    if sort:
        target = replace(space.min(), resolution=12)
        space = augment(target, width=[1, 2], expand=[1, 2])
        objective = NetAugObjective(target, space, CrossEntropyLoss())
    else:
        objective = SandwichObjective(space)
    expected = run(space, data, tmp_path / "whole.pt", objective=objective, sort=sort)
    with pytest.raises(Stopped):
        run(space, data, tmp_path / "cut.pt", stop_after=stop_after, objective=objective, sort=sort)
    resumed = run(space, data, tmp_path / "cut.pt", objective=objective, sort=sort)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())


def test_killed_with_9_it_resumes_to_the_same_bits(tmp_path):
    """The real thing: a process is killed twice at arbitrary moments, resumed, and compared to one that was not."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tinynas.cli", "retrain"]
    arch = tmp_path / "tiny.yaml"
    arch.write_text(
        "resolution: 16\nstem: {out: 4}\nstages:\n"
        "- - {out: 8, kernel: 3, stride: 2, mid: 8}\n  - {out: 8, kernel: 3, mid: 16, residual: true}\n"
    )
    start = [*command, str(arch), "--netaug", "--epochs", "12", "--batch-size", "512", "--name", "x"]
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    subprocess.run(start, cwd=tmp_path / "whole", env=environment, check=True)
    words = start
    for checkpoints in (1, 4):
        process = subprocess.Popen(words, cwd=tmp_path / "cut", env=environment)
        wait_for_log(tmp_path / "cut", checkpoints, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not list((tmp_path / "cut").glob("runs/*/retrain/x/metrics.json"))
        words = [*command, "--resume"]
    subprocess.run(words, cwd=tmp_path / "cut", env=environment, check=True)
    (whole,), (cut,) = ((tmp_path / name).glob("runs/*/retrain/x") for name in ("whole", "cut"))
    expected, resumed = load_file(whole / "model.safetensors"), load_file(cut / "model.safetensors")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())
    epochs = [line.split('"epoch": ')[1].split(",")[0] for line in (cut / "log.jsonl").read_text().splitlines()]
    assert epochs == [str(i) for i in range(1, 13)]


def wait_for_log(folder, lines, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for log in folder.glob("runs/*/retrain/x/log.jsonl"):
            if log.read_text().count("\n") >= lines:
                return
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    raise AssertionError("no epoch in two minutes")


def test_the_rate_warms_up_from_0_and_falls_to_0():
    recipe = Recipe(epochs=10, lr=0.4, warmup_epochs=2)
    rates = [recipe.rate(epoch) for epoch in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.2, 0.4, 0.2, 0])
    assert Recipe(epochs=1, lr=1.0, warmup_epochs=5).rate(0.5) == pytest.approx(
        1.0
    )  # at most half of the time is warm-up


def test_norms_and_biases_do_not_decay(space):
    groups = training_module.make_optimizer(Supernet(space), Recipe(weight_decay=0.1)).param_groups
    decays = {p.ndim > 1: group["weight_decay"] for group in groups for p in group["params"]}
    assert decays == {True: 0.1, False: 0.0}
    assert all(group["nesterov"] for group in groups)


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"lr": 0}, {"lr": -1.0}, {"momentum": 1.5}, {"seed": -1}, {"batch_size": 0}]
)
def test_a_recipe_out_of_range(change):
    with pytest.raises(InputError, match="must hold, but got"):
        Recipe(**change)


class Failing:
    """An objective whose loss is nan at these calls."""

    def __init__(self, space, steps):
        self.space, self.steps = space, steps
        self.calls = iter(range(1000))

    def losses(self, supernet, batch, rng):
        factor = float("nan") if next(self.calls) in self.steps else 1.0
        arch = replace(self.space.max(), resolution=batch.images.shape[-1])
        yield factor * torch.nn.functional.cross_entropy(supernet(batch.images, arch), batch.labels)


def step(supernet, objective, batch, optimizer, precision, *, max_grad_norm=0.0):
    """A step whose learning rate leaves the weights as they are."""
    return train_step(supernet, objective, batch, None, optimizer, precision, lr=0.0, max_grad_norm=max_grad_norm)


def test_a_step_that_is_not_finite_is_skipped_and_counted(space, data, tmp_path):
    torch.manual_seed(0)
    supernet, seen, weights = Supernet(space), [], []

    def after_step(progress):
        seen.append(progress.skipped)
        weights.append(supernet.net.stem.conv.weight.detach().clone())

    train(
        supernet,
        lambda epoch: Failing(space, {4, 5}),
        data,
        replace(RECIPE, epochs=2),
        resolutions=(12,),
        checkpoint=tmp_path / "c.pt",
        after_step=after_step,
    )
    assert seen == [0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 4]
    assert torch.equal(weights[3], weights[5])
    assert not torch.equal(weights[2], weights[3])
    assert all(tensor.isfinite().all() for tensor in supernet.parameters())


def test_ten_such_steps_in_a_row_end_the_training_with_the_last_good_checkpoint(space, data, tmp_path):
    path = tmp_path / "c.pt"
    objective = Failing(space, set(range(8, 1000)))
    with pytest.raises(TrainingError, match=r"10 steps in a row up to step 18 .*last good checkpoint is .*c\.pt"):
        run(space, data, path, recipe=replace(RECIPE, epochs=9), objective=objective)
    content = torch.load(path, weights_only=True)
    assert content["step"] == 6
    assert all(tensor.isfinite().all() for tensor in content["model"].values())


def test_gradients_are_clipped_to_their_norm(space, data):
    supernet = Supernet(space)
    batch = next(iter(data.training_batches(16, (12,), seed=0, epoch=0)))
    optimizer = training_module.make_optimizer(supernet, RECIPE)
    precision = MixedPrecision.for_device("fp32", CPU)
    norms = []
    for clip in (0.0, 0.01):
        step(supernet, Failing(space, set()), batch, optimizer, precision, max_grad_norm=clip)
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in supernet.parameters()]).item())
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_at_first_only_the_classifier_learns(space, data, tmp_path):
    torch.manual_seed(0)
    supernet = Supernet(space)
    start, seen = {name: tensor.clone() for name, tensor in supernet.named_parameters()}, []

    def after_step(progress):
        now = dict(supernet.named_parameters())
        seen.append({name for name, tensor in start.items() if not torch.equal(tensor, now[name])})

    recipe = replace(RECIPE, epochs=2, freeze_epochs=1.0, warmup_epochs=0.5)
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


def test_the_classifier_has_its_own_rate(space):
    torch.manual_seed(0)
    groups = training_module.make_optimizer(Supernet(space), Recipe(lr=0.1, head_lr=0.5)).param_groups
    factors = {group["head"]: group["factor"] for group in groups}
    assert factors == {True: pytest.approx(5.0), False: 1.0}
    sizes = [len(group["params"]) for group in groups if group["head"]]
    assert sizes == [1, 1]
    one_rate = training_module.make_optimizer(Supernet(space), Recipe(lr=0.1)).param_groups
    assert {group["factor"] for group in one_rate} == {1.0}


def test_a_step_of_the_classifier_is_as_many_times_as_long(space, data, tmp_path):
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
    for name, one in moved[0.0].items():
        factor = 5.0 if "classifier" in name else 1.0
        torch.testing.assert_close(moved[0.25][name], factor * one, rtol=1e-3, atol=1e-6)


def test_part_of_an_epoch_is_frozen(space, data, tmp_path):
    learning, recipe = [], replace(RECIPE, epochs=1, freeze_epochs=0.5)
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


def test_a_step_makes_a_graph_when_the_one_before_is_done_with(space, data):
    supernet = Supernet(space)
    batch = next(iter(data.training_batches(16, (12,), seed=0, epoch=0)))
    optimizer, norms = training_module.make_optimizer(supernet, RECIPE), []

    class Noted:
        def losses(self, supernet, batch, rng):
            for arch in (space.max(), space.min()):
                norms.append(sum(p.grad.norm().item() for p in supernet.parameters() if p.grad is not None))
                yield supernet(batch.images, replace(arch, resolution=12)).square().mean()

    step(supernet, Noted(), batch, optimizer, MixedPrecision.for_device("fp32", CPU))
    assert norms[0] == 0 < norms[1], "the first loss went backward before the second was made"


def test_fp16_needs_a_gpu(space, data, tmp_path):
    with pytest.raises(InputError, match="precision fp16 needs a GPU"):
        run(space, data, tmp_path / "c.pt", recipe=replace(RECIPE, precision="fp16"))


def test_losses_are_scaled_for_fp16_and_gradients_are_not(space, data):
    """What a GPU would do: the scaler's part of a step, with its scale, here in full precision."""
    supernet = Supernet(space)
    batch = next(iter(data.training_batches(16, (12,), seed=0, epoch=0)))
    optimizer, gradients, scales = training_module.make_optimizer(supernet, RECIPE), [], []
    for enabled in (False, True):
        scaler = torch.amp.GradScaler("cpu", enabled=enabled, init_scale=1024.0)
        precision = replace(MixedPrecision.for_device("fp32", CPU), scaler=scaler)
        assert step(supernet, Failing(space, set()), batch, optimizer, precision).finite
        gradients.append([p.grad.clone() for p in supernet.parameters()])
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-7) for one, other in zip(*gradients, strict=True))
    scales.append(scaler.get_scale())
    assert not step(supernet, Failing(space, {0}), batch, optimizer, precision).finite
    assert scaler.get_scale() == scales[0] / 2, "a step that overflowed halves the scale"


@pytest.mark.parametrize("change", [{"precision": "fp8"}, {"augmentation": "wild"}])
def test_an_unknown_choice_is_named(change):
    with pytest.raises(InputError, match=r"unknown (precision|augmentation)"):
        Recipe(**change)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:3000] + b"\xff" + raw[3001:],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: b"garbage" * 100,
    ],
)
def test_a_damaged_checkpoint_is_named(space, data, tmp_path, damage):
    path = tmp_path / "c.pt"
    run(space, data, path, recipe=replace(RECIPE, epochs=1))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=r"c\.pt is corrupt or of another network; delete it"):
        run(space, data, path)


def test_a_checkpoint_of_another_network_is_named(space, data, tmp_path):
    run(space, data, tmp_path / "c.pt", recipe=replace(RECIPE, epochs=1))
    other = replace(space, classes=7)
    with pytest.raises(FileError, match="another network"):
        run(other, data, tmp_path / "c.pt")


def test_checkpoints_are_plain_data(space, data, tmp_path):
    run(space, data, tmp_path / "c.pt", recipe=replace(RECIPE, epochs=1))
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    assert content["step"] == 6


def test_on_a_full_disk_the_previous_checkpoint_stays(space, data, tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    run(space, data, path, recipe=replace(RECIPE, epochs=1))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match=r"cannot write .*c\.pt: No space left on device; the previous one is kept"):
        run(space, data, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
