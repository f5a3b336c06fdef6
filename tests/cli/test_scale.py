import json

import pytest

from tinynas import Budget, cost, load_arch, load_space
from tinynas.arch.scaling import scale_to


def test_the_middle_network_of_a_space_is_scaled_to_limits(tinynas, tmp_path):
    code, out, err = tinynas("scale", "--space", "micro", "--flops", "100K", "--sram", "12KB")
    assert code == 0, err
    arch = load_arch(tmp_path / "scaled.yaml")
    assert arch == scale_to(load_space("micro").middle(), Budget(macs=100_000, peak_sram_tflm=12 * 1024))
    assert [line.split()[-1] for line in out.splitlines()[2:5]] == ["100K", "-", "12KB"]


def test_a_network_is_scaled_for_a_data_set(tinynas, tmp_path):
    words = ["--resolution", "96", "--classes", "2", "--in-channels", "1", "-o", "small.yaml", "--json"]
    code, out, err = tinynas("scale", "mobilenet-v2-tiny", "--flash", "64KB", *words)
    assert code == 0, err
    arch, document = load_arch(tmp_path / "small.yaml"), json.loads(out)
    assert (arch.resolution, arch.classes, arch.in_channels) == (96, 2, 1)
    assert document["file_tflite"] == cost(arch).file_tflite <= 64 * 1024
    assert document["arch"] == "small.yaml"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--flops", "1M"], "name what is scaled"),
        (["mcunet-in3", "--space", "micro", "--flops", "1M"], "name what is scaled"),
        (["--space", "micro"], "name a limit to scale to"),
        (["--space", "micro", "--flops", "1K"], "no scaling of the network keeps macs <= 1K"),
        (["--space", "micro", "--sram", "9KB", "--target", "ethos-u55-128"], "measured by its compiler"),
    ],
)
def test_errors_say_what_would_do(tinynas, tmp_path, words, message):
    code, _out, err = tinynas("scale", *words)
    assert code == 1
    assert message in " ".join(err.split())
    assert not (tmp_path / "scaled.yaml").exists()
