"""A retraining whose network and settings are resolved, before its data set is read and its folder is created."""

from dataclasses import dataclass, replace
from pathlib import Path

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..data.base import Data
from ..data.memory import MemorySplit
from ..data.registry import load_data
from ..experiment.config import RetrainConfig
from ..experiment.fitted_recipe import ConfigT, fitted_recipe
from ..experiment.plans import RetrainPlan
from ..experiment.run_folder import RunFolder
from ..experiment.runs import new_run_path
from ..tasks.registry import fit_to_data
from ..utils.errors import FileError
from ..utils.io import reserve_folder
from ..utils.overrides import Overrides

NO_LIMITS = Budget()
NO_OVERRIDES = Overrides()


@dataclass(frozen=True, kw_only=True)
class ResolvedRetraining:
    """A retraining before its data set is read and its folder is created.

    Attributes:
        arch: The network, not fitted to the data set; of a resumed retraining it is.
        config: All settings.
        run: The run that it belongs to. None: a new one.
        new_run: The name of a new run.
        budget: Limits by which the network was chosen.
        data_of: The run or model that has the data set; None if another one was named.
        resumed: The plan of the retraining that is resumed, if it is.
        named: The settings that were named.
        fits_recipe: Whether the recipe is fitted to the network and its data, as far as settings were not named.
        notes: What there is to say about the recipe.
    """

    arch: Arch
    config: RetrainConfig
    run: Path | None = None
    new_run: str = ""
    budget: Budget = NO_LIMITS
    data_of: Path | None = None
    resumed: RetrainPlan | None = None
    named: Overrides = NO_OVERRIDES
    fits_recipe: bool = False
    notes: tuple[str, ...] = ()

    def fitted(self) -> "ResolvedRetraining":
        """Return this retraining with the network fitted to the data set, which is read, and the recipe to both."""
        data = load_data(self.config.data, skip_unreadable=self.config.skip_unreadable, named_in=self.data_of)
        arch = fit_to_data(self.arch, data)
        if not self.fits_recipe:
            return replace(self, arch=arch)
        config, notes = fit_recipe(self.config, arch, data=data, named=self.named)
        return replace(self, arch=arch, config=config, notes=notes)

    def plan(self, name: str | None) -> RetrainPlan:
        """Fit the network to the data set, and create the folder of the retraining."""
        if self.resumed:
            return self.resumed
        fitted = self.fitted()
        run = self.run or reserve_folder(new_run_path(self.new_run))
        folder = _retraining_folder(run, name, fitted.config, self.budget)
        return RetrainPlan(folder=folder, arch=fitted.arch, config=fitted.config, notes=fitted.notes)


def fit_recipe(config: ConfigT, *archs: Arch, data: Data, named: Overrides) -> tuple[ConfigT, tuple[str, ...]]:
    """Fit a recipe to networks and data, as far as settings were not named.

    Args:
        config: All settings.
        *archs: The network, fitted to the data set; or the smallest and the largest one of a search.
        data: The data set.
        named: The settings that were named.

    Returns:
        The settings, and the lines that say what was chosen and why. Without any the defaults stay: for detectors, and
        for photographs, which are read one by one; the rule is from small images, which are in memory.
    """
    if data.task != "classify" or not isinstance(data.train, MemorySplit):
        return config, ()
    return fitted_recipe(*archs, images=len(data.train)).complete(config, named)


def _retraining_folder(run: Path, name: str | None, config: RetrainConfig, budget: Budget = NO_LIMITS) -> Path:
    """Create and return a new folder, or return that of a name, in which nothing must have been trained yet."""
    if name:
        retraining = RunFolder(run).retraining(name)
        if retraining.is_trained():
            raise FileError(f"there is a retraining {name} in {run} already; choose another --name, or --resume it")
        return retraining.path
    parts = ["netaug" if config.netaug else "plain"]
    if config.distillation:
        parts.append("teacher")
    if budget.limits():
        parts.append(budget.slug())
    if config.recipe.seed:
        parts.append(f"seed{config.recipe.seed}")
    return reserve_folder(RunFolder(run).retraining("-".join(parts)).path)
