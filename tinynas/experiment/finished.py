"""Finished retrainings of a run: those that differ in their seeds alone are one network, with a mean and a spread."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean, stdev

from ..arch.cost import Cost
from ..utils.io import json_digest
from .comparison import Difference
from .results import RetrainMetrics
from .retrain_folder import RetrainFolder
from .run_folder import RunFolder
from .saved import read_retraining

PLAIN_KIND = "retrained"
_CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class FinishedNetwork:
    """A network that was retrained in one way, with one seed or several.

    Attributes:
        kind: The way: "retrained", "retrained + NetAug", "retrained + NetAug + teacher".
        data: The data set.
        metric: What accuracies are measured as.
        network: Digest of the network.
        settings: Digest of all settings but the seed.
        shared: Digest of the settings that are not those of a way either.
        cost: Counted cost.
        accuracies: On the test split, in percent, by seed.
        folder: That of the first seed.
    """

    kind: str
    data: str
    metric: str
    network: str
    settings: str
    shared: str
    cost: Cost
    accuracies: Mapping[int, float]
    folder: RetrainFolder

    @property
    def name(self) -> str:
        """Name of the retraining, without the seed if there are several."""
        if len(self.accuracies) == 1:
            return self.folder.name
        return self.folder.name.removesuffix(f"-seed{min(self.accuracies)}")

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return mean(self.accuracies.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation over the seeds; None of a single one."""
        return stdev(self.accuracies.values()) if len(self.accuracies) > 1 else None


def finished_networks(run: RunFolder) -> list[FinishedNetwork]:
    """Return the networks of a run that are retrained, plain ones first, each kind in ascending order of MACs.

    Raises:
        FileError: A metrics.json or a config.yaml is damaged.
    """
    networks: dict[tuple[str, ...], FinishedNetwork] = {}
    for name, metrics in run.read_metrics().items():
        network = _of_retraining(run.retraining(name), metrics)
        key = network.data, network.metric, network.network, network.settings
        if key in networks:
            network = _joined(networks[key], network)
        networks[key] = network
    return sorted(networks.values(), key=_order)


def differences(networks: Sequence[FinishedNetwork]) -> list[Difference]:
    """Return how much more accurate networks are that were not retrained plain, with settings that are otherwise alike.

    Only seeds count that both have; the interval is that of Student's t of the paired differences.
    """
    plain = {}
    for network in networks:
        if network.kind == PLAIN_KIND:
            plain[network.network, network.shared, network.metric] = network
    listed = []
    for network in networks:
        base = plain.get((network.network, network.shared, network.metric))
        if base is None or network is base:
            continue
        if network.accuracies.keys() & base.accuracies.keys():
            listed.append(difference_of(network, base))
    return listed


def difference_of(network: FinishedNetwork, base: FinishedNetwork) -> Difference:
    """Return how much more accurate a network is than another one: the mean of the differences, paired by seed.

    Only seeds count that both have, at least one; if there are several, the difference has an interval.
    """
    seeds = sorted(network.accuracies.keys() & base.accuracies.keys())
    paired = [network.accuracies[seed] - base.accuracies[seed] for seed in seeds]
    half = None
    if len(paired) > 1:
        from scipy.stats import t as student_t

        quantile = float(student_t.ppf((1 + _CONFIDENCE) / 2, len(paired) - 1))
        half = quantile * stdev(paired) / len(paired) ** 0.5
    return Difference(
        kind=network.kind,
        name=network.name,
        macs=network.cost.macs,
        mean=mean(paired),
        half=half,
        seeds=len(paired),
    )


def _of_retraining(folder: RetrainFolder, metrics: RetrainMetrics) -> FinishedNetwork:
    """Return the network of one retraining; without a config.yaml, its folder's name stands for the settings."""
    network = settings = shared = folder.name
    if folder.config.exists():
        plan = read_retraining(folder)
        config = replace(plan.config, recipe=replace(plan.config.recipe, seed=0))
        network, settings = json_digest(plan.arch.to_dict()), json_digest(asdict(config))
        shared = json_digest(asdict(replace(config, netaug=None, distillation=None)))
    return FinishedNetwork(
        kind=_kind(metrics),
        data=metrics.data,
        metric=metrics.metric,
        network=network,
        settings=settings,
        shared=shared,
        cost=metrics.cost,
        accuracies={metrics.seed: metrics.accuracy},
        folder=folder,
    )


def _joined(first: FinishedNetwork, second: FinishedNetwork) -> FinishedNetwork:
    """Return the network with the accuracies of two retrainings, which of equal seeds are equal."""
    accuracies = {**first.accuracies, **second.accuracies}
    folder = min((first, second), key=_smallest_seed).folder
    return replace(first, accuracies=dict(sorted(accuracies.items())), folder=folder)


def _smallest_seed(network: FinishedNetwork) -> int:
    return min(network.accuracies)


def _kind(metrics: RetrainMetrics) -> str:
    """Return how a network was retrained."""
    kind = PLAIN_KIND
    if metrics.netaug:
        kind += " + NetAug"
    if metrics.teacher:
        kind += " + teacher"
    return kind


def _order(network: FinishedNetwork) -> tuple[int, str, str, float]:
    """Order ways from plain to NetAug with a teacher: the longer the name, the more it has."""
    return len(network.kind), network.kind, network.data, network.cost.macs
