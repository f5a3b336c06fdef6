"""SSDlite detectors made of torchvision's parts, on backbones of the space `detect`: the rival of detection."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from tinynas.cli.screen import Screen
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation

from tinynas import Arch, build
from tinynas.arch.scaling import scaled
from tinynas.data.base import Batch, Data, Split
from tinynas.data.objects import BOX
from tinynas.tasks.average_precision import AveragePrecision, average_precision
from tinynas.tasks.detection import Detections
from tinynas.training.recipe import Recipe

RESOLUTION = 96
BATCH_SIZE = 32
LARGEST_BOX = 0.8  # side of the default boxes one step larger than those of the coarsest map, as a fraction of an image


@dataclass(frozen=True, kw_only=True)
class SsdliteRecipe:
    """What was tuned: default boxes, the maps of the head, matching, and the optimizer.

    Attributes:
        lr: Peak learning rate of SGD.
        scales: Sides of the default boxes on each map, the finest first, as fractions of an image.
        aspect_ratios: Of the default boxes beside square ones.
        extra: Channels of a map of stride 32 behind the backbone, relative to its last ones; 0: there is none.
        matching_iou: Overlap from which a default box learns an object.
        positive_fraction: Of the default boxes that learn classes; the others are the hardest ones without objects.
        weight_decay: L2 penalty of weights.
        ema: Weight of the earlier average of the weights in an update.
    """

    lr: float = 0.05
    scales: tuple[float, ...] = (0.2, 0.35, 0.5)
    aspect_ratios: tuple[int, ...] = (2,)
    extra: float = 0.5
    matching_iou: float = 0.5
    positive_fraction: float = 0.25
    weight_decay: float = 4e-5
    ema: float = 0.998


class Backbone(nn.Module):
    """The stages of strides 8, 16 and, where there is an extra block, 32: images -> maps, the finest first."""

    def __init__(self, arch: Arch, extra: float) -> None:
        super().__init__()
        net = build(arch)
        self.stem, self.stages, self.taps = net.stem, net.stages, arch.taps()
        self.channels = [arch.stages[stage][-1].out for stage in self.taps]
        self.extra: nn.Module | None = None
        if extra:
            added = max(8, round(self.channels[-1] * extra))
            self.extra = extra_block(self.channels[-1], added)
            self.channels.append(added)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        x, maps = self.stem(images), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.taps:
                maps.append(x)
        if self.extra is not None:
            maps.append(self.extra(x))
        return OrderedDict((str(number), of_stage) for number, of_stage in enumerate(maps))


def extra_block(channels: int, added: int) -> nn.Sequential:
    """Return layers that halve a map, as those behind SSDlite's backbones: 1x1, depthwise, 1x1."""
    convolution = partial(Conv2dNormActivation, activation_layer=nn.ReLU6)
    middle = max(8, added // 2)
    return nn.Sequential(
        convolution(channels, middle, kernel_size=1),
        convolution(middle, middle, kernel_size=3, stride=2, groups=middle),
        convolution(middle, added, kernel_size=1),
    )


def make_detector(arch: Arch, recipe: SsdliteRecipe) -> SSD:
    """Return the detector on the backbone of an arch, with fresh weights."""
    backbone = Backbone(arch, recipe.extra)
    maps = len(backbone.channels)
    boxes = DefaultBoxGenerator(
        [list(recipe.aspect_ratios)] * maps, scales=[*recipe.scales[:maps], LARGEST_BOX], steps=[8, 16, 32][:maps]
    )
    classes = arch.classes + 1  # with the background
    head = SSDLiteHead(backbone.channels, boxes.num_anchors_per_location(), classes, nn.BatchNorm2d)
    return SSD(
        backbone,
        boxes,
        (RESOLUTION, RESOLUTION),
        classes,
        image_mean=[0.0],  # images are normalised already
        image_std=[1.0],
        head=head,
        score_thresh=0.01,
        nms_thresh=0.5,
        detections_per_img=100,
        topk_candidates=300,
        iou_thresh=recipe.matching_iou,
        positive_fraction=recipe.positive_fraction,
    )


def count_macs(detector: SSD, in_channels: int) -> int:
    """Return the MACs of backbone and head on one image, as PyTorch counts them: two FLOPs each."""
    image = torch.zeros(1, in_channels, RESOLUTION, RESOLUTION)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector.head(list(detector.backbone(image).values()))
    return counter.get_total_flops() // 2


def widest_backbone(arch: Arch, recipe: SsdliteRecipe, macs: int) -> Arch:
    """Return the arch times the largest width multiplier, in steps of 0.01, whose detector has at most these MACs."""
    widest, percent = scaled(arch, 0.01), 1
    while True:
        percent += 1
        wider = scaled(arch, percent / 100)
        if count_macs(make_detector(wider, recipe).eval(), arch.in_channels) > macs:
            return widest
        widest = wider


def train_detector(arch: Arch, recipe: SsdliteRecipe, data: Data, *, epochs: int, seed: int, name: str) -> nn.Module:
    """Train on the batches that the toolkit trains on, by SGD with its schedule; return the averaged weights."""
    torch.manual_seed(seed)
    detector = make_detector(arch, recipe).train()
    schedule = Recipe(epochs=epochs, lr=recipe.lr, batch_size=BATCH_SIZE)
    optimizer = torch.optim.SGD(parameter_groups(detector, recipe.weight_decay), lr=0.0, momentum=0.9, nesterov=True)
    average = AveragedModel(detector, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    steps = data.steps_per_epoch(BATCH_SIZE)
    for epoch in range(epochs):
        for batch in data.training_batches(BATCH_SIZE, [RESOLUTION], seed=seed, epoch=epoch):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(epoch + (batch.number + 0.5) / steps)
            loss = train_step(detector, optimizer, batch)
            average.update_parameters(detector)
        Screen().note(f"{name}: epoch {epoch + 1} of {epochs}, loss {loss:.3f}")
    return average.module.eval()


def parameter_groups(detector: nn.Module, weight_decay: float) -> list[dict]:
    """Return the optimizer's groups: biases and batch-norm parameters have no weight decay."""
    weights = [parameter for parameter in detector.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in detector.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def train_step(detector: SSD, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """Train on a batch; return the loss."""
    targets = []
    for number in range(len(batch.images)):
        objects = batch.labels[batch.labels[:, 0] == number, 1:]
        targets.append({"boxes": objects[:, BOX] * RESOLUTION, "labels": objects[:, 0].long() + 1})
    losses = detector(list(batch.images), targets)
    loss = losses["bbox_regression"] + losses["classification"]
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
    optimizer.step()
    return loss.item()


def precision_on(detector: nn.Module, data: Data, split: Split) -> AveragePrecision:
    """Return a detector's average precision on a split."""
    found, objects = [], []
    with torch.no_grad():
        for images, labels in data.evaluation_batches(split, RESOLUTION):
            for number, detected in enumerate(detector(list(images))):
                found.append(as_detections(detected))
                objects.append(labels[labels[:, 0] == number, 1:])
    return average_precision(found, objects, len(data.classes))


def as_detections(detected: dict[str, Tensor]) -> Detections:
    """Return torchvision's detections on an image as the toolkit has them."""
    return Detections(detected["boxes"] / RESOLUTION, detected["scores"], detected["labels"] - 1)
