"""Networks of others with early exits as ONNX files, which onnx reads and the program of the docs runs."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import torchvision
from scipy.optimize import brentq
from torch import nn

from helpers import slow_except
from pages import program
from tinynas import SideNet, export_exits
from tinynas.early_exit.cascade import Cascade
from tinynas.utils.errors import FileError, InputError

COUNT = 500


class MaskedEncoder(nn.Module):
    """A transformer of words with a mask, which has the examples in the second dimension."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0)
        self.layers = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.classify = nn.Linear(16, 4)

    def forward(self, words, mask):
        tokens = self.layers(self.embed(words).transpose(0, 1), src_key_padding_mask=~mask)
        kept = mask.T[..., None].float()
        return self.classify((tokens * kept).sum(0) / kept.sum(0))


def small_resnet():
    net = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=6)
    return net, ["layer1", "layer2", "layer3"], {"x": torch.randn(COUNT, 3, 32, 32)}


def masked_encoder():
    words, lengths = torch.randint(50, (COUNT, 9)), torch.randint(2, 10, (COUNT, 1))
    return MaskedEncoder(), ["layers.layers.0", "layers.layers.1"], {"words": words, "mask": torch.arange(9) < lengths}


def timm_network(name, taps, **sizes):
    timm = pytest.importorskip("timm", reason="the extra import is not installed")
    return timm.create_model(name, num_classes=7, **sizes), taps, {"x": torch.randn(COUNT, 3, 32, 32)}


def bert():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=12, num_labels=5, **sizes)
    words, lengths = torch.randint(50, (COUNT, 9)), torch.randint(2, 10, (COUNT, 1))
    inputs = {"input_ids": words, "attention_mask": (torch.arange(9) < lengths).long()}
    return transformers.BertForSequenceClassification(config), ["bert.encoder.layer.0", "bert.encoder.layer.1"], inputs


NETWORKS = {
    "bert": bert,
    "resnet": small_resnet,
    "masked": masked_encoder,
    "mobilenet": lambda: timm_network("mobilenetv3_small_050", ["blocks.1", "blocks.3"]),
    "vit": lambda: timm_network("vit_tiny_patch16_224", ["blocks.0", "blocks.2"], img_size=32, depth=4),
    "swin": lambda: timm_network("swin_tiny_patch4_window7_224", ["layers.0", "layers.1"], img_size=32, window_size=4),
}


@pytest.fixture(scope="module")
def runner():
    """The program of the docs, as a module."""
    namespace = {"__name__": "run_exits"}
    exec(program("early-exits.md", "run_exits.py"), namespace)
    return SimpleNamespace(**namespace)


def temperature_for(outputs, number, threshold):
    """The temperature at which an untrained exit is confident of 4 inputs in 10."""

    def excess(log_temperature):
        confidences = outputs.confidences([np.exp(log_temperature)] * len(outputs.logits))[number]
        return np.quantile(confidences, 0.6) - threshold

    return float(np.exp(brentq(excess, -9, 5)))


@pytest.fixture(scope="module", params=slow_except(NETWORKS, "resnet", "masked"))
def exported(request, tmp_path_factory):
    """A network with early exits and its files, inputs, and a threshold at which some inputs take every exit."""
    torch.manual_seed(0)
    mainnet, taps, inputs = NETWORKS[request.param]()
    labels = torch.zeros(COUNT).long()
    by_name = request.param == "bert"  # as transformers has it
    net = SideNet(mainnet, taps, 16, inputs=inputs if by_name else list(inputs.values()))
    outputs = net.observe([(inputs, labels) if by_name else (*inputs.values(), labels)])
    temperatures = [temperature_for(outputs, number, 0.5) for number in range(len(net.exits))]
    net.temperatures.copy_(torch.tensor(temperatures))
    confidences = outputs.confidences(net.temperatures.tolist())
    threshold = 0.5
    few = {name: tensor[:8] for name, tensor in inputs.items()}
    (path,) = export_exits(
        net,
        tmp_path_factory.mktemp("exits"),
        inputs=few if by_name else list(few.values()),
        threshold=threshold,
    )
    expected = net(inputs, threshold=threshold) if by_name else net(*inputs.values(), threshold=threshold)
    return SimpleNamespace(
        net=net, inputs=inputs, threshold=threshold, path=path, confidences=confidences, expected=expected
    )


def test_exported_exits_answer_as_torch_does(exported, runner):
    feeds, expected = {name: tensor.numpy() for name, tensor in exported.inputs.items()}, exported.expected
    logits, exits = runner.predict(runner.load_parts(exported.path), feeds)
    near = (np.abs(exported.confidences[:-1] - exported.threshold) < 1e-5).any(0)
    assert near.sum() < 5
    assert np.array_equal(exits[~near], expected.exits[~near])
    assert set(exits) == set(range(len(exported.net.exits))), "some inputs take every exit"
    np.testing.assert_allclose(logits[~near], expected.logits[~near], rtol=1e-4, atol=1e-4)


