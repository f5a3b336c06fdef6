"""Early exits: the network stays as it is, what exits is not computed further, and every number is honest."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torchvision
from conftest import Quiet, model_of
from PIL import Image
from torch import nn

from tinynas import SideNet, cost, load
from tinynas.arch.cost import steps
from tinynas.data.registry import load_data
from tinynas.data.transforms import resize
from tinynas.early_exit.calibration import Outputs, calibration_error, confidence, fit_temperature, reliability
from tinynas.early_exit.model_file import ExitModel, cascade_of, deployed_parts, exits_cost, read_exits, save_exits
from tinynas.early_exit.sidenet import Cascade
from tinynas.early_exit.thresholds import NOBODY, Swept, choose, oracle_exits, random_exits, thresholds
from tinynas.experiment.compare import compare_runs
from tinynas.experiment.config import ExitPlan, ExportPlan
from tinynas.models.model_file import read_model, save_model
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.export_early_exit import Parts, export_exits
from tinynas.pipelines.planning import plan_retraining
from tinynas.pipelines.retrain import retrain
from tinynas.pipelines.run_supernet import read_supernet
from tinynas.pipelines.search import search
from tinynas.utils.errors import FileError, InputError
from tinynas.utils.io import read_json

README = (Path(__file__).parent.parent / "README.md").read_text()


def example(arch, count=1):
    return torch.randn(count, arch.in_channels, arch.resolution, arch.resolution)


def sided(arch, taps=("stages.0",), seed=0):
    """A SideNet with heads that say something, on a network with statistics that do."""
    torch.manual_seed(seed)
    net = SideNet(model_of(arch).net, taps, 5, inputs=example(arch))
    net.fit([(example(arch, 40), torch.arange(40) % arch.classes)])
    return net


@pytest.fixture
def arch(space):
    return space.max()


def test_the_network_stays_as_it_is(arch, data):
    net, images = model_of(arch).net.train(), example(arch, 7)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        expected = net.eval()(images)
    sidenet = SideNet(net.train(), "stages.0", inputs=images)
    sidenet.fit(data.evaluation_batches(data.train, arch.resolution))
    sidenet.train()  # as a training loop around it would
    assert torch.equal(sidenet(images).logits, expected)
    assert torch.equal(net(images), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(parameter.requires_grad for parameter in net.parameters())


class Counted(nn.Module):
    """A part that writes down how many images it is run on."""

    def __init__(self, part):
        super().__init__()
        self.part, self.runs = part, []
        self.batch_dims = part.batch_dims

    def forward(self, *handed):
        self.runs.append(handed[0].shape[0])
        return self.part(*handed)


@pytest.mark.parametrize("taps", [["stages.0"], ["stem", "stages.0", "stages.1.0"]])
def test_what_exits_is_not_computed_further(arch, taps):
    net, images = sided(arch, taps), example(arch, 60)
    outputs = net.observe([(images, torch.zeros(60).long())])
    confidences = outputs.confidences(net.temperatures.tolist())
    threshold = float(np.median(confidences[:-1]))
    net.exits = nn.ModuleList(Counted(part) for part in net.exits)
    answers = net(images, threshold=threshold)
    goes = confidences >= threshold
    goes[-1] = True
    assert answers.exits.tolist() == goes.argmax(0).tolist()
    left = [int((answers.exits >= number).sum()) for number in range(len(taps) + 1)]
    assert [part.runs for part in net.exits] == [[count] for count in left]
    assert 0 < left[-1] < 60
    expected = outputs.logits[answers.exits, torch.arange(60)]
    torch.testing.assert_close(answers.logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1"])
def test_torchvisions_networks_stay_as_they_are(name):
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None, num_classes=5).eval()
    tap = {"resnet18": "layer2", "mobilenet_v3_small": "features.4", "squeezenet1_1": "features.5"}[name]
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = net(images)
        sidenet = SideNet(net, tap, inputs=images)
        assert torch.equal(sidenet(images).logits, expected)
        assert torch.equal(net(images), expected)


def test_what_exits_a_cascade_is_not_computed_further(space):
    tiny, big = (model_of(arch).net.eval() for arch in (space.min(), space.max()))
    net = Cascade(tiny, big, (8, 12))
    net.exits = nn.ModuleList(Counted(part) for part in net.exits)
    images = torch.randn(20, 1, 12, 12)
    sure = confidence(tiny(resize(images, 8)), net.temperatures[0])
    threshold = sure.median().item()
    exits = net(images, threshold=threshold).exits
    assert [part.runs for part in net.exits] == [[20], [int((sure < threshold).sum())]]
    assert (exits == 1).sum() == (sure < threshold).sum()


def test_any_precision_any_layout_any_feature():
    """A Conv1d's channels are its features if it is said so; heads of bf16 networks; features that never change."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(3, 6, 3), nn.ReLU(), nn.Conv1d(6, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = 0, -1.0  # a dead channel
    inputs, labels = torch.randn(40, 3, 20), torch.arange(40) % 4
    state = torch.random.get_rng_state()
    for dtype in (torch.float32, torch.bfloat16):
        sidenet = SideNet(net.to(dtype), "1", 8, inputs=inputs.to(dtype), channel_dim=1)
        assert sidenet.heads[0].hidden.in_features == 6
        for count in (40, 1):
            sidenet.fit([(inputs[:count].to(dtype), labels[:count])])
            assert sidenet.heads[0].hidden.weight.abs().max() < 100, "the dead channel would shout when it wakes"
        sidenet.calibrate(sidenet.observe([(inputs.to(dtype), labels)]))
        assert sidenet(inputs.to(dtype), threshold=0.3).logits.dtype == dtype
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's random numbers"
    assert SideNet(net, "1", 8, inputs=inputs.to(dtype)).heads[0].hidden.in_features == 18, "a sequence's last"


