"""What a run has saved of its newest search, search.yaml, for the search that resumes it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..arch.budget import Budget
from ..arch.cost_table import TIME, CostTable
from ..arch.targets import COUNTS_ONLY
from ..utils.errors import FileError, InputError, file_error
from ..utils.schema import check_mapping, from_mapping
from .run_folder import RunFolder
from .saved import read_config, settings_in
from .search_settings import SUPERNET, SearchSettings

LATENCY_DIGEST = "latency_table_digest"  # in search.yaml
OWN_DIGESTS = "own_cost_digests"


@dataclass(frozen=True, kw_only=True)
class SavedSearch:
    """What search.yaml says of a search.

    Attributes:
        budget: Limits.
        settings: Settings.
        latency_digest: Digest of its latency table, if it had one.
        own_digests: Digests of the user's own costs, by name.
    """

    budget: Budget = field(default_factory=Budget)
    settings: SearchSettings = field(default_factory=SearchSettings)
    latency_digest: str | None = None
    own_digests: Mapping[str, str] = field(default_factory=dict)

    def settings_for(self, budget: Budget) -> SearchSettings:
        """Return the settings for a search within a budget: the latency table only if latency is used."""
        uses_latency = budget.latency is not None or "latency" in self.settings.pareto
        return self.settings if uses_latency else replace(self.settings, latency_table=None)

    def read_latency_table(self, settings: SearchSettings, budget: Budget) -> CostTable | None:
        """Read the latency table of settings, if they have one.

        Raises:
            FileError: It is not valid, or both searches limit latency and have different sources of it.
        """
        table = CostTable.read(Path(settings.latency_table), column=TIME) if settings.latency_table else None
        digest = table.digest if table else None
        if None not in (budget.latency, self.budget.latency) and digest != self.latency_digest:
            raise FileError(
                f"the search to resume has the latencies of {_latency_source(self.latency_digest)}, these are of "
                f"{_latency_source(digest)}; restore the table, or search without --resume"
            )
        return table

    def check_pareto(self, pareto: Collection[str]) -> None:
        """Raise InputError unless a search that resumes this one has the same front."""
        if tuple(pareto) != self.settings.pareto:
            names = ",".join(self.settings.pareto)
            before = f"searches the front of accuracy and {names}" if names else "searches no front"
            raise InputError(f"the search to resume {before}; remove --pareto, or search without --resume")

    def check_own_names(self, names: Collection[str]) -> None:
        """Raise InputError unless a search that resumes this one has all costs of the user's own, by name."""
        missing = [name for name in self.own_digests if name not in names]
        if missing:
            raise InputError(
                f"the search to resume has costs that are missing: {', '.join(missing)}; name their sources again with "
                "--cost-table, or resume in the program that has their functions"
            )

    def check_own(self, digests: Mapping[str, str]) -> None:
        """Raise an error if one of the user's own costs is not that of the search that is resumed.

        Args:
            digests: Digests of all costs that it has, by name.

        Raises:
            FileError: A cost is another one.
        """
        for name, digest in self.own_digests.items():
            if digests[name] != digest:
                raise FileError(
                    f"the cost {name} differs from that of the search to resume: restore its table or function, or "
                    "search without --resume"
                )


def _latency_source(digest: str | None) -> str:
    return f"a table with digest {digest[:12]}" if digest else "this machine"


def read_search(run: Path) -> SavedSearch:
    """Read the search.yaml of a run's newest search. Raises FileError."""
    path = RunFolder(run).search
    plain = read_config(path)
    try:
        budget = from_mapping(Budget, plain.pop("limits", {}), f"limits in {path}")
        own_digests = check_mapping(plain.pop(OWN_DIGESTS, {}), f"{OWN_DIGESTS} in {path}")
    except InputError as error:
        raise file_error(path, "is damaged", error) from None
    digest = plain.pop(LATENCY_DIGEST, None)
    plain.setdefault("target", COUNTS_ONLY)  # of files that are older than targets
    plain.setdefault("seeds", 1)  # of files that are older than this setting
    plain["evaluate"] = plain.get("evaluate") or SUPERNET  # which older files write as null
    return SavedSearch(
        budget=budget,
        settings=settings_in(plain, SearchSettings(), path),
        latency_digest=None if digest is None else str(digest),
        own_digests={name: str(text) for name, text in own_digests.items()},
    )


def trains_networks(run: Path) -> bool:
    """Return whether a run has no supernet, as its search trains networks one by one. Raises FileError."""
    return RunFolder(run).search.exists() and read_search(run).settings.trains
