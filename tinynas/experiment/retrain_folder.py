"""The folder of a retraining, and how its results are read."""

from pathlib import Path

from .early_exit_folder import CARD, EXPORT, EarlyExitFolder
from .error_analysis import ErrorAnalysis
from .evaluation_report import EvaluationReport
from .export_report import ExportReport
from .result_file import read_result
from .results import RetrainMetrics

CONFIG = "config.yaml"
DATA = "data.json"
MODEL = "model.safetensors"
LOCK = ".training"
TRACKERS = "trackers.json"  # ids of runs in MLflow and W&B


class RetrainFolder:
    """The files of a retraining.

    Attributes:
        path: The folder.
        name: Its name.
        config: The arch and all settings, resolved.
        data: Which images and labels it has.
        lock: Held by the process that trains.
        log: Log of the training.
        checkpoint: Checkpoint of the training.
        best_model: The network of the best epoch so far, if that is kept.
        metrics: Its results; written last.
        model: The trained model.
        card: Its model card.
        picture: Of a detector, what it sees on test images.
        resolutions: The model evaluated at other image sizes.
        errors: What the model gets wrong on the test split.
        export: What its exported files measured.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.config = path / CONFIG
        self.data = path / DATA
        self.lock = path / LOCK
        self.log = path / "log.jsonl"
        self.checkpoint = path / "checkpoint.pt"
        self.best_model = path / "best.safetensors"
        self.metrics = path / "metrics.json"
        self.model = path / MODEL
        self.card = path / CARD
        self.picture = path / "detections.png"
        self.resolutions = path / "resolutions.json"
        self.errors = path / "errors.json"
        self.export = path / EXPORT

    @property
    def run(self) -> Path:
        """The folder of the run it belongs to."""
        return self.path.parent.parent

    def is_finished(self) -> bool:
        """Return whether its model and its results are there; if one was lost, the training goes on to write both."""
        return self.metrics.exists() and self.model.exists()

    def is_trained(self) -> bool:
        """Return whether anything has been trained: whether there is a checkpoint, a log, a model or results."""
        return any(path.exists() for path in (self.checkpoint, self.log, self.model, self.metrics))

    def discard_settings(self) -> None:
        """Delete config.yaml, data.json and trackers.json, which a retraining leaves that fails before it trains."""
        for path in (self.config, self.data, self.path / TRACKERS):
            path.unlink(missing_ok=True)

    def begun_at(self) -> float:
        """Return when its settings were written, in seconds since 1970."""
        return self.config.stat().st_mtime

    def finished_at(self) -> float:
        """Return when its results were written, in seconds since 1970."""
        return self.metrics.stat().st_mtime

    def read_metrics(self) -> RetrainMetrics:
        """Read metrics.json.

        Raises:
            FileError: It is missing or damaged.
        """
        advice = f"delete it and retrain with --resume --name {self.name}"
        return read_result(RetrainMetrics, self.metrics, advice=advice)

    def read_resolutions(self) -> EvaluationReport | None:
        """Read resolutions.json; None if the model has not been evaluated at other image sizes.

        Raises:
            FileError: It is damaged.
        """
        if not self.resolutions.exists():
            return None
        return read_result(EvaluationReport, self.resolutions, advice="recreate it with tinynas eval --resolutions")

    def read_errors(self) -> ErrorAnalysis | None:
        """Read errors.json; None if there is none, as of retrainings of earlier versions.

        Raises:
            FileError: It is damaged.
        """
        if not self.errors.exists():
            return None
        return read_result(ErrorAnalysis, self.errors, advice="delete it, and retrain again to have it written")

    def read_export(self) -> ExportReport | None:
        """Read the export.json beside the model; None if there is none.

        Raises:
            FileError: It is damaged.
        """
        if not self.export.exists():
            return None
        return read_result(ExportReport, self.export, advice=f"recreate it with tinynas export {self.path}")

    def early_exits(self) -> list[EarlyExitFolder]:
        """Return the folders of early exits on its model, in the order of their names."""
        folders = []
        for path in sorted(self.path.glob("*/sidenet.json")):
            folders.append(EarlyExitFolder(path.parent))
        return folders
