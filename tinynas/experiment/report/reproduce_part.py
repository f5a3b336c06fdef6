"""The report of how a run was made: commands that repeat it, settings, versions, and digests of the data."""

import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ...arch.budget import Budget
from ...arch.cost import COSTS
from ...arch.cost_names import cost_word
from ...data.identity import SPLIT_NAMES, DataIdentity
from ...utils.errors import FileError, InputError, file_error
from ...utils.io import from_json, read_text
from ...utils.settings import format_value, rows
from ..retrain_folder import RetrainFolder
from ..run_folder import RunFolder
from ..saved import read_retraining
from ..saved_search import read_search
from ..search_settings import SearchSettings
from .blocks import Block, Code, Section, Table

_PACKAGES = ("tinynas", "torch", "torchvision", "optuna", "numpy")
_WORDS = {"macs": "flops"}  # of options that are not called as the cost


def reproduce_section(run: RunFolder, retrainings: Sequence[RetrainFolder], prefix: str) -> Section:
    """Return how a run and some of its finished retrainings can be repeated.

    Raises:
        FileError: A file of the run is damaged.
    """
    commands, settings = [], []
    if run.search.exists() and run.front.exists():
        commands.append(search_command(run))
        settings.append(Code(title=str(run.config), text=read_text(run.config), folded=True))
        settings.append(Code(title=str(run.search), text=read_text(run.search), folded=True))
        settings.append(Code(title=str(run.space), text=read_text(run.space), folded=True))
    for folder in retrainings:
        commands.append(retrain_command(run, folder))
        settings.append(Code(title=str(folder.config), text=read_text(folder.config), folded=True))
    blocks: list[Block] = [Code(title="Commands", text="\n".join(commands))]
    blocks += _data_tables(run, retrainings)
    blocks += [_versions(), *settings]
    text = (
        "The commands repeat what the run holds, in folders that end in -again and must not exist. Settings that they "
        "do not name are in the files."
    )
    return Section(title="How to reproduce", id=f"{prefix}reproduce", text=text, blocks=blocks)


def search_command(run: RunFolder) -> str:
    """Return a command that repeats a run's newest search in a new folder."""
    saved, defaults = read_search(run.path), SearchSettings()
    words = ["tinynas", "search", "--config", str(run.config)]
    words += limit_options(saved.budget)
    for row in rows(SearchSettings):
        value = row.setting.default_in(saved.settings)
        if value == row.setting.default_in(defaults) or row.setting.name == "storage":
            continue
        words += _option(row.flag, value)
    words += ["--run", f"{run.path}-again"]
    return shlex.join(words)


def _option(flag: str, value: Any) -> list[str]:
    """Return an option that sets a value."""
    if isinstance(value, bool):
        return [flag]
    if flag == "--cost-table":
        return [word for table in value for word in (flag, str(table))]
    return [flag, format_value(value)]


def limit_options(budget: Budget) -> list[str]:
    """Return the options that set the limits of a budget.

    Example:
        >>> limit_options(Budget(macs=300_000, peak_sram_tflm=16_384, own={"energy": 2.5}))
        ['--flops', '300000', '--sram', '16384', '--limit', 'energy=2.5']
    """
    limits = budget.limits()
    lowest = limits.pop("min_macs", None)
    words = []
    for name, limit in limits.items():
        if name not in COSTS:
            words += ["--limit", f"{name}={limit:g}"]
            continue
        word = cost_word(name)
        text = f"{limit:g}s" if name == "latency" else str(limit)
        if name == "macs" and lowest is not None:
            text = f"{lowest}:{text}"
        words += [f"--{_WORDS.get(word, word)}", text]
    return words


def retrain_command(run: RunFolder, folder: RetrainFolder) -> str:
    """Return a command that repeats a retraining in a new folder."""
    source = folder.config
    if run.front.exists() and read_retraining(folder).arch == run.read_front().best_entry.arch:
        source = run.path
    words = ["tinynas", "retrain", str(source), "--config", str(folder.config), "--name", f"{folder.name}-again"]
    return shlex.join(words)


def _data_tables(run: RunFolder, retrainings: Sequence[RetrainFolder]) -> list[Table]:
    """Return the numbers of images and the digests of the data sets of a run."""
    files = [run.data] + [folder.data for folder in retrainings]
    tables: dict[str, Table] = {}
    for path in files:
        if not path.exists():
            continue
        plain = from_json(read_text(path))
        try:
            identity = DataIdentity.from_dict(plain)
        except (InputError, FileError) as error:
            raise file_error(path, "is damaged", error) from None
        listed = []
        for name, split in identity.splits.items():
            listed.append([SPLIT_NAMES.get(name, name), f"{split.images:,}", split.sha256])
        title = f"Data: {plain.get('data', '')}, {len(identity.classes)} classes"
        tables[title] = Table(title=title, columns=["split", "images", "SHA-256 of images and labels"], rows=listed)
    return list(tables.values())


def _versions() -> Table:
    """Return the versions of what has written the report."""
    listed = [["Python", platform.python_version()]]
    for package in _PACKAGES:
        try:
            listed.append([package, version(package)])
        except PackageNotFoundError:
            continue
    listed.append(["system", platform.platform()])
    return Table(title="Versions that wrote this report", rows=listed)
