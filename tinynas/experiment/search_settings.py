"""Settings of a search: how networks are evaluated and chosen, and for which target."""

from dataclasses import dataclass

from ..arch.cost_names import split_words
from ..arch.targets import DEFAULT_TARGET, TARGETS
from ..utils.errors import InputError, unknown
from ..utils.paths import absolute_path
from ..utils.settings import check_settings, setting
from ..utils.units import parse_seconds

SAMPLERS = ("predictor", "tpe", "nsga2", "random")  # implemented in study/samplers.py

WAYS = SUPERNET, TRAIN = "supernet", "train"  # to evaluate networks
_SEEDS = 3  # of a network that would be the best, if networks are trained
HUB_SAMPLER = "optunahub:"  # before the name of a package of OptunaHub
PROGRAM_SAMPLER = "program:"  # before the class of a sampler that a program has passed


def _storage(text: str) -> str:
    return text if "://" in text else absolute_path(text)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How networks are searched for."""

    pareto: tuple[str, ...] = setting(
        (),
        help="Search the whole Pareto front of accuracy and one cost or two within the limits: macs, params, sram, "
        "flash, latency, or one of --cost-table; without a name macs",
        group="Search",
        metavar="[COST[,COST]]",
        default_text="off",
        parse=split_words,
        implied="macs",
    )
    trials: int = setting(50, help="Networks to evaluate", group="Search", minimum=1)
    sampler: str = setting(
        "predictor",
        help="Search algorithm: predictor, tpe, nsga2, random, or optunahub:PACKAGE, one of OptunaHub",
        group="Search",
        metavar="SAMPLER",
    )
    evaluate: str = setting(
        SUPERNET,
        help="How networks are evaluated: supernet, with the weights of a supernet; train, each trained from scratch, "
        "those that fall behind for a part of the epochs only",
        group="Search",
        metavar="WAY",
    )
    seeds: int | None = setting(
        None,
        help="With --evaluate train: how many seeds a network is trained with that would be the best; its accuracy is "
        "the mean",
        default_text=f"{_SEEDS}; --pareto: 1",
        group="Search",
        metavar="N",
        minimum=1,
    )
    race: bool = setting(
        False,
        help="Drop networks that cannot win after a quarter of search-val, or two or three",
        group="Search",
    )
    workers: int = setting(1, help="Processes that search on this machine", group="Search", minimum=1)
    storage: str | None = setting(
        None,
        help="Optuna storage, which several processes can share",
        group="Search",
        metavar="URL|FILE",
        default_text="study.journal in the run",
        parse=_storage,
    )
    storage_timeout: float = setting(
        600.0,
        help="How long a database that cannot be reached is tried again",
        default_text="10min",
        group="Search",
        metavar="TIME",
        parse=parse_seconds,
        above=0,
    )
    target: str = setting(
        DEFAULT_TARGET,
        help="What runs the network: it decides what --sram, --flash and --latency mean, see `tinynas targets`",
        group="Limits",
        metavar="NAME",
        choices=tuple(TARGETS),
    )
    latency_table: str | None = setting(
        None,
        help="Take --latency from this CSV file of the times of layers on your board, see `tinynas layers`",
        group="Limits",
        metavar="FILE",
        default_text="by the target",
        parse=absolute_path,
    )
    cost_tables: tuple[str, ...] = setting(
        (),
        help="Add up the costs of layers in this CSV file for every network, for --limit and --pareto, see `tinynas "
        "layers`; may be repeated",
        group="Limits",
        flag="cost-table",
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.own_metric and (self.race or self.workers > 1):
            reason = "--race compares images" if self.race else "--workers are processes, which do not have it"
            raise InputError(
                f"networks are evaluated by the function {self.own_metric} of a program, but {reason}; remove "
                f"{'--race' if self.race else '--workers'}"
            )
        if self.trains and self.race:
            raise InputError("--race evaluates networks with the weights of a supernet; remove it, or --evaluate train")
        if self.seeds is not None and self.seeds > 1 and (self.pareto or not self.trains):
            raise InputError(f"--seeds {self.seeds} is for --evaluate {TRAIN} without --pareto; remove it")
        if self.sampler not in SAMPLERS and not self.sampler.startswith((HUB_SAMPLER, PROGRAM_SAMPLER)):
            raise unknown("sampler", self.sampler, SAMPLERS)

    @property
    def num_seeds(self) -> int:
        """Seeds that a network is trained with that would be the best, if networks are trained."""
        if self.seeds is not None:
            return self.seeds
        return 1 if self.pareto else _SEEDS

    @property
    def trains(self) -> bool:
        """Whether every network is trained from scratch, and there is no supernet."""
        return self.evaluate == TRAIN

    @property
    def own_metric(self) -> str | None:
        """Name of the program's function that evaluates networks with the supernet's weights; None: the accuracy."""
        return None if self.evaluate in WAYS else self.evaluate
