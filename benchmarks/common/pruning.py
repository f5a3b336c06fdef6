"""Networks whose channels are pruned by torch-pruning."""

from dataclasses import replace
from pathlib import Path

from tinynas import Arch, build
from tinynas.models.model_file import read_model, save_model
from tinynas.models.network import Network, example_input


def save_pruned(model: Path, path: Path) -> None:
    """Write a trained model without half of the channels of every group, those of the smallest magnitude."""
    trained = read_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, replace(trained, net=without_half_the_channels(trained.net)))


def without_half_the_channels(net: Network) -> Network:
    """Return a network without half of the channels of every group, those whose weights have the smallest L2 norms.

    The channels of layers that are added up, or that one passes to the next, are a group and go together. The network
    that is passed is changed.
    """
    try:
        import torch_pruning
    except ImportError:
        raise SystemExit("torch-pruning is not installed: pip install torch-pruning") from None
    net.requires_grad_(True)  # torch-pruning follows the gradient's graph
    pruner = torch_pruning.pruner.MagnitudePruner(
        net,
        example_input(net.arch),
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=[net.head.classifier],
    )
    pruner.step()
    pruned = build(pruned_arch(net))
    pruned.load_state_dict(net.state_dict())
    return pruned.eval()


def pruned_arch(net: Network) -> Arch:
    """Return the arch of a network of inverted residuals whose modules have fewer channels than its arch."""
    stages = []
    for stage, modules in zip(net.arch.stages, net.stages, strict=True):
        blocks = []
        for block, module in zip(stage, modules, strict=True):
            mid, out = module.depthwise.conv.out_channels, module.project.conv.out_channels
            blocks.append(replace(block, mid=mid, out=out))
        stages.append(tuple(blocks))
    stem = replace(net.arch.stem, out=net.stem.conv.out_channels)
    return replace(net.arch, stem=stem, stages=tuple(stages))
