"""Settings of retraining several networks of a run, spread over its Pareto front, in several ways."""

from dataclasses import dataclass

from ..arch.cost_names import split_words
from ..utils.errors import InputError, unknown
from ..utils.settings import check_settings, setting

PLAIN, NETAUG, TEACHER = "plain", "netaug", "teacher"
METHODS = (PLAIN, NETAUG, TEACHER, f"{NETAUG}+{TEACHER}")
_GROUP = "Several networks"


@dataclass(frozen=True, kw_only=True)
class FrontSettings:
    """Which networks of a run's front are retrained, in which ways, and how often."""

    front: int | None = setting(
        None,
        help="Retrain so many networks, spread over the run's front, instead of one",
        group=_GROUP,
        metavar="N",
        default_text="off",
        minimum=1,
    )
    methods: tuple[str, ...] = setting(
        (PLAIN,),
        help="Ways in which every network is retrained: plain, netaug, teacher, netaug+teacher",
        group=_GROUP,
        metavar="A,B",
        parse=split_words,
    )
    both: bool = setting(False, help="The same as --methods plain,netaug", group=_GROUP)
    seeds: int = setting(
        1,
        help="How often every network is retrained in every way, with consecutive seeds",
        group=_GROUP,
        metavar="N",
        minimum=1,
    )
    workers: int = setting(1, help="Processes that retrain on this machine", group=_GROUP, minimum=1)

    def __post_init__(self) -> None:
        check_settings(self)
        for method in self.methods:
            if method not in METHODS:
                raise unknown("way of training", method, METHODS)
        if not self.methods:
            raise InputError(f"methods is empty; name one way of training or more: {', '.join(METHODS)}")
        if len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods names each way of training once, but is {','.join(self.methods)}")
        if self.both and self.methods != (PLAIN,):
            raise InputError(f"both is plain,netaug, but methods is {','.join(self.methods)}; remove one of the two")
        is_default = self.ways == (PLAIN,) and self.seeds == 1 and self.workers == 1
        if self.front is None and not is_default:
            raise InputError("methods, both, seeds and workers are for several networks; add --front N, or remove them")

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways in which every network is retrained."""
        return (PLAIN, NETAUG) if self.both else self.methods
