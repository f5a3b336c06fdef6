"""Networks that sidenet.py adds early exits to, trained once and kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from tinynas.cli.screen import Screen
from torch import Tensor, nn

from tinynas import load_space
from tinynas.data.base import Data
from tinynas.experiment.config import RetrainConfig
from tinynas.models.model_file import read_model
from tinynas.models.network import Network
from tinynas.training.recipe import Recipe

from .paths import SCRATCH, model_in, slug
from .retraining import retrain_network
from .supernets import DATA, SPACE

LARGEST = "micro-v1's largest"
RESNET = "ResNet-18"
ROWS = "transformer of rows"
EPOCHS = {LARGEST: 6, RESNET: 3, ROWS: 10}
BATCH_SIZE = 128
SIDE = 28  # pixels along a side of an image


class RowTransformer(nn.Module):
    """A transformer that reads an image as a sequence of its rows: (N, 1, 28, 28) -> logits (N, 10)."""

    def __init__(self, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(SIDE, width)
        self.place = nn.Parameter(0.02 * torch.randn(SIDE, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.classifier = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.encoder(self.embed(images.squeeze(1)) + self.place)
        return self.classifier(tokens.mean(1))


def resnet18() -> nn.Module:
    """Return torchvision's ResNet-18 for grey images and ten classes."""
    import torchvision

    net = torchvision.models.resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return net


def largest_network(seed: int) -> Network:
    """Return the largest network of `micro-v1`, retrained as the toolkit does."""
    folder = _folder_of(LARGEST, seed)
    if not model_in(folder).exists():
        arch = replace(load_space(SPACE), in_channels=1, classes=10).max()
        recipe = Recipe(epochs=EPOCHS[LARGEST], batch_size=BATCH_SIZE, seed=seed)
        retrain_network(folder, arch, RetrainConfig(data=DATA, recipe=recipe))
    return read_model(model_in(folder)).net


def foreign_network(build: Callable[[], nn.Module], name: str, seed: int, data: Data) -> nn.Module:
    """Return a network that is not built from an arch, trained if it has not been."""
    torch.manual_seed(seed)
    net, path = build(), _folder_of(name, seed) / "weights.pt"
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        _train(net, name, seed, data)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), path)
    return net.eval()


def _train(net: nn.Module, name: str, seed: int, data: Data) -> None:
    """Train by AdamW on standardly augmented images; the learning rate falls to 0 on a cosine."""
    screen, epochs = Screen(), EPOCHS[name]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * data.steps_per_epoch(BATCH_SIZE))
    for epoch in range(epochs):
        for batch in data.training_batches(BATCH_SIZE, [SIDE], seed=seed, epoch=epoch):
            loss = nn.functional.cross_entropy(net(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        screen.note(f"{name}, seed {seed}: epoch {epoch + 1} of {epochs}, loss {loss.item():.3f}")


def _folder_of(name: str, seed: int) -> Path:
    return SCRATCH / "sidenet" / "retrain" / f"{slug(name)}-{seed}"
