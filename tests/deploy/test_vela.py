import configparser
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import distribution

import numpy as np
import pytest
from kinds import tflite_spaces

from helpers import TINY, images_for, model_of, sampled, slow_except
from tinynas import load_space
from tinynas.arch.lowering import lower
from tinynas.deploy import vela
from tinynas.deploy.calibration import calibrate
from tinynas.deploy.lowered_run import layer_weights
from tinynas.deploy.vela import ACCELERATORS, compile_file
from tinynas.models.network import fold
from tinynas.utils.errors import FileError, InputError

pytest.importorskip("ethosu.vela", reason="the extra ethos is not installed")
pytest.importorskip("ai_edge_litert", reason="the extra ethos is not installed")
pytest.importorskip("flatbuffers", reason="the extra ethos is not installed")

from ai_edge_litert import schema_py_generated as schema

from tinynas.deploy.tflite_writer import write_tflite


def written(arch, *, int8=True):
    """An arch's file."""
    network = lower(arch)
    weights = layer_weights(network, fold(model_of(arch).net))
    quantizations = calibrate(network, weights, images_for(arch, 2)).quantizations if int8 else None
    return write_tflite(network, weights, quantizations)


@pytest.fixture(scope="module")
def content():
    return written(TINY)


def printed_by_vela(content, accelerator, folder):
    """What Vela prints about a file."""
    (folder / "file.tflite").write_bytes(content)
    configuration = ACCELERATORS[accelerator]
    command = [sys.executable, "-m", "ethosu.vela", "file.tflite", f"--accelerator-config={accelerator}"]
    command += ["--config=Arm/vela.ini", f"--system-config={configuration.system}"]
    command += [f"--memory-mode={configuration.memory_mode}", "--verbose-cycle-estimate"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_estimate_is_what_vela_prints(content, accelerator, tmp_path):
    compiled = compile_file(content, accelerator)
    estimate = compiled.estimate
    text = printed_by_vela(content, accelerator, tmp_path)
    assert estimate.sram / 1024 == pytest.approx(float(re.search(r"Total SRAM used +([\d.]+) KiB", text)[1]), abs=0.01)
    assert estimate.cycles == int(re.search(r"Total cycles +(\d+)", text)[1])
    assert estimate.seconds == pytest.approx(estimate.cycles / ACCELERATORS[accelerator].clock)
    assert estimate.file == len(compiled.content)
    assert f"{ACCELERATORS[accelerator].clock / 1e6:.0f} MHz" in text


@pytest.mark.parametrize("accelerator", ACCELERATORS)
def test_configurations_are_those_of_velas_file(accelerator):
    configuration = ACCELERATORS[accelerator]
    parser = configparser.ConfigParser()
    parser.read(distribution("ethos-u-vela").locate_file("ethosu/config_files/Arm/vela.ini"))
    system = parser[f"System_Config.{configuration.system}"]
    mode = parser[f"Memory_Mode.{configuration.memory_mode}"]
    assert float(system["core_clock"]) == configuration.clock
    assert system[f"{mode['arena_mem_area']}_port".lower()] == "Sram"
    assert system[f"{mode['const_mem_area']}_port".lower()] == "OffChipFlash"
    assert configuration.describe() == f"{configuration.system}, {configuration.memory_mode}, 500 MHz"


def memory_plan(content):
    """The offsets that TFLM reads from a file, and the number of its tensors, which must be the same."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (buffer,) = [entry.buffer for entry in model.metadata if entry.name == b"OfflineMemoryAllocation"]
    _, _, count, *offsets = model.buffers[buffer].data.view(np.int32).tolist()
    assert count == len(offsets)
    return offsets, len(model.subgraphs[0].tensors)


def test_compiled_file_has_the_memory_plan_of_its_own_tensors(content):
    offsets, tensors = memory_plan(content)
    assert len(offsets) == tensors
    compiled = compile_file(content, "ethos-u55-128")
    offsets, tensors = memory_plan(compiled.content)
    assert len(offsets) == tensors
    assert max(offsets) < compiled.estimate.sram


def test_compiled_file_is_one_operator_of_the_npu(content):
    compiled = compile_file(content, "ethos-u55-128")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(compiled.content, 0))
    assert [code.customCode for code in model.operatorCodes] == [b"ethos-u"]
    assert len(model.subgraphs[0].operators) == 1
    graph = model.subgraphs[0]
    assert graph.tensors[graph.inputs[0]].shape.tolist() == [1, 8, 8, 1]
    assert graph.tensors[graph.outputs[0]].shape.tolist() == [1, 2]
    assert compiled.estimate.file == len(compiled.content)


@pytest.mark.parametrize("name", slow_except(tflite_spaces(), "micro"))
def test_no_operator_of_a_space_is_left_on_the_cpu(name):
    space = load_space(name)
    arch = replace(sampled(space, 0), resolution=96) if name.startswith("detect") else sampled(space, 0)
    estimate = compile_file(written(arch), "ethos-u55-128").estimate
    assert estimate.cpu_operators == ()


def test_operators_on_the_cpu_are_named(detectors):
    """A detector's coarse map is resized to a fine map of odd size."""
    estimate = compile_file(written(replace(detectors.min(), resolution=80)), "ethos-u55-128").estimate
    assert estimate.cpu_operators == ("RESIZE_NEAREST_NEIGHBOR head.double.1",)


def test_twice_the_macs_a_cycle_take_less_time(any_space):
    content = written(any_space.max())
    small, large = (compile_file(content, f"ethos-u55-{macs}").estimate for macs in (128, 256))
    assert large.cycles < small.cycles


def test_vela_stays_within_an_sram_limit_at_the_expense_of_time():
    content = written(load_space("micro-v1").max())
    free, limited = compile_file(content, "ethos-u55-128"), compile_file(content, "ethos-u55-128", sram=30_000)
    assert limited.estimate.sram <= 30_000 < free.estimate.sram
    assert limited.estimate.cycles > free.estimate.cycles


def one_line_error(content):
    with pytest.raises(FileError) as caught:
        compile_file(content, "ethos-u55-128")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("kind", ["empty", "foreign", "truncated"])
def test_corrupt_files_are_errors(content, kind):
    corrupt = {"empty": b"", "foreign": b"not a network" * 100, "truncated": content[: len(content) // 2]}[kind]
    assert one_line_error(corrupt).startswith("corrupt, or not a TFLite file: ")


class Unverified:
    """In the place of LiteRT, which would refuse a corrupt file before Vela sees it."""

    def __init__(self, content, *, reference):
        assert reference


def test_failures_and_crashes_of_vela_are_errors(content, monkeypatch):
    monkeypatch.setattr(vela, "LiteRT", Unverified)
    problem = re.escape(f"Vela {vela.vela_version()} cannot compile the file for ethos-u55-128: ")
    assert re.fullmatch(problem + r"\w+Error: .*; export the file again", one_line_error(b"not a network" * 100))
    crash = re.fullmatch(
        problem + r"it crashed with signal \d+; export the file again", one_line_error(content[: len(content) // 2])
    )
    assert crash


def test_a_vela_that_does_not_end_is_an_error(content, monkeypatch):
    monkeypatch.setattr(vela, "_LONGEST", 0.001)
    assert "cannot compile the file for ethos-u55-128: it did not end in 0.001 s; export" in one_line_error(content)


def test_fp32_files_are_errors():
    problem = one_line_error(written(TINY, int8=False))
    assert problem == "no operator of the file can run on ethos-u55-128; export the network in int8"


def test_unknown_accelerators_and_missing_packages_are_errors(content, monkeypatch):
    with pytest.raises(InputError, match="unknown accelerator 'ethos-u55-12'; did you mean 'ethos-u55-128'"):
        compile_file(content, "ethos-u55-12")
    monkeypatch.setattr(vela, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=re.escape("an Ethos-U needs Arm's compiler Vela; pip install 'tinynas[ethos]'")
    ):
        compile_file(content, "ethos-u55-128")
