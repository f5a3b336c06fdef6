"""The export command: write a trained model as files for its target, each of them tested before it is kept."""

from ..experiment.export_report import EarlyExitExportReport, ExportReport
from ..experiment.plans import ExportPlan
from ..experiment.reporter import ProgressReporter
from ..experiment.run_folder import EXPORT
from ..utils.io import check_writable, write, write_json
from .trained_model import load_trained


def export(plan: ExportPlan, *, report: ProgressReporter) -> ExportReport | EarlyExitExportReport:
    """Export a model, and write what the files measured on the test split as export.json.

    Args:
        plan: Which model is exported, in which format, to which folder.
        report: Progress is reported to it.

    Returns:
        The content of export.json.

    Raises:
        FileError: The model cannot be read, the folder cannot be written to, or the outputs of an fp32 file differ from
            those of PyTorch; then nothing is written.
        InputError: The data set has other classes than the model, or the model cannot be exported in this format.
    """
    model = load_trained(plan.model)
    data = model.load_data(plan.data, skip_unreadable=plan.skip_unreadable)
    check_writable(plan.out)
    exported = model.export(plan, data, report=report)
    for name, content in exported.files.items():
        write(plan.out / name, content)
    write_json(plan.out / EXPORT, exported.report.to_dict())
    return exported.report
