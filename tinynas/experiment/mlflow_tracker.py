"""Runs in MLflow, in the store that MLFLOW_TRACKING_URI names; MLflow's default is mlflow.db in the working folder."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..utils.io import to_json
from .trackers import TrackedRun, flat

_EXPERIMENT = "tinynas"
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3"}  # about 15 s, instead of minutes, if the server is away


class MLflowTracker:
    """Writes settings as parameters, figures as metrics and files as artifacts, through MLflow's client.

    A continued run keeps its parameters, which MLflow never changes, and the metrics of steps that are repeated.
    """

    def start(self, run: TrackedRun, run_id: str | None) -> str | None:
        """Create a run with parameters, or set the one of this id to running."""
        from mlflow import MlflowClient

        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        self._client: Any = MlflowClient()
        self._last_steps: dict[str, int] = {}
        if run_id and self._is_there(run_id):
            self._run_id = run_id
            self._client.update_run(run_id, status="RUNNING")
            for name in self._client.get_run(run_id).data.metrics:
                steps = [metric.step for metric in self._client.get_metric_history(run_id, name)]
                self._last_steps[name] = max(steps)
        else:
            source = {"mlflow.source.type": "LOCAL", "mlflow.source.name": f"tinynas {run.command}"}
            tags = source | {"tinynas.run": run.group}
            experiment = self._experiment()
            self._run_id = str(self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id)
            self._client.log_batch(self._run_id, params=_params(run.settings))
        return self._run_id

    def address(self) -> str:
        """Return the store, without a password, and the run's name there."""
        run = self._client.get_run(self._run_id)
        return f"run {run.info.run_name} in {re.sub('//[^/]*@', '//', self._client.tracking_uri)}"

    def add(self, figures: Mapping[str, float], *, step: int, of: str) -> None:
        """Write figures as metrics, but those that the run has of this step."""
        new = {}
        for name, value in figures.items():
            if step > self._last_steps.get(name, -1):
                new[name] = value
        self._log(new, step)

    def finish(self, figures: Mapping[str, float], files: Sequence[Path], *, status: str) -> None:
        """Write the last figures and files, and end the run with a status."""
        self._log(figures, 0)
        for path in files:
            self._client.log_artifact(self._run_id, str(path))
        self._client.set_terminated(self._run_id, status)

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._run_id, [Metric(name, value, now, step) for name, value in figures.items()])

    def _is_there(self, run_id: str) -> bool:
        """Return whether the store has a run that has not been deleted."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise

    def _experiment(self) -> str:
        """Return the id of the experiment that MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME names, or of tinynas."""
        if "MLFLOW_EXPERIMENT_ID" in os.environ:
            return os.environ["MLFLOW_EXPERIMENT_ID"]
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(name))


def _params(settings: Mapping[str, object]) -> list[Any]:
    """Return settings as parameters: texts as they are, all others as JSON."""
    from mlflow.entities import Param

    params = []
    for name, value in flat(settings):
        params.append(Param(name, value if isinstance(value, str) else to_json(value)))
    return params
