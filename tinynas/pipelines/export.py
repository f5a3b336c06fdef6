"""The export command: write a trained model as files for its target, each of them tested before it is kept."""

from pathlib import Path

from ..arch.arch import Arch
from ..arch.budget import Budget
from ..experiment.early_exit_folder import EXPORT
from ..experiment.export_report import EarlyExitExportReport, ExportReport
from ..experiment.plans import ExportPlan
from ..experiment.reporter import ProgressReporter
from ..experiment.retrain_folder import RetrainFolder
from ..experiment.run_folder import RunFolder
from ..utils.io import check_writable, write, write_json
from .folder_locks import writing_lock
from .report import update_report_with
from .trained_model import load_trained


def export(plan: ExportPlan, *, report: ProgressReporter) -> ExportReport | EarlyExitExportReport:
    """Export a model, and write what the files measured on the test split as export.json.

    Args:
        plan: Which model is exported, in which format, to which folder.
        report: Progress is reported to it.

    Returns:
        The content of export.json.

    Raises:
        BudgetError: A file takes more than the limits that the network was searched with; then nothing is written.
        FileError: The model cannot be read, the folder cannot be written to, or the outputs of a file are not what they
            must be; then nothing is written.
        InputError: The data set has other classes than the model, or the model cannot be exported in this format.
    """
    model = load_trained(plan.model)
    searched_for, limits = _search_of(model.main.net.arch, plan.model)
    plan = plan.resolved(searched_for, limits)
    data = model.load_data(plan.data, skip_unreadable=plan.skip_unreadable)
    check_writable(plan.out)
    exported = model.export(plan, data, report=report)
    with writing_lock(plan.out, "tinynas export", report):
        for name, content in exported.files.items():
            write(plan.out / name, content)
        write_json(plan.out / EXPORT, exported.report.to_dict())
    update_report_with(plan.out, report)
    return exported.report


def _search_of(arch: Arch, model: Path) -> tuple[str | None, Budget]:
    """Return the target and the limits of the search that found a network, if a search of its run has evaluated it.

    A model lies in a retraining's folder; early exits lie in a folder there.
    """
    for folder in (model.parent, model.parent.parent):
        run = RunFolder(RetrainFolder(folder).run)
        if not run.front.exists():
            continue
        for searched in run.fronts():
            result = searched.read_front()
            if arch in [entry.arch for entry in searched.read_evaluations().networks]:
                return result.target, result.budget
    return None, Budget()