def test_exported_parts_say_what_they_take_and_return(exported):
    described = json.loads(exported.path.read_text())
    temperatures = exported.net.temperatures.tolist()
    passed = [{"name": name} for name in exported.inputs]
    for number, part in enumerate(described["parts"]):
        proto = onnx.load(exported.path.with_name(part["file"]))
        onnx.checker.check_model(proto)
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        assert metadata.pop("format") == described["format"]
        assert metadata.pop("rule") == part["rule"] == "confidence"
        assert metadata.pop("exit") == part["exit"] == [*exported.net.taps, "mainnet"][number]
        assert {key: json.loads(value) for key, value in metadata.items()} == {
            "classes": None,
            **{key: part[key] for key in ("threshold", "temperature", "inputs", "outputs")},
        }
        assert part["temperature"] == temperatures[number]
        assert part["threshold"] == (exported.threshold if part["exit"] != "mainnet" else None)
        assert [tensor["name"] for tensor in part["inputs"]] == [tensor["name"] for tensor in passed]
        for tensor, value in zip(
            part["inputs"] + part["outputs"], [*proto.graph.input, *proto.graph.output], strict=True
        ):
            assert tensor == described_by(value)
        passed = part["outputs"][1:]
    assert passed == []
    assert described["difference"] < 1e-4


def described_by(value):
    """An input or output of an ONNX graph as exits.json describes it."""
    of_tensor = value.type.tensor_type
    shape = [None if size.dim_param else size.dim_value for size in of_tensor.shape.dim]
    return {
        "name": value.name,
        "type": str(onnx.helper.tensor_dtype_to_np_dtype(of_tensor.elem_type)),
        "shape": shape,
        "batch_dim": shape.index(None),
    }


def small_net(classes=3):
    torch.manual_seed(0)
    images = torch.randn(40, 1, 8, 8)
    mainnet = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, classes))
    return SideNet(mainnet, ["0", "1"], 8, inputs=images), images


def test_export_exits_in_int8_has_temperatures_of_its_own(tmp_path, runner):
    net, images = small_net()
    labels = net(images).logits.argmax(1)
    net.calibrate(net.observe([(images, labels)]))
    paths = export_exits(
        net, tmp_path, inputs=images, threshold=[0.6, 0.5], classes="abc", calibration=[(images[:20], labels[:20])]
    )
    assert [path.name for path in paths] == ["exits.json", "exits.int8.json"]
    fp32, int8 = (json.loads(path.read_text()) for path in paths)
    assert [part["file"] for part in int8["parts"]] == [f"part{number}.int8.onnx" for number in (1, 2, 3)]
    assert (fp32["int8"], int8["int8"], int8["classes"]) == (False, True, ["a", "b", "c"])
    assert [part["threshold"] for part in int8["parts"]] == [0.6, 0.5, None]
    assert [part["temperature"] for part in int8["parts"]] != [part["temperature"] for part in fp32["parts"]]
    kinds = {node.op_type for node in onnx.load(tmp_path / "part1.int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    logits, _ = runner.predict(runner.load_parts(paths[1]), {"input": images.numpy()})
    expected = net(images, threshold=0.55).logits
    assert 0 < np.abs(logits - expected.numpy()).max() < 0.2


def test_export_exits_of_a_cascade(tmp_path, runner):
    torch.manual_seed(0)
    tiny = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    big = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    cascade, images = Cascade(tiny, big, resolutions=(4, 8)), torch.randn(20, 1, 8, 8)
    (path,) = export_exits(cascade, tmp_path, inputs=images, threshold=0.45)
    logits, exits = runner.predict(runner.load_parts(path), {"images": images.numpy()})
    expected = cascade(images, threshold=0.45)
    assert exits.tolist() == expected.exits.tolist()
    assert set(exits) == {0, 1}
    np.testing.assert_allclose(logits, expected.logits, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"threshold": [0.5] * 3},
            r"one finite threshold, or one for each of the 2 early exits, but got \[0.5, 0.5, 0.5\]",
        ),
        ({"threshold": float("nan")}, "one finite threshold, .* but got nan"),
        ({"classes": ["cat"]}, "names of the network's 3 classes, but are 1 names"),
        ({"inputs": torch.zeros(0, 1, 8, 8)}, r"has no example, its shape is \(0, 1, 8, 8\)"),
        ({"inputs": [torch.zeros(1, 1, 8, 8)] * 2}, "built with 1 inputs, but got 2"),
        ({"inputs": torch.zeros(1, 1, 9, 9)}, "the size that the network was split for"),
        ({"calibration": []}, "calibration has no batch"),
        ({"opset": 3}, "18 <= opset"),
        ({"net": nn.Identity()}, "must be a SideNet or a cascade, but its type is Identity"),
        ({"inptus": 1}, "inptus"),
    ],
)
def test_export_exits_refuses_in_a_line_and_writes_nothing(tmp_path, arguments, message):
    net, images = small_net()
    with pytest.raises(InputError, match=message) as raised:
        export_exits(folder=tmp_path, **{"net": net, "inputs": images, "threshold": 0.5} | arguments)
    assert len(str(raised.value).splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_export_exits_refuses_types_that_numpy_lacks(tmp_path):
    mainnet = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)).bfloat16()
    words = torch.zeros(2, 3).long()
    net = SideNet(mainnet, "0", 8, inputs=words)
    with pytest.raises(InputError, match=r"bfloat16.*float\(\)") as raised:
        export_exits(net, tmp_path, inputs=words, threshold=0.5)
    assert len(str(raised.value).splitlines()) == 1


def test_export_exits_discards_files_that_compute_something_else(tmp_path, monkeypatch):
    net, images = small_net()
    true_logits = net.all_logits
    monkeypatch.setattr(net, "all_logits", lambda *inputs: true_logits(*inputs) + 1)
    with pytest.raises(FileError, match=r"would differ from the model by 1 .* nothing is written, try another `opset`"):
        export_exits(net, tmp_path, inputs=images, threshold=0.5)
    assert not any(tmp_path.iterdir())
