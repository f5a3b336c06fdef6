"""sidenet.json as dataclasses: what a network with early exits measured."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..arch.cost import Cost
from ..utils.errors import InputError
from ..utils.schema import check_list, check_mapping, check_value
from .result_file import read_cost, read_fields

T = TypeVar("T")
Pair = tuple[float, float]  # MACs and accuracy
Bin = tuple[int, float, float]  # of a reliability diagram: images, mean confidence, fraction that is correct


@dataclass(frozen=True, kw_only=True)
class ThresholdPoint:
    """What a network with early exits does at one threshold.

    Attributes:
        threshold: Confidence from which an image exits.
        accuracy: In percent.
        macs: Average MACs of an image.
    """

    threshold: float
    accuracy: float
    macs: float


@dataclass(frozen=True, kw_only=True)
class AllowedLoss(ThresholdPoint):
    """The cheapest threshold that loses no more accuracy on search-val than is allowed, measured on the test split.

    Attributes:
        allowed: Percentage points of accuracy.
        saved: Fraction of the network's MACs that it saves.
    """

    allowed: float
    saved: float

    def to_dict(self) -> dict[str, float]:
        """Return an entry of `losses` in sidenet.json."""
        return {"allowed": self.allowed, **asdict(self)}


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
        share: Fraction of the images that take it at the chosen threshold.
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
        point: The chosen threshold with its accuracy and average MACs.
        worst_case: Counted cost of an image that runs through all exits.
        mainnet_accuracy: Accuracy of the network without early exits, in percent.
        mainnet_cost: Counted cost of the network without early exits.
        exits: Every exit, the network itself last.
        losses: Thresholds that were chosen by the accuracy they may lose.
        curve: Every threshold, in rising order.
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
        """Where the exits are, as titles show it."""
        return f"Exits at {', '.join(self.taps)}" if self.taps else "Cascade"

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
            point=read_fields(ThresholdPoint, values, "the file"),
            worst_case=read_cost({**values, "macs": values.get("worst_macs")}),
            mainnet_accuracy=read_fields(_Accuracy, mainnet, "mainnet").accuracy,
            mainnet_cost=read_cost(mainnet),
            exits=_read_exits(values.get("exits")),
            losses=read_entries(AllowedLoss, values.get("losses"), "losses"),
            curve=read_entries(ThresholdPoint, values.get("curve"), "curve"),
            points=read_entries(ThresholdPoint, values.get("points"), "points"),
            random=read_tuples(values, "random", size=2),
            oracle=read_tuples(values, "oracle", size=2),
        )


@dataclass(frozen=True, kw_only=True)
class _Accuracy:
    accuracy: float


def to_dicts(entries: Sequence[Any]) -> list[dict[str, Any]]:
    """Return dataclasses as plain data."""
    return [asdict(entry) for entry in entries]


def read_entries(cls: type[T], plain: object, where: str) -> tuple[T, ...]:
    """Return the dataclasses in a list of mappings.

    Raises:
        InputError: It is no list of mappings, a key is missing, or a value is of the wrong type.
    """
    entries = []
    for entry in check_list(plain, where):
        entries.append(read_fields(cls, check_mapping(entry, where), where))
    return tuple(entries)


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


def read_tuples(values: Mapping[str, Any], name: str, size: int) -> tuple[Any, ...]:
    """Return the tuples of `size` numbers in the list of lists `name`.

    Raises:
        InputError: It is no list of such lists.
    """
    entries = []
    for entry in check_list(values.get(name), name):
        if len(check_list(entry, name)) != size:
            raise InputError(f"an entry of {name} must have {size} numbers, but is {entry!r:.60}")
        for value in entry:
            check_value(value, float, f"a value of {name}")
        entries.append(tuple(entry))
    return tuple(entries)


def _with_lists(value: Any) -> Any:
    """Return plain data as JSON holds it: with lists instead of tuples."""
    if isinstance(value, dict):
        return {key: _with_lists(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_with_lists(entry) for entry in value]
    return value
