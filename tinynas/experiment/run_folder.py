"""The run folder: its files, and how they are found and read.

runs/NAME/
  config.yaml        settings of the supernet, all resolved
  data.json          classes and digests of the images and labels of every split
  space.yaml         the search space
  supernet.pt        checkpoint of the supernet
  log.jsonl          one line per epoch; trackers.json: ids of its runs in MLflow and W&B
  search.yaml        limits and settings of the newest search, and the digest of its latency table
  study.journal      Optuna studies (JournalStorage)
  front.json, front.png, best.yaml      Pareto front, its plot, the most accurate network on it
  evaluations.json   all networks that the newest search has evaluated, with accuracies and costs
  earlier/LIMITS/    these files of searches with other limits, another front, or other tables of costs
  damaged/           the same, if front.json could not be read
  compare.png        the newest comparison
  reproduction.json, reproduction.md    trainings of a paper beside the authors' figures
  candidates/        networks that a search without a supernet is training
  report.html        the report, see `tinynas.experiment.report`
  retrain/NAME/      config.yaml, data.json, log.jsonl, checkpoint.pt, metrics.json, model.safetensors;
                     README.md, the model card; errors.json, what the model gets wrong on the test split;
                     resolutions.json; best.safetensors, the network of the best epoch so far, if that is kept;
                     detections.png, of a detector, test images with its boxes; trackers.json
  teacher-outputs/   outputs of teachers for training images, which retrainings share; it may be deleted
  retrain/NAME/sidenet/, cascade/       early exits: sidenet.safetensors, sidenet.json, sidenet.png, README.md;
                     export.json
"""

from collections.abc import Sequence
from pathlib import Path

from ..arch.arch import Arch
from ..arch.zoo import load_arch
from ..utils.errors import FileError
from ..utils.io import json_digest, read, to_json, write, write_json
from ..utils.paths import missing_folder
from .evaluated import EvaluatedNetworks
from .result_file import read_result, with_digest
from .results import FrontEntry, RetrainMetrics, SearchResult
from .retrain_folder import CONFIG, DATA, LOCK, RetrainFolder

FRONT = "front.json"
BEST = "best.yaml"
EVALUATIONS = "evaluations.json"
FIRMWARE = "firmware"  # folder of an export


