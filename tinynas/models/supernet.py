"""The supernet: one set of weights, of which every network of a search space is a view."""

from collections import OrderedDict
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from ..arch.arch import Arch
from ..arch.space import SearchSpace
from ..kernels.passes import TensorTable
from ..kernels.program import NotCoveredError, Part
from ..utils.errors import InputError
from ..utils.sizes import pair
from .batchnorm import recalibrate, synchronise_norms
from .binding import BoundModule, ParameterBinding, parts_of, slots_of, view
from .fused import FusedNetwork
from .layers import without_initial_values
from .network import ModuleSpec, Network, build, module_specs, turned

_CACHED_SUBNETS = 256
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Supernet(nn.Module):
    """The weights of a search space's largest network; every smaller arch runs on views of them.

    The views are the leading slice in channel dimensions and the centre crop in kernel dimensions. Batch-norm
    statistics are updated through the same views.

    Args:
        space: The search space; `build(space.max())` holds the weights.
        init: Initialisation of convolutions, as in `build`.
        residual_gain: Initial scale of the last norm of blocks with a shortcut.
        classifier_std: Standard deviation of a linear classifier's initial weights, as in `build`.
        dropout: Fraction of the classifier's inputs that are dropped in training.

    Attributes:
        space: The search space.
        net: The largest network.
        fused: Whether the fused CPU kernels run it in training mode; see `training.backend`.
        synchronised: Whether batch norm sees the whole batch of a data-parallel training; set by `synchronise_norms`.
        memory_format: Of its weights and of those of extracted networks; set by `use_memory_format`.

    Example:
        >>> import torch
        >>> from tinynas import Supernet, load_space
        >>> space = load_space("micro")
        >>> supernet = Supernet(space).eval()
        >>> arch = space.min()
        >>> images = torch.zeros(2, *arch.input_shape)
        >>> torch.equal(supernet(images, arch), supernet.extract(arch)(images))
        True
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        init: str = "kaiming-normal",
        residual_gain: float = 0.0,
        classifier_std: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.fused = False
        self.synchronised = False
        self.memory_format = torch.channels_last
        net = build(space.max(), init=init, residual_gain=residual_gain, classifier_std=classifier_std)
        self.use_net(net, space)

    def use_net(self, net: Network, space: SearchSpace) -> None:
        """Hold the weights of another network from now on.

        Args:
            net: The network.
            space: A search space, of which it is the largest network.
        """
        self.space = space
        self.net = net
        net.head.dropout.p = self.dropout
        synchronise_norms(net, self.synchronised)
        self._slots = slots_of(net)
        self._table = TensorTable(list(self._slots.values()))
        self._numbers = {name: number for number, name in enumerate(self._slots)}  # of the tensors in the table
        self._subnets: OrderedDict[tuple[Arch, bool, bool], BoundModule] = OrderedDict()  # by arch, mode and `fused`
        self._shared: dict[tuple[ModuleSpec, bool], BoundModule] = {}  # by spec and mode

    def forward(self, images: Tensor, arch: Arch, *, statistics: bool = True) -> Tensor:
        """Run a subnet.

        Args:
            images: (N, in_channels, H, W) of the arch's resolution, normalised.
            arch: The subnet, an arch of the search space.
            statistics: Whether a pass in training mode updates the running statistics of batch norms.

        Returns:
            Logits (N, classes) of a classifier, or predictions (N, P, 4 + classes) of a detector.

        Raises:
            InputError: The arch is not part of the supernet.
        """
        statistics = statistics or not self.training
        if statistics and arch == self.net.arch and not self.fused:
            return self.net(images)  # type: ignore[no-any-return]
        subnet = self._subnet(arch)
        try:
            for binding in subnet.bindings:
                if statistics or binding.key not in _STATISTICS:
                    binding.bind()
            if isinstance(subnet.module, FusedNetwork):
                return subnet.module(images, statistics=statistics)  # type: ignore[no-any-return]
            return subnet.module(images)  # type: ignore[no-any-return]
        finally:
            for binding in subnet.bindings:
                binding.unbind()

    @torch.no_grad()
    def extract(self, arch: Arch) -> Network:
        """Copy a subnet.

        Args:
            arch: The subnet, an arch of the search space.

        Returns:
            A plain network with its own copy of the weights, on the supernet's device and in its mode.

        Raises:
            InputError: The arch is not part of the supernet.
        """
        with without_initial_values():
            net = Network(arch).to(next(self.net.parameters()).device)
        net.to(memory_format=self.memory_format)
        for binding in self._bindings(net):
            binding.copy()
        return net.train(self.training)

    def use_memory_format(self, memory_format: torch.memory_format) -> None:
        """Change the memory format of the weights. The kernels of `fused` are to be chosen afterwards, if at all.

        Args:
            memory_format: torch.channels_last, or torch.contiguous_format for channels in front of pixels.
        """
        self.memory_format = memory_format
        self.net.to(memory_format=memory_format)

    def synchronise_norms(self, synchronised: bool) -> None:
        """Let batch norm in training mode see the whole batch of a data-parallel training, or a process's part of it.

        Args:
            synchronised: Whether it sees the whole batch.
        """
        self.synchronised = synchronised
        self._subnets.clear()
        self._shared.clear()
        synchronise_norms(self.net, synchronised)

    def runner(self, net: Network) -> nn.Module:
        """Let an extracted network be run by what runs the supernet.

        Args:
            net: The network.

        Returns:
            The network, or a module that runs it by the fused kernels.
        """
        return FusedNetwork(net) if self.fused else net

    @torch.no_grad()
    def adopt(self, net: Network, *, leave_out: str = "") -> dict[str, int]:
        """Copy another network's weights and statistics, as far as its tensors and the supernet's overlap.

        Tensors of the same name overlap in the leading channels and in the centre of kernels. Kernels of the stem and
        the stages are turned by 180 degrees if only one of the networks turns its images.

        Args:
            net: A network with the same names of tensors, of any size.
            leave_out: Prefix of the names of tensors that keep their own values, such as "head.".

        Returns:
            How many values were copied into every tensor of which at least a part was, by name.
        """
        theirs, own = net.state_dict(), self.net.state_dict()
        turns = net.is_turned != self.net.is_turned
        copied = {}
        for name in own.keys() & theirs.keys():
            is_left_out = bool(leave_out) and name.startswith(leave_out)
            if not is_left_out and own[name].ndim == theirs[name].ndim:
                shape = torch.Size(map(min, own[name].shape, theirs[name].shape))
                values = view(theirs[name], shape)
                is_kernel = len(shape) == 4 and not name.startswith("head.")
                view(own[name], shape).copy_(turned(values) if turns and is_kernel else values)
                copied[name] = shape.numel()
        return copied

    @torch.no_grad()
    def sort_channels(self, optimizer: torch.optim.Optimizer | None = None, *, only_expanded: bool = False) -> None:
        """Sort channels by importance, so that smaller networks get the most important ones.

        A channel's importance is the L1 norm of the weights that read it (Cai et al., ICLR 2020, section 3.3). All
        tensors that are indexed by a channel are sorted alike: the largest network's function and its next update stay
        the same up to rounding.

        Args:
            optimizer: Optimizer of the supernet's parameters, whose momentum is sorted as well.
            only_expanded: Whether to sort only the expanded channels inside blocks, and not all.
        """
        tensors = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        groups = self.net.expanded_channel_groups() if only_expanded else self.net.channel_groups()
        for group in groups:
            norms = []
            for name, dim in group.readers:
                norms.append(tensors[name].abs().transpose(0, dim).flatten(1).sum(1))
            order = torch.stack(norms).sum(0).argsort(descending=True, stable=True)
            for name, dim in group.writers + group.readers:
                for tensor in _with_momentum(tensors[name], optimizer):
                    tensor.copy_(tensor.index_select(dim, order))

    def _subnet(self, arch: Arch) -> BoundModule:
        """Return the subnet without weights, from a cache of the last ones."""
        key = arch, self.training, self.fused
        if key not in self._subnets:
            subnet = self._assemble(arch)
            self._subnets[key] = self._fuse(subnet) if self.fused and self.training else subnet
            if len(self._subnets) > _CACHED_SUBNETS:
                self._subnets.popitem(last=False)
        self._subnets.move_to_end(key)
        return self._subnets[key]

    def _assemble(self, arch: Arch) -> BoundModule:
        """Return a subnet without weights. Subnets share their modules, so that few have to be built."""
        modules, bindings = {}, []
        parts: dict[tuple[int, str], Part] = {}
        for spec in module_specs(arch):
            bound = self._shared_module(spec)
            modules[spec.name] = bound.module
            bindings += bound.bindings
            parts.update(bound.parts)
        net = Network(arch, modules)
        net.head.dropout.p = self.dropout
        net.training = self.training
        return BoundModule(net, bindings, parts)

    def _fuse(self, subnet: BoundModule) -> BoundModule:
        """Return a subnet run by the fused kernels, with the bindings of what they do not run, if they cover it."""
        net = cast(Network, subnet.module)
        fused = FusedNetwork(net, self._table, subnet.parts)
        try:
            height, width = pair(net.arch.resolution)
            keys = fused.program(height, width).keys
        except NotCoveredError:
            return subnet
        bindings = [binding for binding in subnet.bindings if (id(binding.target), binding.key) not in keys]
        return BoundModule(fused, bindings, subnet.parts)

    def _shared_module(self, spec: ModuleSpec) -> BoundModule:
        """Return a module of subnets without weights."""
        key = spec, self.training
        if key not in self._shared:
            with without_initial_values():
                module = spec.build().train(self.training)
            synchronise_norms(module, self.synchronised)
            bindings = self._bindings(module, f"{spec.name}.")
            for binding in bindings:
                binding.unbind()
            self._shared[key] = BoundModule(module, bindings, parts_of(bindings))
        return self._shared[key]

    def _bindings(self, module: nn.Module, prefix: str = "") -> list[ParameterBinding]:
        """Return the bindings of a subnet, or of its module with this prefix. Raises InputError if it is too large."""
        bindings = []
        for name, (tensors, key) in slots_of(module, prefix).items():
            source, shape = self._slots[name].tensors, tensors[key].shape
            if any(size > available for size, available in zip(shape, source[key].shape, strict=True)):
                raise InputError(
                    f"the arch is not part of the supernet: its {name} has shape {tuple(shape)}, "
                    f"the supernet's {tuple(source[key].shape)}; choose an arch of the supernet's search space"
                )
            bindings.append(ParameterBinding(key, source, tensors, shape, self._numbers[name]))
        return bindings


def _with_momentum(parameter: Tensor, optimizer: torch.optim.Optimizer | None) -> list[Tensor]:
    """Return the parameter and the optimizer's tensors of its shape."""
    tensors = [parameter]
    if optimizer is not None:
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                tensors.append(value)
    return tensors


def extract_calibrated(supernet: Supernet, arch: Arch, calibration: Iterable[Tensor]) -> Network:
    """Return a copy of a subnet in eval mode, batch norm recalibrated on batches of images (N, C, H, W)."""
    net = supernet.extract(arch)
    device = next(net.parameters()).device
    recalibrate(supernet.runner(net), (images.to(device) for images in calibration))
    return net
