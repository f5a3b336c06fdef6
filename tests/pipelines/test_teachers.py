import shutil
import warnings
from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from helpers import RECIPE, Interrupting, Quiet
from tinynas import build, load_arch
from tinynas.data.base import Batch, Normalisation
from tinynas.experiment.config import Distillation, RetrainConfig
from tinynas.experiment.netaug_settings import NetAug
from tinynas.experiment.plans import RetrainPlan
from tinynas.models.model_file import Model, read_model, save_model
from tinynas.models.supernet import extract_calibrated
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.run_supernet import read_supernet
from tinynas.pipelines.teachers import inplace_distillation_loss, load_teacher
from tinynas.tasks.losses import AlphaDivergenceLoss, SoftCrossEntropyLoss
from tinynas.training import teacher_outputs
from tinynas.training.distillation import Teacher
from tinynas.utils.errors import FileError, InputError


def test_load_teacher_takes_the_supernets_largest_network_calibrated(searched, watched):
    supernet = read_supernet(searched, watched)
    arch = replace(supernet.space.max(), resolution=12)
    teacher = load_teacher("supernet", searched, load_arch(searched / "best.yaml"), watched)
    images = watched.normalise(watched.train.images[:8])
    expected = extract_calibrated(supernet, arch, watched.calibration_batches(12))(images)
    answers = teacher(Batch(images, torch.zeros(8, dtype=torch.long), torch.arange(8), 0))
    torch.testing.assert_close(answers, expected, rtol=1e-4, atol=1e-5)
    smallest = extract_calibrated(supernet, replace(supernet.space.min(), resolution=12), [images])
    assert not torch.allclose(answers, smallest(images), atol=1e-3)


def batch(indices, images):
    return Batch(images[indices], torch.zeros(len(indices), dtype=torch.long), torch.tensor(indices), 0)


@pytest.fixture
def model(space, data, tmp_path):
    """A trained model: its path and arch."""
    arch = replace(space.min(), resolution=12)
    path = tmp_path / "model.safetensors"
    save_model(path, Model(net=build(arch).eval(), data="small", classes=data.classes, normalise=data.normalise))
    return path, arch


def test_load_teacher_takes_a_trained_model(model, data, tmp_path):
    path, arch = model
    for name in (path, path.parent):
        teacher = load_teacher(str(name), tmp_path, arch, data)
        assert teacher(batch([0, 1], torch.randn(4, 1, 12, 12))).shape == (2, 3)


def test_a_teacher_gets_images_normalised_as_it_was_trained(model, data, tmp_path):
    path, arch = model
    others = Normalisation(mean=(0.9,), std=(0.5,))
    teacher = load_teacher(str(path), tmp_path, arch, replace(data, normalise=others))
    pixels = data.test.images[:4]
    expected = read_model(path).net(data.normalise(pixels))
    assert torch.allclose(teacher(batch([0, 1, 2, 3], others(pixels))), expected, atol=1e-4)


def test_load_teacher_names_what_differs_in_a_teacher_that_does_not_fit(model, data, tmp_path):
    path, arch = model
    with pytest.raises(InputError, match=r"images of the same size: the teacher takes 12 px, the network 8 px"):
        load_teacher(str(path), tmp_path, replace(arch, resolution=8), data)
    with pytest.raises(InputError, match=r"the same classes: the teacher has 3, the network 4"):
        load_teacher(str(path), tmp_path, replace(arch, classes=4), data)
    with pytest.raises(InputError, match=r"images of shape \(3, 12, 12\): its first convolution has in_channels=1"):
        load_teacher(str(path), tmp_path, replace(arch, in_channels=3), data)
    neither = r"'nowhere\.safetensors' is neither supernet, torchvision:NAME, hf:USER/REPO nor a file"
    with pytest.raises(FileError, match=neither):
        load_teacher("nowhere.safetensors", tmp_path, arch, data)
    with pytest.raises(FileError, match=r"'suprnet' is neither .*; did you mean 'supernet'\?$"):
        load_teacher("suprnet", tmp_path, arch, data)


def test_load_teacher_refuses_a_teacher_of_other_classes(model, data, tmp_path):
    path, arch = model
    others = replace(data, classes=("x", "y", "z"))
    with pytest.raises(InputError, match=r"knows 3 classes \(a, b, c\), the network 3 classes \(x, y, z\)"):
        load_teacher(str(path), tmp_path, arch, others)


