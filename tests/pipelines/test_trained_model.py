import pytest

from helpers import Quiet
from tinynas.experiment.plans import ExitPlan
from tinynas.pipelines.early_exit import make_exits
from tinynas.pipelines.trained_model import load_trained
from tinynas.utils.errors import InputError


def test_load_trained_reads_files_with_and_without_early_exits(delivered_file, watched):
    folder = make_exits(ExitPlan(model=delivered_file, taps=("stages.0",)), report=Quiet()).folder
    network, early_exits = load_trained(delivered_file), load_trained(folder / "sidenet.safetensors")
    assert (network.main.classes, network.task) == (early_exits.main.classes, early_exits.task)
    assert early_exits.cost().macs > network.cost().macs
    assert "exit" in early_exits.predict(watched.test.images[0], 0.3)
    assert "exit" not in network.predict(watched.test.images[0], 0.3)
    with pytest.raises(InputError, match="a network with early exits has one image size, 8 px, not 12"):
        early_exits.resized(12, watched)
