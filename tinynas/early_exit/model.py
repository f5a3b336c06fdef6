"""A network with early exits together with the models it consists of, its threshold and its cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from ..arch.cost import Cost, cost, layer_costs, side_head_costs
from ..arch.layer_cost import LayerCost
from ..models.model_file import Model
from ..models.network import example_input, fold
from ..utils.sizes import Size
from .cascade import Cascade, Resized
from .graph_split import run_part
from .network import EarlyExits
from .sidenet import SideNet


@dataclass(frozen=True, kw_only=True)
class EarlyExitModel:
    """A SideNet on one trained model, or a cascade of two, with its threshold.

    Attributes:
        models: The trained models, the smaller one first.
        exits: The network with early exits.
        threshold: Calibrated confidence from which an image exits.
    """

    models: tuple[Model, ...]
    exits: EarlyExits
    threshold: float

    @property
    def mainnet(self) -> Model:
        """The model that predicts the images which no early exit is confident of."""
        return self.models[-1]

    @property
    def names(self) -> list[str]:
        """The names of the exits."""
        return self.exits.exit_names

    @property
    def input_model(self) -> Model:
        """The model whose input images the network takes: the one with the larger images."""
        largest = self.models[0]
        for model in self.models:
            if prod(model.net.arch.input_shape) > prod(largest.net.arch.input_shape):
                largest = model
        return largest

    @property
    def resolution(self) -> Size:
        """Size of the input images in pixels."""
        return self.input_model.net.arch.resolution

    def example(self) -> Tensor:
        """Return a black image (1, C, H, W), on the network's device."""
        return example_input(self.input_model.net.arch).to(self.exits.device)


def build_cascade(tiny: Model, big: Model) -> Cascade:
    """Return the cascade of two trained models."""
    return Cascade(tiny.net, big.net, (tiny.net.arch.resolution, big.net.arch.resolution))


def folded_parts(model: EarlyExitModel) -> list[nn.Module]:
    """Return the parts of the network, batch norm folded into the convolutions, in the order in which they run.

    A part returns logits, then the activations that the next part takes. A part that returns nothing but logits is
    followed by one that takes the image.
    """
    taps, heads = model.exits.taps, model.exits.heads
    if not taps:
        return [Resized(fold(entry.net).cpu(), entry.net.arch.resolution) for entry in model.models]
    mainnet = fold(model.mainnet.net, keep=taps).cpu()
    folded = SideNet(mainnet, taps, heads[0].hidden.out_features, inputs=model.example().cpu())
    for head, trained in zip(folded.heads, heads, strict=True):
        head.load_state_dict(trained.state_dict())
    return list(folded.exits)


def worst_case_cost(model: EarlyExitModel) -> Cost:
    """Return the cost of an image that runs through all exits.

    Peak SRAM includes the activations that are carried over while a side head runs, or the image of a cascade.
    """
    macs = params = flash = peak_sram = peak_sram_inplace_dw = 0
    for entry in model.models:
        whole = cost(entry.net.arch)
        macs, params, flash = macs + whole.macs, params + whole.params, flash + whole.flash
        peak_sram = max(peak_sram, whole.peak_sram)
        peak_sram_inplace_dw = max(peak_sram_inplace_dw, whole.peak_sram_inplace_dw)
    layers = _side_layers(model)
    beside = 0 if layers else _tiny_peak_beside_image(model)
    for layer in layers:
        macs, params, flash = macs + layer.macs, params + layer.params, flash + layer.flash
        beside = max(beside, layer.sram)
    return Cost(
        macs=macs,
        params=params,
        flash=flash,
        peak_sram=max(peak_sram, beside),
        peak_sram_inplace_dw=max(peak_sram_inplace_dw, beside),
    )


def _side_layers(model: EarlyExitModel) -> list[LayerCost]:
    """Return the side heads' layers, whose memory includes the tapped output and the carried activations."""
    layers: list[LayerCost] = []
    carried: Sequence[Tensor] = [model.example()]
    for part, head in zip(model.exits.exits, model.exits.heads, strict=False):
        with torch.no_grad():
            tapped, carried = run_part(part.part, carried)  # type: ignore[arg-type]
        distinct = {id(tapped): tapped.numel()}  # int8: a byte for each element
        for tensor in carried:
            distinct[id(tensor)] = tensor.numel()
        features, hidden, classes = head.hidden.in_features, head.hidden.out_features, head.classifier.out_features
        layers += side_head_costs(features, hidden, classes, sum(distinct.values()))
    return layers


def _tiny_peak_beside_image(model: EarlyExitModel) -> int:
    """Return the peak SRAM of a cascade's first network, with the image kept for the second one."""
    arch, image = model.models[0].net.arch, model.example().numel()
    peak = 0
    for number, layer in enumerate(layer_costs(arch)):
        is_input = number == 0 and arch.resolution == model.resolution  # the first layer counts the image already
        peak = max(peak, layer.sram + (0 if is_input else image))
    return peak