def test_load_teacher_takes_a_network_whose_last_map_is_a_pixel(data, tmp_path):
    arch = replace(load_arch("mobilenet-v2-tiny"), in_channels=1, classes=3, resolution=32)
    path = tmp_path / "model.safetensors"
    save_model(path, Model(net=build(arch).eval(), data="small", classes=data.classes, normalise=data.normalise))
    assert load_teacher(str(path), tmp_path, arch, data)(batch([0], torch.randn(1, 1, 32, 32))).shape == (1, 3)


def test_load_teacher_takes_a_torchvision_network(space, data, tmp_path):
    from torchvision.models import get_model

    colour = replace(space.min(), in_channels=3, resolution=32)
    weights = tmp_path / "weights.pth"
    torch.save(get_model("mobilenet_v3_small", weights=None, num_classes=3).state_dict(), weights)
    teacher = load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, colour, data)
    assert teacher(batch([0, 1], torch.randn(4, 3, 32, 32))).shape == (2, 3)
    with pytest.raises(InputError, match=r"images of shape \(1, 32, 32\): its first convolution has in_channels=3"):
        load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, replace(colour, in_channels=1), data)
    with pytest.raises(InputError, match=r"the same classes: the teacher has 3, the network 4"):
        load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, replace(colour, classes=4), data)
    with pytest.raises(InputError, match="no model 'resnet17' in torchvision"):
        load_teacher("torchvision:resnet17", tmp_path, colour, data)


def test_load_teacher_refuses_a_network_of_many_outputs(space, data, tmp_path, monkeypatch):
    class Segmenting(torch.nn.Conv2d):
        def forward(self, images):
            return {"out": super().forward(images)}

    torch.save(torch.nn.Conv2d(1, 3, 1).state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr("torchvision.models.get_model", lambda name, **how: Segmenting(1, 3, 1))
    with pytest.raises(InputError, match="cannot teach: its outputs are a dict"):
        load_teacher(f"torchvision:any:{tmp_path / 'w.pth'}", tmp_path, replace(space.min(), resolution=12), data)


def test_load_teacher_reads_torchvision_weights_in_any_order(space, data, tmp_path):
    from torchvision.models import get_model

    colour, weights = replace(space.min(), in_channels=3, resolution=32), tmp_path / "weights.pth"
    state = get_model("mobilenet_v3_small", weights=None, num_classes=3).state_dict()
    torch.save(dict(sorted(state.items())), weights)  # the classifier's tensors come first
    teacher = load_teacher(f"torchvision:mobilenet_v3_small:{weights}", tmp_path, colour, data)
    assert teacher(batch([0, 1], torch.randn(4, 3, 32, 32))).shape == (2, 3)


TORCHVISION = ["resnet18", "squeezenet1_1", "mobilenet_v3_small", "googlenet"]


@pytest.fixture(scope="module")
def torchvision_nets():
    """Some networks of torchvision for 3 classes, by name."""
    from torchvision.models import get_model

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return {name: get_model(name, weights=None, num_classes=3).eval() for name in TORCHVISION}


def renamed(state, prefix, inner=""):
    """A state dict with text before every name and before its last part."""
    return {f"{prefix}{inner}{name}": tensor for name, tensor in state.items()}


SAVED_AS = {  # what people save of a network's state dict
    "plain": lambda state: state,
    "DataParallel": lambda state: renamed(state, "module."),
    "compiled": lambda state: renamed(state, "_orig_mod."),
    "compiled DataParallel": lambda state: renamed(state, "module.", "_orig_mod."),
    "Lightning": lambda state: {
        "epoch": 3,
        "state_dict": renamed(state, "model.") | {"criterion.weight": torch.ones(3)},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []}],
    },
    "checkpoint": lambda state: {
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}},
        "model": state,
        "model_ema": renamed(state, "module.") | {"n_averaged": torch.tensor(2)},
    },
    "averaged": lambda state: renamed(state, "module.") | {"n_averaged": torch.tensor(2)},
    "backbone": lambda state: {"net": {"state_dict": renamed(state, "net.backbone.")}},
    "any key": lambda state: {"step": torch.tensor(1), "my_resnet": state, "loss": [1.0]},
}