@pytest.mark.parametrize(
    ("net", "tap", "inputs", "message"),
    [
        (nn.Sequential(nn.Conv1d(3, 4, 1)), "0", torch.zeros(1, 3, 5), r"logits \(N, classes\)"),
        (
            nn.Sequential(nn.Identity(), nn.EmbeddingBag(9, 4)),
            "0",
            torch.zeros(1, 3, dtype=torch.long),
            "gives features",
        ),
    ],
)
def test_what_is_no_classifier_and_no_tap(net, tap, inputs, message):
    with pytest.raises(InputError, match=message):
        SideNet(net, tap, inputs=inputs)
    net = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(InputError, match="a batch or more"):
        SideNet(net, "0", inputs=torch.zeros(1, 3)).fit([])


def test_the_ends_of_the_threshold(arch):
    net, images = sided(arch), example(arch, 4)
    net.exits = nn.ModuleList(Counted(part) for part in net.exits)
    assert net(images, threshold=0).exits.tolist() == [0] * 4
    assert net.exits[-1].runs == [], "nobody is left"
    assert net(images, threshold=NOBODY).exits.tolist() == [1] * 4
    assert net(images[:1], threshold=0).logits.shape == (1, arch.classes)


def test_heads_learn_what_the_features_say():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 3))
    labels = torch.arange(300) % 3
    images = torch.randn(300, 1, 8, 8) + 2 * labels[:, None, None, None]
    sidenet = SideNet(net, "1", 16, inputs=images)
    sidenet.fit([(images[:200], labels[:200])])
    assert sidenet.observe([(images[200:], labels[200:])]).correct()[0].mean() > 0.95
    taught = SideNet(net, "1", 16, inputs=images)
    taught.fit([(images[:200], labels[:200])], distillation=1.0)
    own = net(images[200:]).argmax(1)
    agreed = taught.observe([(images[200:], own)]).correct()[0].mean()
    assert agreed > sidenet.observe([(images[200:], own)]).correct()[0].mean(), "it learned from the network instead"


def test_words_with_a_mask_exit_too():
    """What else the rest needs, here the mask, is reduced to the same images."""
    from test_cutting import Encoder

    torch.manual_seed(0)
    net, words = Encoder(words=True), torch.randint(0, 20, (30, 9))
    words[:, 0] = 1
    sidenet = SideNet(net, "layers.layers.0", 8, inputs=words)
    sidenet.fit([(words, torch.arange(30) % 4)])
    outputs = sidenet.observe([(words, torch.zeros(30))])
    threshold = float(np.median(outputs.confidences([1, 1])[0]))
    answers = sidenet(words, threshold=threshold)
    assert 0 < answers.exits.sum() < 30
    torch.testing.assert_close(answers.logits, outputs.logits[answers.exits, torch.arange(30)], atol=1e-5, rtol=1e-4)


def test_cost_counts_trunk_heads_and_rest(space, rng):
    for _ in range(4):
        arch = space.sample(rng)
        taps = ["stages.0", "stages.1"]
        model = ExitModel(models=(model_of(arch),), exits=sided(arch, taps), threshold=0.5)
        counted, whole = exits_cost(model), cost(arch)
        macs = model.exits.macs(model.example())
        assert macs[-1] == counted.macs
        layers, channels = list(steps(arch)), [stage[-1].out for stage in arch.stages]
        until = max(i for i, step in enumerate(layers) if step.name.startswith("stages.0"))
        first = channels[0] * 5 + 5 * arch.classes
        assert macs[0] == sum(step.macs for step in layers[: until + 1]) + first
        heads = [5 * width + 5 * arch.classes for width in channels]
        assert counted.macs == whole.macs + sum(heads)
        assert counted.params == whole.params + sum(heads) + 2 * (5 + arch.classes)
        assert counted.params == sum(p.numel() for p in [*model.mainnet.net.parameters()]) + sum(
            p.numel() for head in model.exits.heads for p in head.parameters()
        )
        assert counted.flash == whole.flash + sum(heads) + 2 * 8 * (5 + arch.classes)
        assert counted.peak_sram >= whole.peak_sram


