import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from helpers import TINY, images_for, model_of
from tinynas import load_space
from tinynas.arch.lowering import lower
from tinynas.deploy.calibration import calibrate
from tinynas.deploy.lowered_run import layer_weights
from tinynas.models.network import fold
from tinynas.utils.errors import InputError
from tinynas.utils.io import to_json
from tinynas.utils.paths import cache_folder

pytest.importorskip("ethosu.vela", reason="the extra ethos is not installed")
pytest.importorskip("ai_edge_litert", reason="the extra ethos is not installed")
pytest.importorskip("flatbuffers", reason="the extra ethos is not installed")

from tinynas.deploy import ethos_u, vela
from tinynas.deploy.ethos_u import EthosU, random_file
from tinynas.deploy.runtimes import LiteRT
from tinynas.deploy.tflite_writer import write_tflite


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def fast_vela(monkeypatch):
    """A stand-in for Vela, whose cycles are the bytes of the file."""

    def compile_file(content, accelerator, *, sram):
        estimate = vela.VelaEstimate(cycles=len(content), seconds=0.5, sram=100, file=200, cpu_operators=("ADD x",))
        return vela.CompiledFile(content=b"", estimate=estimate)

    monkeypatch.setattr(ethos_u, "compile_file", compile_file)


def cached_files():
    return sorted((cache_folder() / "vela").iterdir())


def test_random_files_are_files_of_the_network_and_always_the_same(any_space):
    arch = any_space.max()
    content = random_file(lower(arch))
    assert content == random_file(lower(arch))
    litert = LiteRT(content, reference=True)
    outputs = litert.run([litert.quantized(images_for(arch, 1))])
    expected = [output.shape for output in lower(arch).outputs]
    assert [output.shape for output in outputs] == expected
    assert any(len(np.unique(output)) > 1 for output in outputs), "the weights are too small to compute anything"


@pytest.mark.parametrize("name", ["micro", "mcu"])
def test_random_weights_cost_what_others_do(name, rng):
    arch = load_space(name).min()
    network = lower(arch)
    weights = layer_weights(network, fold(model_of(arch).net))
    content = write_tflite(network, weights, calibrate(network, weights, images_for(arch, 2)).quantizations)
    actual, estimate = vela.compile_file(content, "ethos-u55-128").estimate, EthosU("ethos-u55-128").estimate(arch)
    assert estimate.cycles == pytest.approx(actual.cycles, rel=0.02)
    assert estimate.sram == pytest.approx(actual.sram, rel=0.01)
    assert estimate.file == pytest.approx(actual.file, rel=0.05)


def test_measured_costs_are_those_of_the_estimate():
    source = EthosU("ethos-u55-256")
    estimate = source.estimate(TINY)
    expected = {"latency": estimate.seconds, "peak_sram_vela": estimate.sram, "file_vela": estimate.file}
    assert source.measure(TINY) == expected
    assert min(expected.values()) > 0


def test_archs_are_compiled_once():
    first, second = EthosU("ethos-u55-128"), EthosU("ethos-u55-128")
    estimate = first.estimate(TINY)
    assert first.estimate(TINY) == second.estimate(TINY) == estimate
    assert (first.compiled, second.compiled) == (1, 0)
    assert len(cached_files()) == 1


def test_other_accelerators_limits_archs_and_versions_are_other_entries(fast_vela, monkeypatch):
    sources = [EthosU("ethos-u55-128"), EthosU("ethos-u65-256"), EthosU("ethos-u55-128", sram=4096)]
    for source in sources:
        source.estimate(TINY)
    sources[0].estimate(replace(TINY, resolution=10))
    monkeypatch.setattr(ethos_u, "vela_version", lambda: "0.0.1")
    sources.append(EthosU("ethos-u55-128"))
    sources[-1].estimate(TINY)
    assert [source.compiled for source in sources] == [2, 1, 1, 1]
    assert len(cached_files()) == 5


def test_digests_tell_sources_apart(monkeypatch):
    digests = [EthosU("ethos-u55-128").digest, EthosU("ethos-u55-256").digest, EthosU("ethos-u55-128", sram=1).digest]
    monkeypatch.setattr(ethos_u, "vela_version", lambda: "0.0.1")
    digests.append(EthosU("ethos-u55-128").digest)
    assert len(set(digests)) == 4


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"cycles": 1, "cpu_operators": []}'])
def test_damaged_entries_are_compiled_again(fast_vela, content):
    estimate = EthosU("ethos-u55-128").estimate(TINY)
    (path,) = cached_files()
    intact = path.read_text()
    path.write_text(content)
    source = EthosU("ethos-u55-128")
    assert source.estimate(TINY) == estimate
    assert source.compiled == 1
    assert path.read_text() == intact


def test_a_cache_that_cannot_be_written_is_no_error(fast_vela, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert EthosU("ethos-u55-128").estimate(TINY).cycles > 0


def test_several_processes_use_the_cache_at_once():
    arch = load_space("micro").min()
    code = """
from tinynas import load_space
from tinynas.deploy.ethos_u import EthosU
from tinynas.utils.io import to_json
print(to_json(EthosU("ethos-u55-128").measure(load_space("micro").min())))
"""
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = {process.communicate()[0].strip() for process in processes}
    assert outputs == {to_json(EthosU("ethos-u55-128").measure(arch))}
    (path,) = cached_files()  # no temporary file is left
    assert json.loads(path.read_text())["file"] == json.loads(outputs.pop())["file_vela"]


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(vela, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install 'tinynas\\[ethos\\]'"):
        EthosU("ethos-u55-128")
