"""The supernet: one set of weights, of which every network of a search space is a view."""

from collections import OrderedDict

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
        self._skeletons: OrderedDict[Arch, Network] = OrderedDict()

    def forward(self, images: Tensor, arch: Arch) -> Tensor:
        """Logits (N, classes) of the subnet for images (N, in_channels, resolution, resolution)."""
        if arch == self.net.arch:
            return self.net(images)  # type: ignore[no-any-return]
        skeleton = self._skeleton(arch)
        skeleton.train(self.training)
        logits: Tensor = functional_call(skeleton, self._views(skeleton), (images,), strict=True)
        return logits

    def extract(self, arch: Arch) -> Network:
        """The subnet as a plain network with its own copy of the weights."""
        net = build(arch).to(self.net.head.classifier.weight.device)
        net.load_state_dict(self._views(net))
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

    def _skeleton(self, arch: Arch) -> Network:
        if arch not in self._skeletons:
            with torch.device("meta"):
                self._skeletons[arch] = Network(arch)
            if len(self._skeletons) > _CACHED_SKELETONS:
                self._skeletons.popitem(last=False)
        self._skeletons.move_to_end(arch)
        return self._skeletons[arch]

    def _views(self, net: Network) -> dict[str, Tensor]:
        own = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        wanted = [*net.named_parameters(), *net.named_buffers()]
        return {name: view(own[name], tensor.shape) for name, tensor in wanted}


def view(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The part of a supernet's tensor that a smaller layer uses; no copy.

    Leading slice in the first two dimensions (channels), centre crop in the others (kernel).
    """
    for dim, (have, want) in enumerate(zip(tensor.shape, shape, strict=True)):
        if have != want:
            start = 0 if dim < 2 else (have - want) // 2
            tensor = tensor.narrow(dim, start, want)
    return tensor


def _momentum(optimizer: torch.optim.Optimizer | None, tensor: Tensor) -> list[Tensor]:
    """The optimizer's own tensors of a parameter's shape."""
    state = optimizer.state.get(tensor, {}) if optimizer else {}
    return [value for value in state.values() if isinstance(value, Tensor) and value.shape == tensor.shape]
