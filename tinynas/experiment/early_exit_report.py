"""sidenet.json as dataclasses: what a network with early exits measured."""

from dataclasses import asdict, dataclass
from typing import Any

from ..arch.cost import Cost
from ..utils.schema import check_list, check_mapping
from .result_file import read_cost, read_fields, read_numbers, read_tuples, to_dicts
from .threshold_point import AllowedLoss, ThresholdPoint, read_point, read_points

Pair = tuple[float, float]  # MACs and accuracy
Bin = tuple[int, float, float]  # of a reliability diagram: images, mean confidence, fraction that is correct


@dataclass(frozen=True, kw_only=True)
class TriedTaps:
    """A choice of taps that was tried.

    Attributes:
        taps: Names of the tapped modules.
        hypervolume: What its curve dominates on search-val, in percentage points times decades of MACs.
    """

    taps: tuple[str, ...]
    hypervolume: float


@dataclass(frozen=True, kw_only=True)
class ExitReport:
    """Measurements of one exit on the test split.

    Attributes:
        name: The tapped module; "tiny" for the first network of a cascade; "mainnet" for the last exit.
        macs: MACs of an image that takes this exit.
        share: Fraction of the images that take it at the chosen thresholds.
        accuracy: Accuracy in percent, if all images took it.
        temperature: Temperature of its softmax.
        calibration_error_before: Expected calibration error at temperature 1, in percentage points.
        calibration_error: The same at its own temperature.
        reliability_before: Bins of the reliability diagram at temperature 1: images, mean confidence, fraction correct.
        reliability: The same at its own temperature.
    """

    name: str
    macs: int
    share: float
    accuracy: float
    temperature: float
    calibration_error_before: float
    calibration_error: float
    reliability_before: tuple[Bin, ...]
    reliability: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class EarlyExitReport:
    """Content of sidenet.json. Everything is measured on the test split, unless it says otherwise.

    Attributes:
        model: Path of the model file, or "supernet".
        tiny: Path of the first model of a cascade.
        data: The data set.
        metric: What accuracies are measured as.
        taps: Names of the tapped modules; a cascade has none.
        tried: The choices of taps that were tried.
        hidden: Width of the side heads' hidden layer; 0 in a cascade.
        calibration_images: Images of search-val.
        test_images: Images of the test split.
        rule: The rule whose score is compared with the thresholds, such as "confidence".
        joint_epochs: Epochs in which the network was trained together with its exits; 0: its weights are unchanged.
        unchanged_accuracy: Accuracy of the network before joint training, in percent; None without.
        exit_seconds: Seconds of one image that takes each exit, in PyTorch on the machine that measured; empty if the
            thresholds were not chosen by time.
        point: The chosen thresholds with their accuracy and average MACs.
        worst_case: Counted cost of an image that runs through all exits.
        mainnet_accuracy: Accuracy of the network without early exits, in percent.
        mainnet_cost: Counted cost of the network without early exits.
        exits: Every exit, the network itself last.
        losses: Thresholds that were chosen by the accuracy they may lose.
        curve: Every threshold for all exits, in rising order.
        points: A few thresholds of the Pareto front on search-val.
        random: (MACs, accuracy) where images exit at random.
        oracle: (MACs, accuracy) where images exit by an oracle that knows the labels.
    """

    model: str
    tiny: str | None
    data: str
    metric: str = "accuracy"
    taps: tuple[str, ...]
    tried: tuple[TriedTaps, ...]
    hidden: int
    calibration_images: int
    test_images: int
    rule: str = "confidence"
    joint_epochs: int = 0
    unchanged_accuracy: float | None = None
    exit_seconds: tuple[float, ...] = ()
    point: ThresholdPoint
    worst_case: Cost
    mainnet_accuracy: float
    mainnet_cost: Cost
    exits: tuple[ExitReport, ...]
    losses: tuple[AllowedLoss, ...]
    curve: tuple[ThresholdPoint, ...]
    points: tuple[ThresholdPoint, ...]
    random: tuple[Pair, ...]
    oracle: tuple[Pair, ...]

    @property
    def title(self) -> str:
        """What the exits are, as titles show it."""
        text = f"Exits at {', '.join(self.taps)}" if self.taps else "Cascade"
        return f"{text}{self._manner}"

    @property
    def in_comparison(self) -> str:
        """What tells these exits from others of the same network."""
        text = f"with exits at {', '.join(self.taps)}" if self.taps else "in a cascade"
        return f"{text}{self._manner}"

    @property
    def _manner(self) -> str:
        """What sets the exits apart from those that `tinynas sidenet` makes by default."""
        text = "" if self.rule == "confidence" else f" by {self.rule}"
        return f"{text}, jointly trained" if self.joint_epochs else text

    def to_dict(self) -> dict[str, Any]:
        """Return the content of sidenet.json."""
        worst_case = self.worst_case.to_dict()
        plain = {
            "model": self.model,
            "tiny": self.tiny,
            "data": self.data,
            "metric": self.metric,
            "taps": self.taps,
            "tried": to_dicts(self.tried),
            "hidden": self.hidden,
            "calibration_images": self.calibration_images,
            "test_images": self.test_images,
            "rule": self.rule,
            "joint_epochs": self.joint_epochs,
            "unchanged_accuracy": self.unchanged_accuracy,
            "exit_seconds": self.exit_seconds,
            **asdict(self.point),
            "worst_macs": worst_case.pop("macs"),
            **worst_case,
            "mainnet": {"accuracy": self.mainnet_accuracy, **self.mainnet_cost.to_dict()},
            "exits": to_dicts(self.exits),
            "losses": [entry.to_dict() for entry in self.losses],
            "curve": to_dicts(self.curve),
            "points": to_dicts(self.points),
            "random": self.random,
            "oracle": self.oracle,
        }
        listed: dict[str, Any] = _with_lists(plain)
        return listed

    @classmethod
    def from_dict(cls, plain: object) -> "EarlyExitReport":
        """Return the report that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "the file")
        mainnet = check_mapping(values.get("mainnet"), "mainnet")
        tried = []
        for entry in check_list(values.get("tried"), "tried"):
            taps = check_list(check_mapping(entry, "tried").get("taps"), "taps")
            tried.append(read_fields(TriedTaps, entry, "tried", taps=tuple(taps)))
        return read_fields(
            cls,
            values,
            "the file",
            taps=tuple(check_list(values.get("taps"), "taps")),
            tried=tuple(tried),
            exit_seconds=read_numbers(values.get("exit_seconds", []), "exit_seconds"),
            point=read_point(ThresholdPoint, values, "the file"),
            worst_case=read_cost({**values, "macs": values.get("worst_macs")}),
            mainnet_accuracy=read_fields(_Accuracy, mainnet, "mainnet").accuracy,
            mainnet_cost=read_cost(mainnet),
            exits=_read_exits(values.get("exits")),
            losses=read_points(AllowedLoss, values.get("losses"), "losses"),
            curve=read_points(ThresholdPoint, values.get("curve"), "curve"),
            points=read_points(ThresholdPoint, values.get("points"), "points"),
            random=read_tuples(values, "random", size=2),
            oracle=read_tuples(values, "oracle", size=2),
        )


@dataclass(frozen=True, kw_only=True)
class _Accuracy:
    accuracy: float


def _read_exits(plain: object) -> tuple[ExitReport, ...]:
    exits = []
    for entry in check_list(plain, "exits"):
        values = check_mapping(entry, "exits")
        exits.append(
            read_fields(
                ExitReport,
                values,
                "exits",
                reliability_before=read_tuples(values, "reliability_before", size=3),
                reliability=read_tuples(values, "reliability", size=3),
            )
        )
    return tuple(exits)


def _with_lists(value: Any) -> Any:
    """Return plain data as JSON holds it: with lists instead of tuples."""
    if isinstance(value, dict):
        return {key: _with_lists(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_with_lists(entry) for entry in value]
    return value
