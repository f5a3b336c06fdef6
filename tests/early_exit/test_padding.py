"""Side heads average over the places that are no padding."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers import CountedPart, Encoder, slow_except
from tinynas import SideNet
from tinynas.utils.errors import InputError

WORDS = torch.arange(1, 31).reshape(5, 6) % 19 + 1
REAL = torch.arange(6) < torch.tensor([6, 3, 1, 4, 5])[:, None]
OTHER = WORDS.where(REAL, 7)  # other words where there is padding


class Masked(nn.Module):
    """A transformer on words, with a mask as transformers or torch has it, in sequences (N, S, C) or (S, N, C)."""

    def __init__(self, batch_first=True):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = Encoder(words=True, batch_first=batch_first)

    def run(self, words, padding):
        places = self.encoder.embed(words)
        if not self.encoder.batch_first:
            places = places.transpose(0, 1)
        hidden = self.encoder.layers(places, src_key_padding_mask=padding)
        first = hidden[:, 0] if self.encoder.batch_first else hidden[0]
        return self.encoder.classify(first)


class Attention(Masked):
    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(logits=self.run(input_ids, attention_mask == 0))


class KeyPadding(Masked):
    def forward(self, words, src_key_padding_mask):
        return self.run(words, src_key_padding_mask)


class OtherName(Masked):
    def forward(self, words, real):
        return self.run(words, real == 0)


class Zeros(Masked):
    def forward(self, words):
        return self.run(words, words == 0)


TAPS = ["encoder.embed", "encoder.layers.layers.0", "encoder.layers.layers.1"]
CASES = {
    "transformers": (Attention, lambda words: {"input_ids": words, "attention_mask": REAL.long()}, "auto"),
    "by position": (Attention, lambda words: [words, REAL.float()], "auto"),
    "torch": (KeyPadding, lambda words: [words, ~REAL], "auto"),
    "named": (OtherName, lambda words: {"words": words, "real": REAL}, "real"),
    "function": (OtherName, lambda words: [words, REAL], lambda words, real: ~real),
    "function by name": (OtherName, lambda words: {"real": REAL, "words": words}, lambda words, real: ~real),
}


@pytest.fixture(autouse=True)
def no_fused_kernels():
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def arguments(inputs):
    return inputs if isinstance(inputs, list) else [inputs]


ORDERS = [f"{case}, {order}" for case in CASES for order in ("N S C", "S N C")]


@pytest.mark.parametrize("case", slow_except(ORDERS, "transformers, N S C", "function by name, S N C"))
def test_words_at_hidden_places_change_no_logits(case):
    name, order = case.split(", ")
    batch_first, (kind, inputs_of, padding) = order == "N S C", CASES[name]
    inputs, other = inputs_of(WORDS), inputs_of(OTHER)
    net = SideNet(kind(batch_first), TAPS, 4, inputs=inputs, padding=padding)
    net.fit([(*arguments(inputs), torch.arange(5) % 4)])
    logits = net.all_logits(*arguments(inputs))
    torch.testing.assert_close(net.all_logits(*arguments(other)), logits, atol=1e-6, rtol=0)
    unmasked = SideNet(kind(batch_first), TAPS, 4, inputs=inputs, padding=None)
    for head, trained in zip(unmasked.heads, net.heads, strict=True):
        head.load_state_dict(trained.state_dict())
    difference = unmasked.all_logits(*arguments(other)) - unmasked.all_logits(*arguments(inputs))
    assert difference[:3].abs().amax((1, 2)).min() > 1e-3, "without a mask they look at the padding"


def test_the_mask_is_reduced_to_the_images_that_continue():
    inputs = {"input_ids": WORDS, "attention_mask": REAL.long()}
    net = SideNet(Attention(), TAPS, 4, inputs=inputs)
    net.fit([(inputs, torch.arange(5) % 4)])
    outputs = net.observe([(inputs, torch.zeros(5).long())])
    levels = outputs.confidences([1.0] * 4)[:-1]
    threshold = float(sorted(levels.ravel())[len(levels.ravel()) // 2])
    net.exits = nn.ModuleList(CountedPart(part) for part in net.exits)
    answers = net(**inputs, threshold=threshold)
    assert len(set(answers.exits.tolist())) > 1
    torch.testing.assert_close(answers.logits, outputs.logits[answers.exits, torch.arange(5)], atol=1e-5, rtol=1e-4)


def test_a_network_that_computes_its_mask_needs_a_function():
    padded = WORDS * REAL
    net = SideNet(Zeros(), TAPS, 4, inputs=padded, padding=lambda words: words == 0)
    net.fit([(padded, torch.arange(5) % 4)])
    embedded = net.exits[0].part.body(padded)[0]
    expected = torch.stack([row[: int(count)].mean(0) for row, count in zip(embedded, REAL.sum(1), strict=True)])
    torch.testing.assert_close(net.exits[0].features([padded])[0], expected)


def test_an_example_that_is_all_padding_has_features_of_zeros():
    net = SideNet(Zeros(), TAPS, 4, inputs=WORDS, padding=lambda words: words == 0)
    assert torch.equal(net.exits[0].features([torch.zeros(2, 6).long()])[0], torch.zeros(2, 16))


def test_outputs_without_places_need_no_mask():
    inputs = {"input_ids": WORDS, "attention_mask": REAL[:, :, None, None].float()}

    class Pooled(Attention):
        def forward(self, input_ids, attention_mask):
            return super().forward(input_ids, attention_mask[:, :, 0, 0])

    assert SideNet(Pooled(), "encoder.classify", inputs=inputs).exits[0].mask is None


@pytest.mark.parametrize(
    ("kind", "inputs", "padding", "message"),
    [
        (OtherName, [WORDS, REAL], "rael", "padding must be the name of an input, but is 'rael'; did you mean 'real'?"),
        (
            OtherName,
            [WORDS, REAL],
            3,
            "padding must be the name of an input, a function of the inputs, or None, but is 3",
        ),
        (
            OtherName,
            [WORDS, REAL],
            lambda words, real: real.float(),
            "True at padding, for N = 5, but returns torch.float32 of the shape (5, 6)",
        ),
        (
            OtherName,
            [WORDS, REAL],
            lambda words, real: ~real[:, :4],
            "the padding mask has 4 places for each example, but the output of encoder.embed has the shape (1, 6, 16)",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(kind, inputs, padding, message):
    with pytest.raises(InputError) as error:
        SideNet(kind(), "encoder.embed", inputs=inputs, padding=padding)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class TwoMasks(Attention):
    def forward(self, input_ids, attention_mask, key_padding_mask):
        return super().forward(input_ids, attention_mask)


class FourDimensions(Attention):
    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids, attention_mask[:, 0, 0])


def test_masks_that_could_be_meant_otherwise_are_refused():
    with pytest.raises(
        InputError, match="several inputs could be the padding mask: attention_mask, key_padding_mask; "
    ):
        SideNet(TwoMasks(), "encoder.embed", inputs=[WORDS, REAL, ~REAL])
    with pytest.raises(
        InputError, match=r"the padding mask attention_mask must be \(N, S\), but has the shape \(5, 1, 1"
    ):
        SideNet(FourDimensions(), "encoder.embed", inputs=[WORDS, REAL[:, None, None]])
