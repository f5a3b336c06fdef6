"""Inputs by position and by name, outputs of every kind, labels of every kind: taken, or refused in one line."""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tinynas import SideNet
from tinynas.early_exit.calibration import ExitOutputs
from tinynas.early_exit.inputs import NetworkCall, example_call
from tinynas.utils.errors import InputError

WORDS, MASK = torch.arange(24).reshape(4, 6) % 9, torch.ones(4, 6, dtype=torch.long)
LABELS = torch.tensor([0, 1, 2, 0])


class Words(nn.Module):
    """A classifier of words with an attention mask; what it returns is made by `wrap`."""

    def __init__(self, wrap=lambda logits: logits):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.mix, self.classify = nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.wrap = wrap

    def forward(self, input_ids, attention_mask):
        hidden = self.mix(self.embed(input_ids)).relu() * attention_mask[..., None]
        return self.wrap(self.classify(hidden.sum(1) / attention_mask.sum(1, keepdim=True)))


Output = namedtuple("Output", "loss logits")
WRAPPED = {
    "tensor": (lambda logits: logits, "logits"),
    "dict": (lambda logits: {"logits": logits, "hidden": logits + 1}, "logits"),
    "another name": (lambda logits: {"hidden": logits + 1, "scores": logits}, "scores"),
    "object": (lambda logits: SimpleNamespace(logits=logits), "logits"),
    "named tuple": (lambda logits: Output(None, logits), "logits"),
    "tuple": (lambda logits: (logits + 1, logits), 1),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_sidenet_takes_the_logits_out_of_what_the_network_returns(kind):
    wrap, output = WRAPPED[kind]
    net = SideNet(Words(wrap), "mix", 4, inputs=[WORDS, MASK], output=output)
    with torch.no_grad():
        assert torch.equal(net(WORDS, MASK).logits, Words()(WORDS, MASK))


@pytest.mark.parametrize(
    ("wrap", "output", "message"),
    [
        (
            lambda logits: (logits, logits),
            "logits",
            "Words returns a tuple of Tensor, Tensor, but no tensor 'logits'; ",
        ),
        (
            lambda logits: (logits,),
            1,
            "a tuple of Tensor, but no tensor 1; choose an entry by its index, such as output=0",
        ),
        (
            lambda logits: {"hidden": logits, "pooled": logits},
            "logits",
            "a dict with hidden, pooled, but no tensor 'logits'; name the logits, such as output='pooled'",
        ),
        (
            lambda logits: None,
            "logits",
            "Words returns a NoneType, but no tensor 'logits'; pass a network that returns",
        ),
        (
            lambda logits: SimpleNamespace(scores=logits),
            "logits",
            "a SimpleNamespace with scores, but no tensor 'logits'",
        ),
    ],
)
def test_sidenet_refuses_outputs_without_logits(wrap, output, message):
    with pytest.raises(InputError) as error:
        SideNet(Words(wrap), "mix", inputs=[WORDS, MASK], output=output)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_sidenet_is_called_by_name_as_its_network_is():
    batch = {"attention_mask": MASK, "input_ids": WORDS}
    net = SideNet(Words(), "mix", 4, inputs=batch)
    net.fit([(batch, LABELS)])
    outputs = net.observe([(batch, LABELS), (batch, LABELS)])
    net.calibrate(outputs)
    with torch.no_grad():
        expected = Words()(WORDS, MASK)
    assert torch.equal(net(**batch).logits, expected)
    assert torch.equal(net(batch, threshold=0.0).exits, torch.zeros(4).long())
    assert torch.equal(net.all_logits(**batch)[1], expected)
    assert outputs.logits.shape == (2, 8, 3)
    by_position = SideNet(Words(), "mix", 4, inputs=[WORDS, MASK])
    by_position.fit([(WORDS, MASK, LABELS)])
    assert torch.equal(by_position.all_logits(WORDS, MASK), net.all_logits(batch))
    assert net.macs(**batch) == by_position.macs(WORDS, MASK)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (WORDS.numpy(), r"the input must be a tensor (N, ...), but is a numpy.ndarray of the shape (4, 6); convert it"),
        (
            [WORDS, MASK.tolist()],
            r"input 2 must be a tensor (N, ...), but is a list of 4; convert it with torch.from_numpy",
        ),
        (
            {"input_ids": [1, 2]},
            "input_ids must be a tensor (N, ...), but is a list of 2; convert it with torch.from_numpy",
        ),
        (torch.tensor(1.0), "the input must be a tensor (N, ...), but has no dimension"),
        ([WORDS, MASK[:3]], "the same number of examples, but have: input 1 4, input 2 3; pass as many of each"),
        (WORDS[:0], "the input has no example, its shape is (0, 6); pass at least one"),
        ([], "a network needs inputs, but there are none; pass at least one tensor"),
        (None, "the input must be a tensor (N, ...), but is a NoneType"),
    ],
)
def test_inputs_that_are_not_tensors_of_examples_are_refused(inputs, message):
    with pytest.raises(InputError) as error:
        example_call(inputs, "logits")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("examples", "inputs", "named", "message"),
    [
        ([WORDS, MASK], [WORDS], {}, "the network was built with 2 inputs, but got 1; pass all of them"),
        ([WORDS, MASK], [], {"input_ids": WORDS}, "built with inputs by position; pass input_ids by position, too"),
        ({"a": WORDS, "b": MASK}, [WORDS], {}, "built with inputs by name; pass a, b by name, too"),
        ({"a": WORDS, "b": MASK}, [], {"a": WORDS}, "built with the input 'b', which is missing; pass it as well"),
        ({"mask": MASK}, [], {"maks": MASK}, "built without an input 'maks'; did you mean 'mask'?"),
        ({"mask": MASK}, [{"mask": MASK, "x": MASK}], {}, "built without an input 'x'; known: mask"),
        ({"a": WORDS, "b": MASK}, [], {"a": WORDS, "b": MASK[:1]}, "but have: a 4, b 1; pass as many of each"),
    ],
)
def test_arguments_that_do_not_fit_the_examples_are_refused(examples, inputs, named, message):
    call, _ = example_call(examples, "logits")
    with pytest.raises(InputError) as error:
        call.tensors(inputs, named)
    assert message in str(error.value)


