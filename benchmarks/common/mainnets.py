"""Networks that benchmarks add early exits to, trained once and kept."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
LARGEST_EPOCHS = 6
BATCH_SIZE = 128
SIDE = 28  # pixels along a side of an image


@dataclass(frozen=True, kw_only=True)
class TorchTraining:
    """How a network that is not built from an arch is trained, by AdamW, the rate falling to 0 on a cosine.

    Attributes:
        name: Its name in messages and folders.
        epochs: Passes over the training images.
        resolution: Pixels along a side of an image.
        batch_size: Images in a batch.
        bf16: Whether forward passes are computed in bfloat16 where autocast does so.
    """

    name: str
    epochs: int
    resolution: int = SIDE
    batch_size: int = BATCH_SIZE
    bf16: bool = False


RESNET_TRAINING = TorchTraining(name=RESNET, epochs=3)
ROWS_TRAINING = TorchTraining(name=ROWS, epochs=10)


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


def resnet18(classes: int = 10) -> nn.Module:
    """Return torchvision's ResNet-18 for grey images."""
    import torchvision

    net = torchvision.models.resnet18(num_classes=classes)
    net.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return net


def vgg11(classes: int) -> nn.Module:
    """Return torchvision's VGG-11 with batch norm for grey images, with one linear layer on the averages of features.

    The three layers of the original, of 124M parameters, are for 7x7 places of 224x224 pixels.
    """
    import torchvision

    net = torchvision.models.vgg11_bn()
    net.features[0] = nn.Conv2d(1, 64, 3, padding=1)
    net.avgpool = nn.AdaptiveAvgPool2d(1)
    net.classifier = nn.Linear(512, classes)
    return net


def largest_network(seed: int) -> Network:
    """Return the largest network of `micro-v1`, retrained as the toolkit does."""
    folder = _folder_of(LARGEST, seed)
    if not model_in(folder).exists():
        arch = replace(load_space(SPACE), in_channels=1, classes=10).max()
        recipe = Recipe(epochs=LARGEST_EPOCHS, batch_size=BATCH_SIZE, seed=seed)
        retrain_network(folder, arch, RetrainConfig(data=DATA, recipe=recipe))
    return read_model(model_in(folder)).net


def foreign_network(build: Callable[[], nn.Module], training: TorchTraining, seed: int, data: Data) -> nn.Module:
    """Return a network that is not built from an arch, trained if it has not been."""
    torch.manual_seed(seed)
    net, path = build(), _folder_of(training.name, seed) / "weights.pt"
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        _train(net, training, seed, data)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), path)
    return net.eval()


class MainNet(NamedTuple):
    """A trained network, the places where exits may be, and the pixels along a side of its images."""

    net: nn.Module
    taps: list[str]
    resolution: int


def mainnet_of(name: str, seed: int, data: Data) -> MainNet:
    """Return a MainNet, trained if it has not been."""
    if name == RESNET:
        resnet = foreign_network(resnet18, RESNET_TRAINING, seed, data)
        return MainNet(resnet, ["layer1", "layer2", "layer3"], SIDE)
    if name == ROWS:
        taps = [f"encoder.layers.{layer}" for layer in range(3)]
        return MainNet(foreign_network(RowTransformer, ROWS_TRAINING, seed, data), taps, SIDE)
    big = largest_network(seed)
    taps = [f"stages.{stage}" for stage in range(len(big.arch.stages) - 1)]
    return MainNet(big, taps, big.arch.resolution)


def _train(net: nn.Module, training: TorchTraining, seed: int, data: Data) -> None:
    """Train on standardly augmented images."""
    screen = Screen()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    steps = training.epochs * data.steps_per_epoch(training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(training.epochs):
        for batch in data.training_batches(training.batch_size, [training.resolution], seed=seed, epoch=epoch):
            with torch.autocast("cpu", torch.bfloat16, enabled=training.bf16):
                outputs = net(batch.images)
            loss = nn.functional.cross_entropy(outputs.float(), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        screen.note(f"{training.name}, seed {seed}: epoch {epoch + 1} of {training.epochs}, loss {loss.item():.3f}")


def _folder_of(name: str, seed: int) -> Path:
    return SCRATCH / "sidenet" / "retrain" / f"{slug(name)}-{seed}"
