"""Settings of tuning the recipe of one network of a run."""

from dataclasses import dataclass

from ..utils.settings import check_settings, setting


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """How many recipes are tried for a network."""

    trials: int = setting(20, help="Recipes to try", group="Tuning", minimum=1)

    def __post_init__(self) -> None:
        check_settings(self)
