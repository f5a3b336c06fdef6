"""The networks that benchmarks of retraining train: found for three budgets, and a larger one by hand."""

from tinynas import Arch
from tinynas.arch.blocks import Stem
from tinynas.arch.heads import Head
from tinynas.blocks.inverted_residual import InvertedResidual

from .cells import Cells
from .retraining import SIZES
from .supernets import searched_arch

LARGE = "large"


def budget_network(size: str) -> Arch:
    """Return the network of a size: "0.1M", "0.3M", "1M", found by a search when it is first asked for, or "large"."""
    if size == LARGE:
        return large_network()
    return Arch.from_dict(Cells("netaug").require(f"arch {size}", _search_arch, size))


def _search_arch(size: str) -> dict:
    """Return the network of a size, as plain data."""
    return searched_arch(SIZES[size]).to_dict()


def large_network() -> Arch:
    """Return a network of 5.7M MACs and over 1M parameters that does not under-fit."""
    stages, channels = [], 16
    for out, depth in ((24, 1), (64, 2), (160, 3)):
        blocks = []
        for number in range(depth):
            stride = 1 if number else 2
            blocks.append(
                InvertedResidual(mid=6 * channels, out=out, kernel=3, stride=stride, residual=number > 0, act="relu6")
            )
            channels = out
        stages.append(tuple(blocks))
    stem = Stem(out=16, kernel=3, stride=2, act="relu6")
    head = Head(conv=1280, hidden=0, act="relu6")
    return Arch(resolution=28, in_channels=1, classes=10, stem=stem, stages=tuple(stages), head=head)
