"""A recipe fitted to a network and its data: what `--recipe auto` chooses.

A network with few parameters for its images cannot learn them by heart: augmentation, which makes them harder to learn,
makes it worse. One with many needs augmented images. The rule is from trainings on Fashion-MNIST
(docs/results/recipes.md).
"""

from dataclasses import dataclass
from math import inf
from typing import Any

from ..arch.arch import Arch
from ..arch.cost import cost
from ..utils.overrides import Overrides
from ..utils.settings import format_value
from ..utils.units import format_count
from .config import RetrainConfig


@dataclass(frozen=True, kw_only=True)
class _Level:
    """What networks need that have fewer parameters for each training image than `below`, and not fewer than others."""

    below: float
    augmentation: str
    reason: str


_LEVELS = (
    _Level(below=0.1, augmentation="none", reason="the network learns too little by heart to need augmentation"),
    _Level(below=3.0, augmentation="light", reason="light augmentation keeps the network from learning them by heart"),
    _Level(below=inf, augmentation="standard", reason="the network would learn them by heart without augmentation"),
)


@dataclass(frozen=True, kw_only=True)
class FittedRecipe:
    """Settings that fit a network and its data.

    Attributes:
        settings: Value of each setting, by name.
        reason: Why they were chosen.
    """

    settings: dict[str, Any]
    reason: str

    def complete(self, config: RetrainConfig, named: Overrides) -> tuple[RetrainConfig, tuple[str, ...]]:
        """Return a configuration with these settings but those that were named, and two lines that say so.

        Args:
            config: All settings.
            named: The settings that were named, which are kept.

        Returns:
            The configuration, and the lines; no line if all settings were named.
        """
        chosen = {}
        for name, value in self.settings.items():
            if named.get(f"recipe.{name}") is None:
                chosen[name] = value
        if not chosen:
            return config, ()
        words = [f"{name} {format_value(value)}" for name, value in chosen.items()]
        lines = (f"recipe auto: {', '.join(words)}", f"recipe auto: {self.reason}")
        return Overrides.read(chosen, RetrainConfig).apply(config), lines


def fitted_recipe(arch: Arch, *, images: int) -> FittedRecipe:
    """Return the settings that fit a network and the number of its training images.

    Args:
        arch: The network, fitted to its data set.
        images: Number of training images.

    Example:
        >>> from tinynas import load_space
        >>> fitted_recipe(load_space("micro").min(), images=54_000).settings["augmentation"]
        'none'
    """
    params = cost(arch).params
    ratio = params / images
    level = next(level for level in _LEVELS if ratio < level.below)
    per_image = f"{ratio:.2g}" if ratio < 1 else f"{ratio:,.0f}"
    reason = (
        f"{format_count(params)} parameters are {per_image} for each of {images:,} training images, so {level.reason}"
    )
    return FittedRecipe(settings={"augmentation": level.augmentation}, reason=reason)
