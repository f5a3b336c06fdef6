"""Runs in Weights & Biases; WANDB_MODE=offline writes them to the folder wandb/, for `wandb sync`."""

import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from ..utils.io import from_json, to_json
from .trackers import FINISHED, SEARCH, TRAINING, TrackedRun

_PROJECT = "tinynas"
_FINISH_SECONDS = 300.0  # for which the end of a run waits until everything is uploaded; `wandb sync` uploads the rest
_NETWORKS = f"{SEARCH}/networks"


class WandbTracker:
    """Writes settings as the config, figures as the history and files as files of a run.

    The history's steps must not decrease: those of a search are counted on from those of the training, and its figures
    are drawn over the number of networks.
    """

    def start(self, run: TrackedRun, run_id: str | None) -> str | None:
        """Start a run, or continue the one of this id."""
        import wandb

        settings = wandb.Settings(silent=True, console="off", reinit="create_new")
        if "WANDB_FINISH_TIMEOUT" not in os.environ:
            settings.finish_timeout = _FINISH_SECONDS
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            id=run_id,
            resume="allow",
            name=run.name,
            group=run.group,
            job_type=run.command,
            config=from_json(to_json(run.settings)),
            allow_val_change=True,
            settings=settings,
        )
        self._run.define_metric(f"{SEARCH}/*", step_metric=_NETWORKS)
        self._trained = run.last_step
        return str(self._run.id)

    def address(self) -> str:
        """Return the run's URL; offline its folder, and what uploads it."""
        if self._run.offline:
            return f"offline; upload it with: wandb sync {self._run.settings.sync_dir}"
        return str(self._run.url)

    def add(self, figures: Mapping[str, float], *, step: int, of: str) -> None:
        """Write figures to the history."""
        if of == TRAINING:
            self._trained = step
            self._run.log(dict(figures), step=step, commit=True)
        else:
            self._run.log({**figures, _NETWORKS: step}, step=self._trained + step, commit=True)

    def finish(self, figures: Mapping[str, float], files: Sequence[Path], *, status: str) -> None:
        """Write the last figures to the summary, pictures to the history and other files as they are; end the run."""
        import wandb

        self._run.summary.update(dict(figures))
        for path in files:
            if path.suffix == ".png":
                self._run.log({path.stem: wandb.Image(str(path))})
            else:
                with redirect_stderr(StringIO()):  # W&B says that files are linked
                    self._run.save(str(path), base_path=str(path.parent), policy="now")
        self._run.finish(exit_code=0 if status == FINISHED else 1)
