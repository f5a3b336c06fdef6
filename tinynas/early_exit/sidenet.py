"""SideNet: early exits on any trained network (Morisot, "Add a SideNet to your MainNet", arXiv 2007.13512).

A small classifier on the output of one of the network's modules answers where it is confident enough; only for the
other images does the rest of the network run. The network itself is not changed: it is frozen, its norms in eval mode.
A cascade is the same with a whole small network in front of a larger one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..data.transforms import resize
from ..models.profile import macs_by_torch
from ..utils.errors import require
from ..utils.rng import generator
from .calibration import Outputs, confidence, fit_temperature
from .graph_split import Part, cut
from .thresholds import NOBODY

_EPOCHS, _BATCHES, _RATE, _DECAY = 30, (32, 256), 3e-3, 1e-4  # of a side head's training, by AdamW


_CONSTANT = 1e-6  # deviation up to which a feature says nothing
Batches = Iterable[tuple[Tensor, ...]]  # inputs, and the labels last


class Answers(NamedTuple):
    """What images got."""

    logits: Tensor  # (N, classes), of the exit that answered
    exits: Tensor  # (N,) its number


class EarlyExits(nn.Module):
    """Exits that run one after the other, each for the images that those before it were not sure of.

    An exit is a module that makes (logits (N, classes), *what the next needs) of what the one before hands on, the
    first of the inputs; its `batch_dims` say where each tensor that it hands on counts the images.
    """

    temperatures: Tensor
    taps: Sequence[str] = ()  # the modules whose outputs side heads read; a cascade has none

    def __init__(self, exits: Sequence[nn.Module]) -> None:
        super().__init__()
        self.exits = nn.ModuleList(exits)
        self.register_buffer("temperatures", torch.ones(len(self.exits)))
        self.eval()

    @property
    def heads(self) -> "list[SideHead]":
        """The side heads, one for each tap."""
        return [side.head for side in self.exits if isinstance(side, _Sided)]

    @torch.no_grad()
    def forward(self, *inputs: Tensor, threshold: float = NOBODY) -> Answers:
        """Inputs (N, ...) -> their answers; the rest of the network is run on the images that go on, and on no other.

        With a threshold over 1 all go on to the end.
        """
        left = torch.arange(len(inputs[0]), device=inputs[0].device)
        taken = torch.zeros_like(left)
        made = torch.empty(0)
        handed: Sequence[Tensor] = inputs
        for number, part in enumerate(self.exits):
            logits, *handed = part(*handed)
            made = logits if len(left) == len(taken) else made.index_put((left,), logits)
            sure = confidence(logits, self.temperatures[number]) >= threshold
            if number + 1 == len(self.exits) or sure.all():
                taken[left] = number
                break
            if sure.any():
                taken[left[sure]] = number
                rows = (~sure).nonzero().flatten()
                left = left[rows]
                pairs = zip(handed, part.batch_dims, strict=True)  # type: ignore[arg-type]
                handed = [each.index_select(int(d), rows) for each, d in pairs]
        return Answers(made, taken)

    @torch.no_grad()
    def observe(self, batches: Batches) -> Outputs:
        """Every exit's outputs for all images."""
        logits: list[list[Tensor]] = [[] for _ in self.exits]
        seen = []
        for *inputs, labels in batches:
            handed: Sequence[Tensor] = inputs
            for part, found in zip(self.exits, logits, strict=True):
                made, *handed = part(*handed)
                found.append(made)
            seen.append(labels)
        return Outputs(torch.stack([torch.cat(found) for found in logits]), torch.cat(seen))

    def calibrate(self, outputs: Outputs) -> None:
        """Set the temperatures by held-out images."""
        found = [fit_temperature(logits, outputs.labels) for logits in outputs.logits]
        self.temperatures.copy_(torch.tensor(found))

    def macs(self, *inputs: Tensor) -> list[int]:
        """Of one image that takes each exit: all that has run until then. `inputs` are examples."""
        handed, counts = [each[:1] for each in inputs], [0]
        for part in self.exits:
            counts.append(counts[-1] + macs_by_torch(part, *handed))
            with torch.no_grad():
                _, *handed = part(*handed)
        return counts[1:]


