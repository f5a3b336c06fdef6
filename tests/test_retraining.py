"""What a retraining can be told: NetAug's settings, a teacher, weights that are there."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from conftest import RECIPE, Quiet

from tinynas import Supernet, augment, build, load, load_arch, load_space
from tinynas.arch.netaug import family_factors
from tinynas.data.base import Batch
from tinynas.experiment.config import Distillation, NetAug, RetrainConfig, RetrainPlan, read_settings, with_settings
from tinynas.experiment.run_folder import read_config
from tinynas.models.model_file import Model, save_model
from tinynas.models.supernet import extract_calibrated
from tinynas.pipelines.planning import plan_retraining
from tinynas.pipelines.retrain import initial_supernet, retrain
from tinynas.pipelines.run_supernet import read_supernet
from tinynas.pipelines.search import search
from tinynas.pipelines.teachers import load_teacher
from tinynas.training.distillation import Teacher
from tinynas.utils.errors import BudgetError, FileError, InputError, TrainingError


def overlap(one, other):
    """The part that two tensors of one name share: leading channels, the centre of kernels."""

    def part(tensor):
        channels = tuple(slice(0, min(a, b)) for a, b in zip(one.shape[:2], other.shape[:2], strict=True))
        size = min(one.shape[-1], other.shape[-1])
        start = (tensor.shape[-1] - size) // 2
        kernel = (slice(start, start + size),) * 2 if tensor.ndim == 4 else ()
        return tensor[(*channels, *kernel)]

    return part(one), part(other)


@pytest.fixture
def searched(watched, plan):
    search(plan, report=Quiet())
    return plan.run


@pytest.mark.parametrize("netaug", [None, NetAug(width=(1.0, 4.0), expand=(1.0, 4.0))])
def test_a_network_starts_from_the_supernets_weights_and_is_fresh_around_them(searched, watched, netaug):
    arch = load_arch(searched / "best.yaml")
    config = RetrainConfig(init="supernet", netaug=netaug, recipe=RECIPE)
    start = initial_supernet(RetrainPlan(folder=searched / "retrain" / "r", arch=arch, config=config), arch, watched)
    theirs = read_supernet(searched, watched).net.state_dict()
    larger = 0
    for name, tensor in start.net.state_dict().items():
        if tensor.ndim:
            mine, other = overlap(tensor, theirs[name])
            assert torch.equal(mine, other), name
            larger += tensor.numel() > mine.numel()
    assert (larger > 0) == bool(netaug)
    assert all(parameter.std() > 0 for parameter in start.parameters() if parameter.ndim > 1)
    target = start.extract(arch).state_dict()
    searched_one = read_supernet(searched, watched).extract(arch).state_dict()
    assert all(torch.equal(target[name], tensor) for name, tensor in searched_one.items())


def test_netaug_with_the_supernet_as_teacher(searched, watched):
    plan = plan_retraining(
        str(searched), name=None, resume=False, netaug=True, given={"teacher": "supernet", "epochs": 2, "lr": 0.02}
    )
    assert plan.folder == searched / "retrain" / "netaug-teacher"
    metrics = retrain(plan, report=Quiet())
    assert metrics["teacher"] == "supernet"
    assert metrics["netaug"] is True
    assert load(plan.folder / "model.safetensors").arch == load_arch(searched / "best.yaml")


def test_netaug_and_a_teacher_with_no_other_flag(searched, watched, tinynas, monkeypatch):
    monkeypatch.chdir(searched.parent.parent)
    code, _, err = tinynas("retrain", str(searched), "--netaug", "--teacher", "supernet")
    assert code == 0, err
    metrics = json.loads((searched / "retrain" / "netaug-teacher" / "metrics.json").read_text())
    assert (metrics["epochs"], metrics["netaug"], metrics["teacher"]) == (20, True, "supernet")


def test_the_supernet_teaches_as_its_largest_network_calibrated(searched, watched):
    supernet = read_supernet(searched, watched)
    arch = replace(supernet.space.max(), resolution=12)
    teacher = load_teacher("supernet", searched, load_arch(searched / "best.yaml"), watched)
    images = watched.normalise(watched.train.images[:8])
    expected = extract_calibrated(supernet, arch, watched.calibration_batches(12))(images)
    answers = teacher(Batch(images, torch.zeros(8, dtype=torch.long), torch.arange(8), 0))
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-5)
    smallest = extract_calibrated(supernet, replace(supernet.space.min(), resolution=12), [images])
    assert not torch.allclose(answers, smallest(images), atol=1e-3)


def test_a_network_is_judged_with_its_own_statistics(searched, watched):
    supernet = read_supernet(searched, watched)
    arch = replace(supernet.space.min(), resolution=12)
    net = extract_calibrated(supernet, arch, watched.calibration_batches(12))
    images = torch.cat(watched.calibration_batches(12))
    maps = net.stem.conv(images)
    torch.testing.assert_close(net.stem.norm.running_mean, maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_a_teacher_is_asked_once_about_an_image_that_never_changes(watched, space, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Teacher, "_evaluate", lambda self, images: asked.append(len(images)) or torch.zeros(len(images), 3)
    )
    model, arch = tmp_path / "model.safetensors", replace(space.min(), resolution=12)
    save_model(model, Model(net=build(arch), data="small", classes=watched.classes, normalise=watched.normalise))
    for augmentation, passes in (("none", 1), ("standard", RECIPE.epochs)):
        asked.clear()
        config = RetrainConfig(
            distillation=Distillation(teacher=str(model)), recipe=replace(RECIPE, augmentation=augmentation)
        )
        retrain(RetrainPlan(folder=tmp_path / augmentation, arch=arch, config=config), report=Quiet())
        seen = len(watched.train) // RECIPE.batch_size * RECIPE.batch_size
        assert (
            seen * passes
            <= sum(asked)
            <= len(watched.train) * passes + RECIPE.batch_size * RECIPE.epochs * (passes == 1)
        )
        assert (sum(asked) < 1.9 * len(watched.train)) == (passes == 1)


@pytest.mark.parametrize("augmented", [False, True])
def test_who_is_taught_what(watched, space, tmp_path, augmented, monkeypatch):
    """The criteria that a step gets: at the temperature, of the augmented networks only if that is asked."""
    given = {}
    model, arch = tmp_path / "model.safetensors", replace(space.min(), resolution=12)
    save_model(model, Model(net=build(arch).eval(), data="small", classes=watched.classes, normalise=watched.normalise))
    teaching = Distillation(teacher=str(model), teacher_weight=1.0, temperature=3.0, teach_augmented=augmented)
    config = RetrainConfig(netaug=NetAug(), distillation=teaching, recipe=RECIPE)

    def noted(target, space, loss, *, augmented_loss, **how):
        given.update(target=loss, augmented=augmented_loss or loss)
        raise KeyboardInterrupt

    monkeypatch.setattr("tinynas.pipelines.retrain.NetAugObjective", noted)
    with pytest.raises(KeyboardInterrupt):
        retrain(RetrainPlan(folder=tmp_path / "r", arch=arch, config=config), report=Quiet())
    images = watched.normalise(watched.train.images[:4])
    batch, logits = Batch(images, watched.train.labels[:4], torch.arange(4), 0), torch.randn(4, 3)
    soft = (load(model)(images) / 3).softmax(1)
    taught = 9 * torch.nn.functional.cross_entropy(logits / 3, soft)
    labelled = torch.nn.functional.cross_entropy(logits, batch.labels, label_smoothing=RECIPE.label_smoothing)
    of_target, of_augmented = (given[name](logits, given[name].targets(batch)) for name in ("target", "augmented"))
    torch.testing.assert_close(of_target, taught)
    torch.testing.assert_close(of_augmented, taught if augmented else labelled)


def test_sorting_moves_momentum_and_leaves_weights_that_are_carried_over(searched, watched, monkeypatch):
    sorted_with = []

    def noted(supernet, optimizer):
        sorted_with.append([bool(state) for state in optimizer.state.values()])

    monkeypatch.setattr(Supernet, "sort_channels", noted)
    given = {"init": "supernet", "sort": True, "epochs": 4, "width_until": 1.0}
    retrain(plan_retraining(str(searched), name=None, resume=False, netaug=True, given=given), report=Quiet())
    assert len(sorted_with) == 3, "before every epoch but the first, in which the target's weights are in front"
    assert all(momenta and all(momenta) for momenta in sorted_with)


def test_a_seed_decides_the_initial_weights(watched, space, tmp_path):
    def start(seed):
        config = RetrainConfig(recipe=replace(RECIPE, seed=seed))
        return initial_supernet(
            RetrainPlan(folder=tmp_path, arch=space.min(), config=config), space.min(), watched
        ).net.stem

    assert torch.equal(start(1).conv.weight, start(1).conv.weight)
    assert not torch.equal(start(1).conv.weight, start(2).conv.weight)


def test_a_resumed_retraining_does_not_need_its_source(watched, space, tmp_path):
    arch, source = replace(space.min(), resolution=12), tmp_path / "source.safetensors"
    save_model(source, Model(net=build(arch), data="small", classes=watched.classes, normalise=watched.normalise))
    plan = RetrainPlan(folder=tmp_path / "r", arch=arch, config=RetrainConfig(init=str(source), recipe=RECIPE))
    with pytest.raises(KeyboardInterrupt):
        retrain(plan, report=Interrupting(after=8))
    source.unlink()
    assert retrain(plan, report=Quiet())["init"] == str(source)


def test_what_cannot_be_trained_leaves_no_folder(watched, space, tmp_path):
    config = RetrainConfig(recipe=replace(RECIPE, precision="fp16"))
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        retrain(
            RetrainPlan(folder=tmp_path / "r", arch=replace(space.min(), resolution=12), config=config), report=Quiet()
        )
    assert not (tmp_path / "r").exists()


def test_weights_that_are_not_finite_are_not_delivered(watched, space, tmp_path):
    config = RetrainConfig(recipe=replace(RECIPE, lr=1e30, epochs=1, batch_size=60, warmup_epochs=0.0))
    plan = RetrainPlan(folder=tmp_path / "r", arch=replace(space.min(), resolution=12), config=config)
    with pytest.raises(TrainingError, match="diverged"):
        retrain(plan, report=Quiet())
    assert not (tmp_path / "r" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NetAug(width=(1.0,), expand=(1.0,)), "NetAug widens widths or expansions"),
        (lambda: NetAug(width=(1.0,), sort=True), "only augmented widths are sorted"),
        (lambda: NetAug(alpha=float("inf")), "0 <= alpha < inf"),
        (lambda: Distillation(teacher="t", temperature=float("inf")), "0 < temperature < inf"),
        (lambda: RetrainConfig(distillation=Distillation(teacher="t", teach_augmented=True)), "taught with --netaug"),
        (lambda: replace(RECIPE, lr=float("inf")), "0 < lr < inf"),
        (lambda: replace(RECIPE, batch_size=1), "batch_size > 1"),
        (lambda: replace(RECIPE, freeze_epochs=RECIPE.epochs + 1), "freeze_epochs <= epochs"),
        (lambda: augment(load_arch("mcunet-in3"), width=(1.0, float("nan"))), "width factors begin with 1"),
        (lambda: augment(load_arch("mcunet-in3"), expand=(1.0, float("inf"))), "expand factors begin with 1"),
    ],
)
def test_settings_without_sense(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_plans_without_sense(searched, watched, monkeypatch):
    how = {"resume": False, "netaug": True}
    for name in ("a/b", "../out", "", ".."):
        with pytest.raises(InputError, match="a name is that of one folder"):
            plan_retraining(str(searched), name=name, given={}, **how)
    with pytest.raises(InputError, match="unknown initialisation 'kaiming-unifrom'; did you mean 'kaiming-uniform'"):
        plan_retraining(str(searched), name=None, given={"init": "kaiming-unifrom"}, **how)
    for given in ({"init": "supernet"}, {"teacher": "supernet"}):
        with pytest.raises(InputError, match=r"a supernet starts and teaches .*\(supernet='digits', network='other'\)"):
            plan_retraining(str(searched), name=None, given={"data": "other", **given}, **how)


def test_every_setting_changes_what_is_trained(watched, space, tmp_path):
    """A setting that nothing listens to would give the same weights."""
    model = tmp_path / "teacher.safetensors"
    arch = replace(space.min(), resolution=12)
    save_model(model, Model(net=build(arch), data="small", classes=watched.classes, normalise=watched.normalise))
    base = RetrainConfig(netaug=NetAug(), distillation=Distillation(teacher=str(model)), recipe=RECIPE)
    changes = [
        {},
        {"alpha": 0.5},
        {"num_augmented": 2},
        {"every": 2},
        {"sort": True, "width_until": 1.0},
        {"width_until": 1.0},
        {"expand_until": 1.0},
        {"width": (1.0, 3.0)},
        {"expand": (1.0, 3.0)},
        {"teacher_weight": 0.9},
        {"temperature": 4.0},
        {"teach_augmented": True},
        {"dropout": 0.5},
        {"init": "kaiming-uniform"},
        {"init": str(model)},
        {"freeze_epochs": 1.0},
        {"head_lr": 0.5},
        {"augmentation": "none"},
        {"augmentation": "strong"},
        {"precision": "fp32", "seed": 1},
    ]
    found = []
    for i, change in enumerate(changes):
        config = with_settings(base, change)
        retrain(RetrainPlan(folder=tmp_path / str(i), arch=arch, config=config), report=Quiet())
        state = load(tmp_path / str(i) / "model.safetensors").state_dict()
        found.append(torch.cat([tensor.flatten().double() for tensor in state.values()]))
        written = read_config(tmp_path / str(i) / "config.yaml")
        del written["arch"]
        assert read_settings(RetrainConfig, written, "config.yaml") == config
    assert len({tuple(weights.tolist()) for weights in found}) == len(changes)


def test_a_setting_of_something_that_is_not_trained_is_refused():
    with pytest.raises(InputError, match=r"alpha is a setting of --netaug"):
        with_settings(RetrainConfig(), {"alpha": 0.5})
    with pytest.raises(InputError, match=r"temperature is a setting of --teacher"):
        with_settings(RetrainConfig(netaug=NetAug()), {"temperature": 2.0})


@pytest.mark.parametrize(
    "change", [{"alpha": -1.0}, {"every": 0}, {"num_augmented": 0}, {"width_until": 1.5}, {"expand_until": -0.1}]
)
def test_settings_out_of_range(change):
    with pytest.raises(InputError, match="must hold, but got"):
        NetAug(**change)
    for wrong in ({"dropout": 1.0}, {"dropout": -0.1}):
        with pytest.raises(InputError, match="0 <= dropout < 1"):
            RetrainConfig(**wrong)
    for wrong in ({"teacher_weight": 1.1}, {"temperature": 0.0}):
        with pytest.raises(InputError, match="must hold, but got"):
            Distillation(teacher="supernet", **wrong)


def test_a_delivered_model_goes_on_with_other_classes(watched, space, tmp_path, monkeypatch):
    """Everything but the classifier is carried over, also into the corner of the augmented networks."""
    monkeypatch.chdir(tmp_path)
    arch = replace(space.min(), resolution=12, classes=5)
    net = build(arch)
    path = tmp_path / "pretrained.safetensors"
    save_model(path, Model(net=net, data="other", classes=tuple("vwxyz"), normalise=watched.normalise))
    given = {"data": "small", "epochs": 1, "freeze_epochs": 0.5, "head_lr": 0.2}
    plan = plan_retraining(None, name=None, resume=False, netaug=True, source=path, given=given)
    target = replace(plan.arch, classes=3)
    start = initial_supernet(plan, target, watched).extract(target).state_dict()
    for name, tensor in net.state_dict().items():
        if not name.startswith("head.classifier"):
            assert torch.equal(start[name], tensor), name
    assert start["head.classifier.weight"].shape[0] == 3
    retrain(plan, report=Quiet())
    assert load(plan.folder / "model.safetensors").arch == target
    assert read_config(plan.folder / "config.yaml")["init"] == str(path)


def test_the_same_classes_keep_their_classifier(watched, space, tmp_path):
    arch = replace(space.min(), resolution=12)
    net, path = build(arch), tmp_path / "pretrained.safetensors"
    save_model(path, Model(net=net, data="small", classes=watched.classes, normalise=watched.normalise))
    config = RetrainConfig(init=str(path), recipe=RECIPE)
    start = initial_supernet(RetrainPlan(folder=tmp_path / "r", arch=arch, config=config), arch, watched).extract(arch)
    assert all(torch.equal(start.state_dict()[name], tensor) for name, tensor in net.state_dict().items())


def test_a_model_of_other_colours_is_refused(watched, space, tmp_path):
    arch, path = replace(space.min(), in_channels=3), tmp_path / "colour.safetensors"
    save_model(path, Model(net=build(arch), data="other", classes=("a", "b", "c"), normalise=watched.normalise))
    config = RetrainConfig(init=str(path), recipe=RECIPE)
    with pytest.raises(InputError, match=r"same number of input channels: the model .* has 3, the data set 1"):
        initial_supernet(RetrainPlan(folder=tmp_path / "r", arch=arch, config=config), arch, watched)


def test_limits_choose_a_network_of_the_front(searched):
    front = json.loads((searched / "front.json").read_text())["front"]
    for limit in sorted(entry["macs"] for entry in front):
        plan = plan_retraining(str(searched), name=None, resume=False, netaug=False, limits={"macs": limit}, given={})
        best = max((entry for entry in front if entry["macs"] <= limit), key=lambda entry: entry["accuracy"])
        assert plan.arch.to_dict() == best["arch"]
        assert plan.folder.name == f"plain-macs-{limit}"
    with pytest.raises(BudgetError, match=r"no network of .*'s front is within macs <= 10; its least are macs"):
        plan_retraining(str(searched), name=None, resume=False, netaug=False, limits={"macs": 10}, given={})


def test_only_a_run_has_a_supernet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ({"init": "supernet"}, {"teacher": "supernet"}):
        with pytest.raises(InputError, match=r"only a run has a supernet .*, and mcunet-in3 is none"):
            plan_retraining("mcunet-in3", name=None, resume=False, netaug=False, given=given)
    with pytest.raises(FileError, match=r"no .*best\.yaml"):
        plan_retraining(None, name=None, resume=False, netaug=False, given={"init": "supernet"})


def test_what_would_be_ignored_is_refused(space, watched, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    how = {"name": None, "resume": False, "netaug": False}
    with pytest.raises(InputError, match=r"limits choose a network of a run's front` must hold, but got .macs=10"):
        plan_retraining("mcunet-in3", limits={"macs": 10}, given={}, **how)
    path = tmp_path / "pretrained.safetensors"
    save_model(path, Model(net=build(space.min()), data="a", classes=tuple("abc"), normalise=watched.normalise))
    with pytest.raises(InputError, match=r"limits choose"):
        plan_retraining(None, source=path, limits={"macs": 10}, given={}, **how)
    with pytest.raises(InputError, match=r"has its own weights` must hold, but got .init='supernet'"):
        plan_retraining(None, source=path, given={"init": "supernet"}, **how)
    with pytest.raises(InputError, match=r"has its own network"):
        plan_retraining("mcunet-in3", source=path, given={}, **how)
    for other in ({"limits": {"macs": 10}}, {"source": path}, {"task": "detect"}):
        with pytest.raises(InputError, match=r"a resumed retraining has its network"):
            plan_retraining(None, given={}, **how | {"resume": True} | other)


def test_paths_are_kept_whole(tmp_path, monkeypatch):
    """So that a retraining goes on from wherever it is resumed."""
    monkeypatch.chdir(tmp_path)
    given = {"data": "imagefolder:cars", "teacher": "torchvision:resnet18:w.pth"}
    config = plan_retraining("mcunet-in3", name=None, resume=False, netaug=False, given=given).config
    assert config.data == f"imagefolder:{tmp_path}/cars"
    assert config.distillation.teacher == f"torchvision:resnet18:{tmp_path}/w.pth"
    for data, teacher in (("digits", "torchvision:resnet18"), ("fashion-mnist:", "torchvision:resnet18")):
        given = {"data": data, "teacher": teacher}
        config = plan_retraining("mcunet-in3", name=None, resume=False, netaug=False, given=given).config
        assert (config.data, config.distillation.teacher) == (data, teacher)


def test_factors_are_the_papers_of_the_networks_family():
    assert family_factors(load_arch("mobilenet-v2-tiny"))[0] == (1.0, 1.8, 2.6)
    assert family_factors(load_arch("mobilenet-v3-large-w0.35"))[0] == (1.0, 2.0, 3.0)
    assert family_factors(load_arch("proxyless-mobile-w0.35"))[0] == (1.0, 1.8, 2.6)
    assert family_factors(load_arch("mcunet-in3"))[0] == (1.0, 1.6, 2.2)


def test_augmented_passes_leave_the_statistics_alone(space, rng):
    target = replace(space.min(), resolution=12)
    supernet = Supernet(augment(target, width=[1, 2], expand=[1, 2])).train()
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    images = torch.randn(4, 1, 12, 12)
    for arch in (supernet.space.max(), supernet.space.sample(rng)):
        supernet(images, arch, statistics=False).sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    supernet(images, target)
    assert not torch.equal(before["net.stem.norm.running_mean"], supernet.net.stem.norm.running_mean)
    supernet.eval()
    assert torch.equal(supernet(images, target, statistics=False), supernet(images, target))


def test_tensorboard_has_the_logs_figures_also_when_resumed(watched, space, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arch = replace(space.min(), resolution=12)
    plan = RetrainPlan(folder=tmp_path / "r", arch=arch, config=RetrainConfig(recipe=RECIPE), tensorboard=True)
    with pytest.raises(KeyboardInterrupt):
        retrain(plan, report=Interrupting(after=8))
    retrain(plan, report=Quiet())
    written = EventAccumulator(str(tmp_path / "r" / "tensorboard")).Reload()
    lines = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    for name in ("loss", "val_accuracy", "batches_per_second"):
        events = [(event.step, event.value) for event in written.Scalars(name)]
        assert events == [(line["step"], pytest.approx(line[name], rel=1e-6)) for line in lines]


def test_tensorboard_that_is_not_installed(watched, space, tmp_path, monkeypatch):
    monkeypatch.setattr("tinynas.experiment.log.find_spec", lambda name: None)
    plan = RetrainPlan(folder=tmp_path / "r", arch=space.min(), config=RetrainConfig(recipe=RECIPE), tensorboard=True)
    with pytest.raises(InputError, match=r"needs the package tensorboard: pip install 'tinynas\[tensorboard\]'"):
        retrain(plan, report=Quiet())


class Interrupting(Quiet):
    """Ctrl-C at a step."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def advance(self, task, done, total, text):
        if done == self.after:
            raise KeyboardInterrupt


def test_mixed_precision_trains(tmp_path):
    """In a process of its own: some CPUs have to be told not to use instructions that they have not."""
    arch = tmp_path / "tiny.yaml"
    arch.write_text(yaml.safe_dump(load_space("micro").min().to_dict()))
    command = [sys.executable, "-m", "tinynas.cli", "retrain", arch, "--epochs", "1", "--precision", "bf16", "--json"]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    metrics = json.loads(done.stdout)
    assert metrics["train_accuracy"] > 20
    assert all(tensor.dtype != torch.bfloat16 for tensor in load(tmp_path / metrics["model"]).state_dict().values())
