import json
from dataclasses import replace

import pytest

from tinynas import Budget, cost, load_arch, load_space
from tinynas.arch.scaling import largest_factor, scale_to, scaled
from tinynas.utils.errors import InputError


def test_the_middle_network_of_a_space_is_scaled_to_limits(tinynas, tmp_path):
    code, out, err = tinynas("scale", "--space", "micro", "--flops", "100K", "--sram", "12KB")
    assert code == 0, err
    arch = load_arch(tmp_path / "scaled.yaml")
    assert arch == scale_to(load_space("micro").middle(), Budget(macs=100_000, peak_sram_tflm=12 * 1024))
    assert [line.split()[-1] for line in out.splitlines()[2:5]] == ["100K", "-", "12KB"]
    assert out.splitlines()[-1] == "next: tinynas retrain scaled.yaml"


def test_a_network_is_scaled_for_a_data_set(tinynas, tmp_path):
    words = ["--resolution", "32", "--data", "digits", "-o", "small.yaml", "--target", "tflm-cmsis-nn", "--json"]
    code, out, err = tinynas("scale", "mobilenet-v2-tiny", "--flash", "64KB", *words)
    assert code == 0, err
    assert "tinynas export --target tflm-cmsis-nn" in err
    arch, document = load_arch(tmp_path / "small.yaml"), json.loads(out)
    assert (arch.resolution, arch.classes, arch.in_channels) == (32, 10, 1)
    assert document["file_tflite"] == cost(arch).file_tflite <= 64 * 1024
    assert document["limits"] == {"file_tflite": 64 * 1024}
    large = replace(load_arch("mobilenet-v2-tiny"), resolution=32, classes=10, in_channels=1)
    assert arch == scaled(large, document["factor"])


def test_the_factor_is_the_largest_and_of_all_channels():
    network = load_arch("mobilenet-v3-large-w0.35")  # with squeeze-excite
    for macs in (8_000_000, 1_000_000_000):
        factor = largest_factor(network, Budget(macs=macs))
        assert cost(scaled(network, factor)).macs <= macs < cost(scaled(network, factor + 0.01)).macs
    for stage in scaled(network, 0.2).stages:
        for block in stage:
            assert block.se <= block.mid


def test_limits_of_costs_that_are_not_counted_are_refused():
    for budget in (Budget(latency=0.001), Budget(macs=100_000, own={"energy": 3.0})):
        with pytest.raises(InputError, match="are of costs that are measured, not counted"):
            scale_to(load_space("micro").middle(), budget)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--flops", "1M"], "name what is scaled"),
        (["mcunet-in3", "--space", "micro", "--flops", "1M"], "remove --space or mcunet-in3"),
        (["micro", "--flops", "1M"], "scaled with --space micro"),
        (["--space", "micro"], "there is no limit to scale a network to"),
        (["--space", "micro", "--flops", "1K"], "no width multiplier keeps macs <= 1K, the narrowest has macs 10.7K"),
        (
            ["--space", "micro", "--flops", "199999:200K"],
            "1.02 gives 197,292 MACs, the next one too many; widen the range",
        ),
        (
            ["--space", "micro", "--sram", "9KB", "--target", "ethos-u55-128"],
            "the limits of sram are of costs that are measured",
        ),
        (["--space", "vit-tiny", "--flops", "1M"], "tflm has no BATCH_MATMUL"),
        (["--space", "detect", "--flops", "1M", "--data", "digits"], "networks that detect cannot learn"),
    ],
)
def test_errors_say_what_would_do(fails, tmp_path, words, message):
    assert message in fails("scale", *words)
    assert not (tmp_path / "scaled.yaml").exists()
