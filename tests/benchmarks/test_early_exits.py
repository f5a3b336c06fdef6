"""What benchmarks of early exits measure, and the networks that they measure it on."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import TINY, Quiet, images_for, model_of
from tinynas import SideNet, build
from tinynas.arch.blocks import Stem
from tinynas.blocks.inverted_residual import InvertedResidual
from tinynas.data.memory import in_memory
from tinynas.data.registry import DATA_SETS, load_data
from tinynas.early_exit.calibration import ExitOutputs
from tinynas.early_exit.model import EarlyExitModel
from tinynas.early_exit.model_file import save_early_exits
from tinynas.models.model_file import read_model, save_model
from tinynas.models.profile import macs_by_torch

BLOCK = InvertedResidual(mid=16, out=8, kernel=3, residual=True)
WIDE = replace(TINY, stem=Stem(out=8), stages=((BLOCK,), (replace(BLOCK, out=12, residual=False),)))
HALF_BLOCK = replace(BLOCK, mid=8, out=4)
HALF = replace(TINY, stem=Stem(out=4), stages=((HALF_BLOCK,), (replace(HALF_BLOCK, out=6, residual=False),)))


def outputs(first_exit_right):
    """Outputs for eight images of two exits; the first is sure of the first half, and the last one always right."""
    labels = torch.arange(8) % 2
    sign = torch.where(labels.bool(), 1.0, -1.0)
    first = sign * torch.tensor([3.0] * 4 + [0.1] * 4)
    first = first.where(torch.tensor(first_exit_right), -first)
    logits = torch.stack([first, 4 * sign])
    return ExitOutputs(torch.stack([-logits, logits], 2), labels)


def test_thresholds_of_search_val_are_applied_to_test_images():
    from common.early_exits import measure_outputs

    val, test = outputs([True] * 6 + [False] * 2), outputs([True, False] * 4)
    measured = measure_outputs(val, test, [1.0, 1.0], macs=[30, 110], mainnet_macs=100)
    assert measured["accuracy"] == 100
    assert [point["allowed"] for point in measured["losses"]] == [0, 0.5, 1]
    for point in measured["losses"]:  # half of the images exit, of which half are wrong on test images
        assert point["accuracy"] == 75
        assert point["saved"] == pytest.approx(1 - 70 / 100)
    before, after = measured["errors"]
    confident = 1 / (1 + np.exp(-6))
    unsure = 1 / (1 + np.exp(-0.2))
    assert before[0] == pytest.approx(100 * (confident - 0.5 + unsure - 0.5) / 2, abs=1e-4)
    assert before == after


def test_setup_is_measured_and_timed(monkeypatch):
    import common.early_exits as early_exits

    monkeypatch.setattr(early_exits, "BATCH_SIZES", (1, 8))
    torch.manual_seed(0)
    images, labels = torch.randint(0, 256, (60, 1, 8, 8), dtype=torch.uint8), torch.arange(60) % 2
    data = in_memory(("a", "b"), (images[:40], labels[:40]), (images[40:], labels[40:]), 0.5, shift=1)
    setup = early_exits.best_sidenet(model_of(WIDE).net, ["stem", "stages.0"], 8, data)
    measured = early_exits.measure_setup(setup, data)
    assert measured["macs"] == macs_by_torch(setup.mainnet, torch.zeros(1, 1, 8, 8))
    assert measured["taps"] == setup.taps
    assert set(setup.taps) <= {"stem", "stages.0"}
    assert all(len(point["time"]) == 2 for point in measured["losses"])
    rows = early_exits.mainnet_rows("wide", [measured, measured])
    assert {len(row) for row in rows} == {len(early_exits.COLUMNS) + len((1, 8)) - 2}
    assert [row[0] for row in rows] == ["wide", "", ""]


def first_images(split):
    """The first images of a split."""
    return replace(split, images=split.images[:20], labels=split.labels[:20])


@pytest.mark.parametrize("name", ["ResNet-18", "VGG-11"])
def test_taps_of_photographs_are_smaller_and_smaller_feature_maps(load_script, name):
    photos = load_script("early_exits_photos")
    from common.mainnets import resnet18, vgg11

    build_network, taps = {
        "ResNet-18": (resnet18, photos.RESNET_TAPS),
        "VGG-11": (vgg11, photos.VGG_TAPS),
    }[name]
    images = torch.zeros(2, 1, 32, 32)
    net = SideNet(build_network(2), taps, 4, inputs=images)
    assert net(images).logits.shape == (2, 2)
    carried, sizes = [images], []
    for part in list(net.exits)[:-1]:
        tapped, *carried = part.part(*carried)
        sizes.append(tapped.shape[-1])
    assert sizes == sorted(set(sizes), reverse=True)
    macs = net.macs(images)
    assert macs == sorted(macs)


def test_efficientnet_must_be_fine_tuned_before(load_script, results):
    with pytest.raises(SystemExit, match=r"run benchmarks/finetune_imported\.py first"):
        load_script("early_exits_photos").efficientnet(0, None)


def test_arch_of_pruned_modules_has_their_channels():
    from common.pruning import pruned_arch

    net = build(HALF)
    net.arch = WIDE
    assert pruned_arch(net) == HALF


def test_pruning_keeps_the_channels_of_large_weights(tmp_path):
    pytest.importorskip("torch_pruning", reason="torch-pruning is no dependency")
    from common.pruning import save_pruned

    model = model_of(WIDE)
    with torch.no_grad():
        model.net.stages[1][0].expand.conv.weight[::2] *= 100
        model.net.stages[1][0].depthwise.conv.weight[::2] *= 100
        model.net.stages[1][0].project.conv.weight[:, ::2] *= 100
    save_model(tmp_path / "wide.safetensors", model)
    save_pruned(tmp_path / "wide.safetensors", tmp_path / "folder" / "half.safetensors")
    half = read_model(tmp_path / "folder" / "half.safetensors")
    assert half.net.arch == HALF
    assert half.classes == model.classes
    kept = half.net.stages[1][0].expand.norm.running_mean
    assert torch.equal(kept, model.net.stages[1][0].expand.norm.running_mean[::2])
    assert half.net(images_for(HALF, 3)).shape == (3, 2)


def test_pruning_names_the_package_that_it_needs(monkeypatch):
    from common.pruning import without_half_the_channels

    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(SystemExit, match="pip install torch-pruning"):
        without_half_the_channels(build(WIDE))


def test_files_run_in_onnxruntime_and_tflm(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
    import common.exit_files as exit_files

    digits = load_data("digits")
    data = replace(digits, val=first_images(digits.val), test=first_images(digits.test))
    monkeypatch.setitem(DATA_SETS, "digits", lambda path: data)
    monkeypatch.setattr(exit_files, "Screen", Quiet)
    monkeypatch.setattr(exit_files, "CALIBRATION", 100)
    arch = replace(WIDE, resolution=16, classes=10)
    mainnet = replace(model_of(arch, classes=data.classes), data="digits", normalise=data.normalise)
    exits = SideNet(mainnet.net, "stages.0", 5, inputs=images_for(arch))
    exits.fit(data.evaluation_batches(data.train, 16))
    model = EarlyExitModel(models=(mainnet,), exits=exits, threshold=0.5)
    save_early_exits(tmp_path / "sidenet.safetensors", model)
    expected = model.exits.observe(data.evaluation_batches(data.test, 16))
    runs = [
        exit_files.onnx_int8(tmp_path / "sidenet.safetensors", tmp_path / "onnx"),
        exit_files.tflm_int8(model, data),
    ]
    for run in runs:
        outputs = exit_files.file_outputs(run, data, data.test, 16)
        assert torch.equal(outputs.labels, expected.labels)
        assert outputs.logits.shape == expected.logits.shape == (2, 20, 10)
        for int8, fp32, error in zip(outputs.logits, expected.logits, (0.4, 0.05), strict=True):
            assert (int8 - fp32).norm() < error * fp32.norm()


@pytest.fixture
def complementary(load_script, results, monkeypatch):
    """The script, with trainings that only save their network; their configurations are in `trainings`, by folder."""
    module = load_script("complementary")
    module.trainings = {}

    def train(folder, arch, config):
        module.trainings[folder.name] = arch, config
        folder.mkdir(parents=True, exist_ok=True)
        save_model(folder / "model.safetensors", model_of(arch))

    monkeypatch.setattr(module, "retrain_network", train)
    monkeypatch.setattr(module, "budget_network", lambda size: WIDE)
    monkeypatch.setattr(module, "save_pruned", lambda model, path: train(path.parent, HALF, None))
    return module


def test_forms_differ_in_what_they_say(complementary):
    for form in complementary.TRAINED:
        assert complementary.mainnet(form, 1).exists()
    plain_arch, plain = complementary.trainings["fp32-1"]
    for form, change in (("NetAug", "netaug"), ("distilled", "distillation"), ("pruned", "init")):
        arch, config = complementary.trainings[f"{form}-1"]
        assert getattr(config, change) != getattr(plain, change)
        assert arch == (HALF if form == "pruned" else plain_arch)
        assert replace(config, **{change: getattr(plain, change)}) == plain
    _, pruned = complementary.trainings["pruned-1"]
    assert pruned.init.endswith("without-half-the-channels-1/model.safetensors")
    _, distilled = complementary.trainings["distilled-1"]
    assert distilled.distillation.teacher.endswith("teacher-0/model.safetensors")


def test_table_compares_with_fp32_without_exits(load_script):
    points = [{"accuracy": 90.0 - drop, "saved": saved} for drop, saved in ((0, 0.2), (0.5, 0.3), (1, 0.5))]
    errors = [[4.0, 2.0, 7.0], [3.0, 1.0, 5.0]]
    fp32 = {"accuracy": 90.5, "macs": 1000, "losses": points, "errors": errors}
    pruned = fp32 | {"macs": 400}
    (table,) = load_script("complementary").tables({"fp32 seed 0": fp32, "pruned seed 0": pruned})
    assert table.rows[0] == ["fp32", "1", "without", "", "90.50", "", "1K", "100.00", "7.00 → 5.00"]
    assert table.rows[3:] == [
        ["pruned", "1", "without", "", "90.50", "", "400", "40.00", "7.00 → 5.00"],
        ["", "", "with", "0", "90.00", "-0.50", "320", "32.00", "3.00 → 2.00"],
        ["", "", "with", "1", "89.00", "-1.50", "200", "20.00", "3.00 → 2.00"],
    ]
