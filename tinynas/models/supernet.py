"""The supernet: one set of weights, of which every network of a search space is a view."""

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..utils.errors import require
from .batchnorm import recalibrate
from .channels import channel_groups
from .network import Network, build

_CACHED_SKELETONS = 256
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Supernet(nn.Module):
    """The weights of `build(space.max())`; any smaller arch runs on views of them.

    The views are the leading slice in channel dimensions and the centre crop in kernel dimensions. Batch-norm
    statistics are updated through the same views. `init` as in `build`; `dropout` is the share of the classifier's
    inputs that are dropped in training.
    """

    def __init__(self, space: SearchSpace, *, init: str = "kaiming-normal", dropout: float = 0.0) -> None:
        super().__init__()
        self.space = space
        self.dropout = dropout
        self.net = build(space.max(), init=init)
        self.net.head.dropout.p = dropout
        self._owners = _places(self.net)
        self._skeletons: OrderedDict[tuple[Arch, bool], _Skeleton] = OrderedDict()
        self._parts: dict[tuple[Any, bool], _Skeleton] = {}

    def forward(self, images: Tensor, arch: Arch, *, statistics: bool = True) -> Tensor:
        """Logits (N, classes) of the subnet for images (N, in_channels, resolution, resolution).

        Without `statistics` a pass in training mode leaves the running statistics as they are.
        """
        statistics = statistics or not self.training
        if statistics and arch == self.net.arch:
            return self.net(images)  # type: ignore[no-any-return]
        net, loans = self._skeleton(arch)
        try:
            for loan in loans:
                if not statistics and loan.key in _STATISTICS:
                    continue
                loan.borrower[loan.key] = view(loan.owner[loan.key], loan.shape)
            return net(images)  # type: ignore[no-any-return]
        finally:
            for loan in loans:
                loan.borrower[loan.key] = None

    def extract(self, arch: Arch) -> Network:
        """The subnet as a plain network with its own copy of the weights."""
        net = build(arch).to(next(self.net.parameters()).device)
        with torch.no_grad():
            for loan in self._loans(net):
                loan.borrower[loan.key].copy_(view(loan.owner[loan.key], loan.shape))
        return net.train(self.training)

    @torch.no_grad()
    def adopt(self, net: nn.Module, *, leave_out: str = "") -> None:
        """Take over another network's weights and statistics, as far as its tensors and these overlap.

        Tensors of one name overlap in the leading channels and in the centre of kernels. `leave_out` begins the names
        of those that keep their own values.
        """
        theirs, own = net.state_dict(), self.net.state_dict()
        for name in own.keys() & theirs.keys():
            if not (leave_out and name.startswith(leave_out)):
                shape = torch.Size(map(min, own[name].shape, theirs[name].shape))
                view(own[name], shape).copy_(view(theirs[name], shape))

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
        key = arch, self.training
        if key not in self._skeletons:
            self._skeletons[key] = self._without_weights(arch)
            if len(self._skeletons) > _CACHED_SKELETONS:
                self._skeletons.popitem(last=False)
        self._skeletons.move_to_end(key)
        return self._skeletons[key]

    def _without_weights(self, arch: Arch) -> "_Skeleton":
        """Networks share their parts, so that most of a new one is there already."""
        loans: list[_Loan] = []

        def part(*key: Any) -> nn.Module:
            name, kind, *args = key
            if (key, self.training) not in self._parts:
                with torch.device("meta"):
                    self._parts[key, self.training] = self._emptied(kind(*args), f"{name}.")
            found = self._parts[key, self.training]
            loans.extend(found.loans)
            return found.net

        net = Network(arch, part)
        net.head.dropout.p = self.dropout
        net.training = self.training
        return _Skeleton(net, loans)

    def _emptied(self, net: nn.Module, prefix: str) -> "_Skeleton":
        loans = self._loans(net, prefix)
        for loan in loans:
            loan.borrower[loan.key] = None
        return _Skeleton(net.train(self.training), loans)

    def _loans(self, net: nn.Module, prefix: str = "") -> "list[_Loan]":
        """What a smaller network borrows, or the part of it that has this prefix. Raises InputError if it is larger."""
        loans = []
        for name, (key, tensors) in _places(net, prefix).items():
            owner, part = self._owners[name][1], tensors[key].shape
            fits = all(want <= have for want, have in zip(part, owner[key].shape, strict=True))
            require(fits, "a subnet is a part of the supernet", tensor=name, subnet=part, supernet=owner[key].shape)
            loans.append(_Loan(key, owner, tensors, part))
        return loans


class _Loan(NamedTuple):
    """A tensor of the supernet, and where in a smaller network the view of this shape belongs."""

    key: str
    owner: dict[str, Any]  # tensors of the supernet's module, by key
    borrower: dict[str, Any]  # of the smaller network's module
    shape: torch.Size


class _Skeleton(NamedTuple):
    """A plain network without weights, and what it borrows while it runs."""

    net: nn.Module
    loans: list[_Loan]


def _places(net: nn.Module, prefix: str = "") -> dict[str, tuple[str, dict[str, Any]]]:
    """Where every parameter and buffer is, by its full name: its key, and the tensors of its module by key."""
    return {
        f"{prefix}{path}.{key}": (key, tensors)
        for path, module in net.named_modules()
        for tensors in (module._parameters, module._buffers)
        for key, tensor in tensors.items()
        if tensor is not None
    }


def view(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The part of a supernet's tensor that a smaller layer uses; no copy.

    Leading slice in the first two dimensions (channels), centre crop in the others (kernel). One strided view and not
    a slice for each dimension: its gradient is made in one pass.
    """
    if tensor.shape == shape:
        return tensor
    strides = tensor.stride()
    margins = zip(tensor.shape[2:], shape[2:], strides[2:], strict=True)
    start = sum((have - want) // 2 * stride for have, want, stride in margins)
    return tensor.as_strided(shape, strides, tensor.storage_offset() + start)


def _momentum(optimizer: torch.optim.Optimizer | None, tensor: Tensor) -> list[Tensor]:
    """The optimizer's own tensors of a parameter's shape."""
    state = optimizer.state.get(tensor, {}) if optimizer else {}
    return [value for value in state.values() if isinstance(value, Tensor) and value.shape == tensor.shape]


def extract_calibrated(supernet: Supernet, arch: Arch, calibration: list[Tensor]) -> Network:
    """A subnet on its own, in eval mode, its statistics set by the images (N, C, H, W). The supernet stays as it is."""
    net = supernet.extract(arch)
    device = next(net.parameters()).device
    recalibrate(net, (images.to(device) for images in calibration))
    return net
