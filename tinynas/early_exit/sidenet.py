"""SideNet: early exits on any trained network (Morisot, "Add a SideNet to your MainNet", arXiv 2007.13512).

A side head, a small classifier on the output of one of the network's modules, predicts the images that it is confident
of. The rest of the network runs only on the other images. The network itself does not change.
"""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ..utils.errors import InputError, require
from .batch_check import check_independent
from .example_checks import check_finite, class_indices
from .features import HeadTargets, StoredRows
from .graph_split import Part, run_part, split_network
from .inputs import Batches, Inputs, example_call
from .network import EarlyExits
from .padding import AUTO, PaddingFunction, check_places, padding_mask
from .side_head import SideHead, fit_side_head
from .side_part import SidePart, carry_mask


class SideNet(EarlyExits):
    """A trained classifier with side heads on some of its modules.

    The classifier keeps its weights: it is frozen and set to eval mode. A new side head is not trained; call `fit` with
    training images and then `calibrate` with held-out ones.

    Args:
        mainnet: Any classifier that returns logits (N, classes) and that torch.export can trace. What it computes for
            an image must not depend on the others of the batch.
        taps: Modules whose outputs the side heads read: names as in `mainnet.named_modules()`, in the order of
            computation. Of an output that is a tuple, the first entry counts.
        hidden: Width of each side head's hidden layer.
        inputs: Example inputs of the classifier; their first dimension counts images. A tensor, a sequence of tensors,
            or a mapping of tensors by name, with which the classifier is called by keyword.
        channel_dim: Dimension of the tapped outputs that counts features. By default the one that the operators around
            the tap read or write as such; if none shows it, the last one of sequences (N, S, C), else the first one
            after the images.
        padding: Which places of sequences the side heads leave out of their averages. "auto": the input named
            `attention_mask` (nonzero at places that count) or `...padding_mask` (True at padding), if there is one.
            The name of an input: the same, by whether "padding" is in the name. A function of the inputs, called as
            the classifier is, that returns booleans (N, S), True at padding. None: they average over all places.
        output: Where the logits are in what the classifier returns, unless it returns a tensor: an attribute, a key,
            or the index in a tuple.

    Attributes:
        taps: Names of the tapped modules.
        temperatures: Temperature of each exit, (exits,). The last exit is the whole classifier.
        input_names: Names of the classifier's inputs.

    Raises:
        InputError: The classifier cannot be traced, or computes something else in another batch; a tap is not one of
            its modules or gives no features for each image; an input, `padding` or `output` is not valid; or `hidden`
            is not positive.

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
        inputs: Inputs,
        channel_dim: int | None = None,
        padding: str | PaddingFunction | None = AUTO,
        output: str | int = "logits",
    ) -> None:
        require(hidden > 0, "hidden > 0", hidden=hidden)
        call, examples = example_call(inputs, output)
        names = [taps] if isinstance(taps, str) else list(taps)
        if not names:
            raise InputError("a SideNet needs at least one tap, but has none; name a module of the network")
        for number, tensor in enumerate(examples):
            check_finite(tensor, f"values in input {number + 1}")
        parts = split_network(mainnet, names, examples, call)
        results = _results(parts, examples)
        if results[-1].ndim != 2 or results[-1].shape[1] < 2:
            raise InputError(
                f"a SideNet needs a classifier that returns logits (N, classes) of at least 2 classes, but "
                f"{type(mainnet).__name__} returns "
                f"the shape {tuple(results[-1].shape)}; pass a classifier"
            )
        check_independent(type(mainnet).__name__, names, parts, examples)
        mask = None
        if any(result.ndim > 2 for result in results[:-1]):
            mask = padding_mask(padding, mainnet, call, examples)
        exits: list[nn.Module] = []
        for number, tap in enumerate(names):
            part, result = parts[number], results[number]
            dim = _feature_dim(tap, part, result, channel_dim)
            if mask is not None:
                check_places(tap, tuple(result.shape), (part.batch_dim, dim), mask(*examples))
            head = SideHead(result.shape[dim], hidden, results[-1].shape[1], part.batch_dim, dim)
            exits.append(SidePart(part, head))
        exits.append(parts[-1])
        super().__init__(exits, call)
        if mask is not None:
            carry_mask(self._sides, mask)
        self.taps = names
        self.input_names = call.parameter_names(mainnet)
        self.to(results[-1].device)

    @property
    def heads(self) -> list[SideHead]:
        """The side heads, one for each tap."""
        return [part.head for part in self._sides]

    @property
    def _sides(self) -> list[SidePart]:
        return [part for part in self.exits if isinstance(part, SidePart)]

    def fit(self, batches: Batches, *, distillation: float = 0.0, temperature: float = 1.0, seed: int = 0) -> None:
        """Train the side heads, from fresh weights.

        Every image runs through the network once. The heads are trained on its pooled features, (N, C) for each tap,
        which are kept in temporary files, and so are its outputs if they are learned from.

        Args:
            batches: Batches (inputs ..., labels) of training images, on any device: the network's inputs (N, ...) or a
                mapping of them by name, then class indices (N,) of any integer type.
            distillation: Weight of the network's own outputs in the targets, 0 to 1; the labels have the rest.
            temperature: Temperature at which these outputs are softened.
            seed: Seed of the heads' initial weights and of the order of images.

        Raises:
            InputError: There is no batch, inputs or labels do not fit the network, features of an image are not finite
                (the message has its index among all images), `distillation` is not from 0 to 1, or `temperature` is not
                positive.
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
        labels: list[Tensor] = []
        count, classes = 0, self.heads[0].classifier.out_features
        with ExitStack() as files:
            features = [files.enter_context(StoredRows()) for _ in self.heads]
            logits = files.enter_context(StoredRows())
            for batch in batches:
                inputs, indices = self.call.batch(batch)
                labels.append(class_indices(indices, examples=len(inputs[0]), classes=classes, start=count))
                carried: Sequence[Tensor] = self._on_device(inputs)
                for tap, side, rows in zip(self.taps, self._sides, features, strict=True):
                    pooled, carried = side.features(carried)
                    check_finite(pooled, f"features of the exit {tap}", start=count)
                    rows.add(pooled)
                if with_logits:
                    outputs = run_part(self.exits[-1], carried)[0]
                    check_finite(outputs, "logits of the exit mainnet", start=count)
                    logits.add(outputs)
                count += len(inputs[0])
            if not labels:
                raise InputError("side heads are trained on images, but there is no batch; pass at least one")
            return [rows.tensor() for rows in features], logits.tensor() if with_logits else None, torch.cat(labels)


@torch.no_grad()
def _results(parts: Sequence[Part], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return what each part returns for the first of the example inputs."""
    carried: Sequence[Tensor] = [tensor[:1] for tensor in inputs]
    results = []
    for part in parts:
        result, carried = run_part(part, carried)
        results.append(result)
    return results


def _feature_dim(tap: str, part: Part, tapped: Tensor, channel_dim: int | None) -> int:
    """Return the dimension of a tapped output that counts features, or raise InputError if it has none."""
    shape = tuple(tapped.shape)
    if not tapped.is_floating_point() or tapped.ndim < 2:
        raise InputError(
            f"a side head needs features of each image, but the output of {tap} has the shape {shape} and the type "
            f"{tapped.dtype}; tap another module"
        )
    if channel_dim is None:
        others = [dim for dim in range(tapped.ndim) if dim != part.batch_dim]
        default = others[-1 if tapped.ndim == 3 else 0]
        return default if part.feature_dim is None else part.feature_dim
    dim = channel_dim % tapped.ndim
    if channel_dim >= tapped.ndim or dim == part.batch_dim:
        raise InputError(
            f"channel_dim must be a dimension of the output of {tap} that does not count images, but is {channel_dim} "
            f"for the shape {shape}; choose another"
        )
    return dim