def test_the_tap_stays_in_memory(space):
    """A head wider than the network's own peak: its hidden layer beside the tapped map."""
    arch = space.min()
    net = SideNet(model_of(arch).net, "stages.0", 20_000, inputs=example(arch))
    model = ExitModel(models=(model_of(arch),), exits=net, threshold=0.5)
    size = arch.resolution // 2
    tap = arch.stages[0][-1].out * size**2
    assert exits_cost(model).peak_sram == tap + 20_000 + arch.stages[0][-1].out


def test_a_cascade_keeps_its_image(space):
    tiny, big = model_of(space.min()), model_of(space.max())
    model = ExitModel(models=(tiny, big), exits=cascade_of(tiny, big), threshold=0.5)
    both = cost(tiny.net.arch), cost(big.net.arch)
    assert exits_cost(model).macs == sum(one.macs for one in both) == model.exits.macs(model.example())[-1]
    assert exits_cost(model).peak_sram == max(
        both[1].peak_sram, *(step.sram + model.example().numel() for step in steps(tiny.net.arch))
    )
    same = replace(model, models=(tiny, tiny), exits=cascade_of(tiny, tiny))
    first, *others = (step.sram for step in steps(tiny.net.arch))
    assert exits_cost(same).peak_sram == max(first, *(sram + same.example().numel() for sram in others))


def test_a_cascade_gives_each_network_its_image_size(space):
    tiny, big = model_of(space.min()), model_of(space.max())
    assert tiny.net.arch.resolution < big.net.arch.resolution
    images = example(big.net.arch, 6)
    outputs = cascade_of(tiny, big).observe([(images, torch.zeros(6))])
    with torch.no_grad():
        assert torch.equal(outputs.logits[1], big.net(images))
    assert outputs.logits.shape == (2, 6, 3)


# three images, two early exits and the whole network
CONFIDENCES = np.array([[0.9, 0.4, 0.2], [0.5, 0.8, 0.3], [0.1, 0.1, 0.1]])
CORRECT = np.array([[True, False, False], [False, True, False], [True, True, True]])
MACS = [10, 20, 30]


def hand_made():
    return Swept(confidences=CONFIDENCES, uncalibrated=CONFIDENCES, correct=CORRECT, macs=MACS)


@pytest.mark.parametrize(
    ("threshold", "shares", "hits"),
    [
        (0.0, (3, 0, 0), 1),
        (0.4, (2, 0, 1), 2),
        (0.41, (1, 1, 1), 3),
        (0.85, (1, 0, 2), 3),
        (NOBODY, (0, 0, 3), 3),
    ],
)
def test_what_a_threshold_makes(threshold, shares, hits):
    (point,) = hand_made().at([threshold])
    assert point.shares == tuple(share / 3 for share in shares)
    assert point.accuracy == pytest.approx(100 * hits / 3)
    assert point.macs == pytest.approx(np.dot(shares, MACS) / 3)


def test_thresholds_rise_between_the_ends():
    found = thresholds(CONFIDENCES)
    assert found[0] == 0 and found[-1] == NOBODY  # noqa: PT018
    assert all(a < b for a, b in pairwise(found))
    assert set(found[1:-1]) <= set(CONFIDENCES[:-1].flatten())


def test_choosing():
    curve = hand_made().curve()
    assert choose(curve, accuracy=100).macs == 20
    assert choose(curve, macs=17).accuracy == pytest.approx(200 / 3)
    with pytest.raises(InputError, match=r"no threshold reaches 101.00% on search-val; the nearest, .*, reaches 100"):
        choose(curve, accuracy=101)
    with pytest.raises(InputError, match="as little as 5 MACs on average; the nearest, 0, needs 10"):
        choose(curve, macs=5)


def test_bounds():
    expected = [(10, 100 / 3), (40 / 3, 200 / 3), (20, 100), (30, 100)]
    assert np.allclose(oracle_exits(CORRECT, MACS), expected)
    chance = random_exits(CORRECT, MACS)
    assert chance[0] == (10, pytest.approx(100 / 3))
    assert chance[-1] == (30, pytest.approx(100))
    assert all(a[0] < b[0] for a, b in pairwise(chance))