class SideHead(nn.Module):
    """Global average pool, one hidden layer, classes: a tapped module's output -> logits (N, classes).

    Images are counted by dimension `batch_dim` of the output, its features by dimension `channel_dim`; all other places
    are averaged, a sequence's padding too.
    """

    def __init__(self, features: int, hidden: int, classes: int, batch_dim: int = 0, channel_dim: int = 1) -> None:
        super().__init__()
        self.dims = (batch_dim, channel_dim)
        with torch.random.fork_rng([]):
            self.hidden = nn.Linear(features, hidden)
            self.classifier = nn.Linear(hidden, classes)
        _initialise(self, 0)

    @property
    def macs(self) -> int:
        """Of one image."""
        return self.hidden.weight.numel() + self.classifier.weight.numel()

    def forward(self, tapped: Tensor) -> Tensor:
        return self.classify(self.pooled(tapped)).to(tapped.dtype)

    def pooled(self, tapped: Tensor) -> Tensor:
        """A module's output -> features (N, C)."""
        features = tapped.movedim(self.dims, (0, 1)).float()
        return features.flatten(2).mean(2) if features.ndim > 2 else features

    def classify(self, features: Tensor) -> Tensor:
        """Pooled features (N, C) -> logits (N, classes)."""
        logits: Tensor = self.classifier(self.hidden(features).relu())
        return logits


class _Sided(nn.Module):
    """A part of a network, and the side head on its result."""

    def __init__(self, part: Part, head: SideHead) -> None:
        super().__init__()
        self.part, self.head, self.batch_dims = part, head, part.batch_dims

    def forward(self, *handed: Tensor) -> tuple[Tensor, ...]:
        tapped, *on = self.part(*handed)
        return self.head(tapped), *on


class SideNet(EarlyExits):
    """A trained network, and a side head on each of some of its modules.

    `mainnet` is any classifier that gives logits (N, classes) and that torch.export can follow; it is put into eval
    mode and frozen. `taps` names modules as `mainnet.named_modules()` does, in the order in which they run. `inputs`
    are examples of its inputs, images counted by their first dimension. Features are counted by dimension `channel_dim`
    of what the taps' modules make, by default the last one of sequences (N, S, C), else the first after the images.
    Raises InputError.
    """

    def __init__(
        self,
        mainnet: nn.Module,
        taps: str | Sequence[str],
        hidden: int = 64,
        *,
        inputs: Tensor | Sequence[Tensor],
        channel_dim: int | None = None,
    ) -> None:
        require(hidden > 0, "hidden > 0", hidden=hidden)
        examples = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        names = [taps] if isinstance(taps, str) else list(taps)
        require(len(names) > 0, "a SideNet has a tap", taps=taps)
        parts = cut(mainnet.eval().requires_grad_(False), names, examples)
        results, handed = [], [each[:1] for each in examples]
        for part in parts:
            with torch.no_grad():
                result, *handed = part(*handed)
            results.append(result)
        rule = "a classifier gives logits (N, classes)"
        require(results[-1].ndim == 2, rule, outputs=tuple(results[-1].shape))
        sides = []
        for tap, part, result in zip(names, parts[:-1], results[:-1], strict=True):
            dim = _channel_dim(tap, result, part.batch_dim, channel_dim)
            sides.append(_Sided(part, SideHead(result.shape[dim], hidden, results[-1].shape[1], part.batch_dim, dim)))
        super().__init__([*sides, parts[-1]])
        self.taps = names

    def fit(self, batches: Batches, *, distillation: float = 0.0, temperature: float = 1.0, seed: int = 0) -> None:
        """Train the heads on the labels, or, with this weight, on the network's own outputs at this temperature.

        Every image is run once, its pooled features are kept, (N, C) for each tap; the heads learn from these.
        """
        require(0 <= distillation <= 1, "0 <= distillation <= 1", distillation=distillation)
        require(temperature > 0, "temperature > 0", temperature=temperature)
        features, logits, labels = self._features(batches)
        softened = (logits / temperature).softmax(1)
        targets = nn.functional.one_hot(labels, logits.shape[1]).float().lerp(softened, distillation)
        for number, (head, seen) in enumerate(zip(self.heads, features, strict=True)):
            _fit_head(head, seen, targets, seed + number)

    @torch.no_grad()
    def _features(self, batches: Batches) -> tuple[list[Tensor], Tensor, Tensor]:
        features: list[list[Tensor]] = [[] for _ in self.heads]
        logits, seen = [], []
        for *inputs, labels in batches:
            handed: Sequence[Tensor] = inputs
            for side, found in zip(self.exits, features, strict=False):
                assert isinstance(side, _Sided)
                tapped, *handed = side.part(*handed)
                found.append(side.head.pooled(tapped))
            logits.append(self.exits[-1](*handed)[0].float())
            seen.append(labels)
        require(len(seen) > 0, "heads learn from a batch or more", batches=0)
        return [torch.cat(found) for found in features], torch.cat(logits), torch.cat(seen)


