"""The supernet: one set of weights, of which every network of a search space is a view."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .arch import Arch
from .nets import Network, build, channel_groups
from .space import SearchSpace

_CACHED_SKELETONS = 256


class Supernet(nn.Module):
    """The weights of `build(space.max())`; any smaller arch runs on views of them.

    The views are the leading slice in channel dimensions and the centre crop in kernel dimensions. Batch-norm
    statistics are updated through the same views.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        self.net = build(space.max())
        self._owners = {
            f"{path}.{name}": (module, name)
            for path, module in self.net.named_modules()
            for name in (*module._parameters, *module._buffers)
        }
        self._skeletons: OrderedDict[Arch, _Skeleton] = OrderedDict()

    def forward(self, images: Tensor, arch: Arch) -> Tensor:
        """Logits (N, classes) of the subnet for images (N, in_channels, resolution, resolution)."""
        if arch == self.net.arch:
            return self.net(images)  # type: ignore[no-any-return]
        skeleton = self._skeleton(arch)
        if skeleton.net.training != self.training:
            skeleton.net.train(self.training)
        logits: Tensor = functional_call(skeleton.net, self._views(skeleton.shapes), (images,), strict=True)
        return logits

    def extract(self, arch: Arch) -> Network:
        """The subnet as a plain network with its own copy of the weights."""
        net = build(arch).to(self.net.head.classifier.weight.device)
        net.load_state_dict(self._views(_shapes(net)))
        return net.train(self.training)

    @torch.no_grad()
    def sort_channels(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Reorder all channels by importance, so that smaller networks get the most important ones.

        A channel's importance is the L1 norm of the weights that read it (Cai et al., ICLR 2020, section 3.3). All
        tensors tied to a channel move with it, the optimizer's momentum too: the largest network's function and its
        next update stay the same, up to rounding.
        """
        tensors = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        for group in channel_groups(self.space.max()):
            norms = [tensors[name].abs().transpose(0, dim).flatten(1).sum(1) for name, dim in group.readers]
            order = torch.stack(norms).sum(0).argsort(descending=True, stable=True)
            for name, dim in group.writers + group.readers:
                for tensor in (tensors[name], *_momentum(optimizer, tensors[name])):
                    tensor.copy_(tensor.index_select(dim, order))

    def _skeleton(self, arch: Arch) -> "_Skeleton":
        if arch not in self._skeletons:
            with torch.device("meta"):
                net = Network(arch)
            self._skeletons[arch] = _Skeleton(net, _shapes(net))
            if len(self._skeletons) > _CACHED_SKELETONS:
                self._skeletons.popitem(last=False)
        self._skeletons.move_to_end(arch)
        return self._skeletons[arch]

    def _views(self, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
        own = ((name, shape, *self._owners[name]) for name, shape in shapes.items())
        return {name: view(getattr(module, key), shape) for name, shape, module, key in own}


class _Skeleton(NamedTuple):
    """A plain network without weights, and the shapes that they would have."""

    net: Network
    shapes: dict[str, torch.Size]


def _shapes(net: Network) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in (*net.named_parameters(), *net.named_buffers())}


def view(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The part of a supernet's tensor that a smaller layer uses; no copy.

    Leading slice in the first two dimensions (channels), centre crop in the others (kernel).
    """
    if tensor.shape == shape:
        return tensor
    for dim, (have, want) in enumerate(zip(tensor.shape, shape, strict=True)):
        if have != want:
            start = 0 if dim < 2 else (have - want) // 2
            tensor = tensor.narrow(dim, start, want)
    return tensor


def _momentum(optimizer: torch.optim.Optimizer | None, tensor: Tensor) -> list[Tensor]:
    """The optimizer's own tensors of a parameter's shape."""
    state = optimizer.state.get(tensor, {}) if optimizer else {}
    return [value for value in state.values() if isinstance(value, Tensor) and value.shape == tensor.shape]
