"""Result files as dataclasses: front.json of a search and metrics.json of a retraining.

Each class has `to_dict`, whose keys and their order are the file's, and `from_dict`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..arch.cost import Cost, quick_cost
from ..arch.targets import COUNTS_ONLY, find_target
from ..tasks.chance import Chance
from ..tasks.detection_figures import DetectionFigures
from ..utils.errors import InputError
from ..utils.io import json_digest
from ..utils.pareto import Point, point_of
from ..utils.schema import check_list, check_mapping, from_mapping
from ..utils.text import counted
from .metric_names import format_metric, is_percent
from .result_file import check_range, read_by_class, read_chance, read_cost, read_detection, read_fields, read_own_costs


@dataclass(frozen=True, kw_only=True)
class FrontEntry:
    """A network on the Pareto front of a search.

    Attributes:
        arch: The network.
        accuracy: The task's metric on search-val in percent, with the supernet's weights or its own; or the value of a
            program's own function.
        standard_error: Of the accuracy, in percentage points, if it is known.
        cost: Counted cost, and latency if that was limited.
    """

    arch: Arch
    accuracy: float
    standard_error: float | None = None
    cost: Cost

    def point(self, costs: Sequence[str]) -> Point:
        """Return the costs of these names, and the accuracy."""
        return point_of(self.cost.named(), costs, self.accuracy)

    def to_dict(self) -> dict[str, Any]:
        """Return an entry of front.json."""
        return {
            "arch": self.arch.to_dict(),
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            **self.cost.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: object) -> "FrontEntry":
        """Return the entry that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "an entry of the front")
        arch = Arch.from_dict(values.get("arch"))
        inplace = {"peak_sram_inplace_dw": quick_cost(arch).peak_sram_inplace_dw}  # a file may leave it out
        cost = read_cost(inplace | dict(values))
        any_number = ("accuracy",)  # of a program's own function
        return read_fields(cls, values, "an entry of the front", of_any_range=any_number, arch=arch, cost=cost)


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The Pareto front of a search: a run's front.json.

    Attributes:
        space: The search space, by name or path.
        data: The data set.
        metric: What accuracies are measured as: "accuracy", "mAP" of detectors, or a program's own function.
        budget: Limits of the search.
        objectives: Costs of the front; MACs if the most accurate network was searched for.
        own_costs: Unit and digest of the user's own costs, by name.
        target: Name of the target; of older files, which have none, the one without a runtime.
        latency_table: Digest of the table that latencies are from; None if they were measured, or not limited.
        evaluations: How many networks were evaluated.
        trained_epochs: For how many epochs each of them was trained; None: they have the weights of a supernet.
        chance: Chance level on search-val; None of detectors.
        front: Networks that no other beats in accuracy and the costs of the front, in ascending order of the first.
        best: Index in `front` of the most accurate network.
    """

    space: str
    data: str
    metric: str = "accuracy"
    budget: Budget
    objectives: tuple[str, ...] = ("macs",)
    own_costs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    target: str = COUNTS_ONLY
    latency_table: str | None = None
    evaluations: int = 0
    trained_epochs: int | None = None
    chance: Chance | None = None
    front: tuple[FrontEntry, ...]
    best: int

    @property
    def best_entry(self) -> FrontEntry:
        """The most accurate network."""
        return self.front[self.best]

    @property
    def units(self) -> dict[str, str]:
        """Units of the user's own costs, by name."""
        return {name: source.get("unit", "") for name, source in self.own_costs.items()}

    def is_of_same_search(self, other: "SearchResult") -> bool:
        """Return whether another result takes the place of this one: limits, the front's costs and tables are equal."""
        own = (self.budget, self.objectives, self.latency_table, self.own_costs)
        return own == (other.budget, other.objectives, other.latency_table, other.own_costs)

    def archive_name(self) -> str:
        """Return the name of the folder in earlier/ for the files of the search."""
        limits = self.budget.limits()
        name = "-".join(f"{cost}-{limit}" for cost, limit in limits.items()) or "no-limits"
        if self.objectives != ("macs",):
            name += f"-front-{'-'.join(self.objectives)}"
        if self.latency_table:
            name += f"-table-{self.latency_table[:8]}"
        if self.own_costs:
            name += f"-own-{json_digest(self.own_costs)[:8]}"
        return name

    def best_yaml(self) -> str:
        """Return the content of best.yaml: the most accurate network, its results in a comment above."""
        entry = self.best_entry
        error = "" if entry.standard_error is None else f" (standard error {entry.standard_error:.2f})"
        costs = ", ".join(f"{name} {value}" for name, value in entry.cost.named().items())
        return (
            f"# The best of {counted(self.evaluations, 'network')} of {self.space} evaluated on {self.data}:\n"
            f"# {format_metric(self.metric, entry.accuracy)} {self.metric} on search-val{error}; {costs}.\n"
        ) + entry.arch.to_yaml()

    def to_dict(self) -> dict[str, Any]:
        """Return the content of front.json; `chance` only of classifiers, sources of costs only if there were any."""
        plain = {
            "space": self.space,
            "data": self.data,
            "metric": self.metric,
            "target": self.target,
            "limits": self.budget.to_dict(),
            "objectives": list(self.objectives),
            "evaluations": self.evaluations,
            "front": [entry.to_dict() for entry in self.front],
            "best": self.best,
        }
        if self.trained_epochs is not None:
            plain["trained_epochs"] = self.trained_epochs
        if self.own_costs:
            plain["own_costs"] = {name: dict(source) for name, source in self.own_costs.items()}
        if self.latency_table is not None:
            plain["latency_table"] = self.latency_table
        if self.chance is not None:
            plain["chance"] = self.chance.to_dict()
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> "SearchResult":
        """Return the result that `to_dict` made plain.

        Raises:
            InputError: A key is missing, its value is of the wrong type, the target is unknown, or `best` is no
                index of the front.
        """
        values = check_mapping(plain, "the file")
        entries = []
        for entry in check_list(values.get("front"), "front"):
            entries.append(FrontEntry.from_dict(entry))
        budget = from_mapping(Budget, values.get("limits"), "limits")
        chance = read_chance(values)
        objectives = tuple(check_list(values.get("objectives", ["macs"]), "objectives"))
        result = read_fields(
            cls,
            values,
            "the file",
            front=tuple(entries),
            budget=budget,
            chance=chance,
            objectives=objectives,
            own_costs=read_own_costs(values),
        )
        for name in objectives:
            if any(name not in entry.cost.named() for entry in entries):
                raise InputError(f"the front is of {name}, which a network lacks")
        if is_percent(result.metric):
            for entry in result.front:
                check_range(entry.accuracy, "accuracy", "an entry of the front")
        find_target(result.target)
        if not 0 <= result.best < len(entries):
            raise InputError(f"best is {result.best}, but the front has {len(entries)} networks")
        return result


