import pytest

from tinynas.pipelines.trained_model import load_trained
from tinynas.utils.errors import InputError


def test_load_trained_reads_files_with_and_without_early_exits(exported_exits, watched):
    network = load_trained(exported_exits.folder / "model.safetensors")
    early_exits = load_trained(exported_exits.exits / "sidenet.safetensors")
    assert (network.main.classes, network.task) == (early_exits.main.classes, early_exits.task)
    assert early_exits.cost().macs > network.cost().macs
    assert "exit" in early_exits.predict(watched.test.images[0], 0.3)
    assert "exit" not in network.predict(watched.test.images[0], 0.3)
    with pytest.raises(InputError, match="a network with early exits has one image size, 8 px, not 12"):
        early_exits.resized(12, watched)
