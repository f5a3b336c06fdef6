"""What target.py measures with: programs of others, operators alone, random networks; and its tables."""

import sys

import numpy as np
import pytest

from helpers import SPACE

PROGRAM = """
import sys
model, source, result, arena_bytes = sys.argv[1:]
if int(arena_bytes) < 100:
    sys.exit(3)
content = open(source, "rb").read()
open(result, "wb").write(open(model, "rb").read() + content)
print("some log")
print("used 97")
"""


@pytest.fixture
def program(results):
    from common.tflm_program import TflmProgram

    path = results / "program.py"
    path.write_text(PROGRAM)
    return TflmProgram(f"{sys.executable} {path}")


def test_a_program_returns_its_arena_and_outputs(program):
    used, outputs = program.run(b"\x01\xff", np.array([[3, -128]], np.int8), 100)
    assert used == 97
    assert outputs.tolist() == [1, -1, 3, -128]


def test_a_program_whose_arena_is_too_small_returns_nothing(program):
    assert program.run(b"", np.zeros(2, np.int8), 99) is None


def test_errors_are_those_of_the_counted_value():
    from common.target_tables import errors

    assert errors([90, 206], [100, 200]) == ["-10 to +6", "-10.00"]


@pytest.fixture
def network(results):
    pytest.importorskip("flatbuffers", reason="the extra tflite is not installed")
    pytest.importorskip("ai_edge_litert", reason="the extra tflite is not installed")
    from common.random_files import int8_network

    return int8_network(SPACE.max())


def test_every_operator_runs_alone(network):
    pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
    from common.random_files import evaluation_photographs
    from common.tflm_steps import operator_steps

    from tinynas.deploy.runtimes import LiteRT

    content = network.file()
    image = LiteRT(content, reference=True).quantized(evaluation_photographs(SPACE.max()))[:1]
    counts = operator_steps(network, content, image)
    assert counts["operators"] == len(network.network.operators)
    assert counts["values"] == sum(operator.output.size for operator in network.network.operators)
    assert counts["largest_step"] <= 1


def test_an_operator_that_computes_something_else_is_seen(network):
    """The reference runs the file of other weights."""
    pytest.importorskip("tflite_micro", reason="the extra mcu is not installed")
    from dataclasses import replace

    from common.random_files import evaluation_photographs
    from common.tflm_steps import operator_steps

    from tinynas.deploy.runtimes import LiteRT

    name = next(iter(network.weights))
    layer = network.weights[name]
    other = replace(network, weights=dict(network.weights) | {name: replace(layer, bias=layer.bias + 1)})
    content = other.file()
    image = LiteRT(content, reference=True).quantized(evaluation_photographs(SPACE.max()))[:1]
    counts = operator_steps(network, content, image)
    assert counts["largest_step"] > 1
    assert counts["differing"] == 1


def test_random_networks_are_always_the_same(results):
    from common.random_files import archs_of

    assert archs_of("micro-v1") == archs_of("micro-v1")
    assert len(set(archs_of("micro-v1").values())) == len(archs_of("micro-v1")) == 30
