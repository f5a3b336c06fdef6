"""Side heads: small classifiers that read the output of one of a network's modules, and their training."""

import torch
from torch import Tensor, nn

from ..utils.rng import generator
from .features import HeadTargets

_EPOCHS = 30
_LEARNING_RATE, _WEIGHT_DECAY = 3e-3, 1e-4  # of AdamW
_MIN_BATCH, _MAX_BATCH = 32, 256
_CONSTANT = 1e-3  # standard deviation up to which a feature counts as constant, relative to its size
_ROUNDING = 1e-4  # the same relative to the size of all features: what remains where a mean cancels out


class SideHead(nn.Module):
    """Global average pooling, one hidden layer, and a classifier.

    Args:
        features: Channels of the tapped module's output.
        hidden: Width of the hidden layer.
        classes: Number of classes.
        batch_dim: Dimension of the tapped output that counts images.
        channel_dim: Dimension of the tapped output that counts features. All other dimensions are averaged.
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
        """Multiply-accumulates of one image."""
        return self.hidden.weight.numel() + self.classifier.weight.numel()

    def forward(self, tapped: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return logits (N, classes), in the precision of the tapped output."""
        return self.classify(self.pooled(tapped, padding)).to(tapped.dtype)

    def pooled(self, tapped: Tensor, padding: Tensor | None = None) -> Tensor:
        """Return the tapped output averaged to features (N, C).

        Args:
            tapped: The tapped output.
            padding: Which places of a sequence are left out of the average, (N, S); None: none.
        """
        features = tapped.movedim(self.dims, (0, 1)).float()
        if features.ndim == 2:
            return features
        features = features.flatten(2)
        if padding is None:
            return features.mean(2)
        places = (~padding).sum(1, keepdim=True).clamp(min=1)
        return features.masked_fill(padding[:, None], 0.0).sum(2) / places

    def classify(self, features: Tensor) -> Tensor:
        """Return logits (N, classes) from pooled features (N, C)."""
        logits: Tensor = self.classifier(self.hidden(features).relu())
        return logits


def fit_side_head(head: SideHead, features: Tensor, targets: HeadTargets, *, seed: int) -> None:
    """Train a side head from fresh weights on pooled features (N, C), which are on the CPU, and targets.

    AdamW runs over standardised features. Their scale and mean are folded into the hidden layer afterwards. Beside the
    features, a batch at a time is in memory.
    """
    device = head.hidden.weight.device
    mean, scale = _standardisation(features)
    rng = generator(seed, "side head")
    _initialise(head.requires_grad_(True), seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    batch_size = min(_MAX_BATCH, max(_MIN_BATCH, len(features) // 200))
    steps = _EPOCHS * -(-len(features) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(_EPOCHS):
        order = torch.from_numpy(rng.permutation(len(features)))
        for batch in torch.split(order, batch_size):
            optimizer.zero_grad()
            standardised = ((features[batch] - mean) / scale).to(device)
            loss = nn.functional.cross_entropy(head.classify(standardised), targets.take(batch).to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        head.hidden.weight.div_(scale.to(device))
        head.hidden.bias.sub_(head.hidden.weight @ mean.to(device))
    head.requires_grad_(False)


def _standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the scale of each feature (C,), from features (N, C).

    The scale is the standard deviation. A feature that hardly varies has its size as scale instead, at least the
    typical size of all features, so that rounding is not amplified, which differs between batches.
    """
    mean, std = features.mean(0), features.std(0, correction=0)
    size = (mean.square() + std.square()).sqrt()
    typical = size.square().mean().sqrt()
    varies = (std > _CONSTANT * size) & (std > _ROUNDING * typical)
    scale = std.where(varies, size.maximum(typical))
    return mean, scale.where(scale > 0, torch.ones_like(scale))


def _initialise(head: SideHead, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    for layer in (head.hidden, head.classifier):
        values = torch.empty(layer.weight.shape).normal_(std=layer.in_features**-0.5, generator=rng)
        with torch.no_grad():
            layer.weight.copy_(values)  # drawn on the CPU: the same on all devices
        nn.init.zeros_(layer.bias)
