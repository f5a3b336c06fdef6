"""An export against its target: TFLM beside LiteRT's reference kernels, Vela, and the limits of the search."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import Quiet
from tinynas import Budget, load
from tinynas.arch.arena import arena
from tinynas.arch.cost import cost
from tinynas.arch.cost_names import cost_word
from tinynas.arch.lowering import lower
from tinynas.deploy import tflm_check
from tinynas.experiment.export_report import ExportReport
from tinynas.experiment.plans import ExportPlan
from tinynas.experiment.result_file import read_result
from tinynas.experiment.results import FrontEntry, SearchResult
from tinynas.experiment.run_folder import RunFolder
from tinynas.pipelines.export import export
from tinynas.utils.errors import BudgetError, FileError, InputError

pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
from tinynas.deploy.runtimes import LiteRT, TfliteMicro


@pytest.fixture
def exported(model_file, tmp_path):
    """What export writes by default, and its report."""
    report = export(ExportPlan(model=model_file, out=tmp_path / "out"), report=Quiet())
    return tmp_path / "out", report


def figures_of(report):
    return {figure.name: figure for figure in report.on_target.figures}


def test_export_is_for_tflm_and_shows_what_it_takes_there(exported, model_file):
    folder, report = exported
    assert report.on_target.target == "tflm"
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "model.int8.tflite", "model.tflite"]
    assert read_result(ExportReport, folder / "export.json", advice="") == report
    arch, content = load(model_file).arch, (folder / "model.int8.tflite").read_bytes()
    figures = figures_of(report)
    assert figures["peak_sram_tflm"].counted == cost(arch).peak_sram_tflm == arena(lower(arch)).total
    assert figures["file_tflite"].measured == len(content)
    assert abs(figures["file_tflite"].counted - len(content)) <= 128
    assert figures["arena_64bit"].measured == sum(TfliteMicro(content).arena_bytes())
    assert figures["arena_64bit"].measured <= figures["arena_64bit"].counted == arena(lower(arch), bits=64).total


def test_export_measures_accuracy_and_outputs_in_tflm(exported, model_file, watched):
    folder, report = exported
    content = (folder / "model.int8.tflite").read_bytes()
    micro, reference, net = TfliteMicro(content), LiteRT(content, reference=True), load(model_file)
    right = other_class = differing = count = 0
    for images, labels in watched.evaluation_batches(watched.test, net.arch.resolution):
        with torch.no_grad():
            expected = net(images).argmax(1).tolist()
        for image, label, of_torch in zip(reference.quantized(images), labels.tolist(), expected, strict=True):
            (outputs,), (others,) = micro.run([image[None]]), reference.run([image[None]])
            right += int(outputs.argmax()) == label
            other_class += int(outputs.argmax()) != of_torch
            differing += not np.array_equal(outputs, others)
            count += 1
    tflm = report.on_target.tflm
    assert tflm.images == count == 30
    assert tflm.accuracy == pytest.approx(100 * right / count)
    assert tflm.disagreement == pytest.approx(other_class / count)
    assert tflm.differing == differing
    assert tflm.largest_step <= 1


def test_export_discards_a_file_that_computes_something_else_in_tflm(model_file, tmp_path, monkeypatch):
    def wrong(self, inputs):
        return [np.clip(values.astype(int) + 2, -128, 127).astype(np.int8) for values in run(self, inputs)]

    run = TfliteMicro.run
    monkeypatch.setattr(TfliteMicro, "run", wrong)
    with pytest.raises(
        FileError, match="other outputs in TFLM than in LiteRT's reference kernels, an operator by up to 2 steps"
    ):
        export(ExportPlan(model=model_file, out=tmp_path / "out"), report=Quiet())
    assert not list((tmp_path / "out").iterdir())


def test_export_discards_a_file_that_does_not_fit_into_the_counted_arena(model_file, tmp_path, monkeypatch):
    def too_small(network, **kinds):
        counted = arena(network, **kinds)
        return replace(counted, tail=counted.tail - 16, planning=0)

    monkeypatch.setattr(tflm_check, "arena", too_small)
    with pytest.raises(FileError, match=r"model.int8.tflite: TFLM cannot run the file in an arena of"):
        export(ExportPlan(model=model_file, out=tmp_path / "out"), report=Quiet())
    assert not list((tmp_path / "out").iterdir())


def test_export_says_how_to_check_without_tflm(model_file, tmp_path, monkeypatch):
    monkeypatch.setattr("tinynas.pipelines.export_target.has_tflm", bool)
    report = export(ExportPlan(model=model_file, out=tmp_path / "out"), report=Quiet())
    assert report.on_target.tflm is None
    assert report.on_target.notes == ("not checked on TFLM: pip install 'tinynas[mcu]'",)
    assert "arena_64bit" not in figures_of(report)


@pytest.fixture
def searched(model_file, tmp_path):
    """Puts the model into a run whose search had the limits of a budget; gives the model's new path."""

    def put(budget, target="tflm"):
        run, arch = RunFolder(tmp_path / "run"), load(model_file).arch
        entry = FrontEntry(arch=arch, accuracy=50.0, cost=cost(arch))
        result = SearchResult(space="small", data="digits", budget=budget, target=target, front=(entry,), best=0)
        run.write_front(result, result.front, b"")
        path = run.retraining("plain").model
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(model_file.read_bytes())
        return path

    return put