@dataclass(frozen=True, kw_only=True)
class RetrainMetrics:
    """What a retraining measured: its metrics.json.

    Attributes:
        metric: What accuracies are measured as: "accuracy", or "mAP" of detectors.
        accuracy: On the test split, in percent.
        balanced_accuracy: Of a classifier, mean over the classes of `by_class`, in percent.
        ap50: Of a detector, mean average precision at IoU 0.5 on the test split by COCO's protocol, in percent.
        by_class: Accuracy on the test split by class name, in percent; of a detector, what `ap50` is the mean of.
            None for a class that does not occur in the split.
        chance: Of a classifier, chance level on the test split.
        detection: Of a detector, other figures on the test split.
        train_accuracy: On the training split, in percent.
        cost: Counted cost.
        seconds: Training time, without evaluation and writing.
        epochs: Epochs of the training.
        netaug: Whether it was trained with NetAug.
        teacher: The teacher, if it had one.
        loss: Name of a program's function that was the loss on labels; None: the task's own.
        init: Which weights it started from.
        seed: Seed of every random choice.
        data: The data set.
    """

    metric: str = "accuracy"
    accuracy: float
    balanced_accuracy: float | None = None
    ap50: float | None = None
    by_class: Mapping[str, float | None] = field(default_factory=dict)
    chance: Chance | None = None
    detection: DetectionFigures | None = None
    train_accuracy: float
    cost: Cost
    seconds: float
    epochs: int
    netaug: bool
    teacher: str | None
    loss: str | None = None
    init: str = "kaiming-normal"
    seed: int
    data: str

    def to_dict(self) -> dict[str, Any]:
        """Return the content of metrics.json: without the figures of the other task, which are None."""
        plain: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "cost":
                plain.update(self.cost.to_dict())
            elif item.name in ("chance", "detection") and value is not None:
                plain[item.name] = value.to_dict()
            elif value is not None or item.name == "teacher":
                plain[item.name] = value
        return plain

    @classmethod
    def from_dict(cls, plain: object) -> "RetrainMetrics":
        """Return the metrics that `to_dict` made plain.

        Raises:
            InputError: A key is missing, or its value is of the wrong type.
        """
        values = check_mapping(plain, "the file")
        return read_fields(
            cls,
            values,
            "the file",
            by_class=read_by_class(values),
            cost=read_cost(values),
            chance=read_chance(values),
            detection=read_detection(values),
        )
