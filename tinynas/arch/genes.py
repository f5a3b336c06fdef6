"""Rules that decide the genes of a search space. `SearchSpace` calls one for every gene, in a fixed order.

Each rule is called with the gene's name and the values of its options, smallest first, and returns one of the values.
Arguments before these are bound with `functools.partial`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..utils.errors import InputError

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")


class Chooser(Protocol):
    """A rule that decides a gene."""

    def __call__(self, name: str, options: Sequence[T], /) -> T: ...


def smallest(name: str, options: Sequence[T]) -> T:
    """Return the smallest option."""
    return options[0]


def middle(name: str, options: Sequence[T]) -> T:
    """Return the middle option, the lower one of two."""
    return options[(len(options) - 1) // 2]


def largest(name: str, options: Sequence[T]) -> T:
    """Return the largest option."""
    return options[-1]


def draw(rng: "np.random.Generator", name: str, options: Sequence[T]) -> T:
    """Draw an option; all are equally likely."""
    return options[int(rng.random() * len(options))]


def draw_leaning(rng: "np.random.Generator", lean: float, name: str, options: Sequence[T]) -> T:
    """Draw an option by a binomial index: small options are likely for a `lean` near 0, large ones near 1."""
    return options[rng.binomial(len(options) - 1, lean)]


def decoded(genes: Mapping[str, int], name: str, options: Sequence[T]) -> T:
    """Return the option with the gene's index, the first for genes that are left out."""
    return options[genes.get(name, 0)]


def count_options(counts: dict[str, int], name: str, options: Sequence[T]) -> T:
    """Note the number of options in `counts`, and return the largest option."""
    counts[name] = len(options)
    return options[-1]


def encode_value(genes: dict[str, int], values: Mapping[str, Any], name: str, options: Sequence[T]) -> T:
    """Note the index of an arch's value in `genes`, if the gene is among them, and return the value.

    Raises:
        InputError: The value is not one of the options.
    """
    value = values.get(name)
    if value not in options:
        raise InputError(f"not in this search space: {name} is {value}, options are {list(options)}")
    index = options.index(value)
    if name in genes:
        genes[name] = index
    return options[index]


def every_outcome(compose: Callable[[Chooser], T]) -> Iterator[T]:
    """Yield what a function of a rule returns for every combination of the options that it chooses from.

    Which genes there are, and their options, may depend on earlier choices.
    """
    indices: list[int] = []
    while True:
        path = _Path(indices)
        yield compose(path)
        while indices and indices[-1] == path.counts[len(indices) - 1] - 1:
            indices.pop()
        if not indices:
            return
        indices[-1] += 1


@dataclass
class _Path:
    """A rule that takes the options of these indices, gene by gene, and the first options from there on.

    The indices of the latter are appended, and the numbers of options are noted.
    """

    indices: list[int]
    counts: list[int] = field(default_factory=list)

    def __call__(self, name: str, options: Sequence[T]) -> T:
        """Return the option that is next on the path."""
        step = len(self.counts)
        self.counts.append(len(options))
        if step == len(self.indices):
            self.indices.append(0)
        return options[self.indices[step]]
