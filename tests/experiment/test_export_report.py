import json

import pytest

from helpers import Quiet
from tinynas.experiment.early_exit_report import EarlyExitReport
from tinynas.experiment.export_report import EarlyExitExportReport, ExportReport
from tinynas.experiment.plans import ExportPlan
from tinynas.experiment.result_file import read_result
from tinynas.pipelines.export import export
from tinynas.utils.errors import FileError


def test_export_report_reads_back(model_file, watched, tmp_path):
    report = export(ExportPlan(model=model_file, out=tmp_path, to="onnx"), report=Quiet())
    assert read_result(ExportReport, tmp_path / "export.json", advice="export again") == report
    plain = json.loads((tmp_path / "export.json").read_text())
    del plain["files"][0]["latency"]
    (tmp_path / "export.json").write_text(json.dumps(plain))
    with pytest.raises(FileError, match=r"export.json is damaged .* lacks the key 'latency'; export again"):
        read_result(ExportReport, tmp_path / "export.json", advice="export again")


def test_early_exit_reports_read_back(exported_exits):
    folder = exported_exits.exits
    assert read_result(EarlyExitReport, folder / "sidenet.json", advice="") == exported_exits.report
    assert read_result(EarlyExitExportReport, folder / "export.json", advice="") == exported_exits.exported
