"""A recipe fitted to a network and its data: what `--recipe auto` chooses.

In trainings on Fashion-MNIST (docs/results/recipes.md) the same settings were the best, or level with the best, for
networks of any capacity that was tried. They are chosen for all, with what is known about the network's capacity.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from ..arch.arch import Arch
from ..arch.cost import cost
from ..utils.overrides import Overrides
from ..utils.settings import format_value
from ..utils.units import format_count
from .config import AUTO_SETTINGS, RetrainConfig, SupernetConfig

ConfigT = TypeVar("ConfigT", RetrainConfig, SupernetConfig)

_MEASURED = (0.08, 19)  # parameters for each training image of the networks that they were tried on


@dataclass(frozen=True, kw_only=True)
class FittedRecipe:
    """Settings that fit a network and its data.

    Attributes:
        settings: Value of each setting, by name.
        reasons: Why they were chosen, a line each.
    """

    settings: dict[str, Any]
    reasons: tuple[str, ...]

    def complete(self, config: ConfigT, named: Overrides) -> tuple[ConfigT, tuple[str, ...]]:
        """Return a configuration with these settings but those that were named, and lines that say so.

        Args:
            config: All settings, of a retraining or of a search that trains every network.
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
        lines = tuple(f"recipe auto: {text}" for text in (", ".join(words), *self.reasons))
        return Overrides.read(chosen, type(config)).apply(config), lines


def fitted_recipe(*archs: Arch, images: int) -> FittedRecipe:
    """Return the settings that fit networks and the number of their training images.

    Args:
        *archs: The network, fitted to its data set; or the smallest and the largest one of a search.
        images: Number of training images.

    Example:
        >>> from tinynas import load_space
        >>> fitted_recipe(load_space("micro").min(), images=54_000).settings["augmentation"]
        'light'
    """
    low, high = _MEASURED
    counts = [cost(arch).params for arch in archs]
    measured = f"best or level with the best on networks of {low} to {high} parameters for each training image"
    outside = [count for count in counts if not low <= count / images <= high]
    if not outside:
        return FittedRecipe(settings=dict(AUTO_SETTINGS), reasons=(f"{measured}, as here",))
    ratios = " to ".join([_ratio_text(count / images) for count in counts])
    params = " to ".join([format_count(count) for count in counts])
    partly = "partly " if len(counts) > 1 and min(counts) / images <= high and max(counts) / images >= low else ""
    here = f"{partly}outside of what was measured: here are {ratios} ({params} for {images:,} images)"
    return FittedRecipe(settings=dict(AUTO_SETTINGS), reasons=(measured, here))


def _ratio_text(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"
