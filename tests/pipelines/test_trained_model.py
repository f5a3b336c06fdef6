import pytest

from tinynas.pipelines.trained_model import load_trained
from tinynas.utils.errors import InputError


def test_load_trained_reads_files_with_and_without_early_exits(early_exits, watched):
    network = load_trained(early_exits.folder / "model.safetensors")
    with_exits = load_trained(early_exits.exits / "sidenet.safetensors")
    assert (network.main.classes, network.task) == (with_exits.main.classes, with_exits.task)
    assert with_exits.cost().macs > network.cost().macs
    assert "exit" in with_exits.predict(watched.test.images[0], 0.3)
    assert "exit" not in network.predict(watched.test.images[0], 0.3)
    with pytest.raises(InputError, match="a network with early exits has one image size, 8 px, not 12"):
        with_exits.resized(12, watched)