@pytest.mark.parametrize(
    ("name", "saved_as"),
    [*(("resnet18", saved_as) for saved_as in SAVED_AS), *((name, "Lightning") for name in TORCHVISION[1:])],
)
def test_load_teacher_reads_torchvision_weights_however_they_are_saved(
    torchvision_nets, space, data, tmp_path, name, saved_as
):
    path, net = tmp_path / "weights.pth", torchvision_nets[name]
    torch.save(SAVED_AS[saved_as](net.state_dict()), path)
    arch = replace(space.min(), in_channels=3, resolution=32)
    teacher = load_teacher(f"torchvision:{name}:{path}", tmp_path, arch, data)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(teacher(batch([0, 1], images)), net(images))


def test_load_teacher_needs_no_auxiliary_heads(torchvision_nets, space, data, tmp_path):
    path, net = tmp_path / "weights.pth", torchvision_nets["googlenet"]
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("aux")}
    torch.save(state, path)
    arch = replace(space.min(), in_channels=3, resolution=32)
    teacher = load_teacher(f"torchvision:googlenet:{path}", tmp_path, arch, data)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(teacher(batch([0, 1], images)), net(images))


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("classes", [2, 64, 512])  # also as many as inner layers have outputs
def test_load_teacher_counts_the_classes_of_torchvision_weights(torchvision_nets, space, data, tmp_path, name, classes):
    path = tmp_path / "weights.pth"
    torch.save(renamed(torchvision_nets[name].state_dict(), "module."), path)
    arch = replace(space.min(), in_channels=3, classes=classes)
    with pytest.raises(InputError, match=rf"the same classes: the teacher has 3, the network {classes}; choose"):
        load_teacher(f"torchvision:{name}:{path}", tmp_path, arch, data)


