"""Find runs, retrainings and models in the folder runs/."""

import time
from pathlib import Path

from ..arch.arch import Arch
from ..utils.errors import FileError
from .early_exit_folder import EarlyExitFolder
from .results import SearchResult
from .retrain_folder import MODEL, RetrainFolder
from .run_folder import RunFolder

RUNS = Path("runs")


def all_runs() -> list[RunFolder]:
    """Return the runs in runs/, in the order of their names."""
    return [RunFolder(path) for path in sorted(RUNS.glob("*/"))]


def unfinished_retrainings(run: RunFolder | None = None, name: str | None = None) -> list[RetrainFolder]:
    """Return retrainings that have begun but not finished, the one begun last at the end.

    Args:
        run: Only retrainings of this run; by default of every run in runs/.
        name: Only retrainings of this name.
    """
    retrainings = []
    for folder in [run] if run else all_runs():
        for retraining in folder.retrainings():
            begun = retraining.config.exists() and not retraining.is_finished()
            if begun and name in (None, retraining.name):
                retrainings.append(retraining)
    retrainings.sort(key=RetrainFolder.begun_at)
    return retrainings


def new_run_path(name: str) -> Path:
    """Return the path of a new run, with the date before its name, to be reserved."""
    return RUNS / f"{time.strftime('%Y-%m-%d')}-{name}"


def newest_run(file: str) -> RunFolder:
    """Return the run in runs/ in which the file of this name was written last.

    Raises:
        FileError: No run has such a file.
    """
    return RunFolder(_newest(f"*/{file}").parent)


def find_model(model: Path | None) -> Path:
    """Return the file of a trained model: of this path or in this folder, by default the newest in runs/.

    In a folder with early exits that is the network with early exits.

    Raises:
        FileError: None is named, and there is none in runs/; or a run is named, but none of its retrainings.
    """
    path = model or _newest(f"*/retrain/*/{MODEL}")
    if not path.is_dir():
        return path
    names = [retraining.name for retraining in RunFolder(path).retrainings()]
    if names:
        raise FileError(f"{path} is a run; name one of its retrainings, {path}/retrain/{' or '.join(names)}")
    exits, retraining = EarlyExitFolder(path).model, RetrainFolder(path)
    if not exits.exists() and not retraining.model.exists() and retraining.checkpoint.exists():
        raise FileError(
            f"the retraining {path} has not finished; continue it: tinynas retrain {retraining.run} --name "
            f"{retraining.name} --resume"
        )
    return exits if exits.exists() else retraining.model


def search_of(arch: Arch, model: Path) -> SearchResult | None:
    """Return the search that has evaluated a network, if its model lies in a run with such a search.

    Args:
        arch: The network.
        model: Its file, in the folder of a retraining or of early exits.

    Raises:
        FileError: A result of the run is damaged.
    """
    for folder in (model.parent, model.parent.parent):
        run = RunFolder(RetrainFolder(folder).run)
        if not run.front.exists():
            continue
        for searched in run.fronts():
            if arch in [entry.arch for entry in searched.read_evaluations().networks]:
                return searched.read_front()
    return None


def _newest(pattern: str) -> Path:
    """Return the file written last among those in runs/ that match."""
    paths = list(RUNS.glob(pattern))
    if not paths:
        raise FileError(f"no {pattern} in {RUNS}; `tinynas search --flops 50M` creates a run")
    return max(paths, key=_modified_at)


def _modified_at(path: Path) -> float:
    return path.stat().st_mtime
