"""The network of a search space that needs no search: the middle one, which is scaled to a budget by hand."""

from tinynas import Arch, load_space


def middle_of(space: str) -> Arch:
    """Return the network of a space with every choice at its middle option, the lower one of two."""
    loaded = load_space(space)
    return loaded.decode({name: (count - 1) // 2 for name, count in loaded.genes().items()})
