"""Networks of every kind of block from a data set to a file: searched, retrained plain and with NetAug, exported."""

import pytest
import yaml
from kinds import plain_space, tflite_kinds

import tinynas
from tinynas.arch.block_kinds import SHIPPED
from tinynas.models.profile import recount

TRAINING = {"epochs": 1, "batch_size": 128}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHIPPED)
def test_a_network_of_the_kind_from_the_data_to_a_file(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = "tflm" if kind in tflite_kinds() else "generic"
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(plain_space(kind)))
    run = tinynas.search(space="space.yaml", data="digits", flops="400K", trials=4, target=target, **TRAINING)
    for netaug in (False, True):
        model = tinynas.retrain(run, netaug=netaug, **TRAINING)
        arch = model.module.arch
        assert {block.kind for stage in arch.stages for block in stage} == {kind}
        assert recount(arch) == {"macs": model.cost.macs, "params": model.cost.params}
        report = model.export("tflite" if target == "tflm" else "onnx")
        fp32, int8 = [file for file in report.files if file.kind != "torch"]
        assert fp32.accuracy == model.metrics.accuracy
        assert fp32.difference < 1e-3
        assert int8.accuracy > model.metrics.accuracy - 15
