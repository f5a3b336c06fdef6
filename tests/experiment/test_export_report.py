import json

import pytest

from helpers import Quiet
from tinynas.experiment.early_exit_report import EarlyExitReport
from tinynas.experiment.export_report import EarlyExitExportReport, ExportReport
from tinynas.experiment.plans import ExitPlan, ExportPlan
from tinynas.experiment.results import read_result
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.export import export
from tinynas.utils.errors import FileError


def test_export_report_reads_back(delivered_file, watched, tmp_path):
    report = export(ExportPlan(model=delivered_file, out=tmp_path), report=Quiet())
    assert read_result(ExportReport, tmp_path / "export.json", advice="export again") == report
    plain = json.loads((tmp_path / "export.json").read_text())
    del plain["files"][0]["latency"]
    (tmp_path / "export.json").write_text(json.dumps(plain))
    with pytest.raises(FileError, match=r"export.json is damaged .* lacks the key 'latency'; export again"):
        read_result(ExportReport, tmp_path / "export.json", advice="export again")


def test_early_exit_reports_read_back(delivered_file, watched):
    result = make_exits(ExitPlan(model=delivered_file), report=Quiet())
    assert read_result(EarlyExitReport, result.folder / "sidenet.json", advice="") == result.report
    plan = ExportPlan(model=result.folder / "sidenet.safetensors", out=result.folder, calibration=8)
    report = export(plan, report=Quiet())
    assert read_result(EarlyExitExportReport, result.folder / "export.json", advice="") == report