def test_calibration_error_by_hand():
    confidences, correct = np.array([0.95, 0.97, 0.5, 0.52]), np.array([True, True, True, False])
    bins = reliability(confidences, correct)
    assert [one.images for one in bins] == [2, 2]
    assert calibration_error(bins) == pytest.approx(100 * (0.01 + 0.04) / 2)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature):
    torch.manual_seed(0)
    logits = 2 * torch.randn(20_000, 5)
    labels = torch.distributions.Categorical(logits=logits).sample()
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_calibrating_lowers_the_error():
    torch.manual_seed(0)
    logits = 2 * torch.randn(5_000, 5)
    outputs = Outputs(5 * logits[None], torch.distributions.Categorical(logits=logits).sample())
    before = calibration_error(reliability(outputs.confidences([1.0])[0], outputs.correct()[0]))
    temperature = fit_temperature(outputs.logits[0], outputs.labels)
    after = calibration_error(reliability(outputs.confidences([temperature])[0], outputs.correct()[0]))
    assert after < 2 < 20 < before


@pytest.mark.parametrize("kind", ["sidenet", "cascade"])
def test_written_and_read_again(space, tmp_path, kind):
    big = model_of(space.max())
    if kind == "sidenet":
        model = ExitModel(models=(big,), exits=sided(space.max(), ["stages.0", "stages.1"]), threshold=0.7)
    else:
        tiny = model_of(space.min())
        model = ExitModel(models=(tiny, big), exits=cascade_of(tiny, big), threshold=0.7)
    model.exits.temperatures.uniform_(0.5, 2)
    save_exits(tmp_path / "sidenet.safetensors", model)
    again = read_exits(tmp_path / "sidenet.safetensors")
    images = example(space.max(), 9)
    for threshold in (0, 0.6, NOBODY):
        assert torch.equal(
            again.exits(images, threshold=threshold).logits, model.exits(images, threshold=threshold).logits
        )
    assert (again.threshold, again.names) == (0.7, model.names)
    assert torch.equal(again.exits.temperatures, model.exits.temperatures)
    save_model(tmp_path / "model.safetensors", big)
    with pytest.raises(
        FileError, match="is of the kind 'tinynas', and no network with early exits; make it with tinynas sidenet"
    ):
        read_exits(tmp_path / "model.safetensors")
    with pytest.raises(FileError, match="is of the kind 'tinynas-exits', and no tinynas model"):
        read_model(tmp_path / "sidenet.safetensors")
    raw = bytearray((tmp_path / "sidenet.safetensors").read_bytes())
    raw[-3] ^= 1
    (tmp_path / "sidenet.safetensors").write_bytes(raw)
    with pytest.raises(FileError, match="is damaged or no network with early exits"):
        read_exits(tmp_path / "sidenet.safetensors")


def test_the_job(delivered_file, watched):
    document = make_exits(ExitPlan(model=delivered_file), report=Quiet())
    folder = delivered_file.parent / "sidenet"
    assert {path.name for path in folder.iterdir()} == {"sidenet.safetensors", "sidenet.json", "sidenet.png"}
    assert {"folder": str(folder), **read_json(folder / "sidenet.json")} == document
    assert len(watched.test.looked) == 1
    model = read_exits(folder / "sidenet.safetensors")
    images, labels = next(iter(watched.evaluation_batches(watched.test, model.resolution)))
    answers = model.exits(images, threshold=document["threshold"])
    assert 100 * (answers.logits.argmax(1) == labels).float().mean().item() == pytest.approx(document["accuracy"])
    macs = [one["macs"] for one in document["exits"]]
    shares = [one["share"] for one in document["exits"]]
    assert document["macs"] == pytest.approx(np.dot(macs, shares))
    assert document["worst_macs"] == macs[-1] > document["mainnet"]["macs"]
    assert document["curve"][0]["accuracy"] == document["exits"][0]["accuracy"]
    assert document["curve"][-1]["accuracy"] == document["mainnet"]["accuracy"]
    assert [one["allowed"] for one in document["losses"]] == [0, 0.5, 1]
    again = make_exits(ExitPlan(model=delivered_file), report=Quiet())
    assert again["folder"] == f"{folder}-2", "nothing is overwritten"
    assert again["curve"] == document["curve"]


def test_auto_keeps_the_best_curve(space, watched, tmp_path):
    path = tmp_path / "model" / "model.safetensors"
    arch = replace(space.max(), stages=(*space.max().stages, space.max().stages[-1][1:]))
    save_model(path, replace(model_of(arch, classes=watched.classes), normalise=watched.normalise))
    document = make_exits(ExitPlan(model=path), report=Quiet())
    stages = [f"stages.{i}" for i in range(3)]
    choices = [list(chosen) for count in (1, 2, 3) for chosen in combinations(stages, count)]
    assert [one["taps"] for one in document["tried"]] == choices
    best = max(document["tried"], key=lambda one: one["hypervolume"])
    assert document["taps"] == best["taps"]
    for one in document["tried"]:
        alone = make_exits(ExitPlan(model=path, taps=tuple(one["taps"])), report=Quiet())
        if one is best:
            for name in ("accuracy", "macs", "curve", "threshold"):
                assert alone[name] == document[name]


