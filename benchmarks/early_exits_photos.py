"""What do early exits save on photographs? Three MainNets on the solar cells of elpv, 3 seeds.

torchvision's ResNet-18 and VGG-11 with batch norm are trained from fresh weights on grey images of 64x64 pixels, which
a CPU can pay for (20 and 12 epochs in batches of 64, AdamW, bfloat16). VGG-11 has one linear layer on the averages of
its last features. EfficientNet-Lite0 has the weights of ImageNet, fine-tuned at 96x96 by finetune_imported.py. Side
heads of 64 hidden features learn from the training images. Taps (any choice of stages), temperatures and thresholds are
chosen on search-val: the cheapest that there loses 0, 0.5 or 1 percentage point to the MainNet. All figures are of the
test images. Time is that of all test images over the MainNet's in PyTorch, one thread, the networks interleaved in one
process, the least of three rounds.

Takes about 1 hour on one core, after finetune_imported.py. Needs the package elpv-dataset. Writes the table
`early-exits-photos` of docs/results/early-exits.md.
"""

from functools import partial

from common.cells import Cells
from common.command import run_benchmark
from common.early_exits import Setup, best_sidenet, mainnets_table, measure_setup
from common.mainnets import TorchTraining, foreign_network, resnet18, vgg11
from common.paths import model_in
from common.retraining import SEEDS, imported_folder
from common.tables import Table

from tinynas.data.base import Data
from tinynas.data.registry import load_data
from tinynas.models.model_file import read_model

DATA, CLASSES = "elpv", 2
RESNET, VGG, EFFICIENTNET = "ResNet-18", "VGG-11", "EfficientNet-Lite0"
MAINNETS = (RESNET, VGG, EFFICIENTNET)
RESOLUTION = 64  # of the networks with fresh weights
RESNET_TRAINING = TorchTraining(name=f"{DATA} {RESNET}", epochs=20, resolution=RESOLUTION, batch_size=64, bf16=True)
VGG_TRAINING = TorchTraining(name=f"{DATA} {VGG}", epochs=12, resolution=RESOLUTION, batch_size=64, bf16=True)
RESNET_TAPS = ["layer1", "layer2", "layer3"]
VGG_TAPS = ["features.3", "features.7", "features.14", "features.21"]  # all pooling layers but the last


def set_up(name: str, seed: int, data: Data) -> Setup:
    """Return a MainNet and its early exits, trained."""
    if name == EFFICIENTNET:
        return efficientnet(seed, data)
    if name == RESNET:
        build, training, taps = partial(resnet18, CLASSES), RESNET_TRAINING, RESNET_TAPS
    else:
        build, training, taps = partial(vgg11, CLASSES), VGG_TRAINING, VGG_TAPS
    return best_sidenet(foreign_network(build, training, seed, data), taps, training.resolution, data)


def efficientnet(seed: int, data: Data) -> Setup:
    """Return the fine-tuned EfficientNet-Lite0 and its early exits."""
    path = model_in(imported_folder(f"imported seed {seed}"))
    if not path.exists():
        raise SystemExit(f"{EFFICIENTNET} is not fine-tuned; run benchmarks/finetune_imported.py first")
    net = read_model(path).net
    taps = [f"stages.{stage}" for stage in range(len(net.arch.stages) - 1)]
    return best_sidenet(net, taps, net.arch.resolution, data)


def measure_mainnet(name: str, seed: int) -> dict:
    """Return what early exits do to a MainNet."""
    data = load_data(DATA)
    return {"val_images": len(data.val)} | measure_setup(set_up(name, seed, data), data)


def measure(cells: Cells) -> None:
    """Measure the missing cells, the cheapest networks first."""
    for name in (EFFICIENTNET, RESNET, VGG):
        for seed in SEEDS:
            cells.measure(f"{name} seed {seed}", measure_mainnet, name, seed)


def tables(cells: dict) -> list[Table]:
    """Return the table of the saved cells."""
    return [mainnets_table("early-exits-photos", MAINNETS, cells)]


if __name__ == "__main__":
    run_benchmark("early_exits_photos", __doc__, measure=measure, tables=tables)
