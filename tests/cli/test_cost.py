import json
import re

import pytest

from tinynas.arch.cost import layer_costs
from tinynas.arch.zoo import load_arch, shipped_networks


def test_cost_command_prints_json(tinynas):
    code, out, _ = tinynas("cost", "mcunet-in3", "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": "mcunet-in3",
        "resolution": 176,
        "macs": 81_785_520,
        "params": 737_408,
        "peak_sram": 340_736,
        "peak_sram_inplace_dw": 266_344,
        "flash": 790_536,
        "peak_sram_tflm": 412_688,
        "peak_sram_tflm_cmsis_nn": 420_624,
        "file_tflite": 857_960,
    }


def test_cost_command_shows_the_memory_of_every_layer(tinynas, tmp_path):
    code, out, _ = tinynas("cost", "mcunet-in3", "--plot", "memory.png")
    assert code == 0
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "█" in line}
    assert len(lines) == len(list(layer_costs(load_arch("mcunet-in3"))))
    assert lines["stages.1.1.depthwise"] == ["█" * 40, "340,736"]
    assert lines["stem"][1] == f"{176 * 176 * 3 + 88 * 88 * 16:,}"
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_cost_command_shows_velas_estimate(tinynas):
    pytest.importorskip("ethosu.vela", reason="the extra ethos is not installed")
    code, out, _ = tinynas("cost", "mobilenet-v2-tiny", "--target", "ethos-u55-128", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["latency"] > 0
    assert document["peak_sram_vela"] > 144 * 144 * 3
    _, out, _ = tinynas("cost", "mobilenet-v2-tiny", "--target", "ethos-u55-128")
    assert re.search(rf"SRAM by Vela +{document['peak_sram_vela']:,} B", out)
    assert "estimated by Vela " in out


@pytest.mark.parametrize("name", shipped_networks())
def test_cost_command_names_the_network(tinynas, name):
    assert json.loads(tinynas("cost", name, "--json")[1])["name"] == name


def test_cost_command_says_what_padding_adds(tinynas, tmp_path):
    """The stem of 3x3 with stride 2 reads 8 px: 4 * 4 outputs of 4x4 values instead of 3x3."""
    path = tmp_path / "arch.yaml"
    path.write_text("resolution: 8\nclasses: 2\nstem: {out: 4}\nstages: [[{out: 4, kernel: 1}]]\n")
    macs = 4 * 4 * (4 * 3 * 9 + 4 + 4 * 4) + 4 * 2
    line = rf"MACs of the TFLite file, with padding in kernels +{macs + 4 * 4 * 4 * 3 * 7:,}"
    assert re.search(line, tinynas("cost", str(path))[1])
    path.write_text("padding: same\n" + path.read_text())
    assert "MACs of the TFLite file" not in tinynas("cost", str(path))[1]


def test_cost_command_counts_at_another_resolution(tinynas):
    _, out, _ = tinynas("cost", "mcunet-in3", "--resolution", "96", "--json")
    assert json.loads(out)["resolution"] == 96
    assert json.loads(out)["macs"] < 30e6


def test_cost_command_prints_a_table_with_a_check(tinynas):
    _, out, _ = tinynas("cost", "mobilenet-v2-tiny", "--check")
    assert out.count("23,499,152") == 2
    assert "stages.1.0.depthwise" in out