class RunFolder:
    """The files of a run.

    Attributes:
        path: The folder.
        config: Settings of the supernet, all resolved.
        data: Which images and labels it has.
        space: The search space.
        supernet: Checkpoint of the supernet.
        lock: Held by the process that trains the supernet.
        log: Log of the supernet's training.
        search: Limits and settings of the newest search.
        study: Optuna studies, unless another storage is used.
        front: Pareto front of the newest search.
        front_plot: Its plot.
        evaluations: All networks that the newest search has evaluated.
        best: The most accurate network on it.
        comparison_plot: The newest comparison.
        reproduction: Trainings of a paper beside the authors' figures.
        reproduction_page: The same as a page.
        candidates: Folders of the networks that a search without a supernet is training.
        teacher_outputs: Folder of teachers' outputs, which retrainings share.
        report: The report of the run.

    Example:
        >>> run = RunFolder(Path("runs/digits"))
        >>> run.retraining("plain").model.as_posix()
        'runs/digits/retrain/plain/model.safetensors'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / CONFIG
        self.data = path / DATA
        self.space = path / "space.yaml"
        self.supernet = path / "supernet.pt"
        self.lock = path / LOCK
        self.log = path / "log.jsonl"
        self.search = path / "search.yaml"
        self.study = path / "study.journal"
        self.front = path / FRONT
        self.front_plot = path / "front.png"
        self.evaluations = path / EVALUATIONS
        self.best = path / BEST
        self.comparison_plot = path / "compare.png"
        self.reproduction = path / "reproduction.json"
        self.reproduction_page = path / "reproduction.md"
        self.candidates = path / "candidates"
        self.teacher_outputs = path / "teacher-outputs"
        self.report = path / "report.html"

    def has_supernet(self) -> bool:
        """Return whether its supernet has been trained, perhaps not to the end."""
        return self.log.exists() or self.supernet.exists()

    def retraining(self, name: str) -> RetrainFolder:
        """Return the folder of a retraining, which need not exist."""
        return RetrainFolder(self.path / "retrain" / name)

    def retrainings(self) -> list[RetrainFolder]:
        """Return the folders of all retrainings, finished or not, in the order of their names."""
        return [RetrainFolder(path) for path in sorted(self.path.glob("retrain/*/"))]

    def read_front(self) -> SearchResult:
        """Read front.json.

        Raises:
            FileError: It is missing or damaged.
        """
        if not self.path.is_dir():
            raise missing_folder("run", self.path, FRONT)
        if not self.front.exists():
            raise FileError(f"{self.path} has no {FRONT}; `tinynas search --run {self.path}` writes it")
        return read_result(SearchResult, self.front, advice=f"run the search again with --run {self.path}")

    def read_evaluations(self) -> EvaluatedNetworks:
        """Read evaluations.json; without it, as in runs of earlier versions, return the networks of front.json.

        Raises:
            FileError: A file is missing or damaged.
        """
        result = self.read_front()
        if self.evaluations.exists():
            advice = f"delete it to choose among the networks of {FRONT}"
            evaluated = read_result(EvaluatedNetworks, self.evaluations, advice=advice)
            if evaluated.front == json_digest(result.to_dict()):
                return evaluated
        return EvaluatedNetworks(networks=result.front)

    def read_best(self) -> Arch:
        """Read the network in best.yaml.

        Raises:
            FileError: It is missing, or front.json has another best network or is damaged.
            InputError: It describes no network.
        """
        if not self.best.exists():
            raise FileError(f"{self.path} has no best.yaml; `tinynas search --run {self.path}` writes it")
        arch = load_arch(self.best)
        if self.front.exists() and self.read_front().best_entry.arch != arch:
            raise FileError(
                f"{self.best} differs from the best network in {self.front}; `tinynas search --run {self.path} "
                f"--resume` writes both again, `tinynas retrain {self.best}` takes the file as it is"
            )
        return arch

    def read_metrics(self) -> dict[str, RetrainMetrics]:
        """Read the metrics of every retraining that has been measured, by name, in the order in which they finished.

        Its model may be gone since.

        Raises:
            FileError: A metrics.json is damaged.
        """
        measured = [retraining for retraining in self.retrainings() if retraining.metrics.exists()]
        metrics = {}
        for retraining in sorted(measured, key=RetrainFolder.finished_at):
            metrics[retraining.name] = retraining.read_metrics()
        return metrics

    def fronts(self) -> list["RunFolder"]:
        """Return the folders that hold a front.json: the run's own, and those of searches with other limits."""
        folders = []
        for path in [self.path, *sorted(self.path.glob("earlier/*/"))]:
            folder = RunFolder(path)
            if folder.front.exists():
                folders.append(folder)
        return folders

    def write_front(self, result: SearchResult, evaluated: Sequence[FrontEntry], plot: bytes) -> None:
        """Write evaluations.json, front.json, front.png and best.yaml; those of another search are kept in earlier/.

        Args:
            result: Content of front.json.
            evaluated: Networks of evaluations.json.
            plot: Content of front.png.

        Raises:
            FileError: A file cannot be written.
        """
        self._archive_front(result)
        networks = EvaluatedNetworks(networks=tuple(evaluated), front=json_digest(result.to_dict()))
        write(self.evaluations, to_json(with_digest(networks.to_dict())) + "\n")
        write(self.front_plot, plot)
        write_json(self.front, with_digest(result.to_dict()))
        write(self.best, result.best_yaml())

    def _archive_front(self, result: SearchResult) -> None:
        """Copy the files of the last search before this result replaces them.

        They are copied to earlier/ if the limits, the front's costs or the tables differ, to damaged/ if front.json
        cannot be read.
        """
        if not self.front.exists():
            return
        try:
            previous = self.read_front()
        except FileError:
            folder = self.path / "damaged"
        else:
            if previous.is_of_same_search(result):
                return
            folder = self.path / "earlier" / previous.archive_name()
        for path in (self.evaluations, self.front, self.front_plot, self.best):
            if path.exists():
                write(folder / path.name, read(path))
