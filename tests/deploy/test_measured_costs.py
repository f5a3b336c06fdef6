import re

import pytest

from helpers import TINY
from tinynas.arch.targets import TARGETS
from tinynas.deploy.ethos_u import EthosU
from tinynas.deploy.latency import MachineLatency
from tinynas.deploy.measured_costs import how_measured, measured_costs
from tinynas.deploy.vela import ACCELERATORS
from tinynas.utils.errors import InputError


def test_latency_of_onnxruntime_is_measured_on_this_machine():
    assert isinstance(measured_costs(TARGETS["onnxruntime"]), MachineLatency)
    assert how_measured(TARGETS["onnxruntime"]) == "latency: one image, one thread, onnxruntime on this machine"


def test_costs_of_an_ethos_u_are_those_of_vela():
    pytest.importorskip("ethosu.vela", reason="the extra ethos is not installed")
    source = measured_costs(TARGETS["ethos-u55-256"], sram=9000)
    assert source.measure(TINY) == EthosU("ethos-u55-256", sram=9000).measure(TINY)
    assert source.digest != measured_costs(TARGETS["ethos-u55-256"]).digest
    text = r"estimated by Vela [\d.]+ with random weights: Ethos_U55_High_End_Embedded, Shared_Sram, 500 MHz"
    assert re.fullmatch(text, how_measured(TARGETS["ethos-u55-256"]))


def test_every_ethos_u_target_is_an_accelerator_of_vela():
    names = {target.accelerator for target in TARGETS.values() if target.accelerator}
    assert names == set(ACCELERATORS)
    assert all(target.latency for target in TARGETS.values() if target.accelerator)


def test_targets_without_a_source_are_refused():
    with pytest.raises(InputError, match="target tinyengine has no source of measured costs; choose another --target"):
        measured_costs(TARGETS["tinyengine"])
