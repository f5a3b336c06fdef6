"""Settings of retraining several networks of a run, spread over its Pareto front, in several ways."""

from dataclasses import dataclass

from ..arch.cost_names import split_words
from ..utils.errors import InputError, unknown
from ..utils.overrides import Overrides
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
    methods: tuple[str, ...] | None = setting(
        None,
        help="Ways in which every network is retrained: plain, netaug, teacher (by default the run's supernet), "
        "netaug+teacher",
        group=_GROUP,
        metavar="A,B",
        default_text=PLAIN,
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
        if self.methods is not None:
            self._check_methods(self.methods)
        is_default = self.methods is None and not self.both and self.seeds == 1 and self.workers == 1
        if self.front is None and not is_default:
            raise InputError("methods, both, seeds and workers are for several networks; add --front N, or remove them")

    def _check_methods(self, methods: tuple[str, ...]) -> None:
        """Raise InputError unless these are ways of training, each named once, and nothing else names some."""
        for method in methods:
            if method not in METHODS:
                raise unknown("way of training", method, METHODS)
        if not methods:
            raise InputError(f"methods is empty; name one way of training or more: {', '.join(METHODS)}")
        if len(set(methods)) < len(methods):
            raise InputError(f"methods names each way of training once, but is {','.join(methods)}")
        if self.both:
            raise InputError(f"both is plain,netaug, but methods is {','.join(methods)}; remove one of the two")

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways in which every network is retrained."""
        if self.both:
            return (PLAIN, NETAUG)
        return self.methods or (PLAIN,)

    def check_used(self, overrides: Overrides) -> None:
        """Raise InputError if settings of NetAug or of a teacher are named, but no way of training has one.

        Args:
            overrides: Settings of `RetrainConfig`.
        """
        for section, part in (("netaug", NETAUG), ("distillation", TEACHER)):
            names = [path.partition(".")[2] for path in overrides.values if path.startswith(f"{section}.")]
            if names and not any(part in way.split("+") for way in self.ways):
                ways = ",".join(self.ways)
                raise InputError(
                    f"{', '.join(names)} would have no effect on networks that are retrained {ways}; choose --methods "
                    f"{ways},{part}, or remove {'it' if len(names) == 1 else 'them'}"
                )
