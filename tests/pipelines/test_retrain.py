import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from helpers import RECIPE, Interrupting, Quiet, model_of, overrides
from tinynas import Supernet, build, load, load_arch
from tinynas.data.base import Batch, Normalisation
from tinynas.data.memory import MemorySplit
from tinynas.data.registry import load_data
from tinynas.experiment.config import Distillation, NetAug, RetrainConfig
from tinynas.experiment.plans import RetrainPlan
from tinynas.experiment.retrain_folder import RetrainFolder
from tinynas.experiment.saved import read_config, read_retraining
from tinynas.models.model_file import Model, save_model
from tinynas.pipelines.initial_weights import initial_supernet
from tinynas.pipelines.planning import plan_retraining
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.run_supernet import read_supernet
from tinynas.training.distillation import Teacher
from tinynas.training.recipe import Recipe
from tinynas.utils.errors import FileError, InputError, TrainingError


def test_retrain_trains_a_detector(detector_run, voc):
    metrics = json.loads((detector_run / "retrain" / "plain" / "metrics.json").read_text())
    assert metrics["metric"] == "mAP"
    assert metrics["ap50"] > 50
    assert set(metrics["by_class"]) == set(load_data(voc).classes)
    with Image.open(detector_run / "retrain" / "plain" / "detections.png") as picture:
        assert picture.width > 600
    both = json.loads((detector_run / "retrain" / "both" / "metrics.json").read_text())
    assert (both["netaug"], both["teacher"], both["macs"]) == (True, "supernet", metrics["macs"])


def test_retrain_refuses_an_arch_that_is_not_fitted_to_the_data(watched, tmp_path):
    config = RetrainConfig(recipe=Recipe(epochs=1, batch_size=96))
    with pytest.raises(InputError, match=r"the network has 3 input channels and 1000 classes, the data set 1 and 3"):
        retrain(RetrainPlan(folder=tmp_path / "r", arch=load_arch("mcunet-in3"), config=config), report=Quiet())
    assert not (tmp_path / "r").exists()