def test_load_teacher_says_which_tensors_do_not_fit(torchvision_nets, space, data, tmp_path):
    path, colour = tmp_path / "weights.pth", replace(space.min(), in_channels=3, resolution=32)
    torch.save(torchvision_nets["squeezenet1_1"].state_dict(), path)
    with pytest.raises(FileError) as error:
        load_teacher(f"torchvision:resnet18:{path}", tmp_path, colour, data)
    assert str(error.value) == (
        f"the weights in {path} are not those of this ResNet: of its 122 tensors and the file's 52, 102 missing "
        "(conv1.weight, bn1.weight, bn1.bias, ...), 52 unexpected (features.0.weight, features.0.bias, "
        "features.3.squeeze.weight, ...); name the network that they belong to"
    )
    wide = torchvision_nets["resnet18"].state_dict()
    wide["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    del wide["layer1.0.bn1.bias"]
    torch.save(wide, path)
    with pytest.raises(
        FileError, match=r"1 missing \(layer1\.0\.bn1\.bias\), 1 of another shape \(conv1\.weight "
    ) as error:
        load_teacher(f"torchvision:resnet18:{path}", tmp_path, colour, data)
    assert "(conv1.weight (64, 1, 7, 7) instead of (64, 3, 7, 7)" in str(error.value)


def test_load_teacher_says_why_a_file_cannot_be_read(space, data, tmp_path):
    path, colour = tmp_path / "weights.pth", replace(space.min(), in_channels=3, resolution=32)
    contents = {
        "holds Python objects, of the class torch.nn.modules.linear.Linear, beside tensors": torch.nn.Linear(2, 2),
        "holds Python objects, of the class argparse.Namespace, beside tensors": {
            "state_dict": {},
            "args": Namespace(lr=1),
        },
        "is not a state dict, tensors by name": {"epoch": 3, "model": "resnet18"},
    }
    for problem, content in contents.items():
        torch.save(content, path)
        with pytest.raises(FileError, match=rf"weights\.pth.*{problem}; save the network's state_dict\(\) in it"):
            load_teacher(f"torchvision:resnet18:{path}", tmp_path, colour, data)
    for content in (path.read_bytes()[:200], b"no weights\n", b""):
        path.write_bytes(content)
        with pytest.raises(FileError, match=r"weights\.pth is not a file of weights: .*; save the network's") as error:
            load_teacher(f"torchvision:resnet18:{path}", tmp_path, colour, data)
        assert len(str(error.value).splitlines()) == 1
        assert "weights_only" not in str(error.value)
    with pytest.raises(FileError, match=r"there is no file .*nowhere\.pth; save the network's"):
        load_teacher(f"torchvision:resnet18:{tmp_path / 'nowhere.pth'}", tmp_path, colour, data)


@pytest.fixture
def evaluated(monkeypatch):
    """Numbers of images that teachers are evaluated on."""
    counts = []
    evaluate = Teacher.evaluate

    def counted(self, images):
        counts.append(len(images))
        return evaluate(self, images)

    monkeypatch.setattr(Teacher, "evaluate", counted)
    return counts


@pytest.mark.parametrize("augmentation", ["none", "standard"])
def test_a_teacher_is_evaluated_once_for_all_retrainings_of_a_run(
    searched, watched, space, evaluated, monkeypatch, augmentation
):
    """Other networks, plain or with NetAug, end with the same bits as where nothing is saved."""
    archs = [replace(space.min(), resolution=12), replace(space.max(), resolution=12)]
    recipe = replace(RECIPE, augmentation=augmentation)
    plain = RetrainConfig(distillation=Distillation(teacher="supernet"), recipe=recipe)
    netaug = replace(plain, netaug=NetAug(), distillation=Distillation(teacher="supernet", teach_augmented=True))

    def trained(name, arch, config):
        evaluated.clear()
        folder = searched / "retrain" / name
        retrain(RetrainPlan(folder=folder, arch=arch, config=config), report=Quiet())
        return sum(evaluated), read_model(folder / "model.safetensors").net.state_dict()

    passes = 1 if augmentation == "none" else recipe.epochs
    first, _ = trained("first", archs[0], plain)
    assert first == len(watched.train) * passes
    for name, arch, config in (("large", archs[1], plain), ("netaug", archs[0], netaug)):
        images, weights = trained(name, arch, config)
        assert images == 0
        with monkeypatch.context() as patch:
            patch.setattr(teacher_outputs, "MAX_SAVED_BYTES", 0)
            shutil.rmtree(searched / "teacher-outputs")
            images, without_files = trained(f"{name}-alone", arch, config)
        assert images == len(watched.train) * passes
        assert not (searched / "teacher-outputs").exists()
        for key, tensor in weights.items():
            assert torch.equal(tensor, without_files[key]), key
        trained("first-again", archs[0], plain)  # saves the outputs again
        shutil.rmtree(searched / "retrain" / "first-again")


def test_a_retraining_that_is_resumed_reads_the_outputs_of_others(searched, watched, space, evaluated):
    arch = replace(space.min(), resolution=12)
    config = RetrainConfig(distillation=Distillation(teacher="supernet"), recipe=RECIPE)
    plans = [RetrainPlan(folder=searched / "retrain" / name, arch=arch, config=config) for name in ("a", "b")]
    with pytest.raises(KeyboardInterrupt):
        retrain(plans[0], report=Interrupting(after=8))
    retrain(plans[1], report=Quiet())
    evaluated.clear()
    retrain(plans[0], report=Quiet())
    assert not evaluated
    weights = [read_model(plan.folder / "model.safetensors").net.state_dict() for plan in plans]
    for key, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][key]), key


def test_outputs_outside_of_a_run_stay_in_the_folder_of_the_retraining(watched, model, tmp_path):
    path, arch = model
    config = RetrainConfig(distillation=Distillation(teacher=str(path)), recipe=RECIPE)
    folder = tmp_path / "some" / "where"
    retrain(RetrainPlan(folder=folder, arch=arch, config=config), report=Quiet())
    assert [saved.parent.name for saved in tmp_path.rglob("teacher-outputs")] == ["where"]


def test_alpha_divergence_is_of_classifiers(space, detectors, tmp_path):
    config = RetrainConfig(netaug=NetAug(inplace_distillation=0.5, inplace_divergence="alpha"))
    plan = RetrainPlan(folder=tmp_path, arch=space.min(), config=config)
    assert isinstance(inplace_distillation_loss(plan), AlphaDivergenceLoss)
    with pytest.raises(InputError, match="inplace_divergence is alpha, which is for classifiers"):
        inplace_distillation_loss(replace(plan, arch=detectors.min()))
    kl = replace(config, netaug=NetAug(inplace_distillation=0.5))
    assert isinstance(inplace_distillation_loss(replace(plan, config=kl)), SoftCrossEntropyLoss)
