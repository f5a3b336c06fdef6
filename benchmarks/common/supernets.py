"""Supernets of `micro-v1` and `micro` on Fashion-MNIST that several benchmarks search, and networks found in them."""

from pathlib import Path

from tinynas.cli.screen import Screen

from tinynas import Arch, Budget, Supernet
from tinynas.data.base import Data
from tinynas.experiment.config import SupernetConfig
from tinynas.experiment.search_plan import SearchPlan
from tinynas.experiment.search_settings import SearchSettings
from tinynas.pipelines.search import search, train_supernet
from tinynas.utils.overrides import Overrides

from .paths import SCRATCH, supernet_run

SPACE = "micro-v1"
DATA = "fashion-mnist"
SUPERNET = "10 epochs"  # the variant that is searched
BASE = {
    "epochs": 2,
    "batch_size": 64,
    "max_grad_norm": 1.0,
    "num_random_subnets": 2,
    "size_balanced_sampling": True,
    "distillation": 0.5,
}
VARIANTS = {  # what differs from BASE
    "base": {},
    "base, another seed": {"seed": 1},
    "10 epochs": {"epochs": 10},
    "soft labels alone": {"distillation": 1.0},
    "hard labels alone": {"distillation": 0.0},
    "gradients not clipped": {"max_grad_norm": 0.0},
    "random subnets mostly of middle size": {"size_balanced_sampling": False},
    "4 random subnets": {"num_random_subnets": 4},
    "1 random subnet": {"num_random_subnets": 1},
    "largest alone for 1 epoch": {"largest_warmup_epochs": 1},
    "progressive shrinking": {"progressive_shrinking": True},
    "batches of 128": {"batch_size": 128},
}


def plan_search(variant: str, *, budget: Budget, trials: int = 50) -> SearchPlan:
    """Return the plan of a search of a supernet that is trained in a variant."""
    overrides = Overrides.read(BASE | VARIANTS[variant], SupernetConfig)
    config = overrides.apply(SupernetConfig(space=SPACE, data=DATA))
    return SearchPlan(run=supernet_run(variant), config=config, budget=budget, settings=SearchSettings(trials=trials))


def trained_supernet(variant: str = SUPERNET) -> tuple[Supernet, Data]:
    """Return a variant's supernet, trained if it has not been, and the data set."""
    return train_supernet(plan_search(variant, budget=Budget()), report=Screen())


def searched_arch(budget: int) -> Arch:
    """Return the best network within a budget of MACs of 100 evaluations."""
    plan = plan_search(SUPERNET, budget=Budget(macs=budget), trials=100)
    result = search(plan, report=Screen())
    return result.best_entry.arch


def plan_micro_search(
    budget: Budget,
    settings: SearchSettings,
    *,
    space: str = "micro",
    epochs: int = 10,
    narrow: bool = False,
    seed: int = 0,
) -> SearchPlan:
    """Return the plan of a search of a supernet of `micro`, or of a space like it, trained in batches of 128."""
    training = {"epochs": epochs, "batch_size": 128, "narrow": narrow, "seed": seed}
    overrides = Overrides.read(training, SupernetConfig)
    config = overrides.apply(SupernetConfig(space=space, data=DATA))
    name = f"supernet-{Path(space).stem}-{epochs}-epochs"
    if narrow:
        name += f"-narrow-{budget.macs}"
    if seed:
        name += f"-seed-{seed}"
    return SearchPlan(run=SCRATCH / name, config=config, budget=budget, settings=settings)
