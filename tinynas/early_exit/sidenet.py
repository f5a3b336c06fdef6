"""SideNet: early exits on any trained network (Morisot, "Add a SideNet to your MainNet", arXiv 2007.13512).

A side head, a small classifier on the output of one of the network's modules, predicts the images that it is confident
of. The rest of the network runs only on the other images. The network itself does not change.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ..utils.errors import InputError, require
from .arguments import argument_names
from .features import HeadTargets, StoredRows
from .graph_split import Part, run_part, split_network
from .network import Batches, EarlyExits
from .side_head import SideHead, fit_side_head


class SideNet(EarlyExits):
    """A trained classifier with side heads on some of its modules.

    The classifier keeps its weights: it is frozen and set to eval mode. A new side head is not trained; call `fit` with
    training images and then `calibrate` with held-out ones.

    Args:
        mainnet: Any classifier that returns logits (N, classes) and that torch.export can trace.
        taps: Modules whose outputs the side heads read: names as in `mainnet.named_modules()`, in the order of
            computation.
        hidden: Width of each side head's hidden layer.
        inputs: Example inputs of the classifier; their first dimension counts images.
        channel_dim: Dimension of the tapped outputs that counts features. By default the last one of sequences
            (N, S, C), else the first one after the images.

    Attributes:
        taps: Names of the tapped modules.
        temperatures: Temperature of each exit, (exits,). The last exit is the whole classifier.
        input_names: Names of the classifier's inputs.

    Raises:
        InputError: The classifier cannot be traced, a tap is not one of its modules or gives no features for each
            image, or `hidden` is not positive.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from tinynas import SideNet
        >>> images, labels = torch.randn(30, 1, 8, 8), torch.arange(30) % 3
        >>> mainnet = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
        >>> sidenet = SideNet(mainnet, "1", hidden=8, inputs=images)
        >>> sidenet.fit([(images, labels)])
        >>> sidenet.calibrate(sidenet.observe([(images, labels)]))
        >>> logits, exits = sidenet(images, threshold=0.9)
        >>> logits.shape, exits.shape
        (torch.Size([30, 3]), torch.Size([30]))
        >>> sidenet.macs(images)
        [1352, 1784]
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
        if not names:
            raise InputError("a SideNet needs at least one tap, but has none; name a module of the network")
        parts = split_network(mainnet.eval().requires_grad_(False), names, examples)
        results = _results(parts, examples)
        if results[-1].ndim != 2:
            raise InputError(
                f"a SideNet needs a classifier that returns logits (N, classes), but {type(mainnet).__name__} returns "
                f"the shape {tuple(results[-1].shape)}; pass a classifier"
            )
        exits: list[nn.Module] = []
        for tap, part, result in zip(names, parts, results, strict=False):
            dim = _feature_dim(tap, result, part.batch_dim, channel_dim)
            head = SideHead(result.shape[dim], hidden, results[-1].shape[1], part.batch_dim, dim)
            exits.append(_SidePart(part, head))
        exits.append(parts[-1])
        super().__init__(exits)
        self.taps = names
        self.input_names = argument_names(mainnet, len(examples))
        self.to(results[-1].device)

    @property
    def heads(self) -> list[SideHead]:
        """The side heads, one for each tap."""
        return [part.head for part in self.exits if isinstance(part, _SidePart)]

    def fit(self, batches: Batches, *, distillation: float = 0.0, temperature: float = 1.0, seed: int = 0) -> None:
        """Train the side heads, from fresh weights.

        Every image runs through the network once. The heads are trained on its pooled features, (N, C) for each tap,
        which are kept in temporary files, and so are its outputs if they are learned from.

        Args:
            batches: Batches (inputs ..., labels) of training images, on any device: the network's inputs (N, ...), then
                class indices (N,).
            distillation: Weight of the network's own outputs in the targets, 0 to 1; the labels have the rest.
            temperature: Temperature at which these outputs are softened.
            seed: Seed of the heads' initial weights and of the order of images.

        Raises:
            InputError: There is no batch, `distillation` is not from 0 to 1, or `temperature` is not positive.
        """
        require(0 <= distillation <= 1, "0 <= distillation <= 1", distillation=distillation)
        require(temperature > 0, "temperature > 0", temperature=temperature)
        features, logits, labels = self._features(batches, with_logits=distillation > 0)
        targets = HeadTargets(
            labels=labels,
            classes=self.heads[0].classifier.out_features,
            logits=logits,
            distillation=distillation,
            temperature=temperature,
        )
        for number, head in enumerate(self.heads):
            fit_side_head(head, features[number], targets, seed=seed + number)

    @torch.no_grad()
    def _features(self, batches: Batches, *, with_logits: bool) -> tuple[list[Tensor], Tensor | None, Tensor]:
        """Return the pooled features (N, C) of each tap, the network's logits if asked for, and the labels, of all."""
        labels = []
        with ExitStack() as files:
            features = [files.enter_context(StoredRows()) for _ in self.heads]
            logits = files.enter_context(StoredRows())
            for batch in batches:
                carried: Sequence[Tensor] = self._on_device(batch[:-1])
                for side, pooled in zip(self.exits, features, strict=False):
                    assert isinstance(side, _SidePart)
                    tapped, carried = run_part(side.part, carried)
                    pooled.add(side.head.pooled(tapped))
                if with_logits:
                    logits.add(run_part(self.exits[-1], carried)[0])
                labels.append(batch[-1].cpu())
            if not labels:
                raise InputError("side heads are trained on images, but there is no batch; pass at least one")
            return [rows.tensor() for rows in features], logits.tensor() if with_logits else None, torch.cat(labels)


class _SidePart(nn.Module):
    """A part of a network, with a side head on its result."""

    def __init__(self, part: Part, head: SideHead) -> None:
        super().__init__()
        self.part, self.head, self.batch_dims = part, head, part.batch_dims

    def forward(self, *carried: Tensor) -> tuple[Tensor, ...]:
        tapped, further = run_part(self.part, carried)
        return self.head(tapped), *further


@torch.no_grad()
def _results(parts: Sequence[Part], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return what each part returns for the first of the example inputs."""
    carried: Sequence[Tensor] = [tensor[:1] for tensor in inputs]
    results = []
    for part in parts:
        result, carried = run_part(part, carried)
        results.append(result)
    return results


def _feature_dim(tap: str, tapped: Tensor, batch_dim: int, channel_dim: int | None) -> int:
    """Return the dimension of a tapped output that counts features, or raise InputError if it has none."""
    shape = tuple(tapped.shape)
    if not tapped.is_floating_point() or tapped.ndim < 2:
        raise InputError(
            f"a side head needs features of each image, but the output of {tap} has the shape {shape} and the type "
            f"{tapped.dtype}; tap another module"
        )
    if channel_dim is None:
        others = [dim for dim in range(tapped.ndim) if dim != batch_dim]
        return others[-1 if tapped.ndim == 3 else 0]
    dim = channel_dim % tapped.ndim
    if channel_dim >= tapped.ndim or dim == batch_dim:
        raise InputError(
            f"channel_dim must be a dimension of the output of {tap} that does not count images, but is {channel_dim} "
            f"for the shape {shape}; choose another"
        )
    return dim