def test_retrain_measures_accuracy_on_as_many_images_as_it_is_told(watched, space, tmp_path):
    config = RetrainConfig(eval_images=7, recipe=Recipe(epochs=3, batch_size=48))
    plan = RetrainPlan(folder=tmp_path / "r", arch=space.min(), config=config)
    metrics = retrain(plan, report=Quiet())
    logged = [json.loads(line)["val_accuracy"] for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    for accuracy in [*logged, metrics.train_accuracy]:
        assert 7 * accuracy / 100 == pytest.approx(round(7 * accuracy / 100), abs=1e-9)
    assert watched.test.looked, "the test split as a whole"
    num_test = len(watched.test)
    assert num_test * metrics.accuracy / 100 == pytest.approx(round(num_test * metrics.accuracy / 100), abs=1e-9)


def test_retrain_with_netaug_writes_a_file_like_a_plain_one(watched, space, tmp_path):
    shapes = []
    for netaug in (False, True):
        config = RetrainConfig(netaug=NetAug() if netaug else None, recipe=Recipe(epochs=1, batch_size=48))
        retrain(RetrainPlan(folder=tmp_path / str(netaug), arch=space.min(), config=config), report=Quiet())
        state = load(tmp_path / str(netaug) / "model.safetensors").state_dict()
        shapes.append({name: tensor.shape for name, tensor in state.items()})
    sizes = {(tmp_path / str(netaug) / "model.safetensors").stat().st_size for netaug in (False, True)}
    assert shapes[0] == shapes[1]
    assert len(sizes) == 1


def overlap(first, second):
    """The part that two tensors of one name share: leading channels, the centre of kernels."""

    def part(tensor):
        channels = tuple(slice(0, min(a, b)) for a, b in zip(first.shape[:2], second.shape[:2], strict=True))
        size = min(first.shape[-1], second.shape[-1])
        start = (tensor.shape[-1] - size) // 2
        kernel = (slice(start, start + size),) * 2 if tensor.ndim == 4 else ()
        return tensor[(*channels, *kernel)]

    return part(first), part(second)


@pytest.mark.parametrize("netaug", [None, NetAug(width=(1.0, 4.0), expand=(1.0, 4.0))])
def test_retrain_starts_from_the_supernets_weights_and_is_fresh_around_them(searched, watched, netaug):
    arch = load_arch(searched / "best.yaml")
    config = RetrainConfig(init="supernet", netaug=netaug, recipe=RECIPE)
    start = initial_supernet(RetrainPlan(folder=searched / "retrain" / "r", arch=arch, config=config), watched)
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


def test_retrain_with_netaug_and_the_supernet_as_teacher(searched, watched):
    plan = plan_retraining(str(searched), overrides=overrides(netaug=True, teacher="supernet", epochs=2, lr=0.02))
    assert plan.folder == searched / "retrain" / "netaug-teacher"
    metrics = retrain(plan, report=Quiet())
    assert metrics.teacher == "supernet"
    assert metrics.netaug is True
    assert load(plan.folder / "model.safetensors").arch == load_arch(searched / "best.yaml")


def test_retrain_runs_the_teacher_once_on_an_image_that_never_changes(watched, space, tmp_path, monkeypatch):
    batch_sizes = []
    monkeypatch.setattr(
        Teacher, "evaluate", lambda self, images: batch_sizes.append(len(images)) or torch.zeros(len(images), 3)
    )
    model, arch = tmp_path / "model.safetensors", replace(space.min(), resolution=12)
    save_model(model, Model(net=build(arch), data="small", classes=watched.classes, normalise=watched.normalise))
    for augmentation, passes in (("none", 1), ("standard", RECIPE.epochs)):
        batch_sizes.clear()
        config = RetrainConfig(
            distillation=Distillation(teacher=str(model)), recipe=replace(RECIPE, augmentation=augmentation)
        )
        retrain(RetrainPlan(folder=tmp_path / augmentation, arch=arch, config=config), report=Quiet())
        seen = len(watched.train) // RECIPE.batch_size * RECIPE.batch_size
        assert (
            seen * passes
            <= sum(batch_sizes)
            <= len(watched.train) * passes + RECIPE.batch_size * RECIPE.epochs * (passes == 1)
        )
        assert (sum(batch_sizes) < 1.9 * len(watched.train)) == (passes == 1)


@pytest.mark.parametrize("augmented", [False, True])
def test_retrain_distils_into_augmented_networks_only_if_requested(watched, space, tmp_path, augmented, monkeypatch):
    """The losses of a step: at the temperature, of the augmented networks only if that is set."""
    losses = {}
    model, arch = tmp_path / "model.safetensors", replace(space.min(), resolution=12)
    save_model(model, Model(net=build(arch).eval(), data="small", classes=watched.classes, normalise=watched.normalise))
    distillation = Distillation(teacher=str(model), teacher_weight=1.0, temperature=3.0, teach_augmented=augmented)
    config = RetrainConfig(netaug=NetAug(), distillation=distillation, recipe=RECIPE)

    def noted(target, space, loss, *, augmented_loss, **how):
        losses.update(target=loss, augmented=augmented_loss or loss)
        raise KeyboardInterrupt

    monkeypatch.setattr("tinynas.pipelines.retraining.NetAugObjective", noted)
    with pytest.raises(KeyboardInterrupt):
        retrain(RetrainPlan(folder=tmp_path / "r", arch=arch, config=config), report=Quiet())
    images = watched.normalise(watched.train.images[:4])
    answers, logits = load(model)(images), torch.randn(4, 3)
    batch = Batch(images, watched.train.labels[:4], torch.arange(4), 0, answers)
    soft = (answers / 3).softmax(1)
    distilled = 9 * torch.nn.functional.cross_entropy(logits / 3, soft)
    labelled = torch.nn.functional.cross_entropy(logits, batch.labels, label_smoothing=RECIPE.label_smoothing)
    of_target, of_augmented = (losses[name](logits, losses[name].targets(batch)) for name in ("target", "augmented"))
    torch.testing.assert_close(of_target, distilled)
    torch.testing.assert_close(of_augmented, distilled if augmented else labelled)


def test_retrain_sorts_channels_with_momentum_but_not_before_the_first_epoch(searched, watched, monkeypatch):
    sorted_with = []

    def noted(supernet, optimizer, *, only_expanded):
        assert not only_expanded
        sorted_with.append([bool(state) for state in optimizer.state.values()])

    monkeypatch.setattr(Supernet, "sort_channels", noted)
    settings = {"init": "supernet", "sort": True, "epochs": 4, "width_until": 1.0}
    retrain(plan_retraining(str(searched), overrides=overrides(netaug=True, **settings)), report=Quiet())
    assert len(sorted_with) == 3, "before every epoch but the first, in which the target's weights are in front"
    assert all(momenta and all(momenta) for momenta in sorted_with)


def test_retrain_seed_decides_the_initial_weights(watched, space, tmp_path):
    def start(seed):
        config = RetrainConfig(recipe=replace(RECIPE, seed=seed))
        return initial_supernet(RetrainPlan(folder=tmp_path, arch=space.min(), config=config), watched).net.stem

    assert torch.equal(start(1).conv.weight, start(1).conv.weight)
    assert not torch.equal(start(1).conv.weight, start(2).conv.weight)


@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_netaug_begins_with_the_weights_of_plain_training(watched, space, tmp_path, backend):
    """So what never augments ends with them too, the random numbers of dropout included."""
    nothing = NetAug(width=(1.0, 2.0), expand=(1.0, 2.0), width_until=0.0, expand_until=0.0)
    trained = []
    for name, netaug in (("plain", None), ("netaug", nothing)):
        config = RetrainConfig(dropout=0.2, netaug=netaug, recipe=replace(RECIPE, backend=backend))
        plan = RetrainPlan(folder=tmp_path / name, arch=replace(space.min(), resolution=12), config=config)
        retrain(plan, report=Quiet())
        trained.append(load(plan.folder / "model.safetensors").state_dict())
    plain, netaug = trained
    assert plain.keys() == netaug.keys()
    assert all(torch.equal(netaug[name], tensor) for name, tensor in plain.items())


def test_retrain_resumes_without_its_source(watched, space, tmp_path):
    arch, source = replace(space.min(), resolution=12), tmp_path / "source.safetensors"
    save_model(source, Model(net=build(arch), data="small", classes=watched.classes, normalise=watched.normalise))
    plan = RetrainPlan(folder=tmp_path / "r", arch=arch, config=RetrainConfig(init=str(source), recipe=RECIPE))
    with pytest.raises(KeyboardInterrupt):
        retrain(plan, report=Interrupting(after=8))
    source.unlink()
    assert retrain(plan, report=Quiet()).init == str(source)


def test_retrain_leaves_no_folder_of_what_cannot_be_trained(watched, space, tmp_path):
    config = RetrainConfig(recipe=replace(RECIPE, precision="fp16"))
    for folder, removed in ((tmp_path / "mine" / "r", "mine/r"), (tmp_path / "run" / "retrain" / "r", "run")):
        folder.mkdir(parents=True)
        with pytest.raises(InputError, match="fp16 needs a GPU"):
            retrain(RetrainPlan(folder=folder, arch=replace(space.min(), resolution=12), config=config), report=Quiet())
        assert not (tmp_path / removed).exists()
    assert (tmp_path / "mine").exists()


def test_name_of_a_retraining_that_failed_before_it_trained_can_be_used_again(searched, watched, monkeypatch):
    """With other settings and other images as well; once something is trained, no longer."""

    def failed(*args, **kwargs):
        raise RuntimeError("the first batch")

    short = {"batch_size": 48, "warmup_epochs": 0.0}
    plan = plan_retraining(str(searched), name="again", overrides=overrides(epochs=7, **short))
    with monkeypatch.context() as patch:
        patch.setattr("tinynas.pipelines.retraining.train", failed)
        with pytest.raises(RuntimeError, match="the first batch"):
            retrain(plan, report=Quiet())
    assert sorted(path.name for path in plan.folder.iterdir()) == ["config.yaml", "data.json"]
    identity = json.loads((plan.folder / "data.json").read_text())
    identity["splits"]["train"]["sha256"] = "0" * 64
    (plan.folder / "data.json").write_text(json.dumps(identity))
    plan = plan_retraining(str(searched), name="again", overrides=overrides(epochs=1, **short))
    assert retrain(plan, report=Quiet()).epochs == 1
    assert read_retraining(RetrainFolder(plan.folder)) == plan
    assert json.loads((plan.folder / "data.json").read_text()) != identity
    with pytest.raises(FileError, match=r"there is a retraining again in .* already; choose another --name"):
        plan_retraining(str(searched), name="again")


@pytest.mark.parametrize("name", ["checkpoint.pt", "log.jsonl", "model.safetensors", "metrics.json"])
def test_name_of_a_retraining_that_has_trained_is_taken(searched, watched, name):
    folder = searched / "retrain" / "taken"
    folder.mkdir(parents=True)
    (folder / name).touch()
    with pytest.raises(FileError, match="there is a retraining taken in"):
        plan_retraining(str(searched), name="taken")


def test_retrain_writes_no_model_with_weights_that_are_not_finite(watched, space, tmp_path):
    config = RetrainConfig(recipe=replace(RECIPE, lr=1e30, epochs=1, batch_size=60, warmup_epochs=0.0))
    plan = RetrainPlan(folder=tmp_path / "r", arch=replace(space.min(), resolution=12), config=config)
    with pytest.raises(TrainingError, match="diverged"):
        retrain(plan, report=Quiet())
    assert not (tmp_path / "r" / "model.safetensors").exists()


def test_retrain_depends_on_every_setting(watched, space, tmp_path):
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
        {"augment_from_stage": 1},
        {"inplace_distillation": 0.5},
        {"inplace_distillation": 0.5, "inplace_divergence": "alpha"},
        {"sort": True, "width_until": 1.0},
        {"width_until": 1.0},
        {"expand_until": 1.0},
        {"width": (1.0, 3.0)},
        {"expand": (1.0, 3.0)},
        {"teacher_weight": 0.9},
        {"temperature": 4.0},
        {"teach_augmented": True},
        {"dropout": 0.5},
        {"ema": 0.5},
        {"init": "kaiming-uniform"},
        {"init": str(model)},
        {"freeze_epochs": 1.0},
        {"head_lr": 0.5},
        {"augmentation": "none"},
        {"augmentation": "strong"},
        {"precision": "fp32", "seed": 1},
    ]
    all_weights = []
    for i, change in enumerate(changes):
        config = overrides(**change).apply(base)
        retrain(RetrainPlan(folder=tmp_path / str(i), arch=arch, config=config), report=Quiet())
        state = load(tmp_path / str(i) / "model.safetensors").state_dict()
        all_weights.append(torch.cat([tensor.flatten().double() for tensor in state.values()]))
        written = read_config(tmp_path / str(i) / "config.yaml")
        del written["arch"]
        assert overrides(**written).apply(RetrainConfig()) == config
    assert len({tuple(weights.tolist()) for weights in all_weights}) == len(changes)


