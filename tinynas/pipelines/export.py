"""The export command: write a trained model as files for its target, each of them tested before it is kept."""

from ..arch.budget import Budget
from ..experiment.card_file import add_exported_files
from ..experiment.early_exit_folder import CARD, EXPORT
from ..experiment.export_report import EarlyExitExportReport, ExportReport
from ..experiment.plans import ExportPlan
from ..experiment.reporter import ProgressReporter
from ..experiment.runs import search_of
from ..utils.io import check_writable, write, write_json
from .folder_locks import writing_lock
from .report import update_report_with
from .trained_model import load_trained


def export(plan: ExportPlan, *, report: ProgressReporter) -> ExportReport | EarlyExitExportReport:
    """Export a model, and write what the files measured on the test split as export.json.

    Files beside the model are added to its model card.

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
    searched = search_of(model.main.net.arch, plan.model)
    plan = plan.resolved(searched.target, searched.budget) if searched else plan.resolved(None, Budget())
    data = model.load_data(plan.data, skip_unreadable=plan.skip_unreadable)
    check_writable(plan.out)
    exported = model.export(plan, data, report=report)
    with writing_lock(plan.out, "tinynas export", report):
        for name, content in exported.files.items():
            write(plan.out / name, content)
        write_json(plan.out / EXPORT, exported.report.to_dict())
        if plan.out.resolve() == plan.model.resolve().parent:
            add_exported_files(plan.out / CARD, exported.report)
    update_report_with(plan.out, report)
    return exported.report