@pytest.mark.parametrize(
    ("goal", "threshold"),
    [({"threshold": 0.5}, 0.5), ({"accuracy": 1.0}, 0.0)],  # everything reaches 1%: exit first
)
def test_goals(delivered_file, goal, threshold):
    document = make_exits(ExitPlan(model=delivered_file, taps=("stages.0",), **goal), report=Quiet())
    assert document["threshold"] == threshold


def test_a_goal_in_macs_binds(delivered_file):
    free = make_exits(ExitPlan(model=delivered_file, taps=("stages.0",), threshold=1.1), report=Quiet())
    first, last = (one["macs"] for one in free["exits"])
    wanted = (first + last) // 2
    document = make_exits(ExitPlan(model=delivered_file, taps=("stages.0",), macs=wanted), report=Quiet())
    assert document["macs"] < 1.2 * wanted < last, "on search-val it is within, on test about"
    assert make_exits(ExitPlan(model=delivered_file, taps=("stages.0",), macs=last + 1), report=Quiet())["macs"] <= last
    with pytest.raises(InputError, match="no threshold needs as little as"):
        make_exits(ExitPlan(model=delivered_file, taps=("stages.0",), macs=first - 1), report=Quiet())


def test_a_cascade(delivered_file, watched, space, tmp_path):
    big = tmp_path / "big" / "model.safetensors"
    save_model(big, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    document = make_exits(ExitPlan(model=big, tiny=delivered_file, threshold=0.4), report=Quiet())
    assert document["folder"] == str(delivered_file.parent / "cascade")
    assert [one["name"] for one in document["exits"]] == ["tiny", "mainnet"]
    assert document["taps"] == []
    assert read_exits(delivered_file.parent / "cascade" / "sidenet.safetensors").resolution == 12


def test_the_curve_is_compared(watched, space, tmp_path):
    path = tmp_path / "run" / "retrain" / "plain" / "model.safetensors"
    save_model(path, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    document = make_exits(ExitPlan(model=path), report=Quiet())
    make_exits(ExitPlan(model=path, tiny=path), report=Quiet())
    folder = Path(document["folder"])
    export_exits(ExportPlan(model=folder / "sidenet.safetensors", out=folder), report=Quiet())
    entry = {"arch": space.min().to_dict(), "accuracy": 40.0, "macs": 9, "params": 9, "peak_sram": 9, "flash": 9}
    found = {"space": "s", "data": "a", "limits": {}, "best": 0, "front": [entry]}
    (tmp_path / "run" / "front.json").write_text(json.dumps(found))
    searched, cascade, with_exits, int8 = compare_runs([tmp_path / "run"], tmp_path / "compare.png")["series"]
    name = f"plain with exits at {', '.join(document['taps'])}"
    assert [searched["name"], cascade["name"]] == ["searched", "plain in a cascade"]
    assert [with_exits["name"], int8["name"]] == [name, f"{name}, int8"]
    assert with_exits["split"] == "test"
    curve = {(point["macs"], point["accuracy"]) for point in document["curve"]}
    points = [(point["macs"], point["accuracy"]) for point in with_exits["points"]]
    assert set(points) <= curve
    macs = [point["macs"] for point in with_exits["points"]]
    assert macs == sorted(macs)
    assert all(point["peak_sram"] == document["peak_sram"] for point in with_exits["points"])
    make_exits(ExitPlan(model=path, taps=("stem",), out=folder), report=Quiet())
    names = [one["name"] for one in compare_runs([tmp_path / "run"], tmp_path / "compare.png")["series"]]
    assert names == ["searched", "plain in a cascade", "plain with exits at stem"], "no int8 of what was there before"
    for name in ("export.json", "sidenet.json"):
        (folder / name).write_text("{}")
        with pytest.raises(FileError, match=rf"{name} is damaged or of an older tinynas"):
            compare_runs([tmp_path / "run"], tmp_path / "compare.png")


def test_points_to_compare_are_chosen_without_the_test_split():
    rng = np.random.default_rng(0)
    correct = rng.random((2, 400)) < np.array([[0.6], [0.9]])
    confidences = np.clip(correct * 0.3 + rng.random((2, 400)) * 0.7, 0, 1)
    one = Swept(confidences=confidences, uncalibrated=confidences, correct=correct, macs=[10, 100])
    points = one.at(one.spread())
    assert 3 < len(points) <= 7
    assert points[-1].accuracy == max(point.accuracy for point in one.curve())
    assert points[0].accuracy > points[-1].accuracy - 10
    pairs = [(point.macs, point.accuracy) for point in points]
    assert pairs == sorted(pairs), "more MACs, more accuracy"


def test_a_cascade_before_the_supernets_largest_network(plan, watched):
    search(plan, report=Quiet())
    retrain(plan_retraining(str(plan.run), name=None, resume=False, netaug=False, given={"epochs": 1}), report=Quiet())
    tiny = plan.run / "retrain" / "plain" / "model.safetensors"
    document = make_exits(ExitPlan(model=Path("supernet"), tiny=tiny), report=Quiet())
    arch = read_exits(tiny.parent / "cascade" / "sidenet.safetensors").mainnet.net.arch
    largest = read_supernet(plan.run, watched).space.max()
    assert arch == replace(largest, resolution=read_model(tiny).net.arch.resolution)
    assert document["worst_macs"] == cost(arch).macs + document["exits"][0]["macs"]


def test_bad_plans(delivered_file, watched, space, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="a threshold is given, or one target"):
        ExitPlan(model=delivered_file, threshold=0.5, macs=10)
    for wrong, message in (
        ({"seed": -1}, "seed >= 0"),
        ({"taps": ("auto", "stem")}, "auto is the only tap"),
        ({"temperature": 2.0}, "a temperature is for --distillation"),
        ({"tiny": delivered_file, "hidden": 8}, "a cascade has no side heads` must hold, but got .hidden=8"),
        ({"out": delivered_file.parent}, "exits have a folder of their own"),
        ({"model": Path("supernet")}, "supernet is the larger network of a cascade"),
    ):
        with pytest.raises(InputError, match=message):
            ExitPlan(**{"model": delivered_file} | wrong)
    with pytest.raises(FileError, match="cannot read supernet"):
        make_exits(ExitPlan(model=delivered_file, tiny=Path("supernet")), report=Quiet())
    with pytest.raises(InputError, match="supernet is that of the run which the model is in"):
        make_exits(ExitPlan(model=Path("supernet"), tiny=delivered_file), report=Quiet())
    with pytest.raises(InputError, match="a tap is named once"):
        make_exits(ExitPlan(model=delivered_file, taps=("stem", "stem")), report=Quiet())
    with pytest.raises(InputError, match="hidden > 0"):
        make_exits(ExitPlan(model=delivered_file, hidden=0), report=Quiet())
    with pytest.raises(InputError, match=r"has no module 'stage\.0'; near it are stages\.0"):
        make_exits(ExitPlan(model=delivered_file, taps=("stage.0",)), report=Quiet())
    assert not (delivered_file.parent / "sidenet").exists()
    other = tmp_path / "other.safetensors"
    save_model(other, replace(model_of(space.min(), classes=("x", "y", "z")), normalise=watched.normalise))
    with pytest.raises(InputError, match="knows 3 classes"):
        make_exits(ExitPlan(model=other), report=Quiet())
    with pytest.raises(InputError, match="both networks of a cascade have the same classes"):
        make_exits(ExitPlan(model=other, tiny=delivered_file), report=Quiet())
    dear = tmp_path / "dear.safetensors"
    save_model(dear, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    with pytest.raises(InputError, match="the first network of a cascade is the cheaper"):
        make_exits(ExitPlan(model=delivered_file, tiny=dear), report=Quiet())
    few = replace(watched, val=replace(watched.val, images=watched.val.images[:14], labels=watched.val.labels[:14]))
    monkeypatch.setattr("tinynas.pipelines.model_data.load_data", lambda name: few)
    with pytest.raises(InputError, match=r"5 images for a class .* \(images=14, classes=3, fewest=4\)"):
        make_exits(ExitPlan(model=delivered_file), report=Quiet())
    known = watched.val.labels < 2
    few = replace(watched, val=replace(watched.val, images=watched.val.images[known], labels=watched.val.labels[known]))
    monkeypatch.setattr("tinynas.pipelines.model_data.load_data", lambda name: few)
    with pytest.raises(InputError, match=r"one of each` must hold, .* fewest=0\)"):
        make_exits(ExitPlan(model=delivered_file), report=Quiet())


def test_a_detector_has_no_exits(detectors, watched, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, model_of(detectors.min()))
    with pytest.raises(InputError, match="only a classifier has early exits"):
        make_exits(ExitPlan(model=path), report=Quiet())


@pytest.mark.parametrize("tap", ["stages.0", "stages.0.0.depthwise.conv", "stages.0.0.se"])
def test_the_exported_parts_say_what_torch_does(space, watched, tmp_path, tap):
    path = tmp_path / "model" / "model.safetensors"
    save_model(path, replace(model_of(space.max(), classes=watched.classes), normalise=watched.normalise))
    folder = Path(make_exits(ExitPlan(model=path, taps=(tap,), threshold=0.4), report=Quiet())["folder"])
    document = export_exits(ExportPlan(model=folder / "sidenet.safetensors", out=folder), report=Quiet())
    assert read_json(folder / "export.json") == document
    torchs, fp32, int8 = document["forms"]
    assert fp32["difference"] < 1e-4
    assert [fp32[name] for name in ("accuracy", "macs", "shares")] == [
        torchs[name] for name in ("accuracy", "macs", "shares")
    ]
    assert int8["temperatures"] != fp32["temperatures"], "fitted on what int8 says"
    files = ["part1.onnx", "part2.onnx", "part1.int8.onnx", "part2.int8.onnx"]
    assert [*fp32["files"], *int8["files"]] == files
    assert all((folder / name).exists() for name in files)


def test_files_that_compute_something_else_are_not_kept(delivered_file, watched, monkeypatch):
    folder = Path(make_exits(ExitPlan(model=delivered_file), report=Quiet())["folder"])
    plan = ExportPlan(model=folder / "sidenet.safetensors", out=folder / "out")

    def wrong(model):
        parts = deployed_parts(model)
        nn.init.ones_(parts[-1].get_parameter("body.net_head_classifier_weight"))
        return parts

    monkeypatch.setattr("tinynas.pipelines.export_early_exit.deployed_parts", wrong)
    with pytest.raises(FileError, match="the files would differ from the model by"):
        export_exits(plan, report=Quiet())
    assert list((folder / "out").iterdir()) == []


def test_a_cascade_is_exported_resizing_inside_where_image_sizes_differ(delivered_file, watched, space, tmp_path):
    small, large = tmp_path / "small" / "model.safetensors", tmp_path / "large" / "model.safetensors"
    for path, arch in ((small, replace(space.max(), resolution=8)), (large, space.max())):
        save_model(path, replace(model_of(arch, classes=watched.classes), normalise=watched.normalise))
    for big, resizes in ((small, 0), (large, 1)):
        folder = Path(make_exits(ExitPlan(model=big, tiny=delivered_file, threshold=0.4), report=Quiet())["folder"])
        document = export_exits(ExportPlan(model=folder / "sidenet.safetensors", out=folder), report=Quiet())
        assert document["forms"][1]["accuracy"] == document["forms"][0]["accuracy"]
        nodes = onnx.load(folder / "part1.onnx").graph.node
        assert sum(node.op_type == "Resize" for node in nodes) == resizes
        assert document["preprocessing"]["crop"] == read_exits(folder / "sidenet.safetensors").resolution
    with pytest.raises(InputError, match="for one image at a time"):
        export_exits(ExportPlan(model=folder, out=tmp_path / "p", batch=2), report=Quiet())


def test_the_commands(delivered_file, watched, tinynas, fails):
    code, out, err = tinynas("sidenet", delivered_file.parent, "--json")
    assert code == 0, err
    folder = json.loads(out)["folder"]
    code, out, err = tinynas("sidenet", delivered_file, "--tap", "stem", "--target-accuracy", "20%")
    assert code == 0, err
    assert "with exits" in out
    code, out, err = tinynas("sidenet", "--cascade", delivered_file, delivered_file.parent, "--threshold", "0.5")
    assert code == 0, err
    assert "Cascade on 30 test images" in out
    code, out, err = tinynas("eval", folder, "--json")
    assert code == 0, err
    said, made = json.loads(out), read_json(Path(folder) / "sidenet.json")
    assert [said[name] for name in ("accuracy", "macs", "flash")] == [
        made[name] for name in ("accuracy", "macs", "flash")
    ]
    Image.fromarray(watched.test.images[0, 0].numpy()).save("one.png")
    code, out, err = tinynas("predict", folder, "one.png")
    assert code == 0, err
    assert "(exit stages.0)" in out or "(exit mainnet)" in out
    assert "has one image size" in fails("eval", folder, "--resolutions", "8,12")
    code, out, err = tinynas("export", folder, "--no-int8")
    assert code == 0, err
    assert "part1.onnx, part2.onnx, export.json" in out
    assert "expected a percentage" in fails("sidenet", delivered_file, "--target-accuracy", "much")
    assert "no threshold reaches 100.00%" in fails("sidenet", delivered_file, "--target-accuracy", "100")
    assert "leave out MODEL and --tap" in fails("sidenet", "--tap", "stem", "--cascade", "a", "b")
    assert "no */retrain/*/model.safetensors in runs" in fails("sidenet")
    newest = Path("runs/r/retrain/netaug/model.safetensors")
    newest.parent.mkdir(parents=True)
    newest.write_bytes(delivered_file.read_bytes())
    code, out, err = tinynas("sidenet")
    assert code == 0, err
    for word in (
        "average MACs",
        "worst MACs",
        "peak SRAM",
        "flash",
        "ECE calibrated",
        "written to runs/r/retrain/netaug",
    ):
        assert word in out
    assert (newest.parent / "sidenet" / "sidenet.json").exists()
    renamed = Path("my.safetensors")
    renamed.write_bytes((newest.parent / "sidenet" / "sidenet.safetensors").read_bytes())
    assert tinynas("eval", renamed)[0] == 0
    assert load(renamed)(torch.zeros(2, 1, 8, 8), threshold=0.5).logits.shape == (2, 3)
    assert "a threshold is for a detector's boxes" in fails("predict", renamed, "one.png", "--threshold", "0.5")


@pytest.mark.parametrize(("kind", "exits"), [("fp32", "three"), ("int8", "three"), ("fp32", "cascade")])
def test_readmes_program_stops_where_torch_does(space, tmp_path, kind, exits):
    """On image files, with onnxruntime alone: the first program of README, its end replaced."""
    data = load_data("digits")
    arch = replace(space.max(), classes=10, resolution=16)
    tiny = tmp_path / "tiny.safetensors"
    for path, one in ((tmp_path / "model.safetensors", arch), (tiny, replace(arch, resolution=8))):
        model = replace(model_of(one, classes=data.classes), data="digits", normalise=data.normalise, crop=data.crop)
        save_model(path, model)
    how = {"tiny": tiny} if exits == "cascade" else {"taps": ("stages.0", "stages.1")}
    made = tmp_path / "exits"
    plan = ExitPlan(model=tmp_path / "model.safetensors", threshold=1.1, out=made, **how)
    make_exits(plan, report=Quiet())
    images, labels = (each[:60] for each in next(iter(data.evaluation_batches(data.test, 16))))
    free = read_exits(made / "sidenet.safetensors").exits
    levels = np.sort(free.observe([(images, labels)]).confidences(free.temperatures.tolist())[:-1], None)
    levels = levels[len(levels) // 4 : -len(levels) // 4]
    widest = np.diff(levels).argmax()  # for PIL rounds pixels to bytes
    threshold = float(levels[widest : widest + 2].mean())
    make_exits(replace(plan, threshold=threshold), report=Quiet())
    document = export_exits(ExportPlan(model=made / "sidenet.safetensors", out=tmp_path), report=Quiet())
    programs = [part.split("```")[0] for part in README.split("```python\n")]
    whole = next(part for part in programs if part.startswith("import json, sys"))
    end, before = (next(part for part in programs if what in part) for what in ("handed = ", "import glob"))
    start, loop = "".join(whole.splitlines(keepends=True)[:-2]).split("for name in sys.argv[2:]:")
    code = start + before + "for name in sys.argv[2:]:" + loop + end + "    print(parts.index(part))\n"
    (tmp_path / "classify.py").write_text(code)
    files = [tmp_path / f"{i}.png" for i in range(60)]
    for path, image in zip(files, data.test.images, strict=False):
        Image.fromarray(image[0].numpy()).save(path)
    first = document["forms"][1 if kind == "fp32" else 2]["files"][0]
    words = [sys.executable, tmp_path / "classify.py", tmp_path / first, *files]
    out = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    said, places = [line.rsplit(" ", 1)[1] for line in out[::2]], [int(line) for line in out[1::2]]
    form = document["forms"][1 if kind == "fp32" else 2]
    enlarged = [np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BILINEAR)) for path in files]
    seen = data.normalise(torch.from_numpy(np.stack(enlarged))[:, None])  # PIL's pixels are bytes, torch's are not
    outputs = Parts([onnx.load(tmp_path / file) for file in form["files"]], int8=True).observe([(seen, labels)])
    stops = np.argmax(outputs.confidences(form["temperatures"]) >= [[threshold]] * (len(form["files"]) - 1) + [[0]], 0)
    named = [data.classes[outputs.logits[stop, i].argmax()] for i, stop in enumerate(stops)]
    agreed = np.mean([a == b and p == x for a, b, p, x in zip(said, named, places, stops, strict=True)])
    assert agreed == 1
    if kind == "fp32":
        expected = read_exits(made / "sidenet.safetensors").exits(images, threshold=threshold).exits
        assert torch.equal(expected, torch.from_numpy(stops))
        assert set(places) == set(range(len(form["files"]))), "some images stop at every exit"
    assert len(set(places)) > 1, "not all images stop at one exit"
