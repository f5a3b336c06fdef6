"""Figures for TensorBoard: event files in the folder tensorboard/ of the run or retraining."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.io import to_json
from .trackers import TRAINING, TrackedRun

FOLDER = "tensorboard"


class TensorBoardTracker:
    """Writes figures as scalars. A resumed training hides the steps that it repeats."""

    def start(self, run: TrackedRun, run_id: str | None) -> str | None:
        """Remember the folder; its files are opened with the first figures, which say where a training resumes."""
        self._run = run
        self._folder = run.folder / FOLDER
        self._writer: Any = None
        self._step = run.last_step
        return None

    def address(self) -> str:
        """Return the command that shows the figures."""
        return f"tensorboard --logdir {self._folder}"

    def add(self, figures: Mapping[str, float], *, step: int, of: str) -> None:
        """Write figures as scalars."""
        self._open(purge_step=step if of == TRAINING else None)
        self._step = step
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, figures: Mapping[str, float], files: Sequence[Path], *, status: str) -> None:
        """Write the last figures, and close the files."""
        if figures:
            self._open(purge_step=None)
        for name, value in figures.items():
            self._writer.add_scalar(name, value, self._step)
        if self._writer:
            self._writer.close()

    def _open(self, *, purge_step: int | None) -> None:
        """Open the files, once; what was written at this training step and later ones is hidden."""
        if self._writer:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=purge_step)
        self._writer.add_text("settings", f"```json\n{to_json(self._run.settings, indent=2)}\n```", 0)