def test_export_keeps_the_limits_of_the_search(searched, model_file, tmp_path):
    counted = cost(load(model_file).arch)
    limits = Budget(macs=counted.macs, peak_sram_tflm=counted.peak_sram_tflm, file_tflite=2 * counted.file_tflite)
    figures = figures_of(export(ExportPlan(model=searched(limits), out=tmp_path / "out"), report=Quiet()))
    assert {name: figure.limit for name, figure in figures.items() if figure.limit} == limits.limits()
    for name, less in {"peak_sram_tflm": counted.peak_sram_tflm - 1, "file_tflite": counted.file_tflite // 2}.items():
        with pytest.raises(
            BudgetError, match=f"the exported network has {cost_word(name)} .* over the search's limit of {less:,}"
        ):
            export(ExportPlan(model=searched(Budget(**{name: less})), out=tmp_path / "less"), report=Quiet())
        assert not list((tmp_path / "less").iterdir())


def test_export_is_for_what_the_network_was_searched_for(searched, tmp_path):
    path = searched(Budget(peak_sram=10**6), target="onnxruntime")
    report = export(ExportPlan(model=path, out=tmp_path / "out"), report=Quiet())
    assert (report.on_target.target, report.on_target.notes) == ("onnxruntime", ())
    assert (tmp_path / "out" / "model.onnx").exists()
    report = export(ExportPlan(model=path, out=tmp_path / "other", target="tflm-cmsis-nn"), report=Quiet())
    assert report.on_target.searched_for == "onnxruntime"
    note = "searched for onnxruntime, exported for tflm-cmsis-nn: the limits are those of onnxruntime"
    assert report.on_target.notes[0] == note
    assert {"peak_sram_tflm_cmsis_nn", "peak_sram", "arena_64bit"} <= set(figures_of(report))
    with pytest.raises(InputError, match="onnxruntime takes files of the format onnx, not tflite; remove --to"):
        export(ExportPlan(model=path, out=tmp_path, target="onnxruntime", to="tflite"), report=Quiet())


def test_firmware_for_an_accelerator_holds_the_compiled_file(model_file, watched, tmp_path):
    pytest.importorskip("ethosu", reason="the extra ethos is not installed")
    export(ExportPlan(model=model_file, out=tmp_path, target="ethos-u55-128", to="firmware"), report=Quiet())
    compiled = (tmp_path / "model_vela.tflite").read_bytes()
    assert (tmp_path / "firmware" / "model.tflite").read_bytes() == compiled
    assert compiled != (tmp_path / "model.int8.tflite").read_bytes()


def test_export_for_an_accelerator_writes_the_compiled_file(model_file, tmp_path):
    pytest.importorskip("ethosu", reason="the extra ethos is not installed")
    report = export(ExportPlan(model=model_file, out=tmp_path / "out", target="ethos-u55-128"), report=Quiet())
    compiled = (tmp_path / "out" / "model_vela.tflite").read_bytes()
    figures = figures_of(report)
    assert b"ethos-u" in compiled
    assert report.on_target.files == ("model_vela.tflite",)
    assert "Ethos_U55_High_End_Embedded, Shared_Sram, 500 MHz" in report.on_target.notes[0]
    assert figures["file_vela"].measured == len(compiled)
    assert figures["latency"].measured == pytest.approx(figures["cycles"].measured / 500e6)
    assert figures["peak_sram_vela"].measured > 0