@pytest.fixture(scope="module")
def linear():
    torch.manual_seed(0)
    return SideNet(nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), "1", 4, inputs=torch.randn(4, 5))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_labels_of_any_integer_type_are_taken(linear, dtype):
    torch.manual_seed(0)
    inputs = torch.randn(4, 5)
    linear.fit([(inputs, LABELS.to(dtype))])
    outputs = linear.observe([(inputs, LABELS.to(dtype))])
    assert outputs.labels.dtype == torch.int64
    linear.calibrate(outputs)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 1, 3, 0]), "labels must be from 0 to 2, but that of example 6 is 3; pass class indices"),
        (torch.tensor([0, -1, 0, 0]), "labels must be from 0 to 2, but that of example 5 is -1; pass class indices"),
        (LABELS[:, None], "labels must have the shape (4,), one for each example, but have (4, 1); pass class indices"),
        (LABELS[:3], "labels must have the shape (4,), one for each example, but have (3,); pass class indices"),
        (LABELS + 0.5, "labels must be integers, but are torch.float32, the first 0.5; pass class indices"),
        (
            LABELS.numpy(),
            "labels must be a tensor (N,), but are a numpy.ndarray of the shape (4,); pass torch.as_tensor",
        ),
        ([0, 1, 2, 0], "labels must be a tensor (N,), but are a list of 4; pass torch.as_tensor(labels)"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "observe"])
def test_labels_that_are_no_class_indices_are_refused(linear, labels, message, method):
    with pytest.raises(InputError) as error:
        getattr(linear, method)([(torch.randn(4, 5), LABELS), (torch.randn(4, 5), labels)])
    assert message in str(error.value)


def test_a_batch_without_labels_is_refused(linear):
    message = r"a batch must be \(inputs ..., labels\) or \(mapping of inputs, labels\), but is "
    for batch, what in (
        (torch.zeros(4, 5), r"a tensor of the shape \(4, 5\)"),
        ({"labels": LABELS}, "a dict with labels"),
    ):
        with pytest.raises(InputError, match=message + what):
            linear.observe([batch])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_examples_that_are_not_finite_are_refused_with_their_index(linear, value):
    good, bad = torch.randn(4, 5), torch.randn(4, 5)
    bad[2, 1] = value
    batches = [(good, LABELS), (bad, LABELS)]
    with pytest.raises(InputError, match=r"example 6 \(counted from 0\) has features of the exit 1 that are not f"):
        linear.fit(batches)
    with pytest.raises(InputError, match=r"example 6 \(counted from 0\) has logits of the exit 1 that are not finite"):
        linear.observe(batches)
    outputs = linear.observe(batches[:1])
    outputs.logits[1, 3] = value
    with pytest.raises(InputError, match=r"example 3 .* has logits of the exit mainnet that are not finite"):
        linear.calibrate(outputs)


