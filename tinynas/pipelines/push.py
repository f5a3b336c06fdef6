"""The push command: upload a model's folder to the Hugging Face Hub."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..early_exit.model_file import has_early_exits, read_early_exits, save_early_exits
from ..experiment.card_parts import without_folders
from ..experiment.early_exit_folder import EarlyExitFolder
from ..experiment.export_report import EarlyExitExportReport, ExportReport
from ..experiment.retrain_folder import RetrainFolder
from ..models.hub import MODEL_FILES, upload_files
from ..models.model_file import Model, read_model, save_model
from ..utils.io import read, read_json, to_json


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A model that was uploaded.

    Attributes:
        repo: Name of the repository, USER/NAME.
        address: Its address, as the Hub's library returns it.
        files: Sizes of the uploaded files in bytes, by name.
    """

    repo: str
    address: str
    files: dict[str, int]


def push(model: Path, repo: str, *, private: bool) -> Pushed:
    """Upload a model, its card, what it measured, and the exported files beside it.

    Names of data sets and of other models are uploaded without the folders that they lie in. Checkpoints, logs,
    settings, pictures and sources of firmware, which hold test images, are not uploaded.

    Args:
        model: The model's file.
        repo: "USER/REPO", or "REPO" of the user who is logged in.
        private: Whether a repository that is created is private.

    Raises:
        FileError: The model or a result beside it is missing or corrupt, or the Hub refuses it or cannot be reached.
        InputError: Nobody is logged in, the name is not that of a repository, or the extra `hub` is not installed.
    """
    files = uploaded_files(model)
    full_name, address = upload_files(files, repo, private=private)
    return Pushed(repo=full_name, address=address, files={name: len(content) for name, content in files.items()})


def uploaded_files(model: Path) -> dict[str, bytes]:
    """Return the files that are uploaded for a model, by name, without names of folders.

    Raises:
        FileError: The model or a result beside it is missing or corrupt.
    """
    exits = has_early_exits(model)
    retraining, early_exits = RetrainFolder(model.parent), EarlyExitFolder(model.parent)
    files = {MODEL_FILES[0] if exits else MODEL_FILES[1]: _model_without_folders(model)}
    if retraining.card.exists():
        files[retraining.card.name] = read(retraining.card)
    results = [early_exits.report] if exits else [retraining.metrics, retraining.resolutions, retraining.errors]
    results.append(retraining.export)
    for path in results:
        if path.exists():
            files[path.name] = _without_folders(path)
    export = early_exits.read_export() if exits else retraining.read_export()
    if export is not None:
        for name in _exported(export):
            if (model.parent / name).exists():
                files[name] = read(model.parent / name)
    return files


def _exported(report: ExportReport | EarlyExitExportReport) -> list[str]:
    """Return the names of exported files."""
    names: list[str] = []
    if isinstance(report, ExportReport):
        for file in report.files[1:]:
            names.append(file.file)
    else:
        for form in report.forms:
            names += form.parts.files if form.parts else ()
    return names + list(report.on_target.files)


def _model_without_folders(path: Path) -> bytes:
    """Return a model's file, with the name of its data set without folders."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if has_early_exits(path):
            model = read_early_exits(path)
            save_early_exits(copy, replace(model, models=tuple(map(_of_data_without_folders, model.models))))
        else:
            save_model(copy, _of_data_without_folders(read_model(path)))
        return read(copy)


def _of_data_without_folders(model: Model) -> Model:
    return replace(model, data=without_folders(model.data))


def _without_folders(path: Path) -> bytes:
    """Return a result file, with the names of data sets and models without folders."""
    content: dict[str, Any] = read_json(path)
    for key in ("data", "model", "tiny", "init", "teacher"):
        if isinstance(content.get(key), str):
            content[key] = without_folders(content[key])
    return (to_json(content, indent=1) + "\n").encode()
