"""Joint training of a network and its exits (as in BranchyNet, Teerapittayanon et al., ICPR 2016).

It changes the network's weights, which the training of a SideNet does not. Batch norm keeps its statistics.
"""

import torch
from torch import Tensor, nn

from ..utils.errors import InputError
from .graph_split import run_parts
from .inputs import Batches
from .network import EarlyExits

_WEIGHT_DECAY = 1e-4  # of AdamW


def fit_jointly(
    net: EarlyExits, batches: Batches, *, steps: int, learning_rate: float = 3e-4, exit_weight: float = 1.0
) -> None:
    """Train a network and its exits together, from the weights that they have.

    AdamW minimises the last exit's cross-entropy plus `exit_weight` times the mean of the early exits'. The learning
    rate falls to 0 on a cosine. Temperatures and thresholds have to be chosen anew afterwards.

    Args:
        net: The network with early exits, changed in place; the network that a SideNet was built on changes with it.
        batches: Batches (inputs ..., labels) of training images, of all epochs one after another.
        steps: Number of batches.
        learning_rate: The first learning rate.
        exit_weight: Weight of the early exits.

    Raises:
        InputError: There are fewer batches than `steps`.
    """
    net.requires_grad_(True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    done = 0
    for batch in batches:
        inputs, labels = net.call.batch(batch)
        optimizer.zero_grad()
        _loss(net, inputs, labels, exit_weight).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        done += 1
        if done == steps:
            break
    net.requires_grad_(False)
    if done < steps:
        raise InputError(f"joint training needs {steps} batches, but there are {done}; pass fewer steps")


def _loss(net: EarlyExits, inputs: list[Tensor], labels: Tensor, exit_weight: float) -> Tensor:
    targets = labels.to(net.device).long()
    losses = []
    for logits in run_parts(net.exits, [tensor.to(net.device) for tensor in inputs]):
        losses.append(nn.functional.cross_entropy(logits.float(), targets))
    early = torch.stack(losses[:-1]).mean()
    return losses[-1] + exit_weight * early
