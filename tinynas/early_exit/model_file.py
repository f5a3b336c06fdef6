"""Networks with early exits as files: the models they are made of, the side heads, the threshold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..arch.cost import Cost, cost, layer_costs, side_head_costs
from ..arch.layer_cost import LayerCost
from ..models.model_file import Model, describe, kind_of, read_model, read_weights, rebuild, save_weights
from ..models.network import Network, fold
from .sidenet import Cascade, EarlyExits, Resized, SideNet

_KIND = "tinynas-exits"


@dataclass(frozen=True, kw_only=True)
class ExitModel:
    """A SideNet on one model, or a cascade of two, with the threshold that was chosen for it."""

    models: tuple[Model, ...]  # the smaller one first
    exits: EarlyExits
    threshold: float

    @property
    def mainnet(self) -> Model:
        """The network that answers where no exit before it does."""
        return self.models[-1]

    @property
    def names(self) -> list[str]:
        """Of the exits."""
        return [*(self.exits.taps or ["tiny"]), "mainnet"]

    @property
    def receiver(self) -> Model:
        """The model whose images it takes: the larger ones."""
        return max(self.models, key=lambda model: model.net.arch.resolution)

    @property
    def resolution(self) -> int:
        """Of the images it takes."""
        return self.receiver.net.arch.resolution

    def example(self) -> Tensor:
        """An image (1, C, resolution, resolution) of zeros."""
        return torch.zeros(1, self.mainnet.net.arch.in_channels, self.resolution, self.resolution)


def deployed_parts(model: ExitModel) -> list[nn.Module]:
    """The exits with norms folded, to be run one after the other: logits, and what the next one needs.

    If a part gives nothing but logits, the next needs the image.
    """
    taps, heads = model.exits.taps, model.exits.heads
    if not taps:
        return [Resized(fold(each.net).cpu(), each.net.arch.resolution) for each in model.models]
    net = SideNet(fold(model.mainnet.net, keep=taps).cpu(), taps, heads[0].hidden.out_features, inputs=model.example())
    for head, trained in zip(net.heads, heads, strict=True):
        head.load_state_dict(trained.state_dict())
    return list(net.exits)


def cascade_of(tiny: Model, big: Model) -> Cascade:
    """Both networks, one after the other."""
    return Cascade(tiny.net, big.net, (tiny.net.arch.resolution, big.net.arch.resolution))


def exits_cost(model: ExitModel) -> Cost:
    """Of an image that goes through all exits, the worst case; what is to go on is kept while an exit answers."""
    whole = [cost(each.net.arch) for each in model.models]
    counts = {name: sum(getattr(one, name) for one in whole) for name in ("macs", "params", "flash")}
    peaks = {name: max(getattr(one, name) for one in whole) for name in ("peak_sram", "peak_sram_inplace_dw")}
    sides = _side_steps(model)
    for step in sides:
        counts = {name: counts[name] + getattr(step, name) for name in counts}
    beside = [step.sram for step in sides] if sides else [_beside_image(model)]
    return Cost(**counts, **{name: max(peak, *beside) for name, peak in peaks.items()})


def _side_steps(model: ExitModel) -> list[LayerCost]:
    """The side heads' layers, beside the tapped output and whatever else is to go on."""
    found: list[LayerCost] = []
    handed: Sequence[Tensor] = [model.example()]
    for side, head in zip(model.exits.exits, model.exits.heads, strict=False):
        with torch.no_grad():
            tapped, *handed = side.part(*handed)  # type: ignore[operator]
        held = sum(each.numel() for each in {id(each): each for each in (tapped, *handed)}.values())  # a byte each
        found += side_head_costs(head.hidden.in_features, head.hidden.out_features, head.classifier.out_features, held)
    return found


def _beside_image(model: ExitModel) -> int:
    """The tiny network's peak, with the image beside it that the larger one may still need."""
    tiny = model.models[0].net.arch
    first, *others = (step.sram for step in layer_costs(tiny))
    held = model.example().numel()
    return max(first + (held if tiny.resolution != model.resolution else 0), *(sram + held for sram in others))


def save_exits(path: Path, model: ExitModel) -> None:
    """Write safetensors: all weights; what is needed to build it again as JSON in the metadata."""
    heads = model.exits.heads
    about = {
        "models": json.dumps([describe(each) for each in model.models]),
        "taps": json.dumps(list(model.exits.taps)),
        "hidden": json.dumps(heads[0].hidden.out_features if heads else 0),
        "threshold": json.dumps(model.threshold),
    }
    tensors = {f"models.{i}.{k}": v for i, each in enumerate(model.models) for k, v in each.net.state_dict().items()}
    tensors |= {f"heads.{i}.{k}": v for i, head in enumerate(heads) for k, v in head.state_dict().items()}
    save_weights(path, _KIND, about, tensors | {"temperatures": model.exits.temperatures})


def read_exits(path: Path) -> ExitModel:
    """What `save_exits` wrote. Raises FileError if it is damaged, newer, or something else."""
    return read_weights(path, _KIND, "network with early exits; make it with tinynas sidenet", _rebuilt)


def has_exits(path: Path) -> bool:
    """Whether a file of weights is of a network with early exits. Raises FileError."""
    return kind_of(path) == _KIND


def load(path: str | Path) -> Network | EarlyExits:
    """The network of a model.safetensors or of a sidenet.safetensors, in eval mode. Raises FileError."""
    return read_exits(Path(path)).exits if has_exits(Path(path)) else read_model(Path(path)).net


def _rebuilt(about: Mapping[str, str], tensors: Mapping[str, Tensor]) -> ExitModel:
    described, taps = json.loads(about["models"]), json.loads(about["taps"])
    models = tuple(rebuild(each, _of(tensors, f"models.{i}.")) for i, each in enumerate(described))
    exits: EarlyExits
    if taps:
        arch = models[0].net.arch
        image = torch.zeros(1, arch.in_channels, arch.resolution, arch.resolution)
        exits = SideNet(models[0].net, taps, json.loads(about["hidden"]), inputs=image)
        for i, head in enumerate(exits.heads):
            head.load_state_dict(_of(tensors, f"heads.{i}."))
    else:
        exits = cascade_of(*models)
    exits.temperatures.copy_(tensors["temperatures"])
    return ExitModel(models=models, exits=exits, threshold=json.loads(about["threshold"]))


def _of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
