"""Settings of NetAug: how a target is augmented."""

from dataclasses import dataclass

from ..utils.errors import InputError
from ..utils.overrides import Overrides
from ..utils.settings import check_settings, setting

NETAUG = "NetAug"  # panel of --help
SORTED_CHANNELS = ("all", "expanded")
DIVERGENCES = ("kl", "alpha")


def _factors(text: str) -> tuple[float, ...]:
    """Read "1,1.8,2.6". Raises InputError."""
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise InputError(f"cannot read {text!r}: expected factors like 1,1.8,2.6") from None


@dataclass(frozen=True, kw_only=True)
class NetAug:
    """How a target is augmented (Cai et al., ICLR 2022, sections 3.2 and 4.1)."""

    width: tuple[float, ...] = setting(
        (1.0, 1.8, 2.6),
        help="Factors of the widths between blocks",
        group=NETAUG,
        metavar="1,A,B",
        default_text="the paper's for the network's family, e.g. 1,1.8,2.6",
        parse=_factors,
    )
    expand: tuple[float, ...] = setting(
        (1.0, 1.6, 2.2, 2.8), help="Factors of the expand ratios", group=NETAUG, metavar="1,A,B", parse=_factors
    )
    num_augmented: int = setting(
        1, help="Augmented networks in a training step", group=NETAUG, aliases=("networks",), minimum=1
    )
    alpha: float = setting(1.0, help="Weight of the augmented networks' losses", group=NETAUG, minimum=0)
    every: int = setting(1, help="Augment every n-th training step of an epoch", group=NETAUG, minimum=1)
    width_until: float = setting(
        0.5, help="Fraction of the epochs in which widths are augmented", group=NETAUG, minimum=0, maximum=1
    )
    expand_until: float = setting(
        0.5,
        help="Fraction of the epochs in which expand ratios are augmented; the paper uses 1",
        group=NETAUG,
        minimum=0,
        maximum=1,
    )
    augment_from_stage: int = setting(
        0,
        help="First stage, counted from 0, that is augmented; above 0 the stem and the stages before stay the target's",
        group=NETAUG,
        minimum=0,
    )
    sort: bool = setting(
        False,
        help="Before each epoch that augments widths give the target the most important channels",
        group=NETAUG,
    )
    sorted_channels: str = setting(
        "all",
        help="Channels that --sort reorders: all, or only the expanded ones inside blocks, as the authors' code does",
        group=NETAUG,
        metavar="CHANNELS",
        choices=SORTED_CHANNELS,
    )
    sort_from_epoch: int = setting(
        2, help="First epoch, counted from 1, before which --sort reorders channels", group=NETAUG, minimum=1
    )

    inplace_distillation: float = setting(
        0.0,
        help="Weight of an augmented network's outputs in the target's loss of an augmented step; labels and teacher "
        "have the rest",
        group=NETAUG,
        minimum=0,
        maximum=1,
    )
    inplace_divergence: str = setting(
        "kl",
        help="What --inplace-distillation minimises: kl, or alpha, the adaptive alpha-divergence of AlphaNet, of "
        "classifiers only",
        group=NETAUG,
        metavar="DIVERGENCE",
        choices=DIVERGENCES,
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.inplace_divergence != "kl" and not self.inplace_distillation:
            raise InputError(
                f"inplace_divergence is {self.inplace_divergence}, which has no effect without inplace_distillation; "
                "add --inplace-distillation, or remove it"
            )
        if max(len(self.width), len(self.expand)) < 2:
            raise InputError(f"width {self.width} and expand {self.expand} augment nothing; add a factor above 1")
        if self.sort and len(self.width) < 2:
            raise InputError(f"sort needs augmented widths, but width is {self.width}; add a factor above 1")

    def factors(self, part: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the factors of widths and of expand ratios after a fraction of the epochs."""
        width = self.width if part < self.width_until else (1.0,)
        expand = self.expand if part < self.expand_until else (1.0,)
        return width, expand


def check_sorting(named: Overrides) -> None:
    """Raise InputError if settings say how channels are sorted, but not whether.

    A file that a retraining has written says whether, and has the other settings of sorting with an effect or without.

    Args:
        named: Settings of `RetrainConfig`.
    """
    if named.get("netaug.sort") is not None:
        return
    for name in ("sorted_channels", "sort_from_epoch"):
        value = named.get(f"netaug.{name}")
        if value not in (None, getattr(NetAug(), name)):
            raise InputError(f"{name} is {value}, which has no effect without sort; add --sort, or remove it")