@pytest.mark.parametrize("training", ["plain", "netaug", "teacher"])
def test_retrain_with_class_weights_trains_other_weights(data, space, tmp_path, monkeypatch, training):
    """A third of one class is left out; with equal classes all weights would be 1."""
    images, labels = data.train.images, data.train.labels
    kept = (labels > 0) | (torch.arange(len(labels)) % 9 > 0)
    uneven = replace(data, train=MemorySplit(images=images[kept], labels=labels[kept]))
    monkeypatch.setattr("tinynas.pipelines.retraining.load_data", lambda name, **settings: uneven)
    arch, model = replace(space.min(), resolution=12), tmp_path / "teacher.safetensors"
    save_model(model, Model(net=build(arch), data="small", classes=data.classes, normalise=data.normalise))
    base = RetrainConfig(recipe=RECIPE)
    if training == "netaug":
        base = replace(base, netaug=NetAug())
    if training == "teacher":
        base = replace(base, distillation=Distillation(teacher=str(model)))
    states = {}
    for choice in ("none", "balanced"):
        config = overrides(class_weights=choice).apply(base)
        retrain(RetrainPlan(folder=tmp_path / choice, arch=arch, config=config), report=Quiet())
        states[choice] = load(tmp_path / choice / "model.safetensors").state_dict()
    assert not torch.equal(states["none"]["stem.conv.weight"], states["balanced"]["stem.conv.weight"])


