"""A recipe fitted to a network and its data: what `--recipe auto` chooses.

In trainings on Fashion-MNIST (docs/results/recipes.md) the same settings were the best, or level with the best, for
networks of any capacity that was tried. They are chosen for all, with what is known about the network's capacity.
"""

from dataclasses import dataclass
from typing import Any

from ..arch.arch import Arch
from ..arch.cost import cost
from ..utils.overrides import Overrides
from ..utils.settings import format_value
from ..utils.units import format_count
from .config import RetrainConfig

SETTINGS: dict[str, Any] = {"augmentation": "light", "label_smoothing": 0.0, "weight_decay": 1e-3}
_MEASURED = (0.08, 19)  # parameters for each training image of the networks that they were tried on


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
        'light'
    """
    params = cost(arch).params
    ratio = params / images
    per_image = f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"
    low, high = _MEASURED
    was_tried = "in" if low * 0.9 <= ratio <= high * 1.1 else "outside"
    reason = (
        f"the best of what was tried on networks of {low} to {high} parameters for each training image; this one is "
        f"{was_tried} that range: {format_count(params)} for {images:,} images, {per_image} for each"
    )
    return FittedRecipe(settings=dict(SETTINGS), reason=reason)