def test_calibration_needs_images(linear):
    with pytest.raises(InputError, match="exits are observed on images, but there is no batch; pass at least one"):
        linear.observe([])
    with pytest.raises(InputError, match="temperatures are fitted to images, but there are none"):
        linear.calibrate(ExitOutputs(torch.zeros(2, 0, 3), torch.zeros(0).long()))


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated", "ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.Sequential(nn.LazyLinear(3)),
            "the shape of 0.weight is not known, because Sequential has lazy layers",
        ),
        (lambda: torch.jit.script(nn.Sequential(nn.Linear(5, 3))), "torch.export cannot follow TorchScript, as in Rec"),
        (lambda: nn.Sequential(torch.jit.script(nn.Linear(5, 3))), "torch.export cannot follow TorchScript, as in Seq"),
        (lambda: np.tanh, "a network to split must be a torch.nn.Module, but is a ufunc; wrap it in one"),
    ],
)
def test_networks_that_cannot_be_traced_are_refused(make, message):
    with pytest.raises(InputError) as error:
        SideNet(make(), "0", inputs=torch.randn(2, 5))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class Centred(nn.Module):
    """Subtracts the mean of its batch."""

    def __init__(self):
        super().__init__()
        self.embed, self.layer, self.classify = nn.Embedding(9, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        hidden = self.layer(x if x.is_floating_point() else self.embed(x).mean(1))
        return self.classify(hidden - hidden.mean(0))


@pytest.mark.parametrize(
    "inputs",
    [torch.randn(4, 5), torch.randn(1, 5), torch.zeros(3, 5), torch.arange(6)[None], WORDS[:, :6]],
    ids=["several", "one", "equal", "one of integers", "words"],
)
def test_networks_that_look_across_the_batch_are_refused(inputs):
    class Rolled(Centred):
        def forward(self, x):
            first = x[:, :5] if x.is_floating_point() else self.embed(x)[:, 0]
            return super().forward(first)

    with pytest.raises(
        InputError, match="Rolled cannot have early exits, because its output for an example depends on"
    ):
        SideNet(Rolled(), "layer", inputs=inputs)


@pytest.mark.parametrize(
    "statistic", [lambda x: x[:1], lambda x: x.abs().amax((0, 1), keepdim=True)], ids=["the first", "the largest"]
)
def test_networks_that_look_at_one_example_of_the_batch_are_refused(statistic):
    class Related(Centred):
        def forward(self, x):
            hidden = self.layer(x)
            return self.classify(hidden / (1 + statistic(hidden).abs()))

    for seed in range(5):
        torch.manual_seed(seed)
        with pytest.raises(InputError, match="depends on the others of its batch"):
            SideNet(Related(), "layer", inputs=torch.randn(4, 5))


def test_examples_that_are_not_finite_and_networks_of_one_class_are_refused():
    inputs = torch.randn(3, 5)
    inputs[2, 1] = torch.nan
    net = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3))
    with pytest.raises(InputError, match=r"example 2 .* has values in input 1 that are not finite"):
        SideNet(net, "0", inputs=inputs)
    with pytest.raises(InputError, match=r"logits \(N, classes\) of at least 2 classes, but Sequential returns"):
        SideNet(nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 1)), "0", inputs=inputs[:2])


def test_a_network_may_average_all_values_of_an_example():
    class Levelled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

        def forward(self, images):
            maps = self.first(images)
            return self.last((maps * self.first.weight.mean()).mean((2, 3)))

    assert SideNet(Levelled(), "first", inputs=torch.randn(2, 1, 8, 8)).heads[0].hidden.in_features == 4


def test_inputs_without_names_are_numbered():
    class Sum(nn.Module):
        def forward(self, first, *others):
            return first + sum(others)

    assert NetworkCall(3).parameter_names(Sum()) == ["first", "input2", "input3"]
    assert NetworkCall(1).parameter_names(nn.Linear(2, 2)) == ["input"]
    assert NetworkCall(1, ("words",)).parameter_names(Sum()) == ["words"]