def test_retrain_takes_a_trained_model_to_other_classes(watched, space, tmp_path, monkeypatch):
    """Everything but the classifier is carried over, also into the corner of the augmented networks."""
    monkeypatch.chdir(tmp_path)
    arch = replace(space.min(), resolution=12, classes=5)
    net = build(arch)
    path = tmp_path / "pretrained.safetensors"
    save_model(path, Model(net=net, data="other", classes=tuple("vwxyz"), normalise=watched.normalise))
    settings = {"data": "small", "epochs": 1, "freeze_epochs": 0.5, "head_lr": 0.2}
    plan = plan_retraining(None, source=path, overrides=overrides(netaug=True, **settings))
    target = replace(plan.arch, classes=3)
    start = initial_supernet(plan, watched).extract(target).state_dict()
    for name, tensor in net.state_dict().items():
        if not name.startswith("head.classifier"):
            assert torch.equal(start[name], tensor), name
    assert start["head.classifier.weight"].shape[0] == 3
    retrain(plan, report=Quiet())
    assert load(plan.folder / "model.safetensors").arch == target
    assert read_config(plan.folder / "config.yaml")["init"] == str(path)


def test_retrain_keeps_the_classifier_of_the_same_classes(watched, space, tmp_path):
    arch = replace(space.min(), resolution=12)
    net, path = build(arch), tmp_path / "pretrained.safetensors"
    save_model(path, Model(net=net, data="small", classes=watched.classes, normalise=watched.normalise))
    config = RetrainConfig(init=str(path), recipe=RECIPE)
    start = initial_supernet(RetrainPlan(folder=tmp_path / "r", arch=arch, config=config), watched).extract(arch)
    assert all(torch.equal(start.state_dict()[name], tensor) for name, tensor in net.state_dict().items())


def test_retrain_refuses_a_model_of_other_input_channels(watched, space, tmp_path):
    path = tmp_path / "grey.safetensors"
    save_model(path, model_of(space.min(), classes=("a", "b", "c")))
    config = RetrainConfig(init=str(path), recipe=RECIPE)
    plan = RetrainPlan(folder=tmp_path / "r", arch=replace(space.min(), in_channels=3), config=config)
    colour = replace(watched, normalise=Normalisation(mean=(0.3, 0.3, 0.3), std=(0.2, 0.2, 0.2)))
    with pytest.raises(InputError, match=r"same number of input channels: the model .* has 1, the data set 3"):
        initial_supernet(plan, colour)