class Cascade(EarlyExits):
    """A small classifier in front of a larger one: images (N, C, H, W) of the larger one's input size, or any.

    `resolutions` are the pixels along a side that each of the networks takes.
    """

    def __init__(self, tiny: nn.Module, big: nn.Module, resolutions: tuple[int, int]) -> None:
        frozen = [net.eval().requires_grad_(False) for net in (tiny, big)]
        first, last = (_Whole(Resized(*pair)) for pair in zip(frozen, resolutions, strict=True))
        last.batch_dims = ()
        super().__init__([first, last])


class Resized(nn.Module):
    """A network that sees images (N, C, H, W) of any size, resized to its own."""

    def __init__(self, net: nn.Module, resolution: int) -> None:
        super().__init__()
        self.net, self.resolution = net, resolution

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(resize(images, self.resolution))
        return logits


class _Whole(nn.Module):
    """A network that hands on the images it was given."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.batch_dims: tuple[int, ...] = (0,)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.net(images), *([images] if self.batch_dims else [])


def _fit_head(head: SideHead, features: Tensor, targets: Tensor, seed: int) -> None:
    """By AdamW over standardised features (N, C), whose scale then goes into the hidden layer's weights."""
    mean, std = features.mean(0), features.std(0, correction=0)
    std = std.where(std > _CONSTANT, torch.ones_like(std))
    scaled, rng = (features - mean) / std, generator(seed, "side head")
    _initialise(head.requires_grad_(True), seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=_DECAY)
    size = min(max(_BATCHES), max(min(_BATCHES), len(features) // 200))
    steps = _EPOCHS * -(-len(features) // size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(_EPOCHS):
        for chosen in torch.split(torch.from_numpy(rng.permutation(len(features))), size):
            loss = nn.functional.cross_entropy(head.classify(scaled[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        head.hidden.weight.div_(std)
        head.hidden.bias.sub_(head.hidden.weight @ mean)
    head.requires_grad_(False)


def _channel_dim(tap: str, tapped: Tensor, batch_dim: int, asked: int | None) -> int:
    """The dimension of a module's output that counts features. Raises InputError if it has none."""
    rule = f"a tap gives features for each image, and {tap} does not"
    require(tapped.is_floating_point() and tapped.ndim > 1, rule, shape=tuple(tapped.shape), dtype=tapped.dtype)
    if asked is None:
        others = [dim for dim in range(tapped.ndim) if dim != batch_dim]
        return others[-1 if tapped.ndim == 3 else 0]
    dim = asked % tapped.ndim
    require(asked < tapped.ndim and dim != batch_dim, rule, shape=tuple(tapped.shape), channel_dim=asked)
    return dim


def _initialise(head: SideHead, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    for layer in (head.hidden, head.classifier):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=rng)
        nn.init.zeros_(layer.bias)
